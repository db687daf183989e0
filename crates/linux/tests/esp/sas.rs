//! SAs as they are asked for and as they are.

use adit_linux::xfrm::{
    Algorithms, Cause, ESP, Encap, Event, Limit, Mark, Mode, Monitor, Offload, Port, Position, Reservation,
    Sa, SaDirection, Selector, Xfrm,
};

use crate::lab::namespace;
use crate::{address, cbc, drained, gcm, sa};

/// SAs with everything that SAs can have in any kernel since 6.1.
fn all_kinds() -> Vec<Sa> {
    let plain = sa("192.0.2.1", "192.0.2.2", 0xc000_0001, gcm(1));
    let mut full = sa("192.0.2.1", "192.0.2.2", 0xc000_0002, cbc(2));
    full.replay.esn = true;
    full.replay.window = 4096;
    full.replay.position = Position { sent: 0x1_0000_0007, received: 0x2_0000_0040, seen: vec![] };
    full.replay.position.seen = vec![0; 128];
    full.replay.position.seen[1] = 0x8000_0001;
    full.encap = Some(Encap { src_port: 4501, dst_port: 4500 });
    full.mark = Mark { value: 0x42, mask: 0xff };
    full.set_mark = Mark { value: 0x10, mask: 0xf0 };
    full.if_id = 7;
    full.limits.bytes = Limit { soft: Some(1 << 40), hard: Some(1 << 41) };
    full.limits.packets = Limit { soft: Some(1 << 30), hard: Some(1 << 31) };
    full.limits.seconds = Limit { soft: Some(3000), hard: Some(3600) };
    full.limits.seconds_used = Limit { soft: Some(2000), hard: Some(2600) };
    full.tfc_pad = 1400;
    full.flags.no_ecn = true;
    full.flags.decap_dscp = true;
    full.flags.no_encap_dscp = true;
    full.flags.no_pmtu_discovery = true;
    full.flags.icmp = true;
    full.flags.af_unspec = true;
    let mut six = sa("2001:db8::1", "2001:db8::2", 0xc000_0003, gcm(3));
    six.mode = Mode::Transport;
    six.selector = Some(Selector {
        protocol: 6,
        dst_port: Port::one(80),
        ..Selector::between((address("2001:db8::1"), 128), (address("2001:db8::2"), 128))
    });
    six.replay.window = 32;
    six.replay.position = Position { sent: 9, received: 33, seen: vec![5] };
    let mut wide = sa("192.0.2.1", "192.0.2.2", 0xc000_0004, gcm(4));
    wide.replay.window = 128;
    let mut unwatched = sa("192.0.2.1", "192.0.2.2", 0xc000_0005, gcm(5));
    unwatched.flags.sequence_may_wrap = true;
    vec![plain, full, six, wide, unwatched]
}

#[test]
#[ignore = "needs the kernel of cargo xtask kernel"]
fn sas_come_back_as_they_were_asked_for() {
    let a = namespace("sa").unwrap();
    a.run(|| {
        let (mut xfrm, mut monitor) = (Xfrm::new().unwrap(), Monitor::new().unwrap());
        for sa in all_kinds() {
            xfrm.add_sa(&sa).unwrap();
            let state = xfrm.get_sa(sa.id()).unwrap();
            assert_eq!(state.sa, sa);
            assert!(state.usage.added > 0);
            assert_eq!((state.usage.packets, state.usage.used), (0, 0));
            let told = drained(&mut monitor);
            assert!(
                matches!(told.as_slice(), [Event::NewSa { by, sa: told }] if *by == xfrm.port() && told.sa == sa),
                "{told:?}"
            );
            let again = xfrm.add_sa(&sa).unwrap_err();
            assert_eq!(again.cause(), Cause::Exists, "{again}");
        }
        let mut listed = Vec::new();
        xfrm.each_sa(|state| listed.push(state.sa)).unwrap();
        assert_eq!(listed.len(), all_kinds().len());
        assert_eq!(xfrm.sa_count().unwrap() as usize, listed.len());
        for sa in all_kinds() {
            assert!(listed.contains(&sa));
            let mut changed = sa.clone();
            changed.limits.packets = Limit { soft: None, hard: Some(77) };
            xfrm.update_sa(&changed).unwrap();
            assert_eq!(xfrm.get_sa(sa.id()).unwrap().sa.limits.packets.hard, Some(77));
            drained(&mut monitor);
            xfrm.delete_sa(sa.id()).unwrap();
            assert_eq!(drained(&mut monitor), [Event::DeletedSa { by: xfrm.port(), id: sa.id() }]);
            for gone in [
                xfrm.get_sa(sa.id()).unwrap_err(),
                xfrm.delete_sa(sa.id()).unwrap_err(),
                xfrm.update_sa(&sa).unwrap_err(),
            ] {
                assert_eq!(gone.cause(), Cause::Gone, "{gone}");
            }
        }
    })
    .unwrap();
}

