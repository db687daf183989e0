//! Certificates, certification paths and private keys for IKE.
