//! The daemon's settings as plain data; `Default` gives every default.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::network::NetworkConf;
use adit_ipsec::{GatewayId, RedirectStage, XfrmInterfaces};

/// What strongswan.conf says to the daemon.
#[derive(Debug, Clone, PartialEq)]
pub struct StrongswanConf {
    /// Base of the retransmission table, seconds.
    pub retransmit_timeout: Duration,
    /// Factor from one retransmission to the next.
    pub retransmit_base: f64,
    /// Retransmissions before giving up.
    pub retransmit_tries: u32,
    /// Random part subtracted, percent.
    pub retransmit_jitter: u32,
    /// Upper bound of one wait; zero = none.
    pub retransmit_limit: Duration,
    /// Wait before a failed initiation (name resolution) is tried again; zero = not.
    pub retry_initiate_interval: Duration,
    /// IKE port.
    pub port: u16,
    /// NAT traversal port.
    pub port_nat_t: u16,
    /// NAT keepalive interval; zero = none.
    pub keep_alive: Duration,
    /// Life of a half-open IKE_SA.
    pub half_open_timeout: Duration,
    /// Cookies and blocking are used at all.
    pub dos_protection: bool,
    /// Half-open IKE_SAs in total from which cookies are demanded; 0 = never.
    pub cookie_threshold: u32,
    /// The same per peer address.
    pub cookie_threshold_ip: u32,
    /// Half-open IKE_SAs per address from which it is blocked; 0 = never.
    pub block_threshold: u32,
    /// Half-open IKE_SAs from which every initiation is refused; 0 = none.
    pub init_limit_half_open: u32,
    /// IKE_SAs from which every initiation is refused; 0 = none.
    pub ikesa_limit: u32,
    /// The first reqid that is chosen.
    pub reqid_base: u32,
    /// Largest IKE message accepted, bytes.
    pub max_packet: u32,
    /// Refuse to be responder.
    pub initiator_only: bool,
    /// Largest IP datagram of an IKE fragment, IPv4; 0 = the least that every path carries.
    pub fragment_size: u16,
    /// The same for IPv6, when set apart.
    pub fragment_size_v6: Option<u16>,
    /// Reauthenticate before the old IKE_SA goes.
    pub make_before_break: bool,
    /// Delete a rekeyed CHILD_SA at once when the peer did.
    pub delete_rekeyed: bool,
    /// How long the inbound half of a rekeyed CHILD_SA stays.
    pub delete_rekeyed_delay: Duration,
    /// Initiate children in an IKE_SA that is already up.
    pub reuse_ikesa: bool,
    /// Close the IKE_SA when its first child fails.
    pub close_ike_on_child_failure: bool,
    /// Close the IKE_SA when its last child was closed for inactivity.
    pub inactivity_close_ike: bool,
    /// Own order of proposals wins over the peer's.
    pub prefer_configured_proposals: bool,
    /// Default replay window, packets.
    pub replay_window: u32,
    /// Sign with RSA-PSS where the peer can.
    pub rsa_pss: bool,
    /// Install routes at all.
    pub install_routes: bool,
    /// The table they go to.
    pub routing_table: u32,
    /// The priority of the rule that looks it up.
    pub routing_table_prio: u32,
    /// Install the virtual address we were given.
    pub install_virtual_ip: bool,
    /// DNS servers handed to clients (`dns1`, `dns2`).
    pub dns: Vec<IpAddr>,
    /// WINS servers handed to clients (`nbns1`, `nbns2`).
    pub nbns: Vec<IpAddr>,
    /// Attributes of `plugins.attr` for every client, as number and value of RFC 7296 §3.15.1.
    pub attributes: Vec<(u16, Vec<u8>)>,
    /// Where DNS servers that we were given are written; `None` = nowhere (`plugins.resolve.load = no`).
    pub resolve_file: Option<PathBuf>,
    /// DNS servers that we were given go to `updown` scripts (`plugins.updown.dns_handler`), and nowhere else.
    pub updown_dns: bool,
    /// Log files.
    pub filelogs: Vec<FileLog>,
    /// Syslog facilities.
    pub syslogs: Vec<SysLog>,
    /// The name syslog shows.
    pub syslog_identifier: Option<String>,
    /// What goes to the journal (or standard error).
    pub journal: LogLevels,
    /// The VICI socket as written, e.g. `unix:///var/run/charon.vici`; `None` = the default of this platform.
    pub vici_socket: Option<String>,
    /// Export of session keys for a packet analyser.
    pub save_keys: SaveKeys,
    /// Mark of the IKE sockets' packets (`plugins.socket-default.fwmark`).
    pub socket_fwmark: Option<FwMark>,
    /// From which bits of the local and the remote prefix on the kernel finds IPv4 policies by a hash; `None` = as it does
    /// (`plugins.kernel-netlink.spdh_thresh.ipv4`).
    pub spd_hash_v4: Option<(u8, u8)>,
    /// The same for IPv6.
    pub spd_hash_v6: Option<(u8, u8)>,
    /// Mark that keeps packets away from our routing rule (`plugins.kernel-netlink.fwmark`).
    pub rule_fwmark: Option<FwMark>,
    /// Mark of the userspace data plane's packets (`plugins.kernel-libipsec.fwmark`).
    pub esp_fwmark: Option<FwMark>,
    /// What of the host's network is used and changed.
    pub network: NetworkConf,
    /// Serve IPv4.
    pub use_ipv4: bool,
    /// Serve IPv6.
    pub use_ipv6: bool,
    /// ESP without UDP in the userspace data plane where there is no NAT.
    pub raw_esp: bool,
    /// Let a peer's tunnel cover the peer's own address in the userspace data plane.
    pub allow_peer_ts: bool,
    /// Follow a gateway that sends us to another one (RFC 5685).
    pub follow_redirects: bool,
    /// Our own section.
    pub adit: AditConf,
}

