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

/// RFC 6979 §A.2.5 to §A.2.7: "sample" signed with the hash of the curve's strength; as r | s of RFC 4754 and as DER.
#[test]
fn ecdsa_signatures_of_rfc_6979() {
    let curves = [
        (
            "301306072a8648ce3d020106082a8648ce3d030107",
            SignatureScheme::Ecdsa(HashAlg::Sha256),
            9,
            "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6\
             7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
            "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716\
             f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
        ),
        (
            "301006072a8648ce3d020106052b81040022",
            SignatureScheme::Ecdsa(HashAlg::Sha384),
            10,
            "ec3a4e415b4e19a4568618029f427fa5da9a8bc4ae92e02e06aae5286b300c64def8f0ea9055866064a254515480bc13\
             8015d9b72d7d57244ea8ef9ac0c621896708a59367f9dfb9f54ca84b3f1c9db1288b231c3ae0d4fe7344fd2533264720",
            "94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c81a648152e44acf96e36dd1e80fabe46\
             99ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94fa329c145786e679e7b82c71a38628ac8",
        ),
        (
            "301006072a8648ce3d020106052b81040023",
            SignatureScheme::Ecdsa(HashAlg::Sha512),
            11,
            "01894550d0785932e00eaa23b694f213f8c3121f86dc97a04e5a7167db4e5bcd371123d46e45db6b5d5370a7f20fb633\
             155d38ffa16d2bd761dcac474b9a2f5023a4\
             00493101c962cd4d2fddf782285e64584139c2f91b47f87ff82354d6630f746a28a0db25741b5b34a828008b22acc23f\
             924faafbd4d33f81ea66956dfeaa2bfdfcf5",
            "00c328fafcbd79dd77850370c46325d987cb525569fb63c5d3bc53950e6d4c5f174e25a1ee9017b5d450606add152b53\
             4931d7d4e8455cc91f9b15bf05ec36e377fa\
             00617cce7cf5064806c467f678d3b4080d6f1cc50af26ca209417308281b68af282623eaa63e5b5c0723d8b8c37ff077\
             7b1a20f8ccb1dccc43997f1ee0e44da4a67a",
        ),
    ];
    for (algorithm, scheme, legacy, point, signature) in curves {
        let key = PublicKey::from_spki(&spki(&hex(algorithm), &[vec![4], hex(point)].concat())).unwrap();
        let raw = hex(signature);
        key.verify_legacy(legacy, b"sample", &raw).unwrap();
        let (r, s) = raw.split_at(raw.len() / 2);
        let integer = |number: &[u8]| {
            let start = number.iter().position(|octet| *octet != 0).unwrap();
            let sign: &[u8] = if number[start] & 0x80 != 0 { &[0] } else { &[] };
            element(2, &[sign, &number[start..]].concat())
        };
        let der = element(0x30, &[integer(r), integer(s)].concat());
        key.verify(scheme, b"sample", &der).unwrap();
        assert_eq!(key.verify(scheme, b"Sample", &der), Err(CryptoError::BadSignature));
    }
}

/// RFC 8032 §7.1, tests 1 to 3: Ed25519 signs the same each time.
#[test]
fn ed25519_signatures_of_rfc_8032() {
    for (seed, public, message, signature) in [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b\
             d25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c\
             387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659\
             4a7c15e9716ed28dc027beceea1ec40a",
        ),
    ] {
        let pkcs8 = [hex("302e020100300506032b657004220420"), hex(seed)].concat();
        let key = PrivateKey::from_pkcs8(&pkcs8).unwrap();
        assert_eq!(key.public_spki(), spki(&hex("300506032b6570"), &hex(public)));
        assert_eq!(key.sign(SignatureScheme::Ed25519, &hex(message)).unwrap(), hex(signature));
        let public = key.public_key().unwrap();
        public.verify(SignatureScheme::Ed25519, &hex(message), &hex(signature)).unwrap();
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
