//! What on this machine stands in the way of a configuration: seen without a daemon, as far as one may look.

use std::path::Path;

use adit_conf::StrongswanConf;
use adit_conf::diag::Diagnostic;
use adit_conf::strongswan::FirewallMode;
use adit_conf::swanctl::SwanctlConf;
use adit_gateway::firewall;
use adit_ipsec::{Selector, SelectorSpec};
use adit_linux::route::{Netlink, Route};

/// Chains of others that drop what comes out of tunnels. Nothing, where the ruleset cannot be read.
pub(super) fn chains(conf: &StrongswanConf) -> Vec<Diagnostic> {
    let mode = conf.adit.firewall;
    if mode == FirewallMode::Off {
        return Vec::new();
    }
    let found = firewall::blocking(&firewall::Style::configured(conf)).unwrap_or_default();
    let warning = |it| {
        let (sentence, cure) = firewall::remark(it, mode);
        Diagnostic::warning(None, sentence).with_help(cure)
    };
    found.iter().map(warning).collect()
}

/// Networks that both a tunnel and a WireGuard interface lead to.
pub(super) fn wireguard(conf: &SwanctlConf) -> Vec<Diagnostic> {
    let devices = devices(Path::new("/sys/class/net"));
    if devices.is_empty() {
        return Vec::new();
    }
    let routes = Netlink::new().and_then(|mut netlink| {
        let mut tables: Vec<u32> = netlink.rules()?.iter().map(|rule| rule.table).collect();
        tables.sort_unstable();
        tables.dedup();
        let lists: Result<Vec<Vec<Route>>, _> =
            tables.into_iter().map(|table| netlink.list_routes(table)).collect();
        let named = devices.into_iter().map(|name| netlink.link_index(&name).map(|index| (name, index)));
        let named: Result<Vec<(String, u32)>, _> = named.collect();
        Ok((lists?.concat(), named?))
    });
    // What cannot be seen cannot be warned of.
    let Ok((routes, devices)) = routes else { return Vec::new() };
    let theirs: Vec<(String, Selector)> = routes
        .iter()
        .filter_map(|route| {
            let (name, _) = devices.iter().find(|(_, index)| route.ifindex == Some(*index))?;
            Some((name.clone(), Selector::from_cidr(route.dest.0, route.dest.1)?))
        })
        .collect();
    overlaps(conf, &theirs)
}

/// The names of WireGuard interfaces.
fn devices(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let is_wireguard = |path: &Path| {
        std::fs::read_to_string(path.join("uevent"))
            .is_ok_and(|text| text.lines().any(|line| line == "DEVTYPE=wireguard"))
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| is_wireguard(&entry.path()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The default route overlaps with everything, and is meant to.
fn overlaps(conf: &SwanctlConf, theirs: &[(String, Selector)]) -> Vec<Diagnostic> {
    let any = |it: &Selector| *it == Selector::any_v4() || *it == Selector::any_v6();
    let mut ours: Vec<(String, Selector)> = Vec::new();
    for pool in &conf.pools {
        let range = pool.addrs.and_then(|it| Selector::new(0, 0, u16::MAX, it.first, it.last));
        ours.extend(range.map(|range| (format!("the pool `{}`", pool.name), range)));
    }
    for (conn, child) in
        conf.connections.iter().flat_map(|conn| conn.children.iter().map(move |child| (conn, child)))
    {
        for spec in child.remote_ts.iter().filter(|_| child.shunt.is_none()) {
            if let SelectorSpec::Fixed(it) = spec {
                ours.push((format!("`remote_ts` of `{}/{}`", conn.name, child.name), *it));
            }
        }
    }
    let mut out = Vec::new();
    for (what, our) in ours.iter().filter(|(_, it)| !any(it)) {
        for (name, their) in theirs.iter().filter(|(_, it)| !any(it)) {
            if our.intersect(their).is_some() {
                let message = format!(
                    "{what} ({our}) overlaps with {their}, which is routed to the WireGuard interface {name}"
                );
                let help = "packets go where the routing rules say first, table 220 before main; give each VPN ranges of its own";
                out.push(Diagnostic::warning(None, message).with_help(help));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_both() {
        let text = "connections { home { children { net {\n remote_ts = 172.30.153.0/24, 0.0.0.0/0, 10.9.0.0/16\n} } } }\n\
                    pools { p { addrs = 10.3.0.0/24 } }\n";
        let (conf, _) =
            adit_conf::swanctl::from_tree(&adit_conf::tree::parse("swanctl.conf", text).unwrap().root);
        let route = |text: &str| {
            let (address, prefix) = text.split_once('/').unwrap();
            (
                "wg0".to_owned(),
                Selector::from_cidr(address.parse().unwrap(), prefix.parse().unwrap()).unwrap(),
            )
        };
        let theirs =
            [route("172.30.153.64/26"), route("0.0.0.0/0"), route("10.3.0.128/25"), route("fd00::/8")];
        let found: Vec<String> = overlaps(&conf, &theirs).iter().map(Diagnostic::at).collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].contains("the pool `p` (") && found[0].contains("WireGuard interface wg0"),
            "{found:?}"
        );
        assert!(found[1].contains("`remote_ts` of `home/net` (172.30.153.0/24)"), "{found:?}");
    }

    #[test]
    fn devices_by_their_kind() {
        let folder = std::env::temp_dir().join(format!("adit-net-{}", std::process::id()));
        for (name, kind) in [
            ("wg1", "DEVTYPE=wireguard\nINTERFACE=wg1\n"),
            ("eth0", "INTERFACE=eth0\n"),
            ("wg0", "DEVTYPE=wireguard\n"),
        ] {
            std::fs::create_dir_all(folder.join(name)).unwrap();
            std::fs::write(folder.join(name).join("uevent"), kind).unwrap();
        }
        assert_eq!(devices(&folder), ["wg0", "wg1"]);
        assert!(devices(&folder.join("no")).is_empty());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
