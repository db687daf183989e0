//! What parses well but cannot work, or not as intended.

use std::collections::{BTreeMap, BTreeSet};

use adit_ipsec::{Identity, Proposal, Protocol, TransformType};

use crate::diag::Diagnostic;
use crate::nearest;
use crate::pfs;
use crate::source::Span;
use crate::swanctl::{AuthMethod, Connection, SecretEntry, SecretKind, SwanctlConf, is_concrete};
use crate::tree::Section;

/// Below this a pre-shared key that people thought up can be guessed offline by whoever poses as the peer.
const SHORT_PSK: usize = 20;

/// Looks at a whole configuration. `root` is the tree it was read from, for places; an empty section if there is none.
pub fn check(conf: &SwanctlConf, root: &Section) -> Vec<Diagnostic> {
    let mut out = Vec::new();
    pools(conf, root, &mut out);
    secrets(conf, root, &mut out);
    let places = Places::of(root, "connections");
    let known = Known {
        pools: conf.pools.iter().map(|pool| pool.name.as_str()).collect(),
        owners: Owners::of(&conf.secrets),
    };
    for conn in &conf.connections {
        connection(&known, conn, places.get(&conn.name), &mut out);
    }
    pfs::check(conf, root, &mut out);
    out
}

/// What connections are checked against.
struct Known<'a> {
    pools: BTreeSet<&'a str>,
    owners: Owners<'a>,
}

/// Whose secrets there are.
struct Owners<'a> {
    /// Owners of pre-shared keys.
    ids: BTreeSet<&'a Identity>,
    /// There is a pre-shared key for anyone.
    anyone: bool,
    /// There is a pre-shared key at all.
    some: bool,
    /// There is an EAP secret.
    eap: bool,
}

impl<'a> Owners<'a> {
    fn of(secrets: &'a [SecretEntry]) -> Self {
        let ike = || secrets.iter().filter(|entry| entry.kind == SecretKind::Ike);
        Self {
            ids: ike().flat_map(|entry| &entry.ids).collect(),
            anyone: ike().any(|entry| entry.ids.is_empty()),
            some: ike().next().is_some(),
            eap: secrets.iter().any(|entry| matches!(entry.kind, SecretKind::Eap | SecretKind::Ntlm)),
        }
    }
}

/// The sections below one of the outermost ones, by name.
struct Places<'a>(BTreeMap<&'a str, &'a Section>);

impl<'a> Places<'a> {
    fn of(root: &'a Section, top: &str) -> Self {
        Self(root.section(top).into_iter().flat_map(Section::sections).collect())
    }

    fn get(&self, name: &str) -> Option<&'a Section> {
        self.0.get(name).copied()
    }
}

fn span_of<'a>(section: Option<&'a Section>, key: &str) -> Option<&'a Span> {
    let section = section?;
    section.value(key).and_then(|value| value.span()).or(section.span())
}

fn pools(conf: &SwanctlConf, root: &Section, out: &mut Vec<Diagnostic>) {
    let places = Places::of(root, "pools");
    // Sorted by first address, an overlap shows between a range and the one that reaches furthest before it.
    let mut ranges: Vec<_> = conf.pools.iter().filter_map(|pool| Some((pool, pool.addrs?))).collect();
    ranges.sort_by_key(|(_, range)| range.first);
    let mut furthest: Option<(&str, crate::swanctl::PoolRange)> = None;
    for (pool, range) in ranges {
        if let Some((other, before)) = furthest
            && before.overlaps(&range)
        {
            let section = places.get(&pool.name);
            let message = format!(
                "the pools `{other}` ({}-{}) and `{}` ({}-{}) overlap",
                before.first, before.last, pool.name, range.first, range.last
            );
            out.push(Diagnostic::error(span_of(section, "addrs"), message));
        }
        let same_family = furthest.is_some_and(|(_, before)| before.first.is_ipv4() == range.first.is_ipv4());
        if !same_family || furthest.is_none_or(|(_, before)| range.last > before.last) {
            furthest = Some((&pool.name, range));
        }
    }
}

fn secrets(conf: &SwanctlConf, root: &Section, out: &mut Vec<Diagnostic>) {
    let places = Places::of(root, "secrets");
    let mut owners: BTreeMap<(u8, Vec<&Identity>), &SecretEntry> = BTreeMap::new();
    for entry in &conf.secrets {
        let section = places.get(&entry.name);
        let kind = match entry.kind {
            SecretKind::Ike => 0,
            SecretKind::Eap => 1,
            SecretKind::Ntlm => 2,
            SecretKind::Private { .. } => continue,
        };
        if entry.kind == SecretKind::Ike && entry.secret.len() < SHORT_PSK {
            let message = format!(
                "the pre-shared key `{}` has only {} bytes: whoever poses as the other side once can try guesses offline",
                entry.name,
                entry.secret.len()
            );
            out.push(
                Diagnostic::warning(section.and_then(Section::span), message)
                    .with_help("use 32 random bytes, e.g. the output of `openssl rand -base64 32`"),
            );
        }
        let mut ids: Vec<&Identity> = entry.ids.iter().collect();
        ids.sort();
        match owners.entry((kind, ids)) {
            std::collections::btree_map::Entry::Vacant(slot) => {
                slot.insert(entry);
            }
            std::collections::btree_map::Entry::Occupied(slot) => {
                let message = format!(
                    "`{}` and `{}` are secrets for the same identities: it is left to chance which one is used first",
                    slot.get().name,
                    entry.name
                );
                out.push(Diagnostic::warning(section.and_then(Section::span), message));
            }
        }
    }
}

