//! Certificates and keys as strongSwan's `pki` tool and openssl make them.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use adit_crypto::KeyKind;
use adit_ipsec::Identity;
use adit_pki::{Certificate, CertificateError, KeyFileError, PathError, TrustAnchors, load_private_key};

/// 2027-01-01.
const NOW: i64 = 1_798_761_600;

fn file(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap()
}

fn certificate(name: &str) -> Certificate {
    let mut all = Certificate::from_pem_or_der(&file(name)).unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[test]
fn chains_of_three_are_accepted() {
    for (kind, key_kind) in
        [("rsa", KeyKind::Rsa), ("ecdsa", KeyKind::EcdsaP256), ("ed25519", KeyKind::Ed25519)]
    {
        let [ca, sub, leaf] = ["ca", "sub", "leaf"].map(|who| certificate(&format!("{kind}-{who}.pem")));
        let anchors = TrustAnchors::new(vec![ca.clone()]);
        let path = anchors.verify(&leaf, std::slice::from_ref(&sub), NOW).unwrap();
        assert_eq!(path, [leaf.clone(), sub.clone(), ca.clone()]);
        assert_eq!(leaf.public_key().unwrap().kind(), key_kind);
        assert!(ca.is_ca() && sub.is_ca() && !leaf.is_ca());
        assert_eq!(leaf.issuer(), sub.subject());

        // Without the intermediate the sentence names it.
        let error = anchors.verify(&leaf, &[], NOW).unwrap_err();
        assert_eq!(error, PathError::UnknownIssuer { issuer: sub.subject() });

        // An intermediate can be the anchor.
        assert_eq!(TrustAnchors::new(vec![sub.clone()]).verify(&leaf, &[], NOW).unwrap().len(), 2);

        // Before and after.
        assert_eq!(
            anchors.verify(&leaf, std::slice::from_ref(&sub), leaf.not_before() - 1).unwrap_err(),
            PathError::NotYetValid { subject: leaf.subject(), from: leaf.not_before() }
        );
        assert_eq!(
            anchors.verify(&leaf, std::slice::from_ref(&sub), leaf.not_after() + 1).unwrap_err(),
            PathError::Expired { subject: leaf.subject(), since: leaf.not_after() }
        );
    }
}

#[test]
fn names_bind_identities() {
    let leaf = certificate("ecdsa-leaf.pem");
    let fqdn = |name: &str| Identity::Fqdn(name.to_owned());
    let mail = |name: &str| Identity::Rfc822(name.to_owned());
    assert_eq!(leaf.alt_names().len(), 4);
    assert!(leaf.certifies(&fqdn("gw.example.net")));
    assert!(leaf.certifies(&fqdn("GW.example.NET")));
    assert!(leaf.certifies(&mail("carol@example.net")));
    assert!(leaf.certifies(&Identity::Ipv4([192, 0, 2, 1].into())));
    assert!(leaf.certifies(&Identity::Ipv6("2001:db8::1".parse().unwrap())));
    assert!(leaf.certifies(&leaf.subject()));

    assert!(!leaf.certifies(&fqdn("example.net")));
    assert!(!leaf.certifies(&fqdn("*.example.net")));
    assert!(!leaf.certifies(&mail("gw.example.net")));
    assert!(!leaf.certifies(&fqdn("carol@example.net")));
    assert!(!leaf.certifies(&Identity::Ipv4([192, 0, 2, 2].into())));
    assert!(!leaf.certifies(&Identity::Any));
    assert!(!leaf.certifies(&Identity::KeyId(b"gw.example.net".to_vec())));
    assert!(!leaf.certifies(&leaf.issuer()));
    assert!(!leaf.certifies(&Identity::Dn(vec![])));
    assert!(!leaf.certifies(&Identity::Dn(vec![0x30, 0])));
}

#[test]
fn a_name_is_the_same_in_another_string_type_and_case() {
    let leaf = certificate("ecdsa-leaf.pem");
    let Identity::Dn(mut dn) = leaf.subject() else { panic!() };
    let at = dn.windows(14).position(|window| window == b"gw.example.net").unwrap();
    for tag in [0x0c, 0x13] {
        dn[at - 2] = tag;
        dn[at] = b'G';
        assert!(leaf.certifies(&Identity::Dn(dn.clone())));
    }
    dn[at + 1] = b'v';
    assert!(!leaf.certifies(&Identity::Dn(dn)));
}

#[test]
fn the_key_hash_names_an_authority() {
    let ca = certificate("rsa-ca.pem");
    assert_eq!(ca.spki_sha1(), adit_crypto::sha1(&[ca.spki()]));
    assert_eq!(ca.spki()[0], 0x30);
    assert!(!ca.serial().is_empty() && ca.serial().len() <= 20);
}

#[test]
fn a_pinned_self_signed_peer_is_accepted_and_no_other() {
    let pinned = certificate("pinned.pem");
    assert!(pinned.is_self_issued());
    let anchors = TrustAnchors::new(vec![certificate("rsa-ca.pem"), pinned.clone()]);
    assert_eq!(anchors.verify(&pinned, &[], NOW).unwrap(), std::slice::from_ref(&pinned));
    assert!(matches!(anchors.verify(&pinned, &[], pinned.not_after() + 1), Err(PathError::Expired { .. })));
    let others = TrustAnchors::new(vec![certificate("rsa-ca.pem")]);
    assert!(matches!(others.verify(&pinned, &[], NOW), Err(PathError::UnknownIssuer { .. })));
}

#[test]
fn version_1_can_be_pinned_but_not_issued() {
    let v1 = certificate("v1.pem");
    assert!(TrustAnchors::new(vec![v1.clone()]).verify(&v1, &[], NOW).is_ok());
    let issued = certificate("v1-issued.pem");
    let error = TrustAnchors::new(vec![v1]).verify(&issued, &[], NOW).unwrap_err();
    assert!(matches!(error, PathError::Unsupported(_)), "{error}");
}

#[test]
fn sha_1_and_short_keys_are_refused() {
    let anchors = TrustAnchors::new(vec![certificate("rsa-ca.pem")]);
    let error = anchors.verify(&certificate("sha1.pem"), &[], NOW).unwrap_err();
    assert!(matches!(error, PathError::Unsupported(_)), "{error}");
    let weak = certificate("weak.pem");
    let error = TrustAnchors::new(vec![weak.clone()]).verify(&weak, &[], NOW).unwrap_err();
    assert!(matches!(error, PathError::Key(_)), "{error}");
}

#[test]
fn private_keys_of_every_form() {
    let spki = |name: &str| certificate(name).spki().to_vec();
    for (name, passphrase, certificate) in [
        ("rsa-leaf.key", None, "rsa-leaf.pem"),
        ("rsa-leaf.p8.key", None, "rsa-leaf.pem"),
        ("rsa-leaf.p1.der", None, "rsa-leaf.pem"),
        ("ecdsa-leaf.key", None, "ecdsa-leaf.pem"),
        ("ecdsa-leaf.key", Some("needless"), "ecdsa-leaf.pem"),
        ("ecdsa-leaf.p8.der", None, "ecdsa-leaf.pem"),
        ("ecdsa-leaf.sec1.der", None, "ecdsa-leaf.pem"),
        ("ecdsa-leaf.enc.key", Some("secret"), "ecdsa-leaf.pem"),
        ("ecdsa-leaf.scrypt.key", Some("secret"), "ecdsa-leaf.pem"),
        ("ed25519-leaf.key", None, "ed25519-leaf.pem"),
    ] {
        let key = load_private_key(&file(name), passphrase).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(key.public_spki(), spki(certificate), "{name}");
    }
    // Parameters before the key.
    assert_eq!(load_private_key(&file("ecdsa-params.key"), None).unwrap().kind(), KeyKind::EcdsaP384);
}

#[test]
fn private_keys_that_cannot_be_read_say_why() {
    let error = |name: &str, passphrase| load_private_key(&file(name), passphrase).unwrap_err();
    assert_eq!(error("ecdsa-leaf.enc.key", None), KeyFileError::PassphraseNeeded);
    assert!(matches!(error("ecdsa-leaf.enc.key", Some("wrong")), KeyFileError::Decrypt(_)));
    assert_eq!(error("rsa-leaf.legacy.key", Some("secret")), KeyFileError::LegacyEncryption);
    assert_eq!(error("rsa-leaf.pem", None), KeyFileError::NoKey);
    for junk in [&b""[..], b"0", b"text", &[0x30, 0x80], &[0x30, 3, 2, 1, 0], &[0xff; 64]] {
        assert_eq!(load_private_key(junk, None).unwrap_err(), KeyFileError::NoKey);
    }
    let mut broken = file("ed25519-leaf.key");
    let at = broken.len() / 2;
    broken[at] = b'!';
    assert_eq!(load_private_key(&broken, None).unwrap_err(), KeyFileError::Damaged);
}

#[test]
fn files_may_hold_several_certificates_and_other_things() {
    let bundle =
        [file("ecdsa-params.key"), file("ecdsa-leaf.pem"), b"junk\n".to_vec(), file("ecdsa-sub.pem")]
            .concat();
    let all = Certificate::from_pem_or_der(&bundle).unwrap();
    assert_eq!(all, [certificate("ecdsa-leaf.pem"), certificate("ecdsa-sub.pem")]);
    assert_eq!(Certificate::from_pem_or_der(all[0].der()).unwrap(), all[..1]);
    assert_eq!(Certificate::from_pem_or_der(&file("rsa-leaf.key")), Err(CertificateError::NoneInFile));
}

#[test]
fn cut_and_bent_key_files_never_panic() {
    for name in ["ecdsa-leaf.p8.der", "ecdsa-leaf.sec1.der", "ecdsa-leaf.key", "ed25519-leaf.key"] {
        let whole = file(name);
        for length in 0..whole.len() {
            let _ = load_private_key(&whole[..length], Some("secret"));
        }
        for at in 0..whole.len() {
            for value in [0, 0x30, 0x7f, 0x80, 0xff] {
                let mut bent = whole.clone();
                bent[at] = value;
                let _ = load_private_key(&bent, Some("secret"));
            }
        }
    }
}
