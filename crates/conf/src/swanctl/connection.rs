//! `connections.<conn>`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use adit_ipsec::{Proposal, Protocol};

use super::fields::{Fields, shown};
use super::types::{Childless, Connection, Fragmentation, SendCert, Unique};
use super::{auth, child, entries};
use crate::diag::Diagnostic;
use crate::tree::Section;
use crate::value;

const DEFAULT_REKEY: Duration = Duration::from_secs(4 * 3600);

pub(super) fn read(name: &str, section: &Section, diagnostics: &mut Vec<Diagnostic>) -> Option<Connection> {
    let local = auth::rounds(section, "local", diagnostics);
    let remote = auth::rounds(section, "remote", diagnostics);
    let children = section
        .section("children")
        .into_iter()
        .flat_map(Section::sections)
        .map(|(child, section)| child::read(child, section, diagnostics))
        .collect();
    let mut fields = Fields::new(section, diagnostics);
    if name.len() > 255 {
        let message = "the name of a connection is at most 255 bytes long";
        fields.diagnostics.push(Diagnostic::error(section.span(), message));
    }
    let times = times(&mut fields);
    Some(Connection {
        name: name.to_owned(),
        origin: fields.origin(),
        version: version(&mut fields),
        local_addrs: hosts(&mut fields, "local_addrs"),
        remote_addrs: hosts(&mut fields, "remote_addrs"),
        local_port: port(&mut fields, "local_port"),
        remote_port: port(&mut fields, "remote_port"),
        proposals: proposals(&mut fields, "proposals", Protocol::Ike),
        vips: fields.parsed_list("vips", vip).unwrap_or_default(),
        pools: fields.strings("pools"),
        encap: fields.bool("encap", false),
        mobike: fields.bool("mobike", true),
        dpd_delay: fields.time("dpd_delay", Duration::ZERO),
        fragmentation: fields.word(
            "fragmentation",
            &[
                ("yes", Fragmentation::Yes),
                ("accept", Fragmentation::Accept),
                ("no", Fragmentation::No),
                ("force", Fragmentation::Force),
            ],
            Fragmentation::Yes,
        ),
        childless: fields.word(
            "childless",
            &[
                ("allow", Childless::Allow),
                ("prefer", Childless::Prefer),
                ("force", Childless::Force),
                ("never", Childless::Never),
            ],
            Childless::Allow,
        ),
        send_certreq: fields.bool("send_certreq", true),
        send_cert: fields.word(
            "send_cert",
            &[("ifasked", SendCert::IfAsked), ("always", SendCert::Always), ("never", SendCert::Never)],
            SendCert::IfAsked,
        ),
        keyingtries: fields.number("keyingtries", "a number, 0 for ever").unwrap_or(1),
        unique: fields.word(
            "unique",
            &[
                ("no", Unique::No),
                ("never", Unique::Never),
                ("keep", Unique::Keep),
                ("replace", Unique::Replace),
            ],
            Unique::No,
        ),
        rekey_time: times.rekey,
        reauth_time: times.reauth,
        over_time: times.over,
        rand_time: times.rand,
        dscp: 0,
        if_ids: entries::if_ids(&mut fields),
        local,
        remote,
        children,
    })
}

fn version(fields: &mut Fields<'_>) -> u8 {
    let Some(version) = fields.number::<u8>("version", "0 or 2") else { return 0 };
    let span = fields.section.value("version").and_then(|value| value.span().cloned());
    match version {
        0 | 2 => version,
        1 => {
            let message = "`version = 1` is not served: IKEv1 is obsolete (RFC 9395) and not built; use 2";
            fields.complain("version", span.as_ref(), message);
            0
        }
        other => {
            let message = format!("`{other}` is no value for `version`: expected 0 or 2");
            fields.complain("version", span.as_ref(), message);
            0
        }
    }
}

fn port(fields: &mut Fields<'_>, key: &str) -> u16 {
    fields.number::<u16>(key, "a UDP port").unwrap_or(500)
}

/// Own or peer addresses; `%any` if there are none.
fn hosts(fields: &mut Fields<'_>, key: &str) -> Vec<String> {
    let check = |item: &str| {
        if is_host(item) {
            Ok(item.to_owned())
        } else {
            Err(format!(
                "`{}` in `{key}` is neither an address, a CIDR, a range `from-to`, a host name nor `%any`",
                shown(item)
            ))
        }
    };
    let hosts = fields.parsed_list(key, check).unwrap_or_default();
    if hosts.is_empty() { vec!["%any".to_owned()] } else { hosts }
}

