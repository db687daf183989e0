//! Which connection a peer's messages belong to: by addresses first, by identities later.

use std::sync::Arc;

use adit_ipsec::{Identity, MatchQuality};

use crate::action::Path;
use crate::config::{AuthMethod, Connection, HostSpec};
use crate::core::{Core, log};
use crate::reason::Reason;
use crate::sa::{IkeSa, Suite};

fn best(specs: &[HostSpec], addr: std::net::IpAddr) -> u8 {
    specs.iter().map(|spec| spec.quality(addr)).max().unwrap_or(0)
}

/// Connections that cover a pair of addresses, best match first.
pub(crate) fn by_address(core: &Core, path: Path) -> Vec<Arc<Connection>> {
    let mut found: Vec<(u8, &Arc<Connection>)> = core
        .config
        .connections
        .iter()
        .filter_map(|conn| {
            let local = best(&conn.local_addrs, path.local.ip());
            let remote = best(&conn.remote_addrs, path.remote.ip());
            (local > 0 && remote > 0).then_some((remote * 8 + local, conn))
        })
        .collect();
    found.sort_by_key(|(quality, _)| std::cmp::Reverse(*quality));
    found.into_iter().map(|(_, conn)| Arc::clone(conn)).collect()
}

/// The identity that a connection gives us, as responder: what the peer asks for, if that is ours.
pub(crate) fn own_identity(conn: &Connection, asked: Option<&Identity>, path: Path) -> Option<Identity> {
    if let Some(id) = &conn.local.id {
        if id.is_any() {
            return Some(asked.cloned().unwrap_or_else(|| Identity::from_ip(path.local.ip())));
        }
        let fits = asked.is_none_or(|asked| id.matches(asked) != MatchQuality::None);
        return fits.then(|| id.clone());
    }
    let cert = conn.local.certs.first();
    match (asked, cert) {
        (None, Some(cert)) => Some(cert.subject()),
        (None, None) => Some(Identity::from_ip(path.local.ip())),
        (Some(asked), Some(_)) => {
            conn.local.certs.iter().any(|it| it.certifies(asked)).then(|| asked.clone())
        }
        // Nothing is configured: anything goes, as long as we can prove it.
        (Some(asked), None) => Some(asked.clone()),
    }
}

/// The connection for a peer that says who it is, and our identity in it (RFC 7296 §2.15, §3.5).
pub(crate) fn by_identity(
    core: &mut Core,
    sa: &IkeSa,
    remote: &Identity,
    asked: Option<&Identity>,
    method: AuthMethod,
    suite: Suite,
) -> Result<(Arc<Connection>, Identity), Reason> {
    let any = Identity::Any;
    let shown = asked.unwrap_or(&any);
    log!(
        core,
        Cfg,
        1,
        sa,
        "looking for peer configs matching {}[{shown}]...{}[{remote}]",
        sa.path.local.ip(),
        sa.path.remote.ip()
    );
    let chosen = suite.proposal();
    let mut best: Option<(u8, Arc<Connection>, Identity)> = None;
    let mut accepted = Vec::new();
    let mut nearest: Option<Reason> = None;
    for conn in by_address(core, sa.path) {
        if accepted.len() < 8 {
            accepted.push(format!("'{}' with {} ({})", conn.remote.id, conn.remote.method, conn.name));
        }
        let quality = conn.remote.id.matches(remote);
        if quality == MatchQuality::None || !conn.proposals.iter().any(|ours| ours.select(&chosen).is_some())
        {
            continue;
        }
        let Some(local) = own_identity(&conn, asked, sa.path) else { continue };
        if conn.remote.method != method {
            nearest.get_or_insert(Reason::MethodMismatch {
                expected: conn.remote.method,
                got: method.name().to_owned(),
            });
            continue;
        }
        let quality = match quality {
            MatchQuality::Exact => 3,
            MatchQuality::Wildcard => 2,
            _ => 1,
        };
        if best.as_ref().is_none_or(|(so_far, ..)| quality > *so_far) {
            best = Some((quality, conn, local));
        }
    }
    match best {
        Some((_, conn, local)) => {
            log!(core, Cfg, 1, sa, "selected peer config '{}'", conn.name);
            Ok((conn, local))
        }
        None => {
            log!(core, Cfg, 1, sa, "no matching peer config found");
            Err(nearest.unwrap_or_else(|| Reason::NoPeerConfig {
                local: shown.clone(),
                remote: remote.clone(),
                method,
                accepted,
            }))
        }
    }
}
