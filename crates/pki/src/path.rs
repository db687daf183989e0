//! Certification paths: from a peer's certificate to an authority that is configured.

use std::fmt;
use std::time::Duration;

use adit_ipsec::Identity;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, VerifiedPath};

use crate::certificate::Certificate;
use crate::date::utc;

/// Longest path, counting the end entity and the anchor.
pub const MAX_PATH: usize = 8;
/// Most certificates looked at as possible intermediates.
pub const MAX_CANDIDATES: usize = 16;

/// Why a certificate is not trusted; `Display` is a sentence for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathError {
    /// No configured authority, and no certificate the peer sent, has the name that signed this path.
    UnknownIssuer {
        /// The name that is missing.
        issuer: Identity,
    },
    /// A certificate of the path is no longer valid.
    Expired {
        /// Whose.
        subject: Identity,
        /// Last second of its validity, unix time.
        since: i64,
    },
    /// A certificate of the path is not valid yet.
    NotYetValid {
        /// Whose.
        subject: Identity,
        /// First second of its validity, unix time.
        from: i64,
    },
    /// A signature in the path is not that of the named issuer's key.
    BadSignature {
        /// The end entity.
        subject: Identity,
        /// The issuer it names.
        issuer: Identity,
    },
    /// A certificate that signed another one is no authority.
    NotACa {
        /// Whose.
        subject: Identity,
    },
    /// The end entity is itself an authority and not pinned.
    CaAsEndEntity {
        /// Whose.
        subject: Identity,
    },
    /// A path length or name constraint of an authority is violated.
    Constraint(String),
    /// Key usage or extended key usage do not allow IKE authentication.
    Usage(String),
    /// Longer than [`MAX_PATH`], or more than [`MAX_CANDIDATES`] certificates to build it from.
    TooLong,
    /// The end entity's key is too weak or of a kind we do not serve.
    Key(String),
    /// A feature we refuse: version 1 below the anchor, an unknown critical extension, a SHA-1 signature.
    Unsupported(String),
    /// A certificate in the path violates the format.
    Malformed(String),
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownIssuer { issuer } => {
                write!(f, "no trusted authority '{issuer}' is configured, and the peer sent no path to one")
            }
            Self::Expired { subject, since } => {
                write!(f, "the certificate of '{subject}' expired on {}", utc(*since))
            }
            Self::NotYetValid { subject, from } => {
                write!(f, "the certificate of '{subject}' is not valid before {}", utc(*from))
            }
            Self::BadSignature { subject, issuer } => write!(
                f,
                "a signature in the path of '{subject}' is not that of the authority '{issuer}' (forged, or another \
                 authority of the same name)"
            ),
            Self::NotACa { subject } => {
                write!(f, "the certificate of '{subject}' signed another one but is not that of an authority")
            }
            Self::CaAsEndEntity { subject } => {
                write!(
                    f,
                    "the certificate of '{subject}' is that of an authority and does not authenticate a peer"
                )
            }
            Self::Constraint(what) => write!(f, "a constraint of an authority is violated: {what}"),
            Self::Usage(what) => write!(f, "the certificate must not be used for IKE: {what}"),
            Self::TooLong => {
                write!(f, "the certification path has more than {MAX_PATH} certificates or too many choices")
            }
            Self::Key(what) => write!(f, "the public key in the certificate is refused: {what}"),
            Self::Unsupported(what) => write!(f, "the certification path uses {what}, which is refused"),
            Self::Malformed(what) => write!(f, "a certificate in the path is malformed: {what}"),
        }
    }
}

impl std::error::Error for PathError {}

/// The configured authorities, and certificates pinned by being among them.
#[derive(Clone, Default)]
pub struct TrustAnchors {
    authorities: Vec<Certificate>,
    /// In the order of `authorities`; `None` for one that webpki cannot use as an anchor.
    anchors: Vec<Option<TrustAnchor<'static>>>,
}

impl fmt::Debug for TrustAnchors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TrustAnchors").field(&self.authorities).finish()
    }
}

/// A configured authority that is fit to issue at the time asked.
struct Usable<'a> {
    anchors: Vec<TrustAnchor<'static>>,
    certificates: Vec<&'a Certificate>,
}

impl TrustAnchors {
    /// Trusts these certificates, each of which is an authority, or an end entity to be accepted as it is.
    pub fn new(authorities: Vec<Certificate>) -> Self {
        let anchors = authorities
            .iter()
            .map(|authority| {
                let der = CertificateDer::from(authority.der());
                webpki::anchor_from_trusted_cert(&der).ok().map(|anchor| anchor.to_owned())
            })
            .collect();
        Self { authorities, anchors }
    }

