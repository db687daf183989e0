//! What goes wrong ends cleanly: the reason at the end that knows, the notify on the wire, nothing left behind.

use std::sync::Arc;
use std::time::Duration;

use adit_ipsec::{Proposal, Protocol};
use adit_wire::NotifyType;
use rcgen::PKCS_ECDSA_P256_SHA256;

use super::auth::{certificates, eap};
use super::pair::*;
use super::pki::Ca;
use crate::*;

/// Brings it up in vain. The client's outcome and the server's failures.
fn fails(setup: Setup) -> (Pair, Reason, Vec<Reason>) {
    let mut pair = setup.pair();
    pair.up();
    let outcome = pair.client.outcome(7).unwrap_or_else(|| panic!("no outcome\n{}", pair.logs()));
    let reason = outcome.expect_err("it came up");
    for reason in pair.client.failures().iter().chain(&pair.server.failures()) {
        assert!(!reason.sentence().is_empty() && !reason.cure().is_empty());
    }
    let failures = pair.server.failures();
    pair.assert_nothing();
    (pair, reason, failures)
}

#[test]
fn wrong_psk() {
    let mut setup = Setup::psk();
    Arc::make_mut(&mut setup.server.credentials).shared = vec![secret(&["a.example"], "other")];
    let (pair, client, server) = fails(setup);
    assert!(matches!(client, Reason::AuthFailedByPeer { method: AuthMethod::Psk, .. }), "{client}");
    assert!(matches!(server[..], [Reason::PskMismatch { tried: 1, .. }]), "{server:?}");
    assert!(pair.client.logged("received AUTHENTICATION_FAILED notify error"));
    assert!(pair.client.logged("parsed IKE_AUTH response 1 [ N(AUTH_FAILED) ]"));
    assert!(pair.server.logged("tried 1 shared key for 'b.example' - 'a.example', but MAC mismatched"));
}

#[test]
fn no_psk_at_either_end() {
    let mut setup = Setup::psk();
    Arc::make_mut(&mut setup.server.credentials).shared = vec![secret(&["z.example"], "other")];
    let (_, _, server) = fails(setup);
    assert!(matches!(server[..], [Reason::NoSharedKey { .. }]), "{server:?}");

    let mut setup = Setup::psk();
    Arc::make_mut(&mut setup.client.credentials).shared.clear();
    let (_, client, _) = fails(setup);
    assert!(matches!(client, Reason::NoSharedKey { .. }), "{client}");
}

#[test]
fn no_ike_proposal() {
    let mut setup = Setup::psk();
    setup.server_conn().proposals = vec![Proposal::parse(Protocol::Ike, "aes128-sha512-ecp384").unwrap()];
    setup.client_conn().proposals = vec![Proposal::parse(Protocol::Ike, "aes256-sha256-x25519").unwrap()];
    let (pair, client, server) = fails(setup);
    assert_eq!(pair.clear_notifies(), vec![NotifyType::NO_PROPOSAL_CHOSEN]);
    assert!(matches!(client, Reason::NoProposal { protocol: "IKE", .. }), "{client}");
    let Reason::NoProposal { ours, theirs, .. } = &server[0] else { panic!("{server:?}") };
    assert_eq!((ours.len(), theirs.len()), (1, 1));
    assert!(
        pair.server.logged("CFG received proposals: IKE:AES_CBC_256/HMAC_SHA2_256_128/"),
        "{}",
        pair.logs()
    );
}

#[test]
fn no_connection_for_these_addresses() {
    let mut setup = Setup::psk();
    setup.server_conn().remote_addrs = vec![HostSpec::Cidr("203.0.113.0".parse().unwrap(), 24)];
    let (pair, _, server) = fails(setup);
    assert_eq!(pair.clear_notifies(), vec![NotifyType::NO_PROPOSAL_CHOSEN]);
    assert!(matches!(server[..], [Reason::NoIkeConfig { .. }]), "{server:?}");
    assert!(
        pair.server.logged("no IKE config found for 192.0.2.2...192.0.2.1, sending NO_PROPOSAL_CHOSEN"),
        "{}",
        pair.logs()
    );
}

#[test]
fn no_esp_proposal() {
    let mut setup = Setup::psk();
    setup.server_child().esp_proposals = vec![Proposal::parse(Protocol::Esp, "aes128-sha512").unwrap()];
    setup.client_child().esp_proposals = vec![Proposal::parse(Protocol::Esp, "chacha20poly1305").unwrap()];
    let (pair, client, server) = fails(setup);
    assert!(matches!(client, Reason::NoProposal { protocol: "ESP", .. }), "{client}");
    assert!(matches!(server[..], [Reason::NoProposal { protocol: "ESP", .. }]), "{server:?}");
    assert!(pair.client.logged("received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built"), "{}", pair.logs());
}

