//! IKE_SAs that are made without a child (RFC 6023).

use adit_ike::{Childless, Command, Event, Reason};
use adit_wire::{Envelope, ExchangeType, NotifyType, Payload};

use crate::net::End;
use crate::pair::{Pair, SECOND, settle, shut_down};
use crate::setup::{Auth, Setup};

fn pair(auth: Auth, client: Childless, gateway: Childless, turn: impl Fn(&mut Setup)) -> Pair {
    let mut setup = Setup::new(auth);
    setup.client.conn.childless = client;
    setup.gateway.conn.childless = gateway;
    turn(&mut setup);
    Pair::new(setup, 23)
}

/// Has the client bring up the IKE_SA alone.
fn ike_alone(pair: &mut Pair) -> Result<(), Reason> {
    let tag = pair.tag();
    pair.command(End::Client, Command::InitiateIke { conn: "site".into(), tag });
    pair.outcome(End::Client, tag)
}

/// What an end read of one kind: payloads of each, in brackets.
fn read(pair: &Pair, end: End, what: &str) -> Vec<String> {
    pair.host(end).read().into_iter().filter(|line| line.starts_with(what)).collect()
}

fn has_child(message: &str) -> bool {
    [" SA ", " TSi ", " TSr "].iter().any(|name| message.contains(name))
}

/// The announcement in the IKE_SA_INIT response: protocol and SPI.
fn announcements(pair: &Pair) -> Vec<(u8, Vec<u8>)> {
    let mut found = Vec::new();
    for datagram in pair.net.capture.iter().filter(|c| c.from == End::Gateway) {
        let Ok(envelope) = Envelope::parse(&datagram.bytes) else { continue };
        if envelope.header.exchange != ExchangeType::IKE_SA_INIT {
            continue;
        }
        found.extend(envelope.clear.into_iter().filter_map(|payload| match payload {
            Payload::Notify { protocol, spi, kind: NotifyType::CHILDLESS_IKEV2_SUPPORTED, data } => {
                assert!(data.is_empty());
                Some((protocol, spi))
            }
            _ => None,
        }));
    }
    found
}

/// childless: regular. RFC 6023 §3, §5: IKE_AUTH has no SA, TSi, TSr, nor has its answer; the child follows.
//= rfc6023 3-1, 3-3, 4-1, 4-2, 4-3
#[test]
fn childless_regular() {
    for client in [Childless::Prefer, Childless::Force] {
        for gateway in [Childless::Allow, Childless::Prefer, Childless::Force] {
            for auth in [Auth::Psk, Auth::EapAndPsk] {
                let mut pair = pair(auth, client, gateway, |s| {
                    s.both(|side| side.esp(&["aes256gcm16-x25519"]));
                });
                pair.up(End::Client).unwrap_or_else(|reason| panic!("{reason}\n{}", pair.story()));
                settle(&mut pair);
                assert_eq!(announcements(&pair), [(1, Vec::new())]);
                let auths: Vec<String> = [End::Client, End::Gateway]
                    .into_iter()
                    .flat_map(|end| read(&pair, end, "IKE_AUTH"))
                    .collect();
                assert!(auths.len() >= 2 && !auths.iter().any(|it| has_child(it)), "{auths:?}");
                let created = read(&pair, End::Gateway, "CREATE_CHILD_SA request");
                assert_eq!(created.len(), 1, "{created:?}");
                assert!(has_child(&created[0]) && created[0].contains(" KE "), "{created:?}");
                let child = &pair.views(End::Client)[0].children[0];
                assert_eq!(child.ke.map(|ke| ke.id), Some(31), "keys of its own");
                shut_down(pair);
            }
        }
    }
}

/// childless: regular_manual. No child follows until one is asked for; the IKE_SA lives, is rekeyed, and stays when the
/// child goes or is refused.
#[test]
fn childless_regular_manual() {
    for client in [Childless::Allow, Childless::Prefer, Childless::Force] {
        let mut pair = pair(Auth::Psk, client, Childless::Allow, |s| {
            s.add_child("other", "10.7.0.0/16", "10.8.0.0/16");
            // The gateway does not know that one.
            s.gateway.conn.children.pop();
        });
        ike_alone(&mut pair).unwrap_or_else(|reason| panic!("{reason}\n{}", pair.story()));
        settle(&mut pair);
        pair.run_for(100 * SECOND);
        assert_eq!((pair.ikes(End::Client).len(), pair.children(End::Client).len()), (1, 0));
        assert!(read(&pair, End::Gateway, "CREATE_CHILD_SA").is_empty());
        let idle: usize = End::BOTH.map(|end| read(&pair, end, "INFORMATIONAL request").len()).iter().sum();
        assert!(idle >= 3, "liveness is checked without children, too: {idle}");
        // Again is no second one.
        ike_alone(&mut pair).unwrap();
        // A child that fails does not take it along.
        let tag = pair.initiate(End::Client, Some("other"));
        assert!(matches!(pair.outcome(End::Client, tag), Err(Reason::TsUnacceptable { .. })));
        settle(&mut pair);
        for end in End::BOTH {
            let id = pair.ikes(end)[0];
            pair.command(end, Command::RekeyIke { id });
            pair.run_for(20 * SECOND);
            settle(&mut pair);
            assert_ne!(pair.ikes(end), [id], "{}", pair.story());
        }
        let tag = pair.initiate(End::Client, Some("net"));
        pair.outcome(End::Client, tag).unwrap_or_else(|reason| panic!("{reason}\n{}", pair.story()));
        settle(&mut pair);
        let id = pair.children(End::Client)[0];
        pair.terminate_child(End::Client, id).unwrap();
        settle(&mut pair);
        let tag = pair.initiate(End::Client, Some("other"));
        pair.outcome(End::Client, tag).unwrap_err();
        settle(&mut pair);
        assert_eq!((pair.ikes(End::Client).len(), pair.children(End::Client).len()), (1, 0));
        shut_down(pair);
    }
}

