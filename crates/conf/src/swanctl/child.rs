//! `connections.<conn>.children.<child>`.

use std::time::Duration;

use adit_ipsec::{CopyDscp, HeaderRules, Mode, Protocol, SelectorSpec, Shunt};

use super::connection::proposals;
use super::entries;
use super::fields::{Fields, shown};
use super::types::{Action, Child};
use crate::diag::Diagnostic;
use crate::tree::Section;

const DEFAULT_REKEY: Duration = Duration::from_secs(3600);

pub(super) fn read(name: &str, section: &Section, diagnostics: &mut Vec<Diagnostic>) -> Child {
    let mut fields = Fields::new(section, diagnostics);
    let (mode, shunt) = mode(&mut fields);
    let (options, numbering) = entries::read(&mut fields);
    if shunt.is_some() {
        entries::without_sas(&mut fields, numbering);
    }
    let rekey = fields.time_opt("rekey_time").map(|time| time.as_secs());
    let life = fields.time_opt("life_time").map(|time| time.as_secs());
    let rand = fields.time_opt("rand_time").map(|time| time.as_secs());
    let time = limits(&mut fields, "time", (rekey, life, rand), DEFAULT_REKEY.as_secs());
    let given =
        (fields.bytes_opt("rekey_bytes"), fields.bytes_opt("life_bytes"), fields.bytes_opt("rand_bytes"));
    let bytes = limits(&mut fields, "bytes", given, 0);
    let number = "a number of packets";
    let given = (
        fields.number::<u64>("rekey_packets", number),
        fields.number::<u64>("life_packets", number),
        fields.number::<u64>("rand_packets", number),
    );
    let packets = limits(&mut fields, "packets", given, 0);
    Child {
        name: name.to_owned(),
        origin: fields.origin(),
        esp_proposals: proposals(&mut fields, "esp_proposals", Protocol::Esp),
        local_ts: selectors(&mut fields, "local_ts"),
        remote_ts: selectors(&mut fields, "remote_ts"),
        mode,
        shunt,
        headers: headers(&mut fields),
        tfc_padding: tfc_padding(&mut fields),
        rekey_time: Duration::from_secs(time.0),
        life_time: Duration::from_secs(time.1),
        rand_time: Duration::from_secs(time.2),
        rekey_bytes: bytes.0,
        life_bytes: bytes.1,
        rand_bytes: bytes.2,
        rekey_packets: packets.0,
        life_packets: packets.1,
        rand_packets: packets.2,
        start_action: action(&mut fields, "start_action", true),
        dpd_action: action(&mut fields, "dpd_action", false),
        close_action: action(&mut fields, "close_action", true),
        replay_window: fields.number("replay_window", "a number of packets, 0 for none"),
        inactivity: fields.time("inactivity", Duration::ZERO),
        reqid: fields.number("reqid", "a number").unwrap_or(0),
        options,
        numbering,
        updown: fields.parsed("updown", "a command line", |text| {
            (!text.trim().is_empty() && !text.contains('\0')).then(|| text.to_owned())
        }),
        hostaccess: fields.bool("hostaccess", false),
    }
}

/// The encapsulation, and whether the child is a shunt and never negotiates.
fn mode(fields: &mut Fields<'_>) -> (Mode, Option<Shunt>) {
    let words = [
        ("tunnel", Ok((Mode::Tunnel, None))),
        ("transport", Ok((Mode::Transport, None))),
        ("pass", Ok((Mode::Tunnel, Some(Shunt::Pass)))),
        ("drop", Ok((Mode::Tunnel, Some(Shunt::Drop)))),
        ("transport_proxy", Err("transport proxy mode belongs to Mobile IPv6")),
        ("beet", Err("BEET mode was never standardised")),
        ("iptfs", Err("IP-TFS (RFC 9347) is not supported yet")),
    ];
    match fields.word("mode", &words, Ok((Mode::Tunnel, None))) {
        Ok(mode) => mode,
        Err(reason) => {
            let value = fields.section.value("mode");
            let text = value.and_then(|value| value.as_str()).unwrap_or("");
            let span = value.and_then(|value| value.span());
            fields.complain("mode", span, format!("`mode = {}` is not served: {reason}", shown(text)));
            (Mode::Tunnel, None)
        }
    }
}

