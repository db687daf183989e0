//! RFC 7383: IKEv2 Message Fragmentation.

use adit_ike::Fragmentation;
use adit_wire::{Envelope, ExchangeType, Header, PayloadType};

use crate::lab::{Lab, Msg, honest};
use crate::net::{Captured, End};
use crate::pair::{Pair, SECOND};
use crate::pki::Algorithm;
use crate::setup::{Auth, Setup};
use crate::wire::{self, Raw};

const FRAGMENTATION_SUPPORTED: u16 = 16430;
/// Nobody knows this status notify: it is passed over.
const STATUS: u16 = 40_000;

/// A pair whose IKE_AUTH does not fit into a datagram.
fn large(turn: impl FnOnce(&mut Setup)) -> Pair {
    let mut setup = Setup::new(Auth::Cert(Algorithm::Ed25519));
    setup.both(|side| side.settings.fragment_size = 576);
    turn(&mut setup);
    let mut pair = Pair::new(setup, 3);
    pair.up(End::Client).unwrap_or_else(|reason| panic!("{reason}\n{}", pair.story()));
    pair
}

fn message(captured: &Captured) -> &[u8] {
    captured.bytes.strip_prefix(&[0; 4]).unwrap_or(&captured.bytes)
}

/// Header; number and total, of a fragment; the type of the first payload inside.
type Sent = (Header, Option<(u16, u16)>, PayloadType);

/// Every protected message that was sent.
fn fragments(pair: &Pair) -> Vec<Sent> {
    let read = |captured: &Captured| {
        let envelope = Envelope::parse(message(captured)).unwrap();
        let encrypted = envelope.encrypted?;
        // §2.5: it is the last payload; before it there is nothing.
        assert!(envelope.clear.is_empty());
        Some((envelope.header, encrypted.fragment, encrypted.first_inner))
    };
    pair.net.capture.iter().filter_map(read).collect()
}

//= rfc7383 2.3-1, 2.3-2, 2.3-3
#[test]
fn support_is_announced_by_an_empty_notify() {
    let mut lab = Lab::new(Auth::Psk);
    let mut seen = 0;
    lab.connect(&mut |msg: &mut Msg| {
        let says = |raw: &&Raw| raw.kind == 41 && raw.body[2..4] == FRAGMENTATION_SUPPORTED.to_be_bytes();
        if let Some(raw) = msg.chain.iter().find(says) {
            assert_eq!(msg.header.exchange, ExchangeType::IKE_SA_INIT);
            assert_eq!(raw.body, [0, 0, 0x40, 0x2e]);
            seen += 1;
        }
    });
    assert_eq!(seen, 2);
    lab.finish();
}

//= rfc7383 2.4-1
#[test]
fn nothing_is_split_for_a_peer_that_did_not_say_it_can_join() {
    for silent in End::BOTH {
        let pair = large(|setup| {
            let side = if silent == End::Client { &mut setup.client } else { &mut setup.gateway };
            side.conn.fragmentation = Fragmentation::No;
        });
        assert!(fragments(&pair).iter().all(|(_, fragment, _)| fragment.is_none()), "{}", pair.story());
    }
}

//= rfc7383 2.5-1, 2.5-2, 2.5-3, 2.5-4, 2.5-5, 2.5-6, 2.5-7
#[test]
fn fragments_are_numbered_and_carry_the_header_of_their_message() {
    let pair = large(|_| {});
    let all = fragments(&pair);
    let split: Vec<_> =
        all.iter().filter_map(|(header, fragment, inner)| Some((header, (*fragment)?, inner))).collect();
    assert!(split.len() >= 4, "{}", pair.story());
    let mut at = 0;
    while at < split.len() {
        let (header, (number, total), inner) = &split[at];
        assert_eq!((*number, **inner != PayloadType::NONE), (1, true));
        for n in 0..*total {
            let (next, (number, its_total), inner) = &split[at + usize::from(n)];
            assert_eq!((*number, *its_total), (n + 1, *total));
            assert_eq!(n > 0, **inner == PayloadType::NONE);
            assert_eq!(next.next, PayloadType::SKF);
            assert_eq!(
                Header { length: 0, ..**next },
                Header { length: 0, ..**header },
                "the header of the message"
            );
        }
        at += usize::from(*total);
    }
    assert!(pair.net.capture.iter().all(|it| it.bytes.len() <= 576 - 28));
}

/// A lab, and what makes pieces of an INFORMATIONAL request.
struct Pieces {
    lab: Lab,
    first: u8,
    plain: Vec<u8>,
}

