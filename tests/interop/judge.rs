//! An independent decoder judges our bytes: a capture at the NAT router, decrypted by tshark with the key log our
//! daemon writes.

use adit_testbed::capture::{Capture, decode};
use adit_testbed::pki::Algorithm;
use adit_testbed::{Auth, NODE, Roles, Scenario, World};

/// The default suite, certificates: IKE payloads and ICMP inside ESP.
#[test]
fn as_client() {
    crate::run(module_path!(), "as_client", Roles::OUR_CLIENT, |roles| judged(roles, Auth::Psk, None));
}

/// The same as gateway.
#[test]
fn as_gateway() {
    let auth = Auth::Certificates(Algorithm::EcdsaP256);
    crate::run(module_path!(), "as_gateway", Roles::OUR_GATEWAY, |roles| judged(roles, auth, None));
}

/// AES-CBC with HMAC.
#[test]
fn cbc() {
    let suites = Some(("aes256-sha256-x25519", "aes128-sha256"));
    crate::run(module_path!(), "cbc", Roles::OUR_CLIENT, |roles| judged(roles, Auth::Eap, suites));
}

fn judged(roles: Roles, auth: Auth, suites: Option<(&str, &str)>) {
    let mut scenario = Scenario::new(auth);
    if let Some((ike, esp)) = suites {
        for end in [&mut scenario.gw, &mut scenario.rw] {
            end.conn.set("proposals", ike);
            end.child().set("esp_proposals", esp);
        }
    }
    let world = World::start(roles, &scenario);
    // where addresses are still as our key log has them
    let device = if roles.rw == adit_testbed::Kind::Adit { "lan" } else { "wan" };
    let capture = Capture::start(&world.net.nat, device, &world.folder().join("wire.pcap"));
    world.up();
    assert!(world.net.rw.pings(NODE, 3, 56));
    world.down(false);
    let file = capture.stop();
    let ours = if roles.rw == adit_testbed::Kind::Adit { &world.rw } else { &world.gw };
    let keys = ours.folder().join("keys");

    // every IKE message decodes, nothing in it is malformed, and the payloads inside are what was meant
    let ike = decode(
        &file,
        Some(&keys),
        "isakmp",
        &["isakmp.exchangetype", "isakmp.messageid", "isakmp.typepayload"],
    );
    let payloads =
        |exchange: &str| -> Vec<&String> { ike.iter().filter(|l| l.starts_with(exchange)).collect() };
    let auth_messages = payloads("35\t");
    assert!(auth_messages.len() >= 2, "no IKE_AUTH: {ike:?}");
    // 39 AUTH, 33 SA, 44 and 45 traffic selectors: visible only when decrypted
    for wanted in ["39", "33", "44", "45"] {
        let seen = |l: &&String| l.split(['\t', ',']).any(|p| p == wanted);
        assert!(auth_messages.iter().any(seen), "payload {wanted} in no IKE_AUTH: {auth_messages:?}");
    }
    assert!(!payloads("37\t").is_empty(), "no INFORMATIONAL");
    let malformed = decode(&file, Some(&keys), "_ws.malformed", &["frame.number", "_ws.col.Info"]);
    assert!(malformed.is_empty(), "malformed: {malformed:?}");

    // the pings, in the clear again
    let echoes = decode(&file, Some(&keys), "esp && icmp", &["icmp.type", "ip.src", "ip.dst"]);
    let requests =
        echoes.iter().filter(|l| l.starts_with("8\t") && l.contains("10.3.0.1") && l.contains(NODE)).count();
    let replies = echoes.iter().filter(|l| l.starts_with("0\t")).count();
    assert_eq!((requests, replies), (3, 3), "{echoes:?}");
}
