//! What happens to a tunnel that is up: rekeying, deletion from either side, a daemon that dies.

use std::time::Duration;

use adit_testbed::{Auth, Kind, NODE, NODE_TOO, Roles, Scenario, Traffic, Tree, World, vm, wait_for};

cases! {
    /// The road-warrior rekeys its CHILD_SA.
    rekey_child_by_client = |roles| rekey(roles, true, false);
    /// The gateway rekeys its CHILD_SA.
    rekey_child_by_gateway = |roles| rekey(roles, true, true);
    /// The road-warrior rekeys the IKE_SA.
    rekey_ike_by_client = |roles| rekey(roles, false, false);
    /// The gateway rekeys the IKE_SA.
    rekey_ike_by_gateway = |roles| rekey(roles, false, true);
    /// The road-warrior reauthenticates.
    reauth_by_client = |roles| reauthenticate(roles, false);
    /// The gateway says for how long it believes the road-warrior (RFC 4478).
    reauth_by_gateway = |roles| reauthenticate(roles, true);
    /// The road-warrior authenticates again on command and keeps its address.
    reauth_on_command_by_client = |roles| reauth(roles, false);
    /// The gateway has the road-warrior authenticate again, by AUTH_LIFETIME where it cannot do so itself.
    reauth_on_command_by_gateway = |roles| reauth(roles, true);
    /// The gateway deletes the CHILD_SA; where the action is a trap, the next packet brings it back.
    closed_child_is_trapped = closed_and_trapped;
    /// The road-warrior deletes the IKE_SA.
    delete_by_client = |roles| delete(roles, false);
    /// The gateway deletes the IKE_SA.
    delete_by_gateway = |roles| delete(roles, true);
    /// The CHILD_SA is deleted and made again within the same IKE_SA.
    delete_child = delete_and_remake_child;
    /// A second CHILD_SA in the same IKE_SA.
    second_child = two_children;
    /// SIGTERM of the road-warrior tells the gateway and cleans up.
    orderly_stop = stop;
    /// SIGKILL of the gateway and a new start: the road-warrior's liveness check brings the tunnel back.
    killed_gateway = kill_gateway;
    /// The path is cut for longer than the peers wait: both find out, and the road-warrior comes back.
    cut_path = cut;
    /// SIGKILL of the road-warrior and a new start over whatever it left.
    killed_client = kill_client;
}

const LIMIT: Duration = Duration::from_secs(8);

pub(crate) fn rekey(roles: Roles, child: bool, by_gateway: bool) {
    let world = World::start(roles, &Scenario::new(Auth::Psk));
    let before = world.up();
    world.reachable();
    let peer = if by_gateway { &world.gw } else { &world.rw };
    let what = if child { ["--child", "net"] } else { ["--ike", &world.name] };
    let outcome = peer.swanctl(&["--rekey", what[0], what[1]]);
    assert!(outcome.success, "{}", outcome.all());
    let key = |sa: &Tree| {
        let children = sa.children().iter().filter(|c| c.get("state") == "INSTALLED");
        let spis = children.map(|c| c.get("spi-in").to_owned()).collect::<Vec<_>>();
        if child { spis } else { vec![sa.get("initiator-spi").to_owned()] }
    };
    for (peer, side) in [(&world.rw, "road-warrior"), (&world.gw, "gateway")] {
        wait_for(&format!("new keys at the {side}"), LIMIT, || {
            let sas = peer.sas();
            let sa = peer.established(&world.name)?;
            (sas.len() == 1 && (side == "gateway" || key(&sa) != key(&before))).then_some(())
        });
    }
    world.reachable();
    // the old ones go away (5 s for the old inbound half), one child stays
    for peer in [&world.rw, &world.gw] {
        wait_for("one child", LIMIT, || {
            let sas = peer.sas();
            (sas.len() == 1 && sas[0].children().len() == 1).then_some(())
        });
    }
    let after = world.rw.established(&world.name).expect("still up");
    let theirs = world.gw.established(&world.name).expect("still up");
    assert_eq!(after.children()[0].get("spi-out"), theirs.children()[0].get("spi-in"));
    assert_eq!(after.list("local-vips"), before.list("local-vips"), "the address stays");
    world.reachable();
    world.down(false);
}

