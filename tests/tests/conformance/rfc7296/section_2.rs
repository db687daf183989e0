//! §2: IKE Protocol Details and Variations.

use adit_wire::ExchangeType;

use super::{header, sent, up_with};
use crate::lab::Lab;
use crate::net::End;
use crate::setup::Auth;
use crate::wire::Raw;

//= rfc7296 2-1
#[test]
fn messages_of_1280_and_of_3000_octets_are_processed() {
    let mut lab = Lab::connected(Auth::Psk);
    for (mid, size) in [(2, 1280), (3, 3000)] {
        // An unknown status notify is ignored (§3.10.1), so that only its size matters.
        let overhead = lab.sealed(ExchangeType::INFORMATIONAL, mid, &[Raw::notify(50_000, &[])]).len();
        let padding = vec![0x5a; size - overhead];
        let message = lab.sealed(ExchangeType::INFORMATIONAL, mid, &[Raw::notify(50_000, &padding)]);
        assert_eq!(message.len(), size);
        lab.forget();
        lab.send(&message);
        assert_eq!(lab.answers, vec![(ExchangeType::INFORMATIONAL, Vec::new())], "{}", lab.story());
    }
    lab.finish();
}

//= rfc7296 2-2
#[test]
fn messages_on_port_4500_begin_with_four_zeros() {
    let pair = up_with(|setup| setup.behind_nat());
    // `up_with` forgets the handshake; liveness checks and deletes go the same way.
    let mut pair = pair;
    pair.terminate(End::Client).expect("an end");
    let both = [sent(&pair, End::Client, false), sent(&pair, End::Gateway, true)].concat();
    assert!(both.len() >= 2);
    for captured in both {
        let port = if captured.from == End::Client { captured.dst.port() } else { captured.src.port() };
        assert_eq!(port, 4500);
        assert_eq!(captured.bytes[..4], [0; 4]);
        assert_eq!(header(captured).exchange, ExchangeType::INFORMATIONAL);
    }
}
