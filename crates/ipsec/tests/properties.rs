//! What holds for every selector, identity and proposal.
#![allow(clippy::unwrap_used, reason = "helpers of tests are no tests by clippy's reckoning")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use adit_ipsec::{
    Identity, MatchQuality, Proposal, Protocol, Selector, SelectorSpec, Transform, TransformType, narrow,
    parse_packet, select_proposal,
};
use proptest::prelude::*;

/// Selectors close enough together to meet often.
fn selector() -> impl Strategy<Value = Selector> {
    let address = |v4: bool, n: u8| -> IpAddr {
        if v4 {
            Ipv4Addr::new(10, 0, 0, n).into()
        } else {
            Ipv6Addr::from_bits(u128::MAX - u128::from(n)).into()
        }
    };
    let protocol = prop_oneof![Just(0_u8), Just(1), Just(6), Just(17), Just(58), any::<u8>()];
    let ports = prop_oneof![
        Just((0, u16::MAX)),
        Just((u16::MAX, 0)),
        (0..200_u16, 0..200_u16).prop_map(|(a, b)| (a.min(b), a.max(b))),
        any::<(u16, u16)>().prop_map(|(a, b)| (a.min(b), a.max(b))),
    ];
    (any::<bool>(), protocol, ports, 0..=40_u8, 0..=40_u8).prop_map(move |(v4, protocol, ports, a, b)| {
        let (a, b) = (address(v4, a), address(v4, b));
        Selector::new(protocol, ports.0, ports.1, a.min(b), a.max(b)).unwrap()
    })
}

fn transforms() -> impl Strategy<Value = Vec<Transform>> {
    let kind = prop::sample::select(TransformType::ALL.to_vec());
    let id = prop_oneof![Just(0_u16), Just(1), Just(5), Just(12), Just(14), Just(20), Just(31), any::<u16>()];
    let bits = prop_oneof![Just(0_u16), Just(128), Just(256)];
    let one = (kind, id, bits).prop_map(|(kind, id, key_bits)| Transform { kind, id, key_bits });
    prop::collection::vec(one, 0..12)
}

