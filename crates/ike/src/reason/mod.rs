//! Why something did not come to pass: one value from which notify, log line, event and status are made.
//!
//! A reason is created where the cause is known. [`Reason::sentence`] says what happened with the concrete values,
//! [`Reason::cure`] what to change and at which end, [`Reason::notify`] what the peer is told (much less).

mod cure;
mod label;
mod sentence;

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use adit_ipsec::{Identity, Proposal, Selector};
use adit_wire::NotifyType;

use crate::config::AuthMethod;

pub(crate) use sentence::groups;

/// Why an IKE_SA or CHILD_SA failed, was refused or was closed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    // -- before the peer is known ------------------------------------------------------------------------------
    /// No connection of that name is configured.
    NoSuchConnection {
        /// The name.
        name: String,
    },
    /// No child of that name is configured.
    NoSuchChild {
        /// The name.
        name: String,
    },
    /// There is no SA of that id.
    NoSuchSa {
        /// The id.
        id: u32,
    },
    /// The connection names no address to initiate to.
    NoRemoteAddress,
    /// A name has no address.
    NameUnresolved {
        /// The name.
        name: String,
    },
    /// None of `local_addrs` is an address of this host, or there is no route to the peer.
    LocalAddrMissing {
        /// What was configured; empty = any.
        configured: Vec<IpAddr>,
        /// The peer.
        remote: IpAddr,
        /// What the system said.
        detail: String,
    },
    /// No connection is configured for this pair of addresses.
    NoIkeConfig {
        /// Our address.
        local: IpAddr,
        /// The peer's.
        remote: IpAddr,
    },
    // -- IKE_SA_INIT -------------------------------------------------------------------------------------------
    /// No answer came.
    PeerUnreachable {
        /// The peer.
        remote: IpAddr,
        /// How often we sent.
        sent: u32,
        /// For how long.
        waited: Duration,
        /// The IKE_SA had been up.
        established: bool,
    },
    /// No proposal in common.
    NoProposal {
        /// `IKE` or `ESP`.
        protocol: &'static str,
        /// Ours.
        ours: Vec<Proposal>,
        /// The peer's; empty when the peer refused ours and kept its own to itself.
        theirs: Vec<Proposal>,
    },
    /// The ends agree on everything of a CHILD_SA but the key exchange of its own, which its first IKE_AUTH left out.
    PfsMismatch {
        /// Our groups; 0 = may be without.
        ours: Vec<u16>,
        /// The peer's, as far as it said.
        theirs: Vec<u16>,
    },
    /// The peer insists on a key exchange that we did not propose, or changes its mind without end.
    InvalidKe {
        /// The group the peer wants.
        wanted: u16,
    },
    /// The peer demanded too many restarts (cookies, key exchange groups).
    TooManyRestarts,
    /// The peer speaks another major version.
    VersionRefused {
        /// Its major version.
        major: u8,
    },
    /// The key exchange value of the peer is no good.
    BadKeyExchange {
        /// What is wrong.
        detail: String,
    },
    /// Half-open for too long: the peer did not go on with the handshake.
    HalfOpenTimeout,
    /// It made room for others: too many peers are in the middle of a handshake, most of them from its address.
    Crowded,
    /// Gateways send us about (RFC 5685 §7).
    TooManyRedirects {
        /// Where the last one would have us go.
        gateway: String,
    },
    /// The peer of that SA does not follow redirects, or is none that may be sent elsewhere.
    RedirectUnsupported {
        /// The IKE_SA.
        id: u32,
    },
    /// The peer was sent to another gateway and had its time.
    Redirected,
    /// Authentication had begun and was not finished in time.
    PendingAuthTimeout,
    // -- authentication ----------------------------------------------------------------------------------------
    /// No connection accepts this pair of identities.
    NoPeerConfig {
        /// The identity that the peer asks us to have.
        local: Identity,
        /// The peer's identity.
        remote: Identity,
        /// What the peer uses to prove itself.
        method: AuthMethod,
        /// What the connections between these addresses accept.
        accepted: Vec<String>,
    },
    /// The peer has another identity than configured.
    IdentityMismatch {
        /// The pattern configured.
        expected: Identity,
        /// What it said.
        got: Identity,
    },
    /// The peer's certificate does not carry its identity.
    IdentityNotCertified {
        /// The identity.
        id: Identity,
        /// The certificate's subject.
        subject: Identity,
        /// Its alternative names.
        alt_names: Vec<Identity>,
    },
    /// The peer proves itself in another way than configured.
    MethodMismatch {
        /// What is configured.
        expected: AuthMethod,
        /// What the peer did.
        got: String,
    },
    /// No pre-shared key for this pair.
    NoSharedKey {
        /// Our identity.
        local: Identity,
        /// The peer's.
        remote: Identity,
    },
    /// There is a key, but the peer has another.
    PskMismatch {
        /// Our identity.
        local: Identity,
        /// The peer's.
        remote: Identity,
        /// How many keys were tried.
        tried: usize,
    },
    /// No private key or certificate for our identity.
    NoPrivateKey {
        /// Our identity.
        id: Identity,
    },
    /// We can sign, but in no way the peer understands.
    NoCommonSignature {
        /// Our key.
        key: String,
        /// Hash algorithms the peer announced.
        peer: Vec<u16>,
    },
    /// The peer sent no certificate and none is configured for it.
    NoCertificate {
        /// The peer's identity.
        id: Identity,
    },
    /// The peer's certificate cannot be read.
    CertMalformed {
        /// What is wrong.
        detail: String,
    },
    /// No configured authority vouches for the peer's certificate.
    CertUntrusted {
        /// Its subject.
        subject: Identity,
        /// Why.
        detail: String,
    },
    /// The peer's certificate, or one it depends on, is outside of its validity.
    CertExpired {
        /// Its subject.
        subject: Identity,
        /// The sentence.
        detail: String,
    },
    /// The peer's certificate is not the pinned one.
    CertNotPinned {
        /// Its subject.
        subject: Identity,
    },
    /// The peer's signature is wrong.
    BadSignature {
        /// The peer's identity.
        id: Identity,
        /// What is wrong.
        detail: String,
    },
    /// The peer signs in a way that we do not serve.
    UnsupportedSignature {
        /// What it uses.
        detail: String,
    },
    /// EAP failed.
    EapFailed {
        /// The identity that was tried.
        identity: String,
        /// Why.
        detail: String,
    },
    /// The EAP identity is not one that the connection accepts.
    EapIdentityMismatch {
        /// The pattern configured.
        expected: Identity,
        /// What was authenticated.
        got: Identity,
    },
    /// No password is configured for our EAP identity.
    NoEapSecret {
        /// The identity.
        identity: Identity,
    },
    /// The peer's AUTH after EAP is wrong: it derived another key.
    EapAuthMismatch,
    /// The peer refused our authentication. It does not say why; its own log does.
    AuthFailedByPeer {
        /// How we proved ourselves.
        method: AuthMethod,
        /// Who we said we are.
        local: Identity,
    },
    /// The identity failed to prove itself too often of late.
    TooManyFailures {
        /// The peer's identity.
        identity: Identity,
    },
    /// Another IKE_SA of the same peer exists and is to be kept.
    Duplicate {
        /// The peer.
        remote: Identity,
    },
    /// Another IKE_SA of the same peer took its place.
    ReplacedByNew {
        /// The peer.
        remote: Identity,
    },
    /// The peer does not announce that it takes IKE_SAs without a CHILD_SA.
    ChildlessUnsupported,
    /// The peer asks for an IKE_SA without a CHILD_SA.
    ChildlessRefused,
    /// The peer asks for a CHILD_SA within IKE_AUTH.
    ChildRefused,
    // -- CHILD_SA ----------------------------------------------------------------------------------------------
    /// Selectors do not meet.
    TsUnacceptable {
        /// What is configured here: our side, the peer's side.
        ours: (Vec<Selector>, Vec<Selector>),
        /// What the peer offered or answered: our side, the peer's side; empty when it only refused.
        theirs: (Vec<Selector>, Vec<Selector>),
    },
    /// No address could be leased to the peer.
    NoLease {
        /// The pools.
        pools: Vec<String>,
        /// Why.
        detail: String,
    },
    /// The peer asked for no address, and the connection gives it one.
    AddressNotAsked {
        /// The pools it would come from.
        pools: Vec<String>,
    },
    /// The peer wants us to ask for an address.
    AddressDemanded,
    /// A resumed IKE_SA whose AUTH or identities are not those of its ticket (RFC 5723).
    TicketMismatch,
    /// The peer proved that it lost its state (RFC 6290).
    PeerLostState,
    /// The peer has no address for us.
    NoVirtualIp,
    /// A virtual address could not be taken into use.
    VirtualIpFailed {
        /// Why.
        detail: String,
    },
    /// The data plane refused the SA.
    InstallFailed {
        /// Why.
        detail: String,
    },
    /// The peer takes no more children.
    NoAdditionalSas,
    /// The peer no longer knows the SA.
    ChildNotFound,
    /// The peer is busy, and was so too often.
    TemporaryFailure,
    /// Its lifetime is over and no rekeying succeeded in time.
    LifetimeExceeded,
    /// No traffic for so long.
    Inactive {
        /// How long.
        after: Duration,
    },
    /// The peer does not synchronize Message IDs (RFC 6311).
    SyncUnsupported {
        /// The IKE_SA.
        id: u32,
    },
    // -- general -----------------------------------------------------------------------------------------------
    /// The peer refused, with a notify that says no more.
    PeerNotify {
        /// The notify.
        notify: NotifyType,
        /// In which exchange.
        exchange: &'static str,
    },
    /// The peer broke the protocol.
    Syntax {
        /// How.
        detail: String,
    },
    /// A critical payload that we do not know.
    UnsupportedCritical {
        /// Its type.
        payload: u8,
    },
    /// A cryptographic operation failed.
    Crypto {
        /// Which.
        detail: String,
    },
    /// The peer deleted it.
    DeletedByPeer,
    /// The operator deleted it.
    Terminated,
    /// The IKE_SA that carried it is gone.
    IkeClosed,
    /// It is being replaced by a reauthentication.
    Reauthenticated,
    /// The endpoint is shutting down.
    Shutdown,
    /// A limit was reached.
    Limit {
        /// Which.
        what: &'static str,
    },
    // -- addresses (RFC 4555) ----------------------------------------------------------------------------------
    /// The answer to a return routability check was not one to it.
    Unroutable {
        /// Where the question was sent.
        remote: IpAddr,
    },
    /// The peer does not want to be reached between these addresses.
    AddressesRefused {
        /// Ours.
        local: IpAddr,
        /// The peer's.
        remote: IpAddr,
    },
    /// The peer forbids NAT, and there is one.
    UnexpectedNat {
        /// Where its message came from.
        remote: IpAddr,
    },
}

