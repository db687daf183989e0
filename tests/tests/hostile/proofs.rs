//! IKE_AUTH: identities, certificates, signatures, secrets.

use std::sync::Arc;

use adit_ike::{Command, Config};
use adit_wire::{ExchangeType, PayloadType};

use crate::lab::{Lab, Msg, honest};
use crate::pki::{Algorithm, Pki};
use crate::setup::{Auth, secret};
use crate::wire::Raw;

const INVALID_SYNTAX: u16 = 7;
const AUTHENTICATION_FAILED: u16 = 24;

/// Mallory connects with a bent IKE_AUTH request, and is refused.
fn refused(lab: &mut Lab, expected: &[u16], what: &str, bend: impl Fn(&mut Msg)) {
    let mut done = false;
    lab.connect(&mut |msg| {
        if msg.is(ExchangeType::IKE_AUTH, false) && !done {
            done = true;
            bend(msg);
        }
    });
    assert_eq!(lab.errors(), expected, "{what}\n{}", lab.story());
    assert!(!lab.is_in() && lab.gateway.sad.len() == 1, "{what}\n{}", lab.story());
    assert!(!lab.gateway.failures().is_empty(), "{what}: no reason");
    lab.clean();
}

#[test]
fn row_02_24_31_lax_signatures() {
    for algorithm in [Algorithm::Rsa, Algorithm::P256, Algorithm::P384, Algorithm::Ed25519] {
        let mut lab = Lab::new(Auth::Cert(algorithm));
        let denied = &[AUTHENTICATION_FAILED];
        let what = format!("{algorithm:?}");
        // Where the signature begins: behind the AUTH header, the length of the identifier, and the identifier.
        let start = |body: &[u8]| 5 + usize::from(body[4]);
        refused(&mut lab, denied, &what, |msg| {
            let body = msg.body(PayloadType::AUTH);
            body.truncate(start(body));
        });
        refused(&mut lab, denied, &what, |msg| {
            let body = msg.body(PayloadType::AUTH);
            let from = start(body);
            body[from..].fill(0);
        });
        // Values that a lax DER reader of ECDSA signatures takes: (0, 0), (1, 1), negative, empty.
        for der in [
            &[0x30, 0x06, 2, 1, 0, 2, 1, 0][..],
            &[0x30, 0x06, 2, 1, 1, 2, 1, 1],
            &[0x30, 0x06, 2, 1, 0xff, 2, 1, 0xff],
            &[0x30, 0x04, 2, 0, 2, 0],
            &[0x30, 0],
            &[0],
        ] {
            refused(&mut lab, denied, &what, |msg| {
                let body = msg.body(PayloadType::AUTH);
                body.truncate(start(body));
                body.extend(der);
            });
        }
        for extra in [1, 32, 10_000] {
            refused(&mut lab, denied, &what, |msg| msg.body(PayloadType::AUTH).extend(vec![0; extra]));
        }
        refused(&mut lab, denied, &what, |msg| _ = msg.body(PayloadType::AUTH).pop());
        refused(&mut lab, denied, &what, |msg| {
            let body = msg.body(PayloadType::AUTH);
            let from = start(body);
            body.insert(from, 0);
        });
        // Every octet of the identifier, and of its length, is another; that takes NULL parameters with it.
        for at in 4..5 + 80 {
            let mut last = false;
            let mut done = false;
            lab.connect(&mut |msg| {
                if msg.is(ExchangeType::IKE_AUTH, false) && !done {
                    done = true;
                    let body = msg.body(PayloadType::AUTH);
                    last = at >= start(body);
                    body[at] ^= 1;
                }
            });
            assert!(!lab.is_in() && lab.errors() == denied, "{what} {at}\n{}", lab.story());
            lab.clean();
            if last {
                break;
            }
        }
        // Other methods: RSA of RFC 7296, ECDSA of RFC 4754, NULL (RFC 7619), a MAC in the place of a signature.
        for method in [0, 1, 2, 3, 9, 10, 11, 12, 13, 15, 255] {
            refused(&mut lab, denied, &format!("{what}, method {method}"), |msg| {
                msg.body(PayloadType::AUTH)[0] = method;
            });
            refused(&mut lab, denied, &format!("{what}, method {method}"), |msg| {
                let body = msg.body(PayloadType::AUTH);
                body.truncate(4);
                body[0] = method;
            });
        }
        // What the gateway signed is not what mallory has to sign.
        assert_eq!(lab.connect(&mut honest), Some(Ok(())), "{}", lab.story());
        lab.finish();
    }
}

