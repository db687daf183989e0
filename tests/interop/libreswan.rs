//! libreswan 5.2 (pluto) at the other end: its IKE side. Its CHILD_SAs are the kernel's; where the kernel has no ESP they
//! are negotiated and then refused by their own kernel, so what is kept, rekeyed and deleted here is an IKE_SA without
//! a child (RFC 6023).

use std::time::Duration;

use adit_testbed::libreswan::{Libreswan, Proof, missing};
use adit_testbed::net::Network;
use adit_testbed::pki::{Algorithm, Subject};
use adit_testbed::{Auth, Kind, NODE, Peer, Pki, Scenario, eventually, run_case, skip, wait_for};

const LIMIT: Duration = Duration::from_secs(15);

/// Ours with pluto at the other end.
struct Pair {
    ours: Peer,
    pluto: Libreswan,
    name: String,
    net: Network,
    _folder: tempfile::TempDir,
}

/// Ours is the gateway, or the road-warrior behind the NAT; IKE_SAs without a child, or as usual.
fn pair(auth: Auth, our_gateway: bool, childless: bool) -> Pair {
    let mut scenario = Scenario::new(auth);
    let mut proof = Proof::Psk;
    if auth != Auth::Psk {
        let pki = Pki::new("lab root", Algorithm::EcdsaP256);
        let [gw, rw] = [Subject::Gateway, Subject::RoadWarrior].map(|subject| pki.issue(subject));
        let theirs = if our_gateway { rw.clone() } else { gw.clone() };
        proof = Proof::Certificate(Box::new(theirs), pki.authority.clone());
        (scenario.gw.entity, scenario.rw.entity) = (Some(gw), Some(rw));
        scenario.gw.authorities = vec![pki.authority.clone()];
        scenario.rw.authorities = vec![pki.authority];
    }
    // as initiator, pluto does not ask for a certificate and needs it all the same
    scenario.gw.conn.set("send_cert", "always");
    scenario.gw.conn.remove("pools");
    scenario.rw.conn.remove("vips");
    scenario.gw.child().set("remote_ts", "10.1.0.0/24");
    scenario.rw.child().set("local_ts", "10.1.0.0/24");
    for end in [&mut scenario.gw, &mut scenario.rw] {
        end.conn.set("dpd_delay", "1s");
        if childless {
            end.conn.set("childless", "force");
        }
    }
    let net = Network::build();
    let folder = tempfile::Builder::new().prefix("adit-test-").tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let common = [("rekey", "yes"), ("dpddelay", "1"), ("retransmit-timeout", "10s")];
    let theirs: &[(&str, &str)] = if our_gateway {
        &[
            ("left", "10.1.0.2"),
            ("leftid", "rw@lab"),
            ("leftsubnet", "10.1.0.0/24"),
            ("right", "192.168.0.2"),
            ("rightid", "@gw.lab"),
            ("rightsubnet", "10.2.0.0/24"),
        ]
    } else {
        &[
            ("left", "192.168.0.2"),
            ("leftid", "@gw.lab"),
            ("leftsubnet", "10.2.0.0/24"),
            ("right", "%any"),
            ("rightid", "rw@lab"),
            ("rightsubnet", "10.1.0.0/24"),
        ]
    };
    let settings = [theirs, &common].concat();
    // it makes no route to what is behind its peer
    net.gw.sh("ip route add 10.1.0.0/24 via 192.168.0.1");
    let (our_place, their_place, conf) = match our_gateway {
        true => (&net.gw, &net.rw, &scenario.gw),
        false => (&net.rw, &net.gw, &scenario.rw),
    };
    let pluto = Libreswan::start(their_place, &at("pluto"), &settings, &proof);
    let ours = Peer::start(Kind::Adit, our_place, &at("ours"), conf);
    Pair { ours, pluto, name: scenario.rw.name, net, _folder: folder }
}

/// Runs a case where pluto is there.
fn run(test: &str, case: impl FnOnce()) {
    let test = format!("libreswan::{test}");
    match missing().or_else(|| Kind::Adit.missing()) {
        Some(reason) => skip(&test, &reason),
        None => run_case(&test, case),
    }
}

impl Pair {
    /// Our IKE_SA is up, and pluto's: its initiator's SPI.
    fn established(&self) -> String {
        wait_for("our IKE_SA", LIMIT, || {
            let sas = self.ours.sas();
            let up = sas.len() == 1 && sas[0].get("state") == "ESTABLISHED";
            let theirs = self.pluto.states().iter().filter(|s| s.contains("ESTABLISHED_IKE_SA")).count();
            (up && theirs == 1).then(|| sas[0].get("initiator-spi").to_owned())
        })
    }

    /// Nothing of it is left at either end.
    fn gone(&self) {
        self.ours.wait_until_empty(LIMIT);
        assert!(eventually(LIMIT, || self.pluto.states().is_empty()), "{:?}", self.pluto.states());
    }

