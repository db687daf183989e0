//! What must not come up: a clean failure, the right notify on the wire, nothing left behind, and from our daemon one
//! sentence that names cause and cure, in the log of the side that knows and in `adit status`.

use std::time::Duration;

use adit_testbed::pki::{Algorithm, Subject};
use adit_testbed::{Auth, Kind, Peer, Pki, Roles, Scenario, Traffic, World, eventually};

cases! {
    /// Different pre-shared keys.
    wrong_psk = wrong_secret;
    /// A password that the gateway does not have.
    wrong_eap_password = wrong_password;
    /// No IKE proposal in common.
    no_common_ike_proposal = ike_proposals;
    /// No ESP proposal in common.
    no_common_esp_proposal = esp_proposals;
    /// Traffic selectors that do not meet.
    selectors_do_not_meet = selectors;
    /// The client's authority is not the gateway's.
    untrusted_client_certificate = |roles| untrusted(roles, Subject::RoadWarrior);
    /// The gateway's authority is not the client's.
    untrusted_gateway_certificate = |roles| untrusted(roles, Subject::Gateway);
    /// The client's certificate has expired.
    expired_client_certificate = |roles| expired(roles, Subject::RoadWarrior);
    /// The gateway's certificate has expired.
    expired_gateway_certificate = |roles| expired(roles, Subject::Gateway);
    /// The client wants another gateway than the one that answers.
    wrong_gateway_identity = wrong_gateway;
    /// The gateway knows nobody of that name.
    wrong_client_identity = wrong_client;
    /// The configured local address is not on this host.
    local_address_missing = local_address;
    /// Nobody answers.
    peer_unreachable = unreachable;
}

/// What a failing case expects.
struct Expected<'a> {
    /// The notify, as log lines abbreviate it; the side that receives it, the initiator if true.
    notify: Option<(&'a str, bool)>,
    /// Who knows why, the initiator if true.
    initiator_knows: bool,
    /// Words of our sentence, lower case.
    cause: &'a [&'a str],
    /// A word of our cure.
    cure: &'a str,
}

/// The shortened table of retransmissions.
fn failing(auth: Auth) -> Scenario {
    Scenario::new(auth).impatient(3)
}

fn fails(roles: Roles, scenario: &Scenario, expected: &Expected<'_>) {
    let world = World::start(roles, scenario);
    fails_in(&world, expected);
}

fn fails_in(world: &World, expected: &Expected<'_>) {
    world.unreachable_first();
    let outcome = world.rw.initiate(&world.name, "net", 15);
    let output = outcome.expect_err("this must not come up");
    assert!(output.contains("initiate failed"), "no clean failure: {output}");
    world.unreachable_first();
    if let Some((notify, to_initiator)) = expected.notify {
        let (receiver, sender) = if to_initiator { (&world.rw, &world.gw) } else { (&world.gw, &world.rw) };
        let notify = format!("N({notify})");
        assert!(receiver.logged(&["parsed", &notify]), "{notify} was not received");
        assert!(sender.logged(&["generating", &notify]), "{notify} was not sent");
    }
    // a child that fails may leave its IKE_SA up (RFC 7296 §1.3): taken down, not counted as left behind
    for peer in [&world.rw, &world.gw] {
        if !peer.sas().is_empty() {
            assert!(
                peer.sas().iter().all(|sa| sa.children().is_empty()),
                "a child is left: {:?}",
                peer.sas()
            );
        }
    }
    let _ = world.rw.terminate(&world.name);
    world.nothing_left();

    let knows = if expected.initiator_knows { &world.rw } else { &world.gw };
    if knows.kind == Kind::Adit {
        explains(knows, expected.cause);
        explains(knows, &[expected.cure]);
    } else if world.rw.kind == Kind::Adit {
        // it was told little, and says so
        let told = |text: &str| text.contains("the peer ") || text.contains("the server ");
        assert!(
            told(&world.rw.log()) && told(&world.rw.status()),
            "no word of the refusal:\n{}",
            world.rw.status()
        );
    }
}

/// One line of the log and one of `adit status` has all of `words`.
fn explains(peer: &Peer, words: &[&str]) {
    let has = |text: &str| text.lines().any(|line| words.iter().all(|w| line.to_lowercase().contains(w)));
    assert!(eventually(Duration::from_secs(2), || has(&peer.log())), "no line of the log has {words:?}");
    let status = peer.status();
    assert!(has(&status), "`adit status` has no line with {words:?}:\n{status}");
}

fn wrong_secret(roles: Roles) {
    let mut scenario = failing(Auth::Psk);
    scenario.rw.secrets = scenario.rw.secrets.replace("horse", "zebra");
    fails(
        roles,
        &scenario,
        &Expected {
            notify: Some(("AUTH_FAILED", true)),
            initiator_knows: false,
            cause: &["pre-shared key", "rw@lab"],
            cure: "same secret",
        },
    );
}