fn reauth(roles: Roles, by_gateway: bool) {
    // strongSwan's gateway does not ask for it on command.
    if by_gateway && roles.gw == Kind::StrongSwan {
        return;
    }
    let world = World::start(roles, &Scenario::new(Auth::Psk));
    let before = world.up();
    world.reachable();
    let peer = if by_gateway { &world.gw } else { &world.rw };
    let outcome = peer.swanctl(&["--rekey", "--ike", &world.name, "--reauth"]);
    assert!(outcome.success, "{}", outcome.all());
    let after = wait_for("another IKE_SA", Duration::from_secs(30), || {
        let sas = world.rw.sas();
        let sa = world.rw.established(&world.name)?;
        (sas.len() == 1 && sa.get("initiator-spi") != before.get("initiator-spi")).then_some(sa)
    });
    wait_for("one at the gateway", Duration::from_secs(20), || (world.gw.sas().len() == 1).then_some(()));
    assert_eq!(after.list("local-vips"), before.list("local-vips"), "the address stays");
    world.reachable();
    world.down(false);
}

fn closed_and_trapped(roles: Roles) {
    // strongSwan's userspace ESP has no traps.
    if roles.rw == Kind::StrongSwan && !vm::inside() {
        return;
    }
    let mut scenario = Scenario::new(Auth::Psk);
    scenario.rw.child().set("close_action", "trap");
    let world = World::start(roles, &scenario);
    world.up();
    world.reachable();
    let outcome = world.gw.swanctl(&["--terminate", "--child", "net", "--timeout", "10"]);
    assert!(outcome.success, "{}", outcome.all());
    wait_for("no child", LIMIT, || world.rw.sas().iter().all(|sa| sa.children().is_empty()).then_some(()));
    wait_for("a way through", LIMIT, || world.net.rw.ping(NODE).then_some(()));
    assert_eq!(world.rw.established(&world.name).map_or(0, |sa| sa.children().len()), 1);
    world.reachable();
}

/// A new IKE_SA in the place of the old one, with the same address; the old one goes when the new one is there.
pub(crate) fn reauthenticate(roles: Roles, by_gateway: bool) {
    let mut scenario = Scenario::new(Auth::Psk);
    for end in [&mut scenario.gw, &mut scenario.rw] {
        end.conn.set("over_time", "1s").set("rand_time", "0s");
    }
    let end = if by_gateway { &mut scenario.gw } else { &mut scenario.rw };
    // what is announced may be obeyed late, but not after its end
    end.conn.set("reauth_time", if by_gateway { "8s" } else { "3s" }).set("over_time", "30s");
    for end in [&mut scenario.gw, &mut scenario.rw] {
        end.charon += "  make_before_break = yes\n";
    }
    let world = World::start(roles, &scenario);
    let before = world.up();
    let after = wait_for("a new IKE_SA alone at the road-warrior", Duration::from_secs(30), || {
        let sa = world.rw.established(&world.name)?;
        let new = sa.get("initiator-spi") != before.get("initiator-spi");
        (new && world.rw.sas().len() == 1).then_some(sa)
    });
    assert_eq!(after.list("local-vips"), before.list("local-vips"), "the address stays");
    assert!(world.net.rw.ping_of(NODE, 5), "no ping after it");
    // it goes on like this, so what the gateway has is compared in one look
    wait_for("one IKE_SA and one lease at the gateway", LIMIT, || {
        (world.gw.sas().len() == 1 && world.gw.leases_online() == 1).then_some(())
    });
}

pub(crate) fn delete(roles: Roles, by_gateway: bool) {
    let world = World::start(roles, &Scenario::new(Auth::Psk));
    world.up();
    world.reachable();
    world.down(by_gateway);
    world.unreachable_first();
    // and again
    world.up();
    world.reachable();
    world.down(by_gateway);
}

fn delete_and_remake_child(roles: Roles) {
    let world = World::start(roles, &Scenario::new(Auth::Psk));
    let before = world.up();
    let outcome = world.rw.swanctl(&["--terminate", "--child", "net", "--timeout", "10"]);
    assert!(outcome.success, "{}", outcome.all());
    for peer in [&world.rw, &world.gw] {
        wait_for("no child", LIMIT, || peer.sas().iter().all(|sa| sa.children().is_empty()).then_some(()));
        assert_eq!(peer.sas().len(), 1, "the IKE_SA stays");
    }
    assert!(!world.net.rw.ping(NODE), "reachable without the child");
    world.rw.initiate(&world.name, "net", 10).unwrap_or_else(|e| panic!("making it again: {e}"));
    let after = world.rw.established(&world.name).expect("up again");
    assert_eq!(after.get("initiator-spi"), before.get("initiator-spi"), "the same IKE_SA");
    world.reachable();
    world.down(false);
}

