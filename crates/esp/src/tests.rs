use std::sync::Arc;

use adit_crypto::{Random, SeededRandom};
use adit_ipsec::SaKeys;
use proptest::prelude::*;

use super::*;

const SPI: u32 = 0xc0ff_ee01;

/// Every pair of transforms ESP can use: encryption, key bits, integrity.
const SUITES: [(u16, u16, u16); 13] = [
    (20, 128, 0),
    (20, 192, 0),
    (20, 256, 0),
    (28, 0, 0),
    (12, 128, 12),
    (12, 128, 13),
    (12, 192, 13),
    (12, 256, 12),
    (12, 256, 13),
    (12, 256, 14),
    (11, 0, 12),
    (11, 0, 13),
    (11, 0, 14),
];

fn keys((encr, encr_key_bits, integ): (u16, u16, u16), seed: u64) -> SaKeys {
    let mut rng = SeededRandom::new(seed);
    let mut draw = |len| {
        let mut key = vec![0; len];
        rng.fill(&mut key);
        key
    };
    let encr_key = draw(Encryption::from_id(encr, encr_key_bits).unwrap().key_len());
    let integ_key = draw(Integrity::from_id(integ).map_or(0, Integrity::key_len));
    SaKeys { encr, encr_key_bits, integ, encr_key, integ_key }
}

fn pair(suite: (u16, u16, u16), esn: bool) -> (Outbound, Inbound) {
    let keys = keys(suite, 5);
    (Outbound::new(SPI, &keys, esn).unwrap(), Inbound::new(SPI, &keys, esn, 64).unwrap())
}

fn sealed(out: &Outbound, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    out.seal(NEXT_HEADER_IPV4, payload, &mut SeededRandom::new(payload.len() as u64), &mut packet).unwrap();
    packet
}

