//! Certification paths, good and bad, from authorities made on the spot.

#![allow(clippy::unwrap_used, clippy::panic)]

use adit_ipsec::Identity;
use adit_pki::{Certificate, PathError, TrustAnchors};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, CustomExtension, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType, SignatureAlgorithm,
    date_time_ymd,
};

/// 2027-01-01.
const NOW: i64 = 1_798_761_600;

struct Entity {
    certificate: Certificate,
    params: CertificateParams,
    key: KeyPair,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2036, 1, 1);
    params
}

fn ca(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf(dns: &str) -> CertificateParams {
    let mut params = params("leaf");
    params.subject_alt_names = vec![SanType::DnsName(dns.try_into().unwrap())];
    params
}

impl Entity {
    fn root(params: CertificateParams) -> Self {
        Self::root_with(params, &rcgen::PKCS_ECDSA_P256_SHA256)
    }

    fn root_with(params: CertificateParams, algorithm: &'static SignatureAlgorithm) -> Self {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = Certificate::from_der(params.self_signed(&key).unwrap().der()).unwrap();
        Self { certificate, params, key }
    }

    fn issue(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = Certificate::from_der(params.signed_by(&key, &issuer).unwrap().der()).unwrap();
        Self { certificate, params, key }
    }

    fn anchors(&self) -> TrustAnchors {
        TrustAnchors::new(vec![self.certificate.clone()])
    }
}

fn refused(anchors: &TrustAnchors, leaf: &Entity, intermediates: &[&Entity]) -> PathError {
    let candidates: Vec<_> = intermediates.iter().map(|ca| ca.certificate.clone()).collect();
    let error = anchors.verify(&leaf.certificate, &candidates, NOW).unwrap_err();
    assert!(error.to_string().len() > 20);
    error
}

fn accepted(anchors: &TrustAnchors, leaf: &Entity, intermediates: &[&Entity]) -> usize {
    let candidates: Vec<_> = intermediates.iter().map(|ca| ca.certificate.clone()).collect();
    anchors.verify(&leaf.certificate, &candidates, NOW).unwrap().len()
}

#[test]
fn every_kind_of_authority_key() {
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_RSA_SHA256,
    ] {
        let root = Entity::root_with(ca("root"), algorithm);
        let end = root.issue(leaf("a.example.net"));
        assert_eq!(accepted(&root.anchors(), &end, &[]), 2);
        assert!(end.certificate.certifies(&Identity::Fqdn("a.example.net".into())));
        // The common name is no identity.
        assert!(!end.certificate.certifies(&Identity::Fqdn("leaf".into())));
    }
}

#[test]
fn expired_and_early_at_every_place_in_the_path() {
    type Bend = fn(&mut CertificateParams);
    let late: Bend = |params| params.not_after = date_time_ymd(2026, 6, 1);
    let early: Bend = |params| params.not_before = date_time_ymd(2030, 1, 1);
    for (bend, is_late) in [(late, true), (early, false)] {
        for place in 0..3 {
            let mut made = [ca("root"), ca("sub"), leaf("a.example.net")];
            bend(&mut made[place]);
            let [root, sub, end] = made;
            let root = Entity::root(root);
            let sub = root.issue(sub);
            let end = sub.issue(end);
            let whose = [&root, &sub, &end][place].certificate.subject();
            match refused(&root.anchors(), &end, &[&sub]) {
                PathError::Expired { subject, since } if is_late => {
                    assert_eq!((subject, since), (whose, 1_780_272_000));
                }
                PathError::NotYetValid { subject, from } if !is_late => {
                    assert_eq!((subject, from), (whose, 1_893_456_000));
                }
                other => panic!("{other}"),
            }
        }
    }
}

#[test]
fn an_expired_anchor_does_not_hide_a_renewed_one() {
    let mut old = ca("root");
    old.not_after = date_time_ymd(2026, 6, 1);
    let old = Entity::root(old);
    let renewed = ca("root").self_signed(&old.key).unwrap();
    let renewed = Certificate::from_der(renewed.der()).unwrap();
    let end = old.issue(leaf("a.example.net"));
    let anchors = TrustAnchors::new(vec![old.certificate.clone(), renewed.clone()]);
    let path = anchors.verify(&end.certificate, &[], NOW).unwrap();
    assert_eq!(path[1], renewed);
}