impl Default for StrongswanConf {
    fn default() -> Self {
        Self {
            retransmit_timeout: Duration::from_secs(4),
            retransmit_base: 1.8,
            retransmit_tries: 5,
            retransmit_jitter: 0,
            retransmit_limit: Duration::ZERO,
            retry_initiate_interval: Duration::ZERO,
            port: 500,
            port_nat_t: 4500,
            keep_alive: Duration::from_secs(20),
            half_open_timeout: Duration::from_secs(30),
            dos_protection: true,
            cookie_threshold: 30,
            cookie_threshold_ip: 3,
            block_threshold: 5,
            init_limit_half_open: 0,
            ikesa_limit: 0,
            reqid_base: 1,
            max_packet: 10_000,
            initiator_only: false,
            fragment_size: 1280,
            fragment_size_v6: None,
            make_before_break: true,
            delete_rekeyed: false,
            delete_rekeyed_delay: Duration::from_secs(5),
            reuse_ikesa: true,
            close_ike_on_child_failure: false,
            inactivity_close_ike: false,
            prefer_configured_proposals: true,
            replay_window: 32,
            rsa_pss: false,
            install_routes: true,
            routing_table: 220,
            routing_table_prio: 220,
            install_virtual_ip: true,
            dns: Vec::new(),
            nbns: Vec::new(),
            attributes: Vec::new(),
            resolve_file: Some(PathBuf::from("/etc/resolv.conf")),
            updown_dns: false,
            filelogs: Vec::new(),
            syslogs: Vec::new(),
            syslog_identifier: None,
            journal: LogLevels::default(),
            vici_socket: None,
            save_keys: SaveKeys::default(),
            socket_fwmark: None,
            spd_hash_v4: None,
            spd_hash_v6: None,
            rule_fwmark: None,
            esp_fwmark: None,
            network: NetworkConf::default(),
            use_ipv4: true,
            use_ipv6: true,
            raw_esp: false,
            allow_peer_ts: false,
            follow_redirects: true,
            adit: AditConf::default(),
        }
    }
}

/// The subsystems that have a log level of their own, as configured (lower case) in the order of display.
pub const LOG_GROUPS: [&str; 19] = [
    "dmn", "mgr", "ike", "chd", "job", "wch", "cfg", "knl", "net", "asn", "enc", "tnc", "imc", "imv", "pts",
    "tls", "app", "esp", "lib",
];

