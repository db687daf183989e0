//! Signatures: what we make verifies, what others forge does not.

#![allow(clippy::unwrap_used, reason = "a failed fixture is a failed test")]

mod common;

use adit_crypto::{CryptoError, HashAlg, KeyKind, PrivateKey, PublicKey, SignatureScheme};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, RsaKeyPair,
};
use common::hex;

fn rsa(size: KeySize) -> PrivateKey {
    let pair = RsaKeyPair::generate(size).unwrap();
    PrivateKey::from_pkcs8(AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap().as_ref()).unwrap()
}

fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm) -> PrivateKey {
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
    PrivateKey::from_pkcs8(document.as_ref()).unwrap()
}

fn ed25519() -> PrivateKey {
    PrivateKey::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap().as_ref()).unwrap()
}

fn keys() -> Vec<PrivateKey> {
    vec![
        rsa(KeySize::Rsa2048),
        ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING),
        ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING),
        ecdsa(&ECDSA_P521_SHA512_ASN1_SIGNING),
        ed25519(),
    ]
}

#[test]
fn every_scheme_signs_and_verifies() {
    for (key, count) in keys().iter().zip([6, 3, 3, 3, 1]) {
        let public = PublicKey::from_spki(&key.public_spki()).unwrap();
        assert_eq!(public.kind(), key.kind());
        assert_eq!(public, key.public_key().unwrap());
        let schemes = key.schemes(&HashAlg::SUPPORTED, true);
        assert_eq!(schemes.len(), count, "{}", key.kind());
        for scheme in schemes {
            let signature = key.sign(scheme, b"octets").unwrap();
            public.verify(scheme, b"octets", &signature).unwrap();
            assert_eq!(public.verify(scheme, b"octet", &signature), Err(CryptoError::BadSignature));
        }
        for scheme in SignatureScheme::all().filter(|s| !key.schemes(&HashAlg::SUPPORTED, true).contains(s)) {
            assert_eq!(key.sign(scheme, b"octets"), Err(CryptoError::SchemeMismatch));
            assert_eq!(public.verify(scheme, b"octets", &[1; 64]), Err(CryptoError::SchemeMismatch));
        }
    }
}

/// CVE-2013-2944 and its kin: nothing empty, zero, cut, extended, flipped or taken from elsewhere passes.
#[test]
fn damaged_signatures_fail() {
    for key in keys() {
        let public = key.public_key().unwrap();
        for scheme in key.schemes(&HashAlg::SUPPORTED, false) {
            let good = key.sign(scheme, b"octets").unwrap();
            let refuse = |bad: &[u8]| {
                let verdict = public.verify(scheme, b"octets", bad);
                assert_eq!(verdict, Err(CryptoError::BadSignature), "{} {bad:02x?}", scheme.display_name());
            };
            refuse(&[]);
            for len in [1, 8, 32, 64, 96, 132, 256, good.len()] {
                refuse(&vec![0; len]);
                refuse(&vec![0xff; len]);
            }
            for len in [1, good.len() / 2, good.len() - 1] {
                refuse(&good[..len]);
                refuse(&good[good.len() - len..]);
            }
            refuse(&[&good[..], &[0]].concat());
            refuse(&[&[0], &good[..]].concat());
            for octet in 0..good.len() {
                let mut bad = good.clone();
                bad[octet] ^= 0x10;
                refuse(&bad);
            }
        }
    }
    // Zeroes in the shape of a DER signature, and of r | s.
    let public = ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING).public_key().unwrap();
    let zero = [0x30, 6, 2, 1, 0, 2, 1, 0];
    assert!(public.verify(SignatureScheme::Ecdsa(HashAlg::Sha256), b"", &zero).is_err());
    for len in [0, 63, 64, 65] {
        assert!(public.verify_legacy(9, b"", &vec![0; len]).is_err());
    }
}

/// CVE-2020-16088: a good signature by another key of the same type fails.
#[test]
fn another_key_of_the_same_kind_fails() {
    for (ours, theirs) in keys().iter().zip(keys()) {
        let scheme = ours.schemes(&HashAlg::SUPPORTED, true)[0];
        let signature = theirs.sign(scheme, b"octets").unwrap();
        let verdict = ours.public_key().unwrap().verify(scheme, b"octets", &signature);
        assert_eq!(verdict, Err(CryptoError::BadSignature));
    }
}

