//! Reloads of our gateway, by SIGHUP, `adit reload` and Debian's swanctl, under a tunnel that is up: what did not change
//! is not touched, what is wrong changes nothing, and nobody honest is refused meanwhile.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use adit_testbed::process::text;
use adit_testbed::{Auth, NODE, Peer, Roles, Scenario, Tree, World, wait_for};
use nix::sys::signal::Signal;

/// Connections beside the one that is up; nobody is at their other ends.
const OTHERS: &str = "connections {
  second {
    remote_addrs = 192.0.2.1
    local { auth = psk
      id = gw.lab
    }
    remote { auth = psk
      id = second.lab
    }
    children { two { local_ts = 10.2.0.0/24
      remote_ts = 10.8.0.0/16
      start_action = trap
    } }
  }
  third {
    remote_addrs = 192.0.2.2
    local { auth = psk
      id = gw.lab
    }
    remote { auth = psk
      id = third.lab
    }
    children { three { local_ts = 10.2.0.0/24
      remote_ts = 10.9.0.0/16
      start_action = trap
    } }
  }
}
secrets {
  ike-others {
    id-1 = second.lab
    id-2 = third.lab
    secret = \"a secret of theirs, long enough\"
  }
}
";

fn with_gateway(test: &str, roles: Roles, case: fn(World, Scenario)) {
    crate::run(module_path!(), test, roles, |roles| {
        let mut scenario = Scenario::new(Auth::Psk);
        scenario.gw.more = OTHERS.into();
        case(World::start(roles, &scenario), scenario);
    });
}

/// Runs `adit` against the gateway: exit code and what it printed.
fn adit(peer: &Peer, words: &[&str]) -> (i32, String) {
    let output = Command::new(Peer::program("adit").expect("adit is not built"))
        .args(words)
        .args(["--uri", &format!("unix://{}", peer.socket().display())])
        .output()
        .expect("starting adit");
    (output.status.code().unwrap_or(-1), text(&[output.stdout, output.stderr].concat()))
}

/// What must not change when nothing is touched: ids, SPIs, and that the SAs are the same age.
fn identity(peer: &Peer) -> Vec<String> {
    let of = |sa: &Tree| {
        let children = sa.children().iter().map(|c| format!("{}:{}", c.get("uniqueid"), c.get("spi-in")));
        let children: Vec<String> = children.collect();
        format!("{} {} {} {}", sa.name, sa.get("uniqueid"), sa.get("initiator-spi"), children.join(" "))
    };
    peer.sas().iter().map(of).collect()
}

/// The tunnel goes; the traps of the other connections keep their routes.
fn ended(world: &World) {
    world.rw.terminate(&world.name);
    world.rw.wait_until_empty(Duration::from_secs(5));
    world.gw.wait_until_empty(Duration::from_secs(5));
    assert_eq!(world.gw.leases_online(), 0);
}

fn policies(peer: &Peer) -> String {
    let listed = peer.swanctl(&["--list-pols"]);
    assert!(listed.success, "{}", listed.all());
    listed.out
}

/// Lines that the gateway has logged since.
fn since(peer: &Peer, lines: usize) -> Vec<String> {
    peer.log().lines().skip(lines).map(str::to_owned).collect()
}

/// swanctl --load-all, SIGHUP and adit reload, again and again, while packets pass: no packet is lost, no SPI changes.
#[test]
fn unchanged() {
    with_gateway("unchanged", Roles::OUR_GATEWAY, |mut world, _| {
        world.up();
        world.reachable();
        let (before, traps) = (identity(&world.gw), policies(&world.gw));
        assert!(traps.contains("second/two") && traps.contains("third/three"), "{traps}");
        let lines = world.gw.log().lines().count();
        let (code, said) = adit(&world.gw, &["check", "--against-running"]);
        assert_eq!((code, said.trim()), (0, "nothing would be touched"));
        let ping = format!("ping -q -i 0.01 -c 200 -W 2 {NODE}");
        let pinged = std::thread::scope(|scope| {
            let pinging = scope.spawn(|| world.net.rw.command("sh").args(["-c", &ping]).output());
            for _ in 0..2 {
                world.gw.load();
                let (code, said) = adit(&world.gw, &["reload"]);
                assert_eq!((code, said.trim()), (0, "nothing changed"));
            }
            pinging.join().expect("ping")
        });
        world.gw.signal(Signal::SIGHUP);
        assert!(world.gw.logged(&["SIGHUP received"]));
        let pinged = text(&pinged.expect("ping").stdout);
        assert!(pinged.contains(" 0% packet loss"), "{pinged}");
        assert_eq!(identity(&world.gw), before);
        assert_eq!(policies(&world.gw), traps);
        let news: Vec<String> = since(&world.gw, lines);
        let touched =
            ["deleting", "replaced vici", "updated vici", "removed vici", "installed trap", "initiating"];
        let touched: Vec<&String> = news.iter().filter(|l| touched.iter().any(|t| l.contains(t))).collect();
        assert!(touched.is_empty(), "{touched:?}");
        ended(&world);
    });
}

