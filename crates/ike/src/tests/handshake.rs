//! IKE_SA_INIT and the first IKE_AUTH.

use std::time::Duration;

use adit_ipsec::{Proposal, Protocol};
use adit_wire::NotifyType;

use super::pair::*;
use crate::*;

#[test]
fn psk_with_one_child() {
    let mut pair = Setup::psk().pair();
    pair.up();
    let (c, s) = pair.assert_up();
    assert_eq!(pair.client.outcome(7), Some(Ok(())));
    assert_eq!(pair.wire.len(), 4);
    assert!(!c.udp_encap && c.outbound_ready && s.outbound_ready);
    assert_eq!(c.local_ts[0].to_string(), "10.1.0.0/16");
    for line in [
        "IKE initiating IKE_SA home[1] to 192.0.2.2",
        "ENC generating IKE_SA_INIT request 0 [ SA KE No N(NATD_S_IP) N(NATD_D_IP) N(FRAG_SUP) N(HASH_ALG) N(REDIR_SUP) ]",
        "NET sending packet: from 192.0.2.1[500] to 192.0.2.2[500]",
        "IKE IKE_SA home[1] established between 192.0.2.1[a.example]...192.0.2.2[b.example]",
        "IKE CHILD_SA net{1} established with SPIs c",
        "IKE authentication of 'a.example' (myself) with pre-shared key",
        "IKE authentication of 'b.example' with pre-shared key successful",
    ] {
        assert!(pair.client.logged(line), "{line}\n{}", pair.logs());
    }
    for line in [
        "IKE 192.0.2.1 is initiating an IKE_SA",
        "CFG looking for peer configs matching 192.0.2.2[b.example]...192.0.2.1[a.example]",
        "CFG selected peer config 'home'",
        "CFG selected proposal: IKE:AES_GCM_16_256/PRF_HMAC_SHA2_256/CURVE_25519",
    ] {
        assert!(pair.server.logged(line), "{line}\n{}", pair.logs());
    }
    let view = pair.client.endpoint.ike_sas().next().unwrap();
    assert_eq!(view.children.len(), 1);
    assert_eq!(view.remote_id.as_deref(), Some(&id("b.example")));
    let id = view.id;
    pair.client_command(Command::TerminateIke { id, force: false, tag: 9 });
    assert_eq!(pair.client.outcome(9), Some(Ok(())));
    assert!(pair.server.logged("received DELETE for IKE_SA home[1]"));
    assert!(pair.client.logged("IKE_SA deleted"));
    pair.assert_nothing();
}

#[test]
fn same_seed_same_bytes() {
    let run = || {
        let mut pair = Setup::psk().pair();
        pair.up();
        pair.wire
    };
    assert_eq!(run(), run());
}

#[test]
fn every_suite_and_group() {
    for ike in [
        "aes128gcm16-prfsha256-x25519",
        "aes256gcm16-prfsha384-ecp384",
        "chacha20poly1305-prfsha256-ecp256",
        "aes128-sha256-modp2048",
        "aes256-sha512-ecp521",
        "aes256-sha384-modp3072",
    ] {
        for esp in
            ["aes128gcm16", "aes256gcm16-esn", "chacha20poly1305", "aes128-sha256", "aes256-sha512-noesn"]
        {
            let mut setup = Setup::psk();
            let ike = vec![Proposal::parse(Protocol::Ike, ike).unwrap()];
            let esp = vec![Proposal::parse(Protocol::Esp, esp).unwrap()];
            setup.client_conn().proposals = ike.clone();
            setup.server_conn().proposals = ike;
            setup.client_child().esp_proposals = esp.clone();
            setup.server_child().esp_proposals = esp;
            let mut pair = setup.pair();
            pair.up();
            pair.assert_up();
        }
    }
}

#[test]
fn invalid_ke_is_retried() {
    let mut setup = Setup::psk();
    setup.client_conn().proposals =
        vec![Proposal::parse(Protocol::Ike, "aes128gcm16-prfsha256-x25519-ecp256").unwrap()];
    setup.server_conn().proposals =
        vec![Proposal::parse(Protocol::Ike, "aes128gcm16-prfsha256-ecp256").unwrap()];
    let mut pair = setup.pair();
    pair.up();
    pair.assert_up();
    assert_eq!(pair.clear_notifies(), vec![NotifyType::INVALID_KE_PAYLOAD]);
    assert!(
        pair.client.logged("peer didn't accept key exchange method CURVE_25519, it requested ECP_256"),
        "{}",
        pair.logs()
    );
}

#[test]
fn cookie_is_demanded_and_shown() {
    let mut setup = Setup::psk();
    setup.server_settings.cookie_threshold = 1;
    setup.server_settings.cookie_threshold_ip = 0;
    let mut pair = setup.pair();
    // One half-open IKE_SA is there already.
    pair.up();
    let init = pair.wire[0].1.clone();
    let mut other = init;
    other[0] ^= 1;
    let path =
        Path { local: format!("{SERVER}:500").parse().unwrap(), remote: "203.0.113.5:500".parse().unwrap() };
    pair.server.endpoint.handle_datagram(pair.now, path, &other);
    assert_eq!(pair.server.endpoint.stats().half_open, 1);
    while pair.server.endpoint.poll_transmit().is_some() {}

    let id = pair.client.endpoint.ike_sas().next().unwrap().id;
    pair.client_command(Command::TerminateIke { id, force: false, tag: 0 });
    pair.wire.clear();
    pair.initiate("net", 8);
    pair.assert_nothing_but_one_up();
    assert_eq!(pair.clear_notifies(), vec![NotifyType::COOKIE]);
    assert_eq!(pair.client.outcome(8), Some(Ok(())));
}

