//! Rekeying, liveness, moving peers, lifetimes.

use std::time::Duration;

use adit_ipsec::{Proposal, Protocol};

use super::pair::*;
use crate::*;

fn only_child(host: &Host) -> u32 {
    let mut up =
        host.endpoint.ike_sas().flat_map(|sa| sa.children).filter(|it| it.state == ChildState::Installed);
    let child = up.next().expect("no child").id;
    assert!(up.next().is_none());
    child
}

#[test]
fn a_child_is_rekeyed_from_either_end() {
    for by_client in [true, false] {
        for esp in ["aes128gcm16", "aes128gcm16-x25519"] {
            let mut setup = Setup::psk();
            let esp = vec![Proposal::parse(Protocol::Esp, esp).unwrap()];
            setup.client_child().esp_proposals = esp.clone();
            setup.server_child().esp_proposals = esp;
            let mut pair = setup.pair();
            pair.up();
            let (c, s) = pair.assert_up();
            if by_client {
                pair.client_command(Command::RekeyChild { id: c.id });
            } else {
                pair.server_command(Command::RekeyChild { id: s.id });
            }
            // Old inbound halves stay for a while, both new halves send.
            let (c2, s2) = (only_child(&pair.client), only_child(&pair.server));
            assert_fit(&pair.client.installed[&c2], &pair.server.installed[&s2]);
            assert_eq!((pair.client.installed.len(), pair.server.installed.len()), (2, 2), "{}", pair.logs());
            assert!(pair.client.active.contains(&c2) && pair.server.active.contains(&s2));
            assert_eq!(pair.client.installed[&c2].replaces, Some(c.id));
            assert_eq!(pair.client.installed[&c2].reqid, c.reqid);
            let responder = if by_client { &pair.server } else { &pair.client };
            assert!(responder.logged("inbound CHILD_SA net{"), "{}", pair.logs());
            pair.pass(Duration::from_secs(6));
            pair.assert_up();
            for host in [&pair.client, &pair.server] {
                assert!(!host.events.iter().any(|event| matches!(event, Event::ChildDown { .. })));
                assert!(host.events.iter().any(|event| matches!(event, Event::ChildRekeyed { .. })));
            }
        }
    }
}

#[test]
fn lifetimes_rekey_children_and_ike_sas_for_hours() {
    let mut setup = Setup::psk();
    setup.client_conn().rekey_time = Duration::from_secs(3000);
    setup.client_conn().rand_time = Duration::from_secs(300);
    setup.server_child().rekey_time = Duration::from_secs(1000);
    setup.server_child().life_time = Duration::from_secs(1100);
    setup.server_child().rand_time = Duration::from_secs(100);
    let mut pair = setup.pair();
    pair.up();
    pair.pass(Duration::from_secs(24 * 3600));
    assert_eq!((pair.client.established(), pair.server.established()), (1, 1));
    only_child(&pair.client);
    only_child(&pair.server);
    let rekeyed = |host: &Host| {
        let ike = host.events.iter().filter(|event| matches!(event, Event::IkeRekeyed { .. })).count();
        let child = host.events.iter().filter(|event| matches!(event, Event::ChildRekeyed { .. })).count();
        (ike, child)
    };
    let (ike, child) = rekeyed(&pair.client);
    assert!(ike >= 28 && child >= 84, "{ike} {child}");
    assert_eq!(rekeyed(&pair.server), (ike, child));
    assert!(!pair.client.events.iter().any(|event| matches!(event, Event::ChildDown { .. })));
    let id = pair.client.endpoint.ike_sas().find(|sa| sa.state == IkeState::Established).unwrap().id;
    pair.client_command(Command::TerminateIke { id, force: false, tag: 1 });
    pair.assert_nothing();
}

