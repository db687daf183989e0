//! Messages that no honest peer sends.

use std::time::Duration;

use adit_crypto::{Random, SeededRandom};
use adit_wire::NotifyType;

use super::pair::*;
use crate::*;

fn to_server() -> Path {
    Path { local: format!("{SERVER}:500").parse().unwrap(), remote: format!("{CLIENT}:500").parse().unwrap() }
}

#[test]
fn other_versions_are_refused_with_a_notify() {
    let mut pair = Setup::psk().pair();
    pair.up();
    let mut message = pair.wire[0].1.clone();
    for version in [0x10, 0x30] {
        message[17] = version;
        pair.server.endpoint.handle_datagram(pair.now, to_server(), &message);
        let answer = pair.server.endpoint.poll_transmit().unwrap();
        pair.wire = vec![(false, answer.bytes)];
        assert_eq!(pair.clear_notifies(), vec![NotifyType::INVALID_MAJOR_VERSION]);
    }
    // A higher minor version is fine.
    message[17] = 0x2f;
    message[0] ^= 1;
    pair.server.endpoint.handle_datagram(pair.now, to_server(), &message);
    assert_eq!(pair.server.endpoint.stats().half_open, 1);
}

#[test]
fn damaged_messages_change_nothing() {
    let mut pair = Setup::psk().pair();
    pair.up();
    let wire = pair.wire.clone();
    let mut rng = SeededRandom::new(5);
    for (from_client, bytes) in &wire {
        for _ in 0..400 {
            let mut bytes = bytes.clone();
            let mut dice = [0; 8];
            rng.fill(&mut dice);
            let at = u32::from_be_bytes(dice[..4].try_into().unwrap()) as usize % bytes.len();
            match dice[4] % 3 {
                0 => bytes[at] ^= dice[5] | 1,
                1 => bytes.truncate(at),
                _ => bytes.extend_from_slice(&dice),
            }
            let (host, path) = if *from_client {
                (&mut pair.server, to_server())
            } else {
                let path = to_server();
                (&mut pair.client, Path { local: path.remote, remote: path.local })
            };
            host.endpoint.handle_datagram(pair.now, path, &bytes);
            while host.endpoint.poll_transmit().is_some() {}
        }
    }
    pair.pass(Duration::from_secs(60));
    pair.assert_up();
}

#[test]
fn truncated_and_mutated_inits_do_not_leak() {
    let mut first = Setup::psk().pair();
    first.up();
    let init = first.wire[0].1.clone();
    let mut setup = Setup::psk();
    setup.server_settings.block_threshold = 0;
    setup.server_settings.cookie_threshold = 0;
    setup.server_settings.cookie_threshold_ip = 0;
    let mut pair = setup.pair();
    let mut rng = SeededRandom::new(6);
    for _ in 0..3000 {
        let mut bytes = init.clone();
        for _ in 0..3 {
            let mut dice = [0; 5];
            rng.fill(&mut dice);
            let at = u32::from_be_bytes(dice[..4].try_into().unwrap()) as usize % bytes.len();
            bytes[at] = dice[4];
        }
        pair.server.endpoint.handle_datagram(pair.now, to_server(), &bytes);
        while pair.server.endpoint.poll_transmit().is_some() {}
    }
    pair.pass(Duration::from_secs(31));
    pair.assert_nothing();
}

#[test]
fn limits_hold_against_a_flood() {
    let mut first = Setup::psk().pair();
    first.up();
    let init = first.wire[0].1.clone();
    let mut pair = Setup::psk().pair();
    for n in 0..200u32 {
        let mut bytes = init.clone();
        bytes[..4].copy_from_slice(&(n + 1).to_be_bytes());
        let remote = format!("203.0.{}.{}:500", n / 250, n % 250 + 1).parse().unwrap();
        let path = Path { remote, ..to_server() };
        pair.server.endpoint.handle_datagram(pair.now, path, &bytes);
    }
    let stats = pair.server.endpoint.stats();
    assert_eq!((stats.half_open, stats.cookies_sent), (30, 170));
    // One address may hold three without a cookie.
    let mut pair = Setup::psk().pair();
    for n in 0..20u32 {
        let mut bytes = init.clone();
        bytes[..4].copy_from_slice(&(n + 1).to_be_bytes());
        pair.server.endpoint.handle_datagram(pair.now, to_server(), &bytes);
    }
    assert_eq!(pair.server.endpoint.stats().half_open, 3);
}

#[test]
fn a_duplicate_first_message_makes_no_second_ike_sa() {
    let mut pair = Setup::psk().pair();
    pair.up();
    let init = pair.wire[0].1.clone();
    for _ in 0..3 {
        pair.server.endpoint.handle_datagram(pair.now, to_server(), &init);
    }
    assert_eq!(pair.server.endpoint.stats().ike_sas, 1);
    assert!(pair.server.endpoint.poll_transmit().is_none());
}

#[test]
fn nothing_but_ike_auth_before_it_is_established() {
    // Hostile rows 7 and 28: protected INFORMATIONAL and CREATE_CHILD_SA on a half-open IKE_SA.
    let mut pair = Setup::psk().pair();
    pair.drop.extend([2, 3]);
    pair.up();
    let auth = pair.wire[2].1.clone();
    for exchange in [36, 37, 34, 43, 99] {
        let mut bytes = auth.clone();
        bytes[18] = exchange;
        pair.server.endpoint.handle_datagram(pair.now, to_server(), &bytes);
        assert!(pair.server.endpoint.poll_transmit().is_none());
    }
    assert!(pair.server.endpoint.stats().wrong_state >= 3);
    assert_eq!(pair.server.endpoint.stats().half_open, 1);
    assert!(pair.server.installed.is_empty());
}

#[test]
fn an_unprotected_hint_only_starts_a_liveness_check() {
    let mut pair = Setup::psk().pair();
    pair.up();
    let c = pair.client.endpoint.ike_sas().next().unwrap().into_owned();
    pair.pass(Duration::from_secs(60));
    // The server restarts and knows nothing.
    let fresh = Setup::psk().pair();
    pair.server = fresh.server;
    pair.server.endpoint = Endpoint::new(
        Settings::default(),
        std::sync::Arc::new(Setup::psk().server),
        Box::new(SeededRandom::new(77)),
        NOW,
    );
    pair.client_command(Command::RekeyChild { id: c.children[0].id });
    assert_eq!(pair.clear_notifies(), vec![NotifyType::INVALID_IKE_SPI]);
    assert_eq!(pair.client.established(), 1);
    assert_eq!(pair.client.installed.len(), 1);
}

#[test]
fn our_own_messages_come_back() {
    let mut pair = Setup::psk().pair();
    pair.up();
    for (from_client, bytes) in pair.wire.clone() {
        let path = to_server();
        let back = Path { local: path.remote, remote: path.local };
        if from_client {
            pair.client.endpoint.handle_datagram(pair.now, back, &bytes);
        } else {
            pair.server.endpoint.handle_datagram(pair.now, path, &bytes);
        }
    }
    pair.settle();
    assert_eq!(pair.client.established(), 1);
    pair.pass(Duration::from_secs(40));
    assert_eq!((pair.client.established(), pair.server.established()), (1, 1));
}

/// The budget is 2.5 kB for an idle IKE_SA with one CHILD_SA; keys, selectors and identities come on top of these.
#[test]
fn an_idle_ike_sa_is_small() {
    let (ike, child) = (size_of::<sa::IkeSa>(), size_of::<sa::Child>());
    assert!(ike <= 1100, "{ike}");
    assert!(child <= 400, "{child}");
}
