//! Policies without an SA.
//!
//! What passes goes around our routing table, by rules in front of the one that asks it. What is dropped is dropped by
//! an nf_tables table of our own, since packets that no tunnel is for never come to the worker. As strongSwan orders
//! them, passing goes before everything and dropping after everything: tunnels and traps take what they match out of
//! the drops' reach.

use std::collections::BTreeMap;
use std::net::IpAddr;

use adit_ipsec::{Selector, Shunt, ShuntPolicy};
use adit_linux::filter::{End, Filter, Flow};
use adit_linux::route::Traffic;

use crate::InstallError;
use crate::routes::{RouteBook, prefixes};

/// Our nf_tables table, in the `inet` family.
const TABLE: &str = "adit-shunts";
/// Most rules one policy may need.
const MAX_RULES: usize = 64;

/// The policies that are installed.
#[derive(Debug)]
pub(super) struct Shunts {
    inside: String,
    /// `None` where the kernel has no netfilter.
    filter: Option<Filter>,
    installed: BTreeMap<u32, Held>,
}

#[derive(Debug)]
struct Held {
    kind: Shunt,
    flows: Vec<Flow>,
    detours: Vec<(bool, Traffic)>,
}

impl Shunts {
    /// None, beside the tunnel device `inside`; what a killed predecessor left is removed.
    pub(super) fn start(inside: &str) -> Self {
        let mut filter = Filter::open().ok();
        if let Some(filter) = &mut filter {
            // A kernel without nf_tables has nothing left of it either.
            let _ = filter.replace(TABLE, inside, &[], &[]);
        }
        Self { inside: inside.to_owned(), filter, installed: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, book: &mut RouteBook, policy: ShuntPolicy) -> Result<(), InstallError> {
        self.remove(book, policy.id);
        let flows = flows(&policy)?;
        let mut detours = Vec::new();
        if policy.kind == Shunt::Pass && book.routes_anything() {
            if !book.can_detour() {
                return Err(refused(
                    &policy,
                    "there is no place for a rule before charon.routing_table_prio",
                ));
            }
            detours = around(&policy, &flows)?;
        }
        for (at, (v4, traffic)) in detours.iter().enumerate() {
            if let Err(error) = book.add_detour(*v4, *traffic) {
                detours.iter().take(at).for_each(|(v4, traffic)| book.remove_detour(*v4, *traffic));
                return Err(error.into());
            }
        }
        let id = policy.id;
        self.installed.insert(id, Held { kind: policy.kind, flows, detours });
        if let Err(error) = self.filter() {
            self.remove(book, id);
            return Err(refused(&policy, &error.to_string()));
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, book: &mut RouteBook, id: u32) {
        let Some(held) = self.installed.remove(&id) else { return };
        held.detours.iter().for_each(|(v4, traffic)| book.remove_detour(*v4, *traffic));
        // If it cannot be changed now, it is when the next one changes.
        let _ = self.filter();
    }

    /// Removes all.
    pub(super) fn clear(&mut self, book: &mut RouteBook) {
        let ids: Vec<u32> = self.installed.keys().copied().collect();
        ids.into_iter().for_each(|id| self.remove(book, id));
    }

    /// Brings the filter up to date. Who drops nothing needs none.
    fn filter(&mut self) -> std::io::Result<()> {
        let of = |kind: Shunt| -> Vec<Flow> {
            self.installed.values().filter(|h| h.kind == kind).flat_map(|h| h.flows.iter().copied()).collect()
        };
        let (pass, drop) = (of(Shunt::Pass), of(Shunt::Drop));
        let result = match &mut self.filter {
            Some(filter) => filter.replace(TABLE, &self.inside, &pass, &drop),
            None => Err(std::io::Error::other("the kernel has no netfilter")),
        };
        if drop.is_empty() { Ok(()) } else { result }
    }
}

fn refused(policy: &ShuntPolicy, why: &str) -> InstallError {
    InstallError::new(format!("the {} policy {} cannot be installed: {why}", policy.kind.name(), policy.name))
}

/// Every pair of selectors that one packet can meet.
fn flows(policy: &ShuntPolicy) -> Result<Vec<Flow>, InstallError> {
    let mut flows = Vec::new();
    for local in &policy.local_ts {
        for remote in policy.remote_ts.iter().filter(|remote| remote.is_v4() == local.is_v4()) {
            let protocol = match (local.protocol(), remote.protocol()) {
                (0, p) | (p, 0) => p,
                (a, b) if a == b => a,
                _ => continue,
            };
            if local.is_opaque() || remote.is_opaque() {
                return Err(refused(policy, "packets without visible ports cannot be told apart here"));
            }
            let end =
                |s: &Selector| End { addresses: (s.start(), s.end()), ports: (s.start_port(), s.end_port()) };
            if protocol == 0 && [local, remote].iter().any(|s| end(s).ports != (0, u16::MAX)) {
                return Err(refused(policy, "ports need a protocol"));
            }
            flows.push(Flow { local: end(local), remote: end(remote), protocol });
        }
    }
    if flows.len() > MAX_RULES {
        return Err(refused(policy, "it has more than 64 pairs of selectors"));
    }
    if flows.is_empty() {
        return Err(refused(policy, "no local and remote selector are for the same traffic"));
    }
    Ok(flows)
}

/// The rules that lead the flows around the table, in both directions, with their family.
fn around(policy: &ShuntPolicy, flows: &[Flow]) -> Result<Vec<(bool, Traffic)>, InstallError> {
    let mut detours = Vec::new();
    for flow in flows {
        let nets = |end: &End| -> Vec<(IpAddr, u8)> {
            Selector::new(0, 0, u16::MAX, end.addresses.0, end.addresses.1)
                .and_then(|s| prefixes(&[s]))
                .unwrap_or_default()
        };
        let ports = |end: &End| -> Result<Option<(u16, u16)>, InstallError> {
            match end.ports {
                (0, u16::MAX) => Ok(None),
                // ip-rule(8): an ICMP type is no port, and a range has neither of the ends.
                _ if matches!(flow.protocol, 1 | 58) => {
                    Err(refused(policy, "a routing rule cannot tell ICMP types apart"))
                }
                (0, _) | (_, u16::MAX) => {
                    Err(refused(policy, "a routing rule takes no port range with 0 or 65535 in it"))
                }
                range => Ok(Some(range)),
            }
        };
        let (local_ports, remote_ports) = (ports(&flow.local)?, ports(&flow.remote)?);
        for local in nets(&flow.local) {
            for remote in nets(&flow.remote) {
                let out = Traffic {
                    from: Some(local).filter(|net| net.1 > 0),
                    to: Some(remote).filter(|net| net.1 > 0),
                    protocol: flow.protocol,
                    source_ports: local_ports,
                    destination_ports: remote_ports,
                    mark: None,
                };
                let back = Traffic {
                    from: out.to,
                    to: out.from,
                    source_ports: out.destination_ports,
                    destination_ports: out.source_ports,
                    ..out
                };
                detours.extend([(local.0.is_ipv4(), out), (local.0.is_ipv4(), back)]);
            }
        }
    }
    if detours.len() > 2 * MAX_RULES {
        return Err(refused(policy, "its address ranges need more than 64 routing rules"));
    }
    Ok(detours)
}
