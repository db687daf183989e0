//! `adit.dropin`.

use super::types::{ChainFamily, ChainName, DropinConf};
use super::{absolute, check_own};
use crate::diag::Diagnostic;
use crate::swanctl::fields::{Fields, shown};
use crate::tree::Section;
use crate::value;

const KEYS: [&str; 5] = ["file", "input", "forward", "postrouting", "services"];

pub(super) fn dropin(section: &Section, diagnostics: &mut Vec<Diagnostic>) -> DropinConf {
    check_own("adit.dropin", section, &KEYS, &[], diagnostics);
    let mut fields = Fields::new(section, diagnostics);
    let default = DropinConf::default();
    let mut chain = |key: &str, default: Option<ChainName>| {
        let expected = "a chain such as `inet filter forward`, or none";
        fields.parsed(key, expected, chain).unwrap_or(default)
    };
    DropinConf {
        input: chain("input", default.input),
        forward: chain("forward", default.forward),
        postrouting: chain("postrouting", default.postrouting),
        file: absolute(&mut fields, "file").unwrap_or(default.file),
        services: fields.parsed_list("services", service).unwrap_or_default(),
    }
}

/// The outer `None` is no chain, the inner one none at all.
fn chain(text: &str) -> Option<Option<ChainName>> {
    // What stands here is written into a ruleset: no more than these letters.
    let name = |text: &str| {
        let first = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let all = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        (first && all && text.len() <= 100).then(|| text.to_owned())
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let (family, table, chain) = match *words.as_slice() {
        ["none"] => return Some(None),
        [family, table, chain] => (family, table, chain),
        _ => return None,
    };
    let family = match family {
        "ip" => ChainFamily::Ip,
        "ip6" => ChainFamily::Ip6,
        "inet" => ChainFamily::Inet,
        _ => return None,
    };
    Some(Some(ChainName { family, table: name(table)?, chain: name(chain)? }))
}

fn service(text: &str) -> Result<(u16, u16), String> {
    let port =
        |text: &str| value::decimal(text.trim()).and_then(|n| u16::try_from(n).ok()).filter(|port| *port > 0);
    let range = match text.split_once('-') {
        Some((first, last)) => port(first).zip(port(last)).filter(|(first, last)| first <= last),
        None => port(text).map(|port| (port, port)),
    };
    range.ok_or_else(|| {
        format!(
            "`{}` is no service: expected TCP ports and ranges of them such as 8888, 9100-9110",
            shown(text)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_and_services() {
        let named = |text| chain(text).flatten().map(|c| (c.family, c.table, c.chain));
        assert_eq!(
            named(" inet  filter my-forward "),
            Some((ChainFamily::Inet, "filter".into(), "my-forward".into()))
        );
        assert_eq!(chain("none"), Some(None));
        for bad in [
            "filter forward",
            "inet filter",
            "inet filter forward;",
            "inet filter { x",
            "bridge a b",
            "inet 1 b",
        ] {
            assert_eq!(chain(bad), None, "{bad}");
        }
        assert_eq!(service("8888"), Ok((8888, 8888)));
        assert_eq!(service("9100 - 9110"), Ok((9100, 9110)));
        for bad in ["0", "9-8", "70000", "a", "", "1-2-3"] {
            assert!(service(bad).is_err(), "{bad}");
        }
    }
}
