//! Every way to prove oneself, at both ends; virtual addresses; certificates in fragments.

use std::sync::Arc;

use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};

use super::pair::*;
use super::pki::Ca;
use crate::*;

/// Both ends by certificates of one authority.
pub(crate) fn certificates(
    client: &'static rcgen::SignatureAlgorithm,
    server: &'static rcgen::SignatureAlgorithm,
) -> Setup {
    let ca = Ca::new("CA");
    let (client_cert, client_key) = ca.issue("a.example", client);
    let (server_cert, server_key) = ca.issue("b.example", server);
    let mut setup = Setup::psk();
    let credentials = |cert: &adit_pki::Certificate, key| {
        Arc::new(Credentials {
            keys: vec![(cert.spki().to_vec(), key)],
            authorities: vec![ca.cert.clone()],
            ..Credentials::default()
        })
    };
    setup.client.credentials = credentials(&client_cert, client_key);
    setup.server.credentials = credentials(&server_cert, server_key);
    let pubkey = |conn: &mut Connection, cert| {
        conn.local.method = AuthMethod::Pubkey;
        conn.local.certs = vec![cert];
        conn.remote.method = AuthMethod::Pubkey;
    };
    pubkey(setup.client_conn(), client_cert);
    pubkey(setup.server_conn(), server_cert);
    setup
}

/// The client by EAP, the server by certificate or pre-shared key, with addresses from a pool.
pub(crate) fn eap(server_by: AuthMethod) -> Setup {
    let mut setup = certificates(&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P256_SHA256);
    let users = vec![secret(&["carol"], "tiger")];
    let shared = vec![secret(&["b.example"], "swordfish")];
    for config in [&mut setup.client, &mut setup.server] {
        let credentials = Arc::make_mut(&mut config.credentials);
        credentials.eap = users.clone();
        credentials.shared = shared.clone();
    }
    let client = setup.client_conn();
    client.local = LocalAuth {
        id: Some(id("a.example")),
        method: AuthMethod::Eap,
        eap_id: Some(id("carol")),
        ..LocalAuth::default()
    };
    client.remote.method = server_by;
    client.vips = vec!["0.0.0.0".parse().unwrap()];
    setup.client_child().local_ts = ts(&["dynamic"]);
    let server = setup.server_conn();
    server.local.method = server_by;
    server.remote = RemoteAuth {
        id: adit_ipsec::Identity::Any,
        method: AuthMethod::Eap,
        eap_id: Some(adit_ipsec::Identity::Any),
        ..RemoteAuth::default()
    };
    server.pools = vec!["pool".into()];
    setup.server_child().remote_ts = ts(&["dynamic"]);
    setup
}

#[test]
fn certificates_of_every_kind() {
    for (client, server, line) in [
        (
            &PKCS_ECDSA_P256_SHA256,
            &PKCS_ECDSA_P384_SHA384,
            "'b.example' with ECDSA_WITH_SHA384_DER successful",
        ),
        (&PKCS_ED25519, &PKCS_ECDSA_P256_SHA256, "'b.example' with ECDSA_WITH_SHA256_DER successful"),
        (&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519, "'b.example' with ED25519 successful"),
        (&PKCS_RSA_SHA256, &PKCS_RSA_SHA256, "'b.example' with RSA_EMSA_PKCS1_SHA2_256 successful"),
    ] {
        let mut pair = certificates(client, server).pair();
        pair.up();
        pair.assert_up();
        assert!(pair.client.logged(line), "{}", pair.logs());
        assert!(pair.client.logged("received end entity cert \"O=adit, CN=b.example\""), "{}", pair.logs());
        assert!(pair.server.logged("sending cert request for \"O=adit, CN=CA\""));
    }
}

#[test]
fn rsa_pss_when_wanted() {
    let mut setup = certificates(&PKCS_RSA_SHA256, &PKCS_RSA_SHA256);
    setup.server_settings.rsa_pss = true;
    let mut pair = setup.pair();
    pair.up();
    pair.assert_up();
    assert!(
        pair.client.logged("'b.example' with RSA_EMSA_PSS_SHA2_256_SALT_32 successful"),
        "{}",
        pair.logs()
    );
}

