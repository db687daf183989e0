//! `updown` scripts: the same script under charon and under aditd, told the same at the same moments.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use adit_testbed::{Auth, Peer, Roles, Scenario, Tree, World, eventually, wait_for};

/// What one call was told.
type Told = BTreeMap<String, String>;

/// Where Debian keeps strongSwan's own script.
const STOCK: &str = "/usr/lib/ipsec/_updown";
/// charon's plugins without the one that takes DNS servers before its scripts get them.
const WITHOUT_RESOLVE: &str = "  load = random nonce openssl pem pkcs1 pkcs8 x509 revocation constraints pubkey curve25519 \
    aes sha2 sha1 hmac gcm chapoly kdf drbg gmp socket-default LIBIPSEC kernel-netlink vici updown counters attr\n";

/// Writes a script to the world's folder that others can run.
fn script(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a script");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a script");
    path.display().to_string()
}

/// Has both ends log what their scripts are told; the folder of script and logs.
fn logging(scenario: &mut Scenario) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "#!/bin/sh\ntold=$(env | grep ^PLUTO_)\nprintf '%s\\n---\\n' \"$told\" >> \"$1\"\necho said; echo moaned >&2; exit 3\n";
    let script = script(folder.path(), "script", text);
    for (end, name) in [(&mut scenario.gw, "gw"), (&mut scenario.rw, "rw")] {
        end.child().set("updown", &format!("{script} {}", folder.path().join(name).display()));
    }
    folder
}