#[test]
fn an_unknown_authority_is_named() {
    let ours = Entity::root(ca("ours"));
    let theirs = Entity::root(ca("theirs"));
    let sub = theirs.issue(ca("sub"));
    let end = sub.issue(leaf("a.example.net"));
    let issuer = theirs.certificate.subject();
    assert_eq!(refused(&ours.anchors(), &end, &[&sub]), PathError::UnknownIssuer { issuer: issuer.clone() });
    // Sending their root along changes nothing.
    assert_eq!(refused(&ours.anchors(), &end, &[&sub, &theirs]), PathError::UnknownIssuer { issuer });
    assert!(matches!(refused(&TrustAnchors::default(), &end, &[&sub]), PathError::UnknownIssuer { .. }));
}

#[test]
fn another_authority_of_the_same_name_is_a_bad_signature() {
    let ours = Entity::root(ca("root"));
    let theirs = Entity::root(ca("root"));
    let end = theirs.issue(leaf("a.example.net"));
    assert!(matches!(refused(&ours.anchors(), &end, &[]), PathError::BadSignature { .. }));
    // With both configured the right one is found.
    let both = TrustAnchors::new(vec![ours.certificate.clone(), theirs.certificate.clone()]);
    assert_eq!(both.verify(&end.certificate, &[], NOW).unwrap()[1], theirs.certificate);
}

#[test]
fn a_changed_signature_or_body_is_refused() {
    let root = Entity::root(ca("root"));
    let end = root.issue(leaf("a.example.net"));
    let mut der = end.certificate.der().to_vec();
    *der.last_mut().unwrap() ^= 1;
    let forged = Certificate::from_der(&der).unwrap();
    assert!(matches!(root.anchors().verify(&forged, &[], NOW), Err(PathError::BadSignature { .. })));

    let mut der = end.certificate.der().to_vec();
    let at = der.windows(13).position(|window| window == b"a.example.net").unwrap();
    der[at] = b'b';
    let forged = Certificate::from_der(&der).unwrap();
    assert!(forged.certifies(&Identity::Fqdn("b.example.net".into())));
    assert!(matches!(root.anchors().verify(&forged, &[], NOW), Err(PathError::BadSignature { .. })));
}

#[test]
fn only_authorities_issue() {
    let root = Entity::root(ca("root"));
    // No basicConstraints, an explicit "no", and the flag without keyCertSign.
    let mut explicit = params("sub");
    explicit.is_ca = IsCa::ExplicitNoCa;
    let mut usage = ca("sub");
    usage.key_usages = vec![KeyUsagePurpose::CrlSign];
    for sub in [params("sub"), explicit, usage] {
        let sub = root.issue(sub);
        let end = sub.issue(leaf("a.example.net"));
        let subject = sub.certificate.subject();
        assert_eq!(refused(&root.anchors(), &end, &[&sub]), PathError::NotACa { subject: subject.clone() });
        // Nor does being configured make it one.
        assert_eq!(refused(&sub.anchors(), &end, &[]), PathError::NotACa { subject });
    }
    // And an authority is no peer.
    let sub = root.issue({
        let mut sub = ca("sub");
        sub.key_usages.clear();
        sub
    });
    assert!(matches!(refused(&root.anchors(), &sub, &[]), PathError::CaAsEndEntity { .. }));
}

