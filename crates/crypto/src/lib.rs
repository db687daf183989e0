//! Transforms, key derivation, key exchange and signatures.