/// One connection of three changes: only it is touched, and the plan said so.
#[test]
fn one_of_three() {
    with_gateway("one_of_three", Roles::OUR_GATEWAY, |world, mut scenario| {
        world.up();
        let before = identity(&world.gw);
        let lines = world.gw.log().lines().count();
        scenario.gw.more = OTHERS.replace("10.9.0.0/16", "10.9.7.0/24");
        world.gw.configure(&scenario.gw);
        let (code, said) = adit(&world.gw, &["check", "--against-running"]);
        assert_eq!(code, 3, "{said}");
        for line in [
            "child third/three: changed: remote_ts",
            "trap third/three: replaced",
            "connection second: unchanged",
            "IKE_SA psk #1: left alone",
        ] {
            assert!(said.contains(line), "no `{line}` in\n{said}");
        }
        world.gw.load();
        let news = since(&world.gw, lines);
        let told: Vec<&String> = news.iter().filter(|l| l.contains(" vici connection: ")).collect();
        assert!(told.len() == 1 && told[0].ends_with("updated vici connection: third"), "{told:?}");
        assert!(policies(&world.gw).contains("10.9.7.0/24"));
        assert!(!policies(&world.gw).contains("10.9.0.0/16"));
        assert_eq!(identity(&world.gw), before);
        world.reachable();
        ended(&world);
    });
}

/// A broken file: everything that is wrong is said with its place, in the log and to whoever asked; nothing changes.
#[test]
fn broken() {
    with_gateway("broken", Roles::OUR_GATEWAY, |mut world, mut scenario| {
        world.up();
        let before = identity(&world.gw);
        scenario.gw.pools = "  home {\n    addrs = 10.3.7.0/24\n    dsn = 10.2.0.2\n  }\n".into();
        scenario.gw.more = OTHERS.replace("start_action", "strat_action");
        world.gw.configure(&scenario.gw);
        for words in [&["reload"][..], &["check", "--against-running"]] {
            let (code, said) = adit(&world.gw, words);
            assert_eq!(code, 1, "{said}");
            for part in ["swanctl.conf:", ": error: ", "dsn", "strat_action"] {
                assert!(said.contains(part), "no `{part}` in\n{said}");
            }
            assert!(
                said.lines().filter(|l| l.contains("strat_action")).count() >= 2,
                "not all at once:\n{said}"
            );
        }
        world.gw.signal(Signal::SIGHUP);
        assert!(world.gw.logged(&["nothing was applied"]));
        std::fs::remove_file(world.gw.folder().join("swanctl.conf")).expect("the file");
        let (code, said) = adit(&world.gw, &["reload"]);
        assert!(code == 1 && said.contains("there is no "), "{said}");
        let conns: Vec<String> = world.gw.conns().into_iter().map(|c| c.name).collect();
        assert_eq!(conns, ["psk", "second", "third"]);
        assert!(world.gw.swanctl(&["--list-pools"]).out.contains("10.3.0.0"), "the pool is the old one");
        assert!(policies(&world.gw).contains("10.9.0.0/16"));
        assert_eq!(identity(&world.gw), before);
        world.reachable();
        ended(&world);
    });
}

