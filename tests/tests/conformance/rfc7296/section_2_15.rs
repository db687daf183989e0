//! §2.15: Authentication of the IKE SA.

use crate::lab::{Lab, honest};
use crate::setup::{Auth, CLIENT, GATEWAY, secret};

fn with_secrets(client: &'static str, gateway: &'static str) -> Lab {
    Lab::with(Auth::Psk, |setup| {
        setup.client.credentials.shared = vec![secret(&[CLIENT, GATEWAY], client)];
        setup.gateway.credentials.shared = vec![secret(&[CLIENT, GATEWAY], gateway)];
    })
}

//= rfc7296 2.15-1
#[test]
fn long_secrets_are_taken_as_they_are() {
    let long = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef, and more than 64 octets";
    let mut lab = with_secrets(long, long);
    assert_eq!(lab.connect(&mut honest), Some(Ok(())), "{}", lab.story());
    lab.finish();
    // Every octet counts, behind the 64th, too, and one more of zero is another secret.
    for other in [&long[..64], &long[..long.len() - 1]] {
        let mut lab = with_secrets(long, other.to_owned().leak());
        assert!(matches!(lab.connect(&mut honest), Some(Err(_))), "{}", lab.story());
        lab.finish();
    }
    // (Behind a key shorter than a block HMAC itself puts zeros: only a long one shows a terminator.)
    let terminated: &str = Box::leak(format!("{long}{long}\0").into_boxed_str());
    let bare: &str = terminated.trim_end_matches('\0');
    let mut lab = with_secrets(bare, terminated);
    assert!(matches!(lab.connect(&mut honest), Some(Err(_))), "{}", lab.story());
    lab.finish();
}
