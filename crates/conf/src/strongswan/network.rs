//! What of the host's network the daemon uses and changes.

use crate::diag::Diagnostic;
use crate::swanctl::fields::Fields;
use crate::tree::Section;
use crate::value;

/// The longest name of a network device.
const LONGEST_NAME: usize = 15;

/// What of the host's network the daemon uses and changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkConf {
    /// The interfaces whose addresses IKE uses; empty = all but [`Self::interfaces_ignore`].
    pub interfaces_use: Vec<String>,
    /// Interfaces whose addresses IKE does not use.
    pub interfaces_ignore: Vec<String>,
    /// Tables whose routes are no ways to peers.
    pub ignore_routing_tables: Vec<u32>,
    /// SAs follow changes of routes.
    pub process_route: bool,
    /// SAs follow changes of routing rules.
    pub process_rules: bool,
    /// SAs follow changes of links, addresses and routes at all.
    pub roam_events: bool,
    /// The interface for virtual IPs; `None` = the one with our outer address.
    pub install_virtual_ip_on: Option<String>,
    /// Tunnels through an XFRM interface get routes.
    pub install_routes_xfrmi: bool,
    /// MTU of the tunnels' routes.
    pub route_mtu: Option<u32>,
    /// TCP segment size of the tunnels' routes.
    pub route_mss: Option<u32>,
}

impl Default for NetworkConf {
    fn default() -> Self {
        Self {
            interfaces_use: Vec::new(),
            interfaces_ignore: Vec::new(),
            ignore_routing_tables: Vec::new(),
            process_route: true,
            process_rules: false,
            roam_events: true,
            install_virtual_ip_on: None,
            install_routes_xfrmi: false,
            route_mtu: None,
            route_mss: None,
        }
    }
}

/// Reads the keys of `charon` and of `charon.plugins.kernel-netlink`.
pub(super) fn read(charon: &Section, netlink: &Section, diagnostics: &mut Vec<Diagnostic>) -> NetworkConf {
    let d = NetworkConf::default();
    let mut f = Fields::new(charon, diagnostics);
    let interfaces = |f: &mut Fields<'_>, key: &str| {
        f.parsed(key, "names of network devices, separated by commas", |text| {
            let names: Vec<String> = words(text).map(str::to_owned).collect();
            names.iter().all(|name| is_device(name)).then_some(names)
        })
        .unwrap_or_default()
    };
    let mut conf = NetworkConf {
        interfaces_use: interfaces(&mut f, "interfaces_use"),
        interfaces_ignore: interfaces(&mut f, "interfaces_ignore"),
        ignore_routing_tables: f
            .parsed("ignore_routing_tables", "numbers of routing tables, separated by blanks", |text| {
                words(text).map(table).collect()
            })
            .unwrap_or_default(),
        process_route: f.bool("process_route", d.process_route),
        install_virtual_ip_on: f.parsed("install_virtual_ip_on", "the name of a network device", |text| {
            is_device(text).then(|| text.to_owned())
        }),
        ..d
    };
    let mut f = Fields::new(netlink, diagnostics);
    let size = |f: &mut Fields<'_>, key: &str| {
        let size = f.parsed(key, "a number of bytes up to 65535, 0 = not set", |text| {
            value::decimal(text).and_then(|n| u16::try_from(n).ok())
        });
        size.map(u32::from).filter(|size| *size != 0)
    };
    conf.route_mtu = size(&mut f, "mtu");
    conf.route_mss = size(&mut f, "mss");
    conf.install_routes_xfrmi = f.bool("install_routes_xfrmi", conf.install_routes_xfrmi);
    conf.process_rules = f.bool("process_rules", conf.process_rules);
    conf.roam_events = f.bool("roam_events", conf.roam_events);
    conf
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty())
}

fn is_device(name: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control() || c == '/' || c == ':';
    (1..=LONGEST_NAME).contains(&name.len()) && name != "." && name != ".." && !name.contains(odd)
}

fn table(text: &str) -> Option<u32> {
    value::decimal(text).and_then(|n| u32::try_from(n).ok())
}