fn headers(fields: &mut Fields<'_>) -> HeaderRules {
    let words = [("no", CopyDscp::No), ("in", CopyDscp::In), ("out", CopyDscp::Out), ("yes", CopyDscp::Yes)];
    HeaderRules {
        copy_df: fields.bool("copy_df", true),
        copy_ecn: fields.bool("copy_ecn", true),
        copy_dscp: fields.word("copy_dscp", &words, CopyDscp::Out),
    }
}

/// A size in bytes, or `mtu`.
fn tfc_padding(fields: &mut Fields<'_>) -> u16 {
    let parse = |text: &str| match text.trim() {
        "mtu" => Some(u16::MAX),
        number => number.parse().ok(),
    };
    fields.parsed("tfc_padding", "a number of bytes up to 65535, or mtu", parse).unwrap_or(0)
}

/// Soft, hard and random limit: soft defaults to hard / 1.1, or else to `default`; hard to soft × 1.1; random to the
/// difference.
fn limits(
    fields: &mut Fields<'_>,
    what: &str,
    given: (Option<u64>, Option<u64>, Option<u64>),
    default: u64,
) -> (u64, u64, u64) {
    let (soft, hard, rand) = given;
    let tenth_more = |n: u64| n.saturating_add(n / 10);
    let soft_value = match (soft, hard) {
        (Some(soft), _) => soft,
        // hard / 1.1, in whole numbers and without overflow.
        (None, Some(hard)) => u64::try_from(u128::from(hard) * 10 / 11).unwrap_or(hard),
        (None, None) => default,
    };
    let hard_value = hard.unwrap_or_else(|| tenth_more(soft_value));
    if soft_value > 0 && hard_value > 0 && hard_value <= soft_value {
        let message = format!(
            "`life_{what}` is not larger than `rekey_{what}`: the CHILD_SA ends before it can be rekeyed"
        );
        let key = if hard.is_some() { format!("life_{what}") } else { format!("rekey_{what}") };
        let span = fields.section.value(&key).and_then(|value| value.span());
        fields.diagnostics.push(Diagnostic::warning(span, message));
    }
    let rand_value = rand.unwrap_or_else(|| hard_value.saturating_sub(soft_value));
    if soft_value > 0 && rand.is_some() && rand_value >= soft_value {
        let message = format!(
            "`rand_{what}` is not smaller than `rekey_{what}`: the CHILD_SA could be rekeyed at once"
        );
        let span = fields.section.value(&format!("rand_{what}")).and_then(|value| value.span());
        fields.diagnostics.push(Diagnostic::warning(span, message));
    }
    (soft_value, hard_value, rand_value)
}

fn selectors(fields: &mut Fields<'_>, key: &str) -> Vec<SelectorSpec> {
    let parse = |item: &str| {
        item.parse::<SelectorSpec>()
            .map_err(|error| format!("`{}` in `{key}` is no traffic selector: {error}", shown(item)))
    };
    let given = fields.parsed_list(key, parse);
    match given {
        Some(list) if !list.is_empty() => list,
        Some(_) => {
            let value = fields.section.value(key);
            if value.is_some_and(|value| value.items().is_empty()) {
                let message = format!("`{key}` is empty: the child would have no traffic");
                fields.complain(key, value.and_then(|value| value.span()), message);
            }
            dynamic()
        }
        None => dynamic(),
    }
}

fn dynamic() -> Vec<SelectorSpec> {
    vec![SelectorSpec::Dynamic { protocol: 0, start_port: 0, end_port: u16::MAX }]
}

/// `none|clear`, `trap|route|hold`, `start|restart`; where `both` is true also `trap|start`.
fn action(fields: &mut Fields<'_>, key: &str, both: bool) -> Action {
    let Some(value) = fields.section.value(key) else { return Action::NONE };
    let text = value.as_str().unwrap_or("");
    let mut out = Action::NONE;
    let parts: Vec<&str> = text.split('|').map(str::trim).collect();
    let known = parts.iter().all(|part| match part.to_ascii_lowercase().as_str() {
        "none" | "clear" => parts.len() == 1,
        "trap" | "route" | "hold" => {
            out.trap = true;
            true
        }
        "start" | "restart" => {
            out.start = true;
            true
        }
        _ => false,
    });
    if known && (both || parts.len() == 1) {
        return out;
    }
    let expected = if both { "none, trap, start or trap|start" } else { "clear, trap or restart" };
    let message = format!("`{}` is no value for `{key}`: expected {expected}", shown(text));
    fields.complain(key, value.span(), message);
    Action::NONE
}