#[test]
fn an_ike_sa_is_rekeyed_from_either_end_with_all_it_has() {
    for by_client in [true, false] {
        let mut setup = super::auth::eap(AuthMethod::Psk);
        setup.client_conn().proposals =
            vec![Proposal::parse(Protocol::Ike, "aes128gcm16-prfsha256-x25519-ecp256").unwrap()];
        let mut pair = setup.pair();
        pair.nat = true;
        pair.up();
        let (c, s) = pair.assert_up();
        let old = pair.client.endpoint.ike_sas().next().unwrap().into_owned();
        if by_client {
            pair.client_command(Command::RekeyIke { id: 1 });
        } else {
            pair.server_command(Command::RekeyIke { id: 1 });
        }
        let (c2, s2) = pair.assert_up();
        assert_eq!((c.id, s.id), (c2.id, s2.id));
        let new = pair.client.endpoint.ike_sas().next().unwrap().into_owned();
        assert_ne!((old.id, old.spi_i, old.spi_r), (new.id, new.spi_i, new.spi_r));
        assert_eq!(new.local_vips, old.local_vips);
        assert_eq!(new.initiator, by_client);
        assert!(pair.client.events.iter().any(|event| matches!(event, Event::IkeRekeyed { old: 1, new: 2 })));
        assert!(!pair.client.events.iter().any(|event| matches!(event, Event::IkeClosed { .. })));
        // And it works: another child, a delete.
        pair.client_command(Command::RekeyChild { id: c.id });
        pair.pass(Duration::from_secs(10));
        pair.assert_up();
        pair.client_command(Command::TerminateIke { id: new.id, force: false, tag: 1 });
        assert_eq!(pair.client.outcome(1), Some(Ok(())));
        pair.assert_nothing();
    }
}

#[test]
fn both_rekey_at_once_and_nothing_wedges() {
    let mut pair = Setup::psk().pair();
    pair.up();
    let (c, s) = pair.assert_up();
    pair.client.endpoint.command(pair.now, Command::RekeyChild { id: c.id });
    pair.server.endpoint.command(pair.now, Command::RekeyChild { id: s.id });
    pair.settle();
    pair.pass(Duration::from_secs(60));
    pair.assert_up();
    pair.client.endpoint.command(pair.now, Command::RekeyIke { id: 1 });
    pair.server.endpoint.command(pair.now, Command::RekeyIke { id: 1 });
    pair.settle();
    pair.pass(Duration::from_secs(60));
    pair.assert_up();
    let child = only_child(&pair.client);
    let ike = pair.server.endpoint.ike_sas().next().unwrap().id;
    pair.client.endpoint.command(pair.now, Command::RekeyChild { id: child });
    pair.server.endpoint.command(pair.now, Command::RekeyIke { id: ike });
    pair.settle();
    pair.pass(Duration::from_secs(60));
    pair.assert_up();
}

#[test]
fn a_child_that_the_peer_lost_is_made_anew() {
    let mut pair = Setup::psk().pair();
    pair.up();
    let (c, s) = pair.assert_up();
    // The server deletes it, and the delete is lost until the client has rekeyed.
    pair.cut = true;
    pair.server_command(Command::TerminateChild { id: s.id, tag: 0 });
    pair.cut = false;
    pair.client_command(Command::RekeyChild { id: c.id });
    pair.pass(Duration::from_secs(60));
    assert_eq!((pair.client.established(), pair.server.established()), (1, 1));
    assert_eq!(pair.client.installed.len(), pair.server.installed.len(), "{}", pair.logs());
}

#[test]
fn both_delete_at_once() {
    let mut pair = Setup::psk().pair();
    pair.up();
    let (c, s) = pair.assert_up();
    pair.client.endpoint.command(pair.now, Command::TerminateChild { id: c.id, tag: 1 });
    pair.server.endpoint.command(pair.now, Command::TerminateChild { id: s.id, tag: 2 });
    pair.settle();
    assert_eq!(
        (pair.client.outcome(1), pair.server.outcome(2)),
        (Some(Ok(())), Some(Ok(()))),
        "{}",
        pair.logs()
    );
    pair.client.endpoint.command(pair.now, Command::TerminateIke { id: 1, force: false, tag: 3 });
    pair.server.endpoint.command(pair.now, Command::TerminateIke { id: 1, force: false, tag: 4 });
    pair.settle();
    assert_eq!(
        (pair.client.outcome(3), pair.server.outcome(4)),
        (Some(Ok(())), Some(Ok(()))),
        "{}",
        pair.logs()
    );
    pair.assert_nothing();
}

