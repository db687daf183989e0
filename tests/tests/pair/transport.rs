//! What one CHILD_SA is negotiated to carry: transport mode (RFC 7296 §1.3.1, §2.23.1), several selectors with
//! protocols and ports (§2.9), padding.

use adit_ike::{Command, HostSpec};
use adit_ipsec::{Mode, PacketInfo, Selector, SelectorSpec};

use crate::net::End;
use crate::pair::{Pair, SECOND, settle};
use crate::setup::{Auth, Setup, ip};

fn transport(setup: &mut Setup) {
    setup.both(|side| {
        side.child().mode = Mode::Transport;
        side.child().local_ts = vec![SelectorSpec::DYNAMIC];
        side.child().remote_ts = vec![SelectorSpec::DYNAMIC];
    });
}

fn up_with(turn: impl Fn(&mut Setup)) -> Pair {
    let mut setup = Setup::new(Auth::Psk);
    turn(&mut setup);
    let mut pair = Pair::new(setup, 5);
    pair.up(End::Client).unwrap_or_else(|reason| panic!("{reason}\n{}", pair.story()));
    settle(&mut pair);
    pair
}

fn the_child(pair: &Pair, end: End) -> adit_ipsec::ChildSa {
    let mut all: Vec<_> = pair.host(end).sad.values().map(|entry| entry.sa.clone()).collect();
    assert_eq!(all.len(), 1, "{}", pair.story());
    all.remove(0)
}

fn modes(pair: &Pair) -> [Mode; 2] {
    End::BOTH.map(|end| the_child(pair, end).mode)
}

fn texts(selectors: &[Selector]) -> Vec<String> {
    selectors.iter().map(ToString::to_string).collect()
}

/// Each end's NAT, as the selectors of the client's and the gateway's SA must show them.
type Ground = (&'static str, fn(&mut Setup), [&'static str; 4]);

const GROUNDS: [Ground; 3] = [
    ("plain", |_| (), ["192.0.2.10/32", "203.0.113.1/32", "203.0.113.1/32", "192.0.2.10/32"]),
    (
        "behind NAT",
        Setup::behind_nat,
        ["192.168.7.2/32", "203.0.113.1/32", "203.0.113.1/32", "198.51.100.1/32"],
    ),
    (
        "NAT pretended",
        |s| s.client.conn.encap = true,
        ["192.0.2.10/32", "203.0.113.1/32", "203.0.113.1/32", "192.0.2.10/32"],
    ),
];

//= rfc7296 2.23-10, 2.23.1-1, 2.23.1-2, 2.23.1-3
#[test]
fn transport_mode_is_agreed_and_kept_by_rekeyings_of_either_side() {
    for (name, turn, expected) in GROUNDS {
        let mut pair = up_with(|s| {
            transport(s);
            turn(s);
        });
        let judge = |pair: &Pair| {
            let (client, gateway) = (the_child(pair, End::Client), the_child(pair, End::Gateway));
            let lists = [&client.local_ts, &client.remote_ts, &gateway.local_ts, &gateway.remote_ts];
            assert_eq!(lists.map(|list| texts(list)), expected.map(|one| vec![one.to_owned()]), "{name}");
            assert_eq!(modes(pair), [Mode::Transport; 2], "{name}\n{}", pair.story());
        };
        judge(&pair);
        for end in [End::Client, End::Gateway, End::Gateway, End::Client] {
            let id = pair.children(end)[0];
            pair.command(end, Command::RekeyChild { id });
            pair.run_for(SECOND);
            settle(&mut pair);
            judge(&pair);
            assert_ne!(pair.children(end)[0], id);
        }
        pair.shut_down().unwrap_or_else(|left| panic!("{name}: left {left}\n{}", pair.story()));
    }
}

