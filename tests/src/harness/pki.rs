//! Certificates, private keys and names: from any bytes to a value that can be shown and asked, or to an error.

use adit_ipsec::{Identity, MatchQuality, dn};
use adit_pki::{Certificate, TrustAnchors, load_private_key};

pub(super) fn run(data: &[u8]) {
    if let Ok(certificate) = Certificate::from_der(data) {
        assert_eq!(certificate.der(), data);
        look_at(&certificate);
        let again = Certificate::from_der(certificate.der()).expect("the same bytes");
        assert!(again == certificate);
    }
    if let Ok(certificates) = Certificate::from_pem_or_der(data) {
        certificates.iter().for_each(look_at);
        if let [leaf, rest @ ..] = certificates.as_slice() {
            // A chain of a peer's making: it may say anything, it must not be believed without an authority.
            let verdict = TrustAnchors::default().verify(leaf, rest, leaf.not_before());
            assert!(verdict.is_err());
        }
    }
    // Without a passphrase: the cost of guarding a key is its owner's choice, and can be any number.
    if let Err(error) = load_private_key(data, None) {
        assert!(!error.to_string().is_empty());
    }
    name(Identity::Dn(data.to_vec()));
    drop(dn::attributes(data));
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(der) = dn::parse(text) {
            assert!(dn::attributes(&der).is_some(), "what was written as DER reads");
            assert_eq!(dn::matches(&der, &der), MatchQuality::Exact);
        }
        if let Ok(identity) = Identity::parse(text) {
            name(identity);
        }
    }
}

fn look_at(certificate: &Certificate) {
    for id in [certificate.subject(), certificate.issuer()] {
        name(id);
    }
    for id in certificate.alt_names() {
        name(id.clone());
        assert!(certificate.certifies(id), "an alternative name is certified");
    }
    assert!(!certificate.certifies(&Identity::Any));
    let _ = (certificate.serial(), certificate.spki(), certificate.spki_sha1(), certificate.is_ca());
    let _ = (certificate.is_self_issued(), format!("{certificate:?}"));
    for time in [certificate.not_before(), certificate.not_after()] {
        assert!(!adit_pki::utc(time).is_empty());
    }
    if let Ok(key) = certificate.public_key() {
        assert!(key.bits() >= 255);
    }
    let anchors = TrustAnchors::new(vec![certificate.clone()]);
    for time in [certificate.not_before(), certificate.not_after(), 0] {
        if let Err(error) = anchors.verify(certificate, std::slice::from_ref(certificate), time) {
            assert!(!error.to_string().chars().any(char::is_control));
        }
    }
}

/// Shown in a log, a name is one line.
fn name(identity: Identity) {
    assert!(!identity.to_string().chars().any(char::is_control));
    let _ = identity.matches(&identity);
}