/// The calls so far, at either end.
fn told(folder: &Path, end: &str) -> Vec<Told> {
    let text = std::fs::read_to_string(folder.join(end)).unwrap_or_default();
    let block = |block: &str| {
        let pairs = block.lines().filter_map(|line| line.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let mut blocks: Vec<Told> = text.split("---\n").map(block).collect();
    assert!(blocks.pop().is_none_or(|rest| rest.is_empty()), "{text}");
    blocks
}

fn wait_for_calls(folder: &Path, calls: usize) {
    for end in ["gw", "rw"] {
        wait_for("the scripts", Duration::from_secs(60), || (told(folder, end).len() >= calls).then_some(()));
    }
}

/// All that scripts were told in one life of a tunnel, at the gateway and at the road-warrior.
fn a_life(roles: Roles, mut scenario: Scenario, pairs: usize, moves: bool) -> [Vec<Told>; 2] {
    let folder = logging(&mut scenario);
    let world = World::start(roles, &scenario);
    if let Err(output) = world.rw.initiate(&world.name, "net", 120) {
        panic!("{output}");
    }
    wait_for_calls(folder.path(), pairs);
    let spi = |sa: &Tree| {
        sa.children().iter().find(|c| c.get("state") == "INSTALLED").map(|c| c.get("spi-in").to_owned())
    };
    let state =
        |peer: &Peer| peer.established(&world.name).map(|sa| (sa.get("uniqueid").to_owned(), spi(&sa)));
    let changed = |what: &str, peer: &Peer, args: &[&str]| {
        let before = state(peer);
        let outcome = peer.swanctl(args);
        assert!(outcome.success, "{what}: {}", outcome.all());
        wait_for(what, Duration::from_secs(10), || {
            (state(peer).is_some() && state(peer) != before).then_some(())
        });
    };
    if moves {
        changed("a rekeying of the child", &world.rw, &["--rekey", "--child", "net"]);
        changed("a rekeying of the IKE_SA", &world.rw, &["--rekey", "--ike", &world.name]);
        world.net.rw.sh("ip address add 10.1.0.77/24 dev wan; ip address del 10.1.0.2/24 dev wan");
        wait_for("the new address", Duration::from_secs(60), || {
            world.rw.established(&world.name).filter(|sa| sa.get("local-host") == "10.1.0.77")
        });
    }
    assert_eq!((told(folder.path(), "gw").len(), told(folder.path(), "rw").len()), (pairs, pairs));
    // Where charon's scripts are slow, so is its answer, and swanctl gives up; the calls tell whether it was done.
    world.rw.terminate(&world.name);
    wait_for_calls(folder.path(), 2 * pairs);
    // What it says is in the log, of either.
    for peer in [&world.gw, &world.rw] {
        assert!(peer.logged(&["updown: said"]) && peer.logged(&["updown: moaned"]), "{}", peer.log());
    }
    for peer in [&world.gw, &world.rw].into_iter().filter(|peer| !peer.kind.is_strongswan()) {
        assert!(peer.logged(&["updown of net for down exited with 3"]), "{}", peer.log());
    }
    ["gw", "rw"].map(|end| told(folder.path(), end))
}

/// Compares what ours were told with what charon's were, variable by variable.
fn same(scenario: &Scenario, pairs: usize, moves: bool) {
    let charon = a_life(Roles::REFERENCE, scenario.clone(), pairs, moves);
    let gateway = a_life(Roles::OUR_GATEWAY, scenario.clone(), pairs, moves);
    let client = a_life(Roles::OUR_CLIENT, scenario.clone(), pairs, moves);
    for (who, theirs, ours) in
        [("gateway", &charon[0], &gateway[0]), ("road-warrior", &charon[1], &client[1])]
    {
        assert_eq!(theirs.len(), ours.len(), "{who}");
        for (n, (theirs, ours)) in theirs.iter().zip(ours).enumerate() {
            let names = |told: &Told| {
                // Ours are told the same servers when they go as when they came; charon has forgotten them after a rekeying
                // of the IKE_SA.
                let forgotten = |name: &String| moves && n >= pairs && name.starts_with("PLUTO_DNS");
                told.keys().filter(|name| !forgotten(name)).cloned().collect::<Vec<_>>()
            };
            assert_eq!(names(ours), names(theirs), "{who}, call {n}");
            for (name, value) in theirs {
                let ours = &ours[name];
                if who == "gateway" && name == "PLUTO_UDP_ENC" {
                    // The NAT's choice.
                    assert!(ours.parse::<u16>().is_ok(), "{ours}");
                } else {
                    assert_eq!(ours, value, "{who}, call {n}: {name}");
                }
            }
        }
    }
}

#[test]
fn told_as_charon_tells() {
    crate::run(module_path!(), "told_as_charon_tells", Roles::OUR_GATEWAY, |_| {
        let mut scenario = Scenario::new(Auth::Psk);
        let networks = "10.2.0.0/24, 10.2.1.0/24[udp/53], 10.2.1.0/24[icmp/8], fd00:2::/64";
        scenario.gw.child().set("local_ts", networks).set("hostaccess", "yes");
        scenario.rw.child().set("remote_ts", networks);
        scenario.rw.conn.set("vips", "0.0.0.0, ::");
        scenario.gw.conn.set("pools", "home, home6");
        scenario.gw.pools += "  home6 {\n    addrs = fd00:3::/112\n    dns = fd00:2::2\n  }\n";
        scenario.rw.plugins += "    updown {\n      dns_handler = yes\n    }\n";
        let libipsec = if adit_testbed::vm::inside() { "" } else { "kernel-libipsec" };
        scenario.rw.charon += &WITHOUT_RESOLVE.replace("LIBIPSEC", libipsec);
        for end in [&mut scenario.gw, &mut scenario.rw] {
            end.conn.set("mobike", "yes");
        }
        same(&scenario, 4, true);
    });
}

#[test]
fn told_of_users_and_hosts() {
    crate::run(module_path!(), "told_of_users_and_hosts", Roles::OUR_GATEWAY, |_| {
        same(&Scenario::new(Auth::Eap), 1, false);
        // Without a virtual address the road-warrior's end is the host itself.
        let mut scenario = Scenario::new(Auth::Psk);
        scenario.gw.conn.remove("pools");
        scenario.rw.conn.remove("vips");
        scenario.gw.child().set("remote_ts", "10.1.0.2/32");
        same(&scenario, 1, false);
    });
}

/// What an end's listing and its kernel say of marks and interfaces, each once.
fn numbers(peer: &Peer, net: &adit_testbed::net::Namespace, name: &str) -> Vec<String> {
    let sa = peer.established(name).unwrap_or_else(|| panic!("no SA: {}", peer.log()));
    let child =
        sa.children().iter().find(|child| child.get("state") == "INSTALLED").expect("a child").clone();
    let fields = ["mark-in", "mark-mask-in", "mark-out", "mark-mask-out", "if-id-in", "if-id-out"];
    let mut all: Vec<String> = Vec::new();
    for (who, tree) in [("IKE_SA", &sa), ("CHILD_SA", &child)] {
        all.extend(fields.map(|field| format!("{who} {field}={}", tree.get(field))));
    }
    // The kernel's entries, one a line: the policies by direction, priority and selector, the SAs by what they set.
    let policies = net.sh("ip -o xfrm policy | grep -v 'socket' | sed 's/\\\\/ /g' | tr -s ' \t' ' '");
    let direction = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let after =
            |word: &str| words.iter().position(|it| *it == word).and_then(|at| words.get(at + 1)).copied();
        ["dir", "priority", "mark", "if_id"]
            .map(|word| format!("{word} {}", after(word).unwrap_or("-")))
            .join(" ")
    };
    let mut lines: Vec<String> =
        policies.lines().filter(|line| line.contains(" dir ")).map(direction).collect();
    let sas = net.sh("ip -o xfrm state | sed 's/\\\\/ /g' | tr -s ' \t' ' '");
    let marks = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let after =
            |word: &str| words.iter().position(|it| *it == word).and_then(|at| words.get(at + 1)).copied();
        ["mark", "output-mark", "if_id"]
            .map(|word| format!("{word} {}", after(word).unwrap_or("-")))
            .join(" ")
    };
    lines.extend(sas.lines().map(|line| format!("SA {}", marks(line))));
    lines.sort();
    all.extend(lines);
    all
}

