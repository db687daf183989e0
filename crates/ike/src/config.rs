//! What the operator wants: connections, children, credentials. Shared by reference, never changed in place.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_crypto::{PrivateKey, Secret};
pub use adit_ipsec::{ChildAction, Childless, Fragmentation, SendCert, Unique};
use adit_ipsec::{
    EntryOptions, HeaderRules, Identity, IfIds, Mode, Numbering, Proposal, SelectorSpec, Shunt,
};
use adit_pki::Certificate;

/// Everything that can be reconfigured while running. An SA takes over what [`Connection::carries_on`] allows, else it
/// keeps the [`Connection`] it was made with.
#[derive(Clone, Default)]
pub struct Config {
    /// Connections; the order decides between equally good matches.
    pub connections: Vec<Arc<Connection>>,
    /// Keys, secrets and certificates.
    pub credentials: Arc<Credentials>,
}

/// An address a connection may use, on either side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostSpec {
    /// Any address.
    Any,
    /// One address.
    Addr(IpAddr),
    /// A network.
    Cidr(IpAddr, u8),
    /// From first to last, inclusive.
    Range(IpAddr, IpAddr),
    /// A name, resolved at each use; as responder it matches nothing until resolved, so it counts as [`Self::Any`].
    Name(String),
}

impl HostSpec {
    /// How well `addr` fits: 0 not, 1 any, 2 a name, 3 range or network, 4 exact.
    #[must_use]
    pub fn quality(&self, addr: IpAddr) -> u8 {
        match self {
            Self::Any => 1,
            Self::Name(_) => 2,
            Self::Addr(a) => u8::from(*a == addr) * 4,
            Self::Range(first, last) => {
                let same = first.is_ipv4() == addr.is_ipv4();
                u8::from(same && (*first..=*last).contains(&addr)) * 3
            }
            Self::Cidr(net, prefix) => {
                let fits = match (net, addr) {
                    (IpAddr::V4(net), IpAddr::V4(addr)) => {
                        let shift = 32u32.saturating_sub(u32::from(*prefix));
                        let cut = |a: u32| a.checked_shr(shift).unwrap_or(0);
                        cut(u32::from(*net)) == cut(u32::from(addr))
                    }
                    (IpAddr::V6(net), IpAddr::V6(addr)) => {
                        let shift = 128u32.saturating_sub(u32::from(*prefix));
                        let cut = |a: u128| a.checked_shr(shift).unwrap_or(0);
                        cut(u128::from(*net)) == cut(u128::from(addr))
                    }
                    _ => false,
                };
                u8::from(fits) * 3
            }
        }
    }
}

