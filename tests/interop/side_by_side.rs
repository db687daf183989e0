//! What the kernel holds of IPsec for one configuration, by charon and by us: the same but for what is listed here with its
//! reason.

use std::collections::BTreeMap;

use adit_testbed::net::Namespace;
use adit_testbed::{Auth, NODE6, Roles, Scenario, World};

use crate::carry;

/// Both ends' SAs and policies, made comparable.
#[derive(Debug, PartialEq, Eq)]
struct Entries {
    states: Vec<String>,
    policies: Vec<String>,
}

fn site_to_site() -> Scenario {
    let mut scenario = Scenario::new(Auth::Psk);
    scenario.rw.conn.remove("vips");
    scenario.gw.conn.remove("pools");
    scenario.rw.child().set("local_ts", "10.1.0.0/24");
    scenario.gw.child().set("remote_ts", "10.1.0.0/24");
    scenario
}

fn ports_and_priority() -> Scenario {
    let mut scenario = site_to_site();
    scenario.rw.child().set("remote_ts", "10.2.0.0/24[tcp/80],10.2.1.0/24[udp]").set("priority", "4711");
    scenario.gw.child().set("local_ts", "10.2.0.0/24[tcp/80],10.2.1.0/24[udp]").set("replay_window", "256");
    scenario
}

fn marks() -> Scenario {
    let mut scenario = site_to_site();
    scenario
        .gw
        .child()
        .set("mark_in", "42")
        .set("mark_out", "43/0xff")
        .set("set_mark_in", "7")
        .set("if_id_in", "5")
        .set("if_id_out", "6")
        .set("policies_fwd_out", "yes");
    scenario
}

fn both_families() -> Scenario {
    let mut scenario = site_to_site();
    scenario
        .rw
        .child()
        .set("local_ts", "10.1.0.0/24,fd00:1::/64")
        .set("remote_ts", "10.2.0.0/24,fd00:2::/64");
    scenario
        .gw
        .child()
        .set("local_ts", "10.2.0.0/24,fd00:2::/64")
        .set("remote_ts", "10.1.0.0/24,fd00:1::/64");
    for end in [&mut scenario.rw, &mut scenario.gw] {
        end.child()
            .set("esp_proposals", "aes128-sha256-esn")
            .set("copy_df", "no")
            .set("copy_ecn", "no")
            .set("copy_dscp", "yes");
    }
    scenario
}

#[test]
#[ignore = "needs the kernel of cargo xtask kernel"]
fn the_kernel_holds_what_it_holds_for_charon() {
    crate::run(module_path!(), "the_kernel_holds_what_it_holds_for_charon", Roles::REFERENCE, |_| {
        let cases = [
            ("road-warrior", Scenario::new(Auth::Psk)),
            ("transport", carry::host_to_host("transport", "transport")),
            ("ports and priority", ports_and_priority()),
            ("both families", both_families()),
            ("marks", marks()),
        ];
        let mut differing = Vec::new();
        for (name, scenario) in cases {
            let charon = held(Roles::REFERENCE, &scenario);
            let ours = held(Roles::BOTH_OURS, &scenario);
            for ((end, theirs), ours) in ["gateway", "road-warrior"].into_iter().zip(charon).zip(ours) {
                if theirs != ours {
                    differing.push(format!("{name}, {end}:\n{}", difference(&theirs, &ours)));
                }
            }
        }
        assert!(differing.is_empty(), "{}", differing.join("\n\n"));
    });
}

/// What only one of them has.
fn difference(theirs: &Entries, ours: &Entries) -> String {
    let all = |entries: &Entries| entries.states.iter().chain(&entries.policies).cloned().collect::<Vec<_>>();
    let (theirs, ours) = (all(theirs), all(ours));
    let only = |mine: &[String], other: &[String]| -> String {
        mine.iter().filter(|block| !other.contains(block)).map(String::as_str).collect()
    };
    format!("charon has\n{}we have\n{}", only(&theirs, &ours), only(&ours, &theirs))
}

