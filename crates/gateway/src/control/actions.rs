//! Orders: `initiate`, `terminate`, `rekey`, `redirect`, `install`, `uninstall`.

use std::time::Duration;

use adit_ipsec::{Identity, MatchQuality};
use adit_vici::{EventSink, Message};

use crate::map;

use super::{Daemon, InitiateError, LogLine, SaFilter, Target, Wait, each_sa, events};

/// How the client wants to wait, and how it said so.
fn wait(message: &Message) -> (Wait, i64) {
    let milliseconds: i64 = message.get_number("timeout").unwrap_or(0);
    let wait = match u64::try_from(milliseconds) {
        Ok(0) => Wait::Forever,
        Ok(n) => Wait::AtMost(Duration::from_millis(n)),
        Err(_) => Wait::Detached,
    };
    (wait, milliseconds)
}

fn level(message: &Message) -> i8 {
    message.get_number("loglevel").unwrap_or(1)
}

fn control_log(stream: &mut dyn EventSink, line: &LogLine) -> bool {
    stream.event("control-log", &events::control_line(line)).is_ok()
}

pub(super) fn initiate(daemon: &dyn Daemon, message: &Message, stream: &mut dyn EventSink) -> Message {
    let (child, ike) = (message.get_str("child"), message.get_str("ike"));
    let (kind, name) = match (child, ike) {
        (Some(child), _) => ("CHILD_SA", child),
        (None, Some(ike)) => ("IKE_SA", ike),
        (None, None) => return Message::failure("missing configuration name"),
    };
    let Some(conn) = find(daemon, ike, child) else {
        return Message::failure(format_args!("{kind} config '{name}' not found"));
    };
    let (wait, milliseconds) = wait(message);
    match daemon.initiate(&conn, child, wait, level(message), &mut |line| control_log(stream, line)) {
        Ok(()) => Message::success(),
        Err(InitiateError::Timeout) => {
            Message::failure(format_args!("{kind} '{name}' not established after {milliseconds}ms"))
        }
        Err(InitiateError::Failed(cause)) if cause.is_empty() => {
            Message::failure(format_args!("establishing {kind} '{name}' failed"))
        }
        Err(InitiateError::Failed(cause)) => {
            Message::failure(format_args!("establishing {kind} '{name}' failed: {cause}"))
        }
    }
}

/// The first connection of that name that has that child.
fn find(daemon: &dyn Daemon, ike: Option<&str>, child: Option<&str>) -> Option<String> {
    daemon
        .connections()
        .iter()
        .find(|conn| {
            ike.is_none_or(|name| name == conn.name)
                && child.is_none_or(|name| conn.children.iter().any(|c| c.name == name))
        })
        .map(|conn| conn.name.clone())
}

/// The SAs that a client's selectors mean: children if it names one, else IKE_SAs. `None` = it names nothing.
fn targets(daemon: &dyn Daemon, message: &Message) -> Option<Vec<Target>> {
    let child = message.get_str("child");
    let child_id: Option<u32> = message.get_number("child-id");
    let filter =
        SaFilter { ike: message.get_str("ike").map(str::to_owned), ike_id: message.get_number("ike-id") };
    let children = child.is_some() || child_id.is_some();
    if !children && filter == SaFilter::default() {
        return None;
    }
    let mut targets = Vec::new();
    each_sa(daemon, &filter, |sa| {
        if children {
            let meant = sa.children.iter().filter(|c| {
                child.is_none_or(|name| name == &*c.name) && child_id.is_none_or(|id| id == c.id)
            });
            targets.extend(meant.map(|c| Target::Child(c.id)));
        } else {
            targets.push(Target::Ike(sa.id));
        }
        true
    });
    Some(targets)
}

pub(super) fn terminate(daemon: &dyn Daemon, message: &Message, stream: &mut dyn EventSink) -> Message {
    let Some(targets) = targets(daemon, message) else {
        return Message::failure("missing terminate selector");
    };
    let force = message.get_bool("force") == Some(true);
    let (wait, _) = wait(message);
    let level = level(message);
    let mut failure = None;
    // What is to come back is terminated, too, by staying away. Ids name only what is there.
    let named = message.has("ike-id") || message.has("child-id");
    let cancelled =
        if named { 0 } else { daemon.cancel_retries(message.get_str("ike"), message.get_str("child")) };
    let mut terminated = cancelled;
    for target in &targets {
        match daemon.terminate(*target, force, wait, level, &mut |line| control_log(stream, line)) {
            Ok(()) => terminated += 1,
            Err(cause) => failure = Some(cause),
        }
    }
    let matches = targets.len() + cancelled;
    let errmsg = match (matches, failure) {
        (0, _) => Some("no matching SAs to terminate found".to_owned()),
        (1, Some(cause)) => Some(format!("terminating SA failed: {cause}")),
        (_, Some(cause)) => Some(format!("not all matching SAs could be terminated: {cause}")),
        (_, None) => None,
    };
    Message::new()
        .kv("success", if errmsg.is_none() { "yes" } else { "no" })
        .text("matches", matches)
        .text("terminated", terminated)
        .opt("errmsg", errmsg)
}

