//! Certificates of a test: one authority, a gateway, a road-warrior.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, RsaKeySize, SanType, date_time_ymd,
};

/// The keys of a PKI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    EcdsaP256,
    /// ECDSA on P-384 with SHA-384.
    EcdsaP384,
    /// Ed25519.
    Ed25519,
    /// RSA with 3072 bits.
    Rsa3072,
}

impl Algorithm {
    fn key(self) -> KeyPair {
        match self {
            Self::EcdsaP256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            Self::EcdsaP384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            Self::Ed25519 => KeyPair::generate_for(&rcgen::PKCS_ED25519),
            Self::Rsa3072 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_3072),
        }
        .expect("a key")
    }
}

/// A certificate and its key, as PEM.
#[derive(Clone, Debug)]
pub struct Entity {
    /// The certificate.
    pub certificate: String,
    /// The private key, PKCS#8.
    pub key: String,
}

/// An authority and the certificates it issued.
pub struct Pki {
    algorithm: Algorithm,
    issuer: Issuer<'static, KeyPair>,
    /// The authority's own certificate, PEM.
    pub authority: String,
}

/// Who a certificate names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `gw.lab` and 192.168.0.2.
    Gateway,
    /// `rw@lab`.
    RoadWarrior,
}

impl Pki {
    /// A new authority called `name`.
    pub fn new(name: &str, algorithm: Algorithm) -> Self {
        let key = algorithm.key();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::OrganizationName, "Adit lab");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = params.self_signed(&key).expect("authority").pem();
        Self { algorithm, issuer: Issuer::new(params, key), authority }
    }

    /// A certificate that is valid now.
    pub fn issue(&self, subject: Subject) -> Entity {
        self.issue_with(subject, |_| {})
    }

    /// A certificate that ended years ago.
    pub fn issue_expired(&self, subject: Subject) -> Entity {
        self.issue_with(subject, |params| {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 1);
        })
    }

    /// A certificate with so many bytes of an unknown extension that the message carrying it must be fragmented.
    pub fn issue_large(&self, subject: Subject, bytes: usize) -> Entity {
        self.issue_with(subject, |params| {
            // an OCTET STRING under a private arc; not critical, so every reader passes over it
            let content = [vec![0x04, 0x82, (bytes >> 8) as u8, bytes as u8], vec![0x5a; bytes]].concat();
            params
                .custom_extensions
                .push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 32473, 1], content));
        })
    }

    fn issue_with(&self, subject: Subject, change: impl FnOnce(&mut CertificateParams)) -> Entity {
        let key = self.algorithm.key();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::OrganizationName, "Adit lab");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        // serverAuth/clientAuth, and id-kp-ipsecIKE of RFC 4945 §5.1.3.12 / ikeIntermediate of older peers
        match subject {
            Subject::Gateway => {
                params.distinguished_name.push(DnType::CommonName, "gw.lab");
                params.subject_alt_names = vec![
                    SanType::DnsName("gw.lab".try_into().expect("name")),
                    SanType::IpAddress("192.168.0.2".parse().expect("address")),
                ];
                params.extended_key_usages = vec![
                    ExtendedKeyUsagePurpose::ServerAuth,
                    ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 5, 5, 8, 2, 2]),
                ];
            }
            Subject::RoadWarrior => {
                params.distinguished_name.push(DnType::CommonName, "rw");
                params.subject_alt_names = vec![SanType::Rfc822Name("rw@lab".try_into().expect("name"))];
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }
        }
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).expect("certificate").pem();
        Entity { certificate, key: key.serialize_pem() }
    }
}

/// Writes an entity where swanctl looks: `x509/<name>.pem` and `private/<name>.pem`.
pub fn place(folder: &Path, name: &str, entity: &Entity) {
    std::fs::write(folder.join("x509").join(format!("{name}.pem")), &entity.certificate)
        .expect("certificate");
    std::fs::write(folder.join("private").join(format!("{name}.pem")), &entity.key).expect("key");
}
