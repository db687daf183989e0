//! The file for the operator's own ruleset: what their chains have to accept, since an accept of ours does not override
//! their drop.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use adit_conf::StrongswanConf;
use adit_conf::strongswan::{ChainFamily, ChainName};
use adit_conf::swanctl::{Connection, Pool};
use adit_ipsec::{Selector, SelectorSpec};

use super::names::is_plain_device;
use super::style::{Inside, Style};

/// What has their ruleset read the file again.
pub const RELOAD: &str = "systemctl reload nftables";

/// The networks of both sides, as configured.
#[derive(Debug, Default)]
struct Nets {
    /// The peers' and the pools'.
    remote: Vec<Selector>,
    /// Those of them that are nobody else's: no packet from there comes by another way. Peers themselves do, with ESP.
    guarded: Vec<Selector>,
    /// Ours.
    local: Vec<Selector>,
}

impl Nets {
    fn of<'a>(connections: impl Iterator<Item = &'a Connection>, pools: &[Selector]) -> Self {
        let (mut guarded, mut hosts, mut local) = (pools.to_vec(), Vec::new(), Vec::new());
        for conn in connections {
            for child in conn.children.iter().filter(|child| child.shunt.is_none()) {
                local.extend(child.local_ts.iter().filter_map(fixed));
                guarded.extend(child.remote_ts.iter().filter_map(fixed));
                let dynamic = child.remote_ts.iter().any(|ts| matches!(ts, SelectorSpec::Dynamic { .. }));
                if dynamic && conn.pools.is_empty() {
                    let known = conn.remote_addrs.iter().filter_map(|it| it.trim().parse::<IpAddr>().ok());
                    hosts.extend(known.filter(|it| !it.is_unspecified()).map(Selector::host));
                }
            }
        }
        let local = union(local);
        let remote = union(guarded.iter().chain(&hosts).copied().collect());
        guarded.retain(|it| !is_any(it) && local.iter().all(|ours| ours.intersect(it).is_none()));
        Self { remote, guarded: union(guarded), local }
    }
}

/// The addresses of a selector that is fixed.
fn fixed(spec: &SelectorSpec) -> Option<Selector> {
    match spec {
        SelectorSpec::Fixed(it) => Selector::new(0, 0, u16::MAX, it.start(), it.end()),
        SelectorSpec::Dynamic { .. } => None,
    }
}

fn is_any(it: &Selector) -> bool {
    *it == Selector::any_v4() || *it == Selector::any_v6()
}

/// The same addresses without overlaps, in order: what a set can hold.
fn union(mut ranges: Vec<Selector>) -> Vec<Selector> {
    ranges.sort_unstable();
    let mut all: Vec<Selector> = Vec::new();
    for next in ranges {
        match all.last_mut() {
            Some(before) if before.is_v4() == next.is_v4() && next.start() <= before.end() => {
                let end = before.end().max(next.end());
                *before = Selector::new(0, 0, u16::MAX, before.start(), end).unwrap_or(*before);
            }
            _ => all.push(next),
        }
    }
    all
}

/// The addresses of pools.
pub fn pool_ranges<'a>(pools: impl Iterator<Item = &'a Pool>) -> Vec<Selector> {
    let ranges = pools.filter_map(|pool| pool.addrs);
    ranges.filter_map(|it| Selector::new(0, 0, u16::MAX, it.first, it.last)).collect()
}

/// The file.
pub fn render<'a>(
    conf: &StrongswanConf,
    connections: impl Iterator<Item = &'a Connection>,
    pools: &[Selector],
) -> String {
    let nets = Nets::of(connections, pools);
    let usable = |inside: &Inside| match inside {
        Inside::Device(name) => is_plain_device(name),
        Inside::Kernel => true,
    };
    let insides: Vec<Inside> = Style::configured(conf).into_iter().filter(usable).collect();
    let dropin = &conf.adit.dropin;
    let mut tables = Tables::default();
    if let Some(chain) = &dropin.input {
        tables.chain(chain, input(conf, &nets, &insides, chain.family));
    }
    if let Some(chain) = &dropin.forward {
        tables.chain(chain, forward(&nets, &insides, chain.family));
    }
    if let Some(chain) = &dropin.postrouting {
        tables.chain(chain, exempt(&nets, &insides, chain.family));
    }
    let mut text = format!(
        "# Written by aditd from its configuration, and again when that changes; adit.dropin in strongswan.conf says what\n\
         # your chains are called. Your ruleset includes it; to have it read again: {RELOAD}\n"
    );
    for ((family, table), chains) in tables.0 {
        let _ = writeln!(text, "table {family} {table} {{");
        let used = chains.values().flatten().fold(String::new(), |all, line| all + line + "\n");
        text.push_str(&sets(&nets, &dropin.services, &used));
        for (chain, lines) in chains {
            let _ = writeln!(text, "\tchain {chain} {{");
            for line in lines {
                let _ = writeln!(text, "\t\t{line}");
            }
            text.push_str("\t}\n");
        }
        text.push_str("}\n");
    }
    text
}

