//! Certificates for the tests.

use std::sync::Arc;

use adit_crypto::PrivateKey;
use adit_pki::Certificate;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};

pub(crate) struct Ca {
    pub cert: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut dn = DistinguishedName::new();
    dn.push(DnType::OrganizationName, "adit");
    dn.push(DnType::CommonName, name);
    params.distinguished_name = dn;
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2036, 1, 1);
    params
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let cert = params.self_signed(&key).unwrap();
        Self { cert: Certificate::from_der(cert.der()).unwrap(), issuer: Issuer::new(params, key) }
    }

    pub(crate) fn issue(
        &self,
        name: &str,
        algorithm: &'static rcgen::SignatureAlgorithm,
    ) -> (Certificate, Arc<PrivateKey>) {
        self.issue_until(name, algorithm, 2036)
    }

    pub(crate) fn issue_until(
        &self,
        name: &str,
        algorithm: &'static rcgen::SignatureAlgorithm,
        year: i32,
    ) -> (Certificate, Arc<PrivateKey>) {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut params = named(name);
        params.not_after = rcgen::date_time_ymd(year, 2, 1);
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let private = PrivateKey::from_pkcs8(&key.serialize_der()).unwrap();
        (Certificate::from_der(cert.der()).unwrap(), Arc::new(private))
    }
}