proptest! {
    #[test]
    fn a_selector_reads_as_it_prints(s in selector()) {
        let SelectorSpec::Fixed(read) = s.to_string().parse().unwrap() else { panic!("{s} became dynamic") };
        prop_assert_eq!(read, s);
    }

    #[test]
    fn an_intersection_is_in_both_and_takes_what_both_take(a in selector(), b in selector(), n in 0..=40_u8, p in 0..200_u16) {
        let both = a.intersect(&b);
        prop_assert_eq!(both, b.intersect(&a));
        if let Some(both) = both {
            prop_assert!(a.contains(&both) && b.contains(&both));
        }
        for address in [IpAddr::V4(Ipv4Addr::new(10, 0, 0, n)), IpAddr::V6(Ipv6Addr::from_bits(u128::MAX - u128::from(n)))] {
            for protocol in [6, a.protocol(), b.protocol()] {
                for port in [0, p] {
                    let expected = a.matches(address, protocol, port) && b.matches(address, protocol, port);
                    let found = both.is_some_and(|both| both.matches(address, protocol, port));
                    // OPAQUE and port 0 as a number are two things that look alike in a packet
                    let opaque = a.is_opaque() || b.is_opaque();
                    prop_assert!(found == expected || (opaque && port == 0), "{} {} {}", a, b, port);
                }
            }
        }
    }

    #[test]
    fn a_cover_is_the_range_in_order_without_gaps(s in selector()) {
        let mut next = Some(s.start());
        for (address, prefix) in s.cidrs() {
            let network = Selector::from_cidr(address, prefix).unwrap();
            prop_assert_eq!(Some(network.start()), next);
            prop_assert!(network.end() <= s.end());
            next = match network.end() {
                IpAddr::V4(end) => end.to_bits().checked_add(1).map(|n| Ipv4Addr::from_bits(n).into()),
                IpAddr::V6(end) => end.to_bits().checked_add(1).map(|n| Ipv6Addr::from_bits(n).into()),
            };
        }
        let last = s.cidrs().last().copied().unwrap();
        prop_assert_eq!(Selector::from_cidr(last.0, last.1).unwrap().end(), s.end());
    }

    #[test]
    fn narrowing_gives_parts_of_both_and_none_twice(
        ours in prop::collection::vec(selector(), 0..5),
        theirs in prop::collection::vec(selector(), 0..5),
    ) {
        let found = narrow(&ours, &theirs);
        for (i, part) in found.iter().enumerate() {
            prop_assert!(ours.iter().any(|o| o.contains(part)) && theirs.iter().any(|t| t.contains(part)));
            prop_assert!(found.iter().enumerate().all(|(j, other)| i == j || !other.contains(part)));
        }
        for both in ours.iter().flat_map(|o| theirs.iter().filter_map(|t| o.intersect(t))) {
            prop_assert!(found.iter().any(|f| f.contains(&both)));
        }
    }

    #[test]
    fn any_text_is_a_selector_an_identity_a_proposal_or_an_error(text in ".{0,40}") {
        let _ = text.parse::<SelectorSpec>();
        let _ = Proposal::parse(Protocol::Ike, &text);
        if let Ok(identity) = Identity::parse(&text) {
            prop_assert!(!identity.to_string().chars().any(char::is_control));
        }
        let _ = Identity::parse(&format!("CN={text}"));
    }

    #[test]
    fn any_bytes_of_a_peer_are_an_identity_that_prints_or_an_error(kind in 0..12_u8, data in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(identity) = Identity::from_wire(kind, &data) {
            prop_assert!(!identity.is_any());
            prop_assert!(!identity.to_string().chars().any(char::is_control));
            prop_assert_eq!((identity.wire_kind(), identity.wire_data()), (kind, data));
            prop_assert_eq!(identity.matches(&identity), MatchQuality::Exact);
        }
    }

    #[test]
    fn a_bent_name_never_panics(at in 0..60_usize, value in any::<u8>()) {
        let whole = Identity::parse("C=CH, ST=ZH, O=Big Lab, OU=*, CN=gw.lab, E=x@lab").unwrap();
        let mut bent = whole.wire_data();
        if let Some(byte) = bent.get_mut(at) {
            *byte = value;
        }
        if let Ok(bent) = Identity::from_wire(9, &bent) {
            let _ = (bent.to_string(), whole.matches(&bent), bent.matches(&whole));
        }
    }

    #[test]
    fn what_is_selected_was_offered_and_is_complete(transforms in transforms(), strip in any::<bool>()) {
        use TransformType::{Encryption, Integrity, KeyExchange, Prf};
        for (configured, protocol) in [(Proposal::default_ike(), Protocol::Ike), (Proposal::default_esp(), Protocol::Esp)] {
            let mut offered = Proposal { protocol, transforms: transforms.clone() };
            if strip {
                offered = offered.without_ke();
            }
            let Some((7, chosen)) = select_proposal(&configured, &[(7, offered.clone())]) else { continue };
            for kind in TransformType::ALL {
                prop_assert!(chosen.of_kind(kind).count() <= 1);
            }
            for t in &chosen.transforms {
                prop_assert!(offered.transforms.contains(t) && configured.iter().any(|c| c.transforms.contains(t)));
            }
            prop_assert!(chosen.first(Encryption).is_some());
            prop_assert!(chosen.is_aead() != chosen.first(Integrity).is_some());
            if protocol == Protocol::Ike {
                prop_assert!(chosen.first(Prf).is_some() && chosen.first(KeyExchange).is_some_and(|t| t.id != 0));
            }
        }
    }

    #[test]
    fn a_packet_says_no_more_than_there_is(packet in prop::collection::vec(any::<u8>(), 0..120), version in prop_oneof![Just(0x45_u8), Just(0x60), any::<u8>()]) {
        let mut packet = packet;
        if let Some(first) = packet.first_mut() {
            *first = version;
        }
        if let Some(info) = parse_packet(&packet) {
            prop_assert!(info.total_len <= packet.len() && info.src.is_ipv4() == info.dst.is_ipv4());
        }
    }
}