#[test]
#[ignore = "needs the kernel of cargo xtask kernel"]
fn every_algorithm_of_the_table_is_one_of_the_kernel() {
    let a = namespace("alg").unwrap();
    a.run(|| {
        let mut xfrm = Xfrm::new().unwrap();
        let aead = [(14, 19), (15, 35), (16, 27), (18, 20), (19, 28), (20, 36), (21, 20), (28, 36)];
        let ciphers = [(11, 0), (12, 16), (12, 32), (13, 20), (13, 36), (23, 16)];
        let macs = [(2, 20), (5, 16), (8, 16), (12, 32), (13, 48), (14, 64)];
        let key = |octets: usize| (1..=octets as u8).collect::<Vec<_>>();
        let mut all: Vec<_> =
            aead.iter().map(|(encr, octets)| Algorithms::from_iana(*encr, &key(*octets), 0, &[])).collect();
        for (encr, octets) in ciphers {
            all.push(Algorithms::from_iana(encr, &key(octets), 12, &key(32)));
        }
        for (integ, octets) in macs {
            all.push(Algorithms::from_iana(12, &key(16), integ, &key(octets)));
        }
        for (n, algorithms) in all.into_iter().enumerate() {
            let sa = sa("192.0.2.1", "192.0.2.2", 0xc000_0100 + n as u32, algorithms.unwrap());
            match xfrm.add_sa(&sa) {
                Ok(()) => assert_eq!(xfrm.get_sa(sa.id()).unwrap().sa, sa),
                // A cloud kernel has no Camellia.
                Err(e) if format!("{:?}", sa.algorithms).contains("camellia") => {
                    assert_eq!(e.cause(), Cause::NoAlgorithm, "{e}");
                }
                Err(e) => panic!("{e}: {:?}", sa.algorithms),
            }
        }
        let mut unknown = gcm(1);
        let Algorithms::Aead(aead) = &mut unknown else { unreachable!() };
        aead.name = "rfc4106(gcm(rot13))".into();
        let error = xfrm.add_sa(&sa("192.0.2.1", "192.0.2.2", 0xc000_0200, unknown)).unwrap_err();
        assert_eq!(error.cause(), Cause::NoAlgorithm, "{error}");
        let short = Algorithms::from_iana(20, &[1; 3], 0, &[]).unwrap();
        let error = xfrm.add_sa(&sa("192.0.2.1", "192.0.2.2", 0xc000_0201, short)).unwrap_err();
        assert_eq!(error.cause(), Cause::Invalid, "{error}");
    })
    .unwrap();
}

