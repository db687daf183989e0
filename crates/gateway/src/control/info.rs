//! `version`, `stats`, `get-algorithms`, `get-counters`, `reset-counters`, `reload-settings`.

use std::time::Duration;

use adit_vici::Message;

use super::{COUNTERS, CounterScope, CounterSnapshot, Daemon, answer};

pub(super) fn version(daemon: &dyn Daemon) -> Message {
    let v = daemon.version();
    Message::new()
        .kv("daemon", v.daemon)
        .kv("version", v.version)
        .kv("sysname", v.sysname)
        .kv("release", v.release)
        .kv("machine", v.machine)
}

pub(super) fn stats(daemon: &dyn Daemon) -> Message {
    let s = daemon.stats();
    let uptime = Message::new().text("running", elapsed(s.uptime)).text("since", since(s.started));
    let workers =
        Message::new().text("total", s.workers).text("idle", s.idle).section("active", by_priority(s.active));
    let ike_sas = Message::new().text("total", s.ike_sas).text("half-open", s.half_open);
    // Beyond strongSwan's answer; clients pass over what they do not know.
    let admission = admission(&s);
    Message::new()
        .section("uptime", uptime)
        .section("workers", workers)
        .section("queues", by_priority(s.queued))
        .text("scheduled", s.scheduled)
        .section("ikesas", ike_sas)
        .section("admission", admission)
        .list("plugins", s.plugins)
}

/// Counters about strangers, by name.
pub(super) fn admission(stats: &super::StatsSnapshot) -> Message {
    stats.admission.iter().fold(Message::new(), |message, (name, value)| message.text(name, *value))
}

fn by_priority([critical, high, medium, low]: [u32; 4]) -> Message {
    Message::new().text("critical", critical).text("high", high).text("medium", medium).text("low", low)
}

/// `1 second`, `2 hours`: the largest unit of which there are more than two.
fn elapsed(time: Duration) -> String {
    let seconds = time.as_secs();
    let (n, unit) = [(86_400, "day"), (3600, "hour"), (60, "minute")]
        .into_iter()
        .find(|(length, _)| seconds > 2 * length)
        .map_or((seconds, "second"), |(length, unit)| (seconds / length, unit));
    format!("{n} {unit}{}", if n == 1 { "" } else { "s" })
}

/// `Nov 23 08:01:12 2026`, local time.
fn since(unix: u64) -> String {
    let at = i64::try_from(unix).ok().and_then(|s| jiff::Timestamp::from_second(s).ok()).unwrap_or_default();
    at.to_zoned(jiff::tz::TimeZone::system()).strftime("%b %e %H:%M:%S %Y").to_string()
}

/// What is served, by the names of strongSwan. The value is where the code comes from.
const ALGORITHMS: [(&str, &[&str]); 8] = [
    ("encryption", &["AES_CBC"]),
    ("integrity", &["HMAC_SHA2_256_128", "HMAC_SHA2_384_192", "HMAC_SHA2_512_256"]),
    ("aead", &["AES_GCM_16", "CHACHA20_POLY1305"]),
    ("hasher", &["HASH_SHA1", "HASH_SHA2_256", "HASH_SHA2_384", "HASH_SHA2_512", "HASH_IDENTITY"]),
    ("prf", &["PRF_HMAC_SHA2_256", "PRF_HMAC_SHA2_384", "PRF_HMAC_SHA2_512"]),
    ("kdf", &["KDF_PRF", "KDF_PRF_PLUS"]),
    ("ke", &["CURVE_25519", "ECP_256", "ECP_384", "ECP_521", "MODP_2048", "MODP_3072", "MODP_4096"]),
    ("rng", &["RNG_STRONG"]),
];

pub(super) fn algorithms() -> Message {
    ALGORITHMS.into_iter().fold(Message::new(), |message, (section, names)| {
        let from = if section == "ke" { "aws-lc,crypto-bigint" } else { "aws-lc" };
        message.section(section, names.iter().fold(Message::new(), |m, name| m.kv(name, from)))
    })
}

fn scope(message: &Message) -> CounterScope<'_> {
    match message.get_str("name") {
        Some(name) => CounterScope::Connection(name),
        None if message.get_bool("all") == Some(true) => CounterScope::All,
        None => CounterScope::Global,
    }
}

pub(super) fn counters(daemon: &dyn Daemon, message: &Message) -> Message {
    let scope = scope(message);
    let all = daemon.counters(scope);
    let missing = all.is_empty() && matches!(scope, CounterScope::Connection(_));
    let sections = all.iter().fold(Message::new(), |m, c| m.section(&c.name, counter_section(c)));
    let answer = Message::new().section("counters", sections);
    if missing {
        answer.kv("success", "no").kv("errmsg", "no counters found for this connection")
    } else {
        answer.kv("success", "yes")
    }
}

fn counter_section(counters: &CounterSnapshot) -> Message {
    COUNTERS.into_iter().zip(counters.values).fold(Message::new(), |m, (name, value)| m.text(name, value))
}

pub(super) fn reset_counters(daemon: &dyn Daemon, message: &Message) -> Message {
    if daemon.reset_counters(scope(message)) {
        Message::success()
    } else {
        Message::failure("no counters found for this connection")
    }
}

pub(super) fn reload_settings(daemon: &dyn Daemon) -> Message {
    answer(daemon.reload_settings())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::Fake;

    #[test]
    fn times_read_as_charon_writes_them() {
        assert_eq!(elapsed(Duration::from_secs(1)), "1 second");
        assert_eq!(elapsed(Duration::from_secs(120)), "120 seconds");
        assert_eq!(elapsed(Duration::from_secs(121)), "2 minutes");
        assert_eq!(elapsed(Duration::from_secs(3 * 3600)), "3 hours");
        assert_eq!(elapsed(Duration::from_secs(15 * 86_400)), "15 days");
        assert_eq!(since(1_795_468_178), "Nov 23 21:09:38 2026");
    }

    #[test]
    fn version_and_stats() {
        let fake = Fake::default();
        assert_eq!(
            version(&fake).to_string(),
            "daemon=aditd version=0.1.0 sysname=Linux release=6.12 machine=x86_64"
        );
        assert_eq!(
            stats(&fake).to_string(),
            "uptime {running=2 minutes since=Nov 23 21:09:38 2026} workers {total=5 idle=4 active {critical=1 high=0 \
             medium=0 low=0}} queues {critical=0 high=0 medium=0 low=0} scheduled=3 ikesas {total=1 half-open=0} \
             admission {cookies-sent=7 refused=0} plugins=[vici counters]"
        );
    }

    #[test]
    fn counters_by_name() {
        let fake = Fake::default();
        let all = counters(&fake, &Message::new()).to_string();
        assert!(all.starts_with("counters { {ike-rekey-init=1 "), "{all}");
        assert!(all.ends_with("info-out-resp=21}} success=yes"), "{all}");
        let none = counters(&fake, &Message::new().kv("name", "nope")).to_string();
        assert_eq!(none, "counters {} success=no errmsg=no counters found for this connection");
        assert_eq!(reset_counters(&fake, &Message::new()).to_string(), "success=yes");
    }
}