#[test]
fn selectors_do_not_meet() {
    let mut setup = Setup::psk();
    setup.server_child().local_ts = ts(&["10.77.0.0/16"]);
    let (pair, client, server) = fails(setup);
    assert!(matches!(client, Reason::TsUnacceptable { .. }), "{client}");
    let Reason::TsUnacceptable { ours, theirs } = &server[0] else { panic!("{server:?}") };
    assert_eq!(ours.0[0].to_string(), "10.77.0.0/16");
    assert_eq!(theirs.0[0].to_string(), "10.2.0.0/16");
    assert!(pair.client.logged("received TS_UNACCEPTABLE notify, no CHILD_SA built"));
    assert!(
        pair.server.logged("traffic selectors 10.2.0.0/16 === 10.1.0.0/16 unacceptable"),
        "{}",
        pair.logs()
    );
    assert!(pair.server.logged("failed to establish CHILD_SA, keeping IKE_SA"));
}

#[test]
fn wrong_identity() {
    // The server is somebody else than the client wants.
    let mut setup = Setup::psk();
    setup.client_conn().remote.id = id("x.example");
    let (_, client, server) = fails(setup);
    assert!(matches!(client, Reason::AuthFailedByPeer { .. }), "{client}");
    assert!(matches!(server[..], [Reason::NoPeerConfig { .. }]), "{server:?}");

    // The client is somebody else than the server knows.
    let mut setup = Setup::psk();
    setup.server_conn().remote.id = id("x.example");
    let (pair, _, server) = fails(setup);
    let Reason::NoPeerConfig { accepted, .. } = &server[0] else { panic!("{server:?}") };
    assert_eq!(accepted[..], ["'x.example' with pre-shared key (home)".to_owned()]);
    assert!(pair.server.logged("no matching peer config found"));

    // The server answers with an identity that the client does not want, with a proper proof.
    let mut setup = Setup::psk();
    setup.client_conn().remote.id = id("*.wanted.example");
    let (pair, client, server) = fails(setup);
    assert!(matches!(client, Reason::IdentityMismatch { .. }), "{client}");
    assert!(matches!(server[..], [Reason::AuthFailedByPeer { .. }]), "{server:?}");
    assert!(pair.server.logged("parsed INFORMATIONAL request 2 [ N(AUTH_FAILED) ]"), "{}", pair.logs());
}

#[test]
fn wrong_method() {
    let mut setup = certificates(&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P256_SHA256);
    setup.server_conn().remote.method = AuthMethod::Psk;
    let (_, _, server) = fails(setup);
    assert!(matches!(server[..], [Reason::MethodMismatch { expected: AuthMethod::Psk, .. }]), "{server:?}");
}

#[test]
fn expired_untrusted_and_foreign_certificates() {
    let ca = Ca::new("CA");
    let expired = ca.issue_until("a.example", &PKCS_ECDSA_P256_SHA256, 2026);
    let mut setup = certificates(&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P256_SHA256);
    let with = |setup: &mut Setup, cert: &(adit_pki::Certificate, Arc<adit_crypto::PrivateKey>)| {
        setup.client_conn().local.certs = vec![cert.0.clone()];
        Arc::make_mut(&mut setup.client.credentials).keys = vec![(cert.0.spki().to_vec(), cert.1.clone())];
    };
    with(&mut setup, &expired);
    Arc::make_mut(&mut setup.server.credentials).authorities = vec![ca.cert.clone()];
    setup.client_conn().send_cert = SendCert::Always;
    let (_, client, server) = fails(setup);
    assert!(matches!(client, Reason::AuthFailedByPeer { .. }), "{client}");
    assert!(matches!(server[..], [Reason::CertExpired { .. }]), "{server:?}");

    let mut setup = certificates(&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P256_SHA256);
    with(&mut setup, &Ca::new("other CA").issue("a.example", &PKCS_ECDSA_P256_SHA256));
    let (_, _, server) = fails(setup);
    assert!(matches!(server[..], [Reason::CertUntrusted { .. }]), "{server:?}");

    // At the initiator: the server's is not trusted; the server believes all is well until told.
    let mut setup = certificates(&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P256_SHA256);
    Arc::make_mut(&mut setup.client.credentials).authorities = vec![Ca::new("other CA").cert];
    setup.server_conn().send_cert = SendCert::Always;
    let (_, client, server) = fails(setup);
    assert!(matches!(client, Reason::CertUntrusted { .. }), "{client}");
    assert!(matches!(server[..], [Reason::AuthFailedByPeer { .. }]), "{server:?}");

    // The certificate is good, but for another name.
    let mut setup = certificates(&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P256_SHA256);
    setup.client_conn().local.id = Some(id("evil.example"));
    setup.server_conn().remote.id = adit_ipsec::Identity::Any;
    let (_, _, server) = fails(setup);
    assert!(matches!(server[..], [Reason::IdentityNotCertified { .. }]), "{server:?}");

    // The key is not the certificate's.
    let mut setup = certificates(&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P256_SHA256);
    let spki = setup.client_conn().local.certs[0].spki().to_vec();
    let (_, stranger) = Ca::new("x").issue("a.example", &PKCS_ECDSA_P256_SHA256);
    Arc::make_mut(&mut setup.client.credentials).keys = vec![(spki, stranger)];
    let (_, _, server) = fails(setup);
    assert!(matches!(server[..], [Reason::BadSignature { .. }]), "{server:?}");

    // No certificate comes, none is known.
    let mut setup = certificates(&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P256_SHA256);
    setup.client_conn().send_cert = SendCert::Never;
    let (_, _, server) = fails(setup);
    assert!(matches!(server[..], [Reason::NoCertificate { .. }]), "{server:?}");
}

