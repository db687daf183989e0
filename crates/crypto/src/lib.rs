//! Transforms, key derivation, key exchange and signatures.
//!
//! This crate gives IKEv2 and ESP their cryptography in the vocabulary of RFC 7296: a [`Prf`] and its `prf+`, a
//! [`Cipher`] that protects one direction of an SK payload or an ESP packet, a [`KeSecret`] for one Diffie-Hellman
//! exchange, the key hierarchy in [`kdf`], and signatures by RFC 7427 [`SignatureScheme`].
//!
//! What flows in: transform numbers of the IANA registry, key bytes, octets to protect, public values and signatures a
//! peer sent. What flows out: octets, [`Secret`]s, or an error value. Every input from a peer is checked here once, so
//! that no other crate has to know what RFC 6989 or PKCS#1 demand.
//!
//! The primitives are those of AWS-LC; MODP groups come from a constant-time big integer library; DES and MD4 exist for
//! MSCHAPv2 alone. The crate never draws randomness for keys or nonces by itself: callers hand in a [`Random`], which
//! makes simulations repeatable. (Only the blinding and nonces inside RSA-PSS and ECDSA signing are AWS-LC's own.) It
//! has no clock, no I/O and no state that outlives its values; secrets are wiped when dropped and are never printed.

mod cipher;
mod der;
mod des;
mod digest;
mod error;
pub mod kdf;
mod ke;
mod prf;
mod random;
mod secret;
mod self_test;
mod signature;
mod transform;

pub use cipher::Cipher;
pub use des::des_ecb_encrypt;
pub use digest::{HashAlg, hash, md4, sha1};
pub use error::{CryptoError, KeError};
pub use ke::{KeGroup, KeSecret};
pub use prf::{Prf, PrfKey};
pub use random::{Random, SeededRandom, SystemRandom};
pub use secret::{Secret, ct_eq};
pub use self_test::self_test;
pub use signature::{KeyKind, PrivateKey, PublicKey, SignatureScheme};
pub use transform::{Encryption, Integrity};
