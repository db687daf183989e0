//! swanctl.conf as operators write it, and what they are told when they slip.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::time::Duration;

use adit_conf::diag::Severity;
use adit_conf::strongswan::DataplaneKind;
use adit_conf::swanctl::{self, Action, AuthMethod, Connection, SecretKind, SwanctlConf};
use adit_conf::{Diagnostic, Section, tree};
use adit_ipsec::{Choice, EntryOptions, HwOffload, Identity, Mark, Mode, Numbering, PerCpu, SetMark};

fn read(text: &str) -> (SwanctlConf, Vec<Diagnostic>) {
    let tree = tree::parse("swanctl.conf", text).unwrap_or_else(|errors| panic!("{}", errors[0].render()));
    swanctl::from_tree(&tree.root)
}

fn told(text: &str, least: Severity) -> Vec<String> {
    read(text).1.iter().filter(|d| d.severity >= least).map(Diagnostic::at).collect()
}

fn errors(text: &str) -> Vec<String> {
    told(text, Severity::Error)
}

fn conn(keys: &str) -> Connection {
    let text = format!("connections {{ c {{ remote_addrs = 10.0.0.1\n {keys}\n children {{ n {{ }} }} }} }}");
    let (mut conf, diagnostics) = read(&text);
    let errors: Vec<_> = diagnostics.iter().filter(|d| d.is_error()).map(Diagnostic::at).collect();
    assert!(errors.is_empty(), "{errors:?}");
    conf.connections.remove(0)
}

fn child(keys: &str) -> swanctl::Child {
    conn(&format!("children {{ n {{ {keys}\n }} }}")).children.remove(0)
}

const SERVER: &str = r#"
net-base {
  esp_proposals = aes256gcm16-x25519
  dpd_action = restart
  start_action = trap
  local_ts = 10.0.4.0/24, 10.233.64.0/18
}
connections {
  rw-eap {
    version = 2
    local_addrs = 10.0.4.50            # VRRP address
    remote_addrs = 198.51.100.7        # optional
    proposals = aes256gcm16-prfsha384-x25519
    send_certreq = no
    dpd_delay = 1
    pools = home                       # only with a pool
    local  { 
      auth = psk
      id = 203.0.113.20                # floating IP
    }
    remote { 
      auth = psk
      id = peerid
    }
    children {
      net-1 : net-base { remote_ts = 172.20.150.0/24 }
      net-2 : net-base { remote_ts = 172.20.151.0/24 }
    }
  }
}
pools { home { addrs = 10.3.0.0/24 } }
secrets { ike-1 { 
  id-1 = 203.0.113.20
  id-2 = peerid
  secret = "a long secret of an operator"
} }
"#;

#[test]
fn the_gateway_of_the_operator() {
    let (conf, diagnostics) = read(SERVER);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let [conn] = conf.connections.as_slice() else { panic!("one connection") };
    assert_eq!((conn.name.as_str(), conn.version, conn.origin.line), ("rw-eap", 2, 9));
    assert_eq!(conn.local_addrs, ["10.0.4.50"]);
    assert_eq!(conn.remote_addrs, ["198.51.100.7"]);
    assert_eq!(conn.proposals.len(), 1);
    assert_eq!(conn.proposals[0].to_string(), "IKE:AES_GCM_16_256/PRF_HMAC_SHA2_384/CURVE_25519");
    assert!(!conn.send_certreq);
    assert_eq!(conn.dpd_delay, Duration::from_secs(1));
    assert_eq!(conn.pools, ["home"]);
    assert_eq!(conn.local[0].auth, AuthMethod::Psk);
    assert_eq!(conn.local[0].id, Some(Identity::Ipv4("203.0.113.20".parse().unwrap())));
    assert_eq!(conn.remote[0].id, Some(Identity::Fqdn("peerid".to_owned())));
    let names: Vec<_> = conn.children.iter().map(|child| child.name.as_str()).collect();
    assert_eq!(names, ["net-1", "net-2"]);
    for (child, net) in conn.children.iter().zip(["172.20.150.0/24", "172.20.151.0/24"]) {
        assert_eq!((child.start_action, child.dpd_action), (Action::TRAP, Action::START));
        assert_eq!(child.local_ts.len(), 2);
        assert_eq!(child.remote_ts.iter().map(ToString::to_string).collect::<Vec<_>>(), [net]);
    }
    assert_eq!(conf.pools[0].addrs.unwrap().size(), 254);
    let secret = &conf.secrets[0];
    assert_eq!((secret.kind.clone(), secret.ids.len()), (SecretKind::Ike, 2));
    assert_eq!(secret.secret.as_slice(), b"a long secret of an operator");
    assert!(!format!("{conf:?}").contains("operator"));
}

