//! More children, narrowing, deletes.

use std::sync::Arc;
use std::time::Duration;

use adit_ipsec::{
    Choice, EntryOptions, IfIds, Mark, Numbering, PacketInfo, Pair as Numbers, Proposal, Protocol,
};

use super::pair::*;
use crate::*;

fn two_children() -> Setup {
    let mut setup = Setup::psk();
    setup.client_conn().children.push(child("web", &["10.1.0.0/16"], &["10.4.0.0/16[tcp/80]"]));
    setup.server_conn().children.push(child("web", &["10.4.0.0/16[tcp/80]"], &["10.1.0.0/16"]));
    setup
}

#[test]
fn a_connection_brings_up_all_its_children() {
    let mut pair = two_children().pair();
    pair.client_command(Command::Initiate { conn: Some("home".into()), child: None, tag: 5, trigger: None });
    assert_eq!(pair.client.outcome(5), Some(Ok(())));
    assert_eq!((pair.client.established(), pair.client.installed.len()), (1, 2), "{}", pair.logs());
    for c in pair.client.installed.values() {
        let s = pair.server.installed.values().find(|s| s.spi_in == c.spi_out).unwrap();
        assert_fit(c, s);
        assert_eq!(c.name, s.name);
    }
}

#[test]
fn a_child_is_added_and_deleted_from_either_end() {
    let mut pair = two_children().pair();
    pair.up();
    pair.initiate("web", 8);
    assert_eq!(pair.client.outcome(8), Some(Ok(())), "{}", pair.logs());
    let server_web = pair.server.installed.values().find(|sa| &*sa.name == "web").unwrap().id;
    pair.server_command(Command::TerminateChild { id: server_web, tag: 9 });
    assert_eq!(pair.server.outcome(9), Some(Ok(())));
    assert!(pair.client.logged("received DELETE for ESP CHILD_SA with SPI "), "{}", pair.logs());
    assert!(pair.client.logged("CHILD_SA web{2} closed"), "{}", pair.logs());
    let id = pair.assert_up().0.id;
    pair.client_command(Command::TerminateChild { id, tag: 10 });
    assert_eq!((pair.client.installed.len(), pair.server.installed.len()), (0, 0));
    assert_eq!((pair.client.established(), pair.server.established()), (1, 1));
    let downs =
        |host: &Host| host.events.iter().filter(|event| matches!(event, Event::ChildDown { .. })).count();
    let ups = |host: &Host| host.events.iter().filter(|event| matches!(event, Event::ChildUp { .. })).count();
    for host in [&pair.client, &pair.server] {
        assert_eq!((ups(host), downs(host)), (2, 2));
    }
}

#[test]
fn the_same_child_is_not_made_twice() {
    let mut pair = Setup::psk().pair();
    pair.up();
    pair.initiate("net", 8);
    assert_eq!(pair.client.outcome(8), Some(Ok(())));
    pair.assert_up();
}

#[test]
fn two_wishes_for_one_child_at_once() {
    let mut pair = Setup::psk().pair();
    for tag in [1, 2] {
        let command =
            Command::Initiate { conn: Some("home".into()), child: Some("net".into()), tag, trigger: None };
        pair.client.endpoint.command(pair.now, command);
    }
    pair.settle();
    assert_eq!((pair.client.outcome(1), pair.client.outcome(2)), (Some(Ok(())), Some(Ok(()))));
    pair.assert_up();
}

#[test]
fn perfect_forward_secrecy_and_its_retry() {
    let mut setup = two_children();
    let esp = |text| vec![Proposal::parse(Protocol::Esp, text).unwrap()];
    Arc::make_mut(&mut setup.client_conn().children[1]).esp_proposals = esp("aes128gcm16-x25519-ecp256");
    Arc::make_mut(&mut setup.server_conn().children[1]).esp_proposals = esp("aes128gcm16-ecp256");
    let mut pair = setup.pair();
    pair.up();
    pair.initiate("web", 8);
    assert_eq!(pair.client.outcome(8), Some(Ok(())), "{}", pair.logs());
    assert!(pair.client.logged("N(INVAL_KE)"));
    let view = pair.client.endpoint.ike_sas().next().unwrap();
    assert_eq!(view.children[1].ke.map(|ke| ke.id), Some(19));
    assert_eq!(view.children[0].ke, None);
}

