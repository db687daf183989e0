//! `adit-firewall`, and the firewall's part of `adit-status`.
//!
//! ```text
//! firewall {
//!   mode = table | dropin
//!   place = <the table, or the file>
//!   restored = <how often somebody took the table away and it was put back>
//!   problem = <sentence>                           absent if all is well
//!   remarks { 0 { sentence, cure } … }             chains of others that drop what comes out of tunnels
//!   spoofed { packets, bytes }                     dropped: it only pretended to come out of a tunnel
//!   children { <connection> { <child> { packets-in, bytes-in, packets-out, bytes-out } … } … }
//! }
//! ```

use std::collections::BTreeMap;

use adit_vici::Message;

use super::Daemon;
use crate::firewall::{Count, FirewallSnapshot};

/// The file for the operator's ruleset.
pub(super) fn file(daemon: &dyn Daemon) -> Message {
    Message::success().kv("file", daemon.firewall_file())
}

/// The section of the status.
pub(super) fn section(firewall: &FirewallSnapshot) -> Message {
    let mut m = Message::new()
        .kv("mode", firewall.mode)
        .kv("place", &firewall.place)
        .text("restored", firewall.restored)
        .opt("problem", firewall.problem.as_ref());
    let remark = |m: Message, (i, (sentence, cure)): (usize, &(String, String))| {
        m.section(&i.to_string(), Message::new().kv("sentence", sentence).kv("cure", cure))
    };
    if !firewall.remarks.is_empty() {
        m.push_section("remarks", firewall.remarks.iter().enumerate().fold(Message::new(), remark));
    }
    if let Some(Count { packets, bytes }) = firewall.spoofed {
        m.push_section("spoofed", Message::new().text("packets", packets).text("bytes", bytes));
    }
    let mut connections: BTreeMap<&str, Message> = BTreeMap::new();
    for it in &firewall.children {
        let fields = Message::new()
            .text("packets-in", it.came_in.packets)
            .text("bytes-in", it.came_in.bytes)
            .text("packets-out", it.went_out.packets)
            .text("bytes-out", it.went_out.bytes);
        connections.entry(&it.conn).or_default().push_section(&it.child, fields);
    }
    let children =
        connections.into_iter().fold(Message::new(), |m, (conn, children)| m.section(conn, children));
    m.section("children", children)
}