#[test]
fn path_lengths_are_kept() {
    for (most, fine) in [(0, false), (1, true)] {
        // Of the anchor.
        let mut top = ca("root");
        top.is_ca = IsCa::Ca(BasicConstraints::Constrained(most));
        let root = Entity::root(top.clone());
        let sub = root.issue(ca("sub"));
        let end = sub.issue(leaf("a.example.net"));
        if fine {
            assert_eq!(accepted(&root.anchors(), &end, &[&sub]), 3);
        } else {
            assert!(matches!(refused(&root.anchors(), &end, &[&sub]), PathError::Constraint(_)));
        }
        // Of an intermediate.
        let root = Entity::root(ca("root"));
        let mut middle = ca("middle");
        middle.is_ca = IsCa::Ca(BasicConstraints::Constrained(most));
        let middle = root.issue(middle);
        let sub = middle.issue(ca("sub"));
        let end = sub.issue(leaf("a.example.net"));
        if fine {
            assert_eq!(accepted(&root.anchors(), &end, &[&sub, &middle]), 4);
        } else {
            assert!(matches!(refused(&root.anchors(), &end, &[&sub, &middle]), PathError::Constraint(_)));
        }
    }
}

fn constrained(permitted: Vec<GeneralSubtree>, excluded: Vec<GeneralSubtree>) -> CertificateParams {
    let mut params = ca("root");
    params.name_constraints =
        Some(NameConstraints { permitted_subtrees: permitted, excluded_subtrees: excluded });
    params
}

#[test]
fn name_constraints_ignore_case_and_fail_closed() {
    let dns = |name: &str| GeneralSubtree::DnsName(name.to_owned());
    let with = |san: SanType| {
        let mut params = params("leaf");
        params.subject_alt_names = vec![san];
        params
    };
    let name = |name: &str| with(SanType::DnsName(name.try_into().unwrap()));
    let address = |octets: [u8; 4]| with(SanType::IpAddress(octets.into()));
    let mail = |mail: &str| with(SanType::Rfc822Name(mail.try_into().unwrap()));
    let net = || GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([192, 0, 2, 0], 24));
    for (constraints, end, fine) in [
        // Excluded, in another case (CVE-2026-35331).
        (constrained(vec![], vec![dns("evil.example")]), name("host.EVIL.example"), false),
        (constrained(vec![], vec![dns("EVIL.example")]), name("host.evil.example"), false),
        (constrained(vec![], vec![dns("evil.example")]), name("host.good.example"), true),
        (constrained(vec![dns("good.example")], vec![]), name("HOST.Good.Example"), true),
        (constrained(vec![dns("good.example")], vec![]), name("hostgood.example"), false),
        (constrained(vec![net()], vec![]), address([192, 0, 2, 7]), true),
        (constrained(vec![net()], vec![]), address([192, 0, 3, 7]), false),
        (constrained(vec![], vec![net()]), address([192, 0, 2, 7]), false),
        // A kind webpki cannot compare refuses certificates that have it.
        (
            constrained(vec![], vec![GeneralSubtree::Rfc822Name("example.org".into())]),
            mail("a@example.net"),
            false,
        ),
        (
            constrained(vec![], vec![GeneralSubtree::Rfc822Name("example.org".into())]),
            name("a.example"),
            true,
        ),
    ] {
        // Constraints bind in an anchor and in an intermediate.
        let anchor = Entity::root(constraints.clone());
        let direct = anchor.issue(end.clone());
        let root = Entity::root(ca("top"));
        let sub = root.issue(constraints);
        let below = sub.issue(end);
        if fine {
            accepted(&anchor.anchors(), &direct, &[]);
            accepted(&root.anchors(), &below, &[&sub]);
        } else {
            assert!(matches!(refused(&anchor.anchors(), &direct, &[]), PathError::Constraint(_)));
            assert!(matches!(refused(&root.anchors(), &below, &[&sub]), PathError::Constraint(_)));
        }
    }
}