/// The gateway's credentials are cleared and loaded again without end, one more each time: every handshake succeeds.
#[test]
fn rotation() {
    with_gateway("rotation", Roles::OUR_GATEWAY, |world, scenario| {
        let (stop, rounds) = (AtomicBool::new(false), AtomicU32::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut conf = scenario.gw.clone();
                while !stop.load(Ordering::Relaxed) {
                    let round = rounds.fetch_add(1, Ordering::Relaxed);
                    conf.secrets = format!(
                        "{}  ike-next {{\n    id-1 = next.lab\n    secret = \"the secret of round {round:06}\"\n  }}\n",
                        scenario.gw.secrets
                    );
                    world.gw.configure(&conf);
                    let loaded = world.gw.swanctl(&["--load-creds", "--clear", "--noprompt"]);
                    assert!(loaded.success, "{}", loaded.all());
                }
            });
            let failed = (0..15).find_map(|_| {
                let up = world.rw.initiate(&world.name, "net", 20);
                world.rw.terminate(&world.name);
                up.err()
            });
            stop.store(true, Ordering::Relaxed);
            assert_eq!(failed, None, "after {} rounds", rounds.load(Ordering::Relaxed));
        });
        assert!(rounds.load(Ordering::Relaxed) >= 5, "it was not rotated");
        ended(&world);
        // Cleared and not loaded again is gone.
        let mut conf = scenario.gw.clone();
        conf.secrets = String::new();
        world.gw.configure(&conf);
        assert!(world.gw.swanctl(&["--load-creds", "--clear", "--noprompt"]).success);
        wait_for("a refusal", Duration::from_secs(10), || {
            world.rw.initiate(&world.name, "net", 5).is_err().then_some(())
        });
    });
}

/// A connection that is in the file no more: its SAs stay until they end, and nobody new comes in.
#[test]
fn removed() {
    with_gateway("removed", Roles::OUR_GATEWAY, |world, mut scenario| {
        world.up();
        let before = identity(&world.gw);
        scenario.gw.name = "another".into();
        scenario.gw.remote.set("id", "another@lab");
        world.gw.configure(&scenario.gw);
        let (code, said) = adit(&world.gw, &["check", "--against-running"]);
        assert_eq!(code, 3, "{said}");
        for line in [
            "connection another: added",
            "connection psk: removed",
            "IKE_SA psk #1: kept as it is until it ends: the connection is removed",
        ] {
            assert!(said.contains(line), "no `{line}` in\n{said}");
        }
        let loaded = world.gw.swanctl(&["--load-all", "--noprompt"]);
        assert!(loaded.success && loaded.out.contains("3 connections, 1 unloaded"), "{}", loaded.all());
        assert_eq!(identity(&world.gw), before);
        world.reachable();
        ended(&world);
        assert!(world.rw.initiate(&world.name, "net", 10).is_err(), "a removed connection took somebody in");
    });
}

/// Our road-warrior had started a child by itself: what cannot go on is closed and comes up anew, without being asked.
#[test]
fn restarted() {
    crate::run(module_path!(), "restarted", Roles::OUR_CLIENT, |roles| {
        let mut scenario = Scenario::new(Auth::Psk);
        scenario.rw.child().set("start_action", "start");
        let world = World::start(roles, &scenario);
        let limit = Duration::from_secs(20);
        let up = || wait_for("the tunnel", limit, || world.rw.established(&world.name));
        let first = up();
        let load = |scenario: &Scenario, expected: &str| {
            world.rw.configure(&scenario.rw);
            let (code, said) = adit(&world.rw, &["check", "--against-running"]);
            assert!(code == 4 && said.contains(expected), "{code}\n{said}");
            let (code, said) = adit(&world.rw, &["reload"]);
            assert_eq!(code, 0, "{said}");
        };
        // other selectors: another CHILD_SA in the same IKE_SA
        scenario.rw.child().set("remote_ts", "10.2.0.0/25");
        load(&scenario, "CHILD_SA psk/net #1: closed and initiated anew: remote_ts changed");
        let second = wait_for("the new selectors", limit, || {
            up_with(&world, |sa| sa.children().iter().any(|c| c.list("remote-ts") == ["10.2.0.0/25"]))
        });
        assert_eq!(second.get("initiator-spi"), first.get("initiator-spi"));
        assert!(world.net.rw.ping(NODE));
        // another end: another IKE_SA
        scenario.rw.conn.set("local_addrs", "10.1.0.2");
        load(&scenario, "IKE_SA psk #1: closed and initiated anew: local_addrs changed");
        wait_for("the new IKE_SA", limit, || {
            up_with(&world, |sa| sa.get("initiator-spi") != first.get("initiator-spi"))
        });
        wait_for("one IKE_SA", limit, || (world.rw.sas().len() == 1).then_some(()));
        assert!(world.net.rw.ping(NODE));
        world.down(false);
    });
}

fn up_with(world: &World, fits: impl Fn(&Tree) -> bool) -> Option<Tree> {
    world.rw.established(&world.name).filter(|sa| fits(sa))
}