/// A tunnel with marks and interface ids, and what was told and seen of it after rekeyings.
fn with_numbers(roles: Roles, end: usize) -> (Vec<Told>, Vec<String>) {
    let mut scenario = Scenario::new(Auth::Psk);
    for end in [&mut scenario.gw, &mut scenario.rw] {
        end.conn.set("if_id_in", "%unique-dir").set("if_id_out", "%unique-dir");
        let child =
            end.child().set("mark_in", "%unique").set("mark_out", "%unique/0xffff").set("mark_in_sa", "yes");
        child
            .set("set_mark_in", "0x10/0xf0")
            .set("priority", "1234")
            .set("if_id_in", "42")
            .set("policies_fwd_out", "yes");
    }
    let folder = logging(&mut scenario);
    let world = World::start(roles, &scenario);
    if let Err(output) = world.rw.initiate(&world.name, "net", 60) {
        panic!("{output}");
    }
    wait_for_calls(folder.path(), 1);
    let (peer, net) = [(&world.gw, &world.net.gw), (&world.rw, &world.net.rw)][end];
    let before = numbers(peer, net, &world.name);
    let spi = || peer.established(&world.name).map(|sa| sa.get("uniqueid").to_owned());
    let ike = spi();
    assert!(world.rw.swanctl(&["--rekey", "--ike", &world.name]).success);
    wait_for("a rekeying", Duration::from_secs(60), || (spi().is_some() && spi() != ike).then_some(()));
    assert_eq!(numbers(peer, net, &world.name), before, "they stay");
    world.rw.terminate(&world.name);
    wait_for_calls(folder.path(), 2);
    (told(folder.path(), ["gw", "rw"][end]), before)
}

#[test]
#[ignore = "needs the kernel of cargo xtask kernel"]
fn marks_and_interfaces_as_charon_has_them() {
    crate::run(module_path!(), "marks_and_interfaces_as_charon_has_them", Roles::OUR_GATEWAY, |_| {
        for (end, roles) in [(0, Roles::OUR_GATEWAY), (1, Roles::OUR_CLIENT)] {
            let (charon, ours) = (with_numbers(Roles::REFERENCE, end), with_numbers(roles, end));
            assert_eq!(ours.1, charon.1);
            let of_marks = |told: &[Told]| -> Vec<Vec<(String, String)>> {
                let those = |name: &str| name.contains("MARK") || name.contains("IF_ID");
                told.iter()
                    .map(|it| it.clone().into_iter().filter(|(name, _)| those(name)).collect())
                    .collect()
            };
            assert_eq!(of_marks(&ours.0), of_marks(&charon.0));
            assert_eq!(of_marks(&ours.0)[0].len(), 4, "{:?}", ours.0);
        }
    });
}