/// CVE-2026-50722, CVE-2018-16152: PKCS#1 v1.5 blocks with lax contents, made with a real key.
#[test]
fn lax_pkcs1_blocks_fail() {
    use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
    use crypto_bigint::{BoxedUint, Odd};
    // An RSA private key as a DER RSAPrivateKey gives n and d for signing blocks of our own making.
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let pkcs8 = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
    let numbers = integers_of_pkcs8(pkcs8.as_ref());
    let (n, d) = (&numbers[1], &numbers[3]);
    let params = BoxedMontyParams::new(Odd::new(BoxedUint::from_be_slice(n, 2048).unwrap()).unwrap());
    let sign_block = |block: &[u8]| {
        let base = BoxedUint::from_be_slice(block, 2048).unwrap();
        let exponent = BoxedUint::from_be_slice(d, 2048).unwrap();
        BoxedMontyForm::new(base, &params).pow(&exponent).retrieve().to_be_bytes().to_vec()
    };
    let public = PrivateKey::from_pkcs8(pkcs8.as_ref()).unwrap().public_key().unwrap();
    let verify = |block: &[u8]| {
        assert_eq!(block.len(), 256);
        public.verify(SignatureScheme::RsaPkcs1(HashAlg::Sha256), b"octets", &sign_block(block))
    };
    let digest = adit_crypto::hash(HashAlg::Sha256, &[b"octets"]);
    let with_null = [&hex("3031300d060960864801650304020105000420")[..], &digest].concat();
    let pad = |filler: u8, count: usize, info: &[u8], tail: &[u8]| {
        [&[0, 1][..], &vec![filler; count], &[0], info, tail].concat()
    };
    // The genuine block passes: the construction is right.
    verify(&pad(0xff, 253 - with_null.len(), &with_null, &[])).unwrap();

    let without_null = [&hex("302f300b0609608648016503040201 0420")[..], &digest].concat();
    let garbage_parameters = [&hex("3034301006096086480165030402010503010203 0420")[..], &digest].concat();
    let bare = digest.clone();
    let truncated = &with_null[..with_null.len() - 1];
    let sha1_name = [&hex("302d300906052b0e03021a05000420")[..], &digest].concat();
    for info in [&without_null[..], &garbage_parameters, &bare, truncated, &sha1_name] {
        assert_eq!(verify(&pad(0xff, 253 - info.len(), info, &[])), Err(CryptoError::BadSignature));
    }
    // Short padding with garbage behind (Bleichenbacher 2006), in front of the digest, and wrong padding octets.
    let short = pad(0xff, 8, &with_null, &vec![0x55; 253 - 8 - with_null.len()]);
    assert_eq!(verify(&short), Err(CryptoError::BadSignature));
    assert_eq!(verify(&pad(0xfe, 253 - with_null.len(), &with_null, &[])), Err(CryptoError::BadSignature));
    let mut block_type_2 = pad(0xff, 253 - with_null.len(), &with_null, &[]);
    block_type_2[1] = 2;
    assert_eq!(verify(&block_type_2), Err(CryptoError::BadSignature));
}

/// version, n, e, d, … of the RSAPrivateKey inside a PKCS#8 document: naive, for keys of 2048 bits.
fn integers_of_pkcs8(pkcs8: &[u8]) -> Vec<Vec<u8>> {
    // SEQUENCE, version, AlgorithmIdentifier, OCTET STRING header, SEQUENCE header.
    let mut rest = &pkcs8[4 + 3 + 15 + 4 + 4..];
    let mut out = Vec::new();
    while let [2, len, tail @ ..] = rest {
        let (len, tail) = match len {
            0x81 => (usize::from(tail[0]), &tail[1..]),
            0x82 => (usize::from(tail[0]) << 8 | usize::from(tail[1]), &tail[2..]),
            short => (usize::from(*short), tail),
        };
        let number = &tail[..len];
        out.push(number.iter().copied().skip_while(|octet| *octet == 0).collect());
        rest = &tail[len..];
    }
    out
}

