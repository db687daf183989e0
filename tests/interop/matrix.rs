//! Three authentications through a masquerading NAT: address from the pool, split tunnel, traffic, an orderly end.

use adit_testbed::pki::Algorithm;
use adit_testbed::{Auth, Roles, Scenario, World};

cases! {
    /// Pre-shared keys.
    psk = |roles| round(roles, Auth::Psk);
    /// The gateway by certificate, the road-warrior by EAP-MSCHAPv2.
    eap_mschapv2 = |roles| round(roles, Auth::Eap);
    /// The gateway by pre-shared key, the road-warrior by EAP-MSCHAPv2.
    eap_mschapv2_psk_gateway = |roles| round(roles, Auth::EapPsk);
    /// ECDSA certificates both ways.
    certificates = |roles| round(roles, Auth::Certificates(Algorithm::EcdsaP256));
}

pub(crate) fn round(roles: Roles, auth: Auth) {
    let world = World::start(roles, &Scenario::new(auth));
    let sa = world.up();
    world.reachable();

    // the road-warrior's view
    assert_eq!(sa.list("local-vips"), ["10.3.0.1"]);
    assert_eq!(sa.get("remote-id"), "gw.lab");
    assert_eq!((sa.get("local-port"), sa.get("remote-port")), ("4500", "4500"), "floated to the NAT-T port");
    assert_eq!(sa.get("nat-local"), "yes");
    let child = &sa.children()[0];
    assert_eq!((child.get("mode"), child.get("encap"), child.get("protocol")), ("TUNNEL", "yes", "ESP"));
    assert_eq!(child.list("local-ts"), ["10.3.0.1/32"]);
    assert_eq!(child.list("remote-ts"), ["10.2.0.0/24"]);
    assert!(
        world.net.rw.tunnel_routes().iter().any(|r| r.starts_with("10.2.0.0/24")),
        "no route in table 220"
    );
    assert!(world.net.rw.has_virtual_ip());
    let resolv = std::fs::read_to_string(world.rw.folder().join("resolv.conf")).unwrap_or_default();
    assert!(resolv.contains("10.2.0.2"), "no name server in resolv.conf: {resolv}");

    // the gateway's
    let theirs = world.gw.established(&world.name).expect("the gateway's IKE_SA");
    assert_eq!(theirs.list("remote-vips"), ["10.3.0.1"]);
    assert_eq!(theirs.get("nat-remote"), "yes");
    if matches!(auth, Auth::Eap | Auth::EapPsk) {
        // sent only if it differs from remote-id
        let eap = theirs.get("remote-eap-id");
        assert!(eap == "alice" || eap.is_empty() && theirs.get("remote-id") == "alice", "{theirs:?}");
    }
    assert_eq!(theirs.get("initiator-spi"), sa.get("initiator-spi"));
    assert_eq!(theirs.children()[0].get("spi-in"), child.get("spi-out"));
    assert_eq!(world.gw.leases_online(), 1);

    // the bytes were counted where they went
    let counted = world.rw.established(&world.name).expect("still up");
    assert!(counted.children()[0].number("packets-in") >= 5, "{counted:?}");
    assert!(counted.children()[0].number("packets-out") >= 5, "{counted:?}");

    world.down(false);
    world.unreachable_first();
}
