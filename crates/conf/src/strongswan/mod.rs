//! strongswan.conf: the daemon's settings.
//!
//! `charon-systemd` is merged over `charon`, which is merged over `libstrongswan`: the specific section wins. Our own
//! settings live in `adit`. Sections of other programs (`swanctl`, `pki`, …) are theirs.

mod firewall;
mod logging;
mod network;
mod types;

pub use network::NetworkConf;
pub use types::*;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use adit_ipsec::{RedirectStage, XfrmInterfaces};

use crate::diag::{Diagnostic, dedup};
use crate::nearest;
use crate::schema::{self, STRONGSWAN, Scope};
use crate::swanctl::attribute;
use crate::swanctl::fields::{Fields, shown};
use crate::tree::{Item, Section};
use crate::value;

/// The sections that speak to the daemon, most specific first.
const DAEMON: [&str; 3] = ["charon-systemd", "charon", "libstrongswan"];
/// Other programs that read the same file.
const OTHERS: [&str; 11] = [
    "swanctl",
    "pki",
    "charon-cmd",
    "charon-nm",
    "charon-svc",
    "starter",
    "libtls",
    "libtnccs",
    "libimcv",
    "medsrv",
    "manager",
];
const ADIT_KEYS: &[&str] = &[
    "dataplane",
    "firewall",
    "xfrm_interfaces",
    "tun",
    "mtu",
    "message_id_sync",
    "quick_crash_file",
    "resume",
    "ticket_file",
    "ticket_lifetime",
    "half_open_limit",
    "pending_auth_limit",
    "pending_auth_timeout",
    "updown_timeout",
    "init_rate",
    "init_rate_ip",
    "init_rate_unproven",
    "auth_failures",
];
const REDIRECT_KEYS: [&str; 3] = ["gateway", "stage", "grace"];

/// Reads the daemon's settings. The configuration holds what could be read; it is to be applied only if no diagnostic
/// is an error.
pub fn from_tree(root: &Section) -> (StrongswanConf, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    for entry in root.entries() {
        let (name, span) = (entry.name.as_str(), entry.span.as_ref());
        match &entry.item {
            Item::Value(_) => {
                let message = format!("the key `{name}` stands outside of every section");
                diagnostics.push(Diagnostic::error(span, message));
            }
            Item::Section(section) => {
                if name == "adit"
                    || DAEMON.contains(&name)
                    || OTHERS.contains(&name)
                    || section.is_referenced()
                {
                    continue;
                }
                let known = DAEMON.iter().chain(&OTHERS).copied().chain(["adit"]);
                let message = format!("the section `{name}` belongs to no program known here and is ignored");
                let near = nearest(name, known).map(|near| format!("did you mean `{near}`?"));
                diagnostics.push(Diagnostic::warning(span, message).with_help_opt(near));
            }
        }
    }
    // Merged per level, so that a key of the specific section hides only itself.
    let mut merged = Section::new();
    for name in DAEMON {
        if let Some(section) = root.section(name) {
            merged.fill_from(section);
        }
    }
    let scope = Scope::new(STRONGSWAN);
    let mut loads = false;
    plugins(&mut merged, &scope, &mut loads, &mut diagnostics);
    // Shipped files open sections for every part a build may have, with nothing in them.
    merged.prune();
    schema::check(&merged, "charon", &scope, STRONGSWAN, &mut diagnostics);
    if loads || merged.value("load").is_some() || merged.value("load_modular").is_some() {
        diagnostics
            .push(Diagnostic::info(None, "plugin load lists have no effect: everything is compiled in"));
    }
    let mut conf = read(&merged, &mut diagnostics);
    if let Some(section) = root.section("adit") {
        conf.adit = adit(section, &mut diagnostics);
    }
    (conf, dedup(diagnostics))
}

