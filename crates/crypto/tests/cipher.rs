//! Packet protection against published values, and against damage.

mod common;

use adit_crypto::{Cipher, CryptoError, Encryption, Integrity, Random as _, SeededRandom};
use common::hex;

struct Vector {
    encr: Encryption,
    /// Key with salt.
    key: &'static str,
    iv: &'static str,
    aad: &'static str,
    plain: &'static str,
    sealed: &'static str,
    tag: &'static str,
}

const GCM_PLAIN: &str = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
    1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
const GCM_PLAIN_64: &str = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
    1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255";
const GCM_AAD: &str = "feedfacedeadbeeffeedfacedeadbeefabaddad2";

const VECTORS: &[Vector] = &[
    // The GCM specification's test cases 4, 10 and 16, which RFC 4106 §9 refers to: IV cafebabe | facedbaddecaf888.
    Vector {
        encr: Encryption::AesGcm16_128,
        key: "feffe9928665731c6d6a8f9467308308 cafebabe",
        iv: "facedbaddecaf888",
        aad: GCM_AAD,
        plain: GCM_PLAIN,
        sealed: "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e\
                 21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
        tag: "5bc94fbc3221a5db94fae95ae7121a47",
    },
    Vector {
        encr: Encryption::AesGcm16_192,
        key: "feffe9928665731c6d6a8f9467308308feffe9928665731c cafebabe",
        iv: "facedbaddecaf888",
        aad: GCM_AAD,
        plain: GCM_PLAIN,
        sealed: "3980ca0b3c00e841eb06fac4872a2757859e1ceaa6efd984628593b40ca1e19c\
                 7d773d00c144c525ac619d18c84a3f4718e2448b2fe324d9ccda2710",
        tag: "2519498e80f1478f37ba55bd6d27618c",
    },
    Vector {
        encr: Encryption::AesGcm16_256,
        key: "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308 cafebabe",
        iv: "facedbaddecaf888",
        aad: GCM_AAD,
        plain: GCM_PLAIN,
        sealed: "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
                 8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
        tag: "76fc6ece0f4e1768cddf8853bb2d551b",
    },
    // The same specification's test cases 2, 3, 8, 14 and 15: without associated data, and a plain text of zeros.
    Vector {
        encr: Encryption::AesGcm16_128,
        key: "00000000000000000000000000000000 00000000",
        iv: "0000000000000000",
        aad: "",
        plain: "00000000000000000000000000000000",
        sealed: "0388dace60b6a392f328c2b971b2fe78",
        tag: "ab6e47d42cec13bdf53a67b21257bddf",
    },
    Vector {
        encr: Encryption::AesGcm16_128,
        key: "feffe9928665731c6d6a8f9467308308 cafebabe",
        iv: "facedbaddecaf888",
        aad: "",
        plain: GCM_PLAIN_64,
        sealed: "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e\
                 21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985",
        tag: "4d5c2af327cd64a62cf35abd2ba6fab4",
    },
    Vector {
        encr: Encryption::AesGcm16_192,
        key: "000000000000000000000000000000000000000000000000 00000000",
        iv: "0000000000000000",
        aad: "",
        plain: "00000000000000000000000000000000",
        sealed: "98e7247c07f0fe411c267e4384b0f600",
        tag: "2ff58d80033927ab8ef4d4587514f0fb",
    },
    Vector {
        encr: Encryption::AesGcm16_256,
        key: "0000000000000000000000000000000000000000000000000000000000000000 00000000",
        iv: "0000000000000000",
        aad: "",
        plain: "00000000000000000000000000000000",
        sealed: "cea7403d4d606b6e074ec5d3baf39d18",
        tag: "d0d1c8a799996bf0265b98b5d48ab919",
    },
    Vector {
        encr: Encryption::AesGcm16_256,
        key: "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308 cafebabe",
        iv: "facedbaddecaf888",
        aad: "",
        plain: GCM_PLAIN_64,
        sealed: "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
                 8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad",
        tag: "b094dac5d93471bdec1a502270e3cc6c",
    },
    // draft-mcgrew-gcm-test-01, for RFC 4106: an ESP packet with an extended sequence number (SPI, high half, low half).
    Vector {
        encr: Encryption::AesGcm16_128,
        key: "4c80cdefbb5d10da906ac73c3613a634 2e443b68",
        iv: "4956ed7e3b244cfe",
        aad: "000043218765432100000000",
        plain: "45000048699a000080114db7c0a80102c0a801010a9bf15638d3010000010000\
                00000000045f736970045f756470037369700963796265726369747902646b00\
                0021000101020201",
        sealed: "fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34\
                 cfa2436f14a3f3cf65925bf1f4a13c5d15b21e1884f5ff6247aeabb786b93bce\
                 61bc17d768fd9732",
        tag: "459018148f6cbe722fd04796562dfdb4",
    },
    // RFC 7634 appendix A: an ESP packet.
    Vector {
        encr: Encryption::ChaCha20Poly1305,
        key: "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f a0a1a2a3",
        iv: "1011121314151617",
        aad: "0102030400000005",
        plain: "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10\
                0007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223\
                2425262728292a2b2c2d2e2f303132333435363701020204",
        sealed: "24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c6\
                 14ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3\
                 cbec163fac469b502773f6fb94e664da9165b82829f641e0",
        tag: "76aaa8266b7fb0f7b11b369907e1ad43",
    },
    // RFC 7634 appendix B: an IKE message.
    Vector {
        encr: Encryption::ChaCha20Poly1305,
        key: "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f a0a1a2a3",
        iv: "1011121314151617",
        aad: "c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e202500000000090000004529000029",
        plain: "0000000c000040010000000a00",
        sealed: "610394701f8d017f7c12924889",
        tag: "6b71bfe25236efd7cdc67066906315b2",
    },
];

