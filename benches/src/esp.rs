//! ESP per packet of 1400 octets, beside what the cryptographic library alone takes for the same octets.

use std::cell::RefCell;
use std::hint::black_box;

use adit_crypto::{Cipher, Encryption, Integrity, SeededRandom};
use adit_esp::{Inbound, NEXT_HEADER_IPV4, Outbound, ReplayWindow};
use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use aws_lc_rs::cipher::{
    self, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext, UnboundCipherKey,
};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;

use crate::measure::{ROUNDS, Subject, medians};

const PAYLOAD: usize = 1400;
const SPI: u32 = 0x1234_5678;
/// Packets per round: small enough to stay in the cache as a batch of the data plane does.
const BATCH: usize = 128;

const SUITES: [(&str, Encryption, Option<Integrity>); 5] = [
    ("AES_GCM_16_128", Encryption::AesGcm16_128, None),
    ("AES_GCM_16_256", Encryption::AesGcm16_256, None),
    ("CHACHA20_POLY1305", Encryption::ChaCha20Poly1305, None),
    ("AES_CBC_128/SHA2_256_128", Encryption::AesCbc128, Some(Integrity::HmacSha256_128)),
    ("AES_CBC_256/SHA2_512_256", Encryption::AesCbc256, Some(Integrity::HmacSha512_256)),
];

pub(crate) fn run() {
    println!("ESP, {PAYLOAD}-octet packets, ns per packet (median of {ROUNDS} rounds of {BATCH})");
    println!(
        "{:<26}{:>8}{:>8}{:>8}   {:>8}{:>8}{:>8}   {:>12}",
        "suite", "seal", "floor", "ratio", "open", "floor", "ratio", "key schedule"
    );
    for (name, encr, integ) in SUITES {
        let [seal, seal_floor, open, open_floor, schedule] = suite(encr, integ);
        println!(
            "{name:<26}{seal:>8.0}{seal_floor:>8.0}{:>8.2}   {open:>8.0}{open_floor:>8.0}{:>8.2}   {schedule:>12.0}",
            seal / seal_floor,
            open / open_floor
        );
    }
    println!(
        "in memory, without heap: Cipher {} octets, Outbound {}, Inbound {}\n",
        size_of::<Cipher>(),
        size_of::<Outbound>(),
        size_of::<Inbound>()
    );
}

fn suite(encr: Encryption, integ: Option<Integrity>) -> [f64; 5] {
    let (key, integ_key) = (vec![7; encr.key_len()], vec![8; integ.map_or(0, Integrity::key_len)]);
    let cipher = || Cipher::new(encr, integ, &key, &integ_key).expect("a cipher");
    let outbound = Outbound::with_cipher(SPI, cipher(), true);
    let sender = Outbound::with_cipher(SPI, cipher(), true);
    let inbound = Inbound::with_cipher(SPI, cipher(), ReplayWindow::new(1024, true));
    let payload = vec![0x45; PAYLOAD];
    let mut rng = SeededRandom::new(1);

    let mut sealed = Vec::with_capacity(BATCH * 1500);
    let seal = Subject::repeat(BATCH, || {
        if sealed.len() > 60_000 {
            sealed.clear();
        }
        outbound.seal(NEXT_HEADER_IPV4, black_box(&payload), &mut rng, &mut sealed).expect("sealed");
    });

    // Packets are fresh for every round, since the window takes each only once.
    let packets: RefCell<Vec<Vec<u8>>> = RefCell::default();
    let mut packet_rng = SeededRandom::new(2);
    let open = Subject {
        count: BATCH,
        prepare: Box::new(|| {
            let fresh = (0..BATCH).map(|_| {
                let mut packet = Vec::with_capacity(1500);
                sender.seal(NEXT_HEADER_IPV4, &payload, &mut packet_rng, &mut packet).expect("sealed");
                packet
            });
            packets.replace(fresh.collect());
        }),
        work: Box::new(|| {
            for packet in packets.borrow_mut().iter_mut() {
                black_box(inbound.open(packet).expect("opened").payload.len());
            }
        }),
    };
    let schedule = Subject::repeat(BATCH, || drop(black_box(cipher())));
    let (seal_floor, open_floor) = match integ {
        None => aead_floor(encr, &key),
        Some(integ) => cbc_floor(encr, integ, &key, &integ_key),
    };
    let figures = medians(&mut [seal, seal_floor, open, open_floor, schedule]);
    figures.try_into().expect("five figures")
}

