//! What to change, and at which end.

use super::Reason;

impl Reason {
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
}
