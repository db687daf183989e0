//! ESP, with the keys of a real CHILD_SA. (That the inner source has to fit the selectors of *that* SA is tested where
//! packets are forwarded, in `adit-dataplane`.)

use adit_crypto::SeededRandom;
use adit_esp::{EspError, Inbound, Outbound};
use adit_ipsec::ChildSa;

use crate::lab::{Lab, honest};
use crate::setup::Auth;

const SUITES: [&str; 4] = ["aes256gcm16", "aes128-sha256", "chacha20poly1305", "aes256gcm16-esn"];

/// Mallory's CHILD_SA, and the gateway's of the same.
fn child(suite: &str) -> (Lab, ChildSa, ChildSa) {
    let mut lab = Lab::with(Auth::Psk, |setup| setup.both(|side| side.esp(&[suite])));
    assert_eq!(lab.connect(&mut honest), Some(Ok(())), "{}", lab.story());
    let sent = lab.mallory.sad.values().next().unwrap().sa.clone();
    let received = lab.gateway.sad.values().find(|entry| entry.sa.spi_in == sent.spi_out).unwrap().sa.clone();
    (lab, sent, received)
}

#[test]
fn row_37_esp_of_every_length() {
    for suite in SUITES {
        let (lab, sent, received) = child(suite);
        let out = Outbound::new(sent.spi_out, &sent.keys_out, sent.esn).unwrap();
        let inbound = Inbound::new(received.spi_in, &received.keys_in, received.esn, 32).unwrap();
        let mut rng = SeededRandom::new(3);
        let mut packet = Vec::new();
        out.seal(4, &[0x45; 100], &mut rng, &mut packet).unwrap();
        // Cut, and much longer than any datagram: what comes of segments glued together.
        let lengths = (0..packet.len()).chain([packet.len() + 1, 65_535, 65_536, 200_000]);
        for length in lengths {
            let mut bent = packet.clone();
            bent.resize(length, 0xa5);
            assert!(inbound.open(&mut bent).is_err(), "{suite} {length}");
        }
        // Two in one are none, and neither is taken by it.
        let mut two = [packet.clone(), packet.clone()].concat();
        assert!(inbound.open(&mut two).is_err());
        assert_eq!(inbound.stats().packets, 0);
        let mut genuine = packet.clone();
        assert_eq!(inbound.open(&mut genuine).unwrap().payload, [0x45; 100]);
        assert_eq!(inbound.open(&mut packet).unwrap_err(), EspError::Replayed);
        // A payload that no packet can be, is not sealed.
        let mut none = Vec::new();
        assert!(out.seal(4, &vec![0; 70_000], &mut rng, &mut none).is_err() && none.is_empty(), "{suite}");
        lab.finish();
    }
}

#[test]
fn row_37_used_up_numbers_retire_the_sa() {
    let (mut lab, sent, received) = child("aes256gcm16");
    let out = Outbound::new(sent.spi_out, &sent.keys_out, false).unwrap();
    let out = out.resume_after(u64::from(u32::MAX) - 1);
    let inbound = Inbound::new(received.spi_in, &received.keys_in, false, 32).unwrap();
    let (mut rng, mut packet) = (SeededRandom::new(3), Vec::new());
    out.seal(4, &[0x45; 20], &mut rng, &mut packet).unwrap();
    assert!(inbound.open(&mut packet).is_ok());
    for _ in 0..3 {
        let mut packet = Vec::new();
        let result = out.seal(4, &[0x45; 20], &mut rng, &mut packet);
        assert_eq!(result.unwrap_err(), EspError::SequenceExhausted);
        assert!(packet.is_empty());
    }
    // What the data plane makes of that: the SA goes, at both ends, and its successor has other keys.
    let command = adit_ike::Command::ChildExpired { id: sent.id, hard: true };
    lab.command(crate::net::End::Client, command, &mut honest);
    lab.advance(20, &mut honest);
    assert!(lab.gateway.sad.values().all(|entry| entry.sa.spi_in != received.spi_in), "{}", lab.story());
    assert!(lab.mallory.sad.values().all(|entry| entry.sa.keys_out != sent.keys_out));
    lab.finish();
}