#[test]
fn row_31_empty_and_zero_macs() {
    let mut lab = Lab::new(Auth::Psk);
    for length in [0, 1, 16, 31, 32, 33, 64, 60_000] {
        refused(&mut lab, &[AUTHENTICATION_FAILED], &format!("{length}"), |msg| {
            let body = msg.body(PayloadType::AUTH);
            body.truncate(4);
            body.extend(vec![0; length]);
        });
    }
    refused(&mut lab, &[AUTHENTICATION_FAILED], "cut", |msg| _ = msg.body(PayloadType::AUTH).pop());
    refused(&mut lab, &[AUTHENTICATION_FAILED], "longer", |msg| msg.body(PayloadType::AUTH).push(0));
    lab.finish();
    // The last AUTH of EAP is a MAC, too; and at the client, that of the gateway.
    let mut lab = Lab::new(Auth::EapAndPsk);
    for response in [false, true] {
        for length in [0, 32] {
            lab.connect(&mut |msg| {
                if msg.is(ExchangeType::IKE_AUTH, response)
                    && let Some(raw) = msg.get(PayloadType::AUTH)
                {
                    raw.body.truncate(4);
                    raw.body.extend(vec![0; length]);
                }
            });
            assert!(lab.mallory.sad.is_empty() && lab.noticed(), "{}", lab.story());
            lab.clean();
        }
    }
    lab.finish();
}

#[test]
fn row_03_degenerate_public_keys() {
    for algorithm in [Algorithm::Rsa, Algorithm::P256] {
        let mut lab = Lab::new(Auth::Cert(algorithm));
        let denied = &[AUTHENTICATION_FAILED];
        let spki = Pki::of(algorithm).client.certificate.spki().to_vec();
        let find = move |der: &[u8]| der.windows(spki.len()).position(|it| it == spki).unwrap() + spki.len();
        // The public exponent (RSA), or the end of the point: 0, 1, 2, even, negative.
        for value in [[0, 0, 0], [0, 0, 1], [0, 0, 2], [1, 0, 0], [0xff; 3]] {
            refused(&mut lab, denied, &format!("{algorithm:?} {value:?}"), |msg| {
                let body = msg.body(PayloadType::CERT);
                let end = find(body);
                body[end - 3..end].copy_from_slice(&value);
            });
        }
        // A modulus, or a point, of zeros; an algorithm that is none.
        refused(&mut lab, denied, "zeros", |msg| {
            let body = msg.body(PayloadType::CERT);
            let end = find(body);
            body[end - 40..end - 5].fill(0);
        });
        let length = Pki::of(algorithm).client.certificate.der().len();
        for cut in (0..length).step_by(29) {
            refused(&mut lab, denied, &format!("{cut} octets"), |msg| {
                msg.body(PayloadType::CERT).truncate(1 + cut);
            });
        }
        // Encodings that nobody here reads count as no certificate.
        for encoding in [0, 1, 5, 7, 11, 12, 13, 255] {
            refused(&mut lab, denied, "encoding", |msg| msg.body(PayloadType::CERT)[0] = encoding);
        }
        lab.finish();
    }
}