/// Chains with their lines, by table.
#[derive(Default)]
struct Tables(BTreeMap<(&'static str, String), BTreeMap<String, Vec<String>>>);

impl Tables {
    fn chain(&mut self, name: &ChainName, lines: Vec<String>) {
        let family = match name.family {
            ChainFamily::Ip => "ip",
            ChainFamily::Ip6 => "ip6",
            ChainFamily::Inet => "inet",
        };
        let chains = self.0.entry((family, name.table.clone())).or_default();
        chains.entry(name.chain.clone()).or_default().extend(lines);
    }
}

/// The sets that are spoken of.
fn sets(nets: &Nets, services: &[(u16, u16)], used: &str) -> String {
    let mut text = String::new();
    for (name, ranges) in [("remote", &nets.remote), ("guarded", &nets.guarded), ("local", &nets.local)] {
        for (digit, kind) in [('4', "ipv4_addr"), ('6', "ipv6_addr")] {
            let elements: Vec<String> =
                ranges.iter().filter(|it| it.is_v4() == (digit == '4')).map(shown).collect();
            if used.contains(&format!("@adit_{name}{digit}")) {
                let list = elements.join(", ");
                let _ = writeln!(
                    text,
                    "\tset adit_{name}{digit} {{ type {kind}; flags interval; elements = {{ {list} }}; }}"
                );
            }
        }
    }
    if used.contains("@adit_services") {
        let list: Vec<String> = services.iter().map(|(first, last)| ports(*first, *last)).collect();
        let list = list.join(", ");
        let _ = writeln!(
            text,
            "\tset adit_services {{ type inet_service; flags interval; auto-merge; elements = {{ {list} }}; }}"
        );
    }
    text
}

fn shown(it: &Selector) -> String {
    it.to_cidr().map_or_else(
        || format!("{}-{}", it.start(), it.end()),
        |(address, prefix)| format!("{address}/{prefix}"),
    )
}

fn ports(first: u16, last: u16) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

/// For each family of addresses that a table sees and the networks have: the keyword and the digit of its sets.
fn families<'a>(
    family: ChainFamily,
    nets: &'a [Selector],
) -> impl Iterator<Item = (&'static str, char)> + 'a {
    let has = move |v4: bool| nets.iter().any(|it| it.is_v4() == v4);
    let v4 = (family != ChainFamily::Ip6 && has(true)).then_some(("ip", '4'));
    let v6 = (family != ChainFamily::Ip && has(false)).then_some(("ip6", '6'));
    v4.into_iter().chain(v6)
}

/// Matches what no tunnel has brought.
fn outside(insides: &[Inside]) -> String {
    let parts: Vec<String> = insides
        .iter()
        .map(|inside| match inside {
            Inside::Device(name) => format!("iifname != \"{name}\""),
            Inside::Kernel => "meta secpath missing".to_owned(),
        })
        .collect();
    parts.join(" ")
}

/// Matches what came out of a tunnel, and what goes into one.
fn ways(inside: &Inside) -> (String, String) {
    match inside {
        Inside::Device(name) => (format!("iifname \"{name}\""), format!("oifname \"{name}\"")),
        Inside::Kernel => ("meta secpath exists".to_owned(), "rt ipsec exists".to_owned()),
    }
}

fn input(conf: &StrongswanConf, nets: &Nets, insides: &[Inside], family: ChainFamily) -> Vec<String> {
    let ike = format!("{}, {}", conf.port, conf.port_nat_t);
    let mut lines = vec![format!("udp dport {{ {ike} }} accept"), "meta l4proto esp accept".to_owned()];
    lines.extend(spoofed(nets, insides, family));
    if !conf.adit.dropin.services.is_empty() {
        for inside in insides {
            for (ip, digit) in families(family, &nets.remote) {
                let came_in = ways(inside).0;
                lines.push(format!(
                    "{came_in} {ip} saddr @adit_remote{digit} tcp dport @adit_services accept"
                ));
            }
        }
    }
    lines
}

fn forward(nets: &Nets, insides: &[Inside], family: ChainFamily) -> Vec<String> {
    let mut lines = spoofed(nets, insides, family);
    for inside in insides {
        let (came_in, goes_out) = ways(inside);
        for (ip, d) in families(family, &nets.remote) {
            if !families(family, &nets.local).any(|(_, digit)| digit == d) {
                continue;
            }
            lines.push(format!(
                "{came_in} {ip} saddr @adit_remote{d} {ip} daddr @adit_local{d} counter accept"
            ));
            lines.push(format!(
                "{goes_out} {ip} saddr @adit_local{d} {ip} daddr @adit_remote{d} counter accept"
            ));
        }
    }
    lines
}

fn spoofed(nets: &Nets, insides: &[Inside], family: ChainFamily) -> Vec<String> {
    let outside = outside(insides);
    let line = |(ip, d)| format!("iifname != \"lo\" {outside} {ip} saddr @adit_guarded{d} counter drop");
    families(family, &nets.guarded).map(line).collect()
}

/// What is encrypted keeps its addresses, and so does what came out of a tunnel for our networks; what goes on to the
/// Internet is left to the operator's rules.
fn exempt(nets: &Nets, insides: &[Inside], family: ChainFamily) -> Vec<String> {
    let mut lines: Vec<String> = insides.iter().map(|it| format!("{} return", ways(it).1)).collect();
    let some = |v4| {
        nets.local.iter().any(|it| it.is_v4() == v4)
            && !nets.local.iter().any(|it| it.is_v4() == v4 && is_any(it))
    };
    for (ip, d) in families(family, &nets.guarded).filter(|(_, d)| some(*d == '4')) {
        lines.push(format!("{ip} saddr @adit_guarded{d} {ip} daddr @adit_local{d} return"));
    }
    lines
}

/// Puts the text in the file, if it does not stand there already; whether it did.
///
/// # Errors
/// As the file system says.
pub(super) fn write(path: &Path, text: &str) -> io::Result<bool> {
    if std::fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(false);
    }
    let mut new = path.as_os_str().to_owned();
    // Not a name that `include "*.conf"` finds.
    new.push(".new");
    let new = Path::new(&new);
    // One that a crash has left may be a link somewhere else.
    match std::fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o640).open(new)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.and_then(|()| std::fs::rename(new, path)).map(|()| true)
}