#[test]
fn selectors_are_narrowed() {
    let mut setup = Setup::psk();
    setup.client_child().remote_ts = ts(&["0.0.0.0/0"]);
    setup.server_child().local_ts = ts(&["10.2.0.0/24", "10.2.9.0/24"]);
    let mut pair = setup.pair();
    pair.up();
    let (c, _) = pair.assert_up();
    let shown: Vec<String> = c.remote_ts.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["10.2.0.0/24", "10.2.9.0/24"]);
}

/// A child whose marks are one number of its own, and whose interface ids are its IKE_SA's.
fn numbered() -> Setup {
    let mut setup = Setup::psk();
    setup.client_conn().if_ids =
        IfIds { choice_in: Choice::UniqueDir, choice_out: Choice::UniqueDir, ..IfIds::default() };
    let marked = |value| Mark { value, mask: u32::MAX };
    let child = setup.client_child();
    child.options = Arc::new(EntryOptions {
        mark_in: marked(0),
        mark_out: marked(0),
        priority: 7,
        ..EntryOptions::default()
    });
    child.numbering = Numbering {
        mark_in: Choice::Unique,
        mark_out: Choice::Unique,
        if_id_in: Choice::OfIkeSa,
        if_id_out: Choice::OfIkeSa,
    };
    setup
}

#[test]
fn numbers_of_its_own_stay_over_rekeyings() {
    let mut pair = numbered().pair();
    pair.up();
    let first = pair.assert_up().0.clone();
    let (marks, if_ids) = first.options.numbers();
    assert_eq!((marks.inbound, if_ids), (marks.outbound, Numbers { inbound: 1, outbound: 2 }));
    assert_eq!((marks.inbound, first.options.priority), (1, 7));
    let view = pair.client.endpoint.ike_sas().next().unwrap();
    assert_eq!((view.if_ids, view.children[0].options.numbers()), (if_ids, (marks, if_ids)));
    let ike = view.id;
    pair.client_command(Command::RekeyChild { id: first.id });
    pair.pass(Duration::from_secs(10));
    let second = pair.assert_up().0.clone();
    assert_ne!(second.id, first.id);
    assert_eq!(second.options, first.options);
    pair.client_command(Command::RekeyIke { id: ike });
    pair.pass(Duration::from_secs(10));
    let view = pair.client.endpoint.ike_sas().next().unwrap();
    assert_ne!(view.id, ike);
    assert_eq!(view.if_ids, if_ids);
    // Another CHILD_SA has another mark, and the same interface.
    pair.client_command(Command::TerminateChild { id: second.id, tag: 0 });
    pair.client_command(Command::Initiate {
        conn: Some("home".into()),
        child: Some("net".into()),
        tag: 0,
        trigger: None,
    });
    let third = pair.assert_up().0.clone();
    assert_eq!(third.options.numbers(), (Numbers::both(2), if_ids));
}

#[test]
fn where_nothing_is_unique_the_configuration_is_shared() {
    let mut setup = Setup::psk();
    let options = Arc::new(EntryOptions { if_id_in: 5, ..EntryOptions::default() });
    setup.client_child().options = Arc::clone(&options);
    let mut pair = setup.pair();
    pair.up();
    assert!(Arc::ptr_eq(&pair.assert_up().0.options, &options));
}

#[test]
fn a_child_has_the_numbers_of_its_trap_even_if_it_is_narrower() {
    let mut setup = numbered();
    setup.server_child().local_ts = ts(&["10.2.0.0/24"]);
    let conn = Arc::clone(&setup.client.connections[0]);
    let mut pair = setup.pair();
    let fixed = |text: &str| ts(&[text]).iter().flat_map(|spec| spec.resolve(&[])).collect::<Vec<_>>();
    let (local, remote) = (fixed("10.1.0.0/16"), fixed("10.2.0.0/16"));
    let (_, options) = pair.client.endpoint.trap_added(&conn, &conn.children[0], &local, &remote);
    assert_eq!(options.numbers(), (Numbers::both(1), Numbers { inbound: 1, outbound: 2 }));
    pair.up();
    assert_eq!(pair.assert_up().0.options, options);
}

#[test]
fn reqids_begin_where_they_are_told() {
    let mut setup = Setup::psk();
    setup.client_settings.reqid_base = 1000;
    let mut pair = setup.pair();
    pair.up();
    assert_eq!(pair.assert_up().0.reqid, 1000);
}