/// The library's own AEAD on as many octets: key scheduled once, in place, detached tag.
fn aead_floor(encr: Encryption, key: &[u8]) -> (Subject<'static>, Subject<'static>) {
    let algorithm: &'static Algorithm = match encr {
        Encryption::AesGcm16_128 => &AES_128_GCM,
        Encryption::AesGcm16_256 => &AES_256_GCM,
        _ => &CHACHA20_POLY1305,
    };
    let (key, _salt) = key.split_last_chunk::<4>().expect("a key with salt");
    let make = || LessSafeKey::new(UnboundKey::new(algorithm, key).expect("a key"));
    let nonce = |number: u64| {
        let mut nonce = [9; 12];
        nonce[4..].copy_from_slice(&number.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    };
    let aad = [3; 12];
    // Payload, pad length, next header and padding to four octets.
    let plain = vec![0x45; (PAYLOAD + 2).next_multiple_of(4)];

    let (sealing, mut data, mut number) = (make(), plain.clone(), 0);
    let seal = Subject::repeat(BATCH, move || {
        number += 1;
        let mut tag = [0; 16];
        sealing
            .seal_in_place_scatter(nonce(number), Aad::from(aad), &mut data, &[], &mut tag)
            .expect("sealed");
        black_box(tag);
    });

    let (key, shared) = (make(), std::rc::Rc::new(RefCell::new(Vec::new())));
    let filled = std::rc::Rc::clone(&shared);
    let (opening, sealing) = (make(), key);
    let open = Subject {
        count: BATCH,
        prepare: Box::new(move || {
            let fresh = (0..BATCH as u64).map(|number| {
                let (mut data, mut tag) = (plain.clone(), [0; 16]);
                sealing
                    .seal_in_place_scatter(nonce(number), Aad::from(aad), &mut data, &[], &mut tag)
                    .expect("sealed");
                (number, data, tag)
            });
            filled.replace(fresh.collect());
        }),
        work: Box::new(move || {
            for (number, data, tag) in shared.borrow_mut().iter_mut() {
                let opened = opening.open_in_place_separate_tag(nonce(*number), Aad::from(aad), tag, data);
                black_box(opened.expect("opened"));
            }
        }),
    };
    (seal, open)
}

/// The library's CBC and HMAC on as many octets with keys scheduled once, which our compact ciphers do not keep.
fn cbc_floor(
    encr: Encryption,
    integ: Integrity,
    key: &[u8],
    integ_key: &[u8],
) -> (Subject<'static>, Subject<'static>) {
    let algorithm = if encr == Encryption::AesCbc128 { &cipher::AES_128 } else { &cipher::AES_256 };
    let mac = match integ {
        Integrity::HmacSha256_128 => hmac::HMAC_SHA256,
        Integrity::HmacSha384_192 => hmac::HMAC_SHA384,
        Integrity::HmacSha512_256 => hmac::HMAC_SHA512,
    };
    let unbound = || UnboundCipherKey::new(algorithm, key).expect("a key");
    let (encrypting, decrypting) =
        (EncryptingKey::cbc(unbound()).expect("a key"), DecryptingKey::cbc(unbound()).expect("a key"));
    let mac_key = hmac::Key::new(mac, integ_key);
    let verify_key = mac_key.clone();
    let plain = vec![0x45; (PAYLOAD + 2).next_multiple_of(16)];
    let tag = move |key: &hmac::Key, data: &[u8]| {
        let mut context = hmac::Context::with_key(key);
        context.update(&[3; 8 + 16]);
        context.update(data);
        context.update(&[0; 4]);
        black_box(context.sign());
    };
    let mut data = plain.clone();
    let seal = Subject::repeat(BATCH, move || {
        let iv = EncryptionContext::Iv128(FixedLength::from([5; 16]));
        encrypting.less_safe_encrypt(&mut data, iv).expect("encrypted");
        tag(&mac_key, &data);
    });
    let mut data = plain;
    let open = Subject::repeat(BATCH, move || {
        tag(&verify_key, &data);
        let iv = DecryptionContext::Iv128(FixedLength::from([5; 16]));
        decrypting.decrypt(&mut data, iv).expect("decrypted");
    });
    (seal, open)
}