/// Takes `load` out of every plugin section, and the sections of plugins that mean nothing here.
fn plugins(merged: &mut Section, scope: &Scope, loads: &mut bool, diagnostics: &mut Vec<Diagnostic>) {
    let known: Vec<&str> = scope.enter("plugins").section_names().collect();
    let Some(plugins) = merged.section_mut("plugins") else { return };
    let mut unknown = Vec::new();
    plugins.entries.retain_mut(|entry| {
        let Item::Section(section) = &mut entry.item else { return true };
        // `load` of these two says whether they do anything; readers look at it.
        if !matches!(entry.name.as_str(), "save-keys" | "resolve") {
            *loads |= section.value("load").is_some();
            section.entries.retain(|entry| entry.name != "load");
        }
        let keep = known.contains(&entry.name.as_str());
        // A bare `load = …` is in every file that a distribution ships; settings are worth a line.
        if !keep && !section.sets_nothing() {
            unknown.push(Diagnostic::info(
                entry.span.as_ref(),
                format!("the settings of the plugin `{}` have no effect here", entry.name),
            ));
        }
        keep
    });
    diagnostics.append(&mut unknown);
}

fn read(section: &Section, diagnostics: &mut Vec<Diagnostic>) -> StrongswanConf {
    let d = StrongswanConf::default();
    let empty = Section::new();
    let (filelogs, syslogs, journal) = logging::read(section, diagnostics);
    let plugin = |name: &str| section.section_at(&format!("plugins.{name}")).unwrap_or(&empty);
    let attributes = attributes(plugin("attr"), diagnostics);
    let save_keys = save_keys(plugin("save-keys"), diagnostics);
    let resolve_file = resolve_file(plugin("resolve"), diagnostics, d.resolve_file);
    let updown_dns = Fields::new(plugin("updown"), diagnostics).bool("dns_handler", false);
    let vici_socket = plugin("vici").get("socket").map(str::to_owned);
    let mut socket = Fields::new(plugin("socket-default"), diagnostics);
    let socket_fwmark = fwmark(&mut socket);
    let use_ipv4 = socket.bool("use_ipv4", true);
    let use_ipv6 = socket.bool("use_ipv6", true);
    let spd_hash_v4 = spd_hash(plugin("kernel-netlink"), "ipv4", 32, diagnostics);
    let spd_hash_v6 = spd_hash(plugin("kernel-netlink"), "ipv6", 128, diagnostics);
    let network = network::read(section, plugin("kernel-netlink"), diagnostics);
    let rule_fwmark = fwmark(&mut Fields::new(plugin("kernel-netlink"), diagnostics));
    let mut libipsec = Fields::new(plugin("kernel-libipsec"), diagnostics);
    let esp_fwmark = fwmark(&mut libipsec);
    let raw_esp = libipsec.bool("raw_esp", false);
    let allow_peer_ts = libipsec.bool("allow_peer_ts", false);

    let mut f = Fields::new(section, diagnostics);
    let dns = addresses(&mut f, ["dns1", "dns2"]);
    let nbns = addresses(&mut f, ["nbns1", "nbns2"]);
    let fragment_size = number(&mut f, "fragment_size", d.fragment_size);
    let conf = StrongswanConf {
        retransmit_timeout: seconds(&mut f, "retransmit_timeout", d.retransmit_timeout),
        retransmit_base: f
            .parsed("retransmit_base", "a factor such as 1.8, from 1 to 100", |text| {
                value::float(text).filter(|factor| (1.0..=100.0).contains(factor))
            })
            .unwrap_or(d.retransmit_base),
        retransmit_tries: f
            .parsed("retransmit_tries", "a number up to 1000", |text| {
                value::decimal(text).filter(|n| *n <= 1000).and_then(|n| u32::try_from(n).ok())
            })
            .unwrap_or(d.retransmit_tries),
        retransmit_jitter: f
            .parsed("retransmit_jitter", "a percentage from 0 to 20", |text| {
                value::decimal(text).filter(|n| *n <= 20).and_then(|n| u32::try_from(n).ok())
            })
            .unwrap_or(d.retransmit_jitter),
        retransmit_limit: seconds(&mut f, "retransmit_limit", d.retransmit_limit),
        retry_initiate_interval: f.time("retry_initiate_interval", d.retry_initiate_interval),
        port: number(&mut f, "port", d.port),
        port_nat_t: number(&mut f, "port_nat_t", d.port_nat_t),
        keep_alive: f.time("keep_alive", d.keep_alive),
        half_open_timeout: f.time("half_open_timeout", d.half_open_timeout),
        dos_protection: f.bool("dos_protection", d.dos_protection),
        cookie_threshold: number(&mut f, "cookie_threshold", d.cookie_threshold),
        cookie_threshold_ip: number(&mut f, "cookie_threshold_ip", d.cookie_threshold_ip),
        block_threshold: number(&mut f, "block_threshold", d.block_threshold),
        init_limit_half_open: number(&mut f, "init_limit_half_open", d.init_limit_half_open),
        ikesa_limit: number(&mut f, "ikesa_limit", d.ikesa_limit),
        reqid_base: number(&mut f, "reqid_base", d.reqid_base),
        max_packet: number(&mut f, "max_packet", d.max_packet),
        initiator_only: f.bool("initiator_only", d.initiator_only),
        fragment_size: number(&mut f, "fragment_size_v4", fragment_size),
        fragment_size_v6: f
            .section
            .value("fragment_size_v6")
            .is_some()
            .then(|| number(&mut f, "fragment_size_v6", fragment_size)),
        make_before_break: f.bool("make_before_break", d.make_before_break),
        delete_rekeyed: f.bool("delete_rekeyed", d.delete_rekeyed),
        delete_rekeyed_delay: f.time("delete_rekeyed_delay", d.delete_rekeyed_delay),
        reuse_ikesa: f.bool("reuse_ikesa", d.reuse_ikesa),
        close_ike_on_child_failure: f.bool("close_ike_on_child_failure", d.close_ike_on_child_failure),
        inactivity_close_ike: f.bool("inactivity_close_ike", d.inactivity_close_ike),
        prefer_configured_proposals: f.bool("prefer_configured_proposals", d.prefer_configured_proposals),
        replay_window: number(&mut f, "replay_window", d.replay_window),
        rsa_pss: f.bool("rsa_pss", d.rsa_pss),
        follow_redirects: f.bool("follow_redirects", d.follow_redirects),
        install_routes: f.bool("install_routes", d.install_routes),
        routing_table: number(&mut f, "routing_table", d.routing_table),
        routing_table_prio: number(&mut f, "routing_table_prio", d.routing_table_prio),
        install_virtual_ip: f.bool("install_virtual_ip", d.install_virtual_ip),
        dns,
        nbns,
        attributes,
        resolve_file,
        updown_dns,
        filelogs,
        syslogs,
        syslog_identifier: section.get("syslog.identifier").map(str::to_owned),
        journal,
        vici_socket,
        save_keys,
        spd_hash_v4,
        spd_hash_v6,
        socket_fwmark,
        rule_fwmark,
        esp_fwmark,
        network,
        use_ipv4,
        use_ipv6,
        raw_esp,
        allow_peer_ts,
        adit: AditConf::default(),
    };
    if conf.port == conf.port_nat_t && conf.port != 0 {
        let span = section.value("port_nat_t").or(section.value("port")).and_then(|value| value.span());
        let message = format!("`port` and `port_nat_t` must differ, both are {}", conf.port);
        f.diagnostics.push(Diagnostic::error(span, message));
    }
    conf
}