impl Pair {
    fn assert_nothing_but_one_up(&self) {
        assert_eq!(self.client.established(), 1, "{}", self.logs());
        assert_eq!(self.server.established(), 1);
    }
}

#[test]
fn cookie_and_invalid_ke_together() {
    let mut setup = Setup::psk();
    setup.server_settings.cookie_threshold = 0;
    setup.server_settings.cookie_threshold_ip = 1;
    setup.server_settings.block_threshold = 0;
    setup.client_conn().proposals =
        vec![Proposal::parse(Protocol::Ike, "aes128gcm16-prfsha256-x25519-ecp256").unwrap()];
    setup.server_conn().proposals =
        vec![Proposal::parse(Protocol::Ike, "aes128gcm16-prfsha256-ecp256").unwrap()];
    let mut pair = setup.pair();
    // The client's first IKE_SA stays half-open: its IKE_AUTH is lost.
    pair.drop.extend([4, 5, 6, 7, 8]);
    pair.up();
    assert_eq!(pair.server.endpoint.stats().half_open, 1, "{}", pair.logs());
    let mut config = Setup::psk();
    config.client_conn().proposals =
        vec![Proposal::parse(Protocol::Ike, "aes128gcm16-prfsha256-x25519-ecp256").unwrap()];
    config.client_conn().name = "second".into();
    pair.client_command(Command::SetConfig(std::sync::Arc::new(config.client)));
    let already = pair.wire.len();
    pair.drop.clear();
    pair.client_command(Command::Initiate {
        conn: Some("second".into()),
        child: None,
        tag: 11,
        trigger: None,
    });
    assert_eq!(pair.client.outcome(11), Some(Ok(())), "{}", pair.logs());
    pair.wire.drain(..already);
    assert_eq!(pair.clear_notifies(), vec![NotifyType::COOKIE, NotifyType::INVALID_KE_PAYLOAD]);
}

#[test]
fn nat_is_found_and_the_initiator_floats() {
    let mut pair = Setup::psk().pair();
    pair.nat = true;
    pair.up();
    let (c, s) = pair.assert_up();
    assert!(c.udp_encap && s.udp_encap);
    assert_eq!(c.local.to_string(), "192.0.2.1:4500");
    assert_eq!(c.remote.to_string(), "192.0.2.2:4500");
    assert_eq!(s.remote.to_string(), "198.51.100.7:14500");
    assert!(pair.client.logged("local host is behind NAT, sending keep alives"));
    assert!(pair.server.logged("remote host is behind NAT"));
    let before = pair.wire.len();
    pair.pass(Duration::from_secs(61));
    let keepalives = pair.wire[before..].iter().filter(|(client, bytes)| *client && bytes == &[0xff]).count();
    assert_eq!(keepalives, 3);
}

#[test]
fn encap_fakes_a_nat() {
    for client in [true, false] {
        let mut setup = Setup::psk();
        if client {
            setup.client_conn().encap = true
        } else {
            setup.server_conn().encap = true
        }
        let mut pair = setup.pair();
        pair.up();
        let (c, s) = pair.assert_up();
        assert!(c.udp_encap, "{client}");
        assert_eq!((c.local.port(), s.remote.port()), (4500, 4500));
    }
}

#[test]
fn lost_messages_are_retransmitted_and_answered_again() {
    for lost in 0..4 {
        let mut pair = Setup::psk().pair();
        pair.drop.insert(lost);
        pair.up();
        pair.pass(Duration::from_secs(5));
        pair.assert_up();
        assert_eq!(pair.client.outcome(7), Some(Ok(())));
        assert!(pair.client.logged("retransmit 1 of request with message ID"), "{lost}");
    }
}

#[test]
fn a_name_is_resolved_and_the_source_is_asked_for() {
    let mut setup = Setup::psk();
    setup.client_conn().remote_addrs = vec![HostSpec::Name("server.example".into())];
    setup.client_conn().local_addrs = vec![HostSpec::Addr(CLIENT.parse().unwrap())];
    let mut pair = setup.pair();
    pair.up();
    pair.assert_up();
}

#[test]
fn shutdown_tells_the_peer_and_leaves_at_once() {
    let mut pair = Setup::psk().pair();
    pair.up();
    pair.client_command(Command::Shutdown);
    assert!(
        pair.client.events.iter().any(|event| matches!(event, Event::ShutdownComplete)),
        "{}",
        pair.logs()
    );
    assert_eq!(pair.server.established(), 0);
    pair.assert_nothing();

    let mut pair = Setup::psk().pair();
    pair.up();
    pair.cut = true;
    pair.client_command(Command::Shutdown);
    pair.pass(Duration::from_millis(301));
    assert!(pair.client.events.iter().any(|event| matches!(event, Event::ShutdownComplete)));
    pair.client.assert_empty();
}

#[test]
fn key_export_fits_on_both_sides() {
    let mut setup = Setup::psk();
    setup.client_settings.export_keys = true;
    setup.server_settings.export_keys = true;
    let mut pair = setup.pair();
    pair.up();
    let ike = |host: &Host| {
        host.events.iter().find_map(|event| match event {
            Event::IkeKeys(keys) => Some((keys.spi_i, keys.spi_r, keys.sk_ei.clone(), keys.sk_er.clone())),
            _ => None,
        })
    };
    assert!(ike(&pair.client).is_some());
    assert_eq!(ike(&pair.client), ike(&pair.server));
}
