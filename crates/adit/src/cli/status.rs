//! `adit status`.

use std::time::{SystemTime, UNIX_EPOCH};

use adit_vici::{Element, Message};
use serde_json::{Map, Value, json};

use super::show::{self, Table, Tone};
use super::{Outcome, daemon};

pub(super) fn run(uri: Option<&str>, json: bool) -> Outcome {
    let mut client = daemon::ask(uri)?;
    let mut connections: Vec<(String, Message)> = Vec::new();
    let answer = client.stream("adit-status", "adit-status", &Message::new(), |event| {
        connections.extend(event.sections().map(|(name, fields)| (name.to_owned(), fields.clone())));
    })?;
    let empty = Message::new();
    let strangers = answer.get_section("strangers").unwrap_or(&empty);
    let firewall = answer.get_section("firewall");
    if json {
        let mut value = as_json(&connections, strangers);
        if let (Some(object), Some(firewall)) = (value.as_object_mut(), firewall) {
            object.insert("firewall".into(), Value::Object(tree(firewall)));
        }
        show::print(&format!("{value:#}\n"));
    } else {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        show::print(&as_text(&connections, strangers, now, show::colours()));
        show::print(&firewall.map(firewall_text).unwrap_or_default());
    }
    Ok(())
}

fn as_text(connections: &[(String, Message)], strangers: &Message, now: u64, colours: bool) -> String {
    if connections.is_empty() && strangers.is_empty() {
        return "no connections are loaded; `adit check` tells whether swanctl.conf has any\n".to_owned();
    }
    let mut table =
        Table::with_head(&["CONNECTION", "CHILD", "STATE", "PEER, SELECTORS", "SINCE", "IN", "OUT"]);
    let mut why = String::new();
    for (name, fields) in connections {
        connection_rows(&mut table, name, fields);
        let mut tell = |what: &str, fields: &Message| {
            if let Some(failure) = fields.get_section("failure") {
                why.push_str(&reason(what, failure, now));
            }
        };
        tell(name, fields);
        for (child, fields) in fields.get_section("children").into_iter().flat_map(Message::sections) {
            tell(&format!("{name}/{child}"), fields);
        }
    }
    for (_, failure) in strangers.sections() {
        why.push_str(&reason("no connection matched", failure, now));
    }
    let mut text = if connections.is_empty() { String::new() } else { table.render(2, colours) };
    if !why.is_empty() {
        text.push('\n');
        text.push_str(&why);
    }
    text
}

fn connection_rows(table: &mut Table, name: &str, fields: &Message) {
    let get = |m: &Message, key: &str| m.get_str(key).unwrap_or_default().to_owned();
    let peers: Vec<&Message> = fields.sections().filter(|(n, _)| *n == "peer").map(|(_, m)| m).collect();
    let count: usize = fields.get_number("ike-sas").unwrap_or(0);
    let since = |m: &Message| m.get_number("established").map_or(String::new(), show::roughly);
    let who = |m: &Message| {
        let vips = m.get_strings("vips").join(" ");
        let vips = if vips.is_empty() { vips } else { format!(" [{vips}]") };
        format!("{} {}{vips}", get(m, "remote-host"), get(m, "remote-id"))
    };
    let peer = match (count, peers.as_slice()) {
        (0 | 1, [one]) => who(one),
        (0, _) => String::new(),
        (n, _) => format!("{n} peers"),
    };
    let alone = if let (0 | 1, [one]) = (count, peers.as_slice()) { since(one) } else { String::new() };
    let state = get(fields, "state");
    let tone = tone(&state);
    table.row(vec![name.to_owned(), String::new(), state, peer, alone], tone);
    for (child, fields) in fields.get_section("children").into_iter().flat_map(Message::sections) {
        let mut state = get(fields, "state");
        let tone = self::tone(&state);
        if let Some(seconds) = fields.get_number("next-retry") {
            state = format!("{state} in {}", show::roughly(seconds));
        }
        let sas: usize = fields.get_number("child-sas").unwrap_or(0);
        let volume = |key| match (sas, fields.get_number(key)) {
            (0, _) | (_, None) => String::new(),
            (_, Some(n)) => show::bytes(n),
        };
        let side = |key| fields.get_strings(key).join(" ");
        let between = if sas > 1 {
            format!("{sas} times")
        } else {
            format!("{} === {}", side("local-ts"), side("remote-ts"))
        };
        let cells = vec![
            String::new(),
            child.to_owned(),
            state,
            between,
            String::new(),
            volume("bytes-in"),
            volume("bytes-out"),
        ];
        table.row(cells, tone);
    }
    if count > 1 {
        for one in &peers {
            table.row(vec![String::new(), String::new(), String::new(), who(one), since(one)], Tone::Plain);
        }
        if count > peers.len() {
            let rest = format!("… and {} more (swanctl --list-sas)", count - peers.len());
            table.row(vec![String::new(), String::new(), String::new(), rest], Tone::Plain);
        }
    }
}