    /// An IKE_SA that is up is watched, replaced by either side, and ends by `order` to pluto or by us.
    fn lives(&self, delete: Option<&str>) {
        let first = self.established();
        let answers = || self.ours.log().matches("parsed INFORMATIONAL response").count();
        wait_for("answers to liveness checks", LIMIT, || (answers() >= 2).then_some(()));
        let outcome = self.ours.swanctl(&["--rekey", "--ike", &self.name]);
        assert!(outcome.success, "{}", outcome.all());
        let replaced = |old: &str, by: &str| {
            wait_for(&format!("an IKE_SA that {by} rekeyed"), LIMIT, || {
                let new = self.established();
                (new != old).then_some(new)
            })
        };
        let second = replaced(&first, "we");
        self.pluto.whack("--rekey-ike");
        replaced(&second, "pluto");
        match delete {
            Some(order) => {
                self.pluto.whack(order);
            }
            None => assert!(self.ours.terminate(&self.name).success),
        }
        self.gone();
    }

    /// The same of one that we bring up.
    fn comes_up_and_lives(&self, delete: Option<&str>) {
        let outcome = self.ours.swanctl(&["--initiate", "--ike", &self.name, "--timeout", "10"]);
        assert!(outcome.success, "{}", outcome.all());
        self.lives(delete);
    }

    /// Packets cross it, and again after either side has rekeyed the CHILD_SA.
    fn carries(&self) {
        let crosses = |when: &str| {
            wait_for(&format!("a ping {when}"), LIMIT, || self.net.rw.ping(NODE).then_some(()));
            let rw = &self.net.rw;
            assert!(rw.pings(NODE, 3, 56) && rw.pings(NODE, 2, 1300), "pings are lost {when}");
        };
        crosses("at first");
        let key = || {
            let sa = self.ours.established(&self.name)?;
            let [child] = sa.children() else { return None };
            Some(child.get("spi-in").to_owned())
        };
        for by_us in [true, false] {
            let before = wait_for("one child", LIMIT, key);
            if by_us {
                let outcome = self.ours.swanctl(&["--rekey", "--child", "net"]);
                assert!(outcome.success, "{}", outcome.all());
            } else {
                self.pluto.whack("--rekey-child");
            }
            wait_for("a new child", LIMIT, || key().filter(|after| *after != before));
            crosses("after a rekeying");
        }
    }

    /// pluto's kernel has refused the CHILD_SA that was negotiated.
    fn refused_by_kernel(&self) -> bool {
        self.pluto.logged("Function not implemented")
    }
}

/// A pre-shared key; an IKE_SA alone, watched, rekeyed from either side, deleted by us.
#[test]
fn psk() {
    run("psk", || pair(Auth::Psk, false, true).comes_up_and_lives(None));
}

/// Certificates both ways; deleted by pluto.
#[test]
fn certificates() {
    let auth = Auth::Certificates(Algorithm::EcdsaP256);
    run("certificates", || pair(auth, false, true).comes_up_and_lives(Some("--delete-ike")));
}

/// pluto brings it up, by certificate and through the NAT: its CHILD_SA is agreed on and installed by us; where pluto's
/// kernel then refuses it, it is deleted in the IKE_SA, which lives on.
#[test]
fn pluto_initiates() {
    run("pluto_initiates", || {
        let pair = pair(Auth::Certificates(Algorithm::EcdsaP256), true, false);
        pair.pluto.whack("--initiate");
        pair.established();
        assert!(pair.ours.logged(&["CHILD_SA net", "established with SPIs"]), "no CHILD_SA was agreed on");
        if eventually(Duration::from_secs(3), || pair.refused_by_kernel()) {
            assert!(pair.ours.logged(&["received DELETE for ESP CHILD_SA"]), "it was not deleted");
        }
        // whoever only deletes it is called again
        pair.lives(Some("--terminate"));
    });
}

/// We bring it up with a child: pluto agrees on it, and says so when its kernel refuses it.
#[test]
fn child() {
    run("child", || {
        let pair = pair(Auth::Psk, false, false);
        let outcome = pair.ours.initiate(&pair.name, "net", 10);
        assert!(pair.pluto.logged("proposal 1:ESP="), "pluto chose no ESP proposal");
        if !pair.refused_by_kernel() {
            outcome.unwrap_or_else(|e| panic!("{e}"));
            return;
        }
        let output = outcome.expect_err("a child that pluto's kernel refused");
        assert!(output.contains("received TEMPORARY_FAILURE notify, no CHILD_SA built"), "{output}");
        pair.gone();
    });
}

/// We bring it up through the NAT; over the kernel's ESP at pluto's gateway.
#[test]
#[ignore = "needs the kernel of cargo xtask kernel"]
fn traffic_to_gateway() {
    run("traffic_to_gateway", || {
        let pair = pair(Auth::Psk, false, false);
        assert!(!pair.net.rw.ping(NODE), "the node is reachable without a tunnel");
        pair.ours.initiate(&pair.name, "net", 20).unwrap_or_else(|e| panic!("{e}"));
        pair.carries();
        assert!(pair.ours.terminate(&pair.name).success);
        pair.gone();
        assert!(!pair.net.rw.ping(NODE), "the node is reachable after the tunnel's end");
    });
}

/// pluto brings it up through the NAT, over the kernel's ESP, to our gateway.
#[test]
#[ignore = "needs the kernel of cargo xtask kernel"]
fn traffic_from_client() {
    run("traffic_from_client", || {
        let pair = pair(Auth::Certificates(Algorithm::EcdsaP256), true, false);
        assert!(!pair.net.rw.ping(NODE), "the node is reachable without a tunnel");
        pair.pluto.whack("--initiate");
        pair.established();
        pair.carries();
        pair.pluto.whack("--terminate");
        pair.gone();
    });
}
