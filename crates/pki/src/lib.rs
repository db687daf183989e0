//! Certificates, certification paths and private keys for IKE.
//!
//! In flow DER and PEM bytes, from files and from CERT payloads of peers that nobody trusts yet; out flow
//! [`Certificate`]s that know their names and dates, verified paths or a [`PathError`] that is one sentence for the
//! operator, and [`PrivateKey`](adit_crypto::PrivateKey)s.
//!
//! The division of labour: ASN.1 is read by `x509-cert`, signatures and paths are judged by `webpki`, and what is
//! particular to IKE is kept here: RFC 4945's rules for key usage and extended key usage, the binding of an IKE identity
//! to a certificate ([`Certificate::certifies`]), pinned certificates, validity and usage of the trust anchors
//! themselves.
//!
//! Every configured authority is a trust anchor (RFC 5280 §6.1.1 lets the operator say what that is), also an
//! intermediate one whose own issuer is unknown. A certificate configured as an authority that comes as end entity is
//! trusted as it is: that is how a self-signed peer is pinned.
//!
//! What it never does: read files or clocks, fetch anything, ask for revocation (that comes after a path is trusted,
//! and off the protocol's way), or match a common name. Sizes are bounded: [`MAX_CERTIFICATE`], [`MAX_PATH`],
//! [`MAX_CANDIDATES`].

mod certificate;
mod date;
mod key_file;
mod names;
mod path;
mod pem;

pub use certificate::{Certificate, CertificateError, MAX_CERTIFICATE};
pub use date::utc;
pub use key_file::{KeyFileError, load_private_key};
pub use path::{MAX_CANDIDATES, MAX_PATH, PathError, TrustAnchors};