#[test]
fn legacy_ecdsa_methods() {
    let methods = [(9, 64), (10, 96), (11, 132)];
    let keys = keys();
    for (key, (method, len)) in keys[1..4].iter().zip(methods) {
        let public = key.public_key().unwrap();
        // Many rounds, so that r and s with leading zeros occur.
        for round in 0..300u32 {
            let msg = round.to_be_bytes();
            let signature = key.sign_legacy(method, &msg).unwrap();
            assert_eq!(signature.len(), len);
            public.verify_legacy(method, &msg, &signature).unwrap();
            assert!(public.verify_legacy(method, b"other", &signature).is_err());
        }
        assert_eq!(key.kind().legacy_method(), Some(method));
        for wrong in [1, 2, 3, 9, 10, 11, 14].into_iter().filter(|m| *m != method) {
            assert!(key.sign_legacy(wrong, b"").is_err());
            assert!(public.verify_legacy(wrong, b"", &vec![1; len]).is_err());
        }
    }
    let refused = keys[0].sign_legacy(1, b"").unwrap_err();
    assert!(refused.to_string().contains("SHA-1"));
}

#[test]
fn schemes_follow_the_peers_hashes() {
    use HashAlg::{Identity, Sha1, Sha256, Sha384};
    use SignatureScheme::{Ecdsa, Ed25519, RsaPkcs1, RsaPss};
    let keys = keys();
    let [rsa, p256, p384, _, ed] = &keys[..] else { panic!() };
    assert_eq!(rsa.schemes(&[Sha1, Sha384], true), [RsaPss(Sha384), RsaPkcs1(Sha384)]);
    assert_eq!(rsa.schemes(&[Sha256], false), [RsaPkcs1(Sha256), RsaPss(Sha256)]);
    assert_eq!(p256.schemes(&[Sha384, Sha256], true), [Ecdsa(Sha256), Ecdsa(Sha384)]);
    assert_eq!(p384.schemes(&[Sha256], true), [Ecdsa(Sha256)]);
    assert_eq!(ed.schemes(&[Sha256, Identity], true), [Ed25519]);
    for key in &keys {
        assert_eq!(key.schemes(&[Sha1], true), []);
        assert_eq!(key.schemes(&[], true), []);
    }
}

#[test]
fn algorithm_identifiers_round_trip() {
    for scheme in SignatureScheme::all() {
        let der = scheme.algorithm_identifier();
        assert_eq!(
            SignatureScheme::from_algorithm_identifier(der),
            Some(scheme),
            "{}",
            scheme.display_name()
        );
        for len in 0..der.len() {
            assert_eq!(SignatureScheme::from_algorithm_identifier(&der[..len]), None);
        }
        assert_eq!(SignatureScheme::from_algorithm_identifier(&[der, &[0]].concat()), None);
        for bit in 0..der.len() * 8 {
            let mut bad = der.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(SignatureScheme::from_algorithm_identifier(&bad), Some(scheme));
        }
    }
}

/// RFC 7427 appendix A, octet for octet, and the variants RFC 4055 lets others send.
#[test]
fn algorithm_identifiers_of_the_rfc() {
    let read = |text| SignatureScheme::from_algorithm_identifier(&hex(text));
    use HashAlg::{Sha256, Sha384, Sha512};
    for (text, scheme) in [
        ("300d06092a864886f70d01010b0500", SignatureScheme::RsaPkcs1(Sha256)),
        ("300d06092a864886f70d01010c0500", SignatureScheme::RsaPkcs1(Sha384)),
        ("300d06092a864886f70d01010d0500", SignatureScheme::RsaPkcs1(Sha512)),
        ("300a06082a8648ce3d040302", SignatureScheme::Ecdsa(Sha256)),
        ("300a06082a8648ce3d040303", SignatureScheme::Ecdsa(Sha384)),
        ("300a06082a8648ce3d040304", SignatureScheme::Ecdsa(Sha512)),
        ("300506032b6570", SignatureScheme::Ed25519),
    ] {
        assert_eq!(scheme.algorithm_identifier(), hex(text));
        assert_eq!(read(text), Some(scheme));
    }
    // §A.4.3 spells the default trailer out.
    let a_4_3 = "3046 06092a864886f70d01010a 3039 a00f300d06096086480165030402010500
        a11c301a06092a864886f70d010108300d06096086480165030402010500 a203020120 a303020101";
    assert_eq!(read(a_4_3), Some(SignatureScheme::RsaPss(Sha256)));
    // Absent hash parameters, and PKCS#1 without NULL.
    let no_null = "303d 06092a864886f70d01010a 3030 a00d300b0609608648016503040201
        a11a301806092a864886f70d010108300b0609608648016503040201 a203020120";
    assert_eq!(read(no_null), Some(SignatureScheme::RsaPss(Sha256)));
    assert_eq!(read("300b06092a864886f70d01010b"), Some(SignatureScheme::RsaPkcs1(Sha256)));
}