pub(crate) fn two_children(roles: Roles) {
    let mut scenario = Scenario::new(Auth::Psk);
    let mut other = scenario.gw.children[0].clone();
    other.0 = "inner".into();
    other.1.set("local_ts", "10.2.1.0/24");
    scenario.gw.children.push(other.clone());
    other.1.remove("local_ts").set("remote_ts", "10.2.1.0/24");
    scenario.rw.children.push(other);
    let world = World::start(roles, &scenario);
    world.up();
    world.reachable();
    assert!(!world.net.rw.ping(NODE_TOO), "reachable without its child");
    world.rw.initiate(&world.name, "inner", 10).unwrap_or_else(|e| panic!("the second child: {e}"));
    let sas = world.rw.sas();
    assert_eq!((sas.len(), sas[0].children().len()), (1, 2), "two children in one IKE_SA");
    assert!(world.net.rw.ping(NODE_TOO));
    world.reachable();
    world.down(false);
}

pub(crate) fn stop(roles: Roles) {
    let mut world = World::start(roles, &Scenario::new(Auth::Psk));
    world.up();
    let (took, well) = world.rw.stop().expect("it ends on SIGTERM");
    assert!(well && took < Duration::from_secs(1), "took {took:?}, well: {well}");
    world.gw.wait_until_empty(LIMIT);
    assert_eq!(world.gw.leases_online(), 0);
    assert!(!world.net.rw.has_virtual_ip());
    assert!(world.net.rw.tunnel_routes().is_empty());
    let rules = world.net.rw.sh("ip rule show");
    assert!(!rules.contains("lookup 220"), "its rule stays: {rules}");
}

fn with_liveness() -> Scenario {
    let mut scenario = Scenario::new(Auth::Psk).impatient(2);
    for end in [&mut scenario.gw, &mut scenario.rw] {
        end.conn.set("dpd_delay", "1s");
        let action = if end.pools.is_empty() { "restart" } else { "clear" };
        end.child().set("dpd_action", action);
    }
    scenario.rw.conn.set("keyingtries", "0");
    scenario
}

pub(crate) fn kill_gateway(roles: Roles) {
    let mut world = World::start(roles, &with_liveness());
    let before = world.up();
    world.reachable();
    world.gw.kill();
    assert!(!world.net.rw.ping(NODE), "reachable through a dead gateway");
    world.gw.launch(&world.net.gw);
    world.gw.load();
    let after = wait_for("the tunnel again", Duration::from_secs(30), || {
        let sa = world.rw.established(&world.name)?;
        (sa.get("initiator-spi") != before.get("initiator-spi")).then_some(sa)
    });
    wait_for("the gateway's IKE_SA", LIMIT, || world.gw.established(&world.name));
    assert_eq!(after.list("local-vips").len(), 1);
    world.reachable();
}

pub(crate) fn cut(roles: Roles) {
    let world = World::start(roles, &with_liveness());
    let before = world.up();
    world.reachable();
    world.net.traffic(Traffic::Cut);
    // 1 s of silence, then 1.5 s of retransmissions
    world.gw.wait_until_empty(Duration::from_secs(20));
    assert_eq!(world.gw.leases_online(), 0);
    wait_for("the road-warrior knows", Duration::from_secs(20), || {
        world.rw.established(&world.name).is_none().then_some(())
    });
    world.net.traffic(Traffic::Pass);
    let after = wait_for("the tunnel again", Duration::from_secs(30), || world.rw.established(&world.name));
    assert_ne!(after.get("initiator-spi"), before.get("initiator-spi"));
    wait_for("the gateway's IKE_SA", LIMIT, || world.gw.established(&world.name));
    world.reachable();
}

fn kill_client(roles: Roles) {
    let mut world = World::start(roles, &with_liveness());
    world.up();
    world.reachable();
    world.rw.kill();
    world.rw.launch(&world.net.rw);
    world.rw.load();
    if roles.rw == Kind::Adit {
        // over stale TUN, addresses and routes it comes up clean
        assert!(world.net.rw.tunnel_routes().is_empty(), "{:?}", world.net.rw.tunnel_routes());
        assert!(!world.net.rw.has_virtual_ip(), "a stale virtual address");
    }
    world.up();
    world.reachable();
    wait_for("the old IKE_SA gone", Duration::from_secs(15), || (world.gw.sas().len() == 1).then_some(()));
    assert_eq!(world.gw.leases_online(), 1);
}