#[test]
fn purposes_of_ike() {
    let root = Entity::root(ca("root"));
    for (purpose, fine) in [
        (ExtendedKeyUsagePurpose::ServerAuth, true),
        (ExtendedKeyUsagePurpose::ClientAuth, true),
        (ExtendedKeyUsagePurpose::Any, true),
        (ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 5, 5, 8, 2, 2]), true),
        (ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 17]), true),
        (ExtendedKeyUsagePurpose::CodeSigning, false),
        (ExtendedKeyUsagePurpose::OcspSigning, false),
    ] {
        let mut end = leaf("a.example.net");
        end.extended_key_usages = vec![purpose.clone()];
        let end = root.issue(end);
        let mut two = leaf("a.example.net");
        two.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection, purpose];
        let two = root.issue(two);
        for end in [end, two] {
            if fine {
                accepted(&root.anchors(), &end, &[]);
            } else {
                assert!(matches!(refused(&root.anchors(), &end, &[]), PathError::Usage(_)));
            }
        }
    }
    // RFC 4945 §5.1.3.2.
    for (usage, fine) in [
        (KeyUsagePurpose::DigitalSignature, true),
        (KeyUsagePurpose::ContentCommitment, true),
        (KeyUsagePurpose::KeyEncipherment, false),
    ] {
        let mut end = leaf("a.example.net");
        end.key_usages = vec![usage];
        let end = root.issue(end);
        if fine {
            accepted(&root.anchors(), &end, &[]);
        } else {
            assert!(matches!(refused(&root.anchors(), &end, &[]), PathError::Usage(_)));
        }
    }
}

#[test]
fn an_unknown_critical_extension_is_refused() {
    let root = Entity::root(ca("root"));
    let mut end = leaf("a.example.net");
    let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    extension.set_criticality(true);
    end.custom_extensions = vec![extension];
    assert!(matches!(refused(&root.anchors(), &root.issue(end), &[]), PathError::Unsupported(_)));
}

#[test]
fn long_chains_and_many_candidates_end() {
    // Eight in all are fine, nine are not.
    let root = Entity::root(ca("root"));
    let mut chain = Vec::new();
    for depth in 0..7 {
        let next = chain.last().unwrap_or(&root).issue(ca(&format!("sub {depth}")));
        chain.push(next);
    }
    for (length, fine) in [(6, true), (7, false)] {
        let below = &chain[..length];
        let end = below.last().unwrap().issue(leaf("a.example.net"));
        let candidates: Vec<_> = below.iter().collect();
        if fine {
            assert_eq!(accepted(&root.anchors(), &end, &candidates), 8);
        } else {
            assert_eq!(refused(&root.anchors(), &end, &candidates), PathError::TooLong);
        }
    }
    // A pile of authorities that all have the same name and sign each other: bounded work.
    let pile: Vec<_> = (0..16).map(|_| Entity::root(ca("pile"))).collect();
    let end = pile[0].issue(leaf("a.example.net"));
    let candidates: Vec<_> = pile.iter().collect();
    refused(&root.anchors(), &end, &candidates);
    let many: Vec<_> = pile.iter().chain(&chain[..1]).collect();
    assert_eq!(refused(&root.anchors(), &end, &many), PathError::TooLong);
}

#[test]
fn cut_and_bent_certificates_never_panic() {
    let root = Entity::root(constrained(vec![GeneralSubtree::DnsName("example.net".into())], vec![]));
    let mut end = leaf("a.example.net");
    end.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    end.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let end = root.issue(end);
    let anchors = root.anchors();
    let der = end.certificate.der();
    for length in 0..der.len() {
        assert!(Certificate::from_der(&der[..length]).is_err());
    }
    assert!(Certificate::from_der(&[der, &[0][..]].concat()).is_err());
    assert!(Certificate::from_der(&vec![0x30; 20_000]).is_err());
    for at in 0..der.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff, der[at] ^ 1, der[at] ^ 0x20, der[at].wrapping_add(1)] {
            let mut bent = der.to_vec();
            bent[at] = value;
            if bent == der {
                continue;
            }
            if let Ok(bent) = Certificate::from_der(&bent) {
                assert!(anchors.verify(&bent, &[], NOW).is_err(), "byte {at} = {value}");
                let _ = bent.certifies(&Identity::Fqdn("a.example.net".into()));
                // As a candidate and as an anchor as well.
                let _ = anchors.verify(&end.certificate, std::slice::from_ref(&bent), NOW);
                let _ = TrustAnchors::new(vec![bent]).verify(&end.certificate, &[], NOW);
            }
        }
    }
}
