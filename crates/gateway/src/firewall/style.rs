//! How a packet of a tunnel is told from any other, and what else the whole table depends on.

use adit_conf::StrongswanConf;
use adit_conf::strongswan::DataplaneKind;

use super::names::is_plain_device;

/// What a packet has about it that went, or will go, through a tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inside {
    /// It uses this interface: the data plane in user space.
    Device(String),
    /// The kernel decrypted it, or will encrypt it.
    Kernel,
}

/// What the rules are made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Style {
    pub(super) inside: Inside,
    /// UDP ports of IKE, whose packets are never part of a tunnel.
    ports: [u16; 2],
    /// How large a packet in a tunnel may be where the kernel does not know it of the route.
    mtu: u32,
}

impl Style {
    /// As configured, with the data plane `dataplane` in use.
    ///
    /// # Errors
    /// A sentence, when there is none that carries packets, or its device has a name that no ruleset can hold.
    pub fn new(conf: &StrongswanConf, dataplane: &str) -> Result<Self, String> {
        let inside = match dataplane {
            "kernel" => Inside::Kernel,
            "userspace" if is_plain_device(&conf.adit.tun) => Inside::Device(conf.adit.tun.clone()),
            "userspace" => {
                return Err(format!("adit.tun = {:?} cannot be written into a ruleset", conf.adit.tun));
            }
            other => return Err(format!("the data plane {other} carries no packets")),
        };
        Ok(Self { inside, ports: [conf.port, conf.port_nat_t], mtu: conf.adit.mtu.unwrap_or(1400) })
    }

    /// Matches what came out of a tunnel.
    pub(super) fn came_in(&self) -> String {
        match &self.inside {
            Inside::Device(name) => format!("iifname \"{name}\""),
            Inside::Kernel => "meta secpath exists".to_owned(),
        }
    }

    /// Matches what goes into one.
    pub(super) fn goes_out(&self) -> String {
        match &self.inside {
            Inside::Device(name) => format!("oifname \"{name}\""),
            Inside::Kernel => "rt ipsec exists".to_owned(),
        }
    }

    /// The chains that do not depend on any child.
    pub(super) fn frame(&self) -> Vec<(&'static str, Vec<String>)> {
        let (came_in, goes_out) = (self.came_in(), self.goes_out());
        let mut plain = vec![
            "meta l4proto esp accept".to_owned(),
            // Later fragments show no port. Without the first one, which is judged, they are nothing.
            "fib daddr type local ip frag-off & 8191 != 0 accept".to_owned(),
            "fib daddr type local frag frag-off != 0 accept".to_owned(),
        ];
        // Ports that the system chooses are not known, and nobody who has a firewall has those.
        for port in self.ports.into_iter().filter(|port| *port != 0) {
            plain.push(format!("fib daddr type local udp dport {port} accept"));
        }
        plain.push("counter name \"spoofed\" drop".to_owned());
        let prerouting = vec![
            "type filter hook prerouting priority raw; policy accept;".to_owned(),
            // what this host says to itself
            "iifname \"lo\" accept".to_owned(),
            "jump passed".to_owned(),
            "ip saddr vmap @from4".to_owned(),
            "ip6 saddr vmap @from6".to_owned(),
            format!("{came_in} accept"),
            "ip saddr @pool4 goto plain".to_owned(),
            "ip6 saddr @pool6 goto plain".to_owned(),
        ];
        let syn = "tcp flags syn / syn,rst tcp option maxseg size set";
        let forward = match &self.inside {
            Inside::Device(_) => vec![format!("{came_in} {syn} rt mtu"), format!("{goes_out} {syn} rt mtu")],
            // The way back of what was decrypted is that of the ESP packets: its MTU says nothing of what fits into them.
            Inside::Kernel => vec![
                format!("{came_in} meta nfproto ipv4 {syn} {}", self.mtu.saturating_sub(40)),
                format!("{came_in} meta nfproto ipv6 {syn} {}", self.mtu.saturating_sub(60)),
                format!("{goes_out} {syn} rt mtu"),
            ],
        };
        let hook = |hook: &str| format!("type filter hook {hook}; policy accept;");
        let with = |first: String, rest: Vec<String>| std::iter::once(first).chain(rest).collect();
        let counted =
            vec![format!("{goes_out} ip daddr vmap @to4"), format!("{goes_out} ip6 daddr vmap @to6")];
        vec![
            ("plain", plain),
            ("prerouting", prerouting),
            ("forward", with(hook("forward priority mangle"), forward)),
            // behind source NAT: the addresses are those that are encrypted
            ("postrouting", with(hook("postrouting priority 110"), counted)),
        ]
    }

    /// What is configured, where no daemon says which data plane is in use: both, when that is found at its start.
    pub fn configured(conf: &StrongswanConf) -> Vec<Inside> {
        let device = || Inside::Device(conf.adit.tun.clone());
        match conf.adit.dataplane {
            DataplaneKind::Userspace => vec![device()],
            DataplaneKind::Kernel => vec![Inside::Kernel],
            DataplaneKind::Auto | DataplaneKind::Null => vec![Inside::Kernel, device()],
        }
    }
}