#[test]
#[ignore = "needs the kernel of cargo xtask kernel"]
fn what_newer_kernels_have_is_read_back_or_was_ignored() {
    let a = namespace("new").unwrap();
    a.run(|| {
        let mut xfrm = Xfrm::new().unwrap();
        let mut asked = sa("192.0.2.1", "192.0.2.2", 0xc000_0001, gcm(1));
        asked.encap = Some(Encap { src_port: 4500, dst_port: 4500 });
        asked.direction = Some(SaDirection::Out);
        asked.cpu = Some(0);
        asked.nat_keepalive = 20;
        xfrm.add_sa(&asked).unwrap();
        let got = xfrm.get_sa(asked.id()).unwrap().sa;
        // Since 6.10, 6.13 and 6.11; a kernel has none of them, or the first.
        let none = Sa { direction: None, cpu: None, nat_keepalive: 0, ..asked.clone() };
        let first = Sa { direction: asked.direction, ..none.clone() };
        let cpu = Sa { cpu: asked.cpu, ..first.clone() };
        let alive = Sa { nat_keepalive: 20, ..first.clone() };
        assert!([none, first, cpu, alive, asked].contains(&got), "{got:?}");
        println!("direction {:?}, cpu {:?}, keepalive {}", got.direction, got.cpu, got.nat_keepalive);
    })
    .unwrap();
}

#[test]
#[ignore = "needs the kernel of cargo xtask kernel"]
fn an_spi_is_reserved_filled_in_and_moved_into_use() {
    let a = namespace("spi").unwrap();
    a.run(|| {
        let mut xfrm = Xfrm::new().unwrap();
        let wanted = Reservation {
            src: address("192.0.2.2"),
            dst: address("192.0.2.1"),
            protocol: ESP,
            mode: Mode::Tunnel,
            reqid: 5,
            low: 0xc000_0000,
            high: 0xc000_0001,
            mark: Mark::default(),
            if_id: 0,
        };
        let mut spis = Vec::new();
        while spis.len() < 2 {
            match xfrm.reserve_spi(wanted) {
                Ok(spi) => spis.push(spi),
                // The kernel draws as often as there are numbers, and may miss those that are free.
                Err(e) => assert_eq!(e.cause(), Cause::Gone, "{e}"),
            }
        }
        assert!(spis.contains(&0xc000_0000) && spis.contains(&0xc000_0001), "{spis:x?}");
        let full = xfrm.reserve_spi(wanted).unwrap_err();
        assert_eq!(full.cause(), Cause::Gone, "{full}");
        let sa = sa("192.0.2.2", "192.0.2.1", spis[0], gcm(1));
        assert_eq!(xfrm.add_sa(&sa).unwrap_err().cause(), Cause::Exists);
        xfrm.update_sa(&sa).unwrap();
        assert_eq!(xfrm.get_sa(sa.id()).unwrap().sa, sa);
    })
    .unwrap();
}

#[test]
#[ignore = "needs the kernel of cargo xtask kernel"]
fn a_card_that_cannot_is_passed_over_or_refused() {
    let (a, b) = (namespace("oa").unwrap(), namespace("ob").unwrap());
    adit_linux::netns::veth((&a, "v0"), (&b, "v1")).unwrap();
    a.run(|| {
        let mut xfrm = Xfrm::new().unwrap();
        let ifindex = adit_linux::route::Netlink::new().unwrap().link_index("v0").unwrap();
        let mut asked = sa("192.0.2.1", "192.0.2.2", 0xc000_0001, gcm(1));
        asked.offload = Some(Offload { ifindex, inbound: false, packet: false });
        xfrm.add_sa(&asked).unwrap();
        assert_eq!(xfrm.get_sa(asked.id()).unwrap().sa, Sa { offload: None, ..asked.clone() });
        xfrm.delete_sa(asked.id()).unwrap();
        asked.offload = Some(Offload { ifindex, inbound: false, packet: true });
        match xfrm.add_sa(&asked) {
            Err(e) => assert_eq!(e.cause(), Cause::Invalid, "{e}"),
            // Before 6.2 there was no such thing, and it is not told apart.
            Ok(()) => assert_eq!(xfrm.get_sa(asked.id()).unwrap().sa.offload, None),
        }
    })
    .unwrap();
}