#[test]
fn transport_mode_is_agreed_in_create_child_sa_with_ports() {
    for (name, turn, _) in GROUNDS {
        let mut pair = up_with(|s| {
            turn(s);
            s.both(|side| side.child().mode = Mode::Tunnel);
            s.add_child("l2tp", "dynamic[udp/1701]", "dynamic[udp]");
            s.both(|side| {
                let child = std::sync::Arc::make_mut(&mut side.conn.children[1]);
                child.mode = Mode::Transport;
            });
        });
        let l2tp: Vec<_> = pair.client.sad.values().filter(|e| e.sa.mode == Mode::Transport).collect();
        let [l2tp] = l2tp[..] else { panic!("{name}: not one in transport mode\n{}", pair.story()) };
        assert!(texts(&l2tp.sa.local_ts)[0].ends_with("[udp/l2tp]"), "{name} {:?}", l2tp.sa.local_ts);
        assert!(texts(&l2tp.sa.remote_ts)[0].ends_with("/32[udp]"), "{name}");
        pair.shut_down().unwrap_or_else(|left| panic!("{name}: left {left}\n{}", pair.story()));
    }
}

/// A knob, by name.
type Turn = (&'static str, fn(&mut Setup));

#[test]
fn whoever_wants_a_tunnel_gets_one() {
    // The gateway declines; the client does not ask; a virtual address is nobody's outer address; nor is a network.
    let cases: [Turn; 4] = [
        ("declined", |s| s.gateway.child().mode = Mode::Tunnel),
        ("not asked for", |s| s.client.child().mode = Mode::Tunnel),
        ("road-warrior", |s| {
            s.road_warrior();
            s.both(|side| side.child().mode = Mode::Transport);
        }),
        ("networks", |s| {
            s.client.ts(&["10.1.0.0/16"], &["10.2.0.0/16"]);
            s.gateway.ts(&["10.2.0.0/16"], &["10.1.0.0/16"]);
        }),
    ];
    for (name, turn) in cases {
        let mut pair = up_with(|s| {
            transport(s);
            turn(s);
        });
        assert_eq!(modes(&pair), [Mode::Tunnel; 2], "{name}\n{}", pair.story());
        let told = pair.story();
        let line = if name == "declined" { "the peer declines transport mode" } else { "host-to-host" };
        assert_eq!(told.contains(line), name != "not asked for", "{name}\n{told}");
        pair.shut_down().unwrap_or_else(|left| panic!("{name}: left {left}\n{}", pair.story()));
    }
}

#[test]
fn a_rekeying_keeps_the_mode_whatever_is_configured_by_then() {
    let mut pair = up_with(|s| {
        transport(s);
        s.gateway.child().mode = Mode::Tunnel;
    });
    // The child at hand is in tunnel mode: neither end asks for another, nor would get it.
    for end in End::BOTH {
        let id = pair.children(end)[0];
        pair.command(end, Command::RekeyChild { id });
        pair.run_for(SECOND);
        settle(&mut pair);
        assert_eq!(modes(&pair), [Mode::Tunnel; 2], "{}", pair.story());
    }
    pair.shut_down().unwrap();
}

#[test]
fn an_offer_is_narrowed_selector_by_selector() {
    let pair = up_with(|s| {
        s.client.ts(
            &["10.1.0.0/24[tcp]", "10.1.1.0/24[udp/1024-2047]", "10.1.2.0/24[icmp/8]", "fd01::/64"],
            &["10.2.0.0/16", "fd02::/64[ipv6-icmp]"],
        );
        s.gateway.ts(
            &["10.2.4.0/24[tcp/http]", "10.2.4.0/24[udp]", "10.2.5.1..10.2.5.9", "fd02::/64"],
            &["10.1.0.0/16[tcp]", "10.1.1.128/25[udp/2000-3000]", "10.1.2.0/24[icmp]", "fd01::7/128[tcp]"],
        );
    });
    let child = the_child(&pair, End::Gateway);
    assert_eq!(
        texts(&child.remote_ts),
        ["10.1.0.0/24[tcp]", "10.1.1.128/25[udp/2000-2047]", "10.1.2.0/24[icmp/8]", "fd01::7/128[tcp]"]
    );
    assert_eq!(
        texts(&child.local_ts),
        ["10.2.4.0/24[tcp/http]", "10.2.4.0/24[udp]", "10.2.5.1..10.2.5.9", "fd02::/64[ipv6-icmp]"]
    );
}

#[test]
fn the_rest_of_an_offer_is_said_to_be_possible() {
    let pair = up_with(|s| {
        s.client.ts(&["10.1.0.0/16"], &["10.2.0.0/16", "10.4.0.0/16"]);
        s.add_child("voice", "10.1.0.0/16", "10.4.0.0/16");
        s.client.conn.children.truncate(1);
    });
    assert_eq!(texts(&the_child(&pair, End::Client).remote_ts), ["10.2.0.0/16"]);
    let line = "the peer would take more traffic selectors in another CHILD_SA";
    assert!(pair.client.story().contains(line), "{}", pair.story());
    // Where nothing else would be taken, nothing is said.
    let pair = up_with(|s| s.client.ts(&["10.1.0.0/16"], &["10.2.0.0/16", "10.4.0.0/16"]));
    assert!(!pair.client.story().contains(line), "{}", pair.story());
}

#[test]
fn the_packet_that_asks_comes_first() {
    let packet = |protocol, src_port, dst_port| PacketInfo {
        src: ip("10.1.0.9"),
        dst: ip("10.2.0.9"),
        protocol,
        src_port,
        dst_port,
        total_len: 60,
    };
    // A child that takes the packet alone shows what stood first; GRE has no ports, so all are meant.
    for (protocol, ports, expected) in [
        (6, (4000, 80), ("10.1.0.9/32[tcp/4000]", "10.2.0.9/32[tcp/http]")),
        (1, (0x0800, 0x0800), ("10.1.0.9/32[icmp/8(0)]", "10.2.0.9/32[icmp/8(0)]")),
        (1, (0, 0), ("10.1.0.9/32[icmp/0(0)]", "10.2.0.9/32[icmp/0(0)]")),
        (47, (0, 0), ("10.1.0.9/32[gre]", "10.2.0.9/32[gre]")),
    ] {
        let mut setup = Setup::new(Auth::Psk);
        setup.client.child().local_ts = Vec::new();
        setup.client.child().remote_ts = Vec::new();
        let mut pair = Pair::new(setup, 3);
        let tag = pair.tag();
        pair.command(
            End::Client,
            Command::Initiate {
                conn: None,
                child: Some("net".into()),
                tag,
                trigger: Some(packet(protocol, ports.0, ports.1)),
            },
        );
        pair.outcome(End::Client, tag).unwrap_or_else(|reason| panic!("{reason}\n{}", pair.story()));
        let child = the_child(&pair, End::Client);
        assert_eq!(texts(&child.local_ts), [expected.0]);
        assert_eq!(texts(&child.remote_ts), [expected.1]);
    }
}

#[test]
fn padding_is_for_tunnels_and_peers_that_take_it() {
    let pad = |s: &mut Setup| s.client.child().tfc_padding = 1000;
    assert_eq!(the_child(&up_with(pad), End::Client).tfc_padding, 1000);
    assert_eq!(the_child(&up_with(pad), End::Gateway).tfc_padding, 0);
    let pair = up_with(|s| {
        transport(s);
        pad(s);
    });
    assert_eq!(the_child(&pair, End::Client).tfc_padding, 0);
}

#[test]
fn transport_mode_works_over_ipv6() {
    let pair = up_with(|s| {
        transport(s);
        for (side, own, peer) in
            [(&mut s.client, "2001:db8::10", "2001:db8::1"), (&mut s.gateway, "2001:db8::1", "2001:db8::10")]
        {
            side.conn.local_addrs = vec![HostSpec::Addr(ip(own))];
            side.conn.remote_addrs = vec![HostSpec::Addr(ip(peer))];
            side.outside.addresses = vec![ip(own)];
        }
    });
    assert_eq!(modes(&pair), [Mode::Transport; 2]);
    assert_eq!(texts(&the_child(&pair, End::Client).local_ts), ["2001:db8::10/128"]);
}