#[test]
fn the_client_of_the_operator() {
    let (conf, diagnostics) = read(
        r#"
connections { home {
  version = 2
  remote_addrs = 203.0.113.20
  vips = 0.0.0.0
  proposals = aes256gcm16-prfsha384-x25519
  dpd_delay = 10
  local  { 
    auth = psk
    id = peerid
  }
  remote { 
    auth = psk
    id = 203.0.113.20
  }
  children { home {
    remote_ts = 10.0.4.0/24, 10.233.64.0/18
    local_ts = 172.20.150.0/24
    esp_proposals = aes256gcm16-x25519
    start_action = trap
    dpd_action = restart
    life_time = 8h
  } }
} }
"#,
    );
    // The secret is elsewhere: worth a warning, no more.
    assert_eq!(diagnostics.iter().map(|d| d.severity).collect::<Vec<_>>(), [Severity::Warning]);
    let conn = &conf.connections[0];
    assert!(conn.vips[0].is_unspecified());
    let child = &conn.children[0];
    assert_eq!(child.life_time, Duration::from_secs(28_800));
    assert_eq!(child.rekey_time, Duration::from_secs(26_181));
    assert_eq!(child.rand_time, Duration::from_secs(2_619));
}

#[test]
fn defaults() {
    let c = conn("");
    assert_eq!((c.version, c.local_port, c.remote_port, c.keyingtries), (0, 500, 500, 1));
    assert_eq!(c.local_addrs, ["%any"]);
    assert!(!c.proposals.is_empty() && c.vips.is_empty() && c.pools.is_empty());
    assert!(c.mobike && c.send_certreq && !c.encap && c.dpd_delay.is_zero());
    assert_eq!(c.fragmentation, swanctl::Fragmentation::Yes);
    assert_eq!(c.send_cert, swanctl::SendCert::IfAsked);
    assert_eq!(c.unique, swanctl::Unique::No);
    assert_eq!((c.rekey_time.as_secs(), c.reauth_time.as_secs()), (14_400, 0));
    assert_eq!((c.over_time.as_secs(), c.rand_time.as_secs()), (1_440, 1_440));
    assert_eq!((c.local.len(), c.remote.len()), (1, 1));
    assert!(matches!(c.local[0].auth, AuthMethod::Pubkey(_)) && c.remote[0].id.is_none());
    let n = &c.children[0];
    assert_eq!(
        n.local_ts.iter().chain(&n.remote_ts).map(ToString::to_string).collect::<Vec<_>>(),
        ["dynamic", "dynamic"]
    );
    assert_eq!((n.rekey_time.as_secs(), n.life_time.as_secs(), n.rand_time.as_secs()), (3600, 3960, 360));
    assert_eq!((n.rekey_bytes, n.life_bytes, n.rekey_packets, n.life_packets), (0, 0, 0, 0));
    assert_eq!((n.start_action, n.dpd_action, n.close_action), (Action::NONE, Action::NONE, Action::NONE));
    assert_eq!((n.mode, n.replay_window, n.reqid, n.options.policies), (Mode::Tunnel, None, 0, true));
    assert!(n.inactivity.is_zero());
}

#[test]
fn lifetimes() {
    let c = conn("reauth_time = 24h");
    assert_eq!((c.rekey_time.as_secs(), c.reauth_time.as_secs(), c.over_time.as_secs()), (0, 86_400, 8_640));
    let c = conn("rekey_time = 10m\nreauth_time = 24h\nover_time = 1h");
    assert_eq!((c.over_time.as_secs(), c.rand_time.as_secs()), (3600, 300));
    let c = conn("rekey_time = 0");
    assert_eq!((c.rekey_time, c.over_time, c.rand_time), (Duration::ZERO, Duration::ZERO, Duration::ZERO));
    let n = child("rekey_bytes = 500m\nrekey_packets = 1000\nlife_packets = 2000\nrand_packets = 5");
    assert_eq!((n.rekey_bytes, n.life_bytes, n.rand_bytes), (524_288_000, 576_716_800, 52_428_800));
    assert_eq!((n.rekey_packets, n.life_packets, n.rand_packets), (1000, 2000, 5));
    let n = child("life_bytes = 11k");
    assert_eq!((n.rekey_bytes, n.life_bytes), (10_240, 11_264));
}