#[test]
fn wrong_eap_password_and_user() {
    let mut setup = eap(AuthMethod::Pubkey);
    Arc::make_mut(&mut setup.client.credentials).eap = vec![secret(&["carol"], "lion")];
    let (pair, client, server) = fails(setup);
    assert!(matches!(client, Reason::EapFailed { .. }), "{client}");
    let Reason::EapFailed { identity, detail } = &server[0] else { panic!("{server:?}") };
    assert_eq!((identity.as_str(), detail.contains("wrong EAP password")), ("carol", true), "{detail}");
    assert!(pair.server.logged("EAP method EAP_MSCHAPV2 failed for peer a.example"), "{}", pair.logs());
    assert!(pair.client.logged("EAP/FAIL"));

    let mut setup = eap(AuthMethod::Pubkey);
    setup.client_conn().local.eap_id = Some(id("mallory"));
    Arc::make_mut(&mut setup.client.credentials).eap = vec![secret(&["mallory"], "lion")];
    let (_, _, server) = fails(setup);
    assert!(server[0].sentence().contains("no EAP secret is configured for user 'mallory'"), "{}", server[0]);

    let mut setup = eap(AuthMethod::Pubkey);
    setup.server_conn().remote.eap_id = Some(id("dave"));
    let (_, _, server) = fails(setup);
    assert!(matches!(server[..], [Reason::EapIdentityMismatch { .. }]), "{server:?}");

    // one who has a password but is not whom the connection is for: IDi alone opens nothing
    let mut setup = eap(AuthMethod::Pubkey);
    setup.server_conn().remote.eap_id = None;
    setup.server_conn().remote.id = id("a.example");
    let (_, _, server) = fails(setup);
    assert!(matches!(server[..], [Reason::EapIdentityMismatch { .. }]), "{server:?}");

    let mut setup = eap(AuthMethod::Pubkey);
    Arc::make_mut(&mut setup.client.credentials).eap.clear();
    let (_, client, _) = fails(setup);
    assert!(matches!(client, Reason::NoEapSecret { .. }), "{client}");
}

#[test]
fn the_server_is_proved_before_our_eap_identity_leaves() {
    let mut setup = eap(AuthMethod::Pubkey);
    Arc::make_mut(&mut setup.client.credentials).authorities = vec![Ca::new("other CA").cert];
    setup.server_conn().send_cert = SendCert::Always;
    let (pair, client, _) = fails(setup);
    assert!(matches!(client, Reason::CertUntrusted { .. }), "{client}");
    assert!(!pair.server.logged("EAP/RES"), "{}", pair.logs());
}

#[test]
fn the_pool_is_empty() {
    let mut setup = eap(AuthMethod::Pubkey);
    setup.server_settings.close_ike_on_child_failure = false;
    let mut pair = setup.pair();
    pair.server.pool.clear();
    pair.up();
    assert!(matches!(pair.client.outcome(7), Some(Err(Reason::NoVirtualIp))), "{}", pair.logs());
    assert!(matches!(pair.server.failures()[..], [Reason::NoLease { .. }]));
    assert!(pair.client.logged("N(INT_ADDR_FAIL)"), "{}", pair.logs());
    pair.assert_nothing();
}

