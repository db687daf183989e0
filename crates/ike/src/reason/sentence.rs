//! What happened, for a person to read.

use std::fmt;

use super::{Reason, notify_name};

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
}
