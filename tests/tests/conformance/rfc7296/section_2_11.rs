//! §2.11: Address and Port Agility.

use adit_ike::Command;

use super::{sent, up, up_with};
use crate::net::End;

//= rfc7296 2.11-1, 2.11-2, 2.23-1
#[test]
fn answers_go_to_and_come_from_where_the_request_went() {
    for nat in [false, true] {
        let mut pair = if nat { up_with(|setup| setup.behind_nat()) } else { up() };
        let id = pair.children(End::Client)[0];
        pair.command(End::Client, Command::RekeyChild { id });
        pair.settle().unwrap();
        let (requests, answers) = (sent(&pair, End::Client, false), sent(&pair, End::Gateway, true));
        assert!(requests.len() >= 2 && requests.len() == answers.len(), "{}", pair.story());
        for (request, answer) in requests.iter().zip(answers) {
            assert_eq!((request.src, request.dst), (answer.dst, answer.src));
            // The NAT box gives ports above 20,000.
            assert_eq!(request.src.port() >= 20_000, nat);
        }
    }
}