/// CVE-2018-6459, CVE-2021-41990: RSASSA-PSS parameters we do not want.
#[test]
fn pss_parameter_abuse_is_refused() {
    let pss = |fields: &str| {
        let fields = hex(fields);
        let len = fields.len() as u8;
        let head = [&[0x30, len + 13][..], &hex("06092a864886f70d01010a"), &[0x30, len]].concat();
        SignatureScheme::from_algorithm_identifier(&[head, fields].concat())
    };
    let sha256 = "a00f300d06096086480165030402010500";
    let mgf = "a11c301a06092a864886f70d010108300d06096086480165030402010500";
    let salt = "a203020120";
    assert!(pss(&[sha256, mgf, salt].concat()).is_some());
    for bad in [
        // Defaults mean SHA-1.
        String::new(),
        [mgf, salt].concat(),
        [sha256, salt].concat(),
        [sha256, mgf].concat(),
        // Salt of 0, 20, 255 and 2⁶³ octets, or negative.
        [sha256, mgf, "a203020100"].concat(),
        [sha256, mgf, "a203020114"].concat(),
        [sha256, mgf, "a204020200ff"].concat(),
        [sha256, mgf, "a20a02087fffffffffffffff"].concat(),
        [sha256, mgf, "a2030201ff"].concat(),
        // MGF1 with another hash, MGF1 without a hash, another mask function.
        [sha256, "a11c301a06092a864886f70d010108300d06096086480165030402020500", salt].concat(),
        [sha256, "a10d300b06092a864886f70d010108", salt].concat(),
        [sha256, "a11c301a06092a864886f70d010109300d06096086480165030402010500", salt].concat(),
        // Another trailer, a repeated field, wrong order.
        [sha256, mgf, salt, "a303020102"].concat(),
        [sha256, mgf, salt, salt].concat(),
        [mgf, sha256, salt].concat(),
    ] {
        assert_eq!(pss(&bad), None, "{bad}");
    }
}

/// CVE-2026-14957 and the like: public keys that must be refused before they are used.
#[test]
fn bad_public_keys_are_refused() {
    let good = rsa(KeySize::Rsa2048).public_spki();
    // The key ends in the exponent 65537: 02 03 01 00 01.
    assert!(good.ends_with(&[2, 3, 1, 0, 1]));
    let with_exponent = |exponent: [u8; 3]| {
        let mut spki = good.clone();
        let at = spki.len() - 3;
        spki[at..].copy_from_slice(&exponent);
        PublicKey::from_spki(&spki)
    };
    assert!(with_exponent([1, 0, 1]).is_ok());
    for exponent in [[0, 0, 0], [0, 0, 1], [0, 0, 3], [1, 0, 0], [0x80, 0, 1], [0xff, 0xff, 0xff], [1, 0, 2]]
    {
        assert!(with_exponent(exponent).is_err(), "{exponent:02x?}");
    }
    assert!(PublicKey::from_spki(&rsa_spki(&[0xff; 256], &[0])).is_err());
    assert!(PublicKey::from_spki(&rsa_spki(&[0xff; 256], &[1])).is_err());
    assert!(PublicKey::from_spki(&rsa_spki(&[0xff; 256], &[2])).is_err());
    assert!(PublicKey::from_spki(&rsa_spki(&[0xff; 256], &[3])).is_ok());
    assert!(PublicKey::from_spki(&rsa_spki(&[1], &[3])).is_err());
    assert!(PublicKey::from_spki(&rsa_spki(&[0xff; 128], &[3])).is_err());
    assert!(PublicKey::from_spki(&rsa_spki(&[0xff; 255], &[3])).is_err());
    assert!(PublicKey::from_spki(&rsa_spki(&[0xff; 1024], &[3])).is_ok());
    assert!(PublicKey::from_spki(&rsa_spki(&[0xff; 1025], &[3])).is_err());
    let mut even = vec![0xff; 256];
    even[255] = 0xfe;
    assert!(PublicKey::from_spki(&rsa_spki(&even, &[3])).is_err());

    for key in keys() {
        let spki = key.public_spki();
        for len in 0..spki.len() {
            assert!(PublicKey::from_spki(&spki[..len]).is_err());
        }
        assert!(PublicKey::from_spki(&[&spki[..], &[0]].concat()).is_err());
        // The octets of the algorithm identifier: any change is another or no algorithm.
        let header = spki.len().min(20);
        for bit in 0..header * 8 {
            let mut bad = spki.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let _ = PublicKey::from_spki(&bad);
        }
    }
    // Points: off the curve, compressed, at infinity.
    let point = ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING).public_spki();
    let mut off = point.clone();
    *off.last_mut().unwrap() ^= 1;
    assert!(PublicKey::from_spki(&off).is_err());
    let head = hex("3013 06072a8648ce3d0201 06082a8648ce3d030107");
    for material in [vec![0], vec![4; 65], [&[2], &point[27..59]].concat(), [&[4], &[0; 64][..]].concat()] {
        assert!(PublicKey::from_spki(&spki(&head, &material)).is_err(), "{material:02x?}");
    }
    // secp256k1, Ed448, DSA, and an EC key with explicit parameters.
    for head in [
        "3010 06072a8648ce3d0201 06052b8104000a",
        "3005 06032b6571",
        "3009 06072a8648ce380401",
        "300b 06072a8648ce3d0201 3000",
        "300d 06092a864886f70d010107 0500",
    ] {
        assert!(PublicKey::from_spki(&spki(&hex(head), &[4; 65])).is_err());
    }
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let head = match len {
        0..0x80 => vec![tag, len as u8],
        0x80..0x100 => vec![tag, 0x81, len as u8],
        _ => vec![tag, 0x82, (len >> 8) as u8, len as u8],
    };
    [head, content.to_vec()].concat()
}