fn is_host(item: &str) -> bool {
    if matches!(item, "%any" | "%any4" | "%any6")
        || item.parse::<IpAddr>().is_ok()
        || value::cidr(item).is_some()
    {
        return true;
    }
    if let Some((from, to)) = item.split_once('-')
        && let (Ok(from), Ok(to)) = (from.trim().parse::<IpAddr>(), to.trim().parse::<IpAddr>())
    {
        return from.is_ipv4() == to.is_ipv4() && from <= to;
    }
    // RFC 1123 names; a last label of digits only would be a mistyped address.
    let labels: Vec<&str> = item.trim_end_matches('.').split('.').collect();
    item.len() <= 253
        && labels.iter().all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && label.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
        })
        && labels.last().is_some_and(|last| !last.chars().all(|c| c.is_ascii_digit()))
}

/// Does this host spec name a peer that can be initiated to?
pub(crate) fn is_concrete(item: &str) -> bool {
    match item.parse::<IpAddr>() {
        Ok(address) => !address.is_unspecified(),
        Err(_) => !item.starts_with('%') && !item.contains('/') && !is_range(item),
    }
}

fn is_range(item: &str) -> bool {
    item.split_once('-').is_some_and(|(from, _)| from.trim().parse::<IpAddr>().is_ok())
}

fn vip(item: &str) -> Result<IpAddr, String> {
    match item {
        "%any" | "%any4" => Ok(Ipv4Addr::UNSPECIFIED.into()),
        "%any6" => Ok(Ipv6Addr::UNSPECIFIED.into()),
        item => item.parse().map_err(|_| {
            format!("`{}` in `vips` is no address (0.0.0.0 and :: ask for any of their family)", shown(item))
        }),
    }
}

/// Proposals of a key, `default` standing for the defaults; the defaults if there are none.
pub(super) fn proposals(fields: &mut Fields<'_>, key: &str, protocol: Protocol) -> Vec<Proposal> {
    let defaults = || match protocol {
        Protocol::Ike => Proposal::default_ike(),
        _ => Proposal::default_esp(),
    };
    let parse = |item: &str| {
        if item == "default" {
            return Ok(defaults());
        }
        Proposal::parse(protocol, item)
            .map(|proposal| vec![proposal])
            .map_err(|sentence| format!("the proposal `{}` cannot be used: {sentence}", shown(item)))
    };
    let lists = fields.parsed_list(key, parse).unwrap_or_default();
    let mut out: Vec<Proposal> = Vec::new();
    for proposal in lists.into_iter().flatten() {
        if !out.contains(&proposal) {
            out.push(proposal);
        }
    }
    if out.is_empty() { defaults() } else { out }
}

struct Times {
    rekey: Duration,
    reauth: Duration,
    over: Duration,
    rand: Duration,
}

/// 4 h unless set; with only `reauth_time` set, no rekeying; over = 10 % of the longer one; rand = over, but at most
/// half of the shorter one.
fn times(fields: &mut Fields<'_>) -> Times {
    let rekey = fields.time_opt("rekey_time");
    let reauth = fields.time_opt("reauth_time");
    let rekey = match (rekey, reauth) {
        (Some(rekey), _) => rekey,
        (None, Some(reauth)) if !reauth.is_zero() => Duration::ZERO,
        (None, _) => DEFAULT_REKEY,
    };
    let reauth = reauth.unwrap_or_default();
    let over = fields.time_opt("over_time").unwrap_or_else(|| rekey.max(reauth) / 10);
    let shorter = [rekey, reauth].into_iter().filter(|time| !time.is_zero()).min().unwrap_or_default();
    let rand = fields.time_opt("rand_time");
    if let Some(rand) = rand
        && !shorter.is_zero()
        && rand >= shorter
    {
        let message = format!(
            "`rand_time` of {} is not shorter than the {} it is subtracted from: the IKE_SA could be renewed at once",
            value::show_time(rand),
            value::show_time(shorter)
        );
        let span = fields.section.value("rand_time").and_then(|value| value.span());
        fields.diagnostics.push(Diagnostic::warning(span, message));
    }
    Times { rekey, reauth, over, rand: rand.unwrap_or_else(|| over.min(shorter / 2)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_forms() {
        for good in [
            "%any",
            "10.0.0.1",
            "10.0.0.0/8",
            "10.0.0.1-10.0.0.9",
            "fd00::1",
            "vpn.example.net",
            "gw",
            "a-b.example",
            "::",
            "xn--bcher-kva.example.",
        ] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["10.0.0.256", "10.0.0.0/33", "a..b", "%anny", "a b", "-x", "10.0.0.9-10.0.0.1", "10.0.0"]
        {
            assert!(!is_host(bad), "{bad}");
        }
        assert!(is_concrete("gw-1.example") && is_concrete("10.0.0.1"));
        assert!(!is_concrete("%any") && !is_concrete("0.0.0.0") && !is_concrete("10.0.0.0/8"));
    }
}
