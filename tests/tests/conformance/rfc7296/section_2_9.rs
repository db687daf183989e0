//! §2.9: Traffic Selector Negotiation, and in rekeying (§2.9.2).

use adit_ike::Command;
use adit_ipsec::{PacketInfo, Selector};
use adit_wire::{ExchangeType, Payload, PayloadType};

use super::{Talk, listen, payload, up_with};
use crate::lab::Lab;
use crate::net::End;
use crate::setup::{Auth, ip};

fn selectors(talk: &Talk, to_gateway: bool, kind: PayloadType) -> Vec<Selector> {
    let found = talk.iter().filter(|(to, ..)| *to == to_gateway).find_map(|(_, _, c)| payload(c, kind));
    match found.expect("traffic selectors") {
        Payload::TsI(selectors) | Payload::TsR(selectors) => selectors,
        other => panic!("{other:?}"),
    }
}

//= rfc7296 2.9-1
#[test]
fn what_is_narrowed_includes_the_first_choices() {
    let mut lab = Lab::with(Auth::Psk, |setup| {
        setup.client.ts(&["10.1.0.0/16"], &["0.0.0.0/0"]);
        setup.gateway.ts(&["10.2.0.0/24", "10.2.9.0/24"], &["10.1.0.0/16"]);
    });
    let packet = PacketInfo {
        src: ip("10.1.0.5"),
        dst: ip("10.2.9.7"),
        protocol: 6,
        src_port: 4711,
        dst_port: 443,
        total_len: 60,
    };
    let mut talk = Talk::new();
    let wish = Command::Initiate {
        conn: Some("site".into()),
        child: Some("net".into()),
        tag: 0,
        trigger: Some(packet),
    };
    lab.command(End::Client, wish, &mut listen(&mut talk));
    // The initiator's first selectors are those of its packet.
    let (tsi, tsr) = (selectors(&talk, true, PayloadType::TSI), selectors(&talk, true, PayloadType::TSR));
    assert!(tsi[0].matches(ip("10.1.0.5"), 6, 4711) && !tsi[0].matches(ip("10.1.0.6"), 6, 4711));
    assert!(tsr[0].matches(ip("10.2.9.7"), 6, 443) && !tsr[0].matches(ip("10.2.9.8"), 6, 443));
    let (chosen_i, chosen_r) =
        (selectors(&talk, false, PayloadType::TSI), selectors(&talk, false, PayloadType::TSR));
    assert!(chosen_i.iter().any(|it| it.contains(&tsi[0])), "{chosen_i:?}");
    assert!(chosen_r.iter().any(|it| it.contains(&tsr[0])), "{chosen_r:?}");
    // It is a subset of the offer and of the policy.
    assert!(chosen_r.iter().all(|it| tsr.iter().any(|offered| offered.contains(it))));
    assert!(chosen_r.iter().all(|it| !it.matches(ip("10.3.0.1"), 0, 0)));
    lab.finish();
}

//= rfc7296 2.9.2-1, 2.9.2-2
#[test]
fn a_rekeyed_sa_is_not_narrower_than_the_one_it_replaces() {
    for end in End::BOTH {
        let mut pair = up_with(|setup| {
            setup.client.ts(&["10.1.0.0/16", "10.5.0.0/16"], &["10.2.0.0/16"]);
            setup.gateway.ts(&["10.2.0.0/16"], &["10.1.0.0/16", "10.5.0.0/16"]);
        });
        let before = pair.views(End::Client)[0].children[0].clone();
        let id = pair.children(end)[0];
        pair.command(end, Command::RekeyChild { id });
        pair.settle().unwrap();
        let after = pair.views(End::Client)[0].children[0].clone();
        assert_ne!(before.spi_in, after.spi_in);
        assert_eq!((before.local_ts, before.remote_ts), (after.local_ts, after.remote_ts));
    }
}

//= rfc7296 2.9.2-2
#[test]
fn a_policy_that_became_narrower_does_not_narrow_a_rekeying() {
    let mut lab = Lab::connected(Auth::Psk);
    let before = lab.gateway.sad.values().map(|it| it.sa.local_ts.clone()).collect::<Vec<_>>();
    let mut config = (*lab.gateway_config()).clone();
    let mut conn = (*config.connections[0]).clone();
    std::sync::Arc::make_mut(&mut conn.children[0]).local_ts = crate::setup::specs(&["10.2.3.0/24"]);
    config.connections[0] = std::sync::Arc::new(conn);
    let now = lab.now;
    lab.gateway.command(now, Command::SetConfig(std::sync::Arc::new(config)));
    let (_, id) = lab.ids(End::Client).unwrap();
    let mut talk = Talk::new();
    lab.command(End::Client, Command::RekeyChild { id }, &mut listen(&mut talk));
    let answered = talk.iter().any(|(to, header, chain)| {
        !to && header.exchange == ExchangeType::CREATE_CHILD_SA && payload(chain, PayloadType::TSR).is_some()
    });
    // It may refuse, but not narrow.
    if answered {
        assert_eq!(selectors(&talk, false, PayloadType::TSR)[..], before[0][..]);
    } else {
        assert!(!lab.errors().is_empty(), "{}", lab.story());
    }
}