/// Levels from −1 (silent) to 4 (secrets).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLevels {
    /// For every group not named.
    pub default: i8,
    /// Group (one of [`LOG_GROUPS`]) and level.
    pub groups: Vec<(&'static str, i8)>,
}

impl Default for LogLevels {
    fn default() -> Self {
        Self { default: 1, groups: Vec::new() }
    }
}

impl LogLevels {
    /// The level of a group, given in either case.
    pub fn level(&self, group: &str) -> i8 {
        self.groups
            .iter()
            .rev()
            .find(|(name, _)| name.eq_ignore_ascii_case(group))
            .map_or(self.default, |(_, level)| *level)
    }
}

/// One `filelog.<name>` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLog {
    /// The section's name.
    pub name: String,
    /// A path, or `stdout`, `stderr`.
    pub path: String,
    /// The levels.
    pub levels: LogLevels,
    /// Append instead of truncating.
    pub append: bool,
    /// Flush after each line.
    pub flush_line: bool,
    /// Show `<conn|id>`.
    pub ike_name: bool,
    /// One JSON object per line.
    pub json: bool,
    /// Show the level behind the group.
    pub log_level: bool,
    /// strftime format of the time, none if unset.
    pub time_format: Option<String>,
    /// Digits behind the seconds: 0, 3 (ms) or 6 (us).
    pub time_precision: u8,
}

/// One `syslog.<facility>` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysLog {
    /// `daemon` or `auth`.
    pub facility: String,
    /// The levels.
    pub levels: LogLevels,
    /// Show `<conn|id>`.
    pub ike_name: bool,
    /// Show the level behind the group.
    pub log_level: bool,
}

/// `plugins.save-keys`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SaveKeys {
    /// The export is on at all.
    pub load: bool,
    /// Write IKE_SA keys.
    pub ike: bool,
    /// Write CHILD_SA keys.
    pub esp: bool,
    /// The folder (`ikev2_decryption_table`, `esp_sa` go there).
    pub wireshark_keys: Option<PathBuf>,
}

impl SaveKeys {
    /// Are IKE keys to be written?
    pub fn exports_ike(&self) -> bool {
        self.load && self.ike && self.wireshark_keys.is_some()
    }

    /// Are ESP keys to be written?
    pub fn exports_esp(&self) -> bool {
        self.load && self.esp && self.wireshark_keys.is_some()
    }
}

/// `[!]value[/mask]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FwMark {
    /// The mark.
    pub value: u32,
    /// Its mask, all ones if not given.
    pub mask: u32,
    /// `!`: matches packets that do not carry it.
    pub inverted: bool,
}

/// The section `adit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AditConf {
    /// Which data plane carries the packets.
    pub dataplane: DataplaneKind,
    /// What is done with nftables.
    pub firewall: FirewallMode,
    /// The section `dropin`.
    pub dropin: DropinConf,
    /// Which XFRM interfaces the kernel's data plane makes.
    pub xfrm_interfaces: XfrmInterfaces,
    /// Name of the userspace data plane's device.
    pub tun: String,
    /// Its MTU; `None` (written 0) = computed from the path.
    pub mtu: Option<u32>,
    /// Where the secret of quick crash detection (RFC 6290) is kept; `None` = no tokens are made.
    pub quick_crash_file: Option<PathBuf>,
    /// As client: ask for tickets and come back with them (RFC 5723).
    pub resume: bool,
    /// Where the secret of tickets is kept; `None` = none are given.
    pub ticket_file: Option<PathBuf>,
    /// What a ticket lasts at most.
    pub ticket_lifetime: Duration,
    /// Announce that counters can be synchronized after a failover (RFC 6311).
    pub message_id_sync: bool,
    /// How long a peer whose IKE_AUTH has begun may take to finish it.
    pub pending_auth_timeout: Duration,
    /// How long one run of an `updown` script may take; all that are left, when the daemon ends.
    pub updown_timeout: Duration,
    /// The section `redirect`.
    pub redirect: RedirectConf,
    /// Half-open IKE_SAs beyond which one of the busiest address is given up; 0 = none.
    pub half_open_limit: u32,
    /// The same for IKE_SAs in the middle of IKE_AUTH.
    pub pending_auth_limit: u32,
    /// IKE_SA_INIT requests with a good cookie per second; 0 = no limit, as in the next ones.
    pub init_rate: u32,
    /// The same per address (IPv6: /64).
    pub init_rate_ip: u32,
    /// IKE_SA_INIT requests per second without a cookie.
    pub init_rate_unproven: u32,
    /// Failed authentications per minute of one identity from one address.
    pub auth_failures: u32,
}

