//! Certificates: which of ours we show, whose we ask for, and whether the peer's is good (RFC 7296 §3.6, §3.7).

use std::sync::Arc;

use adit_crypto::{PrivateKey, PublicKey};
use adit_ipsec::Identity;
use adit_pki::{Certificate, PathError, TrustAnchors};
use adit_wire::Payload;

use crate::config::SendCert;
use crate::core::{Core, log};
use crate::reason::Reason;
use crate::sa::seal::crypto;
use crate::sa::{Fatal, IkeSa};

/// X.509 Certificate - Signature.
const X509_SIGNATURE: u8 = 4;
/// Most intermediate certificates sent.
const MAX_CHAIN: usize = 6;

impl IkeSa {
    /// Our certificate and key for `local`; among several, one whose authority the peer asked for.
    pub(crate) fn own_certificate(
        &self,
        core: &Core,
        local: &Identity,
        asked: Option<&[[u8; 20]]>,
    ) -> Option<(Certificate, Arc<PrivateKey>)> {
        let credentials = &core.config.credentials;
        let mut able: Vec<(&Certificate, &Arc<PrivateKey>)> = self
            .conn
            .local
            .certs
            .iter()
            .filter_map(|cert| credentials.key_of(cert).map(|key| (cert, key)))
            .collect();
        if self.conn.local.certs.is_empty() {
            able = credentials
                .certs
                .iter()
                .filter(|cert| cert.certifies(local))
                .filter_map(|cert| credentials.key_of(cert).map(|key| (cert, key)))
                .collect();
        }
        let wanted = |cert: &Certificate| {
            self.chain(core, cert)
                .iter()
                .any(|issuer| asked.is_some_and(|asked| asked.contains(&issuer.spki_sha1())))
        };
        let best = able.iter().find(|(cert, _)| wanted(cert)).or_else(|| able.first())?;
        Some((best.0.clone(), Arc::clone(best.1)))
    }

    /// The authorities above a certificate, as far as they are known here.
    fn chain(&self, core: &Core, leaf: &Certificate) -> Vec<Certificate> {
        let credentials = &core.config.credentials;
        let mut chain: Vec<Certificate> = Vec::new();
        let mut at = leaf.clone();
        while !at.is_self_issued() && chain.len() < MAX_CHAIN {
            let issuer = at.issuer();
            let known =
                credentials.authorities.iter().chain(&self.conn.remote.cacerts).chain(&credentials.certs);
            let Some(next) = known.into_iter().find(|cert| cert.subject() == issuer) else { break };
            if chain.contains(next) {
                break;
            }
            chain.push(next.clone());
            at = next.clone();
        }
        chain
    }

    /// CERT payloads: our certificate, then what leads up to (but not including) the root.
    pub(crate) fn cert_payloads(
        &self,
        core: &mut Core,
        cert: &Certificate,
        asked: Option<&[[u8; 20]]>,
    ) -> Vec<Payload> {
        let send = match self.conn.send_cert {
            SendCert::Always => true,
            SendCert::Never => false,
            SendCert::IfAsked => asked.is_some(),
        };
        if !send {
            return Vec::new();
        }
        log!(core, Ike, 1, self, "sending end entity cert \"{}\"", cert.subject());
        let mut payloads = vec![Payload::Cert { encoding: X509_SIGNATURE, data: cert.der().to_vec() }];
        for issuer in self.chain(core, cert).into_iter().filter(|cert| !cert.is_self_issued()) {
            log!(core, Ike, 1, self, "sending issuer cert \"{}\"", issuer.subject());
            payloads.push(Payload::Cert { encoding: X509_SIGNATURE, data: issuer.der().to_vec() });
        }
        payloads
    }

    /// A CERTREQ for the authorities that we would accept; `None` when there are none or it is not wanted.
    pub(crate) fn cert_request(&self, core: &mut Core) -> Option<Payload> {
        if !self.conn.send_certreq {
            return None;
        }
        let authorities = if self.conn.remote.cacerts.is_empty() {
            core.config.credentials.authorities.clone()
        } else {
            self.conn.remote.cacerts.clone()
        };
        if authorities.is_empty() {
            return None;
        }
        for authority in authorities.iter().take(256) {
            log!(core, Ike, 1, self, "sending cert request for \"{}\"", authority.subject());
        }
        let hashes = authorities.iter().take(256).map(Certificate::spki_sha1).collect();
        Some(Payload::CertRequest { encoding: X509_SIGNATURE, authorities: hashes })
    }

    /// The public key that a peer may prove `remote` with: its certificate is trusted, valid, pinned if that is
    /// configured, and carries the identity.
    pub(crate) fn peer_key(&self, core: &mut Core, remote: &Identity, sent: &[&[u8]]) -> Fatal<PublicKey> {
        let mut certificates = Vec::new();
        for der in sent {
            let cert = Certificate::from_der(der)
                .map_err(|error| Reason::CertMalformed { detail: error.to_string() })?;
            if certificates.is_empty() {
                log!(core, Ike, 1, self, "received end entity cert \"{}\"", cert.subject());
            } else {
                log!(core, Ike, 1, self, "received issuer cert \"{}\"", cert.subject());
            }
            certificates.push(cert);
        }
        let pinned = &self.conn.remote.certs;
        if certificates.is_empty() {
            let known = pinned.iter().chain(&core.config.credentials.certs);
            certificates.extend(known.into_iter().find(|cert| cert.certifies(remote)).cloned());
        }
        let Some((leaf, intermediates)) = certificates.split_first() else {
            return Err(Reason::NoCertificate { id: remote.clone() });
        };
        let subject = leaf.subject();
        let anchors = if !pinned.is_empty() {
            if !pinned.contains(leaf) {
                return Err(Reason::CertNotPinned { subject });
            }
            Arc::new(TrustAnchors::new(pinned.clone()))
        } else if !self.conn.remote.cacerts.is_empty() {
            Arc::new(TrustAnchors::new(self.conn.remote.cacerts.clone()))
        } else {
            core.anchors()
        };
        anchors.verify(leaf, intermediates, core.unix_now()).map_err(|error| {
            let detail = error.to_string();
            match error {
                PathError::Expired { .. } | PathError::NotYetValid { .. } => {
                    Reason::CertExpired { subject: subject.clone(), detail }
                }
                _ => Reason::CertUntrusted { subject: subject.clone(), detail },
            }
        })?;
        if !leaf.certifies(remote) {
            return Err(Reason::IdentityNotCertified {
                id: remote.clone(),
                subject,
                alt_names: leaf.alt_names().to_vec(),
            });
        }
        leaf.public_key().map_err(crypto)
    }
}
