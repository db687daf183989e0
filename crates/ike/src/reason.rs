//! Why something did not come to pass: one value from which notify, log line, event and status are made.
//!
//! A reason is created where the cause is known. [`Reason::sentence`] says what happened with the concrete values,
//! [`Reason::cure`] what to change and at which end, [`Reason::notify`] what the peer is told (much less).

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use adit_ipsec::{Identity, Proposal, Selector};
use adit_wire::NotifyType;

use crate::config::AuthMethod;

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

/// Names of key exchange groups.
pub(crate) fn groups(ids: &[u16]) -> String {
    if ids.is_empty() {
        return "none".to_owned();
    }
    let name = |id: &u16| match id {
        0 => "none".to_owned(),
        id => adit_ipsec::names::ke_name(*id).to_string(),
    };
    ids.iter().take(16).map(name).collect::<Vec<_>>().join(", ")
}

struct List<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        for (n, item) in self.0.iter().take(8).enumerate() {
            if n > 0 {
                f.write_str(", ")?;
            }
            item.fmt(f)?;
        }
        if self.0.len() > 8 {
            write!(f, " and {} more", self.0.len() - 8)?;
        }
        Ok(())
    }
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

    /// What happened, as one sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Self::NoSuchConnection { name } => format!("no connection '{name}' is configured"),
            Self::NoSuchChild { name } => format!("no child '{name}' is configured"),
            Self::NoSuchSa { id } => format!("there is no SA with id {id}"),
            Self::NoRemoteAddress => "the connection names no address of the peer to initiate to".to_owned(),
            Self::NameUnresolved { name } => format!("the host name '{name}' has no address"),
            Self::LocalAddrMissing { configured, remote, detail } if configured.is_empty() => {
                format!("this host has no address to reach {remote} from: {detail}")
            }
            Self::LocalAddrMissing { configured, detail, .. } => {
                format!("none of local_addrs ({}) is an address of this host: {detail}", List(configured))
            }
            Self::NoIkeConfig { local, remote } => {
                format!("no connection is configured between our {local} and the peer's {remote}")
            }
            Self::PeerUnreachable { remote, sent, waited, established } => {
                let was =
                    if *established { "the peer stopped answering" } else { "the peer does not answer" };
                format!("{was}: {remote} got {sent} requests within {} s", waited.as_secs())
            }
            Self::NoProposal { protocol, ours, theirs } if theirs.is_empty() => {
                format!("the peer accepts none of our {protocol} proposals: we offered {}", List(ours))
            }
            Self::NoProposal { protocol, ours, theirs } => format!(
                "no {protocol} proposal in common: we have {}, the peer has {}",
                List(ours),
                List(theirs)
            ),
            Self::InvalidKe { wanted } => format!(
                "the peer wants key exchange method {}, which we did not propose",
                adit_ipsec::names::ke_name(*wanted)
            ),
            Self::TooManyRestarts => "the peer demands restart after restart of IKE_SA_INIT".to_owned(),
            Self::VersionRefused { major } => {
                format!("IKE version {major} is asked for, only IKEv2 is served")
            }
            Self::BadKeyExchange { detail } => format!("the key exchange failed: {detail}"),
            Self::PfsMismatch { ours, theirs } if theirs.is_empty() => format!(
                "PFS mismatch: the peer refuses our key exchange groups {} for a CHILD_SA; it keeps its own to itself",
                groups(ours)
            ),
            Self::PfsMismatch { ours, theirs } => format!(
                "PFS mismatch: our key exchange groups for a CHILD_SA are {}, the peer's {}",
                groups(ours),
                groups(theirs)
            ),
            Self::PendingAuthTimeout => "the peer did not finish its authentication in time".to_owned(),
            Self::HalfOpenTimeout => "the peer did not complete the handshake in time".to_owned(),
            Self::Crowded => {
                "it made room: too many peers are in the middle of a handshake, most of them from there"
                    .to_owned()
            }
            Self::TooManyRedirects { gateway } => {
                format!("the gateways send us about: this was the sixth redirect within 300 s, to {gateway}")
            }
            Self::RedirectUnsupported { id } => {
                format!("the peer of IKE_SA {id} does not follow redirects, or is not our client")
            }
            Self::SyncUnsupported { id } => {
                format!("the peer of IKE_SA {id} does not synchronize Message IDs (RFC 6311)")
            }
            Self::Redirected => "its peer was sent to another gateway".to_owned(),
            Self::NoPeerConfig { local, remote, method, accepted } => format!(
                "no connection accepts the peer '{remote}' with {method} for our identity '{local}'; between these \
                 addresses we accept: {}",
                List(accepted)
            ),
            Self::IdentityMismatch { expected, got } => {
                format!("the peer says it is '{got}', configured is '{expected}'")
            }
            Self::IdentityNotCertified { id, subject, alt_names } => format!(
                "the peer says it is '{id}', but its certificate is for '{subject}' (alternative names: {})",
                List(alt_names)
            ),
            Self::MethodMismatch { expected, got } => {
                format!("the peer authenticates with {got}, configured is {expected}")
            }
            Self::NoSharedKey { local, remote } => {
                format!("no pre-shared key is configured for '{local}' and '{remote}'")
            }
            Self::PskMismatch { local, remote, tried } => format!(
                "the pre-shared key for '{local}' and '{remote}' is not the one the peer uses ({tried} tried)"
            ),
            Self::NoPrivateKey { id } => {
                format!("no certificate with private key is configured for our identity '{id}'")
            }
            Self::NoCommonSignature { key, peer } => {
                format!(
                    "our {key} key can sign in no way that the peer accepts (it announced hashes {})",
                    List(peer)
                )
            }
            Self::NoCertificate { id } => {
                format!("the peer '{id}' sent no certificate and none is configured for it")
            }
            Self::CertMalformed { detail } => format!("the peer's certificate is unreadable: {detail}"),
            Self::CertUntrusted { subject, detail } => {
                format!("the peer's certificate '{subject}' is not trusted: {detail}")
            }
            Self::CertExpired { detail, .. } => detail.clone(),
            Self::CertNotPinned { subject } => {
                format!("the peer's certificate '{subject}' is not the one configured for it")
            }
            Self::BadSignature { id, detail } => {
                format!("the signature of the peer '{id}' is wrong: {detail}")
            }
            Self::UnsupportedSignature { detail } => {
                format!("the peer authenticates with {detail}, which is not served")
            }
            Self::EapFailed { identity, detail } => {
                format!("EAP authentication of '{identity}' failed: {detail}")
            }
            Self::EapIdentityMismatch { expected, got } => {
                format!("the peer authenticated by EAP as '{got}', configured is '{expected}'")
            }
            Self::NoEapSecret { identity } => {
                format!("no EAP secret is configured for our identity '{identity}'")
            }
            Self::EapAuthMismatch => {
                "the peer's proof after EAP does not fit: its key is another one".to_owned()
            }
            Self::AuthFailedByPeer { method, local } => {
                format!("the peer refused our authentication as '{local}' with {method}")
            }
            Self::TooManyFailures { identity } => {
                format!("'{identity}' failed to prove itself too often in the last minute")
            }
            Self::Duplicate { remote } => format!("'{remote}' has an IKE_SA already, and unique = keep"),
            Self::ReplacedByNew { remote } => format!("a newer IKE_SA of '{remote}' took its place"),
            Self::ChildlessUnsupported => {
                "the peer does not take an IKE_SA without a CHILD_SA (RFC 6023)".to_owned()
            }
            Self::ChildlessRefused => {
                "the peer asks for an IKE_SA without a CHILD_SA, and childless = never".to_owned()
            }
            Self::ChildRefused => {
                "the peer asks for a CHILD_SA together with the IKE_SA, and childless = force".to_owned()
            }
            Self::TsUnacceptable { ours, theirs } if theirs.0.is_empty() && theirs.1.is_empty() => format!(
                "the peer accepts none of our traffic selectors: we offered {} === {}",
                List(&ours.0),
                List(&ours.1)
            ),
            Self::TsUnacceptable { ours, theirs } => format!(
                "traffic selectors do not meet: we have {} === {}, the peer has {} === {}",
                List(&ours.0),
                List(&ours.1),
                List(&theirs.0),
                List(&theirs.1)
            ),
            Self::NoLease { pools, detail } if pools.is_empty() => {
                format!("no address for the peer: {detail}")
            }
            Self::NoLease { pools, detail } => {
                format!("no address for the peer from pool {}: {detail}", List(pools))
            }
            Self::AddressNotAsked { pools } => {
                format!("the peer asked for no virtual address, and gets one from pool {} here", List(pools))
            }
            Self::AddressDemanded => "the peer wants to be asked for a virtual address".to_owned(),
            Self::TicketMismatch => "the ticket of a resumed session and its proof do not fit".to_owned(),
            Self::PeerLostState => "the peer was restarted and proved that it lost this IKE_SA".to_owned(),
            Self::NoVirtualIp => "the peer has no virtual address for us".to_owned(),
            Self::VirtualIpFailed { detail } => {
                format!("the virtual address could not be installed: {detail}")
            }
            Self::InstallFailed { detail } => format!("the CHILD_SA could not be installed: {detail}"),
            Self::NoAdditionalSas => "the peer takes no more CHILD_SAs on this IKE_SA".to_owned(),
            Self::ChildNotFound => "the peer no longer knows the CHILD_SA".to_owned(),
            Self::TemporaryFailure => "the peer was busy again and again".to_owned(),
            Self::LifetimeExceeded => "its lifetime is over and it could not be rekeyed in time".to_owned(),
            Self::Inactive { after } => format!("no traffic for {} s", after.as_secs()),
            Self::PeerNotify { notify, exchange } => {
                format!("the peer answered {exchange} with {}", notify_name(*notify))
            }
            Self::Syntax { detail } => format!("the peer broke the protocol: {detail}"),
            Self::UnsupportedCritical { payload } => {
                format!("the peer sent a critical payload of unknown type {payload}")
            }
            Self::Crypto { detail } => format!("a cryptographic operation failed: {detail}"),
            Self::DeletedByPeer => "the peer deleted it".to_owned(),
            Self::Terminated => "it was deleted on command".to_owned(),
            Self::IkeClosed => "its IKE_SA was closed".to_owned(),
            Self::Reauthenticated => "it was replaced by a reauthentication".to_owned(),
            Self::Shutdown => "the daemon is shutting down".to_owned(),
            Self::Limit { what } => format!("the limit of {what} is reached"),
            Self::Unroutable { remote } => {
                format!("the answer from {remote} is not one to the question sent there (COOKIE2)")
            }
            Self::AddressesRefused { local, remote } => {
                format!("the peer refuses to go on between our {local} and its {remote}")
            }
            Self::UnexpectedNat { remote } => {
                format!("the peer allows no NAT (NO_NATS_ALLOWED), and its message came from {remote}")
            }
        }
    }

    /// What to change, and at which end.
    #[must_use]
    pub fn cure(&self) -> &'static str {
        match self {
            Self::NoSuchConnection { .. } | Self::NoSuchChild { .. } => {
                "Check the name against `adit status`; load the configuration if it is new."
            }
            Self::NoSuchSa { .. } => "List the SAs again; it may be gone or rekeyed under another id.",
            Self::NoRemoteAddress => "Set remote_addrs to an address or name, or let the peer initiate.",
            Self::NameUnresolved { .. } => "Check the name in remote_addrs and the DNS of this host.",
            Self::LocalAddrMissing { .. } => {
                "On this host: correct local_addrs (or leave it out), or add the address or route that is missing."
            }
            Self::NoIkeConfig { .. } => {
                "On this host: add a connection whose local_addrs and remote_addrs cover this pair."
            }
            Self::PeerUnreachable { established: false, .. } => {
                "Check remote_addrs, that the peer runs, and that UDP 500 and 4500 pass all firewalls both ways."
            }
            Self::PeerUnreachable { .. } => "Check the path to the peer, and the peer itself.",
            Self::NoProposal { protocol: "IKE", .. } => {
                "Make `proposals` of both ends share one combination."
            }
            Self::NoProposal { .. } => "Make `esp_proposals` of both ends share one combination.",
            Self::PfsMismatch { .. } => {
                "Give `esp_proposals` of both ends a key exchange group in common (PFS), or none at both: the first \
                 CHILD_SA comes up without one, but no rekeying will."
            }
            Self::InvalidKe { .. } => "Add the group to the proposals here, or one of ours to the peer's.",
            Self::TooManyRestarts => "The peer is overloaded or broken; look at its log.",
            Self::VersionRefused { .. } => "Set the peer to IKEv2.",
            Self::BadKeyExchange { .. } => {
                "The peer's implementation is at fault, or the message was forged."
            }
            Self::PendingAuthTimeout => {
                "Look at the peer's log: it stopped in the middle of authentication. If people type passwords, raise \
                 adit.pending_auth_timeout."
            }
            Self::HalfOpenTimeout => {
                "Look at the peer's log: it stopped. Large IKE_AUTH messages may not get through; enable fragmentation \
                 at the peer."
            }
            Self::Crowded => {
                "Look at `adit status`: if this is no attack, raise adit.pending_auth_limit or adit.half_open_limit."
            }
            Self::TooManyRedirects { .. } => {
                "Look at the redirect rules of the gateways; they go round in circles."
            }
            Self::SyncUnsupported { .. } => "Nothing: both ends go on with the Message IDs they have.",
            Self::RedirectUnsupported { .. } => "Terminate the IKE_SA instead.",
            Self::NoPeerConfig { .. } => {
                "Make remote.id and remote.auth here fit what the peer sends, or local.id at the peer."
            }
            Self::IdentityMismatch { .. } => "Make remote.id here equal to local.id at the peer.",
            Self::IdentityNotCertified { .. } => {
                "Use the certificate's subject or one of its alternative names as the peer's local.id, or issue a \
                 certificate that carries this identity."
            }
            Self::MethodMismatch { .. } => "Make remote.auth here and local.auth at the peer the same.",
            Self::NoSharedKey { .. } => "On this host: add a secrets.ike section with these identities.",
            Self::PskMismatch { .. } => "Configure the same secret at both ends.",
            Self::NoPrivateKey { .. } => {
                "On this host: set local.certs, and put the matching key into the private folder."
            }
            Self::NoCommonSignature { .. } => {
                "Use a newer peer that knows RFC 7427, or an ECDSA certificate at this end."
            }
            Self::NoCertificate { .. } => {
                "Set send_cert = always at the peer, or configure its certificate in remote.certs here."
            }
            Self::CertMalformed { .. } => "Reissue the peer's certificate.",
            Self::CertUntrusted { .. } => {
                "On this host: add the authority that issued it to x509ca (or remote.cacerts); or give the peer a \
                 certificate of an authority trusted here."
            }
            Self::CertExpired { .. } => "Renew the certificate at the peer; check the clocks of both hosts.",
            Self::CertNotPinned { .. } => {
                "Correct remote.certs here, or give the peer the expected certificate."
            }
            Self::BadSignature { .. } => {
                "The peer's private key does not belong to its certificate, or something on the path alters messages."
            }
            Self::UnsupportedSignature { .. } => {
                "Enable RFC 7427 signatures with SHA-2 at the peer, or use another kind of key there."
            }
            Self::EapFailed { .. } => {
                "Check user name and password at the client and the secrets.eap section here."
            }
            Self::EapIdentityMismatch { .. } => {
                "Set remote.eap_id here to the users that may come (%any for all), or correct the user name at the client."
            }
            Self::NoEapSecret { .. } => "On this host: add a secrets.eap section with this identity.",
            Self::EapAuthMismatch => "The peer's EAP implementation derives another MSK.",
            Self::AuthFailedByPeer { .. } => {
                "The peer knows why: look at its log. Check secret or certificate, and the identities of both ends."
            }
            Self::TooManyFailures { .. } => {
                "Mend the secret at the peer and wait a minute; adit.auth_failures is what a minute allows."
            }
            Self::Duplicate { .. } => "Close the other IKE_SA, or set unique = replace.",
            Self::ReplacedByNew { .. } => {
                "Nothing, unless two peers share an identity: then give each its own."
            }
            Self::ChildlessUnsupported => {
                "Set childless = allow (or prefer) here and initiate a child; or allow it at the peer."
            }
            Self::ChildlessRefused => "Set childless = allow here, or initiate a child at the peer.",
            Self::ChildRefused => "Set childless = allow here, or childless = prefer at the peer.",
            Self::TsUnacceptable { .. } => {
                "Make local_ts here overlap remote_ts at the peer, and the other way round."
            }
            Self::NoLease { .. } => "On this host: enlarge the pool, or correct `pools` of the connection.",
            Self::AddressNotAsked { .. } => {
                "At the peer: set `vips = 0.0.0.0`; or leave out `pools` of the connection here."
            }
            Self::AddressDemanded => {
                "Set `vips = 0.0.0.0` in the connection here; or leave out `pools` at the peer."
            }
            Self::TicketMismatch => "Nothing: the next attempt goes without a ticket.",
            Self::PeerLostState => {
                "Nothing: it is made anew by `dpd_action = restart`, a trap, or the peer's traffic."
            }
            Self::NoVirtualIp => "At the peer: set `pools` of the connection; or leave out `vips` here.",
            Self::VirtualIpFailed { .. } | Self::InstallFailed { .. } => {
                "On this host: see the log of the data plane."
            }
            Self::NoAdditionalSas => "Raise the peer's limit, or use fewer children.",
            Self::ChildNotFound => "Nothing: it is made anew.",
            Self::TemporaryFailure => "Look at the peer's log.",
            Self::LifetimeExceeded => "Look for failed rekeyings in the log; the lifetimes may be too short.",
            Self::Inactive { .. } => "Nothing, or raise `inactivity`.",
            Self::PeerNotify { .. } => "Look at the peer's log.",
            Self::Syntax { .. } | Self::UnsupportedCritical { .. } => {
                "The peer's implementation is at fault, or something on the path alters messages."
            }
            Self::Crypto { .. } => "This is a defect here; report it with the log.",
            Self::Limit { .. } => "Raise the limit in strongswan.conf, if the peers are genuine.",
            Self::Unroutable { .. } => "The peer's MOBIKE is at fault: set mobike = no here.",
            Self::AddressesRefused { .. } => "Look at the peer's log; it may accept only certain addresses.",
            Self::UnexpectedNat { .. } => {
                "Enable NAT traversal at the peer, or remove the NAT between the two."
            }
            Self::DeletedByPeer
            | Self::Terminated
            | Self::IkeClosed
            | Self::Reauthenticated
            | Self::Redirected
            | Self::Shutdown => "Nothing.",
        }
    }

    /// A short stable name, for metrics and machine-readable output.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::NoSuchConnection { .. } => "no-such-connection",
            Self::NoSuchChild { .. } => "no-such-child",
            Self::NoSuchSa { .. } => "no-such-sa",
            Self::NoRemoteAddress => "no-remote-address",
            Self::NameUnresolved { .. } => "name-unresolved",
            Self::LocalAddrMissing { .. } => "local-addr-missing",
            Self::NoIkeConfig { .. } => "no-ike-config",
            Self::PeerUnreachable { .. } => "peer-unreachable",
            Self::NoProposal { .. } => "no-proposal",
            Self::PfsMismatch { .. } => "pfs-mismatch",
            Self::InvalidKe { .. } => "invalid-ke",
            Self::TooManyRestarts => "too-many-restarts",
            Self::VersionRefused { .. } => "version-refused",
            Self::BadKeyExchange { .. } => "bad-key-exchange",
            Self::HalfOpenTimeout => "half-open-timeout",
            Self::Crowded => "crowded",
            Self::TooManyRedirects { .. } => "too-many-redirects",
            Self::RedirectUnsupported { .. } => "redirect-unsupported",
            Self::SyncUnsupported { .. } => "sync-unsupported",
            Self::Redirected => "redirected",
            Self::PendingAuthTimeout => "pending-auth-timeout",
            Self::NoPeerConfig { .. } => "no-peer-config",
            Self::IdentityMismatch { .. } => "identity-mismatch",
            Self::IdentityNotCertified { .. } => "identity-not-certified",
            Self::MethodMismatch { .. } => "method-mismatch",
            Self::NoSharedKey { .. } => "no-shared-key",
            Self::PskMismatch { .. } => "psk-mismatch",
            Self::NoPrivateKey { .. } => "no-private-key",
            Self::NoCommonSignature { .. } => "no-common-signature",
            Self::NoCertificate { .. } => "no-certificate",
            Self::CertMalformed { .. } => "cert-malformed",
            Self::CertUntrusted { .. } => "cert-untrusted",
            Self::CertExpired { .. } => "cert-expired",
            Self::CertNotPinned { .. } => "cert-not-pinned",
            Self::BadSignature { .. } => "bad-signature",
            Self::UnsupportedSignature { .. } => "unsupported-signature",
            Self::EapFailed { .. } => "eap-failed",
            Self::EapIdentityMismatch { .. } => "eap-identity-mismatch",
            Self::NoEapSecret { .. } => "no-eap-secret",
            Self::EapAuthMismatch => "eap-auth-mismatch",
            Self::AuthFailedByPeer { .. } => "auth-failed-by-peer",
            Self::TooManyFailures { .. } => "too-many-failures",
            Self::Duplicate { .. } => "duplicate",
            Self::ReplacedByNew { .. } => "replaced-by-new",
            Self::ChildlessUnsupported => "childless-unsupported",
            Self::ChildlessRefused => "childless-refused",
            Self::ChildRefused => "child-refused",
            Self::TsUnacceptable { .. } => "ts-unacceptable",
            Self::NoLease { .. } => "no-lease",
            Self::AddressNotAsked { .. } => "address-not-asked",
            Self::AddressDemanded => "address-demanded",
            Self::TicketMismatch => "ticket-mismatch",
            Self::PeerLostState => "peer-lost-state",
            Self::NoVirtualIp => "no-virtual-ip",
            Self::VirtualIpFailed { .. } => "virtual-ip-failed",
            Self::InstallFailed { .. } => "install-failed",
            Self::NoAdditionalSas => "no-additional-sas",
            Self::ChildNotFound => "child-not-found",
            Self::TemporaryFailure => "temporary-failure",
            Self::LifetimeExceeded => "lifetime-exceeded",
            Self::Inactive { .. } => "inactive",
            Self::PeerNotify { .. } => "peer-notify",
            Self::Syntax { .. } => "syntax",
            Self::UnsupportedCritical { .. } => "unsupported-critical",
            Self::Crypto { .. } => "crypto",
            Self::DeletedByPeer => "deleted-by-peer",
            Self::Terminated => "terminated",
            Self::IkeClosed => "ike-closed",
            Self::Reauthenticated => "reauthenticated",
            Self::Shutdown => "shutdown",
            Self::Limit { .. } => "limit",
            Self::Unroutable { .. } => "unroutable",
            Self::AddressesRefused { .. } => "addresses-refused",
            Self::UnexpectedNat { .. } => "unexpected-nat",
        }
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