#[test]
fn the_identity_defaults_to_the_subject() {
    let mut setup = certificates(&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P256_SHA256);
    setup.client_conn().local.id = None;
    setup.server_conn().local.id = None;
    setup.server_conn().remote.id = id("O=adit, CN=*");
    setup.client_conn().remote.id = adit_ipsec::Identity::Any;
    let mut pair = setup.pair();
    pair.up();
    pair.assert_up();
    assert!(pair.client.logged("192.0.2.1[O=adit, CN=a.example]...192.0.2.2[O=adit, CN=b.example]"));
}

#[test]
fn large_messages_are_fragmented_both_ways() {
    let mut setup = certificates(&PKCS_RSA_SHA256, &PKCS_RSA_SHA256);
    setup.client_settings.fragment_size = 576;
    setup.server_settings.fragment_size = 576;
    let mut pair = setup.pair();
    pair.up();
    pair.assert_up();
    assert!(pair.wire.iter().skip(2).all(|(_, bytes)| bytes.len() <= 576 - 28));
    assert!(pair.wire.len() >= 6, "{}", pair.wire.len());
    for host in [&pair.client, &pair.server] {
        assert!(host.logged("splitting IKE message ("), "{}", pair.logs());
        assert!(host.logged("reassembled fragmented IKE message ("));
    }
    // CBC pads, and must stay within the limit, too.
    let mut setup = certificates(&PKCS_RSA_SHA256, &PKCS_RSA_SHA256);
    let suite = adit_ipsec::Proposal::parse(adit_ipsec::Protocol::Ike, "aes128-sha256-x25519").unwrap();
    setup.client_conn().proposals = vec![suite.clone()];
    setup.server_conn().proposals = vec![suite];
    setup.client_settings.fragment_size = 600;
    setup.server_settings.fragment_size = 600;
    let mut pair = setup.pair();
    pair.nat = true;
    pair.up();
    pair.assert_up();
    assert!(pair.wire.iter().skip(2).all(|(_, bytes)| bytes.len() <= 600 - 32));
}

#[test]
fn a_lost_fragment_costs_a_retransmission() {
    for lost in 2..10 {
        let mut setup = certificates(&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P256_SHA256);
        setup.client_settings.fragment_size = 576;
        setup.server_settings.fragment_size = 576;
        let mut pair = setup.pair();
        pair.drop.insert(lost);
        pair.up();
        pair.pass(std::time::Duration::from_secs(10));
        pair.assert_up();
    }
}

#[test]
fn without_fragmentation_one_message_carries_all() {
    let mut setup = certificates(&PKCS_RSA_SHA256, &PKCS_RSA_SHA256);
    setup.client_conn().fragmentation = Fragmentation::No;
    let mut pair = setup.pair();
    pair.up();
    pair.assert_up();
    assert_eq!(pair.wire.len(), 4);
}

#[test]
fn a_pinned_certificate_needs_no_authority() {
    let mut setup = certificates(&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P256_SHA256);
    let server_cert = setup.server_conn().local.certs.clone();
    Arc::make_mut(&mut setup.client.credentials).authorities.clear();
    setup.client_conn().remote.certs = server_cert;
    setup.server_conn().send_cert = SendCert::Never;
    let mut pair = setup.pair();
    pair.up();
    pair.assert_up();
}

