//! The demo's four namespaces.

use std::net::{IpAddr, Ipv4Addr};

use adit_linux::nat;
use adit_linux::netns::{Namespace, veth};
use adit_linux::route::{Netlink, Route};

use super::Failure;

/// rw – nat – gw – node. Dropping it deletes the namespaces and with them every interface.
pub(super) struct Network {
    pub(super) rw: Namespace,
    pub(super) gw: Namespace,
    pub(super) node: Namespace,
    _nat: Namespace,
}

const FOLDER: &str = "/run/netns";
const PREFIX: &str = "adit-demo-";

impl Network {
    pub(super) fn build() -> Result<Self, Failure> {
        remove_stale();
        let create = |role: &str| {
            Namespace::create(&format!("{PREFIX}{}-{role}", std::process::id())).map_err(|e| match e.kind() {
                std::io::ErrorKind::PermissionDenied => format!("{e}; run the demo as root"),
                _ => e.to_string(),
            })
        };
        let (rw, nat, gw, node) = (create("rw")?, create("nat")?, create("gw")?, create("node")?);
        link((&rw, "wan", [10, 1, 0, 2]), (&nat, "lan", [10, 1, 0, 1]))?;
        link((&nat, "wan", [192, 168, 0, 1]), (&gw, "wan", [192, 168, 0, 2]))?;
        link((&gw, "lan", [10, 2, 0, 1]), (&node, "lan", [10, 2, 0, 2]))?;
        default_route(&rw, "wan", [10, 1, 0, 1])?;
        default_route(&node, "lan", [10, 2, 0, 1])?;
        for router in [&nat, &gw] {
            sysctl(router, "net.ipv4.ip_forward", "1")?;
        }
        for strict in [&rw, &nat, &gw] {
            // decrypted packets come in by the TUN, their answers leave by it, and rp_filter is content; but the
            // host's default may be strict for every interface
            sysctl(strict, "net.ipv4.conf.all.rp_filter", "0")?;
            sysctl(strict, "net.ipv4.conf.default.rp_filter", "0")?;
        }
        nat.run(|| nat::masquerade("wan", true))
            .and_then(|r| r)
            .map_err(|e| format!("masquerading in nat: {e}"))?;
        Ok(Self { rw, gw, node, _nat: nat })
    }

    /// Table 220 of the road-warrior, a line per route.
    pub(super) fn routes_of_rw(&self) -> Result<Vec<String>, Failure> {
        let list = || -> std::io::Result<Vec<String>> {
            let mut netlink = Netlink::new()?;
            let mut lines = Vec::new();
            for route in netlink.list_routes(220)? {
                let device = match route.ifindex {
                    Some(index) => netlink.link_info(index)?.0,
                    None => "-".into(),
                };
                let source = route.src.map_or(String::new(), |src| format!(" src {src}"));
                lines.push(format!("{}/{} dev {device}{source}", route.dest.0, route.dest.1));
            }
            Ok(lines)
        };
        self.rw.run(list).and_then(|r| r).map_err(|e| format!("listing table 220: {e}"))
    }
}

type End<'a> = (&'a Namespace, &'a str, [u8; 4]);

fn link(a: End<'_>, b: End<'_>) -> Result<(), Failure> {
    veth((a.0, a.1), (b.0, b.1)).map_err(|e| format!("veth {} - {}: {e}", a.0.name(), b.0.name()))?;
    for (namespace, device, address) in [a, b] {
        let add = || {
            let mut netlink = Netlink::new()?;
            let index = netlink.link_index(device)?;
            netlink.add_address(index, ip(address), 24)
        };
        namespace.run(add).and_then(|r| r).map_err(|e| format!("address in {}: {e}", namespace.name()))?;
    }
    Ok(())
}

fn default_route(namespace: &Namespace, device: &str, via: [u8; 4]) -> Result<(), Failure> {
    let add = || {
        let mut netlink = Netlink::new()?;
        let index = netlink.link_index(device)?;
        let default = (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        netlink.add_route(&Route { gateway: Some(ip(via)), ..Route::through(default, 254, index, None) })
    };
    namespace.run(add).and_then(|r| r).map_err(|e| format!("default route in {}: {e}", namespace.name()))
}

fn sysctl(namespace: &Namespace, key: &str, value: &str) -> Result<(), Failure> {
    namespace.sysctl(key, value).map_err(|e| format!("in {}: {e}", namespace.name()))
}

const fn ip(octets: [u8; 4]) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]))
}

/// Removes namespaces of demos that were killed: those whose process is gone.
fn remove_stale() {
    let Ok(entries) = std::fs::read_dir(FOLDER) else { return };
    for name in entries.flatten().filter_map(|e| e.file_name().into_string().ok()) {
        let Some(pid) = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()) else { continue };
        if pid.parse::<u32>().is_ok() && !std::path::Path::new("/proc").join(pid).exists() {
            // left for the next demo if it cannot be removed
            let _ = Namespace::remove(&name);
        }
    }
}
