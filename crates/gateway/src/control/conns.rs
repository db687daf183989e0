//! `list-conns`, `get-conns`, `load-conn`, `unload-conn`.

use adit_conf::diag::Diagnostic;
use adit_conf::swanctl::{self, AuthMethod, AuthRound, Child, Connection, EapMethod, Unique};
use adit_conf::{Section, value};
use adit_ipsec::{Mode, Shunt};
use adit_vici::{Element, EventSink, Message};

use super::{CertFlag, Daemon};

pub(super) fn list(daemon: &dyn Daemon, message: &Message, stream: &mut dyn EventSink) -> Message {
    let wanted = message.get_str("ike");
    for conn in daemon.connections() {
        if wanted.is_some_and(|name| name != conn.name) {
            continue;
        }
        let event = Message::new().section(&conn.name, fields(daemon, &conn));
        if stream.event("list-conn", &event).is_err() {
            break;
        }
    }
    Message::new()
}

/// All connections, also those the daemon read from the file itself: a client that loads that file again finds what it
/// would have loaded, and unloads what is no longer in it.
pub(super) fn get(daemon: &dyn Daemon) -> Message {
    Message::new().list("conns", daemon.connections().iter().map(|c| c.name.as_str()))
}

pub(super) fn load(daemon: &dyn Daemon, message: &Message) -> Message {
    for (name, given) in message.sections() {
        let result = swanctl::connection(name, &section(given)).map_err(|all| {
            first_error(&all).map_or("parsing request failed".to_owned(), Diagnostic::vici_message)
        });
        if let Err(errmsg) = result.and_then(|conn| daemon.load_conn(conn)) {
            return Message::failure(errmsg);
        }
    }
    Message::success()
}

pub(super) fn unload(daemon: &dyn Daemon, message: &Message) -> Message {
    match message.get_str("name") {
        None => Message::failure("unload: missing connection name"),
        Some(name) if daemon.unload_conn(name) => Message::success(),
        Some(name) => Message::failure(format_args!("unload: connection '{name}' not found")),
    }
}

/// What a client sent, as if it had stood in a file.
pub(super) fn section(message: &Message) -> Section {
    let mut section = Section::new();
    for element in message.elements() {
        match element {
            // Certificates and keys arrive as they are.
            Element::KeyValue(name, value) if is_object(name) => {
                section.push_objects(name.as_str(), [value.as_slice()]);
            }
            Element::List(name, items) if is_object(name) => {
                section.push_objects(name.as_str(), items.iter().map(Vec::as_slice));
            }
            Element::KeyValue(name, value) => {
                section.push(name.as_str(), text(value));
            }
            Element::List(name, items) => {
                section.push_list(name.as_str(), items.iter().map(|i| text(i)));
            }
            // The codec bounds the depth.
            Element::Section(name, inner) => {
                section.push_section(name.as_str(), self::section(inner));
            }
        }
    }
    section
}

fn is_object(name: &str) -> bool {
    matches!(name, "certs" | "cacerts" | "pubkeys")
}

fn text(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => value::object_to_inline(value),
    }
}

/// The complaint to answer with: clients have room for one.
pub(super) fn first_error(all: &[Diagnostic]) -> Option<&Diagnostic> {
    all.iter().find(|d| d.is_error()).or_else(|| all.first())
}

fn fields(daemon: &dyn Daemon, conn: &Connection) -> Message {
    let mut m = Message::new()
        .list("local_addrs", &conn.local_addrs)
        .list("remote_addrs", &conn.remote_addrs)
        .text("local_port", conn.local_port)
        .text("remote_port", conn.remote_port)
        .kv("version", if conn.version == 0 { "IKEv1/2" } else { "IKEv2" })
        .text("reauth_time", conn.reauth_time.as_secs())
        .text("rekey_time", conn.rekey_time.as_secs())
        .kv(
            "unique",
            match conn.unique {
                Unique::Never => "UNIQUE_NEVER",
                Unique::No => "UNIQUE_NO",
                Unique::Keep => "UNIQUE_KEEP",
                Unique::Replace => "UNIQUE_REPLACE",
            },
        )
        .opt("dpd_delay", Some(conn.dpd_delay.as_secs()).filter(|s| *s != 0));
    for (side, rounds) in [("local", &conn.local), ("remote", &conn.remote)] {
        for (i, round) in rounds.iter().enumerate() {
            m.push_section(&format!("{side}-{}", i + 1), round_fields(daemon, round, side == "local"));
        }
    }
    let children =
        conn.children.iter().fold(Message::new(), |m, child| m.section(&child.name, child_fields(child)));
    m.section("children", children)
}

fn round_fields(daemon: &dyn Daemon, round: &AuthRound, local: bool) -> Message {
    let subjects = |flag, references: &[String]| -> Vec<String> {
        references.iter().flat_map(|r| daemon.subjects(flag, r)).collect()
    };
    let certs = subjects(CertFlag::None, &round.certs);
    // Without an identity of its own a local round takes the certificate's subject.
    let id = round.id.as_ref().map(ToString::to_string).or_else(|| certs.first().filter(|_| local).cloned());
    let m = Message::new().opt("id", id).opt("eap_id", round.eap_id.as_ref());
    let m = match &round.auth {
        AuthMethod::Psk => m.kv("class", "pre-shared key"),
        AuthMethod::Pubkey(_) => m.kv("class", "public key"),
        AuthMethod::Eap(method) => m
            .opt(
                "eap-type",
                method.map(|method| match method {
                    EapMethod::MsChapV2 => "EAP_MSCHAPV2",
                }),
            )
            .kv("class", "EAP"),
    };
    m.list("groups", [""; 0])
        .list("cert_policy", [""; 0])
        .list("certs", certs)
        .list("cacerts", subjects(CertFlag::Ca, &round.cacerts))
}