fn number<T: TryFrom<u64>>(fields: &mut Fields<'_>, key: &str, default: T) -> T {
    fields
        .parsed(key, "a number (in the range of its kind)", |text| {
            value::decimal(text).and_then(|n| T::try_from(n).ok())
        })
        .unwrap_or(default)
}

fn seconds(fields: &mut Fields<'_>, key: &str, default: Duration) -> Duration {
    fields.parsed(key, "seconds such as 4.0, without a unit", value::seconds).unwrap_or(default)
}

fn addresses(fields: &mut Fields<'_>, keys: [&str; 2]) -> Vec<IpAddr> {
    keys.into_iter()
        .filter_map(|key| fields.parsed(key, "an address", |text| text.trim().parse::<IpAddr>().ok()))
        .collect()
}

fn fwmark(fields: &mut Fields<'_>) -> Option<FwMark> {
    fields.parsed("fwmark", "a mark `[!]value[/mask]`", |text| {
        let text = text.trim();
        let (inverted, text) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mark, mask) = text.split_once('/').unwrap_or((text, "0xffffffff"));
        let mark = u32::try_from(value::integer(mark)?).ok()?;
        let mask = u32::try_from(value::integer(mask)?).ok()?;
        Some(FwMark { value: mark, mask, inverted })
    })
}