impl fmt::Display for HostSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("%any"),
            Self::Addr(addr) => addr.fmt(f),
            Self::Cidr(addr, prefix) => write!(f, "{addr}/{prefix}"),
            Self::Range(first, last) => write!(f, "{first}-{last}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// One connection: who may talk to whom, how each proves itself, and what they may carry.
#[derive(Debug, Clone, PartialEq)]
pub struct Connection {
    /// Name, unique among the connections.
    pub name: Arc<str>,
    /// Own addresses.
    pub local_addrs: Vec<HostSpec>,
    /// The peer's addresses.
    pub remote_addrs: Vec<HostSpec>,
    /// Own UDP port.
    pub local_port: u16,
    /// The peer's UDP port.
    pub remote_port: u16,
    /// IKE proposals, best first.
    pub proposals: Vec<Proposal>,
    /// Virtual addresses to ask for; unspecified = any of that family.
    pub vips: Vec<IpAddr>,
    /// Pools that serve the peer.
    pub pools: Vec<String>,
    /// Pretend a NAT so that ESP goes in UDP.
    pub encap: bool,
    /// RFC 4555: tell the peer when addresses change, and follow it when its do.
    pub mobike: bool,
    /// Idle time before a liveness check; zero = never.
    pub dpd_delay: Duration,
    /// RFC 7383.
    pub fragmentation: Fragmentation,
    /// RFC 6023.
    pub childless: Childless,
    /// Send CERTREQ payloads.
    pub send_certreq: bool,
    /// When to send our certificate.
    pub send_cert: SendCert,
    /// Attempts of the whole first retransmission sequence; 0 = for ever.
    pub keyingtries: u32,
    /// Uniqueness of the peer's identity.
    pub unique: Unique,
    /// Soft lifetime of the IKE_SA; zero = never rekeyed.
    pub rekey_time: Duration,
    /// Time to a full reauthentication; zero = never.
    pub reauth_time: Duration,
    /// Added to the soft lifetime for the hard one.
    pub over_time: Duration,
    /// Upper bound of the random time subtracted from the soft lifetime.
    pub rand_time: Duration,
    /// XFRM interfaces of the children that name none themselves.
    pub if_ids: IfIds,
    /// How we prove ourselves.
    pub local: LocalAuth,
    /// How the peer does.
    pub remote: RemoteAuth,
    /// The children.
    pub children: Vec<Arc<ChildConfig>>,
    /// Policies that come with it and never negotiate: the core carries them for whoever installs policies.
    pub shunts: Vec<Arc<ShuntConfig>>,
}

impl Default for Connection {
    /// strongSwan's defaults, between anybody and anybody, by certificate.
    fn default() -> Self {
        Self {
            name: Arc::from(""),
            local_addrs: vec![HostSpec::Any],
            remote_addrs: vec![HostSpec::Any],
            local_port: 500,
            remote_port: 500,
            proposals: Proposal::default_ike(),
            vips: Vec::new(),
            pools: Vec::new(),
            encap: false,
            mobike: true,
            dpd_delay: Duration::ZERO,
            fragmentation: Fragmentation::Yes,
            childless: Childless::Allow,
            send_certreq: true,
            send_cert: SendCert::IfAsked,
            keyingtries: 1,
            unique: Unique::No,
            rekey_time: Duration::from_secs(4 * 3600),
            reauth_time: Duration::ZERO,
            over_time: Duration::from_secs(1440),
            rand_time: Duration::from_secs(1440),
            if_ids: IfIds::default(),
            local: LocalAuth::default(),
            remote: RemoteAuth::default(),
            children: Vec::new(),
            shunts: Vec::new(),
        }
    }
}

impl Connection {
    /// The child of that name.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Arc<ChildConfig>> {
        self.children.iter().find(|child| &*child.name == name)
    }
}

/// A way of authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuthMethod {
    /// Pre-shared key.
    Psk,
    /// Certificate.
    #[default]
    Pubkey,
    /// EAP; the one method served is MSCHAPv2.
    Eap,
}

impl AuthMethod {
    /// As log lines say it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Psk => "pre-shared key",
            Self::Pubkey => "public key",
            Self::Eap => "EAP",
        }
    }
}

impl fmt::Display for AuthMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How we prove ourselves.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LocalAuth {
    /// Our identity; `None` = the certificate's subject, else our address.
    pub id: Option<Identity>,
    /// The method.
    pub method: AuthMethod,
    /// Our EAP identity; `None` = `id`.
    pub eap_id: Option<Identity>,
    /// Our certificates, best first.
    pub certs: Vec<Certificate>,
}

/// How the peer proves itself.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteAuth {
    /// Pattern for its identity.
    pub id: Identity,
    /// The method.
    pub method: AuthMethod,
    /// Pattern for its EAP identity; `Some` has it asked for.
    pub eap_id: Option<Identity>,
    /// Acceptable authorities; empty = all configured ones.
    pub cacerts: Vec<Certificate>,
    /// Its certificate, pinned; empty = any that a path leads to.
    pub certs: Vec<Certificate>,
}

impl Default for RemoteAuth {
    fn default() -> Self {
        Self {
            id: Identity::Any,
            method: AuthMethod::Pubkey,
            eap_id: None,
            cacerts: Vec::new(),
            certs: Vec::new(),
        }
    }
}

/// A child that never negotiates (`mode = pass` or `drop`).
#[derive(Debug, Clone, PartialEq)]
pub struct ShuntConfig {
    /// Name, unique among the children of its connection.
    pub name: Arc<str>,
    /// Pass or drop.
    pub kind: Shunt,
    /// Own side's selectors.
    pub local_ts: Vec<SelectorSpec>,
    /// The other side's selectors.
    pub remote_ts: Vec<SelectorSpec>,
    /// Installed as soon as it is loaded.
    pub installed: bool,
    /// How its policies are made.
    pub options: Arc<EntryOptions>,
}