/// What strongSwan's own script does to the firewall.
fn stock(roles: Roles) -> [Vec<String>; 2] {
    let folder = tempfile::tempdir().expect("a folder");
    let mut scenario = Scenario::new(Auth::Psk);
    // It sets PATH itself; what it calls is to be seen, not done.
    let own = std::fs::read_to_string(STOCK).expect("strongSwan's script");
    let path = format!("PATH=\"{}:/usr/bin:/bin\"", folder.path().display());
    let lines: Vec<&str> =
        own.lines().map(|line| if line.starts_with("PATH=") { &*path } else { line }).collect();
    let stock = script(folder.path(), "_updown", &(lines.join("\n") + "\n"));
    let stub = "#!/bin/sh\nprintf '%s\\n' \"$(basename $0) $*\" >> \"$LOG\"\n";
    script(folder.path(), "iptables", stub);
    script(folder.path(), "logger", stub);
    for (end, name) in [(&mut scenario.gw, "gw"), (&mut scenario.rw, "rw")] {
        let log = folder.path().join(name);
        end.child().set("updown", &format!("LOG={} {stock} iptables", log.display()));
    }
    let world = World::start(roles, &scenario);
    world.up();
    let calls = |end: &str| -> Vec<String> {
        let text = std::fs::read_to_string(folder.path().join(end)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    // Its last act is to log.
    let done = |end: &str, sign: &str| {
        calls(end).last().is_some_and(|line| line.starts_with("logger") && line.contains(sign))
    };
    let limit = Duration::from_secs(60);
    assert!(
        eventually(limit, || done("gw", " + ") && done("rw", " + ")),
        "{:?} {:?}",
        calls("gw"),
        calls("rw")
    );
    assert!(world.rw.terminate(&world.name).success);
    assert!(
        eventually(limit, || done("gw", " - ") && done("rw", " - ")),
        "{:?} {:?}",
        calls("gw"),
        calls("rw")
    );
    ["gw", "rw"].map(calls)
}

#[test]
fn the_stock_script_does_what_it_does_under_charon() {
    let name = "the_stock_script_does_what_it_does_under_charon";
    crate::run(module_path!(), name, Roles::OUR_GATEWAY, |_| {
        if !Path::new(STOCK).exists() {
            return adit_testbed::skip(name, &format!("{STOCK} is missing (libcharon-extra-plugins)"));
        }
        let charon = stock(Roles::REFERENCE);
        assert!(charon[0].len() >= 6, "{charon:?}");
        assert_eq!(stock(Roles::OUR_GATEWAY)[0], charon[0]);
        assert_eq!(stock(Roles::OUR_CLIENT)[1], charon[1]);
    });
}

/// What runs when the daemon ends is taken back, and one that hangs does not keep it from ending.
#[test]
fn the_daemon_ends_with_its_scripts() {
    crate::run(module_path!(), "the_daemon_ends_with_its_scripts", Roles::BOTH_OURS, |roles| {
        let mut scenario = Scenario::new(Auth::Psk);
        let folder = logging(&mut scenario);
        scenario.rw.child().set("updown", "sleep 1000");
        scenario.rw.adit += "  updown_timeout = 1s\n";
        let mut world = World::start(roles, &scenario);
        world.up();
        let (took, well) = world.rw.stop().expect("it ends");
        assert!(well, "after {took:?}");
        assert!(world.rw.logged(&["updown of net for", "had not ended after 1 s"]), "{}", world.rw.log());
        wait_for("the gateway's scripts", Duration::from_secs(10), || {
            (told(folder.path(), "gw").len() == 2).then_some(())
        });
    });
}