#[test]
fn a_child_has_the_reqid_of_its_trap_unless_it_is_narrower() {
    let trapped = |narrow: bool| {
        let mut setup = Setup::psk();
        if narrow {
            setup.server_child().local_ts = ts(&["10.2.0.0/24"]);
        }
        let mut pair = setup.pair();
        let conn = Connection { name: "home".into(), ..Connection::default() };
        let child = ChildConfig { name: "net".into(), ..ChildConfig::default() };
        let fixed = |text: &str| ts(&[text]).iter().flat_map(|spec| spec.resolve(&[])).collect::<Vec<_>>();
        let (local, remote) = (fixed("10.1.0.0/16"), fixed("10.2.0.0/16"));
        let (reqid, _) = pair.client.endpoint.trap_added(&conn, &child, &local, &remote);
        pair.up();
        let before = pair.assert_up().0.reqid;
        let id = pair.assert_up().0.id;
        pair.client_command(Command::RekeyChild { id });
        pair.pass(Duration::from_secs(10));
        assert_eq!(pair.assert_up().0.reqid, before, "a rekeying keeps it");
        (reqid, before)
    };
    let (trap, child) = trapped(false);
    assert_eq!(trap, child);
    let (trap, child) = trapped(true);
    assert_ne!(trap, child);
}

#[test]
fn the_packet_that_asked_comes_first() {
    let mut pair = Setup::psk().pair();
    let packet = PacketInfo {
        src: "10.1.0.5".parse().unwrap(),
        dst: "10.2.0.9".parse().unwrap(),
        protocol: 6,
        src_port: 4711,
        dst_port: 443,
        total_len: 60,
    };
    pair.client_command(Command::Initiate {
        conn: Some("home".into()),
        child: Some("net".into()),
        tag: 1,
        trigger: Some(packet),
    });
    let (c, _) = pair.assert_up();
    assert_eq!(c.local_ts[0].to_string(), "10.1.0.0/16");
}

#[test]
fn a_failing_additional_child_leaves_the_rest_alone() {
    let mut setup = two_children();
    Arc::make_mut(&mut setup.server_conn().children[1]).local_ts = ts(&["10.99.0.0/16"]);
    let mut pair = setup.pair();
    pair.up();
    pair.initiate("web", 8);
    assert!(matches!(pair.client.outcome(8), Some(Err(Reason::TsUnacceptable { .. }))), "{}", pair.logs());
    pair.assert_up();
}

#[test]
fn close_action_brings_it_up_again() {
    let mut setup = Setup::psk();
    setup.client_child().close_action = ChildAction { trap: false, start: true };
    let mut pair = setup.pair();
    pair.up();
    let id = pair.server.endpoint.ike_sas().next().unwrap().id;
    pair.server_command(Command::TerminateIke { id, force: false, tag: 0 });
    pair.assert_up();
}

#[test]
fn an_idle_child_is_closed() {
    let mut setup = Setup::psk();
    setup.client_child().inactivity = Duration::from_secs(60);
    let mut pair = setup.pair();
    pair.up();
    let idle = |secs| adit_ipsec::Usage {
        idle_in: Some(Duration::from_secs(secs)),
        idle_out: Some(Duration::from_secs(secs)),
        ..adit_ipsec::Usage::default()
    };
    pair.client.usage = Some(idle(10));
    pair.pass(Duration::from_secs(100));
    pair.assert_up();
    pair.client.usage = Some(idle(70));
    pair.pass(Duration::from_secs(60));
    assert!(pair.client.installed.is_empty());
    assert!(pair.client.logged("deleting CHILD_SA after 60 seconds of inactivity"));
}

#[test]
fn a_forced_end_tells_whoever_waits_for_a_child() {
    for shutdown in [false, true] {
        let mut pair = two_children().pair();
        pair.up();
        pair.cut = true;
        pair.initiate("web", 8);
        assert_eq!(pair.client.outcome(8), None, "the request is out and nobody answers");
        pair.cut = false;
        let id = pair.client.endpoint.ike_sas().next().unwrap().id;
        pair.client_command(match shutdown {
            false => Command::TerminateIke { id, force: true, tag: 9 },
            true => Command::Shutdown,
        });
        let reason = if shutdown { Reason::Shutdown } else { Reason::Terminated };
        assert_eq!(pair.client.outcome(8), Some(Err(reason)), "{}", pair.logs());
        pair.assert_nothing();
    }
}