/// Bits of the local and the remote prefix, all of them where one is not given.
fn spd_hash(section: &Section, family: &str, all: u8, diagnostics: &mut Vec<Diagnostic>) -> Option<(u8, u8)> {
    let mut fields = Fields::new(section.section_at(&format!("spdh_thresh.{family}"))?, diagnostics);
    let expected = format!("a number of bits up to {all}");
    let mut bits = |key| {
        fields.parsed(key, &expected, |text| {
            u8::try_from(value::decimal(text)?).ok().filter(|bits| *bits <= all)
        })
    };
    match (bits("lbits"), bits("rbits")) {
        (None, None) => None,
        (local, remote) => Some((local.unwrap_or(all), remote.unwrap_or(all))),
    }
}

fn save_keys(section: &Section, diagnostics: &mut Vec<Diagnostic>) -> SaveKeys {
    let mut fields = Fields::new(section, diagnostics);
    SaveKeys {
        // A number is a load priority; everything but "no" and "0" loads.
        load: section.get("load").is_some_and(|text| value::boolean(text).unwrap_or(true)),
        ike: fields.bool("ike", false),
        esp: fields.bool("esp", false),
        wireshark_keys: section.get("wireshark_keys").map(PathBuf::from),
    }
}

fn resolve_file(
    section: &Section,
    diagnostics: &mut Vec<Diagnostic>,
    default: Option<PathBuf>,
) -> Option<PathBuf> {
    if section.get("load").is_some_and(|text| value::boolean(text) == Some(false)) {
        return None;
    }
    let Some(value) = section.value("file") else { return default };
    let text = value.as_str().unwrap_or("");
    if !text.starts_with('/') {
        let message = format!("`{}` is no value for `file`: expected an absolute path", shown(text));
        diagnostics.push(Diagnostic::error(value.span(), message));
        return default;
    }
    Some(PathBuf::from(text))
}

fn attributes(section: &Section, diagnostics: &mut Vec<Diagnostic>) -> Vec<(u16, Vec<u8>)> {
    let mut out = Vec::new();
    for (key, value) in section.values() {
        for item in value.items() {
            // The plugin spells them with a hyphen.
            match attribute(&key.replace('-', "_"), item) {
                Some(Ok(encoded)) => out.push(encoded),
                Some(Err(sentence)) => diagnostics.push(Diagnostic::error(value.span(), sentence)),
                None => {
                    let message = format!("unknown attribute `{key}` in `charon.plugins.attr`");
                    diagnostics.push(Diagnostic::error(value.span(), message));
                }
            }
        }
    }
    out
}

/// Complains about keys and sections that our own section `place` does not have.
fn check_own(
    place: &str,
    section: &Section,
    keys: &[&str],
    sections: &[&str],
    diagnostics: &mut Vec<Diagnostic>,
) {
    for entry in section.entries() {
        let name = entry.name.as_str();
        let (kind, known) = match entry.item {
            Item::Section(_) => ("section", sections),
            Item::Value(_) => ("key", keys),
        };
        if known.contains(&name) {
            continue;
        }
        let all = keys.iter().chain(sections).copied();
        let near = nearest(name, all).map(|near| format!("did you mean `{near}`?"));
        let message = format!("unknown {kind} `{name}` in `{place}`");
        diagnostics.push(Diagnostic::error(entry.span.as_ref(), message).with_help_opt(near));
    }
}