/// `adit.redirect`: clients are sent to another gateway (RFC 5685).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectConf {
    /// Where new ones are sent; `None` = they stay.
    pub gateway: Option<GatewayId>,
    /// When.
    pub stage: RedirectStage,
    /// How long the IKE_SA of one that was sent elsewhere is kept, should the client not delete it; zero = until it
    /// does.
    pub grace: Duration,
}

impl Default for RedirectConf {
    fn default() -> Self {
        Self { gateway: None, stage: RedirectStage::Init, grace: Duration::from_secs(60) }
    }
}

impl Default for AditConf {
    fn default() -> Self {
        Self {
            dataplane: DataplaneKind::Auto,
            firewall: FirewallMode::Off,
            dropin: DropinConf::default(),
            xfrm_interfaces: XfrmInterfaces::No,
            tun: "adit0".to_owned(),
            mtu: None,
            message_id_sync: true,
            redirect: RedirectConf::default(),
            pending_auth_timeout: Duration::from_secs(60),
            updown_timeout: Duration::from_secs(30),
            quick_crash_file: None,
            resume: false,
            ticket_file: None,
            ticket_lifetime: Duration::from_secs(8 * 3600),
            half_open_limit: 10_000,
            pending_auth_limit: 1000,
            init_rate: 1000,
            init_rate_ip: 50,
            init_rate_unproven: 100,
            auth_failures: 10,
        }
    }
}

/// `adit.firewall`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FirewallMode {
    /// Nothing.
    #[default]
    Off,
    /// A table of our own is kept in the kernel.
    Table,
    /// A file is written that the operator's ruleset includes.
    Dropin,
}

/// `adit.dropin`: what the operator's ruleset looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropinConf {
    /// The file.
    pub file: PathBuf,
    /// The chain that packets to this host go through; `None` (written `none`) = there is none to add to, as in the next
    /// ones.
    pub input: Option<ChainName>,
    /// The chain of packets that go through this host.
    pub forward: Option<ChainName>,
    /// The chain that masquerades.
    pub postrouting: Option<ChainName>,
    /// TCP ports of this host that are open to whoever comes out of a tunnel, as first and last of ranges.
    pub services: Vec<(u16, u16)>,
}

impl Default for DropinConf {
    fn default() -> Self {
        let chain = |family, table: &str, chain: &str| {
            Some(ChainName { family, table: table.to_owned(), chain: chain.to_owned() })
        };
        Self {
            file: PathBuf::from("/etc/nft.d/20-adit.conf"),
            input: chain(ChainFamily::Inet, "filter", "input"),
            forward: chain(ChainFamily::Inet, "filter", "forward"),
            postrouting: chain(ChainFamily::Ip, "nat", "postrouting"),
            services: Vec::new(),
        }
    }
}

/// A chain of nftables: `inet filter forward`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainName {
    /// What packets its table sees.
    pub family: ChainFamily,
    /// The table: letters, digits, `-`, `_`, `.`, a letter or `_` first.
    pub table: String,
    /// The chain, of the same letters.
    pub chain: String,
}

/// The families of nftables that have the chains of a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainFamily {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// Both.
    Inet,
}

/// `adit.dataplane`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DataplaneKind {
    /// The kernel if it can, else userspace.
    #[default]
    Auto,
    /// The kernel; without it the daemon does not start.
    Kernel,
    /// TUN device and ESP in the daemon.
    Userspace,
    /// None: SAs are negotiated and carry nothing.
    Null,
}