#[test]
fn actions_and_their_other_names() {
    for (text, expected) in [
        ("none", Action::NONE),
        ("clear", Action::NONE),
        ("trap", Action::TRAP),
        ("route", Action::TRAP),
        ("start", Action::START),
        ("restart", Action::START),
    ] {
        assert_eq!(child(&format!("start_action = {text}")).start_action, expected);
        assert_eq!(child(&format!("dpd_action = {text}")).dpd_action, expected);
        assert_eq!(child(&format!("close_action = {text}")).close_action, expected);
    }
    assert_eq!(child("start_action = trap|start").start_action, Action { trap: true, start: true });
}

#[test]
fn unknown_names_are_errors_with_place_and_neighbour() {
    let text = "connections {\n  home {\n    remote_adrs = 10.0.0.1\n    esp_proposals = aes256gcm16\n    colour = red\n    locale { }\n    chidlren { n { } }\n    children { n { romote_ts = 10.0.0.0/8 } }\n  }\n}\nconections { }\nstray { x = y }\n";
    assert_eq!(
        told(text, Severity::Error),
        [
            "swanctl.conf:3:5: error: unknown key `remote_adrs` in `connections.home`; did you mean `remote_addrs`?",
            "swanctl.conf:4:5: error: unknown key `esp_proposals` in `connections.home`; `esp_proposals` belongs into `connections.<name>.children.<name>`",
            "swanctl.conf:5:5: error: unknown key `colour` in `connections.home`",
            "swanctl.conf:7:5: error: unknown section `chidlren` in `connections.home`; did you mean `children`?",
            "swanctl.conf:8:20: error: unknown key `romote_ts` in `connections.home.children.n`; did you mean `remote_ts`?",
            "swanctl.conf:11:1: error: unknown section `conections`; did you mean `connections`?",
        ]
    );
    assert!(
        told(text, Severity::Warning)
            .iter()
            .any(|line| line.starts_with("swanctl.conf:12:1: warning: the section `stray` has no effect"))
    );
    let rendered = read(text).1[0].render();
    assert_eq!(
        rendered,
        "error: unknown key `remote_adrs` in `connections.home`\n --> swanctl.conf:3:5\n  |\n3 |     remote_adrs = 10.0.0.1\n  |     ^^^^^^^^^^^\n  |\n  = help: did you mean `remote_addrs`?"
    );
}

#[test]
fn a_mistake_in_a_template_is_told_once() {
    let text = "base { remote_tts = 10.0.0.0/8 }\nconnections { c { remote_addrs = 10.0.0.1\n children { a : base { }\n b : base { } } } }";
    assert_eq!(
        errors(text),
        [
            "swanctl.conf:1:8: error: unknown key `remote_tts` in `connections.c.children.a`; did you mean `remote_ts`?",
        ]
    );
}

#[test]
fn refused_by_name_unless_it_asks_for_nothing() {
    let in_conn = |keys: &str| errors(&format!("connections {{ c {{ {keys}\n }} }}"));
    for (keys, part) in [
        ("version = 1", "IKEv1 is obsolete"),
        ("aggressive = yes", "`aggressive` in `connections.c` is not served: it belongs to IKEv1"),
        (
            "childless = perhaps",
            "`perhaps` is no value for `childless`: expected allow, prefer, force or never",
        ),
        ("local { auth = eap-tls }", "`auth = eap-tls` is not served yet"),
        ("local { auth = xauth }", "XAuth belongs to IKEv1"),
        ("remote { revocation = strict }", "`revocation = strict` is not served yet"),
        ("remote { groups = a }", "`groups` in `connections.c.remote` is not served"),
        ("local-1 { }\nlocal-2 { }", "`local-2` is a second round"),
        ("children { n { mode = beet } }", "`mode = beet` is not served"),
        ("children { n { label = system_u } }", "`label` in `connections.c.children.n` is not served"),
        (
            "children { n { mark_in = red } }",
            "`red` is no value for `mark_in`: expected a mark `value[/mask]`",
        ),
        (
            "if_id_out = %same",
            "`%same` is no value for `if_id_out`: expected the number of an XFRM interface",
        ),
        ("children { n { hw_offload = maybe } }", "expected no, crypto (or yes), packet or auto"),
        ("children { n { mode = pass\n mark_out = %unique } }", "`mark_out` cannot be unique"),
        ("children { n { ah_proposals = sha256 } }", "AH is not built"),
        ("dpd_delay = soon", "`soon` is no value for `dpd_delay`: expected a time"),
        ("unique = replaced", "did you mean `replace`?"),
        ("local_addrs = 10.0.0.256", "`10.0.0.256` in `local_addrs` is neither"),
        ("vips = any", "`any` in `vips` is no address"),
        ("proposals = aes256-sha256-modp9999", "the proposal `aes256-sha256-modp9999` cannot be used"),
        ("children { n { remote_ts = 10.0.0.0/40 } }", "`10.0.0.0/40` in `remote_ts` is no traffic selector"),
        ("children { n { dpd_action = trap|start } }", "expected clear, trap or restart"),
    ] {
        let told = in_conn(keys);
        assert!(told.iter().any(|line| line.contains(part)), "{keys}: {told:?}");
    }
    for keys in [
        "aggressive = no",
        "pull = yes",
        "dscp = 000000",
        "mediation = No",
        "childless = allow",
        "childless = force",
        "ppk_required = no",
        "remote { revocation = relaxed }",
        "ocsp = reply",
        "if_id_in = 0",
        "mobike = no",
        "children { n { mode = tunnel\n ipcomp = no\n tfc_padding = 0\n hw_offload = no\n mark_in = 0/0\n copy_df = yes } }",
    ] {
        assert_eq!(in_conn(keys), [""; 0], "{keys}");
    }
}