#[test]
fn row_23_many_different_certificates() {
    let mut lab = Lab::new(Auth::Cert(Algorithm::P256));
    for n in 0..100_u32 {
        refused(&mut lab, &[AUTHENTICATION_FAILED], "another", |msg| {
            let body = msg.body(PayloadType::CERT);
            // The signature, and the parameters of its algorithm outside, are no part of the identity.
            let at = body.len() - 1 - (n as usize % 90);
            body[at] ^= 1 + (n / 90) as u8;
        });
    }
    // As many in one message as it takes; those of mallory's friends behind its own one are of no use.
    let others = [Pki::stranger().client.certificate.der(), Pki::of(Algorithm::P256).large.certificate.der()];
    for certificate in others {
        for count in [1, 8, 11] {
            let outcome = lab.connect(&mut |msg| {
                if msg.is(ExchangeType::IKE_AUTH, false) {
                    let at = msg.chain.iter().position(|raw| raw.kind == PayloadType::CERT.0).unwrap() + 1;
                    let raw = Raw::new(PayloadType::CERT, [&[4], certificate].concat());
                    msg.chain.splice(at..at, vec![raw; count]);
                }
            });
            assert_eq!(outcome, Some(Ok(())), "{}", lab.story());
            lab.clean();
        }
    }
    lab.finish();
}

#[test]
fn row_35_the_right_kind_of_key_but_a_wrong_one() {
    for algorithm in [Algorithm::Rsa, Algorithm::P256, Algorithm::Ed25519] {
        let pki = Pki::of(algorithm);
        // The gateway's key signs for the client's certificate.
        let mut lab = Lab::with(Auth::Cert(algorithm), |setup| {
            let spki = pki.client.certificate.spki().to_vec();
            setup.client.credentials.keys = vec![(spki, Arc::clone(&pki.gateway.key))];
        });
        refused(&mut lab, &[AUTHENTICATION_FAILED], "a wrong key", |_| {});
        assert_eq!(lab.setup.client.credentials.keys.len(), 1);
        lab.finish();
        // The gateway's certificate and key: they are good, but the client's identity is not in there.
        let mut lab = Lab::with(Auth::Cert(algorithm), |setup| {
            setup.client.conn.local.certs = vec![pki.gateway.certificate.clone()];
            setup.client.credentials.keys = vec![pki.gateway.keys()];
        });
        refused(&mut lab, &[AUTHENTICATION_FAILED], "a wrong certificate", |_| {});
        lab.finish();
    }
    // A stranger's authority of the same names.
    let mut lab = Lab::with(Auth::Cert(Algorithm::P256), |setup| {
        let stranger = Pki::stranger();
        setup.client.conn.local.certs = vec![stranger.client.certificate.clone()];
        setup.client.credentials.keys = vec![stranger.client.keys()];
    });
    refused(&mut lab, &[AUTHENTICATION_FAILED], "a stranger", |_| {});
    refused(&mut lab, &[AUTHENTICATION_FAILED], "a stranger that brings its authority", |msg| {
        let authority = [&[4], Pki::stranger().authority.der()].concat();
        msg.chain.push(Raw::new(PayloadType::CERT, authority));
    });
    lab.finish();
}

#[test]
fn row_35_another_peers_secret() {
    // The bystander has a secret of its own with the gateway; it is not good for anyone else's name.
    let mut lab = Lab::with(Auth::Psk, |setup| {
        let theirs = secret(&[crate::setup::CLIENT, crate::setup::GATEWAY], "another secret");
        setup.client.credentials.shared = vec![theirs];
    });
    refused(&mut lab, &[AUTHENTICATION_FAILED], "the bystander's secret", |_| {});
    lab.finish();
}

#[test]
fn row_06_the_secret_is_gone_after_the_first_exchange() {
    let mut lab = Lab::new(Auth::Psk);
    for _ in 0..3 {
        let mut held = Vec::new();
        lab.connect(&mut |msg| {
            if msg.is(ExchangeType::IKE_AUTH, false) {
                let keys = msg.keys.clone().unwrap();
                let (first, plain) = crate::wire::join(&msg.chain);
                held = crate::wire::seal(&keys, &msg.header, first, None, &plain);
                msg.instead = Some(Vec::new());
            }
        });
        let whole = lab.gateway_config();
        let mut credentials = (*whole.credentials).clone();
        credentials.shared.clear();
        let without = Config { credentials: Arc::new(credentials), connections: whole.connections.clone() };
        let now = lab.now;
        lab.gateway.command(now, Command::SetConfig(Arc::new(without)));
        lab.forget();
        lab.send(&held);
        assert_eq!(lab.errors(), [AUTHENTICATION_FAILED], "{}", lab.story());
        assert_eq!(lab.gateway.failures(), ["no-shared-key"], "{}", lab.story());
        assert_eq!(lab.gateway.endpoint.stats().half_open, 0);
        // Its retransmissions meet nobody.
        lab.forget();
        lab.send(&held);
        assert!(lab.answers.is_empty() && lab.noticed());
        lab.gateway.command(now, Command::SetConfig(whole));
        lab.clean();
        assert_eq!(lab.connect(&mut honest), Some(Ok(())), "{}", lab.story());
        lab.clean();
    }
    lab.finish();
}

