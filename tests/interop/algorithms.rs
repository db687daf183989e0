//! Other keys and suites than the default ones.

use adit_testbed::pki::Algorithm;
use adit_testbed::{Auth, Roles, Scenario, World};

cases! {
    /// Certificates with ECDSA on P-384.
    ecdsa_p384 = |roles| certificates(roles, Algorithm::EcdsaP384);
    /// Certificates with Ed25519.
    ed25519 = |roles| certificates(roles, Algorithm::Ed25519);
    /// Certificates with RSA, 3072 bits.
    rsa_3072 = |roles| certificates(roles, Algorithm::Rsa3072);
    /// AES-CBC with HMAC for IKE and ESP, P-384.
    cbc = |roles| suites(roles, "aes256-sha384-ecp384", "aes128-sha256", "AES_CBC");
    /// AES-CBC with HMAC-SHA2-512, MODP 3072, PFS.
    cbc_sha512 = |roles| suites(roles, "aes128-sha512-modp3072", "aes256-sha512-modp3072", "AES_CBC");
    /// ChaCha20-Poly1305 for IKE; ESP with AES-GCM-128.
    chacha20 = |roles| suites(roles, "chacha20poly1305-prfsha256-x25519", "aes128gcm16-x25519", "AES_GCM_16");
    /// P-256 and P-521, AES-GCM-256.
    nist = |roles| suites(roles, "aes256gcm16-prfsha512-ecp521", "aes256gcm16-ecp256", "AES_GCM_16");
    /// The initiator guesses another group than the gateway wants: INVALID_KE_PAYLOAD and a second try.
    wrong_guess = guess;
}

fn certificates(roles: Roles, algorithm: Algorithm) {
    let world = World::start(roles, &Scenario::new(Auth::Certificates(algorithm)));
    world.up();
    world.reachable();
    world.down(true);
}

fn suites(roles: Roles, ike: &str, esp: &str, encryption: &str) {
    let mut scenario = Scenario::new(Auth::Psk);
    for end in [&mut scenario.gw, &mut scenario.rw] {
        end.conn.set("proposals", ike);
        end.child().set("esp_proposals", esp);
    }
    let world = World::start(roles, &scenario);
    let sa = world.up();
    assert_eq!(sa.children()[0].get("encr-alg"), encryption, "{sa:?}");
    world.reachable();
    world.down(false);
}

fn guess(roles: Roles) {
    let mut scenario = Scenario::new(Auth::Psk);
    scenario.rw.conn.set("proposals", "aes128gcm16-prfsha256-x25519-ecp256");
    scenario.gw.conn.set("proposals", "aes128gcm16-prfsha256-ecp256");
    let world = World::start(roles, &scenario);
    let sa = world.up();
    assert_eq!(sa.get("dh-group"), "ECP_256");
    assert!(world.rw.logged(&["N(INVAL_KE)"]), "no INVALID_KE_PAYLOAD");
    world.reachable();
}