fn child_fields(child: &Child) -> Message {
    Message::new()
        .kv(
            "mode",
            match (child.shunt, child.mode) {
                (Some(Shunt::Pass), _) => "PASS",
                (Some(Shunt::Drop), _) => "DROP",
                (None, Mode::Tunnel) => "TUNNEL",
                (None, Mode::Transport) => "TRANSPORT",
            },
        )
        .text("rekey_time", child.rekey_time.as_secs())
        .text("rekey_bytes", child.rekey_bytes)
        .text("rekey_packets", child.rekey_packets)
        .text("dpd_action", child.dpd_action)
        .text("close_action", child.close_action)
        .list("local-ts", child.local_ts.iter().map(ToString::to_string))
        .list("remote-ts", child.remote_ts.iter().map(ToString::to_string))
        .opt("interface", child.options.interface.as_deref())
        .opt("priority", Some(child.options.priority).filter(|p| *p != 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::{Fake, Heard};

    fn site() -> Message {
        Message::new()
            .list("local_addrs", ["10.0.0.1"])
            .list("remote_addrs", ["192.0.2.1"])
            .kv("version", "2")
            .list("vips", ["0.0.0.0"])
            .section("local-1", Message::new().kv("auth", "psk").kv("id", "rw"))
            .section("remote-1", Message::new().kv("auth", "psk").kv("id", "gw"))
            .section(
                "children",
                Message::new().section("net", Message::new().list("remote_ts", ["10.2.0.0/24"])),
            )
    }

    #[test]
    fn what_is_loaded_is_listed_as_charon_lists_it() {
        let fake = Fake::default();
        assert_eq!(load(&fake, &Message::new().section("psk", site())).to_string(), "success=yes");
        assert_eq!(get(&fake).to_string(), "conns=[psk]");
        let mut heard = Heard::default();
        list(&fake, &Message::new(), &mut heard);
        assert_eq!(
            heard.lines(),
            [
                "list-conn psk {local_addrs=[10.0.0.1] remote_addrs=[192.0.2.1] local_port=500 remote_port=500 \
              version=IKEv2 reauth_time=0 rekey_time=14400 unique=UNIQUE_NO local-1 {id=rw class=pre-shared key \
              groups=[] cert_policy=[] certs=[] cacerts=[]} remote-1 {id=gw class=pre-shared key groups=[] \
              cert_policy=[] certs=[] cacerts=[]} children {net {mode=TUNNEL rekey_time=3600 rekey_bytes=0 \
              rekey_packets=0 dpd_action=none close_action=none local-ts=[dynamic] remote-ts=[10.2.0.0/24]}}}"
            ]
        );
        let mut heard = Heard::default();
        list(&fake, &Message::new().kv("ike", "x"), &mut heard);
        assert!(heard.lines().is_empty());
    }

    #[test]
    fn priority_and_interface_of_a_child_are_listed_where_there_are_some() {
        let fake = Fake::default();
        let child =
            Message::new().kv("priority", "1000").kv("interface", "eth0").kv("mark_in", "%unique/0xff");
        let auth = || Message::new().kv("auth", "psk");
        let conn = Message::new().section("local", auth()).section("remote", auth());
        let conn = conn.section("children", Message::new().section("web", child));
        assert_eq!(load(&fake, &Message::new().section("psk", conn)).to_string(), "success=yes");
        let mut heard = Heard::default();
        list(&fake, &Message::new(), &mut heard);
        assert!(
            heard.lines()[0].ends_with("remote-ts=[dynamic] interface=eth0 priority=1000}}}"),
            "{:?}",
            heard.lines()
        );
    }

    #[test]
    fn refusals_read_as_clients_know_them() {
        let fake = Fake::default();
        let load = |conn: Message| load(&fake, &Message::new().section("a", conn)).to_string();
        let starts = |text: String, with: &str| {
            assert!(text.starts_with(&format!("success=no errmsg={with}")), "{text}")
        };
        starts(load(site().kv("bogus", "1")), "unknown option: bogus, config discarded");
        starts(load(site().kv("rekey_time", "xx")), "invalid value for: rekey_time, config discarded");
        starts(load(site().section("weird", Message::new())), "invalid section: weird");
        starts(unload(&fake, &Message::new()).to_string(), "unload: missing connection name");
        starts(
            unload(&fake, &Message::new().kv("name", "zz")).to_string(),
            "unload: connection 'zz' not found",
        );
    }

    #[test]
    fn blobs_become_objects() {
        let s = section(
            &Message::new().list("certs", [&[0x30u8, 0x82, 0xff][..], b"-----BEGIN"]).kv("id", [0xffu8]),
        );
        assert_eq!(s.value("certs").unwrap().items(), ["0x3082ff", "0x2d2d2d2d2d424547494e"]);
        assert_eq!(s.get("id"), Some("0xff"));
    }
}
