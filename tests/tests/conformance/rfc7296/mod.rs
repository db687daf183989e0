//! RFC 7296, chapter 2: the details of the protocol.

mod section_2;
mod section_2_1;
mod section_2_10;
mod section_2_11;
mod section_2_15;
mod section_2_16;
mod section_2_18;
mod section_2_19;
mod section_2_2;
mod section_2_21;
mod section_2_22;
mod section_2_23;
mod section_2_25;
mod section_2_3;
mod section_2_4;
mod section_2_5;
mod section_2_6;
mod section_2_7;
mod section_2_8;
mod section_2_9;

use adit_wire::{Header, Payload, PayloadType, ProposalPayload, parse_payloads};

use crate::lab::Msg;
use crate::net::{Captured, End};
use crate::pair::Pair;
use crate::setup::{Auth, Setup};
use crate::wire::{self, Raw};

/// A pair whose IKE_SA and CHILD_SA are up and which has nothing to do; what was sent until then is forgotten.
fn up() -> Pair {
    up_with(|_| {})
}

fn up_with(turn: impl FnOnce(&mut Setup)) -> Pair {
    let mut setup = Setup::new(Auth::Psk);
    turn(&mut setup);
    let mut pair = Pair::new(setup, 1);
    pair.up(End::Client).unwrap_or_else(|reason| panic!("{reason}\n{}", pair.story()));
    pair.settle().unwrap_or_else(|difference| panic!("{difference}\n{}", pair.story()));
    pair.net.capture.clear();
    pair
}

/// The IKE message in a captured datagram.
fn message(captured: &Captured) -> &[u8] {
    if captured.src.port() == 500 && captured.dst.port() == 500 {
        &captured.bytes
    } else {
        captured.bytes.strip_prefix(&[0; 4]).expect("the non-ESP marker")
    }
}

fn header(captured: &Captured) -> Header {
    Header::parse(message(captured)).expect("an IKE header")
}

/// What one end sent: requests, or responses.
fn sent(pair: &Pair, from: End, response: bool) -> Vec<&Captured> {
    let is = |it: &&Captured| it.from == from && header(it).flags.response == response;
    pair.net.capture.iter().filter(is).collect()
}

/// The one payload of that type in a chain, read.
fn payload(chain: &[Raw], kind: PayloadType) -> Option<Payload> {
    let raw = chain.iter().find(|raw| raw.kind == kind.0)?;
    let (first, bytes) = wire::join(std::slice::from_ref(raw));
    parse_payloads(PayloadType(first), &bytes).expect("a payload that reads").pop()
}

/// The proposals of the SA payload of a chain.
fn proposals(chain: &[Raw]) -> Option<Vec<ProposalPayload>> {
    match payload(chain, PayloadType::SA)? {
        Payload::Sa(proposals) => Some(proposals),
        _ => None,
    }
}

/// Types of the notifies of a chain.
fn notifies(chain: &[Raw]) -> Vec<u16> {
    let notifies = chain.iter().filter(|raw| raw.kind == PayloadType::NOTIFY.0);
    notifies.map(|raw| u16::from_be_bytes([raw.body[2], raw.body[3]])).collect()
}

/// Everything that passes between mallory and the gateway, in order: to the gateway, header, chain.
type Talk = Vec<(bool, Header, Vec<Raw>)>;

/// A bend that bends nothing and listens.
fn listen(talk: &mut Talk) -> impl FnMut(&mut Msg) {
    |msg: &mut Msg| talk.push((msg.to_gateway, msg.header, msg.chain.clone()))
}