fn tone(state: &str) -> Tone {
    match state {
        "up" => Tone::Good,
        "down" => Tone::Bad,
        "connecting" | "retrying" => Tone::Pending,
        // a trap and a listener are as they should be, but nothing is up
        _ => Tone::Plain,
    }
}

fn reason(what: &str, failure: &Message, now: u64) -> String {
    let get = |key| show::plain(failure.get_str(key).unwrap_or_default());
    let mut circumstances: Vec<String> = Vec::new();
    if failure.has("peer") {
        circumstances.push(format!("peer {}", get("peer")));
    }
    if let Some(when) = failure.get_number::<u64>("when") {
        circumstances.push(format!("{} ago", show::roughly(now.saturating_sub(when))));
    }
    let mut text = format!("{}: {} ({})\n", show::plain(what), get("sentence"), circumstances.join(", "));
    if !get("cure").is_empty() {
        text.push_str(&format!("  cure: {}\n", get("cure")));
    }
    text
}

/// The firewall: where it is, what it has dropped, and what is wrong with it or around it.
fn firewall_text(firewall: &Message) -> String {
    let get = |m: &Message, key: &str| show::plain(m.get_str(key).unwrap_or_default());
    let mut text = format!("\nfirewall: {} {}", get(firewall, "mode"), get(firewall, "place"));
    let count = firewall.get_section("spoofed").and_then(|it| it.get_number::<u64>("packets"));
    if let Some(packets) = count {
        text.push_str(&format!(", {packets} packets dropped that only pretended to come out of a tunnel"));
    }
    match firewall.get_number::<u64>("restored") {
        None | Some(0) => {}
        Some(1) => text.push_str(", put back once"),
        Some(times) => text.push_str(&format!(", put back {times} times")),
    }
    text.push('\n');
    if firewall.has("problem") {
        text.push_str(&format!("firewall: {}\n", get(firewall, "problem")));
    }
    for (_, remark) in firewall.get_section("remarks").into_iter().flat_map(Message::sections) {
        text.push_str(&format!("firewall: {}\n  cure: {}\n", get(remark, "sentence"), get(remark, "cure")));
    }
    text
}

fn as_json(connections: &[(String, Message)], strangers: &Message) -> Value {
    let list = connections.iter().map(|(name, fields)| {
        let mut object = named(name, fields);
        let peers =
            fields.sections().filter(|(n, _)| *n == "peer").map(|(_, m)| Value::Object(tree(m))).collect();
        let children = fields.get_section("children").into_iter().flat_map(Message::sections);
        let children = children.map(|(name, fields)| Value::Object(named(name, fields))).collect();
        object.remove("peer");
        object.insert("peers".into(), Value::Array(peers));
        object.insert("children".into(), Value::Array(children));
        Value::Object(object)
    });
    let strangers: Vec<Value> = strangers.sections().map(|(_, f)| Value::Object(tree(f))).collect();
    json!({ "connections": list.collect::<Vec<_>>(), "strangers": strangers })
}

fn named(name: &str, fields: &Message) -> Map<String, Value> {
    let mut object = Map::from_iter([("name".to_owned(), Value::from(name))]);
    object.extend(tree(fields));
    object
}

/// Keys that hold numbers.
const NUMBERS: [&str; 13] = [
    "ike-sas",
    "child-sas",
    "bytes-in",
    "bytes-out",
    "packets-in",
    "packets-out",
    "packets",
    "bytes",
    "restored",
    "uniqueid",
    "remote-port",
    "established",
    "when",
];

