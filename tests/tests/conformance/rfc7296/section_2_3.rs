//! §2.3: Window Size for Overlapping Requests.

use std::collections::BTreeMap;

use adit_ike::Command;
use adit_wire::{ExchangeType, Header};

use super::{header, sent, up};
use crate::lab::Lab;
use crate::net::End;
use crate::setup::Auth;
use crate::wire;

//= rfc7296 2.3-2, 2.3-4, 2.3-5
#[test]
fn one_request_at_a_time() {
    let mut pair = up();
    let (id, ike) = (pair.children(End::Client)[0], pair.ikes(End::Client)[0]);
    pair.command(End::Client, Command::RekeyChild { id });
    pair.command(End::Client, Command::RekeyIke { id: ike });
    pair.initiate(End::Client, Some("net"));
    let tag = pair.tag();
    pair.command(End::Client, Command::TerminateChild { id, tag });
    // What each IKE_SA waits for.
    let mut awaited = BTreeMap::new();
    pair.settle().unwrap();
    let mut seen = 0;
    for captured in &pair.net.capture {
        let header = header(captured);
        let of_client = (captured.from == End::Client) != header.flags.response;
        if !of_client {
            continue;
        }
        if header.flags.response {
            assert_eq!(awaited.remove(&header.spi_i), Some(header.message_id));
        } else {
            let before = awaited.insert(header.spi_i, header.message_id);
            assert_eq!(before, None, "a second request before the answer to the first");
            seen += 1;
        }
    }
    assert!(seen >= 4, "{}", pair.story());
}

//= rfc7296 2.3-3
#[test]
fn a_request_is_processed_while_one_is_outstanding() {
    let mut pair = up();
    let id = pair.children(End::Client)[0];
    pair.net.held = Some(Default::default());
    pair.command(End::Client, Command::RekeyChild { id });
    let id = pair.children(End::Gateway)[0];
    let tag = pair.tag();
    pair.command(End::Gateway, Command::TerminateChild { id, tag });
    let now = pair.now;
    pair.run_until(now, |_| false);
    // The client's request stays under way; the gateway's is delivered and answered.
    let request = pair.net.pick(End::Gateway, 0).expect("a delete");
    pair.net.deliver(now, request);
    pair.run_until(now, |_| false);
    assert_eq!(sent(&pair, End::Client, true).len(), 1, "{}", pair.story());
    let now = pair.now;
    pair.net.release(now);
    pair.settle().unwrap();
}

//= rfc7296 2.3-7
#[test]
fn the_last_response_can_be_had_again() {
    let mut lab = Lab::connected(Auth::Psk);
    let ping = lab.sealed(ExchangeType::INFORMATIONAL, 2, &[]);
    for _ in 0..3 {
        lab.send(&ping);
    }
    assert_eq!(lab.answers, vec![(ExchangeType::INFORMATIONAL, Vec::new()); 3], "{}", lab.story());
    lab.finish();
}

//= rfc7296 2.3-8
#[test]
fn a_request_outside_of_the_window_is_not_acknowledged() {
    let mut lab = Lab::connected(Auth::Psk);
    for mid in [3, 4, 5, 1000, u32::MAX, 0, 1] {
        let message = lab.sealed(ExchangeType::INFORMATIONAL, mid, &[]);
        lab.forget();
        lab.send(&message);
        // 1 is the IKE_AUTH request, whose answer is repeated for that request alone.
        let acknowledged = lab.answers.iter().any(|(exchange, _)| *exchange == ExchangeType::INFORMATIONAL);
        assert!(!acknowledged && lab.is_in(), "{mid}\n{}", lab.story());
    }
    lab.answers_ping(2);
    lab.finish();
}

#[test]
fn a_peer_that_promises_a_larger_window_changes_nothing() {
    let mut lab = Lab::connected(Auth::Psk);
    let (first, plain) = wire::join(&[wire::Raw::notify(16385, &[0, 0, 0, 16])]);
    let header: Header = lab.request(ExchangeType::INFORMATIONAL, 2);
    let message = wire::seal(lab.gateway_keys(lab.spis()).unwrap(), &header, first, None, &plain);
    lab.send(&message);
    assert_eq!(lab.answers, vec![(ExchangeType::INFORMATIONAL, Vec::new())]);
    lab.answers_ping(3);
    lab.finish();
}