fn redirect(section: &Section, diagnostics: &mut Vec<Diagnostic>) -> RedirectConf {
    check_own("adit.redirect", section, &REDIRECT_KEYS, &[], diagnostics);
    let mut fields = Fields::new(section, diagnostics);
    let default = RedirectConf::default();
    RedirectConf {
        gateway: fields.parsed("gateway", "an address or a host name", |text| text.parse().ok()),
        stage: fields.word(
            "stage",
            &[("init", RedirectStage::Init), ("auth", RedirectStage::Auth)],
            default.stage,
        ),
        grace: fields.time("grace", default.grace),
    }
}

/// An absolute path.
fn absolute(fields: &mut Fields<'_>, key: &str) -> Option<PathBuf> {
    fields.parsed(key, "an absolute path", |text| text.starts_with('/').then(|| PathBuf::from(text)))
}

fn adit(section: &Section, diagnostics: &mut Vec<Diagnostic>) -> AditConf {
    check_own("adit", section, ADIT_KEYS, &["redirect", "dropin"], diagnostics);
    let redirect =
        section.section("redirect").map(|section| redirect(section, diagnostics)).unwrap_or_default();
    let dropin =
        section.section("dropin").map(|section| firewall::dropin(section, diagnostics)).unwrap_or_default();
    let mut fields = Fields::new(section, diagnostics);
    let default = AditConf::default();
    AditConf {
        dataplane: fields.word(
            "dataplane",
            &[
                ("auto", DataplaneKind::Auto),
                ("kernel", DataplaneKind::Kernel),
                ("userspace", DataplaneKind::Userspace),
                ("null", DataplaneKind::Null),
            ],
            default.dataplane,
        ),
        firewall: fields.word(
            "firewall",
            &[("off", FirewallMode::Off), ("table", FirewallMode::Table), ("dropin", FirewallMode::Dropin)],
            default.firewall,
        ),
        dropin,
        xfrm_interfaces: fields.word(
            "xfrm_interfaces",
            &[
                ("no", XfrmInterfaces::No),
                ("connection", XfrmInterfaces::Connection),
                ("shared", XfrmInterfaces::Shared),
            ],
            default.xfrm_interfaces,
        ),
        tun: fields
            .parsed("tun", "the name of a network device, at most 15 bytes", value::interface)
            .unwrap_or(default.tun),
        mtu: fields
            .parsed("mtu", "0 (computed) or a number of bytes from 576 to 65535", |text| {
                value::decimal(text).filter(|mtu| *mtu == 0 || (576..=65535).contains(mtu))
            })
            .and_then(|mtu| u32::try_from(mtu).ok())
            .filter(|mtu| *mtu != 0),
        message_id_sync: fields.bool("message_id_sync", default.message_id_sync),
        redirect,
        pending_auth_timeout: fields.time("pending_auth_timeout", default.pending_auth_timeout),
        updown_timeout: fields.time("updown_timeout", default.updown_timeout),
        quick_crash_file: absolute(&mut fields, "quick_crash_file"),
        resume: fields.bool("resume", default.resume),
        ticket_file: absolute(&mut fields, "ticket_file"),
        ticket_lifetime: fields.time("ticket_lifetime", default.ticket_lifetime),
        half_open_limit: number(&mut fields, "half_open_limit", default.half_open_limit),
        pending_auth_limit: number(&mut fields, "pending_auth_limit", default.pending_auth_limit),
        init_rate: number(&mut fields, "init_rate", default.init_rate),
        init_rate_ip: number(&mut fields, "init_rate_ip", default.init_rate_ip),
        init_rate_unproven: number(&mut fields, "init_rate_unproven", default.init_rate_unproven),
        auth_failures: number(&mut fields, "auth_failures", default.auth_failures),
    }
}
