//! A configuration that changes under SAs that are up.

use std::sync::Arc;
use std::time::Duration;

use adit_ipsec::{Proposal, Protocol};

use super::pair::*;
use crate::*;

fn reload(pair: &mut Pair, change: impl Fn(&mut Setup)) {
    let mut setup = Setup::psk();
    change(&mut setup);
    pair.client_command(Command::SetConfig(Arc::new(setup.client)));
    pair.server_command(Command::SetConfig(Arc::new(setup.server)));
}

fn up() -> (Pair, u32) {
    let mut pair = Setup::psk().pair();
    pair.up();
    let (child, _) = pair.assert_up();
    (pair, child.id)
}

#[test]
fn a_new_child_comes_up_in_the_ike_sa_there_is() {
    let (mut pair, _) = up();
    reload(&mut pair, |setup| {
        setup.client_conn().children.push(child("more", &["10.3.0.0/16"], &["10.4.0.0/16"]));
        setup.server_conn().children.push(child("more", &["10.4.0.0/16"], &["10.3.0.0/16"]));
    });
    pair.initiate("more", 8);
    assert_eq!(pair.client.outcome(8), Some(Ok(())), "{}", pair.logs());
    assert_eq!((pair.client.established(), pair.server.established()), (1, 1));
    assert_eq!((pair.client.installed.len(), pair.server.installed.len()), (2, 2));
}

#[test]
fn proposals_are_taken_over_at_the_next_rekeying_from_either_end() {
    for by_client in [true, false] {
        let (mut pair, id) = up();
        let aes128 = |setup: &mut Setup| {
            let esp = vec![Proposal::parse(Protocol::Esp, "aes128gcm16").unwrap()];
            setup.client_child().esp_proposals = esp.clone();
            setup.server_child().esp_proposals = esp;
        };
        let bits =
            |host: &Host| host.installed.values().map(|sa| sa.keys_in.encr_key_bits).collect::<Vec<_>>();
        assert_eq!(bits(&pair.client), [256]);
        reload(&mut pair, aes128);
        assert_eq!(bits(&pair.client), [256], "nothing happens before");
        if by_client {
            pair.client_command(Command::RekeyChild { id });
        } else {
            let id = *pair.server.installed.keys().next().unwrap();
            pair.server_command(Command::RekeyChild { id });
        }
        pair.pass(Duration::from_secs(6));
        pair.assert_up();
        assert_eq!((bits(&pair.client), bits(&pair.server)), (vec![128], vec![128]));
    }
}

#[test]
fn other_selectors_are_another_child_sa() {
    let (mut pair, id) = up();
    reload(&mut pair, |setup| {
        setup.client_child().remote_ts = ts(&["10.2.1.0/24"]);
        setup.server_child().local_ts = ts(&["10.2.1.0/24"]);
    });
    pair.client_command(Command::RekeyChild { id });
    pair.pass(Duration::from_secs(6));
    let (child, _) = pair.assert_up();
    assert_ne!(child.id, id);
    assert_eq!(child.remote_ts[0].to_string(), "10.2.0.0/16", "what was in use is not narrowed");
}

#[test]
fn an_ike_sa_of_another_peer_is_left_alone_and_not_used() {
    let (mut pair, _) = up();
    reload(&mut pair, |setup| {
        setup.client_conn().local_port = 4500;
        setup.client_conn().children.push(child("more", &["10.3.0.0/16"], &["10.4.0.0/16"]));
        setup.server_conn().children.push(child("more", &["10.4.0.0/16"], &["10.3.0.0/16"]));
    });
    assert_eq!(pair.client.installed.len(), 1);
    pair.initiate("more", 8);
    assert_eq!(pair.client.outcome(8), Some(Ok(())), "{}", pair.logs());
    assert_eq!(pair.client.established(), 2);
}

#[test]
fn a_liveness_check_begins_when_it_is_configured() {
    let (mut pair, _) = up();
    reload(&mut pair, |setup| setup.client_conn().dpd_delay = Duration::from_secs(10));
    pair.pass(Duration::from_secs(11));
    assert!(pair.client.logged("sending DPD request"), "{}", pair.logs());
    assert!(!pair.server.logged("sending DPD request"));
}