fn connection(known: &Known<'_>, conn: &Connection, section: Option<&Section>, out: &mut Vec<Diagnostic>) {
    let name = &conn.name;
    let place = section.and_then(Section::span);
    let can_initiate = conn.remote_addrs.iter().any(|addr| is_concrete(addr));
    if conn.children.is_empty() {
        let message = format!("the connection `{name}` has no children: it would carry no traffic");
        out.push(Diagnostic::warning(place, message));
    }
    if !conn.vips.is_empty() && !can_initiate {
        let message = format!(
            "`vips` asks the peer for an address, but without a concrete address in `remote_addrs` the connection `{name}` only answers"
        );
        out.push(
            Diagnostic::warning(span_of(section, "vips"), message)
                .with_help("a gateway hands out addresses with `pools`"),
        );
    }
    for pool in &conn.pools {
        if known.pools.contains(pool.as_str()) {
            continue;
        }
        let span = span_of(section, "pools");
        out.push(match pool.as_str() {
            "dhcp" | "radius" => Diagnostic::error(
                span,
                format!("the pool `{pool}` of the connection `{name}` is not served: addresses come from `pools` only"),
            ),
            _ => Diagnostic::error(span, format!("the pool `{pool}` of the connection `{name}` is not defined"))
                .with_help_opt(
                    nearest(pool, known.pools.iter().copied())
                        .map(|near| format!("did you mean `{near}`?")),
                ),
        });
    }
    for proposal in &conn.proposals {
        if let Some(lack) = lacks(proposal) {
            let message = format!("a proposal of the connection `{name}` cannot work: {lack}");
            out.push(Diagnostic::error(span_of(section, "proposals"), message));
        }
    }
    for child in &conn.children {
        let child_section =
            section.and_then(|s| s.section("children")).and_then(|all| all.section(&child.name));
        if child.start_action.start && !can_initiate {
            let message = format!(
                "`{}` cannot start: the connection `{name}` has no concrete address in `remote_addrs`",
                child.name
            );
            out.push(Diagnostic::warning(span_of(child_section, "start_action"), message));
        }
        for proposal in &child.esp_proposals {
            if let Some(lack) = lacks(proposal) {
                let message = format!("an ESP proposal of the child `{}` cannot work: {lack}", child.name);
                out.push(Diagnostic::error(span_of(child_section, "esp_proposals"), message));
            }
        }
        let with_ke = child.esp_proposals.iter().filter(|p| has(p, TransformType::KeyExchange)).count();
        if with_ke > 0 && with_ke < child.esp_proposals.len() && section.is_some_and(|s| !s.is_empty()) {
            let message = format!(
                "some ESP proposals of the child `{}` have a key exchange (perfect forward secrecy) and some have not: the peer decides at the first rekeying",
                child.name
            );
            out.push(Diagnostic::info(span_of(child_section, "esp_proposals"), message));
        }
    }
    credentials(&known.owners, conn, place, out);
}

fn has(proposal: &Proposal, kind: TransformType) -> bool {
    proposal.of_kind(kind).next().is_some()
}

/// What a proposal would need to be usable.
fn lacks(proposal: &Proposal) -> Option<&'static str> {
    if !has(proposal, TransformType::Encryption) {
        return Some("it names no cipher");
    }
    if proposal.protocol == Protocol::Ike {
        if !has(proposal, TransformType::KeyExchange) {
            return Some("IKE needs a key exchange method, e.g. `x25519`");
        }
        if !has(proposal, TransformType::Prf) {
            return Some("IKE needs a PRF, e.g. `prfsha384`");
        }
    }
    None
}

fn credentials(owners: &Owners<'_>, conn: &Connection, place: Option<&Span>, out: &mut Vec<Diagnostic>) {
    let name = &conn.name;
    let ids: Vec<Option<&Identity>> =
        conn.local.iter().chain(&conn.remote).map(|round| round.id.as_ref()).collect();
    let psk = conn.local.iter().chain(&conn.remote).any(|round| round.auth == AuthMethod::Psk);
    // Without an identity on one side anything may turn up there.
    let open = ids.iter().any(|id| id.is_none_or(Identity::is_any));
    let found = if open {
        owners.some
    } else {
        owners.anyone || ids.iter().flatten().any(|id| owners.ids.contains(id))
    };
    if psk && !found {
        let message = format!(
            "the connection `{name}` authenticates by pre-shared key, but no secret of its identities is here"
        );
        out.push(
            Diagnostic::warning(place, message)
                .with_help("add `secrets { ike-1 { id-1 = … secret = … } }`, or load one over VICI"),
        );
    }
    let serves_eap = conn.remote.iter().any(|round| matches!(round.auth, AuthMethod::Eap(_)));
    if serves_eap && !owners.eap {
        let message =
            format!("the connection `{name}` authenticates peers by EAP, but there is no EAP secret here");
        out.push(
            Diagnostic::warning(place, message)
                .with_help("add `secrets { eap-1 { id = … secret = … } }`, or load one over VICI"),
        );
    }
    if serves_eap && conn.local.iter().any(|round| matches!(round.auth, AuthMethod::Eap(_))) {
        let message = format!(
            "both sides of the connection `{name}` authenticate by EAP; one must prove itself by key or certificate"
        );
        out.push(Diagnostic::error(place, message));
    }
}