pub(super) fn rekey(daemon: &dyn Daemon, message: &Message) -> Message {
    let Some(targets) = targets(daemon, message) else { return Message::failure("missing rekey selector") };
    let reauth = message.get_bool("reauth") == Some(true);
    let failure = targets.iter().filter_map(|target| daemon.rekey(*target, reauth).err()).last();
    let errmsg = if targets.is_empty() { Some("no matching SAs to rekey found".to_owned()) } else { failure };
    Message::new()
        .kv("success", if errmsg.is_none() { "yes" } else { "no" })
        .text("matches", targets.len())
        .opt("errmsg", errmsg)
}

pub(super) fn redirect(daemon: &dyn Daemon, message: &Message) -> Message {
    let Some(gateway) = message.get_str("gateway") else { return Message::failure("missing target gateway") };
    let Ok(gateway) = gateway.parse() else { return Message::failure("unsupported gateway identity") };
    if !["ike", "ike-id", "peer-ip", "peer-id"].iter().any(|key| message.has(key)) {
        return Message::failure("missing redirect selector");
    }
    let hosts = match message.get_str("peer-ip").map(|text| (text, map::host(text))) {
        None => None,
        Some((_, Some(hosts))) => Some(hosts),
        Some((text, None)) => return Message::failure(format_args!("'{text}' is no address, CIDR or range")),
    };
    let peer = match message.get_str("peer-id").map(|text| (text, Identity::parse(text))) {
        None => None,
        Some((_, Ok(pattern))) => Some(pattern),
        Some((text, Err(_))) => return Message::failure(format_args!("'{text}' is no identity")),
    };
    let fits = |text: &str| {
        let id = Identity::parse(text).ok();
        peer.as_ref().is_none_or(|pattern| id.is_some_and(|id| pattern.matches(&id) != MatchQuality::None))
    };
    let filter =
        SaFilter { ike: message.get_str("ike").map(str::to_owned), ike_id: message.get_number("ike-id") };
    let mut matching = Vec::new();
    each_sa(daemon, &filter, |sa| {
        let from_there = hosts.as_ref().is_none_or(|hosts| hosts.quality(sa.remote.ip()) > 0);
        if from_there && (fits(&sa.remote_id) || sa.remote_eap_id.as_deref().is_some_and(fits)) {
            matching.push(sa.id);
        }
        true
    });
    let failure = matching.iter().filter_map(|id| daemon.redirect(*id, &gateway).err()).last();
    let errmsg =
        if matching.is_empty() { Some("no matching SAs to redirect found".to_owned()) } else { failure };
    Message::new()
        .kv("success", if errmsg.is_none() { "yes" } else { "no" })
        .text("matches", matching.len())
        .opt("errmsg", errmsg)
}

pub(super) fn install(daemon: &dyn Daemon, message: &Message) -> Message {
    let Some(child) = message.get_str("child") else { return Message::failure("missing configuration name") };
    let Some(conn) = find(daemon, message.get_str("ike"), Some(child)) else {
        return Message::failure("configuration name not found");
    };
    match daemon.install(&conn, child) {
        Ok(()) => Message::success(),
        Err(cause) => Message::failure(format_args!("installing policy '{child}' failed: {cause}")),
    }
}