    /// What [`new`](Self::new) was given.
    pub fn authorities(&self) -> &[Certificate] {
        &self.authorities
    }

    /// Finds and verifies a path from `leaf` to an authority at a point in time, unix seconds. `intermediates` are
    /// untrusted, in any order. The path returned starts with `leaf` and ends with the authority; it is `leaf` alone
    /// if that is pinned.
    pub fn verify(
        &self,
        leaf: &Certificate,
        intermediates: &[Certificate],
        at_unix: i64,
    ) -> Result<Vec<Certificate>, PathError> {
        valid_at(leaf, at_unix)?;
        if !leaf.may_sign() {
            return Err(PathError::Usage("its keyUsage allows no signatures".to_owned()));
        }
        if let Err(error) = leaf.public_key() {
            return Err(PathError::Key(error.to_string()));
        }
        if self.authorities.contains(leaf) {
            return Ok(vec![leaf.clone()]);
        }
        if intermediates.len() > MAX_CANDIDATES {
            return Err(PathError::TooLong);
        }

        let usable = self.usable(leaf, intermediates, at_unix);
        let leaf_der = CertificateDer::from(leaf.der());
        let candidates: Vec<_> =
            intermediates.iter().map(|candidate| CertificateDer::from(candidate.der())).collect();
        let end_entity = EndEntityCert::try_from(&leaf_der)
            .map_err(|error| self.explain(error, leaf, intermediates, at_unix))?;
        let time = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(at_unix).unwrap_or(0)));
        let acceptable = |path: &VerifiedPath<'_>| acceptable(&collect(path, leaf, intermediates, &usable)?);
        let path = end_entity
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &usable.anchors,
                &candidates,
                time,
                IkePurpose,
                None,
                Some(&acceptable),
            )
            .map_err(|error| self.explain(error, leaf, intermediates, at_unix))?;
        collect(&path, leaf, intermediates, &usable)
            .map_err(|error| self.explain(error, leaf, intermediates, at_unix))
    }

    /// The anchors that could end this path. webpki takes them for granted; whether they are valid now and may issue
    /// is seen to here.
    fn usable(&self, leaf: &Certificate, intermediates: &[Certificate], at_unix: i64) -> Usable<'_> {
        let (certificates, anchors) = self
            .authorities
            .iter()
            .zip(&self.anchors)
            .filter(|(authority, _)| {
                std::iter::once(leaf).chain(intermediates).any(|issued| issued.issued_by_name_of(authority))
            })
            .filter(|(authority, _)| authority.may_issue(true) && valid_at(authority, at_unix).is_ok())
            .filter_map(|(authority, anchor)| Some((authority, anchor.clone()?)))
            .unzip();
        Usable { anchors, certificates }
    }

    /// webpki says what is wrong, not with which certificate; the operator wants to know both.
    fn explain(
        &self,
        error: webpki::Error,
        leaf: &Certificate,
        intermediates: &[Certificate],
        at_unix: i64,
    ) -> PathError {
        use webpki::Error as E;
        let all = || std::iter::once(leaf).chain(intermediates);
        match error {
            E::UnknownIssuer => self.missing(leaf, intermediates, at_unix),
            E::CertExpired { .. } | E::CertNotValidYet { .. } => all()
                .find_map(|certificate| valid_at(certificate, at_unix).err())
                .unwrap_or_else(|| PathError::Malformed(error.to_string())),
            E::InvalidSignatureForPublicKey | E::SignatureAlgorithmMismatch => {
                PathError::BadSignature { subject: leaf.subject(), issuer: leaf.issuer() }
            }
            E::EndEntityUsedAsCa => {
                let culprit = intermediates
                    .iter()
                    .find(|ca| !ca.may_issue(false) && all().any(|issued| issued.issued_by_name_of(ca)));
                PathError::NotACa { subject: culprit.unwrap_or(leaf).subject() }
            }
            E::CaUsedAsEndEntity => PathError::CaAsEndEntity { subject: leaf.subject() },
            E::PathLenConstraintViolated => {
                PathError::Constraint("more intermediate authorities than its path length allows".to_owned())
            }
            E::NameConstraintViolation
            | E::MalformedNameConstraint
            | E::InvalidNetworkMaskConstraint
            | E::MaximumNameConstraintComparisonsExceeded => PathError::Constraint(format!(
                "'{}' has a name that the name constraints exclude, or of a kind we cannot check",
                leaf.subject()
            )),
            E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => PathError::Usage(
                "its extendedKeyUsage has none of serverAuth, clientAuth, ikeIntermediate, ipsecIKE"
                    .to_owned(),
            ),
            E::MaximumPathDepthExceeded
            | E::MaximumPathBuildCallsExceeded
            | E::MaximumSignatureChecksExceeded => PathError::TooLong,
            E::UnsupportedSignatureAlgorithmContext(_)
            | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
                PathError::Unsupported("a signature algorithm that is unknown or too weak".to_owned())
            }
            E::UnsupportedCriticalExtension => {
                PathError::Unsupported("an unknown critical extension".to_owned())
            }
            E::UnsupportedCertVersion => PathError::Unsupported("an X.509 version other than 3".to_owned()),
            other => PathError::Malformed(other.to_string()),
        }
    }

    /// Follows the issuers by name to where the path breaks off.
    fn missing(&self, leaf: &Certificate, intermediates: &[Certificate], at_unix: i64) -> PathError {
        let mut last = leaf;
        for _ in 0..MAX_PATH {
            if let Some(authority) =
                self.authorities.iter().find(|authority| last.issued_by_name_of(authority))
            {
                if let Err(error) = valid_at(authority, at_unix) {
                    return error;
                }
                return PathError::NotACa { subject: authority.subject() };
            }
            match intermediates.iter().find(|ca| last.issued_by_name_of(ca)) {
                Some(issuer) if !issuer.is_self_issued() => last = issuer,
                _ => break,
            }
        }
        PathError::UnknownIssuer { issuer: last.issuer() }
    }
}

