//! OpenIKED 7.4 at the other end, over the kernel's ESP: in both roles, behind the NAT and without one.

use std::time::Duration;

use adit_testbed::net::Network;
use adit_testbed::openiked::{OpenIked, missing};
use adit_testbed::scenario::SECRET;
use adit_testbed::{Auth, Kind, NODE, Peer, Scenario, run_case, skip, wait_for};

const LIMIT: Duration = Duration::from_secs(15);

/// Runs a case where iked is there.
fn run(test: &str, case: impl FnOnce()) {
    let test = format!("openiked::{test}");
    match missing().or_else(|| Kind::Adit.missing()) {
        Some(reason) => skip(&test, &reason),
        None => run_case(&test, case),
    }
}

/// We bring up a tunnel to its gateway, rekey both kinds of SA and delete it.
#[test]
#[ignore = "needs the kernel of cargo xtask kernel"]
fn gateway() {
    run("gateway", || {
        let (net, scenario, folder) = (Network::build(), scenario(), folder());
        let conf =
            line("passive", "10.2.0.0/24 to 10.1.0.0/24 local 192.168.0.2 peer any", "gw.lab", "rw@lab");
        // it makes no route to what is behind its peer
        net.gw.sh("ip route add 10.1.0.0/24 via 192.168.0.1");
        let _iked = OpenIked::start(&net.gw, &folder.path().join("iked"), &conf);
        let ours = Peer::start(Kind::Adit, &net.rw, &folder.path().join("ours"), &scenario.rw);
        assert!(!net.rw.ping(NODE), "the node is reachable without a tunnel");
        ours.initiate(&scenario.rw.name, "net", 20).unwrap_or_else(|e| panic!("{e}"));
        lives(&net, &ours, &scenario.rw.name);
        assert!(ours.terminate(&scenario.rw.name).success);
        ours.wait_until_empty(LIMIT);
        assert!(!net.rw.ping(NODE), "the node is reachable after the tunnel's end");
    });
}

/// It brings up a tunnel to us, and a packet of its side's comes back.
#[test]
#[ignore = "needs the kernel of cargo xtask kernel"]
fn client() {
    run("client", || {
        let (net, scenario, folder) = (Network::build(), scenario(), folder());
        let ours = Peer::start(Kind::Adit, &net.gw, &folder.path().join("ours"), &scenario.gw);
        assert!(!net.rw.ping(NODE), "the node is reachable without a tunnel");
        let conf =
            line("active", "10.1.0.0/24 to 10.2.0.0/24 local 10.1.0.2 peer 192.168.0.2", "rw@lab", "gw.lab");
        let iked = OpenIked::start(&net.rw, &folder.path().join("iked"), &conf);
        wait_for("our IKE_SA", LIMIT, || ours.established(&scenario.gw.name));
        lives(&net, &ours, &scenario.gw.name);
        let (told, said) = iked.control(&["reset", "sa"]);
        assert!(told, "{said}");
        // it deletes what it had and, being active, comes again
        wait_for("another IKE_SA", LIMIT, || {
            let sas = ours.sas();
            (sas.len() == 1 && ours.established(&scenario.gw.name).is_some()).then_some(())
        });
        wait_for("a ping", LIMIT, || net.rw.ping(NODE).then_some(()));
    });
}

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("adit-test-").tempdir().expect("a folder")
}

fn line(mode: &str, flow: &str, own: &str, other: &str) -> String {
    format!("ikev2 \"lab\" {mode} esp from {flow} srcid {own} dstid {other} psk \"{SECRET}\"\n")
}

fn scenario() -> Scenario {
    let mut scenario = Scenario::new(Auth::Psk).impatient(40);
    scenario.gw.conn.remove("pools");
    scenario.rw.conn.remove("vips");
    scenario.gw.child().set("remote_ts", "10.1.0.0/24");
    scenario.rw.child().set("local_ts", "10.1.0.0/24");
    scenario
}

/// Traffic, and again after each kind of rekeying.
fn lives(net: &Network, ours: &Peer, name: &str) {
    let carries = |when: &str| {
        wait_for(&format!("a ping {when}"), LIMIT, || net.rw.ping(NODE).then_some(()));
        assert!(net.rw.pings(NODE, 3, 56) && net.rw.pings(NODE, 2, 1300), "pings are lost {when}");
    };
    carries("at first");
    // it does not answer the deletion of an IKE_SA that it has seen replaced, so that one stays for a while
    let keys = || {
        let sa = ours.established(name)?;
        let [child] = sa.children() else { return None };
        let installed = child.get("state") == "INSTALLED";
        installed.then(|| [sa.get("initiator-spi").to_owned(), child.get("spi-in").to_owned()])
    };
    for (place, what) in [["--ike", name], ["--child", "net"]].into_iter().enumerate() {
        let before = wait_for("one child", LIMIT, keys);
        let outcome = ours.swanctl(&["--rekey", what[0], what[1]]);
        assert!(outcome.success, "{}", outcome.all());
        wait_for(&format!("new keys after --rekey {}", what[0]), LIMIT, || {
            keys().filter(|after| after[place] != before[place])
        });
        carries(&format!("after --rekey {}", what[0]));
    }
}
