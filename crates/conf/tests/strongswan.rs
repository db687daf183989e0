//! strongswan.conf.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::path::PathBuf;
use std::time::Duration;

use adit_conf::diag::Severity;
use adit_conf::strongswan::{self, DataplaneKind, FwMark, StrongswanConf};
use adit_conf::{Diagnostic, tree};

fn read(text: &str) -> (StrongswanConf, Vec<Diagnostic>) {
    let tree = tree::parse("strongswan.conf", text).unwrap_or_else(|errors| panic!("{}", errors[0].render()));
    strongswan::from_tree(&tree.root)
}

fn lines(text: &str) -> Vec<String> {
    read(text).1.iter().map(Diagnostic::at).collect()
}

#[test]
fn defaults() {
    let (conf, diagnostics) = read("");
    assert!(diagnostics.is_empty());
    assert_eq!(conf, StrongswanConf::default());
    assert_eq!(conf.retransmit_timeout, Duration::from_secs(4));
    assert_eq!((conf.retransmit_base, conf.retransmit_tries), (1.8, 5));
    assert_eq!((conf.port, conf.port_nat_t, conf.fragment_size), (500, 4500, 1280));
    assert_eq!((conf.routing_table, conf.routing_table_prio), (220, 220));
    assert_eq!((conf.cookie_threshold, conf.cookie_threshold_ip, conf.block_threshold), (30, 3, 5));
    assert_eq!(conf.keep_alive, Duration::from_secs(20));
    assert_eq!(conf.adit.tun, "adit0");
    assert_eq!((conf.adit.dataplane, conf.adit.mtu), (DataplaneKind::Auto, None));
}