#[test]
fn aead_vectors_scheduled_and_compact() {
    for vector in VECTORS {
        for make in [Cipher::new, Cipher::compact] {
            let cipher = make(vector.encr, None, &hex(vector.key), &[]).unwrap();
            let (iv, aad) = (hex(vector.iv), hex(vector.aad));
            let (mut data, mut icv) = (hex(vector.plain), vec![0; cipher.icv_len()]);
            cipher.seal(&iv, &aad, &mut data, &[], &mut icv).unwrap();
            assert_eq!(data, hex(vector.sealed));
            assert_eq!(icv, hex(vector.tag));
            cipher.open(&iv, &aad, &mut data, &[], &icv).unwrap();
            assert_eq!(data, hex(vector.plain));
        }
    }
}

/// RFC 3602 §4, cases 1 to 4.
#[test]
fn cbc_vectors() {
    let cases = [
        (
            "06a9214036b8a15b512e03d534120006",
            "3dafba429d9eb430b422da802c9fac41",
            b"Single block msg".to_vec(),
            "e353779c1079aeb82708942dbe77181a",
        ),
        (
            "c286696d887c9aa0611bbb3e2025a45a",
            "562e17996d093d28ddb3ba695a2e6f58",
            (0..32).collect(),
            "d296cd94c2cccf8a3a863028b5e1dc0a7586602d253cfff91b8266bea6d61ab1",
        ),
        (
            "6c3ea0477630ce21a2ce334aa746c2cd",
            "c782dc4c098c66cbd9cd27d825682c81",
            b"This is a 48-byte message (exactly 3 AES blocks)".to_vec(),
            "d0a02b3836451753d493665d33f0e8862dea54cdb293abc7506939276772f8d5\
             021c19216bad525c8579695d83ba2684",
        ),
        (
            "56e47a38c5598974bc46903dba290349",
            "8ce82eefbea0da3c44699ed7db51b7d9",
            (0xa0..=0xdf).collect(),
            "c30e32ffedc0774e6aff6af0869f71aa0f3af07a9a31a9c684db207eb0ef8e4e\
             35907aa632c3ffdf868bb7b29d3d46ad83ce9f9a102ee99d49a53e87f4c3da55",
        ),
    ];
    for (key, iv, plain, sealed) in cases {
        let cipher =
            Cipher::new(Encryption::AesCbc128, Some(Integrity::HmacSha256_128), &hex(key), &[7; 32]).unwrap();
        let (mut data, mut icv) = (plain.clone(), [0; 16]);
        cipher.seal(&hex(iv), b"", &mut data, b"", &mut icv).unwrap();
        assert_eq!(data, hex(sealed));
        cipher.open(&hex(iv), b"", &mut data, b"", &icv).unwrap();
        assert_eq!(data, plain);
    }
}

/// NIST SP 800-38A, F.2.1, F.2.3 and F.2.5: the longer keys, which RFC 3602 has no values for.
#[test]
fn cbc_vectors_of_every_key_length() {
    let iv = "000102030405060708090a0b0c0d0e0f";
    let plain = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51\
                 30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";
    for (encr, key, sealed) in [
        (
            Encryption::AesCbc128,
            "2b7e151628aed2a6abf7158809cf4f3c",
            "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2\
             73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7",
        ),
        (
            Encryption::AesCbc192,
            "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
            "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a\
             571b242012fb7ae07fa9baac3df102e008b0e27988598881d920a9e64f5615cd",
        ),
        (
            Encryption::AesCbc256,
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d\
             39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b",
        ),
    ] {
        for make in [Cipher::new, Cipher::compact] {
            let cipher = make(encr, Some(Integrity::HmacSha512_256), &hex(key), &[7; 64]).unwrap();
            let (mut data, mut icv) = (hex(plain), [0; 32]);
            cipher.seal(&hex(iv), b"", &mut data, b"", &mut icv).unwrap();
            assert_eq!(data, hex(sealed), "{encr:?}");
            cipher.open(&hex(iv), b"", &mut data, b"", &icv).unwrap();
            assert_eq!(data, hex(plain));
        }
    }
}

/// Every pair of transforms that makes a cipher.
fn suites() -> impl Iterator<Item = (Encryption, Option<Integrity>)> {
    Encryption::ALL.into_iter().flat_map(|encr| {
        let integs = if encr.is_aead() { vec![None] } else { Integrity::ALL.map(Some).to_vec() };
        integs.into_iter().map(move |integ| (encr, integ))
    })
}

