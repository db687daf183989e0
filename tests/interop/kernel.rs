//! strongSwan with the kernel's ESP: what its userspace ESP cannot do (packets without UDP, transport mode, counting
//! packets), and a path that delays, doubles and reorders.

use std::time::Duration;

use adit_testbed::net::Namespace;
use adit_testbed::{Auth, NODE, Peer, Roles, Scenario, World, wait_for};

use crate::carry::{self, GW};

/// As `cases!`, for a kernel that does ESP.
macro_rules! kernel_cases {
    ($($(#[$doc:meta])* $case:ident = $function:expr;)*) => {$(
        $(#[$doc])*
        mod $case {
            #[allow(unused_imports, reason = "not every case is a function of the module around")]
            use super::*;
            #[test]
            #[ignore = "needs the kernel of cargo xtask kernel"]
            fn reference() {
                crate::run(module_path!(), "reference", Roles::REFERENCE, $function);
            }
            #[test]
            #[ignore = "needs the kernel of cargo xtask kernel"]
            fn our_gateway() {
                crate::run(module_path!(), "our_gateway", Roles::OUR_GATEWAY, $function);
            }
            #[test]
            #[ignore = "needs the kernel of cargo xtask kernel"]
            fn our_client() {
                crate::run(module_path!(), "our_client", Roles::OUR_CLIENT, $function);
            }
        }
    )*};
}

kernel_cases! {
    /// No NAT: ESP without UDP.
    raw = with_raw_esp;
    /// Transport mode without a NAT, all of it ESP.
    transport = with_transport;
    /// Transport mode in UDP through the NAT: TCP, so checksums matter.
    transport_in_udp = carry::with_transport_through_a_nat;
    /// A number of packets is what the CHILD_SA lives for.
    expire = with_expiry;
    /// A path with delay, loss, doubled and overtaken packets.
    netem = with_netem;
}

/// IPv6 outside, raw and in UDP; both families inside. With strongSwan's client IPv4 does not go into such a tunnel, even
/// with its own gateway: it makes no route of one family to a gateway of the other.
#[test]
#[ignore = "needs the kernel of cargo xtask kernel"]
fn ipv6_outside() {
    crate::run(module_path!(), "ipv6_outside", Roles::OUR_CLIENT, carry::with_ipv6_outside);
}

const LIMIT: Duration = Duration::from_secs(15);

/// Counts the ESP packets that arrive here from now on.
fn count_esp(namespace: &Namespace) {
    namespace.sh(
        "nft 'table inet seen { chain first { type filter hook prerouting priority -400; meta l4proto esp counter; }; }'",
    );
}

fn counted(namespace: &Namespace) -> u32 {
    let said = namespace.sh("nft list table inet seen");
    let count = said.split("packets ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    count.unwrap_or_else(|| panic!("{said}"))
}

/// A client on the gateway's own network.
fn near(world: &World, roles: Roles, scenario: &Scenario) -> Peer {
    world.net.nat.sh("nft delete table ip nat");
    count_esp(&world.net.gw);
    Peer::start(roles.rw, &world.net.nat, &world.folder().join("near"), &scenario.rw)
}

fn with_raw_esp(roles: Roles) {
    let scenario = Scenario::new(Auth::Psk);
    let world = World::start(roles, &scenario);
    let client = near(&world, roles, &scenario);
    assert!(!world.net.nat.ping(NODE), "the node is reachable without a tunnel");
    let sa = carry::bring_up(&world, &client);
    assert_eq!((sa.get("mode"), sa.get("encap")), ("TUNNEL", ""));
    assert!(world.net.nat.pings(NODE, 3, 56) && world.net.nat.pings(NODE, 2, 1300), "pings are lost");
    assert!(counted(&world.net.gw) >= 5, "not everything came as ESP");
    assert!(client.terminate("psk").success);
    world.nothing_left();
}

fn with_transport(roles: Roles) {
    let scenario = carry::host_to_host("transport", "transport");
    let world = World::start(roles, &scenario);
    let client = near(&world, roles, &scenario);
    let sa = carry::bring_up(&world, &client);
    assert_eq!((sa.get("mode"), sa.get("encap")), ("TRANSPORT", ""));
    assert!(world.net.nat.pings(GW, 3, 56) && world.net.nat.pings(GW, 2, 1300), "pings are lost");
    assert!(counted(&world.net.gw) >= 5, "not everything came as ESP");
    assert!(client.terminate("psk").success);
    world.nothing_left();
}

fn with_expiry(roles: Roles) {
    let mut scenario = Scenario::new(Auth::Psk);
    scenario.rw.child().set("rekey_packets", "20").set("life_packets", "1000").set("rand_packets", "0");
    let world = World::start(roles, &scenario);
    let before = world.up();
    assert!(world.net.rw.ping_of(NODE, 25));
    wait_for("another CHILD_SA", LIMIT, || {
        let sa = world.rw.established(&world.name)?;
        let fresh = |child: &adit_testbed::Tree| child.get("spi-in") != before.children()[0].get("spi-in");
        sa.children().iter().any(|child| fresh(child) && child.get("state") == "INSTALLED").then_some(())
    });
    world.reachable();
    world.down(false);
}

fn with_netem(roles: Roles) {
    let world = World::start(roles, &Scenario::new(Auth::Psk).impatient(60));
    world.unreachable_first();
    let path = "netem delay 30ms 20ms loss 5% duplicate 10% reorder 25%";
    for device in ["wan", "lan"] {
        world.net.nat.sh(&format!("tc qdisc add dev {device} root {path}"));
    }
    world.rw.initiate(&world.name, "net", 20).unwrap_or_else(|e| panic!("{e}"));
    let said = world.net.rw.sh(&format!("ping -n -c 60 -i 0.05 -W 2 {NODE} || true"));
    let received = said.lines().filter(|line| line.contains("icmp_seq=")).count();
    assert!((30..=60).contains(&received), "{received} of 60 answers:\n{said}");
    // a doubled ESP packet is a replayed one
    assert!(!said.contains("DUP!"), "{said}");
    for device in ["wan", "lan"] {
        world.net.nat.sh(&format!("tc qdisc del dev {device} root"));
    }
    wait_for("an answer on a good path", LIMIT, || world.net.rw.ping(NODE).then_some(()));
    world.reachable();
    world.down(false);
}
