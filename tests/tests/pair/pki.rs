//! Authorities and certificates, made once per run and kind of key.

use std::sync::{Arc, OnceLock};

use adit_crypto::PrivateKey;
use adit_pki::Certificate;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    RsaKeySize, SanType, date_time_ymd,
};

/// Wall clock at the epoch of every run: 2026-11-01. Certificates are valid from 2026-01-01 to 2036-01-01.
pub const UNIX: i64 = 1_793_491_200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    P256,
    P384,
    Ed25519,
    Rsa,
}

fn key(algorithm: Algorithm) -> KeyPair {
    match algorithm {
        Algorithm::P256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        Algorithm::P384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        Algorithm::Ed25519 => KeyPair::generate_for(&rcgen::PKCS_ED25519),
        Algorithm::Rsa => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
    }
    .unwrap()
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Entity {
    pub certificate: Certificate,
    pub key: Arc<PrivateKey>,
}

impl Entity {
    pub fn keys(&self) -> (Vec<u8>, Arc<PrivateKey>) {
        (self.certificate.spki().to_vec(), Arc::clone(&self.key))
    }
}

/// An authority with what it issued.
pub struct Pki {
    pub authority: Certificate,
    pub client: Entity,
    pub gateway: Entity,
    /// For the client, ended in June 2026.
    pub expired: Entity,
    /// For the client, 5 kB.
    pub large: Entity,
    /// For the gateway, 5 kB.
    pub large_gateway: Entity,
}

impl Pki {
    fn new(algorithm: Algorithm, name: &str) -> Self {
        let authority_key = key(algorithm);
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::OrganizationName, "Adit pair");
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2036, 1, 1);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = Certificate::from_der(params.self_signed(&authority_key).unwrap().der()).unwrap();
        let issuer = Issuer::new(params, authority_key);
        let issue = |id: &str, bend: &dyn Fn(&mut CertificateParams)| {
            let key = key(algorithm);
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, id);
            params.subject_alt_names = vec![SanType::DnsName(id.try_into().unwrap())];
            params.not_before = date_time_ymd(2026, 1, 1);
            params.not_after = date_time_ymd(2036, 1, 1);
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.use_authority_key_identifier_extension = true;
            bend(&mut params);
            let certificate = Certificate::from_der(params.signed_by(&key, &issuer).unwrap().der()).unwrap();
            Entity { certificate, key: Arc::new(PrivateKey::from_pkcs8(&key.serialize_der()).unwrap()) }
        };
        let large = |params: &mut CertificateParams| {
            // An OCTET STRING under a private arc; not critical, so every reader passes over it.
            let content = [&[0x04, 0x82, 0x13, 0x88][..], &[0x5a; 5000]].concat();
            params
                .custom_extensions
                .push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 32473, 1], content));
        };
        Self {
            client: issue("client.example.net", &|_| {}),
            gateway: issue("gw.example.net", &|_| {}),
            expired: issue("client.example.net", &|params| params.not_after = date_time_ymd(2026, 6, 1)),
            large: issue("client.example.net", &large),
            large_gateway: issue("gw.example.net", &large),
            authority,
        }
    }

    /// The authority that both ends trust.
    pub fn of(algorithm: Algorithm) -> &'static Self {
        static ALL: [OnceLock<Pki>; 4] = [const { OnceLock::new() }; 4];
        ALL[algorithm as usize].get_or_init(|| Self::new(algorithm, "root"))
    }

    /// Another one, that nobody trusts unless told to.
    pub fn stranger() -> &'static Self {
        static STRANGER: OnceLock<Pki> = OnceLock::new();
        STRANGER.get_or_init(|| Self::new(Algorithm::P256, "stranger"))
    }
}