fn random(rng: &mut SeededRandom, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    rng.fill(&mut out);
    out
}

#[test]
fn any_flipped_bit_is_noticed() {
    let mut rng = SeededRandom::new(11);
    for (encr, integ) in suites() {
        let key = random(&mut rng, encr.key_len());
        let integ_key = random(&mut rng, integ.map_or(0, Integrity::key_len));
        let cipher = Cipher::new(encr, integ, &key, &integ_key).unwrap();
        let (iv, aad, plain) =
            (random(&mut rng, cipher.iv_len()), random(&mut rng, 12), random(&mut rng, 48));
        let trailer: &[u8] = if encr.is_aead() { &[] } else { &[1, 2, 3, 4] };
        let (mut sealed, mut icv) = (plain.clone(), vec![0; cipher.icv_len()]);
        cipher.seal(&iv, &aad, &mut sealed, trailer, &mut icv).unwrap();

        let parts = [iv.clone(), aad, sealed, trailer.to_vec(), icv];
        for part in 0..parts.len() {
            for bit in 0..parts[part].len() * 8 {
                let mut bad = parts.clone();
                bad[part][bit / 8] ^= 1 << (bit % 8);
                let [iv, aad, mut data, trailer, icv] = bad;
                let opened = cipher.open(&iv, &aad, &mut data, &trailer, &icv);
                assert_eq!(opened, Err(CryptoError::Authentication), "{encr:?} part {part} bit {bit}");
            }
        }
        let [iv, aad, mut data, trailer, icv] = parts;
        cipher.open(&iv, &aad, &mut data, &trailer, &icv).unwrap();
        assert_eq!(data, plain);
    }
}

#[test]
fn cbc_ciphertext_is_not_touched_before_the_mac_is_verified() {
    let cipher =
        Cipher::new(Encryption::AesCbc256, Some(Integrity::HmacSha512_256), &[1; 32], &[2; 64]).unwrap();
    let mut data = [9; 32];
    assert_eq!(cipher.open(&[0; 16], b"aad", &mut data, b"", &[0; 32]), Err(CryptoError::Authentication));
    assert_eq!(data, [9; 32]);
}

#[test]
fn wrong_lengths_are_errors() {
    for (encr, integ) in suites() {
        let (key, integ_key) = (vec![1; encr.key_len()], vec![2; integ.map_or(0, Integrity::key_len)]);
        let cipher = Cipher::new(encr, integ, &key, &integ_key).unwrap();
        let (iv, icv) = (vec![0; cipher.iv_len()], vec![0; cipher.icv_len()]);
        for make in [Cipher::new, Cipher::compact] {
            assert!(make(encr, integ, &[&key[..], &[0]].concat(), &integ_key).is_err());
            assert!(make(encr, integ, &key, &[&integ_key[..], &[0]].concat()).is_err());
            if !key.is_empty() {
                assert!(make(encr, integ, &key[1..], &integ_key).is_err());
            }
        }
        let mut data = [0; 16];
        for (iv, icv) in
            [(&[&iv[..], &[0]].concat(), &icv), (&iv, &[&icv[..], &[0]].concat()), (&iv, &vec![])]
        {
            let mut tag = icv.clone();
            assert!(cipher.seal(iv, b"", &mut data, b"", &mut tag).is_err(), "{encr:?}");
            assert!(cipher.open(iv, b"", &mut data, b"", icv).is_err(), "{encr:?}");
        }
        if cipher.block_len() > 1 {
            let mut tag = icv.clone();
            assert!(cipher.seal(&iv, b"", &mut data[..15], b"", &mut tag).is_err());
            assert!(cipher.open(&iv, b"", &mut data[..15], b"", &icv).is_err());
        }
        assert_eq!(cipher.needs_random_iv(), cipher.block_len() > 1);
        assert_eq!(Encryption::from_id(encr.id(), encr.key_bits()), Some(encr));
    }
    assert!(Cipher::new(Encryption::AesCbc128, None, &[0; 16], &[]).is_err());
    let integ = Some(Integrity::HmacSha256_128);
    assert!(Cipher::new(Encryption::AesGcm16_128, integ, &[0; 20], &[0; 32]).is_err());
}

#[test]
fn unknown_transforms_are_refused() {
    for (id, bits) in [(20, 0), (20, 64), (12, 0), (12, 512), (28, 256), (3, 0), (13, 128), (18, 128), (0, 0)]
    {
        assert_eq!(Encryption::from_id(id, bits), None);
    }
    for id in [0, 1, 2, 5, 8, 15] {
        assert_eq!(Integrity::from_id(id), None);
    }
}

#[test]
fn debug_tells_no_key() {
    let cipher = Cipher::compact(Encryption::AesGcm16_128, None, &[0x5a; 20], &[]).unwrap();
    assert_eq!(format!("{cipher:?}"), "Cipher { encr: AesGcm16_128, integ: None, .. }");
}