pub(super) fn uninstall(daemon: &dyn Daemon, message: &Message) -> Message {
    match message.get_str("child") {
        None => Message::failure("missing configuration name"),
        Some(child) if daemon.uninstall(message.get_str("ike"), child) => Message::success(),
        Some(child) => Message::failure(format_args!("policy '{child}' not found")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::{Fake, Heard};

    fn m() -> Message {
        Message::new()
    }

    #[test]
    fn initiating() {
        let fake = Fake::with_site();
        let mut heard = Heard::default();
        let mut ask = |message: Message| initiate(&fake, &message, &mut heard).to_string();
        assert_eq!(ask(m()), "success=no errmsg=missing configuration name");
        assert_eq!(ask(m().kv("child", "x")), "success=no errmsg=CHILD_SA config 'x' not found");
        assert_eq!(
            ask(m().kv("child", "net").kv("ike", "x")),
            "success=no errmsg=CHILD_SA config 'net' not found"
        );
        assert_eq!(ask(m().kv("ike", "x")), "success=no errmsg=IKE_SA config 'x' not found");
        assert_eq!(ask(m().kv("child", "net").kv("timeout", "0")), "success=yes");
        assert_eq!(
            ask(m().kv("child", "net").kv("timeout", "500")),
            "success=no errmsg=CHILD_SA 'net' not established after 500ms"
        );
        assert_eq!(
            ask(m().kv("ike", "site").kv("timeout", "-1").kv("loglevel", "2")),
            "success=no errmsg=establishing IKE_SA 'site' failed: the peer said no"
        );
        assert_eq!(
            heard.lines()[0],
            "control-log group=IKE level=0 ikesa-name=site ikesa-uniqueid=7 msg=initiating IKE_SA site[7] to 192.0.2.1"
        );
        assert_eq!(
            fake.orders(),
            [
                "initiate site Some(\"net\") Forever 1",
                "initiate site Some(\"net\") AtMost(500ms) 1",
                "initiate site None Detached 2"
            ]
        );
    }

    #[test]
    fn terminating() {
        let fake = Fake::default();
        let mut heard = Heard::default();
        let mut ask = |message: Message| terminate(&fake, &message, &mut heard).to_string();
        assert_eq!(ask(m()), "success=no errmsg=missing terminate selector");
        assert_eq!(
            ask(m().kv("ike", "zz")),
            "success=no matches=0 terminated=0 errmsg=no matching SAs to terminate found"
        );
        assert_eq!(ask(m().kv("ike", "office")), "success=yes matches=1 terminated=1");
        // A child that is being brought back is there to be terminated, and is so at once.
        assert_eq!(ask(m().kv("ike", "lab")), "success=yes matches=1 terminated=1");
        assert_eq!(ask(m().kv("child-id", "12").kv("force", "yes")), "success=yes matches=1 terminated=1");
        assert_eq!(
            ask(m().kv("ike-id", "7").kv("timeout", "5")),
            "success=no matches=1 terminated=0 errmsg=terminating SA failed: still there"
        );
        assert_eq!(
            fake.orders(),
            [
                "cancel Some(\"zz\") None",
                "cancel Some(\"office\") None",
                "terminate Ike(7) false Forever",
                "cancel Some(\"lab\") None",
                "terminate Child(12) true Forever",
                "terminate Ike(7) false AtMost(5ms)"
            ]
        );
    }

    #[test]
    fn rekeying() {
        let fake = Fake::default();
        assert_eq!(rekey(&fake, &m()).to_string(), "success=no errmsg=missing rekey selector");
        let none = rekey(&fake, &m().kv("child", "x")).to_string();
        assert_eq!(none, "success=no matches=0 errmsg=no matching SAs to rekey found");
        assert_eq!(
            rekey(&fake, &m().kv("ike", "office").kv("reauth", "yes")).to_string(),
            "success=yes matches=1"
        );
        assert_eq!(fake.orders(), ["rekey Ike(7) true"]);
    }

    #[test]
    fn redirecting() {
        let fake = Fake::default();
        let ask = |message: Message| redirect(&fake, &message).to_string();
        let to = |gateway: &str| m().kv("gateway", gateway);
        assert_eq!(ask(m()), "success=no errmsg=missing target gateway");
        assert_eq!(ask(to("a b")), "success=no errmsg=unsupported gateway identity");
        assert_eq!(ask(to("gw2")), "success=no errmsg=missing redirect selector");
        assert_eq!(
            ask(to("gw2").kv("peer-ip", "10.0.0.0/99")),
            "success=no errmsg='10.0.0.0/99' is no address, CIDR or range"
        );
        let none = "success=no matches=0 errmsg=no matching SAs to redirect found";
        let one = "success=yes matches=1";
        // 198.51.100.44, laptop-17, EAP identity alice
        for (key, value, answer) in [
            ("ike", "office", one),
            ("ike", "other", none),
            ("ike-id", "7", one),
            ("ike-id", "8", none),
            ("peer-ip", "198.51.100.44", one),
            ("peer-ip", "198.51.100.0/24", one),
            ("peer-ip", "198.51.100.40-198.51.100.50", one),
            ("peer-ip", "198.51.100.45", none),
            ("peer-ip", "0.0.0.0/0", one),
            ("peer-id", "laptop-17", one),
            ("peer-id", "alice", one),
            ("peer-id", "*", one),
            ("peer-id", "bob", none),
        ] {
            assert_eq!(ask(to("192.0.2.2").kv(key, value)), answer, "{key} {value}");
        }
        assert_eq!(ask(to("192.0.2.2").kv("peer-id", "*").kv("peer-ip", "10.0.0.0/8")), none);
        assert!(fake.orders().iter().all(|order| order == "redirect 7 192.0.2.2"), "{:?}", fake.orders());
        assert_eq!(
            ask(to("bad.example").kv("ike", "office")),
            "success=no matches=1 errmsg=it does not follow"
        );
    }

    #[test]
    fn traps() {
        let fake = Fake::with_site();
        assert_eq!(install(&fake, &m()).to_string(), "success=no errmsg=missing configuration name");
        assert_eq!(
            install(&fake, &m().kv("child", "x")).to_string(),
            "success=no errmsg=configuration name not found"
        );
        assert_eq!(install(&fake, &m().kv("child", "net")).to_string(), "success=yes");
        assert_eq!(uninstall(&fake, &m().kv("child", "net")).to_string(), "success=yes");
        assert_eq!(
            uninstall(&fake, &m().kv("child", "x")).to_string(),
            "success=no errmsg=policy 'x' not found"
        );
        assert_eq!(fake.orders(), ["install site net", "uninstall None net", "uninstall None x"]);
    }
}
