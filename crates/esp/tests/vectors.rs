//! Published ESP packets, opened.
#![allow(clippy::unwrap_used, reason = "helpers of tests are no tests by clippy's reckoning")]

use adit_crypto::{Prf, SeededRandom};
use adit_esp::{Inbound, Outbound};
use adit_ipsec::SaKeys;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// RFC 3602 §4, cases 5 to 8: key, packet from the SPI on, what is inside with padding and trailer.
const RFC_3602: [(&str, &str, &str); 4] = [
    (
        "90d382b410eeba7ad938c46cec1a82bf",
        "0000432100000001e96e8c08ab465763fd098d45dd3ff893f663c25d325c18c6a9453e194e120849a4870b66cc6b9965\
         330013b4898dc856a4699e523a55db080b59ec3a8e4b7e52775b07d1db34ed9c538ab50c551b874aa269add047ad2d59\
         13ac19b7cfbad4a6",
        "08000ebda70a00008e9c083db95b070008090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324252627\
         28292a2b2c2d2e2f30313233343536370102030405060708090a0b0c0d0e0e01",
    ),
    (
        "90d382b410eeba7ad938c46cec1a82bf",
        "000043210000000869d08df7d203329db093fc4924e5bd80f51995881ec4e0c4488987ce742e8109689bb379d2d750c0\
         d915dca346a89f75",
        "0800b5e8a80a0500a69c083d0b660e0077777777777777777777777701020201",
    ),
    (
        "0123456789abcdef0123456789abcdef",
        "0000876500000002f4e765244f6407adf13dc1380f673f37773b5241a4c449225e4f3ce5ed611b0c237ca96cf74a9301\
         3c1b0ea1a0cf70f8e4ecaec78ac53aad7a0f022b859243c647752e94a859352b8a4d4d2decd136e5c177f132ad3fbfb2\
         201ac9904c74ee0a109e0ca1e4dfe9d5a100b842f1c22f0d",
        "45000054090400004001f988c0a87b03c0a87bc808009f76a90a0100b49c083d02a2040008090a0b0c0d0e0f10111213\
         1415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f30313233343536370102030405060708090a0a04",
    ),
    (
        "0123456789abcdef0123456789abcdef",
        "000087650000000585d47224b5f3dd5d2101d4ea8dffab2215b92683819596a8047232cc00f7048fe45318e11f8a0f62\
         ede3c3fc61203bb50f980a08c9843fd3a1b06d5c07ff9639b7eb7dfb3512e5de435e7207ed971ef3d2726d9b5ef6affc\
         6d17a0decbb13892",
        "45000044090c00004001f990c0a87b03c0a87bc80800d63caa0a0200c69c083da3de0300ffffffffffffffffffffffff\
         ffffffffffffffffffffffffffffffffffffffff0102030405060708090a0a04",
    ),
];

/// Those packets have no integrity check value; the one RFC 4868 asks for is put behind.
#[test]
fn packets_of_rfc_3602() {
    for (integ, prf, integ_len, icv_len) in
        [(12, Prf::HmacSha256, 32, 16), (13, Prf::HmacSha384, 48, 24), (14, Prf::HmacSha512, 64, 32)]
    {
        for (key, packet, inside) in RFC_3602 {
            let keys = SaKeys {
                encr: 12,
                encr_key_bits: 128,
                integ,
                encr_key: hex(key),
                integ_key: vec![0x0b; integ_len],
            };
            let (mut packet, inside) = (hex(packet), hex(inside));
            let icv = prf.compute(&keys.integ_key, &[&packet]);
            packet.extend(&icv[..icv_len]);
            let spi = u32::from_be_bytes(packet[..4].try_into().unwrap());
            let inbound = Inbound::new(spi, &keys, false, 32).unwrap();
            let opened = inbound.open(&mut packet).unwrap();
            let [body @ .., padding, next_header] = &inside[..] else { panic!() };
            assert_eq!(opened.next_header, *next_header);
            assert_eq!(opened.payload, &body[..body.len() - usize::from(*padding)]);
        }
    }
}

struct Gcm {
    key: &'static str,
    spi: u32,
    sequence: u64,
    packet: &'static str,
    inner: &'static str,
    next_header: u8,
}

/// The examples for RFC 4106 of draft-mcgrew-gcm-test-01: one with 128 bits, one with 256.
const RFC_4106: [Gcm; 2] = [
    Gcm {
        key: "feffe9928665731c6d6a8f9467308308cafebabe",
        spi: 0xa5f8,
        sequence: 10,
        packet: "0000a5f80000000afacedbaddecaf888\
                 deb22cd9b07c72c16e3a65beeb8df304a5a5897d33ae530f1ba76d5d114d2a5c\
                 3de81827c10e9a4f51330d0eec416642cfbb85a5b47e48a4ec3b9ba95d918bd1\
                 83b70d3aa8bc6ee4c309e9d85a41ad4a",
        inner: "4500003e698f000080114dccc0a80102c0a801010a980035002a2343b2d00100\
                0001000000000000037369700963796265726369747902646b0000010001",
        next_header: 1,
    },
    Gcm {
        key: "abbccddef00112233445566778899aababbccddef00112233445566778899aab11223344",
        spi: 0x4a2c_bfe3,
        sequence: 2,
        packet: "4a2cbfe3000000020102030405060708\
                 ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763\
                 748a637985771d347f0545659f14e99def842d8eb335f4eecfdbf831824b4c49\
                 15956c96",
        inner: "4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee000000000\
                7002400020bf0000020405b40101040201020201",
        next_header: 1,
    },
];

#[test]
fn packets_of_rfc_4106() {
    for case in RFC_4106 {
        let key = hex(case.key);
        let bits = u16::try_from((key.len() - 4) * 8).unwrap();
        let keys = SaKeys { encr: 20, encr_key_bits: bits, integ: 0, encr_key: key, integ_key: Vec::new() };
        let inbound = Inbound::new(case.spi, &keys, false, 32).unwrap();
        let mut packet = hex(case.packet);
        let opened = inbound.open(&mut packet).unwrap();
        assert_eq!((opened.next_header, opened.sequence), (case.next_header, case.sequence));
        let inner = hex(case.inner);
        assert_eq!(opened.payload, &inner[..opened.payload.len()]);

        // What we seal has the same length: the same padding.
        let outbound = Outbound::new(case.spi, &keys, false).unwrap();
        let mut sealed = Vec::new();
        outbound.seal(case.next_header, opened.payload, &mut SeededRandom::new(1), &mut sealed).unwrap();
        assert_eq!(sealed.len(), packet.len());
    }
}
