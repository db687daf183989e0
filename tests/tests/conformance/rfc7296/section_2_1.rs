//! §2.1: Use of Retransmission Timers.

use adit_ike::Command;
use adit_wire::ExchangeType;

use super::{header, message, sent, up, up_with};
use crate::lab::Lab;
use crate::net::End;
use crate::pair::SECOND;
use crate::setup::Auth;

//= rfc7296 2.1-1
#[test]
fn a_responder_never_retransmits_unasked() {
    let mut pair = up();
    let id = pair.children(End::Client)[0];
    pair.command(End::Client, Command::RekeyChild { id });
    // The request arrives; from its answer on nothing does, and the client is not there to ask again.
    pair.run_until(u64::MAX, |pair| !sent(pair, End::Gateway, true).is_empty());
    pair.net.cut = true;
    pair.crash(End::Client);
    pair.run_for(20 * SECOND);
    assert_eq!(sent(&pair, End::Gateway, true).len(), 1, "{}", pair.story());
}

//= rfc7296 2.1-2, 2.1-4
#[test]
fn a_repeated_request_has_the_response_repeated_and_nothing_else() {
    let mut pair = up();
    let id = pair.children(End::Client)[0];
    pair.command(End::Client, Command::RekeyChild { id });
    pair.run_until(u64::MAX, |pair| !sent(pair, End::Client, false).is_empty());
    let request = sent(&pair, End::Client, false)[0].clone();
    pair.run_until(u64::MAX, |pair| !sent(pair, End::Gateway, true).is_empty());
    let (installed, spis) = (pair.gateway.installed_ever, pair.gateway.sad.len());
    for _ in 0..3 {
        let now = pair.now;
        pair.net.fly(now, End::Gateway, request.src, request.dst, request.bytes.clone());
        pair.run_until(now, |_| false);
    }
    let answers: Vec<_> = sent(&pair, End::Gateway, true).into_iter().map(|it| it.bytes.clone()).collect();
    assert_eq!(answers.len(), 4, "{}", pair.story());
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!((pair.gateway.installed_ever, pair.gateway.sad.len()), (installed, spis));
    pair.settle().unwrap();
}

//= rfc7296 2.1-5
#[test]
fn a_request_whose_response_is_forgotten_is_ignored() {
    let mut lab = Lab::connected(Auth::Psk);
    let old = lab.sealed(ExchangeType::INFORMATIONAL, 2, &[]);
    lab.send(&old);
    lab.answers_ping(3);
    lab.forget();
    // The window is 1: with 3 the response to 2 went.
    lab.send(&old);
    assert!(lab.answers.is_empty() && lab.is_in(), "{}", lab.story());
    lab.answers_ping(4);
    // Long after the exchange the response to the last request is forgotten, too.
    lab.advance(3600, &mut crate::lab::honest);
    lab.forget();
    let last = lab.sealed(ExchangeType::INFORMATIONAL, 4, &[]);
    lab.send(&last);
    assert!(lab.answers.is_empty() && lab.is_in(), "{}", lab.story());
    lab.answers_ping(5);
}

//= rfc7296 2.1-3, 2.1-6, 2.1-7, 2.2-1, 2.3-6
#[test]
fn an_initiator_repeats_its_request_bit_by_bit_until_it_gives_up() {
    let mut pair = up_with(|setup| setup.client.conn.dpd_delay = std::time::Duration::ZERO);
    pair.net.cut = true;
    let id = pair.children(End::Client)[0];
    pair.command(End::Client, Command::RekeyChild { id });
    pair.run_for(600 * SECOND);
    let requests = sent(&pair, End::Client, false);
    let tries = pair.client.endpoint.settings().retransmit_tries as usize;
    assert_eq!(requests.len(), 1 + tries, "{}", pair.story());
    for request in &requests {
        assert_eq!(message(request), message(requests[0]));
        assert_eq!(header(request).message_id, header(requests[0]).message_id);
    }
    // Then the IKE_SA has failed: it is gone.
    assert!(pair.client.endpoint.ike_sas().next().is_none(), "{}", pair.story());
}

//= rfc7296 2.1-3, 2.1-6
#[test]
fn a_response_ends_the_retransmission() {
    let mut pair = up();
    let id = pair.children(End::Client)[0];
    pair.net.cut = true;
    pair.command(End::Client, Command::RekeyChild { id });
    pair.run_for(20 * SECOND);
    pair.net.cut = false;
    pair.settle().unwrap();
    let exchanged = |it: &&super::Captured| header(it).exchange == ExchangeType::CREATE_CHILD_SA;
    let requests = sent(&pair, End::Client, false).into_iter().filter(exchanged).count();
    let answers = sent(&pair, End::Gateway, true).into_iter().filter(exchanged).count();
    assert!(requests > 1 && answers == 1, "{requests} {answers}\n{}", pair.story());
    pair.net.capture.clear();
    pair.run_for(25 * SECOND);
    assert!(sent(&pair, End::Client, false).iter().all(|it| !exchanged(it)));
}