fn wrong_password(roles: Roles) {
    let mut scenario = failing(Auth::Eap);
    // strongSwan's client gives up in the middle of EAP, and its gateway waits for it
    scenario.gw.charon += "  half_open_timeout = 3\n";
    scenario.rw.secrets = scenario.rw.secrets.replace("Ar3et", "Br3et");
    fails(
        roles,
        &scenario,
        &Expected {
            notify: None,
            initiator_knows: false,
            cause: &["eap", "alice", "failed"],
            cure: "secrets.eap",
        },
    );
}

fn ike_proposals(roles: Roles) {
    let mut scenario = failing(Auth::Psk);
    scenario.gw.conn.set("proposals", "aes256-sha384-ecp384");
    scenario.rw.conn.set("proposals", "aes128gcm16-prfsha256-x25519");
    fails(
        roles,
        &scenario,
        &Expected {
            notify: Some(("NO_PROP", true)),
            initiator_knows: false,
            cause: &["no ike proposal in common"],
            cure: "`proposals`",
        },
    );
}

fn esp_proposals(roles: Roles) {
    let mut scenario = failing(Auth::Psk);
    scenario.gw.child().set("esp_proposals", "aes256-sha384");
    scenario.rw.child().set("esp_proposals", "aes128gcm16");
    fails(
        roles,
        &scenario,
        &Expected {
            notify: Some(("NO_PROP", true)),
            initiator_knows: false,
            cause: &["no esp proposal in common"],
            cure: "`esp_proposals`",
        },
    );
}

fn selectors(roles: Roles) {
    let mut scenario = failing(Auth::Psk);
    scenario.rw.child().set("remote_ts", "10.9.0.0/24");
    fails(
        roles,
        &scenario,
        &Expected {
            notify: Some(("TS_UNACCEPT", true)),
            initiator_knows: false,
            cause: &["selectors do not meet", "10.9.0.0/24"],
            cure: "local_ts",
        },
    );
}

fn untrusted(roles: Roles, who: Subject) {
    let mut scenario = failing(Auth::Certificates(Algorithm::EcdsaP256));
    let other = Pki::new("another root", Algorithm::EcdsaP256);
    certify(&mut scenario, who, other.issue(who));
    let gateway = who == Subject::Gateway;
    fails(
        roles,
        &scenario,
        &Expected {
            notify: Some(("AUTH_FAILED", !gateway)),
            initiator_knows: gateway,
            cause: &["is not trusted", "another root"],
            cure: "x509ca",
        },
    );
}

fn expired(roles: Roles, who: Subject) {
    let mut scenario = failing(Auth::Certificates(Algorithm::EcdsaP256));
    let pki = Pki::new("another root", Algorithm::EcdsaP256);
    scenario.gw.authorities = vec![pki.authority.clone()];
    scenario.rw.authorities = vec![pki.authority.clone()];
    for subject in [Subject::Gateway, Subject::RoadWarrior] {
        let entity = if subject == who { pki.issue_expired(subject) } else { pki.issue(subject) };
        certify(&mut scenario, subject, entity);
    }
    let gateway = who == Subject::Gateway;
    fails(
        roles,
        &scenario,
        &Expected {
            notify: Some(("AUTH_FAILED", !gateway)),
            initiator_knows: gateway,
            cause: &["expired"],
            cure: "renew",
        },
    );
}

fn certify(scenario: &mut Scenario, who: Subject, entity: adit_testbed::pki::Entity) {
    let end = if who == Subject::Gateway { &mut scenario.gw } else { &mut scenario.rw };
    end.entity = Some(entity);
}

fn wrong_gateway(roles: Roles) {
    let mut scenario = failing(Auth::Certificates(Algorithm::EcdsaP256));
    scenario.rw.remote.set("id", "other.lab");
    fails(
        roles,
        &scenario,
        &Expected {
            notify: Some(("AUTH_FAILED", true)),
            initiator_knows: false,
            cause: &["other.lab"],
            cure: "local.id",
        },
    );
}

fn wrong_client(roles: Roles) {
    let mut scenario = failing(Auth::Certificates(Algorithm::EcdsaP256));
    scenario.gw.remote.set("id", "somebody@lab");
    fails(
        roles,
        &scenario,
        &Expected {
            notify: Some(("AUTH_FAILED", true)),
            initiator_knows: false,
            cause: &["no connection accepts", "rw@lab"],
            cure: "remote.id",
        },
    );
}

fn local_address(roles: Roles) {
    let mut scenario = failing(Auth::Psk);
    scenario.rw.conn.set("local_addrs", "10.99.0.1");
    fails(
        roles,
        &scenario,
        &Expected {
            notify: None,
            initiator_knows: true,
            cause: &["10.99.0.1", "local_addrs"],
            cure: "correct local_addrs",
        },
    );
}

fn unreachable(roles: Roles) {
    let world = World::start(roles, &failing(Auth::Psk));
    world.net.traffic(Traffic::Cut);
    let start = std::time::Instant::now();
    fails_in(
        &world,
        &Expected {
            notify: None,
            initiator_knows: true,
            cause: &["192.168.0.2", "does not answer"],
            cure: "udp 500",
        },
    );
    assert!(start.elapsed() < Duration::from_secs(20), "bounded by the configured table");
}