#[test]
fn what_a_child_wants_of_spd_and_sad() {
    let it = child(
        "mark_in = 0x10/0xf0\n mark_in_sa = yes\n mark_out = %unique-dir\n set_mark_in = %same/0xff\n set_mark_out = 7\n \
         if_id_in = 0x20\n if_id_out = %unique\n priority = 1000\n interface = eth0\n policies = no\n \
         policies_fwd_out = yes\n hw_offload = packet\n per_cpu_sas = encap\n icmp = yes",
    );
    let expected = EntryOptions {
        mark_in: Mark { value: 0x10, mask: 0xf0 },
        mark_out: Mark { value: 0, mask: u32::MAX },
        mark_in_sa: true,
        set_mark_in: SetMark::Same { mask: 0xff },
        set_mark_out: SetMark::Fixed(Mark { value: 7, mask: u32::MAX }),
        if_id_in: 0x20,
        if_id_out: 0,
        priority: 1000,
        interface: Some("eth0".into()),
        policies: false,
        policies_fwd_out: true,
        hw_offload: HwOffload::Packet,
        per_cpu: PerCpu::Encap,
        icmp: true,
    };
    assert_eq!(it.options, expected);
    let numbering =
        Numbering { mark_out: Choice::UniqueDir, if_id_out: Choice::Unique, ..Numbering::default() };
    assert_eq!(it.numbering, numbering);
    let ids = conn("if_id_in = 42\n if_id_out = %unique-dir").if_ids;
    assert_eq!((ids.given.inbound, ids.choice_in, ids.choice_out), (42, Choice::Given, Choice::UniqueDir));
    let plain = child("");
    assert_eq!((plain.options, plain.numbering), (EntryOptions::default(), Numbering::default()));
}

#[test]
fn what_takes_a_kernel_is_refused_where_none_is_asked_for() {
    let text =
        "connections { c {\n if_id_out = %unique\n children {\n n {\n mark_in = 0\n icmp = yes\n }\n}\n} }";
    let tree = tree::parse("swanctl.conf", text).unwrap();
    let (conf, _) = swanctl::from_tree(&tree.root);
    let told = |kind| {
        let all = adit_conf::dataplane::check(&conf, &tree.root, kind);
        all.iter().map(Diagnostic::at).collect::<Vec<_>>()
    };
    let lines = told(DataplaneKind::Userspace);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("swanctl.conf:2:14: error: `if_id_out` of the connection `c`"), "{lines:?}");
    assert!(lines[1].starts_with("swanctl.conf:6:9: error: `icmp` of the child `n`"), "{lines:?}");
    assert!(told(DataplaneKind::Auto).is_empty() && told(DataplaneKind::Null).is_empty());
}