/// A CHILD_SA as configured.
#[derive(Debug, Clone, PartialEq)]
pub struct ChildConfig {
    /// Name, unique within its connection.
    pub name: Arc<str>,
    /// ESP proposals, best first.
    pub esp_proposals: Vec<Proposal>,
    /// Own side's selectors.
    pub local_ts: Vec<SelectorSpec>,
    /// The peer's selectors.
    pub remote_ts: Vec<SelectorSpec>,
    /// Tunnel, or transport where the peer agrees and both ends are hosts.
    pub mode: Mode,
    /// What a tunnel does with DF, ECN and DSCP.
    pub headers: HeaderRules,
    /// Inner packets are padded to this many bytes; [`u16::MAX`] = as many as fit, 0 = not at all.
    pub tfc_padding: u16,
    /// Soft lifetime; zero = none.
    pub rekey_time: Duration,
    /// Hard lifetime; zero = none.
    pub life_time: Duration,
    /// Upper bound of the random time subtracted from the soft lifetime.
    pub rand_time: Duration,
    /// Soft volume limit; 0 = none. Volumes are watched by the data plane, which reports them.
    pub rekey_bytes: u64,
    /// Hard volume limit; 0 = none.
    pub life_bytes: u64,
    /// Upper bound of the random volume subtracted.
    pub rand_bytes: u64,
    /// Soft packet limit; 0 = none.
    pub rekey_packets: u64,
    /// Hard packet limit; 0 = none.
    pub life_packets: u64,
    /// Upper bound of the random packet count subtracted.
    pub rand_packets: u64,
    /// At load time.
    pub start_action: ChildAction,
    /// When the peer is found dead.
    pub dpd_action: ChildAction,
    /// When the peer closes it.
    pub close_action: ChildAction,
    /// Packets; 0 = replay protection off.
    pub replay_window: u32,
    /// Close after so long without traffic; zero = never.
    pub inactivity: Duration,
    /// Fixed reqid; 0 = chosen.
    pub reqid: u32,
    /// How its policies and SAs are made.
    pub options: Arc<EntryOptions>,
    /// Which numbers in there are drawn for each CHILD_SA.
    pub numbering: Numbering,
}

impl Default for ChildConfig {
    /// strongSwan's defaults: host to host, default proposals, rekeyed every hour.
    fn default() -> Self {
        let dynamic = SelectorSpec::Dynamic { protocol: 0, start_port: 0, end_port: 0xffff };
        Self {
            name: Arc::from(""),
            esp_proposals: Proposal::default_esp(),
            local_ts: vec![dynamic],
            remote_ts: vec![dynamic],
            mode: Mode::Tunnel,
            headers: HeaderRules::default(),
            tfc_padding: 0,
            rekey_time: Duration::from_secs(3600),
            life_time: Duration::from_secs(3960),
            rand_time: Duration::from_secs(360),
            rekey_bytes: 0,
            life_bytes: 0,
            rand_bytes: 0,
            rekey_packets: 0,
            life_packets: 0,
            rand_packets: 0,
            start_action: ChildAction::default(),
            dpd_action: ChildAction::default(),
            close_action: ChildAction::default(),
            replay_window: 32,
            inactivity: Duration::ZERO,
            reqid: 0,
            options: Arc::default(),
            numbering: Numbering::default(),
        }
    }
}

/// A secret and whose it is.
#[derive(Debug, Clone)]
pub struct SharedSecret {
    /// Patterns of identities; empty = anyone's.
    pub owners: Vec<Identity>,
    /// The key or password.
    pub secret: Secret,
}

/// Keys, secrets and certificates.
#[derive(Clone, Default)]
pub struct Credentials {
    /// Pre-shared keys.
    pub shared: Vec<SharedSecret>,
    /// EAP passwords.
    pub eap: Vec<SharedSecret>,
    /// Private keys with the SubjectPublicKeyInfo they belong to.
    pub keys: Vec<(Vec<u8>, Arc<PrivateKey>)>,
    /// End entity certificates: our own, and peers' that send none.
    pub certs: Vec<Certificate>,
    /// Trusted authorities.
    pub authorities: Vec<Certificate>,
}

impl Credentials {
    /// The private key of a certificate.
    #[must_use]
    pub fn key_of(&self, certificate: &Certificate) -> Option<&Arc<PrivateKey>> {
        self.keys.iter().find(|(spki, _)| spki == certificate.spki()).map(|(_, key)| key)
    }
}