impl Pieces {
    fn new() -> Self {
        let (first, plain) = wire::join(&[Raw::notify(STATUS, &[0x33; 900])]);
        Self { lab: Lab::connected(Auth::Psk), first, plain }
    }

    fn bytes(&self, mid: u32, number: u16, total: u16) -> Vec<u8> {
        let each = self.plain.len().div_ceil(usize::from(total));
        let data = self.plain.chunks(each).nth(usize::from(number) - 1).unwrap();
        let header = self.lab.request(ExchangeType::INFORMATIONAL, mid);
        let first = if number == 1 { self.first } else { 0 };
        wire::seal(
            self.lab.gateway_keys(self.lab.spis()).unwrap(),
            &header,
            first,
            Some((number, total)),
            data,
        )
    }

    /// Sends pieces; how many answers there are.
    fn send(&mut self, mid: u32, pieces: &[(u16, u16)]) -> usize {
        self.lab.forget();
        for (number, total) in pieces {
            let bytes = self.bytes(mid, *number, *total);
            self.lab.send(&bytes);
        }
        self.lab.answers.len()
    }
}

//= rfc7383 2.6-1, 2.6-2, 2.6-4, 2.6.1-1
#[test]
fn a_total_only_grows_and_a_larger_one_begins_anew() {
    let mut pieces = Pieces::new();
    // The 3 pieces outdate the piece of 2; a piece of 2 after that is dropped, and so is one that is there already.
    assert_eq!(pieces.send(2, &[(1, 2), (1, 3), (2, 2), (1, 3), (2, 3)]), 0);
    assert!(pieces.lab.noticed());
    assert_eq!(pieces.send(2, &[(3, 3)]), 1, "{}", pieces.lab.story());
    assert!(pieces.lab.errors().is_empty());
    pieces.lab.finish();
}

//= rfc7383 2.6-3
#[test]
fn a_fragment_with_a_wrong_icv_is_dropped() {
    let mut pieces = Pieces::new();
    let mut bent = pieces.bytes(2, 2, 2);
    *bent.last_mut().unwrap() ^= 1;
    assert_eq!(pieces.send(2, &[(1, 2)]), 0);
    pieces.lab.send(&bent);
    assert!(pieces.lab.answers.is_empty() && pieces.lab.is_in() && pieces.lab.noticed());
    assert_eq!(pieces.send(2, &[(2, 2)]), 1, "{}", pieces.lab.story());
    pieces.lab.finish();
}

//= rfc7383 2.6-5
#[test]
fn fragments_without_the_rest_are_forgotten() {
    let mut pieces = Pieces::new();
    assert_eq!(pieces.send(2, &[(1, 2)]), 0);
    pieces.lab.advance(61, &mut honest);
    assert_eq!(pieces.send(2, &[(2, 2)]), 0, "{}", pieces.lab.story());
    assert_eq!(pieces.send(2, &[(1, 2)]), 1);
    pieces.lab.finish();
}

//= rfc7383 2.6.1-2
#[test]
fn only_the_first_fragment_has_the_response_repeated() {
    let mut pieces = Pieces::new();
    assert_eq!(pieces.send(2, &[(1, 3), (2, 3), (3, 3)]), 1);
    assert_eq!(pieces.send(2, &[(2, 3), (3, 3)]), 0);
    assert_eq!(pieces.send(2, &[(1, 3)]), 1, "{}", pieces.lab.story());
    pieces.lab.finish();
}

//= rfc7383 2.5.2-4
#[test]
fn a_split_request_is_repeated_until_it_is_given_up() {
    let mut pair = {
        let mut setup = Setup::new(Auth::Cert(Algorithm::Ed25519));
        setup.both(|side| side.settings.fragment_size = 576);
        Pair::new(setup, 3)
    };
    pair.initiate(End::Client, None);
    let split = |pair: &Pair| fragments(pair).iter().filter(|(h, ..)| !h.flags.response).count();
    assert!(pair.run_until(600 * SECOND, |pair| split(pair) > 0));
    pair.net.cut = true;
    pair.run_for(400 * SECOND);
    let all = fragments(&pair);
    let once = usize::from(all[0].1.expect("fragments").1);
    let tries = pair.client.endpoint.settings().retransmit_tries as usize;
    let sent = all.iter().filter(|(header, ..)| !header.flags.response).count();
    assert_eq!(sent, once * (1 + tries), "{}", pair.story());
}
