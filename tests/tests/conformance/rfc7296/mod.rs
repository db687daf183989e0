//! RFC 7296, chapter 2: the details of the protocol.

mod section_2;
mod section_2_1;
mod section_2_2;
mod section_2_3;
mod section_2_4;
mod section_2_5;
mod section_2_6;

use adit_wire::Header;

use crate::net::{Captured, End};
use crate::pair::Pair;
use crate::setup::{Auth, Setup};

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