#[test]
fn eap_with_a_server_certificate_and_an_address() {
    let mut pair = eap(AuthMethod::Pubkey).pair();
    pair.nat = true;
    pair.up();
    let (c, s) = pair.assert_up();
    assert_eq!(c.local_ts[0].to_string(), "10.3.0.1/32");
    assert_eq!(s.remote_ts, c.local_ts);
    assert_eq!(pair.client.vips, vec!["10.3.0.1".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(pair.server.leases.values().collect::<Vec<_>>(), vec![&id("carol")]);
    for line in [
        "server requested EAP_MSCHAPV2 authentication (id 0x",
        "EAP method EAP_MSCHAPV2 succeeded, MSK established",
        "authentication of 'b.example' with EAP successful",
        "installing new virtual IP 10.3.0.1",
    ] {
        assert!(pair.client.logged(line), "{line}\n{}", pair.logs());
    }
    for line in ["received EAP identity 'carol'", "assigning virtual IP 10.3.0.1 to peer 'carol'"] {
        assert!(pair.server.logged(line), "{line}\n{}", pair.logs());
    }
    let view = pair.server.endpoint.ike_sas().next().unwrap();
    assert_eq!(view.remote_eap_id.as_deref(), Some(&id("carol")));
    let sa = view.id;
    pair.server_command(Command::TerminateIke { id: sa, force: false, tag: 3 });
    assert_eq!(pair.server.outcome(3), Some(Ok(())));
    pair.assert_nothing();
}

#[test]
fn eap_with_a_server_key() {
    let mut pair = eap(AuthMethod::Psk).pair();
    pair.up();
    pair.assert_up();
}

#[test]
fn eap_without_an_identity_request() {
    let mut setup = eap(AuthMethod::Pubkey);
    setup.client_conn().local.id = Some(id("carol"));
    setup.client_conn().local.eap_id = None;
    setup.server_conn().remote.eap_id = None;
    let mut pair = setup.pair();
    pair.up();
    pair.assert_up();
}

#[test]
fn two_families_of_virtual_addresses() {
    let mut setup = eap(AuthMethod::Pubkey);
    setup.client_conn().vips = vec!["0.0.0.0".parse().unwrap(), "::".parse().unwrap()];
    setup.client_child().remote_ts = ts(&["0.0.0.0/0", "::/0"]);
    setup.server_child().local_ts = ts(&["0.0.0.0/0", "::/0"]);
    let mut pair = setup.pair();
    pair.up();
    let (c, _) = pair.assert_up();
    let shown: Vec<String> = c.local_ts.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["10.3.0.1/32", "fd03::1/128"]);
    assert_eq!(c.remote_ts.len(), 2);
}

#[test]
fn the_right_connection_is_found_by_identity_and_method() {
    let mut setup = Setup::psk();
    let mut other = connection("c.example", "z.example");
    other.name = "other".into();
    other.children = vec![child("x", &["10.9.0.0/16"], &["10.8.0.0/16"])];
    let mut certificate = connection("b.example", "a.example");
    certificate.name = "certificate".into();
    certificate.remote.method = AuthMethod::Pubkey;
    setup.server.connections.insert(0, Arc::new(other));
    setup.server.connections.insert(0, Arc::new(certificate));
    let mut pair = setup.pair();
    pair.up();
    pair.assert_up();
    assert!(pair.server.logged("switching to peer config 'home'"), "{}", pair.logs());
    assert_eq!(&*pair.server.endpoint.ike_sas().next().unwrap().name, "home");
    assert_eq!(pair.client.outcome(7), Some(Ok(())));
}

#[test]
fn a_second_ike_sa_replaces_the_first_if_so_configured() {
    for (unique, left) in [(Unique::Replace, 1), (Unique::Never, 2), (Unique::No, 1), (Unique::Keep, 1)] {
        let mut setup = Setup::psk();
        setup.server_conn().unique = unique;
        let again = setup.client.clone();
        let mut pair = setup.pair();
        pair.up();
        // The client loses its memory; its new IKE_SA says INITIAL_CONTACT.
        let fresh = Setup { client: again, ..Setup::psk() };
        pair.client = fresh.pair().client;
        pair.client.endpoint = Endpoint::new(
            Settings::default(),
            Arc::new(Setup::psk().client),
            Box::new(adit_crypto::SeededRandom::new(99)),
            NOW,
        );
        pair.initiate("net", 8);
        pair.pass(std::time::Duration::from_secs(170));
        assert_eq!(pair.server.established(), left, "{unique:?}\n{}", pair.logs());
        assert_eq!(pair.client.outcome(8), Some(Ok(())), "{unique:?}\n{}", pair.logs());
    }
}
