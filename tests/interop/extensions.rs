//! Extensions of IKEv2: IKE_SAs without a child (RFC 6023), redirects (RFC 5685).

use std::time::Duration;

use adit_testbed::{Auth, Kind, Roles, Scenario, World, wait_for};

cases! {
    /// `childless = force` at both ends: the child follows the IKE_SA, and the IKE_SA comes up alone when asked to.
    childless = without_child;
    /// The gateway sends a connected road-warrior to its other address.
    redirect_by_command = redirect_connected;
}

const LIMIT: Duration = Duration::from_secs(15);
/// The gateway's other address: it plays both gateways.
const OTHER: &str = "192.168.0.3";

fn without_child(roles: Roles) {
    let mut scenario = Scenario::new(Auth::Psk);
    for end in [&mut scenario.gw, &mut scenario.rw] {
        end.conn.set("childless", "force");
    }
    let world = World::start(roles, &scenario);
    let outcome = world.rw.swanctl(&["--initiate", "--ike", &world.name, "--timeout", "10"]);
    assert!(outcome.success, "{}", outcome.all());
    for peer in [&world.rw, &world.gw] {
        wait_for("an IKE_SA alone", LIMIT, || {
            let sas = peer.sas();
            (sas.len() == 1 && sas[0].get("state") == "ESTABLISHED" && sas[0].children().is_empty())
                .then_some(())
        });
    }
    world.unreachable_first();
    world.rw.initiate(&world.name, "net", 10).unwrap_or_else(|e| panic!("the child: {e}"));
    assert_eq!(world.rw.sas().len(), 1, "in the same IKE_SA");
    world.reachable();
    world.down(false);
    world.up();
    world.reachable();
    world.down(true);
}

fn two_addresses(scenario: &mut Scenario) {
    scenario.gw.conn.set("local_addrs", &format!("{}, {OTHER}", adit_testbed::net::GW));
}

fn start(roles: Roles, scenario: &Scenario) -> World {
    let world = World::start(roles, scenario);
    world.net.gw.sh(&format!("ip address add {OTHER}/24 dev wan"));
    world
}

/// Both ends have one IKE_SA with its child, and it leads to the other address.
fn arrived(world: &World) {
    wait_for("the tunnel at the other address", LIMIT, || {
        let (ours, theirs) = (world.rw.sas(), world.gw.sas());
        let there = ours.len() == 1 && ours[0].get("remote-host") == OTHER && theirs.len() == 1;
        (there && world.rw.established(&world.name).is_some()).then_some(())
    });
    wait_for("the gateway's IKE_SA", LIMIT, || world.gw.established(&world.name));
    world.reachable();
}

fn redirect_connected(roles: Roles) {
    let mut scenario = Scenario::new(Auth::Psk);
    two_addresses(&mut scenario);
    let world = start(roles, &scenario);
    world.up();
    world.reachable();
    let outcome = world.gw.swanctl(&["--redirect", "--ike", &world.name, "--gateway", OTHER]);
    assert!(outcome.success, "{}", outcome.all());
    arrived(&world);
    world.down(false);
}

/// Our gateway sends whoever comes to its other address, before or after authentication.
fn redirect_new(stage: &str, roles: Roles) {
    for auth in [Auth::Psk, Auth::EapPsk] {
        let mut scenario = Scenario::new(auth);
        two_addresses(&mut scenario);
        scenario.gw.adit = format!("  redirect {{\n    gateway = {OTHER}\n    stage = {stage}\n  }}\n");
        let world = start(roles, &scenario);
        world.unreachable_first();
        // strongSwan's swanctl loses sight of an IKE_SA that goes on elsewhere: what counts is where it ends.
        let _ = world.rw.initiate(&world.name, "net", 10);
        if stage == "auth" && roles.rw == Kind::StrongSwan {
            // strongSwan 5.9.8 believes it, sets out, and then dies of a double free of its own.
            assert!(world.rw.logged(&["redirected to", OTHER]), "it did not follow");
            continue;
        }
        arrived(&world);
        world.down(false);
    }
}

mod redirect_of_new_clients {
    use super::*;

    fn case(test: &str, rw: Kind, stage: &str) {
        crate::run(module_path!(), test, Roles { gw: Kind::Adit, rw }, |roles| redirect_new(stage, roles));
    }

    #[test]
    fn strongswan_by_init() {
        case("strongswan_by_init", Kind::StrongSwan, "init");
    }

    #[test]
    fn strongswan_by_auth() {
        case("strongswan_by_auth", Kind::StrongSwan, "auth");
    }

    #[test]
    fn ours_by_init() {
        case("ours_by_init", Kind::Adit, "init");
    }

    #[test]
    fn ours_by_auth() {
        case("ours_by_auth", Kind::Adit, "auth");
    }
}