#[test]
fn round_trip_of_every_suite_and_length() {
    for suite in SUITES {
        for esn in [false, true] {
            let (out, inn) = pair(suite, esn);
            let mut rng = SeededRandom::new(1);
            let mut buffer = b"in front".to_vec();
            for len in (0..130).chain([1400, 1420, 1499, 9000]) {
                let mut payload = vec![0; len];
                rng.fill(&mut payload);
                buffer.truncate(8);
                let sequence = out.seal(NEXT_HEADER_IPV6, &payload, &mut rng, &mut buffer).unwrap();
                assert_eq!(&buffer[..8], b"in front");
                let packet = &mut buffer[8..];
                assert_eq!(packet.len(), len + out.overhead(len), "{suite:?}");
                assert_eq!(packet.len() % 4, 0);
                assert_eq!(spi_of(packet), Some(SPI));
                let mut again = packet.to_vec();
                let opened = inn.open(packet).unwrap();
                assert_eq!(
                    opened,
                    Opened { next_header: NEXT_HEADER_IPV6, payload: &mut payload, sequence },
                    "{suite:?}"
                );
                assert_eq!(inn.open(&mut again), Err(EspError::Replayed));
            }
            let (sent, received) = (out.stats(), inn.stats());
            assert_eq!((sent.packets, sent.bytes), (received.packets, received.bytes));
            assert_eq!((received.replays, received.auth_failures), (received.packets, 0));
            assert_eq!(inn.highest_sequence(), sent.packets);
            assert_eq!(out.next_sequence(), sent.packets + 1);
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    for suite in SUITES {
        let (out, inn) = pair(suite, true);
        let packet = sealed(&out, &[7; 60]);
        for len in 0..packet.len() {
            let error = inn.open(&mut packet[..len].to_vec()).unwrap_err();
            assert!(matches!(error, EspError::Malformed | EspError::Authentication), "{error}");
        }
        assert!(inn.open(&mut [&packet[..], &[0]].concat()).is_err());
        assert!(inn.open(&mut [&packet[..], &[0; 16]].concat()).is_err());
        assert_eq!(inn.highest_sequence(), 0, "the window moves for genuine packets only");
        inn.open(&mut packet.clone()).unwrap();
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    for suite in SUITES {
        for esn in [false, true] {
            let (out, inn) = pair(suite, esn);
            let packet = sealed(&out, &[7; 40]);
            for bit in 0..packet.len() * 8 {
                let mut bad = packet.clone();
                bad[bit / 8] ^= 0x80 >> (bit % 8);
                let error = inn.open(&mut bad).unwrap_err();
                let expected = match bit {
                    0..32 => EspError::WrongSpi,
                    // Number 1 becomes 0.
                    63 => EspError::Replayed,
                    _ => EspError::Authentication,
                };
                assert!(error == expected || esn && error == EspError::Replayed, "bit {bit}: {error}");
            }
            inn.open(&mut packet.clone()).unwrap();
        }
    }
}

#[test]
fn sequence_numbers_never_wrap() {
    for (esn, last) in [(false, u64::from(u32::MAX)), (true, u64::MAX)] {
        for suite in [SUITES[0], SUITES[4]] {
            let keys = keys(suite, 9);
            let out = Outbound::new(SPI, &keys, esn).unwrap().resume_after(last - 2);
            let mut buffer = b"kept".to_vec();
            let mut rng = SeededRandom::new(1);
            for expected in [last - 1, last] {
                assert_eq!(out.next_sequence(), expected);
                assert_eq!(out.seal(4, b"payload", &mut rng, &mut buffer), Ok(expected));
            }
            let before = buffer.clone();
            for _ in 0..3 {
                assert_eq!(out.seal(4, b"payload", &mut rng, &mut buffer), Err(EspError::SequenceExhausted));
            }
            assert_eq!(buffer, before);
            assert_eq!(out.stats().packets, 2);
        }
    }
}

/// RFC 6311 §5.2: for an SA that was taken over.
#[test]
fn skipped_numbers_are_never_sent() {
    for esn in [false, true] {
        let (out, _) = pair((20, 256, 0), esn);
        sealed(&out, b"first");
        out.skip(0);
        assert_eq!(out.next_sequence(), 2);
        out.skip(1000);
        assert_eq!(out.next_sequence(), 1002);
        sealed(&out, b"second");
        assert_eq!(out.next_sequence(), 1003);
        // All that are left are gone, and none comes again.
        out.skip(u64::MAX);
        let mut packet = Vec::new();
        let result = out.seal(4, b"third", &mut SeededRandom::new(1), &mut packet);
        assert_eq!((result, packet.len()), (Err(EspError::SequenceExhausted), 0));
    }
}

/// The high half is not on the wire, but it is authenticated.
#[test]
fn extended_sequence_numbers_cross_the_wrap() {
    for suite in SUITES {
        let keys = keys(suite, 3);
        let start = u64::from(u32::MAX) - 5;
        let out = Outbound::new(SPI, &keys, true).unwrap().resume_after(start);
        let window = ReplayWindow::new(32, true).resume_after(start);
        let inn = Inbound::with_cipher(SPI, cipher_for(&keys).unwrap(), window);
        // One that is behind by a whole subspace must fail, though its low half fits.
        let stale = Inbound::new(SPI, &keys, true, 32).unwrap();
        for number in start + 1..start + 12 {
            let packet = sealed(&out, b"payload");
            assert_eq!(packet[4..8], (number as u32).to_be_bytes());
            assert_eq!(inn.open(&mut packet.clone()).unwrap().sequence, number);
            if number > u64::from(u32::MAX) + 1 {
                assert_eq!(stale.open(&mut packet.clone()), Err(EspError::Authentication));
            }
        }
    }
}

/// RFC 7634 appendix A: a packet somebody else sealed.
#[test]
fn foreign_packet_opens() {
    let keys = SaKeys {
        encr: 28,
        encr_key_bits: 0,
        integ: 0,
        encr_key: (0x80..=0xa3).collect(),
        integ_key: Vec::new(),
    };
    let hex = "01020304000000051011121314151617\
        24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c6\
        14ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3\
        cbec163fac469b502773f6fb94e664da9165b82829f641e0\
        76aaa8266b7fb0f7b11b369907e1ad43";
    let mut packet: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    let inn = Inbound::new(0x0102_0304, &keys, false, 32).unwrap();
    let opened = inn.open(&mut packet).unwrap();
    assert_eq!((opened.next_header, opened.sequence, opened.payload.len()), (NEXT_HEADER_IPV4, 5, 84));
    assert_eq!(opened.payload[..4], [0x45, 0, 0, 0x54]);
}

/// An authenticated packet whose pad length points in front of the payload.
#[test]
fn padding_longer_than_the_packet_is_refused() {
    for pad in [3u8, 200, 255] {
        let keys = keys(SUITES[0], 4);
        let cipher = cipher_for(&keys).unwrap();
        let header = [&SPI.to_be_bytes()[..], &1u32.to_be_bytes()].concat();
        let (iv, mut data, mut icv) = ([0; 8], [1, 2, pad, NEXT_HEADER_IPV4], [0; 16]);
        cipher.seal(&iv, &header, &mut data, &[], &mut icv).unwrap();
        let mut packet = [&header[..], &iv, &data, &icv].concat();
        let inn = Inbound::new(SPI, &keys, false, 32).unwrap();
        assert_eq!(inn.open(&mut packet), Err(EspError::BadPadding));
        assert_eq!(inn.stats().malformed, 1);
    }
}

#[test]
fn payloads_that_fit_no_packet_are_refused() {
    let (out, inn) = pair(SUITES[2], true);
    let mut buffer = Vec::new();
    let mut rng = SeededRandom::new(1);
    assert_eq!(out.seal(4, &vec![0; 65_535], &mut rng, &mut buffer), Err(EspError::TooLong));
    assert!(buffer.is_empty());
    assert_eq!(out.next_sequence(), 1, "no number is lost");
    out.seal(4, &vec![0; 65_400], &mut rng, &mut buffer).unwrap();
    inn.open(&mut buffer).unwrap();
}

#[test]
fn records_with_unknown_or_wrong_keys_are_refused() {
    let good = || keys(SUITES[4], 1);
    for spoil in [
        |keys: &mut SaKeys| keys.encr = 3,
        |keys: &mut SaKeys| keys.encr_key_bits = 64,
        |keys: &mut SaKeys| keys.integ = 2,
        |keys: &mut SaKeys| keys.integ = 0,
        |keys: &mut SaKeys| keys.encr_key.push(0),
        |keys: &mut SaKeys| keys.integ_key.push(0),
        |keys: &mut SaKeys| keys.encr_key.clear(),
    ] {
        let mut bad = good();
        spoil(&mut bad);
        assert!(Outbound::new(SPI, &bad, false).is_err());
        assert!(Inbound::new(SPI, &bad, false, 32).is_err());
    }
}

/// CBC IVs come from the source of randomness, AEAD IVs from the sequence number.
#[test]
fn initialisation_vectors() {
    let (out, _) = pair(SUITES[2], true);
    let packets: Vec<_> = (0..3).map(|_| sealed(&out, b"x")).collect();
    for (packet, number) in packets.iter().zip(1u64..) {
        assert_eq!(packet[8..16], number.to_be_bytes());
    }
    let (out, _) = pair(SUITES[4], true);
    let mut rng = SeededRandom::new(77);
    let ivs: std::collections::BTreeSet<Vec<u8>> = (0..100)
        .map(|_| {
            let mut packet = Vec::new();
            out.seal(4, b"x", &mut rng, &mut packet).unwrap();
            packet[8..24].to_vec()
        })
        .collect();
    assert_eq!(ivs.len(), 100);
}

/// Threads share both ends: no number is given twice, each packet opens exactly once.
#[test]
fn threads_share_an_sa() {
    let keys = keys(SUITES[2], 8);
    let out = Arc::new(Outbound::new(SPI, &keys, true).unwrap());
    let inn = Arc::new(Inbound::new(SPI, &keys, true, 8192).unwrap());
    let packets: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let out = Arc::clone(&out);
                scope.spawn(move || (0..250).map(|_| sealed(&out, b"payload")).collect::<Vec<_>>())
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let opened: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let (inn, packets) = (Arc::clone(&inn), packets.clone());
                scope.spawn(move || {
                    packets.into_iter().filter_map(|mut p| inn.open(&mut p).ok().map(drop)).count()
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    assert_eq!(opened, 1000);
    assert_eq!(inn.stats().packets, 1000);
    assert_eq!(inn.stats().replays, 3000);
}

#[test]
fn what_comes_on_the_nat_port() {
    assert!(is_nat_keepalive(&[0xff]));
    for other in [&[][..], &[0xfe], &[0xff, 0xff], &[0; 4]] {
        assert!(!is_nat_keepalive(other));
    }
    assert_eq!(spi_of(&[0, 0, 0, 0, 1, 2, 3, 4]), None);
    assert_eq!(spi_of(&[0, 0, 1]), None);
    assert_eq!(spi_of(&[0, 0, 1, 0]), Some(256));
}

proptest! {
    #[test]
    fn arbitrary_octets_never_open(
        suite in 0..SUITES.len(),
        esn in any::<bool>(),
        with_spi in any::<bool>(),
        mut octets in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let (_, inn) = pair(SUITES[suite], esn);
        if with_spi && let Some(front) = octets.first_chunk_mut() {
            *front = SPI.to_be_bytes();
        }
        prop_assert!(inn.open(&mut octets).is_err());
        prop_assert_eq!(inn.stats().packets, 0);
    }

    #[test]
    fn any_order_delivers_each_packet_once(
        order in proptest::collection::vec(0usize..40, 0..120),
        suite in 0..SUITES.len(),
    ) {
        let (out, inn) = pair(SUITES[suite], true);
        let packets: Vec<_> = (0..40).map(|_| sealed(&out, b"payload")).collect();
        let mut seen = std::collections::BTreeSet::new();
        for index in order {
            let fresh = seen.insert(index);
            prop_assert_eq!(inn.open(&mut packets[index].clone()).is_ok(), fresh);
        }
    }
}

#[test]
fn traffic_flow_padding_goes_behind_the_payload_and_hides_its_length() {
    for suite in SUITES {
        let (out, inn) = pair(suite, true);
        let mut lengths = Vec::new();
        for len in [20, 21, 500, 1000] {
            let payload: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let mut packet = Vec::new();
            out.seal_padded(NEXT_HEADER_IPV4, &payload, 1000 - len, &mut SeededRandom::new(1), &mut packet)
                .unwrap();
            lengths.push(packet.len());
            let opened = inn.open(&mut packet).unwrap();
            assert_eq!(opened.payload.len(), 1000);
            assert_eq!(opened.payload[..len], payload);
            assert!(opened.payload[len..].iter().all(|octet| *octet == 0));
        }
        assert!(lengths.windows(2).all(|two| two[0] == two[1]), "{lengths:?}");
        let mut buffer = Vec::new();
        let mut rng = SeededRandom::new(1);
        assert_eq!(out.seal_padded(4, &[1; 100], 65_500, &mut rng, &mut buffer), Err(EspError::TooLong));
        assert_eq!(out.seal_padded(4, &[1; 100], usize::MAX, &mut rng, &mut buffer), Err(EspError::TooLong));
        assert!(buffer.is_empty());
    }
}