#[test]
fn row_32_identities_of_every_length() {
    for auth in [Auth::Psk, Auth::Cert(Algorithm::P256), Auth::EapAndPsk] {
        let mut lab = Lab::new(auth);
        for payload in [PayloadType::IDI, PayloadType::IDR] {
            for kind in [0, 1, 2, 3, 5, 9, 10, 11, 13, 200, 255] {
                for length in [0, 1, 3, 5, 15, 17, 4095, 4096, 4097, 60_000] {
                    let mut done = false;
                    lab.connect(&mut |msg| {
                        if msg.is(ExchangeType::IKE_AUTH, false) && !done {
                            done = true;
                            msg.drop(payload);
                            let body = [&[kind, 0, 0, 0][..], &vec![0xff; length]].concat();
                            msg.chain.insert(0, Raw::new(payload, body));
                            // So that it fits.
                            msg.drop(PayloadType::CERT);
                        }
                    });
                    let errors = lab.errors();
                    assert!(
                        [&[INVALID_SYNTAX][..], &[AUTHENTICATION_FAILED]].contains(&&errors[..]),
                        "{kind} {length} {errors:?}\n{}",
                        lab.story()
                    );
                    assert!(!lab.is_in() && !lab.gateway.failures().is_empty());
                    if length == 0 || length > 4096 {
                        assert_eq!(errors, [INVALID_SYNTAX], "{kind} {length}");
                    }
                    lab.clean();
                }
            }
        }
        lab.finish();
    }
}

#[test]
fn row_33_what_a_peer_calls_itself_is_no_terminal_sequence() {
    // `clean` looks at every text for control characters and at its length.
    let names: [&[u8]; 6] = [
        b"a\nb\r\x1b[2J\x07$(reboot)`id`;|&",
        b"\0\0\0\0",
        b"\x80\x81\x9b31m",
        "\u{202e}\u{85}\u{2028}%s%n".as_bytes(),
        &[0x1b; 4096],
        b"\x7f\xff\xfe",
    ];
    for auth in [Auth::Psk, Auth::EapAndPsk, Auth::Cert(Algorithm::P256)] {
        let mut lab = Lab::new(auth);
        for name in names {
            for kind in [2, 3, 9, 10, 11, 200] {
                for payload in [PayloadType::IDI, PayloadType::IDR] {
                    // At the gateway, then at an initiator that reads an answer.
                    for response in [false, true] {
                        lab.connect(&mut |msg| {
                            if msg.is(ExchangeType::IKE_AUTH, response)
                                && let Some(raw) = msg.get(payload)
                            {
                                raw.body = [&[kind, 0, 0, 0], name].concat();
                            }
                        });
                        lab.clean();
                    }
                }
            }
            // EAP identities and vendor IDs.
            lab.connect(&mut |msg| {
                if msg.is(ExchangeType::IKE_AUTH, false)
                    && let Some(raw) = msg.get(PayloadType::EAP)
                    && raw.body.get(4) == Some(&1)
                {
                    raw.body.truncate(5);
                    raw.body.extend(name);
                    let length = (raw.body.len() as u16).to_be_bytes();
                    raw.body[2..4].copy_from_slice(&length);
                }
                msg.chain.push(Raw::new(PayloadType::VENDOR, name));
            });
            lab.clean();
        }
        lab.finish();
    }
}