#[test]
fn secrets_never_show() {
    let text = "secrets {\n ike-1 { sekret = \"hunter2 hunter2\" }\n eap-1 { id = alice\n secret = 0xhunter2 }\n ikk { secret = hunter2 }\n}";
    let (_, diagnostics) = read(text);
    assert!(diagnostics.len() >= 4, "{diagnostics:?}");
    for diagnostic in &diagnostics {
        assert!(!diagnostic.render().contains("hunter"), "{}", diagnostic.render());
        assert!(!diagnostic.at().contains("hunter"), "{}", diagnostic.at());
    }
    assert!(diagnostics[0].render().contains("sekret ="));
    // Nor when the line cannot even be parsed.
    for text in [
        "secrets { ike { secret \"hunter2\" } }",
        "secrets { ike {\n \"hunter2\" } }",
        "secrets { ike { secret = \"hunter2\n } }",
    ] {
        for error in tree::parse("t", text).unwrap_err() {
            assert!(!error.render().contains("hunter"), "{}", error.render());
        }
    }
}

//= rfc7296 2.15-2
#[test]
fn secrets_pools_authorities() {
    let (conf, diagnostics) = read(
        "secrets {
           ike { secret = 0x00112233445566778899aabbccddeeff0011 \n id-a = \"C=CH, O=x, CN=y\" }
           xauth-2 { secret = 0sYWJj \n id = alice }
           ntlm-b { secret = 0x00112233445566778899aabbccddeeff \n id = bob }
           ecdsa-gw { file = gw.pem }
         }
         pools { p { addrs = 10.3.0.10-10.3.0.19 \n dns = 10.0.0.1, fd00::1 \n split_include = 10.0.0.0/8 \n 25 = example }
                 q { addrs = fd00:1::/120 } }
         authorities { ca { cacert = ca.pem \n crl_uris = http://x/y.crl } }",
    );
    assert!(!diagnostics.iter().any(Diagnostic::is_error), "{diagnostics:?}");
    assert_eq!(conf.secrets[0].secret.len(), 18);
    assert!(matches!(conf.secrets[0].ids[0], Identity::Dn(_)));
    assert_eq!(
        (conf.secrets[1].kind.clone(), conf.secrets[1].secret.as_slice()),
        (SecretKind::Eap, &b"abc"[..])
    );
    assert_eq!(conf.secrets[2].kind, SecretKind::Ntlm);
    assert_eq!(conf.secrets[3].kind, SecretKind::Private { file: "gw.pem".to_owned(), folder: "ecdsa" });
    assert_eq!(conf.pools[0].dns.len(), 2);
    assert_eq!(conf.pools[0].attributes.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [3, 10, 28676, 25]);
    assert_eq!(conf.authorities[0].cacert, "ca.pem");

    assert_eq!(
        errors("secrets { ikr-1 { secret = x } }"),
        [
            "swanctl.conf:1:11: error: unknown section `ikr-1` in `secrets`: its name must begin with ike, eap, xauth, ntlm, private, rsa, ecdsa or pkcs8; did you mean `ike`?"
        ]
    );
    assert!(errors("secrets { ike-1 { id = a } }")[0].ends_with("`ike-1` has no secret"));
    assert!(errors("secrets { private { } }")[0].ends_with("`private` names no `file`"));
    assert!(errors("secrets { token1 { handle = 5 } }")[0].contains("PKCS#11"));
    assert!(errors("pools { p { adrs = 10.0.0.0/8 } }")[0].ends_with("did you mean `addrs`?"));
    assert!(errors("pools { p { addrs = 10.0.0.0/99 } }")[0].contains("expected a CIDR or a range"));
}

#[test]
fn sense() {
    let all = |text: &str| told(text, Severity::Warning);
    assert_eq!(
        errors("pools { a { addrs = 10.0.0.0/8 }\n b { addrs = 10.3.0.0/24 }\n c { addrs = fd00::/120 } }"),
        [
            "swanctl.conf:2:14: error: the pools `a` (10.0.0.1-10.255.255.254) and `b` (10.3.0.1-10.3.0.254) overlap"
        ]
    );
    assert_eq!(
        errors(
            "connections { c { pools = hoem\n children { n { } } } }\npools { home { addrs = 10.3.0.0/24 } }"
        ),
        [
            "swanctl.conf:1:27: error: the pool `hoem` of the connection `c` is not defined; did you mean `home`?"
        ]
    );
    for (text, part) in [
        ("connections { c { children { n { start_action = start } } } }", "`n` cannot start"),
        ("connections { c { vips = 0.0.0.0 \n children { n { } } } }", "only answers"),
        ("connections { c { } }", "has no children"),
        (
            "connections { c { local { auth = psk \n id = a } \n remote { auth = psk \n id = b } } }\nsecrets { ike { secret = 0123456789012345678901 \n id = z } }",
            "no secret of its identities",
        ),
        ("connections { c { remote { auth = eap-mschapv2 } } }", "no EAP secret"),
        ("secrets { ike { secret = short } }", "has only 5 bytes"),
        ("secrets { eap-1 { secret = a \n id = x }\n eap-2 { secret = b \n id = x } }", "same identities"),
        (
            "connections { c { children { n { rekey_time = 2h \n life_time = 1h } } } }",
            "ends before it can be rekeyed",
        ),
        ("connections { c { proposals = aes256gcm16-prfsha256 } }", "key exchange"),
        ("connections { c { remote { auth = rsa-4096-sha512 } } }", "not enforced yet"),
    ] {
        let told = all(text);
        assert!(told.iter().any(|line| line.contains(part)), "{text}: {told:?}");
    }
}

#[test]
fn over_vici() {
    let mut local = Section::new();
    local.push("auth", "pubkey").push_objects("certs", [&b"\x30\x03\x02\x01\x05"[..]]);
    let mut remote = Section::new();
    remote.push("auth", "psk").push("id", "peerid");
    let mut net = Section::new();
    net.push_list("remote_ts", ["10.0.0.0/8", "fd00::/8"])
        .push_list("esp_proposals", ["aes256gcm16", "aes128gcm16"]);
    let mut children = Section::new();
    children.push_section("net", net);
    let mut section = Section::new();
    section
        .push_list("remote_addrs", ["10.0.0.1", "gw.example"])
        .push("version", "2")
        .push("local_addrs", "10.0.0.2, 10.0.0.3");
    section
        .push_section("local-1", local)
        .push_section("remote-1", remote)
        .push_section("children", children);
    let conn = swanctl::connection("v", &section).unwrap();
    assert_eq!(conn.remote_addrs, ["10.0.0.1", "gw.example"]);
    assert_eq!(conn.local_addrs, ["10.0.0.2", "10.0.0.3"]);
    assert_eq!(conn.local[0].certs, ["0x3003020105"]);
    assert_eq!((conn.children[0].remote_ts.len(), conn.children[0].esp_proposals.len()), (2, 2));
    assert_eq!(conn.origin.to_string(), "vici");

    let message = |key: &str, value: &str| {
        let mut section = section.clone();
        section.push(key, value);
        swanctl::connection("v", &section).unwrap_err()[0].vici_message()
    };
    assert_eq!(
        message("dpddelay", "1"),
        "unknown option: dpddelay, config discarded (did you mean `dpd_delay`?)"
    );
    assert_eq!(message("colour", "1"), "unknown option: colour, config discarded");
    assert!(message("dpd_delay", "x").starts_with("invalid value for: dpd_delay, config discarded ("));
    let mut section = section.clone();
    section.push_section("chidren", Section::new());
    assert_eq!(swanctl::connection("v", &section).unwrap_err()[0].vici_message(), "invalid section: chidren");
}

#[test]
fn what_a_child_carries_is_typed() {
    use adit_ipsec::{CopyDscp, HeaderRules, Mode, Shunt};
    let plain = child("");
    assert_eq!((plain.mode, plain.shunt, plain.tfc_padding), (Mode::Tunnel, None, 0));
    assert_eq!(plain.headers, HeaderRules { copy_df: true, copy_ecn: true, copy_dscp: CopyDscp::Out });
    for (word, mode, shunt) in [
        ("transport", Mode::Transport, None),
        ("pass", Mode::Tunnel, Some(Shunt::Pass)),
        ("drop", Mode::Tunnel, Some(Shunt::Drop)),
    ] {
        let child = child(&format!("mode = {word}"));
        assert_eq!((child.mode, child.shunt), (mode, shunt));
    }
    let child = child("copy_df = no\ncopy_ecn = no\ncopy_dscp = in\ntfc_padding = 512");
    assert_eq!(child.headers, HeaderRules { copy_df: false, copy_ecn: false, copy_dscp: CopyDscp::In });
    assert_eq!((child.tfc_padding, self::child("tfc_padding = mtu").tfc_padding), (512, u16::MAX));
    let bad = errors("connections { c { children { n { tfc_padding = 70000 } } } }");
    assert!(bad[0].contains("`70000` is no value for `tfc_padding`"), "{bad:?}");
    let bad = errors("connections { c { children { n { copy_dscp = both } } } }");
    assert!(bad[0].contains("`both` is no value for `copy_dscp`: expected no, in, out or yes"), "{bad:?}");
}
