//! The rules for one group of selectors: which decrypted packets belong to a child, and what only pretends to.

use std::net::IpAddr;

use adit_ipsec::Selector;

use super::style::Style;

/// Protocols whose first four bytes are two ports.
const WITH_PORTS: [u8; 5] = [6, 17, 33, 132, 136];
const ICMP: [u8; 2] = [1, 58];

/// Protocol and ports of a selector, without its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ports {
    protocol: u8,
    start: u16,
    end: u16,
}

impl Ports {
    pub(super) fn of(selector: &Selector) -> Self {
        Self { protocol: selector.protocol(), start: selector.start_port(), end: selector.end_port() }
    }

    /// What has to be matched at an offset of the upper-layer header; OPAQUE cannot be, and is taken for any.
    fn range(self) -> Option<(u16, u16)> {
        let some = (self.start, self.end) != (0, u16::MAX) && self.start <= self.end;
        some.then_some((self.start, self.end))
    }
}

/// The lines of the chain for what comes from the peer's side: what came out of a tunnel is counted and passes, what did
/// not is looked at in `plain`.
pub(super) fn inbound(style: &Style, counter: &str, remote: Ports, locals: &[Selector]) -> Vec<String> {
    let inside = style.came_in();
    let mut lines = Vec::new();
    for matched in matches(remote, locals, "daddr", ["sport", "dport"]) {
        lines.push(format!("{inside} {matched}counter name \"in-{counter}\" accept"));
        lines.push(format!("{matched}goto plain"));
    }
    lines
}

/// The lines of the chain for what goes to the peer's side.
pub(super) fn outbound(counter: &str, remote: Ports, locals: &[Selector]) -> Vec<String> {
    matches(remote, locals, "saddr", ["dport", "sport"])
        .into_iter()
        .map(|matched| format!("{matched}counter name \"out-{counter}\" accept"))
        .collect()
}

/// What may come from the peer's side in the clear.
pub(super) fn passed(remote: &Selector, local: &Selector) -> Vec<String> {
    if remote.is_v4() != local.is_v4() {
        return Vec::new();
    }
    let from = addresses(remote.start(), remote.end(), "saddr");
    let matched = matches(Ports::of(remote), &[*local], "daddr", ["sport", "dport"]);
    matched.into_iter().map(|to| format!("{from}{to}accept")).collect()
}

/// What matches each of our selectors, a space behind it: our address in field `address`, the peer's port and ours in
/// fields `ports`.
fn matches(remote: Ports, locals: &[Selector], address: &str, ports: [&str; 2]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for local in locals {
        let ours = Ports::of(local);
        let protocol = match (remote.protocol, ours.protocol) {
            (0, one) | (one, 0) => one,
            (one, other) if one == other => one,
            // nothing is both
            _ => continue,
        };
        let mut text = addresses(local.start(), local.end(), address);
        if protocol != 0 {
            text.push_str(&format!("meta l4proto {protocol} "));
        }
        if WITH_PORTS.contains(&protocol) {
            for (side, field) in [remote, ours].into_iter().zip(ports) {
                if let Some((first, last)) = side.range() {
                    text.push_str(&format!("th {field} {first}-{last} "));
                }
            }
        } else if ICMP.contains(&protocol)
            && let Some((first, last)) = ours.range().or_else(|| remote.range())
        {
            // Type and code, one field.
            text.push_str(&format!("@th,0,16 {first}-{last} "));
        }
        if !all.contains(&text) {
            all.push(text);
        }
    }
    all
}

/// Matches addresses of a range, a space behind it.
pub(super) fn addresses(first: IpAddr, last: IpAddr, field: &str) -> String {
    let any = Selector::new(0, 0, u16::MAX, first, last)
        .is_some_and(|range| range == Selector::any_v4() || range == Selector::any_v6());
    match (first.is_ipv4(), any) {
        (true, true) => "meta nfproto ipv4 ".to_owned(),
        (false, true) => "meta nfproto ipv6 ".to_owned(),
        (true, false) => format!("ip {field} {first}-{last} "),
        (false, false) => format!("ip6 {field} {first}-{last} "),
    }
}