fn tree(message: &Message) -> Map<String, Value> {
    let mut object = Map::new();
    for element in message.elements() {
        let value = match element {
            Element::KeyValue(name, value) => {
                let text = String::from_utf8_lossy(value);
                let number = text.parse::<u64>().ok().filter(|_| NUMBERS.contains(&name.as_str()));
                number.map_or_else(|| Value::from(text.into_owned()), Value::from)
            }
            Element::List(_, items) => {
                items.iter().map(|i| String::from_utf8_lossy(i).into_owned()).collect()
            }
            Element::Section(_, section) => Value::Object(tree(section)),
        };
        object.insert(element.name().to_owned(), value);
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Message {
        Message::new()
            .text("when", 1000)
            .kv("peer", "192.0.2.1:500")
            .kv("sentence", "the peer does not answer")
            .kv("cure", "check that UDP 500 and 4500 reach it")
    }

    fn sample() -> Vec<(String, Message)> {
        let peer = Message::new()
            .text("uniqueid", 7)
            .kv("remote-host", "198.51.100.44")
            .kv("remote-id", "alice")
            .text("established", 312)
            .list("vips", ["10.3.0.5"]);
        let net = Message::new()
            .kv("state", "up")
            .text("child-sas", 1)
            .text("bytes-in", 18_432)
            .text("bytes-out", 912)
            .list("local-ts", ["10.2.0.0/24"])
            .list("remote-ts", ["10.3.0.5/32"]);
        let trap = Message::new()
            .kv("state", "trap")
            .text("child-sas", 0)
            .text("bytes-in", 0)
            .text("bytes-out", 0)
            .list("local-ts", ["dynamic"])
            .list("remote-ts", ["10.2.0.0/24", "10.4.0.0/24"]);
        vec![
            (
                "office".into(),
                Message::new()
                    .kv("state", "up")
                    .text("ike-sas", 1)
                    .section("peer", peer)
                    .section("children", Message::new().section("net", net)),
            ),
            (
                "site".into(),
                Message::new()
                    .kv("state", "down")
                    .kv("origin", "/etc/swanctl/swanctl.conf:3")
                    .text("ike-sas", 0)
                    .section("failure", failure())
                    .section("children", Message::new().section("net", trap)),
            ),
        ]
    }

    #[test]
    fn what_people_read() {
        let strangers = Message::new().section("0", failure());
        assert_eq!(
            as_text(&sample(), &strangers, 1300, false),
            "\
CONNECTION  CHILD  STATE  PEER, SELECTORS                      SINCE  IN        OUT
office             up     198.51.100.44 alice [10.3.0.5]       5m
            net    up     10.2.0.0/24 === 10.3.0.5/32                 18.0 KiB  912 B
site               down
            net    trap   dynamic === 10.2.0.0/24 10.4.0.0/24

site: the peer does not answer (peer 192.0.2.1:500, 5m ago)
  cure: check that UDP 500 and 4500 reach it
no connection matched: the peer does not answer (peer 192.0.2.1:500, 5m ago)
  cure: check that UDP 500 and 4500 reach it
"
        );
        assert!(as_text(&[], &Message::new(), 0, false).starts_with("no connections are loaded"));
    }

    #[test]
    fn what_people_read_of_the_firewall() {
        let spoofed = Message::new().text("packets", 3).text("bytes", 252);
        let firewall = Message::new().kv("mode", "table").kv("place", "inet adit").text("restored", 0);
        assert_eq!(
            firewall_text(&firewall.clone().section("spoofed", spoofed)),
            "\nfirewall: table inet adit, 3 packets dropped that only pretended to come out of a tunnel\n"
        );
        let remark = Message::new().kv("sentence", "it drops").kv("cure", "accept it");
        let bad =
            firewall.kv("problem", "nft refuses").section("remarks", Message::new().section("0", remark));
        assert_eq!(
            firewall_text(&bad),
            "\nfirewall: table inet adit\nfirewall: nft refuses\nfirewall: it drops\n  cure: accept it\n"
        );
    }

    #[test]
    fn what_programs_read() {
        let value = as_json(&sample(), &Message::new());
        assert_eq!(value["connections"][0]["name"], "office");
        assert_eq!(value["connections"][0]["peers"][0]["established"], 312);
        assert_eq!(value["connections"][0]["peers"][0]["vips"][0], "10.3.0.5");
        assert_eq!(value["connections"][0]["children"][0]["bytes-in"], 18_432);
        assert_eq!(value["connections"][1]["failure"]["sentence"], "the peer does not answer");
        assert_eq!(value["strangers"], json!([]));
    }
}
