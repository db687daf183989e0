//! §2.25: Exchange Collisions.

use adit_ike::Command;
use adit_wire::ExchangeType;

use crate::lab::{Lab, Msg, honest};
use crate::net::End;
use crate::pair::SECOND;
use crate::setup::Auth;
use crate::wire::Raw;

const TEMPORARY_FAILURE: u16 = 43;

//= rfc7296 2.25-1
#[test]
fn what_failed_for_a_time_is_not_tried_again_at_once() {
    for child in [true, false] {
        let mut lab = Lab::connected(Auth::Psk);
        let (ike, id) = lab.ids(End::Client).unwrap();
        let mut times = Vec::new();
        let mut refuse = |msg: &mut Msg| {
            if msg.is(ExchangeType::CREATE_CHILD_SA, true) && times.is_empty() {
                msg.chain = vec![Raw::notify(TEMPORARY_FAILURE, &[])];
                times.push(());
            }
        };
        let command = if child { Command::RekeyChild { id } } else { Command::RekeyIke { id: ike } };
        lab.command(End::Client, command, &mut refuse);
        assert_eq!(times.len(), 1);
        let asked = |lab: &Lab| {
            let sent = |text: &str| text.contains("generating CREATE_CHILD_SA request");
            let logs = lab
                .mallory
                .events
                .iter()
                .filter(|(_, event)| matches!(event, adit_ike::Event::Log { text, .. } if sent(text)));
            logs.map(|(at, _)| *at).collect::<Vec<u64>>()
        };
        let first = asked(&lab);
        assert_eq!(first.len(), 1, "{}", lab.story());
        lab.advance(120, &mut honest);
        let all = asked(&lab);
        assert!(all.len() >= 2, "it is tried again\n{}", lab.story());
        assert!(all[1] - all[0] >= SECOND, "{all:?}");
    }
}
