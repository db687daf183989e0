//! §2.2: Use of Sequence Numbers for Message ID.

use adit_ike::Command;

use super::{header, sent, up};
use crate::net::End;

#[test]
fn message_ids_count_up_in_each_direction_by_itself() {
    let mut pair = up();
    for _ in 0..3 {
        for end in End::BOTH {
            let id = pair.children(end)[0];
            pair.command(end, Command::RekeyChild { id });
            pair.settle().unwrap();
        }
    }
    for end in End::BOTH {
        let mut ids: Vec<u32> = sent(&pair, end, false).into_iter().map(|it| header(it).message_id).collect();
        ids.dedup();
        let first = ids[0];
        assert!(ids.len() >= 6, "a rekeying and a delete for each turn");
        assert!(ids.iter().zip(first..).all(|(id, wanted)| *id == wanted), "{ids:?}");
        // The client has sent IKE_SA_INIT and IKE_AUTH, the gateway nothing.
        assert_eq!(first, if end == End::Client { 2 } else { 0 });
    }
}
