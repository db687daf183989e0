//! §2.23: NAT Traversal.

use adit_ike::Command;
use adit_wire::{ExchangeType, PayloadType};

use super::{Talk, header, listen, notifies, sent, up_with};
use crate::lab::{Lab, Msg};
use crate::net::End;
use crate::setup::Auth;

const NAT_DETECTION_SOURCE_IP: u16 = 16388;
const NAT_DETECTION_DESTINATION_IP: u16 = 16389;

//= rfc7296 2.23-7
#[test]
fn both_ends_say_what_addresses_they_see() {
    let mut lab = Lab::new(Auth::Psk);
    let mut talk = Talk::new();
    assert_eq!(lab.connect(&mut listen(&mut talk)), Some(Ok(())));
    let init: Vec<_> = talk.iter().filter(|(_, h, _)| h.exchange == ExchangeType::IKE_SA_INIT).collect();
    assert_eq!(init.len(), 2);
    for (_, _, chain) in init {
        let kinds = notifies(chain);
        assert!([NAT_DETECTION_SOURCE_IP, NAT_DETECTION_DESTINATION_IP].iter().all(|it| kinds.contains(it)));
    }
    lab.finish();
}

//= rfc7296 2.23-2, 2.23-3, 2.23-5
#[test]
fn behind_a_nat_everything_goes_by_port_4500_and_esp_in_udp() {
    let mut pair = up_with(|setup| setup.behind_nat());
    let (id, ike) = (pair.children(End::Client)[0], pair.ikes(End::Client)[0]);
    pair.command(End::Client, Command::RekeyChild { id });
    pair.settle().unwrap();
    pair.command(End::Gateway, Command::RekeyIke { id: pair.ikes(End::Gateway)[0] });
    pair.settle().unwrap();
    assert_ne!(pair.ikes(End::Client)[0], ike);
    for captured in &pair.net.capture {
        let port = if captured.from == End::Client { captured.dst.port() } else { captured.src.port() };
        assert_eq!(port, 4500);
    }
    for end in End::BOTH {
        let host = pair.host(end);
        assert!(!host.sad.is_empty());
        for entry in host.sad.values() {
            assert!(entry.udp_encap);
            let ours = if end == End::Client { entry.remote.port() } else { entry.local.port() };
            assert_eq!(ours, 4500, "never in UDP on port 500");
        }
    }
}

//= rfc7296 2.23-8
#[test]
fn digests_that_do_not_fit_move_the_initiator_to_port_4500() {
    for kind in [NAT_DETECTION_SOURCE_IP, NAT_DETECTION_DESTINATION_IP] {
        let mut lab = Lab::new(Auth::Psk);
        let bend = &mut |msg: &mut Msg| {
            if msg.is(ExchangeType::IKE_SA_INIT, true) {
                let fits =
                    |raw: &&mut crate::wire::Raw| raw.kind == 41 && raw.body[2..4] == kind.to_be_bytes();
                msg.chain.iter_mut().find(fits).unwrap().body[4] ^= 1;
            }
        };
        // The signed octets differ then: whoever bends them is found out in IKE_AUTH, which already goes elsewhere.
        lab.connect(bend);
        let sa = lab.mallory.events.iter().any(|(_, event)| {
            matches!(event, adit_ike::Event::Log { text, .. }
                if text.contains("sending packet") && text.contains("[4500]"))
        });
        assert!(sa, "{kind}\n{}", lab.story());
        lab.clean();
    }
}

//= rfc7296 2.23-1
#[test]
fn without_nat_messages_go_from_and_to_a_well_known_port() {
    let mut pair = up_with(|_| {});
    pair.terminate(End::Client).unwrap();
    for captured in &pair.net.capture {
        assert!([500, 4500].contains(&captured.src.port()) && [500, 4500].contains(&captured.dst.port()));
    }
    assert!(!sent(&pair, End::Client, false).is_empty());
    assert!(sent(&pair, End::Client, false).iter().all(|it| header(it).next == PayloadType::SK));
}