fn spki(algorithm: &[u8], material: &[u8]) -> Vec<u8> {
    element(0x30, &[algorithm.to_vec(), element(3, &[&[0], material].concat())].concat())
}

fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let sign: &[u8] = if number[0] & 0x80 != 0 { &[0] } else { &[] };
        element(2, &[sign, number].concat())
    };
    let key = element(0x30, &[integer(modulus), integer(exponent)].concat());
    spki(&hex("300d06092a864886f70d0101010500"), &key)
}

#[test]
fn private_keys_load_from_each_form() {
    // PKCS#1 out of PKCS#8, SEC 1 out of PKCS#8: the OCTET STRING's content.
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let pkcs8 = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
    let from_pkcs8 = PrivateKey::from_pkcs8(pkcs8.as_ref()).unwrap();
    let from_pkcs1 = PrivateKey::from_pkcs1(&pkcs8.as_ref()[4 + 3 + 15 + 4..]).unwrap();
    assert_eq!(from_pkcs8.public_spki(), from_pkcs1.public_spki());

    for (algorithm, kind, header) in [
        (&ECDSA_P256_SHA256_ASN1_SIGNING, KeyKind::EcdsaP256, 27),
        (&ECDSA_P384_SHA384_ASN1_SIGNING, KeyKind::EcdsaP384, 27),
        (&ECDSA_P521_SHA512_ASN1_SIGNING, KeyKind::EcdsaP521, 27),
    ] {
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
        let pkcs8 = document.as_ref();
        let key = PrivateKey::from_pkcs8(pkcs8).unwrap();
        assert_eq!(key.kind(), kind);
        let at = (header - 6..header + 6)
            .find(|at| PrivateKey::from_sec1(&pkcs8[*at..]).is_ok())
            .expect("an ECPrivateKey inside");
        assert_eq!(PrivateKey::from_sec1(&pkcs8[at..]).unwrap().public_spki(), key.public_spki());
        for len in 0..pkcs8.len() {
            assert!(PrivateKey::from_pkcs8(&pkcs8[..len]).is_err());
        }
    }

    // RFC 8410 §10.3: version 1 and version 2 documents of the same Ed25519 key.
    let v1 = hex(
        "302e020100300506032b657004220420d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842",
    );
    let v2 = hex(
        "3072020101300506032b657004220420d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842
        a01f301d060a2a864886f70d01090914310f0c0d437572646c6520436861697273
        81210019bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1",
    );
    let public =
        hex("302a300506032b657003210019bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1");
    for document in [v1, v2] {
        let key = PrivateKey::from_pkcs8(&document).unwrap();
        assert_eq!(key.public_spki(), public);
        assert_eq!(format!("{key:?}"), "PrivateKey { kind: Ed25519, .. }");
    }
    for garbage in [&[][..], &[0x30, 0], &[0x30, 3, 2, 1, 0], b"-----BEGIN PRIVATE KEY-----"] {
        assert!(PrivateKey::from_pkcs8(garbage).is_err());
        assert!(PrivateKey::from_pkcs1(garbage).is_err());
        assert!(PrivateKey::from_sec1(garbage).is_err());
    }
}