/// childless: failure_init. The initiator requires it, the responder does not announce it: the initiator stops.
//= rfc6023 3-2, 3-5
#[test]
fn childless_failure_init() {
    for (client, alone) in [(Childless::Force, false), (Childless::Force, true), (Childless::Allow, true)] {
        let mut pair = pair(Auth::Psk, client, Childless::Never, |_| {});
        let outcome = if alone { ike_alone(&mut pair) } else { pair.up(End::Client) };
        assert_eq!(outcome, Err(Reason::ChildlessUnsupported), "{}", pair.story());
        assert_eq!(announcements(&pair), []);
        assert!(read(&pair, End::Gateway, "IKE_AUTH").is_empty());
        pair.drain().unwrap_or_else(|left| panic!("left: {left}\n{}", pair.story()));
    }
    // Whoever wants nothing to do with it does not hear the announcement either.
    let mut pair = pair(Auth::Psk, Childless::Never, Childless::Allow, |_| {});
    assert_eq!(ike_alone(&mut pair), Err(Reason::ChildlessUnsupported));
    pair.up(End::Client).unwrap();
    settle(&mut pair);
    shut_down(pair);
}

/// childless: failure_resp. The responder requires it, the initiator sends a child: the responder refuses.
#[test]
fn childless_failure_resp() {
    let mut pair = pair(Auth::Psk, Childless::Allow, Childless::Force, |_| {});
    let outcome = pair.up(End::Client);
    assert!(
        matches!(outcome, Err(Reason::PeerNotify { notify: NotifyType::INVALID_SYNTAX, .. })),
        "{outcome:?}\n{}",
        pair.story()
    );
    assert_eq!(pair.gateway.failures(), ["child-refused"]);
    pair.drain().unwrap_or_else(|left| panic!("left: {left}\n{}", pair.story()));
    // Without the child it is welcome.
    ike_alone(&mut pair).unwrap();
    settle(&mut pair);
    shut_down(pair);
}

/// Where the peer cannot, `prefer` does as everybody does; and whoever sends a child gets an answer about the child.
//= rfc6023 3-4
#[test]
fn prefer_does_without() {
    for (client, gateway) in [(Childless::Prefer, Childless::Never), (Childless::Allow, Childless::Prefer)] {
        let mut pair = pair(Auth::Psk, client, gateway, |_| {});
        pair.up(End::Client).unwrap();
        settle(&mut pair);
        let auths =
            [read(&pair, End::Gateway, "IKE_AUTH request"), read(&pair, End::Client, "IKE_AUTH response")];
        assert!(auths.iter().flatten().all(|it| has_child(it)), "{auths:?}");
        assert!(read(&pair, End::Gateway, "CREATE_CHILD_SA").is_empty());
        shut_down(pair);
    }
}

/// The addresses come with the IKE_SA; where there is none to be had, no child is asked for.
#[test]
fn addresses_before_the_child() {
    let rw = |s: &mut Setup| {
        s.road_warrior();
        s.client.conn.keyingtries = 1;
    };
    let mut up = pair(Auth::Psk, Childless::Force, Childless::Allow, rw);
    up.up(End::Client).unwrap_or_else(|reason| panic!("{reason}\n{}", up.story()));
    settle(&mut up);
    assert_eq!(up.views(End::Client)[0].local_vips.len(), 2);
    shut_down(up);

    let mut none = pair(Auth::Psk, Childless::Force, Childless::Allow, |s| {
        rw(s);
        s.gateway.conn.pools.clear();
    });
    assert_eq!(none.up(End::Client), Err(Reason::NoVirtualIp), "{}", none.story());
    assert!(read(&none, End::Gateway, "CREATE_CHILD_SA").is_empty());
    none.drain().unwrap_or_else(|left| panic!("left: {left}\n{}", none.story()));
}

/// An IKE_SA alone announces itself and its end like any other, and is found again after a dead peer.
#[test]
fn its_ups_and_downs_are_told() {
    let mut pair = pair(Auth::Psk, Childless::Allow, Childless::Allow, |_| {});
    ike_alone(&mut pair).unwrap();
    settle(&mut pair);
    pair.terminate(End::Gateway).unwrap();
    pair.drain().unwrap_or_else(|left| panic!("left: {left}\n{}", pair.story()));
    for end in End::BOTH {
        let events = &pair.host(end).events;
        assert!(events.iter().any(|(_, it)| matches!(it, Event::IkeEstablished { .. })));
        assert!(events.iter().any(|(_, it)| matches!(it, Event::IkeClosed { was_established: true, .. })));
        assert!(!events.iter().any(|(_, it)| matches!(it, Event::ChildUp { .. })));
    }
}

/// It is authenticated again as what it is.
#[test]
fn an_ike_sa_alone_is_reauthenticated() {
    let mut pair = pair(Auth::Psk, Childless::Allow, Childless::Allow, |s| {
        s.client.conn.reauth_time = std::time::Duration::from_secs(100);
        s.client.conn.rand_time = std::time::Duration::ZERO;
    });
    ike_alone(&mut pair).unwrap();
    settle(&mut pair);
    let before = pair.ikes(End::Client);
    pair.run_for(130 * SECOND);
    settle(&mut pair);
    assert_eq!(pair.ikes(End::Client).len(), 1, "{}", pair.story());
    assert_ne!(pair.ikes(End::Client), before, "{}", pair.story());
    assert!(pair.children(End::Client).is_empty());
    shut_down(pair);
}