fn valid_at(certificate: &Certificate, at_unix: i64) -> Result<(), PathError> {
    if at_unix < certificate.not_before() {
        return Err(PathError::NotYetValid {
            subject: certificate.subject(),
            from: certificate.not_before(),
        });
    }
    if at_unix > certificate.not_after() {
        return Err(PathError::Expired { subject: certificate.subject(), since: certificate.not_after() });
    }
    Ok(())
}

/// The certificates of a path that webpki found.
fn collect(
    path: &VerifiedPath<'_>,
    leaf: &Certificate,
    intermediates: &[Certificate],
    usable: &Usable<'_>,
) -> Result<Vec<Certificate>, webpki::Error> {
    let mut out = vec![leaf.clone()];
    for link in path.intermediate_certificates() {
        let der = link.der();
        let found = intermediates.iter().find(|candidate| candidate.der() == &*der);
        out.push(found.ok_or(webpki::Error::UnknownIssuer)?.clone());
    }
    let at = usable.anchors.iter().position(|anchor| std::ptr::eq(anchor, path.anchor()));
    let anchor = at.and_then(|at| usable.certificates.get(at)).ok_or(webpki::Error::UnknownIssuer)?;
    out.push((*anchor).clone());
    Ok(out)
}

/// What RFC 5280 §6.1.4 asks of authorities and webpki does not look at: keyCertSign of each, the path length of the
/// anchor.
fn acceptable(path: &[Certificate]) -> Result<(), webpki::Error> {
    let [_, below @ .., anchor] = path else { return Err(webpki::Error::UnknownIssuer) };
    if path.len() > MAX_PATH {
        return Err(webpki::Error::MaximumPathDepthExceeded);
    }
    if !below.iter().all(|ca| ca.may_issue(false)) {
        return Err(webpki::Error::EndEntityUsedAsCa);
    }
    let counted = below.iter().filter(|ca| !ca.is_self_issued()).count();
    if anchor.path_length().is_some_and(|most| counted > usize::from(most)) {
        return Err(webpki::Error::PathLenConstraintViolated);
    }
    Ok(())
}

/// RFC 4945 §5.1.3.12, and what strongSwan, Windows and Apple put into the certificates of their gateways: no
/// extendedKeyUsage at all, or one of these.
struct IkePurpose;

const PURPOSES: [KeyPurposeId<'static>; 5] = [
    KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 1]),  // serverAuth
    KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 2]),  // clientAuth
    KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 17]), // ipsecIKE
    KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 8, 2, 2]),  // ikeIntermediate
    KeyPurposeId::new(&[0x55, 0x1d, 0x25, 0]),        // anyExtendedKeyUsage
];

impl ExtendedKeyUsageValidator for IkePurpose {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut any = false;
        for purpose in purposes {
            if PURPOSES.contains(&purpose?) {
                return Ok(());
            }
            any = true;
        }
        if any { Err(webpki::Error::EmptyEkuExtension) } else { Ok(()) }
    }
}
