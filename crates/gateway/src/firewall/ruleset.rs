//! What the ruleset says: our counters, and chains of others that stand in our way.

use std::collections::BTreeMap;

use serde_json::Value;

use super::nft;
use super::style::Inside;
use super::table::NAME;

/// Packets and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes of IP.
    pub bytes: u64,
}

/// Our counters by name.
pub(super) fn counters() -> Result<BTreeMap<String, Count>, String> {
    let text = nft::run(&["-j", "list", "counters", "table", "inet", NAME], "").result?;
    let count = |it: &Value| Count { packets: number(it, "packets"), bytes: number(it, "bytes") };
    Ok(objects(&text, "counter")?.iter().filter_map(|it| Some((field(it, "name")?, count(it)))).collect())
}

fn number(it: &Value, key: &str) -> u64 {
    it.get(key).and_then(Value::as_u64).unwrap_or(0)
}

fn field(it: &Value, key: &str) -> Option<String> {
    it.get(key).and_then(Value::as_str).map(str::to_owned)
}

/// The objects of one kind in what `nft -j` prints.
fn objects(text: &str, kind: &str) -> Result<Vec<Value>, String> {
    let value: Value = serde_json::from_str(text).map_err(|e| format!("nft's JSON cannot be read: {e}"))?;
    let all = value.get("nftables").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    Ok(all.iter().filter_map(|it| it.get(kind).cloned()).collect())
}

/// A base chain of somebody else that drops what no rule of its own accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocking {
    /// `inet filter forward`.
    pub chain: String,
    /// `input` or `forward`.
    pub hook: String,
}

/// Those of them that have no rule about tunnels, as far as their text tells.
///
/// # Errors
/// When the ruleset cannot be listed.
pub fn blocking(insides: &[Inside]) -> Result<Vec<Blocking>, String> {
    let text = nft::run(&["-j", "list", "chains"], "").result?;
    let mut found = dropping(&text)?;
    found.retain(|it| {
        let words: Vec<&str> = ["list", "chain"].into_iter().chain(it.chain.split(' ')).collect();
        // It may be gone by now.
        nft::run(&words, "").result.is_ok_and(|rules| !speaks_of_tunnels(&rules, insides))
    });
    Ok(found)
}

fn dropping(json: &str) -> Result<Vec<Blocking>, String> {
    let of = |it: &Value| {
        let (family, table, name) = (field(it, "family")?, field(it, "table")?, field(it, "name")?);
        let (hook, policy) = (field(it, "hook")?, field(it, "policy")?);
        let seen =
            matches!(hook.as_str(), "input" | "forward") && matches!(family.as_str(), "ip" | "ip6" | "inet");
        (seen && policy == "drop").then(|| Blocking { chain: format!("{family} {table} {name}"), hook })
    };
    Ok(objects(json, "chain")?.iter().filter_map(of).collect())
}

/// Has a chain a rule that tells what comes out of a tunnel from the rest? What it does with that is its owner's decision.
fn speaks_of_tunnels(rules: &str, insides: &[Inside]) -> bool {
    insides.iter().any(|inside| match inside {
        // `secpath` is printed as `ipsec`
        Inside::Kernel => ["meta ipsec ", "meta secpath ", "ipsec in "].iter().any(|it| rules.contains(it)),
        Inside::Device(name) => rules.contains(&format!("\"{name}\"")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_that_drop_by_policy() {
        let json = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}},
            {"chain": {"family": "inet", "table": "filter", "name": "forward", "handle": 2, "type": "filter",
                       "hook": "forward", "prio": 0, "policy": "drop"}},
            {"chain": {"family": "ip", "table": "filter", "name": "INPUT", "hook": "input", "policy": "accept"}},
            {"chain": {"family": "bridge", "table": "b", "name": "f", "hook": "forward", "policy": "drop"}},
            {"chain": {"family": "inet", "table": "filter", "name": "out", "hook": "output", "policy": "drop"}},
            {"chain": {"family": "inet", "table": "filter", "name": "helper"}}]}"#;
        let found: Vec<String> = dropping(json).unwrap().into_iter().map(|it| it.chain).collect();
        assert_eq!(found, ["inet filter forward"]);
        assert!(dropping("not json").is_err());
        assert_eq!(dropping("{}").unwrap(), []);
        let rule = "iifname \"eth0\" meta ipsec exists ip saddr 10.3.0.0/24 accept";
        assert!(speaks_of_tunnels(rule, &[Inside::Kernel]));
        assert!(!speaks_of_tunnels(rule, &[Inside::Device("adit0".into())]));
        assert!(speaks_of_tunnels(
            "iifname \"adit0\" accept",
            &[Inside::Kernel, Inside::Device("adit0".into())]
        ));
    }
}