#[test]
fn installation_fails_at_either_end() {
    let mut pair = Setup::psk().pair();
    pair.server.fail_install = true;
    pair.up();
    assert!(pair.client.outcome(7).unwrap().is_err());
    assert!(matches!(pair.server.failures()[..], [Reason::InstallFailed { .. }]));
    pair.assert_nothing();

    let mut pair = Setup::psk().pair();
    pair.client.fail_install = true;
    pair.up();
    assert!(matches!(pair.client.outcome(7), Some(Err(Reason::InstallFailed { .. }))));
    pair.assert_nothing();
}

#[test]
fn nobody_answers() {
    let mut setup = Setup::psk();
    setup.client_conn().keyingtries = 2;
    let mut pair = setup.pair();
    pair.cut = true;
    pair.up();
    pair.pass(Duration::from_secs(200));
    assert_eq!(pair.client.outcome(7), None);
    assert!(pair.client.logged("giving up after 5 retransmits"));
    assert!(pair.client.logged("peer not responding, trying again (2/2)"));
    pair.pass(Duration::from_secs(200));
    let Some(Err(Reason::PeerUnreachable { sent: 6, established: false, .. })) = pair.client.outcome(7)
    else {
        panic!("{}", pair.logs())
    };
    assert!(pair.client.logged("establishing IKE_SA failed, peer not responding"));
    assert_eq!(pair.wire.len(), 12);
    pair.assert_nothing();
}

#[test]
fn the_retransmission_table_is_strongswans() {
    let mut pair = Setup::psk().pair();
    pair.cut = true;
    pair.up();
    let mut times = Vec::new();
    let mut seen = pair.wire.len();
    while pair.client.outcome(7).is_none() {
        pair.pass(Duration::from_millis(100));
        if pair.wire.len() > seen {
            times.push(pair.now.as_micros() / 1_000_000);
            seen = pair.wire.len();
        }
    }
    assert_eq!(times, [4, 11, 24, 47, 89]);
    assert_eq!(pair.now.as_micros() / 1_000_000, 165);
}

#[test]
fn local_addresses_that_are_not_here() {
    let mut setup = Setup::psk();
    setup.client_conn().local_addrs = vec![HostSpec::Addr("203.0.113.77".parse().unwrap())];
    let (pair, client, _) = fails(setup);
    assert!(client.sentence().contains("203.0.113.77"), "{client}");
    assert!(matches!(client, Reason::LocalAddrMissing { .. }));
    assert!(pair.wire.is_empty());

    let mut setup = Setup::psk();
    setup.client_conn().remote_addrs = vec![HostSpec::Name("nowhere.example".into())];
    let (_, client, _) = fails(setup);
    assert!(matches!(client, Reason::NameUnresolved { .. }));

    let mut setup = Setup::psk();
    setup.client_conn().remote_addrs = vec![HostSpec::Any];
    let (_, client, _) = fails(setup);
    assert!(matches!(client, Reason::NoRemoteAddress));
}

#[test]
fn unknown_names() {
    let mut pair = Setup::psk().pair();
    pair.client_command(Command::Initiate { conn: Some("x".into()), child: None, tag: 1, trigger: None });
    assert!(matches!(pair.client.outcome(1), Some(Err(Reason::NoSuchConnection { .. }))));
    pair.initiate("x", 2);
    assert!(matches!(pair.client.outcome(2), Some(Err(Reason::NoSuchChild { .. }))));
    pair.client_command(Command::TerminateIke { id: 9, force: false, tag: 3 });
    assert!(matches!(pair.client.outcome(3), Some(Err(Reason::NoSuchSa { id: 9 }))));
}

#[test]
fn half_open_ike_sas_die() {
    let mut pair = Setup::psk().pair();
    pair.drop.extend([2, 3, 4, 5, 6, 7, 8, 9]);
    pair.up();
    assert_eq!(pair.server.endpoint.stats().half_open, 1);
    pair.pass(Duration::from_secs(31));
    assert_eq!(pair.server.endpoint.stats().half_open, 0);
    assert!(matches!(pair.server.failures()[..], [Reason::HalfOpenTimeout]));
    assert!(pair.server.logged("JOB deleting half open IKE_SA"));
}

#[test]
fn everything_is_given_back_when_the_handshake_ends_half_way() {
    // The lease is asked for, and answered after the IKE_SA is gone.
    let mut pair = eap(AuthMethod::Pubkey).pair();
    pair.server.hold_actions = true;
    pair.up();
    // Authentication had begun: it is the second of the two timeouts that ends it.
    pair.pass(Duration::from_secs(31));
    assert_eq!(pair.server.endpoint.stats().ike_sas, 1);
    pair.pass(Duration::from_secs(30));
    assert_eq!(pair.server.endpoint.stats().ike_sas, 0);
    pair.server.hold_actions = false;
    pair.settle();
    pair.assert_nothing();
}