impl Reason {
    /// The notify that tells the peer, if we are the one who refuses.
    #[must_use]
    pub fn notify(&self) -> Option<NotifyType> {
        Some(match self {
            Self::NoIkeConfig { .. } | Self::NoProposal { .. } | Self::PfsMismatch { .. } => {
                NotifyType::NO_PROPOSAL_CHOSEN
            }
            Self::NoPeerConfig { .. }
            | Self::IdentityMismatch { .. }
            | Self::IdentityNotCertified { .. }
            | Self::MethodMismatch { .. }
            | Self::NoSharedKey { .. }
            | Self::PskMismatch { .. }
            | Self::NoPrivateKey { .. }
            | Self::NoCommonSignature { .. }
            | Self::NoCertificate { .. }
            | Self::CertMalformed { .. }
            | Self::CertUntrusted { .. }
            | Self::CertExpired { .. }
            | Self::CertNotPinned { .. }
            | Self::BadSignature { .. }
            | Self::UnsupportedSignature { .. }
            | Self::EapFailed { .. }
            | Self::EapIdentityMismatch { .. }
            | Self::EapAuthMismatch
            | Self::TicketMismatch
            | Self::NoEapSecret { .. }
            | Self::TooManyFailures { .. }
            | Self::Duplicate { .. } => NotifyType::AUTHENTICATION_FAILED,
            Self::TsUnacceptable { .. } => NotifyType::TS_UNACCEPTABLE,
            Self::NoLease { .. } => NotifyType::INTERNAL_ADDRESS_FAILURE,
            Self::AddressNotAsked { .. } => NotifyType::FAILED_CP_REQUIRED,
            Self::InstallFailed { .. } | Self::TemporaryFailure => NotifyType::TEMPORARY_FAILURE,
            // RFC 6023 §3; RFC 7296 §3.10.1: it also stands for what a policy rejects.
            Self::ChildlessRefused | Self::ChildRefused => NotifyType::INVALID_SYNTAX,
            Self::Syntax { .. } | Self::BadKeyExchange { .. } => NotifyType::INVALID_SYNTAX,
            Self::UnsupportedCritical { .. } => NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD,
            Self::VersionRefused { .. } => NotifyType::INVALID_MAJOR_VERSION,
            Self::InvalidKe { .. } => NotifyType::INVALID_KE_PAYLOAD,
            Self::NoAdditionalSas | Self::Limit { .. } => NotifyType::NO_ADDITIONAL_SAS,
            Self::ChildNotFound => NotifyType::CHILD_SA_NOT_FOUND,
            Self::Crypto { .. } => NotifyType::NO_PROPOSAL_CHOSEN,
            Self::UnexpectedNat { .. } => NotifyType::UNEXPECTED_NAT_DETECTED,
            _ => return None,
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence())
    }
}

impl std::error::Error for Reason {}

/// The notify's name as log lines spell it.
pub(crate) fn notify_name(kind: NotifyType) -> String {
    kind.name().map_or_else(|| format!("notify {}", kind.0), str::to_owned)
}
