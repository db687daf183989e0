//! What SAs and XFRM interfaces do with packets.

use adit_linux::route::{Netlink, Route};
use adit_linux::xfrm::{Direction, Mode, Policy, Sa, Selector, Xfrm};

use crate::hosts::{Hosts, carry, state, template};
use crate::lab::ip;
use crate::{address, cbc, gcm, sa};

#[test]
#[ignore = "needs the kernel of cargo xtask kernel"]
fn packets_go_through_and_are_counted() {
    let hosts = Hosts::new();
    let mut tunnel = sa("192.0.2.1", "192.0.2.2", 0xc000_0001, gcm(1));
    tunnel.flags.af_unspec = true;
    tunnel.replay.esn = true;
    tunnel.replay.window = 4096;
    let mut bare = sa("192.0.2.1", "192.0.2.2", 0xc000_0002, cbc(2));
    bare.mode = Mode::Transport;
    bare.reqid = 6;
    bare.replay.window = 32;
    hosts.one_way(&tunnel, &tunnel, "10.0.1.1", "10.0.2.1");
    hosts.one_way(&bare, &bare, "192.0.2.1", "192.0.2.2");
    carry(&hosts, "10.0.1.1", "10.0.2.1", 40);
    carry(&hosts, "192.0.2.1", "192.0.2.2", 3);
    for (sa, count, bitmap) in [(&tunnel, 40, 2), (&bare, 3, 1)] {
        let (out, into) = (state(&hosts.a, sa), state(&hosts.b, sa));
        assert_eq!((out.usage.packets, into.usage.packets), (count, count));
        assert!(out.usage.bytes >= 100 * count && into.usage.used > 0);
        assert_eq!((out.sa.replay.position.sent, into.sa.replay.position.received), (count, count));
        let seen: u32 = into.sa.replay.position.seen.iter().map(|word| word.count_ones()).sum();
        assert_eq!((u64::from(seen), into.replayed, into.forged), (count, 0, 0), "{bitmap}");
    }
    // IPv6 in the IPv4 tunnel, by the same SA.
    let both = Policy {
        templates: vec![template(&tunnel)],
        ..Policy::pass(
            Selector::between((address("fd00:1::1"), 128), (address("fd00:2::1"), 128)),
            Direction::Out,
            1,
        )
    };
    for (inside, direction) in [(&hosts.a, Direction::Out), (&hosts.b, Direction::In)] {
        let policy = Policy { direction, ..both.clone() };
        inside.run(|| Xfrm::new().unwrap().add_policy(&policy).unwrap()).unwrap();
        let index = if direction == Direction::Out { "v0" } else { "v1" };
        let other = if direction == Direction::Out { "fd00:2::" } else { "fd00:1::" };
        inside
            .run(|| {
                let mut netlink = Netlink::new().unwrap();
                let index = netlink.link_index(index).unwrap();
                netlink.add_route(&Route::through((address(other), 32), 254, index, None)).unwrap();
            })
            .unwrap();
    }
    carry(&hosts, "fd00:1::1", "fd00:2::1", 1);
    assert_eq!(state(&hosts.b, &tunnel).usage.packets, 41);
    // A number that was used is not taken twice: an SA that begins anew is not believed.
    let mut again = hosts.a.run(|| Xfrm::new().unwrap()).unwrap();
    again.delete_sa(tunnel.id()).unwrap();
    let used = state(&hosts.b, &tunnel).sa.replay.position.received;
    let mut handed = tunnel.clone();
    handed.replay.position.sent = used;
    again.add_sa(&handed).unwrap();
    carry(&hosts, "10.0.1.1", "10.0.2.1", 1);
    let after = state(&hosts.b, &tunnel);
    assert_eq!((after.sa.replay.position.received, after.replayed), (used + 1, 0));
}

#[test]
#[ignore = "needs the kernel of cargo xtask kernel"]
fn an_xfrm_interface_is_made_once_used_and_removed() {
    let hosts = Hosts::new();
    let mut out = sa("192.0.2.1", "192.0.2.2", 0xc000_0001, gcm(1));
    out.if_id = 42;
    let into = Sa { if_id: 0, ..out.clone() };
    hosts.one_way(&out, &into, "10.9.1.1", "10.9.2.1");
    hosts
        .b
        .run(|| {
            let mut netlink = Netlink::new().unwrap();
            let index = netlink.link_index("v1").unwrap();
            netlink.add_address(index, address("10.9.2.1"), 32).unwrap();
        })
        .unwrap();
    let mut netlink = hosts.a.run(|| Netlink::new().unwrap()).unwrap();
    ip(&hosts.a, "link add foreign type xfrm dev v0 if_id 41");
    let link = netlink.add_xfrm_link("ipsec42", 42, None).unwrap();
    assert!(link.ours && link.if_id == 42 && link.lower.is_none() && !link.up);
    assert_eq!(netlink.add_xfrm_link("ipsec42", 42, None).unwrap(), link);
    assert!(ip(&hosts.a, "-d link show ipsec42").contains("if_id 0x2a"));
    let lower = netlink.link_index("v0").unwrap();
    let foreign = netlink.add_xfrm_link("foreign", 41, Some(lower)).unwrap();
    assert!(!foreign.ours && foreign.lower == Some(lower));
    for (name, if_id, lower) in
        [("ipsec43", 42, None), ("ipsec42", 43, None), ("v0", 44, None), ("foreign", 41, None)]
    {
        let error = netlink.add_xfrm_link(name, if_id, lower).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists, "{error}");
    }
    netlink.add_address(link.ifindex, address("10.9.1.1"), 32).unwrap();
    netlink.link_up(link.ifindex).unwrap();
    netlink.add_route(&Route::through((address("10.9.2.1"), 32), 254, link.ifindex, None)).unwrap();
    carry(&hosts, "10.9.1.1", "10.9.2.1", 2);
    assert_eq!(state(&hosts.b, &into).usage.packets, 2);
    assert!(!netlink.del_xfrm_link(41).unwrap(), "it is somebody else's");
    assert!(netlink.del_xfrm_link(42).unwrap() && !netlink.del_xfrm_link(42).unwrap());
    assert_eq!(netlink.xfrm_links().unwrap(), [foreign]);
}
