//! HMAC, `prf+` and the IKE key hierarchy against published and independently computed values.

mod common;

use adit_crypto::{Cipher, Encryption, Integrity, Prf, Secret, kdf};
use common::hex;

/// RFC 4868 §2.7.1 and §2.7.2 (the former are those of RFC 4231): name, hash, key, data, HMAC.
#[rustfmt::skip]
const HMAC: &[(&str, u16, &str, &str, &str)] = &[
    ("PRF-1", 256, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
     "4869205468657265",
     "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    ("PRF-1", 384, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
     "4869205468657265",
     "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af1 \
      52e8b2fa9cb6"),
    ("PRF-1", 512, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
     "4869205468657265",
     "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b \
      274eaea3f4e4be9d914eeb61f1702e696c203a126854"),
    ("PRF-2", 256, "4a656665",
     "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
     "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    ("PRF-2", 384, "4a656665",
     "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
     "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b32 \
      39ecfab21649"),
    ("PRF-2", 512, "4a656665",
     "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
     "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d03 \
      4f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"),
    ("PRF-3", 256, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
     "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd \
      dddddddddddddddd",
     "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    ("PRF-3", 384, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
     "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd \
      dddddddddddddddd",
     "88062608d3e6ad8a0aa2ace014c8a86f0aa635d947ac9febe83ef4e55966144b2a5ab39dc13814b94e3a \
      b6e101a34f27"),
    ("PRF-3", 512, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
     "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd \
      dddddddddddddddd",
     "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39bf3e848279a722c806b4 \
      85a47e67c807b946a337bee8942674278859e13292fb"),
    ("PRF-4", 256, "0102030405060708090a0b0c0d0e0f10111213141516171819",
     "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd \
      cdcdcdcdcdcdcdcd",
     "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
    ("PRF-4", 384, "0102030405060708090a0b0c0d0e0f10111213141516171819",
     "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd \
      cdcdcdcdcdcdcdcd",
     "3e8a69b7783c25851933ab6290af6ca77a9981480850009cc5577c6e1f573b4e6801dd23c4a7d679ccf8 \
      a386c674cffb"),
    ("PRF-4", 512, "0102030405060708090a0b0c0d0e0f10111213141516171819",
     "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd \
      cdcdcdcdcdcdcdcd",
     "b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3dba91ca5c11aa25eb4d679 \
      275cc5788063a5f19741120c4f2de2adebeb10a298dd"),
    ("PRF-5", 256, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \
      aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \
      aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \
      aaaaaaaaaa",
     "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d204861 \
      7368204b6579204669727374",
     "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
    ("PRF-5", 384, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \
      aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \
      aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \
      aaaaaaaaaa",
     "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d204861 \
      7368204b6579204669727374",
     "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe829624 \
      8df163f44952"),
    ("PRF-5", 512, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \
      aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \
      aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \
      aaaaaaaaaa",
     "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d204861 \
      7368204b6579204669727374",
     "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0f \
      d2215d6a1e5295e64f73f63f0aec8b915a985d786598"),
    ("PRF-6", 256, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \
      aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \
      aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \
      aaaaaaaaaa",
     "5468697320697320612074657374207573696e672061206c6172676572207468616e20626c6f636b2d73 \
      697a65206b657920616e642061206c6172676572207468616e20626c6f636b2d73697a6520646174612e \
      20546865206b6579206e6565647320746f20626520686173686564206265666f7265206265696e672075 \
      7365642062792074686520484d414320616c676f726974686d2e",
     "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"),
    ("PRF-6", 384, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \
      aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \
      aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \
      aaaaaaaaaa",
     "5468697320697320612074657374207573696e672061206c6172676572207468616e20626c6f636b2d73 \
      697a65206b657920616e642061206c6172676572207468616e20626c6f636b2d73697a6520646174612e \
      20546865206b6579206e6565647320746f20626520686173686564206265666f7265206265696e672075 \
      7365642062792074686520484d414320616c676f726974686d2e",
     "6617178e941f020d351e2f254e8fd32c602420feb0b8fb9adccebb82461e99c5a678cc31e799176d3860 \
      e6110c46523e"),
    ("PRF-6", 512, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \
      aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \
      aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \
      aaaaaaaaaa",
     "5468697320697320612074657374207573696e672061206c6172676572207468616e20626c6f636b2d73 \
      697a65206b657920616e642061206c6172676572207468616e20626c6f636b2d73697a6520646174612e \
      20546865206b6579206e6565647320746f20626520686173686564206265666f7265206265696e672075 \
      7365642062792074686520484d414320616c676f726974686d2e",
     "e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944b6022cac3c4982b10d5e \
      eb55c3e4de15134676fb6de0446065c97440fa8c6a58"),
    ("AUTH256-1", 256, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
     "4869205468657265",
     "198a607eb44bfbc69903a0f1cf2bbdc5ba0aa3f3d9ae3c1c7a3b1696a0b68cf7"),
    ("AUTH256-2", 256, "4a6566654a6566654a6566654a6566654a6566654a6566654a6566654a656665",
     "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
     "167f928588c5cc2eef8e3093caa0e87c9ff566a14794aa61648d81621a2a40c6"),
    ("AUTH256-3", 256, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
     "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd \
      dddddddddddddddd",
     "cdcb1220d1ecccea91e53aba3092f962e549fe6ce9ed7fdc43191fbde45c30b0"),
    ("AUTH256-4", 256, "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20",
     "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd \
      cdcdcdcdcdcdcdcd",
     "372efcf9b40b35c2115b1346903d2ef42fced46f0846e7257bb156d3d7b30d3f"),
    ("AUTH384-1", 384, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b \
      0b0b0b0b0b0b",
     "4869205468657265",
     "b6a8d5636f5c6a7224f9977dcf7ee6c7fb6d0c48cbdee9737a959796489bddbc4c5df61d5b3297b4fb68 \
      dab9f1b582c2"),
    ("AUTH384-2", 384, "4a6566654a6566654a6566654a6566654a6566654a6566654a6566654a6566654a6566654a6566654a65 \
      66654a656665",
     "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
     "2c7353974f1842fd66d53c452ca42122b28c0b594cfb184da86a368e9b8e16f5349524ca4e82400cbde0 \
      686d403371c9"),
    ("AUTH384-3", 384, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \
      aaaaaaaaaaaa",
     "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd \
      dddddddddddddddd",
     "809f439be00274321d4a538652164b53554a508184a0c3160353e3428597003d35914a18770f94439870 \
      54944b7c4b4a"),
    ("AUTH384-4", 384, "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f200a0b0c0d0e0f10111213 \
      141516171819",
     "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd \
      cdcdcdcdcdcdcdcd",
     "5b540085c6e6358096532b2493609ed1cb298f774f87bb5c2ebf182c83cc7428707fb92eab2536a58122 \
      58228bc96687"),
    ("AUTH512-1", 512, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b \
      0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
     "4869205468657265",
     "637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8ac2878ebd5803f6f0b61 \
      dbce5e251ff8789a4722c1be65aea45fd464e89f8f5b"),
    ("AUTH512-2", 512, "4a6566654a6566654a6566654a6566654a6566654a6566654a6566654a6566654a6566654a6566654a65 \
      66654a6566654a6566654a6566654a6566654a656665",
     "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
     "cb370917ae8a7ce28cfd1d8f4705d6141c173b2a9362c15df235dfb251b154546aa334ae9fb9afc21849 \
      32d8695e397bfa0ffb93466cfcceaae38c833b7dba38"),
    ("AUTH512-3", 512, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \
      aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
     "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd \
      dddddddddddddddd",
     "2ee7acd783624ca9398710f3ee05ae41b9f9b0510c87e49e586cc9bf961733d8623c7b55cebefccf02d5 \
      581acc1c9d5fb1ff68a1de45509fbe4da9a433922655"),
    // As printed the key has 80 octets; the value is that of its last 64.
    ("AUTH512-4", 512, "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a\
      2b2c2d2e2f303132333435363738393a3b3c3d3e3f40",
     "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd\
      cdcdcdcdcdcdcdcd",
     "5e6688e5a3daec826ca32eaea224eff5e700628947470e13ad01302561bab108b8c48cbc6b807dcfbd85\
      0521a685babc7eae4a2a2e660dc0e86b931d65503fd2"),
];

fn prf(bits: u16) -> Prf {
    match bits {
        256 => Prf::HmacSha256,
        384 => Prf::HmacSha384,
        _ => Prf::HmacSha512,
    }
}

#[test]
fn hmac_as_prf() {
    for (name, bits, key, data, expected) in HMAC {
        let data = hex(data);
        let (head, tail) = data.split_at(data.len() / 3);
        assert_eq!(prf(*bits).compute(&hex(key), &[head, tail]), hex(expected), "{name} {bits}");
    }
}

/// RFC 4868 §2.7.2: the truncated integrity check values, seen through a NULL-encrypted message.
#[test]
fn hmac_as_integrity() {
    let mut seen = 0;
    for (name, bits, key, data, full) in HMAC {
        if !name.starts_with("AUTH") {
            continue;
        }
        let integ = match bits {
            256 => Integrity::HmacSha256_128,
            384 => Integrity::HmacSha384_192,
            _ => Integrity::HmacSha512_256,
        };
        let cipher = Cipher::new(Encryption::Null, Some(integ), &[], &hex(key)).unwrap();
        let data = hex(data);
        let (aad, rest) = data.split_at(4);
        let (body, trailer) = rest.split_at(1);
        let (mut body, mut icv) = (body.to_vec(), vec![0; cipher.icv_len()]);
        cipher.seal(&[], aad, &mut body, trailer, &mut icv).unwrap();
        assert_eq!(icv, hex(full)[..integ.icv_len()], "{name}");
        cipher.open(&[], aad, &mut body, trailer, &icv).unwrap();
        seen += 1;
    }
    assert_eq!(seen, 12);
}

/// The values below were computed with Python's `hmac` from the formulas of RFC 7296.
const SKEYSEED: &str = "e7d2332179e8baa6e57737e902c992be60b70740eb77773abb1495f3bc42d746";
#[rustfmt::skip]
const IKE_KEYS: &str = "0fe139a610d1a15bfd0a4f365c3b2444bedf63703dc3b71b39de3cc6e53bb72cd77b992bb6beff666610 \
      569fab75f383a2d2d13f19aaf31bcc9d2e7cc8bbef7852cacde29a15b40b5705d136b518b22a392139bf \
      8fe43c0ca3349f029e4b7034c42b3186fb13403ff890a98819b1e680625fb35323a74cf1ec1260123a2c \
      c7fda7603726fc51cc990a44b8e481ba7b602165dea1df9d41599d6b7a6dfb6fe55d628d047c648d68f1 \
      096b49c146001d477082d2b4485d8acdc6081615835bb60fc502f437c3192f53e552a224c4e49ed0e23c \
      fad8f0561a03720898cfcad0de5c";
#[rustfmt::skip]
const CHILD_KEYS: &str = "a6baac8d5f8b9015b19d1a8811feaf36e038ab5e47d35f152e60b78dbd7a2e095f12894652516727e725 \
      a18604c97a2a7de6ffaf84f168974b5ef42605511b575555fd6972fe63fd";
#[rustfmt::skip]
const CHILD_KEYS_PFS: &str = "66d5f77b3f96190b35838eb79b6880d64efbf60086a6c8fd1f5087a25281e65db86387beb70c5c7482d2 \
      9a67cb59f3a32512b9618ce9e2311408a13f4c71dff14c54a102f70dcea32bae853321e561ab3129d2fe \
      5d67f4ee9da16f1d1c944cd1";
const SKEYSEED_REKEY: &str = "6cad9a6eee4d3e7fea12e44acbd816a30421af44e643b87cfae67f7ad6d535a1";
#[rustfmt::skip]
const AUTH_PSK: &str = "0cf4090ed00ee2b9b21d1d855351ca3c1254a4f857ef072b96a383c4da13915dccf70b9637e2093cdd89 \
      e5d104859f5e";
#[rustfmt::skip]
const PRF_PLUS: [(u16, &str); 3] = [
    (256, "a2392e429a99b173341b368bb5ce320bfd483d89567c14ec187c2d77e3c0a208ba45d21d42611712996c \
      0cd4b329ac8681e093a8a5bbbbf0fb8c9d1cf674f7423fe3d2fbd6641ff544749daa37804f04be0b1beb \
      a59ddc3867c3016209779fa74e8b8654c9ed8c1e93d6a985e73c12f0b0c8f920d7db1c0288eb923d552c \
      6661086f16d7a3c5f9454d727229d8ffb99a21065e661642b46022917fbb2bf1ce365668e8cb99b7e93c \
      87bbd74db32bdef279fca8a7d886e33a00ecfcfb2ebe726a64eab700e77fd0e7"),
    (384, "245b57f46db11477bf9cd2e6adbc6244448af40400d70a9203399a48756b7dbf53087f405e438cf9bbb7 \
      d38b34915f6b7dab328fb2580112db91d3da5c383d3c2a4de7974aa900251aced8106d3c00211e0cfff9 \
      5994a7bb4bd1649b19443e957964c1e17a4f309a51f0a8a98a3406f02f0a0322e5ccbcff44fac2b3dfec \
      cff8f2614b983e83b8465b3ca099c5a8d20bf4ce118957b54c701d01475bf1caa7c0de5001345a1cf67c \
      01e184b39fc06836f7211b496bbea50c0b75127bf88f7b677891d20f06850be7"),
    (512, "173a6224816997fa5b2129f1c4d26d629028846663e6e27dd28d35d0de3757056e7da6c4214436a07fa8 \
      27ba4329baf9097b2eddf4c1ea2b89caf65189987801bbb7a7125bce5d65d77bfd4a0705ef9bcb45f76a \
      33f0ed70f5f7ff0f53eaa8c0089d68f852c6a4ef3ab3684a7ee7ec7b3ec15d8f335ce4360f9a3e8bc95a \
      1112ed5c349ee52e1c710369df9aea00919f76d3b178fc6f7f7ef73e3ce0c35001d0ec746ae59afaa7da \
      a31d597b76a7454f9936d2007e41594149c8b188be33a69dd113dbbf54139539"),
];
/// SHA-256 of the longest output prf+ has with HMAC-SHA-256.
const PRF_PLUS_END: &str = "45391ddaa546d923aa71a6772953bc3c8421b2c69eea3c14fe9873a9bc24b53c";

#[test]
fn prf_plus_stream() {
    for (bits, expected) in PRF_PLUS {
        let expected = hex(expected);
        for len in 0..=expected.len() {
            let stream = prf(bits).plus(b"key", &[b"se", b"ed"], len).unwrap();
            assert_eq!(stream.as_bytes(), &expected[..len]);
        }
    }
}

#[test]
fn prf_plus_ends_after_255_blocks() {
    let all = Prf::HmacSha256.plus(b"key", &[b"seed"], 255 * 32).unwrap();
    assert_eq!(adit_crypto::hash(adit_crypto::HashAlg::Sha256, &[all.as_bytes()]), hex(PRF_PLUS_END));
    assert!(Prf::HmacSha256.plus(b"key", &[b"seed"], 255 * 32 + 1).is_err());
}

fn nonces() -> (Vec<u8>, Vec<u8>, Secret) {
    ((0..32).collect(), (100..132).collect(), Secret::from(vec![0x55; 32]))
}

//= rfc7296 2.13-3, 2.14-1
#[test]
fn ike_sa_keys() {
    let (ni, nr, shared) = nonces();
    let seed = kdf::skeyseed(Prf::HmacSha256, &ni, &nr, &shared);
    assert_eq!(seed.as_bytes(), hex(SKEYSEED));
    let keys = kdf::ike_keys(
        Prf::HmacSha256,
        &seed,
        &ni,
        &nr,
        0x0102_0304_0506_0708,
        0x1112_1314_1516_1718,
        Encryption::AesCbc256,
        Some(Integrity::HmacSha256_128),
    )
    .unwrap();
    let joined: Vec<u8> =
        [&keys.sk_d, &keys.sk_ai, &keys.sk_ar, &keys.sk_ei, &keys.sk_er, &keys.sk_pi, &keys.sk_pr]
            .iter()
            .flat_map(|key| key.as_bytes().to_vec())
            .collect();
    assert_eq!(joined, hex(IKE_KEYS));

    let rekeyed = kdf::skeyseed_rekey(Prf::HmacSha256, &keys.sk_d, &shared, &ni, &nr);
    assert_eq!(rekeyed.as_bytes(), hex(SKEYSEED_REKEY));
}

//= rfc7296 2.17-1, 2.17-2
#[test]
fn child_sa_keys() {
    let (ni, nr, shared) = nonces();
    let sk_d = Secret::from(&hex(IKE_KEYS)[..32]);
    let prf = Prf::HmacSha256;
    let keys = kdf::child_keys(prf, &sk_d, None, &ni, &nr, Encryption::ChaCha20Poly1305, None).unwrap();
    let expected = hex(CHILD_KEYS);
    assert_eq!(keys.encr_i.as_bytes(), &expected[..36]);
    assert_eq!(keys.encr_r.as_bytes(), &expected[36..]);
    assert!(keys.integ_i.is_empty() && keys.integ_r.is_empty());

    let (encr, integ) = (Encryption::AesCbc128, Some(Integrity::HmacSha256_128));
    let keys = kdf::child_keys(prf, &sk_d, Some(&shared), &ni, &nr, encr, integ).unwrap();
    let joined: Vec<u8> = [&keys.encr_i, &keys.integ_i, &keys.encr_r, &keys.integ_r]
        .iter()
        .flat_map(|key| key.as_bytes().to_vec())
        .collect();
    assert_eq!(joined, hex(CHILD_KEYS_PFS));
}

#[test]
fn transforms_that_do_not_fit_give_no_keys() {
    let (ni, nr, shared) = nonces();
    let prf = Prf::HmacSha512;
    let integ = Some(Integrity::HmacSha512_256);
    for (encr, integ) in [(Encryption::AesGcm16_128, integ), (Encryption::AesCbc128, None)] {
        assert!(kdf::ike_keys(prf, &shared, &ni, &nr, 1, 2, encr, integ).is_err());
        assert!(kdf::child_keys(prf, &shared, None, &ni, &nr, encr, integ).is_err());
    }
    assert!(kdf::ike_keys(prf, &shared, &ni, &nr, 1, 2, Encryption::Null, integ).is_err());
    assert!(kdf::child_keys(prf, &shared, None, &ni, &nr, Encryption::Null, integ).is_ok());
}

#[test]
fn shared_key_auth() {
    let auth = kdf::auth_psk(Prf::HmacSha384, b"not very secret", &[b"signed ", b"octets"]);
    assert_eq!(auth, hex(AUTH_PSK));
}
