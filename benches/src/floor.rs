//! The cryptography of a responder's whole handshake as one function: what no implementation on this library can beat.

use std::hint::black_box;

use adit_crypto::{
    Cipher, Encryption, HashAlg, KeGroup, KeSecret, Prf, PrivateKey, PublicKey, Random, Secret,
    SignatureScheme, SystemRandom, kdf, sha1,
};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

use crate::measure::{ROUNDS, Subject, medians};

const PRF: Prf = Prf::HmacSha256;
const ENCR: Encryption = Encryption::AesGcm16_256;
const SIGN: SignatureScheme = SignatureScheme::Ecdsa(HashAlg::Sha256);

/// What a peer sends, made beforehand.
struct Peer {
    public: Vec<u8>,
    nonce: Vec<u8>,
    /// IKE_SA_INIT message and IDi payload that AUTH covers.
    message: Vec<u8>,
    id: Vec<u8>,
    signature: Vec<u8>,
    /// To-be-signed part of its certificate with the signature of its authority.
    certificate: Vec<u8>,
    certificate_signature: Vec<u8>,
}

/// Who we are.
enum Credentials {
    Psk(Secret),
    Ecdsa { ours: PrivateKey, peer_spki: Vec<u8>, authority_spki: Vec<u8>, cached_chain: bool },
}

/// Names of the rows of [`floors`].
pub(crate) const ROWS: [&str; 3] =
    ["PSK", "ECDSA P-256 certificates", "ECDSA P-256 certificates, chain cached"];

pub(crate) fn run() {
    println!("Crypto floor of a responder handshake with CHILD_SA, µs (median of {ROUNDS} rounds)");
    println!("{:<44}{:>8}{:>16}", "credentials, x25519, AES_GCM_16_256", "µs", "handshakes/s");
    for (name, ns) in ROWS.iter().zip(floors()) {
        println!("{name:<44}{:>8.1}{:>16.0}", ns / 1e3, 1e9 / ns);
    }
    println!();
}

/// Nanoseconds of the cryptography of one handshake, for each of [`ROWS`].
pub(crate) fn floors() -> Vec<f64> {
    let (ours, theirs, authority) = (ecdsa(), ecdsa(), ecdsa());
    let (message, certificate) = (vec![1; 400], vec![2; 350]);
    let id = vec![3; 24];
    let peer = Peer {
        public: KeSecret::generate(KeGroup::X25519, &mut SystemRandom).expect("a secret").public().to_vec(),
        nonce: vec![4; 32],
        signature: theirs.sign(SIGN, &message).expect("signed"),
        certificate_signature: authority.sign(SIGN, &certificate).expect("signed"),
        message,
        id,
        certificate,
    };
    let certificates = |ours: PrivateKey, cached_chain| Credentials::Ecdsa {
        ours,
        peer_spki: theirs.public_spki(),
        authority_spki: authority.public_spki(),
        cached_chain,
    };
    let rows = [
        Credentials::Psk(Secret::from(&b"a pre-shared key of good length"[..])),
        certificates(ours, false),
        certificates(ecdsa(), true),
    ];
    let mut subjects: Vec<Subject<'_>> =
        rows.iter().map(|credentials| Subject::repeat(50, || respond(&peer, credentials))).collect();
    medians(&mut subjects)
}

/// IKE_SA_INIT and IKE_AUTH of a responder, cryptography only.
fn respond(peer: &Peer, credentials: &Credentials) {
    let mut rng = SystemRandom;
    // IKE_SA_INIT: NAT detection both ways, our key exchange, the key hierarchy.
    for addresses in 0..4u8 {
        black_box(sha1(&[&[1; 8], &[2; 8], &[addresses; 6]]));
    }
    let secret = KeSecret::generate(KeGroup::X25519, &mut rng).expect("a secret");
    let shared = secret.agree(&peer.public).expect("agreed");
    let mut nonce = [0; 32];
    rng.fill(&mut nonce);
    let seed = kdf::skeyseed(PRF, &peer.nonce, &nonce, &shared);
    let keys = kdf::ike_keys(PRF, &seed, &peer.nonce, &nonce, 1, 2, ENCR, None).expect("keys");

    // IKE_AUTH: open the request. (Sealed with the same key, since only we are here: the work is that of opening.)
    let cipher = Cipher::new(ENCR, None, keys.sk_ei.as_bytes(), &[]).expect("a cipher");
    let (mut request, mut icv) = ([5; 320], [0; 16]);
    cipher.seal(&[0; 8], &[6; 32], &mut request, &[], &mut icv).expect("sealed");

    let maced_id = PRF.compute(keys.sk_pi.as_bytes(), &[&peer.id]);
    let our_maced_id = PRF.compute(keys.sk_pr.as_bytes(), &[&peer.id]);
    match credentials {
        Credentials::Psk(psk) => {
            black_box(kdf::auth_psk(PRF, psk, &[&peer.message, &nonce, &maced_id]));
            black_box(kdf::auth_psk(PRF, psk, &[&peer.message, &peer.nonce, &our_maced_id]));
        }
        Credentials::Ecdsa { ours, peer_spki, authority_spki, cached_chain } => {
            if !cached_chain {
                let authority = PublicKey::from_spki(authority_spki).expect("a key");
                authority.verify(SIGN, &peer.certificate, &peer.certificate_signature).expect("verified");
            }
            let key = PublicKey::from_spki(peer_spki).expect("a key");
            key.verify(SIGN, &peer.message, &peer.signature).expect("verified");
            let octets = [&peer.message[..], &peer.nonce, &our_maced_id].concat();
            black_box(ours.sign(SIGN, &octets).expect("signed"));
        }
    }
    black_box(kdf::child_keys(PRF, &keys.sk_d, None, &peer.nonce, &nonce, ENCR, None).expect("keys"));
    let cipher = Cipher::new(ENCR, None, keys.sk_er.as_bytes(), &[]).expect("a cipher");
    cipher.seal(&[0; 8], &[6; 32], &mut request, &[], &mut icv).expect("sealed");
    black_box(icv);
}

fn ecdsa() -> PrivateKey {
    let rng = aws_lc_rs::rand::SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &rng).expect("a key");
    PrivateKey::from_pkcs8(document.as_ref()).expect("a key")
}
