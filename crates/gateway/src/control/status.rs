//! `adit-status`: what is up, what is configured and down, and why.
//!
//! One `adit-status` event per connection, by name:
//!
//! ```text
//! <connection> {
//!   state = up | connecting | listening | down     listening: only peers initiate it
//!   origin = <file:line, or vici>                  absent if it is configured no longer
//!   ike-sas = <established ones>
//!   peer { uniqueid, state, remote-host, remote-port, remote-id, established, vips [ ] }    the first few
//!   failure { when, peer, sentence, cure }         the last one since it was up; absent if none
//!   children { <child> { state = up | connecting | retrying | trap | listening | down, next-retry (seconds), child-sas, bytes-in, bytes-out, local-ts, remote-ts, failure { … } } }
//! }
//! ```
//! The answer carries the failures of peers that matched no connection, `strangers { 0 { failure } … }`, and what
//! strangers did and how it was met, `admission { <counter> = <number> … }`; with one, `firewall { … }`.

use std::collections::BTreeMap;

use adit_conf::swanctl::Connection;
use adit_vici::{EventSink, Message};

use super::{Daemon, FailureNote, IkeSaSnapshot, PolicySnapshot, RetrySnapshot, SaFilter, each_sa};

/// Peers told of one by one; the others are counted.
const MAX_PEERS: usize = 8;

/// What runs under the name of a connection.
#[derive(Default)]
struct Running {
    established: usize,
    connecting: usize,
    peers: Vec<Message>,
    children: BTreeMap<String, RunningChild>,
}

#[derive(Default)]
struct RunningChild {
    up: usize,
    connecting: usize,
    bytes_in: u64,
    bytes_out: u64,
    /// Of the first that is up.
    local_ts: Vec<String>,
    remote_ts: Vec<String>,
}

pub(super) fn status(daemon: &dyn Daemon, _: &Message, stream: &mut dyn EventSink) -> Message {
    let mut running: BTreeMap<String, Running> = BTreeMap::new();
    each_sa(daemon, &SaFilter::default(), |sa| {
        running.entry(sa.name.to_string()).or_default().add(&sa);
        true
    });
    let mut configured: BTreeMap<String, Option<std::sync::Arc<Connection>>> =
        running.keys().map(|name| (name.clone(), None)).collect();
    for conn in daemon.connections() {
        configured.insert(conn.name.clone(), Some(conn));
    }
    let retries = daemon.retries();
    let traps = daemon.policies();
    for (name, conn) in configured {
        let running = running.remove(&name).unwrap_or_default();
        let fields = connection(daemon, &name, conn.as_deref(), &running, (&traps, &retries));
        if stream.event("adit-status", &Message::new().section(&name, fields)).is_err() {
            break;
        }
    }
    let strangers = daemon.strangers();
    let list =
        strangers.iter().enumerate().fold(Message::new(), |m, (i, f)| m.section(&i.to_string(), failure(f)));
    let admission = super::info::admission(&daemon.stats());
    let answer = Message::new().section("strangers", list).section("admission", admission);
    match daemon.firewall() {
        Some(firewall) => answer.section("firewall", super::firewall::section(&firewall)),
        None => answer,
    }
}

impl Running {
    fn add(&mut self, sa: &IkeSaSnapshot) {
        match sa.state {
            "ESTABLISHED" | "REKEYING" => self.established += 1,
            "CREATED" | "CONNECTING" => self.connecting += 1,
            // rekeyed and dying ones have a successor or none; neither is up
            _ => return,
        }
        if self.peers.len() < MAX_PEERS {
            let vips = sa.local_vips.iter().chain(&sa.remote_vips).map(ToString::to_string);
            self.peers.push(
                Message::new()
                    .text("uniqueid", sa.id)
                    .kv("state", sa.state)
                    .text("remote-host", sa.remote.ip())
                    .text("remote-port", sa.remote.port())
                    .kv("remote-id", sa.remote_eap_id.as_ref().unwrap_or(&sa.remote_id))
                    .opt("established", sa.established)
                    .list("vips", vips),
            );
        }
        for child in &sa.children {
            let entry = self.children.entry(child.name.to_string()).or_default();
            match child.state {
                "INSTALLED" | "REKEYING" | "UPDATING" => {
                    if entry.up == 0 {
                        entry.local_ts.clone_from(&child.local_ts);
                        entry.remote_ts.clone_from(&child.remote_ts);
                    }
                    entry.up += 1;
                }
                "CREATED" | "INSTALLING" | "RETRYING" => entry.connecting += 1,
                _ => {}
            }
            entry.bytes_in = entry.bytes_in.saturating_add(child.bytes_in);
            entry.bytes_out = entry.bytes_out.saturating_add(child.bytes_out);
        }
    }
}