#[test]
fn liveness_asks_the_data_plane_first() {
    let mut setup = Setup::psk();
    setup.client_conn().dpd_delay = Duration::from_secs(10);
    let mut pair = setup.pair();
    pair.up();
    pair.client.usage =
        Some(adit_ipsec::Usage { idle_in: Some(Duration::from_secs(1)), ..adit_ipsec::Usage::default() });
    let before = pair.wire.len();
    pair.pass(Duration::from_secs(60));
    assert_eq!(pair.wire.len(), before);
    pair.client.usage = None;
    pair.pass(Duration::from_secs(25));
    assert_eq!(pair.wire.len(), before + 6, "{}", pair.logs());
    assert!(pair.client.logged("sending DPD request"));
}

#[test]
fn a_dead_peer_is_found_and_restarted() {
    let mut setup = Setup::psk();
    setup.client_conn().dpd_delay = Duration::from_secs(10);
    setup.client_conn().keyingtries = 0;
    setup.client_child().dpd_action = ChildAction { trap: false, start: true };
    let mut pair = setup.pair();
    pair.up();
    pair.cut = true;
    pair.pass(Duration::from_secs(10 + 166));
    assert!(matches!(
        pair.client.failures()[..],
        [Reason::PeerUnreachable { established: true, sent: 6, .. }]
    ));
    assert_eq!(pair.client.established(), 0);
    assert!(pair.client.installed.is_empty());
    assert!(pair.client.events.iter().any(|event| matches!(event, Event::ChildDown { .. })));
    pair.cut = false;
    pair.pass(Duration::from_secs(100));
    // INITIAL_CONTACT cleared the server's old IKE_SA.
    pair.assert_up();
}

#[test]
fn the_server_follows_a_client_behind_nat() {
    // With MOBIKE it would wait for the client to say so.
    let mut setup = Setup::psk();
    setup.client_conn().mobike = false;
    let mut pair = setup.pair();
    pair.nat = true;
    pair.up();
    let (c, _) = pair.assert_up();
    // The NAT forgets and gives another port.
    pair.client.endpoint.command(pair.now, Command::RekeyChild { id: c.id });
    let sent = loop {
        if let Some(sent) = pair.client.endpoint.poll_transmit() {
            break sent;
        }
    };
    let path = Path { local: sent.path.remote, remote: format!("{NATTED}:23456").parse().unwrap() };
    pair.server.endpoint.handle_datagram(pair.now, path, &sent.bytes);
    pair.actions(false);
    assert!(
        pair.server.logged("remote endpoint changed from 198.51.100.7[14500] to 198.51.100.7[23456]"),
        "{}",
        pair.logs()
    );
    assert!(pair.server.installed.values().any(|sa| sa.remote == path.remote));
}

#[test]
fn reauthentication_makes_before_it_breaks() {
    for make_before_break in [true, false] {
        let mut setup = Setup::psk();
        setup.client_conn().reauth_time = Duration::from_secs(1000);
        setup.client_conn().rekey_time = Duration::ZERO;
        setup.client_settings.make_before_break = make_before_break;
        let mut pair = setup.pair();
        pair.up();
        pair.pass(Duration::from_secs(1010));
        pair.assert_up();
        assert!(pair.client.logged("reauthenticating IKE_SA"), "{}", pair.logs());
        assert_ne!(pair.client.endpoint.ike_sas().next().unwrap().id, 1);
    }
}