/// What the gateway's and the road-warrior's kernel hold with the tunnel up.
fn held(roles: Roles, scenario: &Scenario) -> [Entries; 2] {
    let mut scenario = scenario.clone();
    for end in [&mut scenario.gw, &mut scenario.rw] {
        end.adit += "  dataplane = kernel\n";
    }
    let world = World::start(roles, &scenario);
    world
        .net
        .rw
        .sh(&format!("ip -6 address add fd00:1::1/64 dev wan nodad; ip -6 route add {NODE6} dev wan"));
    world.rw.initiate(&world.name, "net", 60).unwrap_or_else(|e| panic!("{e}"));
    let entries = [&world.net.gw, &world.net.rw].map(entries);
    assert!(world.rw.terminate(&world.name).success);
    entries
}

fn entries(namespace: &Namespace) -> Entries {
    let numbers = &mut BTreeMap::new();
    let states = blocks(&namespace.sh("ip -d xfrm state"), state_line);
    let policies = blocks(&namespace.sh("ip -d xfrm policy"), policy_line);
    let renumbered = |blocks: Vec<String>, numbers: &mut BTreeMap<String, usize>| {
        let mut blocks: Vec<_> = blocks.into_iter().map(|block| renumber(&block, numbers)).collect();
        blocks.sort();
        blocks
    };
    Entries { states: renumbered(states, numbers), policies: renumbered(policies, numbers) }
}

/// Entries begin with a line that is not indented.
fn blocks(listing: &str, line: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for text in listing.lines() {
        if !text.starts_with(char::is_whitespace) {
            found.push(String::new());
        }
        if let (Some(block), Some(text)) = (found.last_mut(), line(text)) {
            *block += &format!("{text}\n");
        }
    }
    // A socket's own policies say nothing but that it has some; charon has more sockets.
    found.retain(|block| !block.contains("socket in") && !block.contains("socket out"));
    found
}

/// What of an SA is no accident.
fn state_line(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        // What has gone through so far, and the bits of the window.
        ["anti-replay", ..] | ["seq-hi", ..] | ["bitmap-length", ..] | ["lastused", ..] => None,
        [word] if word.len() == 8 && u32::from_str_radix(word, 16).is_ok() => None,
        ["aead" | "auth-trunc" | "auth" | "enc", name, _key, rest @ ..] => {
            Some(format!("\t{} {name} KEY {}", words[0], rest.join(" ")))
        }
        // The NAT's choice.
        ["encap", ..] => Some(masked(&masked(line, "sport"), "dport")),
        _ => Some(masked(line, "spi")),
    }
}

/// charon names the SPI in the template of what it sends, and has to change the policy when it rekeys; we name the reqid.
fn policy_line(line: &str) -> Option<String> {
    let line = masked(line, "spi");
    // The index tells our policies from others'; nobody else chooses it.
    Some(masked(&line, "index"))
}

/// The line without the value that follows a word.
fn masked(line: &str, word: &str) -> String {
    let mut words: Vec<&str> = line.split(' ').collect();
    if let Some(at) = words.iter().position(|it| it.trim() == word) {
        words.drain(at..(at + 2).min(words.len()));
    }
    words.join(" ").trim_end().to_owned()
}

/// Reqids in the order in which they appear, for both listings.
fn renumber(block: &str, numbers: &mut BTreeMap<String, usize>) -> String {
    let mut words: Vec<String> = block.split(' ').map(str::to_owned).collect();
    for at in 1..words.len() {
        if words[at - 1].trim() != "reqid" {
            continue;
        }
        let (number, rest) = words[at].split_once('(').unwrap_or((&words[at], ""));
        let fresh = numbers.len() + 1;
        let new = *numbers.entry(number.to_owned()).or_insert(fresh);
        let tail = rest.split_once(')').map_or("", |(_, tail)| tail);
        words[at] = format!("{new}{tail}");
    }
    words.join(" ")
}