fn connection(
    daemon: &dyn Daemon,
    name: &str,
    conn: Option<&Connection>,
    running: &Running,
    (traps, retries): (&[PolicySnapshot], &[RetrySnapshot]),
) -> Message {
    let responds = conn.is_some_and(only_responds);
    let state = match (running.established, running.connecting) {
        (0, 0) if responds => "listening",
        (0, 0) => "down",
        (0, _) => "connecting",
        _ => "up",
    };
    let mut m = Message::new()
        .kv("state", state)
        .opt("origin", conn.map(|c| &c.origin))
        .text("ike-sas", running.established);
    for peer in &running.peers {
        m.push_section("peer", peer.clone());
    }
    let note = daemon.last_failure(name, None).filter(|_| state != "up");
    if let Some(note) = &note {
        m.push_section("failure", failure(note));
    }
    let mut children = Message::new();
    for child in conn.map(|c| c.children.as_slice()).unwrap_or_default() {
        let none = RunningChild::default();
        let run = running.children.get(&child.name).unwrap_or(&none);
        let policy = traps.iter().find(|p| p.ike == name && p.child == child.name).map(|p| p.mode);
        let retry = retries.iter().find(|r| *r.ike == *name && *r.child == *child.name);
        let state = match (run.up, run.connecting) {
            (0, 0) if retry.is_some() => "retrying",
            (0, 0) if policy == Some("PASS") => "pass",
            (0, 0) if policy == Some("DROP") => "drop",
            (0, 0) if policy.is_some() => "trap",
            (0, 0) if child.shunt.is_some() => "down",
            (0, 0) if responds => "listening",
            (0, 0) => "down",
            (0, _) => "connecting",
            _ => "up",
        };
        let mut fields = Message::new()
            .kv("state", state)
            .opt("next-retry", retry.map(|r| r.next_in))
            .text("child-sas", run.up)
            .text("bytes-in", run.bytes_in)
            .text("bytes-out", run.bytes_out);
        // What was negotiated with one peer says nothing about the others.
        if run.up == 1 {
            fields.push_list("local-ts", &run.local_ts);
            fields.push_list("remote-ts", &run.remote_ts);
        } else {
            fields.push_list("local-ts", child.local_ts.iter().map(ToString::to_string));
            fields.push_list("remote-ts", child.remote_ts.iter().map(ToString::to_string));
        }
        // What the connection as a whole failed with is already told.
        let own = daemon
            .last_failure(name, Some(&child.name))
            .filter(|f| state != "up" && Some(f) != note.as_ref());
        if let Some(own) = own {
            fields.push_section("failure", failure(&own));
        }
        children.push_section(&child.name, fields);
    }
    m.section("children", children)
}

/// Can nobody but the peer initiate it? So it is as long as no single address of the peer is known.
fn only_responds(conn: &Connection) -> bool {
    conn.remote_addrs.iter().all(|a| a.starts_with("%any") || a.contains('/') || is_range(a))
}

/// A host name may have a hyphen in it, two addresses may not.
fn is_range(addrs: &str) -> bool {
    addrs.split_once('-').is_some_and(|(first, _)| first.trim().parse::<std::net::IpAddr>().is_ok())
}

fn failure(note: &FailureNote) -> Message {
    Message::new()
        .text("when", note.when)
        .opt("peer", note.peer)
        .kv("sentence", &note.sentence)
        .kv("cure", &note.cure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::{Fake, Heard};

    #[test]
    fn up_and_down_and_why() {
        let mut heard = Heard::default();
        let answer = status(&Fake::with_site(), &Message::new(), &mut heard);
        assert_eq!(
            heard.lines(),
            [
                "adit-status office {state=up ike-sas=1 peer {uniqueid=7 state=ESTABLISHED remote-host=198.51.100.44 \
                 remote-port=51022 remote-id=alice established=312 vips=[10.3.0.5]} children {}}",
                "adit-status site {state=down origin=vici ike-sas=0 failure {when=1795468178 peer=192.0.2.1:500 \
                 sentence=the peer does not answer cure=check that UDP 500 and 4500 reach it} children {net {state=trap \
                 child-sas=0 bytes-in=0 bytes-out=0 local-ts=[dynamic] remote-ts=[dynamic]}}}"
            ]
        );
        assert!(answer.to_string().starts_with("strangers {0 {when=1795468178 peer="), "{answer}");
        let firewall = "firewall {mode=table place=inet adit restored=0 remarks {0 {sentence=it drops cure=accept it}} \
             spoofed {packets=2 bytes=168} children {office {net {packets-in=5 bytes-in=420 packets-out=4 bytes-out=336}}}}";
        assert!(answer.to_string().ends_with(firewall), "{answer}");
    }

    #[test]
    fn ranges_are_no_host_names() {
        assert!(is_range("10.0.0.1-10.0.0.9"));
        assert!(!is_range("gw-1.example.net"));
    }
}
