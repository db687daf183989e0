//! What is told unasked: `log`, `ike-updown`, `child-updown` and their kin.
//!
//! The daemon's threads call [`Events`] where something happens; nothing there waits, and nothing is built while nobody
//! listens.

use adit_vici::{Broadcaster, Message};

use super::sas::{child_fields, child_section, ike_fields};
use super::{ChildSaSnapshot, IkeSaSnapshot, LogLine};

/// Every event a client may register for.
pub(super) const NAMES: [&str; 15] = [
    "list-sa",
    "list-policy",
    "list-conn",
    "list-cert",
    "list-authority",
    "control-log",
    "log",
    "ike-updown",
    "ike-rekey",
    "ike-update",
    "child-updown",
    "child-rekey",
    "alert",
    "adit-plan",
    "adit-status",
];

/// Sends events to the clients that registered for them. Cheap to clone.
#[derive(Clone, Default)]
pub struct Events {
    broadcaster: Broadcaster,
}

impl Events {
    pub(super) fn new(broadcaster: Broadcaster) -> Self {
        Self { broadcaster }
    }

    /// Does anybody listen to this event? Saves making a snapshot for nobody.
    pub fn wanted(&self, event: &str) -> bool {
        self.broadcaster.listens(event)
    }

    /// A line of the log, of level 0 or 1.
    pub fn log(&self, line: &LogLine) {
        if (0..=1).contains(&line.level) {
            self.send("log", || log_line(line));
        }
    }

    /// An IKE_SA is up or down.
    pub fn ike_updown(&self, up: bool, sa: &IkeSaSnapshot) {
        self.send("ike-updown", || Message::new().flag("up", up).section(&sa.name, ike_fields(sa)));
    }

    /// An IKE_SA was replaced by rekeying or reauthentication.
    pub fn ike_rekey(&self, old: &IkeSaSnapshot, new: &IkeSaSnapshot) {
        self.send("ike-rekey", || {
            let both = Message::new().section("old", ike_fields(old)).section("new", ike_fields(new));
            Message::new().section(&new.name, both)
        });
    }

    /// The endpoints of an IKE_SA changed: `old` is it before, `new` after.
    pub fn ike_update(&self, old: &IkeSaSnapshot, new: &IkeSaSnapshot) {
        self.send("ike-update", || {
            Message::new()
                .text("local-host", new.local.ip())
                .text("local-port", new.local.port())
                .text("remote-host", new.remote.ip())
                .text("remote-port", new.remote.port())
                .section(&old.name, ike_fields(old))
        });
    }

    /// A CHILD_SA is up or down.
    pub fn child_updown(&self, up: bool, sa: &IkeSaSnapshot, child: &ChildSaSnapshot) {
        self.send("child-updown", || {
            let children = Message::new().section(&child_section(child), child_fields(child));
            Message::new().flag("up", up).section(&sa.name, ike_fields(sa).section("child-sas", children))
        });
    }

    /// A CHILD_SA was replaced by rekeying.
    pub fn child_rekey(&self, sa: &IkeSaSnapshot, old: &ChildSaSnapshot, new: &ChildSaSnapshot) {
        self.send("child-rekey", || {
            let both = Message::new().section("old", child_fields(old)).section("new", child_fields(new));
            let children = Message::new().section(&old.name, both);
            Message::new().section(&sa.name, ike_fields(sa).section("child-sas", children))
        });
    }

    /// Something an operator should know: an alert type of strongSwan's, with our reason behind it.
    pub fn alert(&self, kind: &str, reason: &str, sa: Option<&IkeSaSnapshot>) {
        self.send("alert", || {
            let m = Message::new().kv("type", kind);
            let m = match sa {
                Some(sa) => m.section("ike-sa", Message::new().section(&sa.name, ike_fields(sa))),
                None => m,
            };
            m.kv("reason", reason)
        });
    }

    fn send(&self, event: &str, message: impl FnOnce() -> Message) {
        if self.wanted(event) {
            self.broadcaster.broadcast(event, &message());
        }
    }
}

fn log_line(line: &LogLine) -> Message {
    let m = Message::new().kv("group", line.group).text("level", line.level).text("thread", line.thread);
    sa_and_text(m, line)
}

/// A line as `control-log` carries it.
pub(super) fn control_line(line: &LogLine) -> Message {
    sa_and_text(Message::new().kv("group", line.group).text("level", line.level), line)
}

fn sa_and_text(mut m: Message, line: &LogLine) -> Message {
    if let Some((name, id)) = &line.sa {
        m.push_kv("ikesa-name", &**name);
        m.push_text("ikesa-uniqueid", id);
    }
    // A value has room for 64 KiB; a line is far shorter.
    m.kv("msg", line.text.chars().take(8192).collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use adit_vici::{Client, Server};

    use crate::control::testing::Fake;
    use crate::control::{Control, LogLine};

    #[test]
    fn listeners_hear_what_happens() {
        let folder = crate::control::testing::folder("events");
        let path = folder.join("vici");
        let (events, broadcaster) = Control::events();
        assert!(!events.wanted("log"));
        let control = Arc::new(Control::new(Arc::new(Fake::default())));
        let _server = Server::bind_with(&path, control, broadcaster).unwrap();
        let mut client = Client::connect(&path).unwrap();
        client.set_timeout(Some(Duration::from_secs(10))).unwrap();
        for event in ["log", "ike-updown", "child-updown", "child-rekey"] {
            client.register(event).unwrap();
        }
        assert!(events.wanted("log") && !events.wanted("alert"));
        let sa = Fake::sa();
        let line = LogLine {
            group: "IKE",
            level: 1,
            thread: 3,
            sa: Some(("office".into(), 7)),
            text: "hello".into(),
        };
        events.log(&LogLine { level: 2, ..line.clone() });
        events.log(&line);
        events.ike_updown(true, &sa);
        events.child_updown(false, &sa, &sa.children[0]);
        events.child_rekey(&sa, &sa.children[0], &sa.children[0]);
        events.alert("shutdown-signal", "", None);
        let mut next = || {
            let (name, message) = client.next_event().unwrap();
            format!("{name} {message}")
        };
        assert_eq!(next(), "log group=IKE level=1 thread=3 ikesa-name=office ikesa-uniqueid=7 msg=hello");
        assert!(next().starts_with("ike-updown up=yes office {uniqueid=7 version=2 "));
        let down = next();
        assert!(down.starts_with("child-updown office {uniqueid=7 "), "{down}");
        assert!(down.contains(" child-sas {net-1-12 {name=net-1 "), "{down}");
        assert!(next().contains(" child-sas {net-1 {old {name=net-1 "));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