#[test]
fn a_full_one() {
    let (conf, diagnostics) = read(
        "charon {
           load_modular = yes
           retransmit_timeout = 0.5\n retransmit_base = 1.5\n retransmit_tries = 3
           port = 0\n port_nat_t = 4501\n keep_alive = 1m\n dns1 = 10.0.0.1\n dns2 = fd00::1
           install_routes = no\n routing_table = 0
           filelog { out { path = stdout\n default = 2\n ike = 3\n enc = -1\n ike_name = yes\n time_precision = ms } }
           syslog { identifier = gw\n daemon { default = 0 } }
           journal { default = 0 }
           plugins {
             include strongswan.d/charon/*.conf
             vici { load = yes\n socket = unix:///run/x.vici }
             save-keys { load = yes\n ike = yes\n wireshark_keys = /tmp/k }
             resolve { file = /run/resolv.conf }
             kernel-libipsec { load = yes\n raw_esp = yes }
             kernel-netlink { fwmark = !0x42/0xff\n spdh_thresh { ipv4 { rbits = 24 } } }
             updown { dns_handler = yes }
             socket-default { fwmark = 0x42 }
             attr { dns = 10.0.0.9\n split-include = 10.0.0.0/8 }
             openssl { load = yes\n fips_mode = 0 }
           }
         }
         charon-systemd { journal { default = 1\n ike = 2 } }
         swanctl { load = pem pkcs1 }
         adit { dataplane = null\n tun = vpn0\n mtu = 1400 }",
    );
    let said: Vec<_> = diagnostics.iter().map(|d| (d.severity, d.message.as_str())).collect();
    assert_eq!(
        said,
        [
            (Severity::Info, "the settings of the plugin `openssl` have no effect here"),
            (Severity::Info, "plugin load lists have no effect: everything is compiled in"),
        ]
    );
    assert_eq!(
        (conf.retransmit_timeout, conf.retransmit_base, conf.retransmit_tries),
        (Duration::from_millis(500), 1.5, 3)
    );
    assert_eq!((conf.port, conf.port_nat_t, conf.keep_alive.as_secs(), conf.dns.len()), (0, 4501, 60, 2));
    assert_eq!((conf.install_routes, conf.routing_table), (false, 0));
    let log = &conf.filelogs[0];
    assert_eq!((log.path.as_str(), log.ike_name, log.append, log.time_precision), ("stdout", true, true, 3));
    assert_eq!((log.levels.level("IKE"), log.levels.level("enc"), log.levels.level("cfg")), (3, -1, 2));
    assert_eq!((conf.syslog_identifier.as_deref(), conf.syslogs[0].levels.default), (Some("gw"), 0));
    assert_eq!((conf.journal.default, conf.journal.level("ike")), (1, 2));
    assert_eq!(conf.vici_socket.as_deref(), Some("unix:///run/x.vici"));
    assert!(conf.save_keys.exports_ike() && !conf.save_keys.exports_esp());
    assert_eq!(conf.resolve_file, Some(PathBuf::from("/run/resolv.conf")));
    assert!(conf.raw_esp && conf.updown_dns);
    assert_eq!((conf.spd_hash_v4, conf.spd_hash_v6), (Some((32, 24)), None));
    assert_eq!(conf.rule_fwmark, Some(FwMark { value: 0x42, mask: 0xff, inverted: true }));
    assert_eq!(conf.socket_fwmark, Some(FwMark { value: 0x42, mask: u32::MAX, inverted: false }));
    assert_eq!(conf.attributes.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [3, 28676]);
    assert_eq!(
        (conf.adit.dataplane, conf.adit.tun.as_str(), conf.adit.mtu),
        (DataplaneKind::Null, "vpn0", Some(1400))
    );
}

#[test]
fn the_hosts_network() {
    let (conf, diagnostics) = read(
        "charon {
           interfaces_use = eth0, vlan.7
           interfaces_ignore = docker0
           ignore_routing_tables = 51820 0x64
           process_route = no
           install_virtual_ip_on = lo
           plugins { kernel-netlink {
             mtu = 1400\n mss = 0\n install_routes_xfrmi = yes\n process_rules = yes\n roam_events = no
           } }
         }",
    );
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let network = conf.network;
    assert_eq!(network.interfaces_use, ["eth0", "vlan.7"]);
    assert_eq!(network.interfaces_ignore, ["docker0"]);
    assert_eq!(network.ignore_routing_tables, [51820, 100]);
    assert_eq!(network.install_virtual_ip_on.as_deref(), Some("lo"));
    assert_eq!((network.route_mtu, network.route_mss), (Some(1400), None));
    assert!(network.install_routes_xfrmi && network.process_rules);
    assert!(!network.process_route && !network.roam_events);
    for (text, key) in [
        ("charon { interfaces_use = a/b }", "interfaces_use"),
        ("charon { ignore_routing_tables = main }", "ignore_routing_tables"),
        ("charon { plugins { kernel-netlink { mtu = 70000 } } }", "mtu"),
    ] {
        assert!(lines(text).iter().any(|line| line.contains("error") && line.contains(key)), "{text}");
    }
}

#[test]
fn the_specific_section_wins() {
    let (conf, _) = read(
        "charon-systemd { port = 1\n half_open_timeout = 7 }\ncharon { port = 2\n keep_alive = 9 }\nlibstrongswan { keep_alive = 1 }",
    );
    assert_eq!((conf.port, conf.half_open_timeout.as_secs(), conf.keep_alive.as_secs()), (1, 7, 9));
}

#[test]
fn slips() {
    for (text, expected) in [
        (
            "charon { retransmit_trys = 3 }",
            "strongswan.conf:1:10: error: unknown key `retransmit_trys` in `charon`; did you mean `retransmit_tries`?",
        ),
        (
            "charon { plugins { vici { sockt = x } } }",
            "strongswan.conf:1:27: error: unknown key `sockt` in `charon.plugins.vici`; did you mean `socket`?",
        ),
        (
            "charon { filelog { a { ikee = 1 } } }",
            "strongswan.conf:1:24: error: unknown key `ikee` in `charon.filelog.a`; did you mean `ike`?",
        ),
        (
            "charon { filelogs { a { ike = 1 } } }",
            "strongswan.conf:1:10: error: unknown section `filelogs` in `charon`; did you mean `filelog`?",
        ),
        (
            "charn { }",
            "strongswan.conf:1:1: warning: the section `charn` belongs to no program known here and is ignored; did you mean `charon`?",
        ),
        (
            "charon { retransmit_timeout = 4s }",
            "strongswan.conf:1:31: error: `4s` is no value for `retransmit_timeout`: expected seconds such as 4.0, without a unit",
        ),
        (
            "charon { port = 70000 }",
            "strongswan.conf:1:17: error: `70000` is no value for `port`: expected a number (in the range of its kind)",
        ),
        (
            "charon { port = 4500 }",
            "strongswan.conf:1:17: error: `port` and `port_nat_t` must differ, both are 4500",
        ),
        (
            "charon { journal { ike = 5 } }",
            "strongswan.conf:1:26: error: `5` is no value for `ike`: expected a level from -1 (silent) to 4",
        ),
        (
            "charon { user = vpn }",
            "strongswan.conf:1:10: error: `user` in `charon` is not served: the daemon does not change its user; let the service manager do it",
        ),
        (
            "charon { threads = 32 }",
            "strongswan.conf:1:10: info: `threads` in `charon` has no effect: the daemon sizes its own threads and tables",
        ),
        (
            "adit { dataplan = auto }",
            "strongswan.conf:1:8: error: unknown key `dataplan` in `adit`; did you mean `dataplane`?",
        ),
        (
            "adit { dataplane = kernal }",
            "strongswan.conf:1:20: error: `kernal` is no value for `dataplane`: expected auto, kernel, userspace or null; did you mean `kernel`?",
        ),
        (
            "adit { tun = a/b }",
            "strongswan.conf:1:14: error: `a/b` is no value for `tun`: expected the name of a network device, at most 15 bytes",
        ),
    ] {
        assert_eq!(lines(text), [expected]);
    }
}

#[test]
fn shipped_files_are_quiet() {
    // The shape of what distributions install: `load` everywhere, empty sections for every part of a build.
    let text = "charon {\n load_modular = yes\n crypto_test { }\n host_resolver { }\n tnc { libtnccs { } }\n unheard-of { }
      plugins {\n aes { load = yes }\n pkcs11 { load = yes\n modules { } }\n eap-radius { load = yes\n dae { }\n xauth { } } } }
      charon-systemd { journal { } }\n pki { load = pem }\n libstrongswan { }";
    assert_eq!(lines(text), ["info: plugin load lists have no effect: everything is compiled in"]);
    assert!(
        lines("charon { plugins { eap-radius { secret = x } } }")[0]
            .contains("`secret` in `charon.plugins.eap-radius` is not served")
    );
}

#[test]
fn redirects() {
    use adit_ipsec::RedirectStage;
    let (conf, diagnostics) = read(
        "charon { follow_redirects = no }
         adit { redirect { gateway = gw2.example.net\n stage = auth\n grace = 5m } }",
    );
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    assert!(!conf.follow_redirects);
    let redirect = conf.adit.redirect;
    assert_eq!(redirect.gateway, Some("gw2.example.net".parse().unwrap()));
    assert_eq!((redirect.stage, redirect.grace), (RedirectStage::Auth, Duration::from_secs(300)));
    for (text, part) in [
        (
            "adit { redirect { gateway = 0.0.0.0 } }",
            "`0.0.0.0` is no value for `gateway`: expected an address or",
        ),
        ("adit { redirect { stage = later } }", "`later` is no value for `stage`: expected init or auth"),
        ("adit { redirect { gatway = 192.0.2.1 } }", "did you mean `gateway`?"),
        ("adit { redirekt { } }", "unknown section `redirekt` in `adit`; did you mean `redirect`?"),
        ("adit { redirect = 192.0.2.1 }", "unknown key `redirect` in `adit`"),
    ] {
        let told = lines(text);
        assert!(told.iter().any(|line| line.contains(part)), "{text}: {told:?}");
    }
}

#[test]
fn xfrm_interfaces() {
    use adit_ipsec::XfrmInterfaces;
    for (text, expected) in [
        ("", XfrmInterfaces::No),
        ("adit { xfrm_interfaces = connection }", XfrmInterfaces::Connection),
        ("adit { xfrm_interfaces = shared }", XfrmInterfaces::Shared),
    ] {
        let (conf, diagnostics) = read(text);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        assert_eq!(conf.adit.xfrm_interfaces, expected);
    }
    let told = lines("adit { xfrm_interfaces = yes }");
    let sentence = "`yes` is no value for `xfrm_interfaces`: expected no, connection or shared";
    assert!(told.iter().any(|line| line.contains(sentence)), "{told:?}");
}

#[test]
fn firewall() {
    use adit_conf::strongswan::{DropinConf, FirewallMode};
    assert_eq!(read("").0.adit.firewall, FirewallMode::Off);
    let (conf, diagnostics) = read(
        "adit {\n firewall = dropin\n dropin {\n  file = /etc/nft.d/vpn.conf\n  forward = ip gw fwd\n  postrouting = none\n\
         \n  services = 8888, 9100-9110\n }\n}",
    );
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    assert_eq!(conf.adit.firewall, FirewallMode::Dropin);
    let dropin = conf.adit.dropin;
    assert_eq!(dropin.file.to_str(), Some("/etc/nft.d/vpn.conf"));
    assert_eq!(dropin.input, DropinConf::default().input);
    assert_eq!(
        dropin.forward.map(|c| format!("{:?} {} {}", c.family, c.table, c.chain)).unwrap(),
        "Ip gw fwd"
    );
    assert_eq!(dropin.postrouting, None);
    assert_eq!(dropin.services, [(8888, 8888), (9100, 9110)]);
    for (text, sentence) in [
        ("adit { firewall = on }", "`on` is no value for `firewall`: expected off, table or dropin"),
        ("adit { dropin { file = etc } }", "`etc` is no value for `file`: expected an absolute path"),
        ("adit { dropin { input = input } }", "expected a chain such as `inet filter forward`"),
        ("adit { dropin { services = ssh } }", "`ssh` is no service"),
        ("adit { dropin { service = 1 } }", "did you mean `services`?"),
    ] {
        assert!(lines(text).iter().any(|line| line.contains(sentence)), "{text}: {:?}", lines(text));
    }
}
