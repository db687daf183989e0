//! What the kernel's data plane does about others: who flush its entries, who left some behind, who have some of their own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Helpers of tests.

mod lab;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_dataplane::{Dataplane, DataplaneEvent, Kernel, RouteConfig};
use adit_ipsec::{ChildSa, EntryOptions, HwOffload, Mark, Selector, SetMark, TrapPolicy};
use adit_linux::xfrm::{Algorithms, Direction, Mode, Policy, Sa, Selector as Between, Xfrm};
use lab::{Host, PATIENCE, Plane, address, both, crosses, net, planes, sa};

fn apps(a: &Host<Kernel>, b: &Host<Kernel>) -> (std::net::UdpSocket, std::net::UdpSocket) {
    (a.socket(SocketAddr::new(a.inner(), 7000)), b.socket(SocketAddr::new(b.inner(), 7000)))
}

fn policies(host: &Host<Kernel>) -> String {
    let text = host.xfrm("xfrm policy list nosock");
    // The kernel's order is that of insertion among equals.
    let mut each: Vec<&str> = text.split("src ").filter(|it| it.contains("dir ")).collect();
    each.sort_unstable();
    each.concat()
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}

fn disturbed(host: &Host<Kernel>) -> String {
    match host.event() {
        DataplaneEvent::Disturbed { sentence } => sentence,
        other => panic!("{other:?}"),
    }
}

mod kernel {
    use super::*;

    #[test]
    #[ignore = "needs the kernel of cargo xtask kernel"]
    fn policies_that_others_take_away_are_back_at_once() {
        let Some((mut a, mut b)) = planes::<Kernel>() else { return };
        both(&mut a, &mut b, |_| ());
        let (x, y) = apps(&a, &b);
        crosses(&x, &y, "before");
        let before = policies(&a);
        assert_eq!(before.matches("dir ").count(), 6);
        a.ip("xfrm policy flush");
        let sentence = disturbed(&a);
        assert!(sentence.contains("6 of 6 put back"), "{sentence}");
        assert_eq!(policies(&a), before);
        crosses(&x, &y, "after");
        crosses(&y, &x, "after");
        a.ip("xfrm policy delete src 10.1.0.0/16 dst 10.2.0.0/16 dir out");
        let sentence = disturbed(&a);
        assert!(sentence.contains("1 of 6"), "{sentence}");
        assert_eq!(policies(&a), before);
        // Somebody else's in the place of ours.
        a.ip("xfrm policy update src 10.1.0.0/16 dst 10.2.0.0/16 dir out action block");
        disturbed(&a);
        assert_eq!(policies(&a), before);
        crosses(&x, &y, "again");
        assert_eq!(a.plane().usage(1).unwrap().packets_out, 3);
        // What we do ourselves is nobody's disturbance.
        a.plane().remove(1);
        assert!(a.events.recv_timeout(Duration::from_millis(300)).is_err());
        a.shutdown();
    }

    #[test]
    #[ignore = "needs the kernel of cargo xtask kernel"]
    fn sas_that_others_take_away_are_rekeyed_and_told_once() {
        let Some((mut a, mut b)) = planes::<Kernel>() else { return };
        both(&mut a, &mut b, |_| ());
        let (second_a, second_b) = (other_nets(sa(&a, &b, 2)), other_nets(sa(&b, &a, 2)));
        a.plane().install(second_a).unwrap();
        b.plane().install(second_b).unwrap();
        a.ip("xfrm state delete src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x2001");
        assert!(disturbed(&a).contains("rekeying 1 CHILD_SAs"));
        assert!(matches!(a.event(), DataplaneEvent::Expired { id: 1, hard: false }));
        a.ip("xfrm state flush");
        // The first is known to be lost.
        assert!(disturbed(&a).contains("rekeying 1 CHILD_SAs"));
        assert!(matches!(a.event(), DataplaneEvent::Expired { id: 2, hard: false }));
        assert!(a.events.recv_timeout(Duration::from_millis(300)).is_err());
        // As IKE does it: the successor is there before the lost one is removed, and the policies never went.
        let renew = |old: ChildSa| ChildSa {
            id: 3,
            spi_in: old.spi_in + 8,
            spi_out: old.spi_out + 8,
            keys_in: lab::keys(old.spi_in + 8),
            keys_out: lab::keys(old.spi_out + 8),
            replaces: Some(1),
            ..old
        };
        let (one, two) = (renew(sa(&a, &b, 1)), renew(sa(&b, &a, 1)));
        b.plane().install(two).unwrap();
        a.plane().install(one).unwrap();
        let (x, y) = apps(&a, &b);
        crosses(&x, &y, "on the new one");
        a.plane().remove(1);
        b.plane().remove(1);
        crosses(&y, &x, "back");
        crosses(&x, &y, "there");
        a.shutdown();
        b.shutdown();
    }

    fn other_nets(mut sa: ChildSa) -> ChildSa {
        let shift = |selectors: &mut Vec<Selector>| {
            for selector in selectors.iter_mut() {
                *selector = selector.with_ports(6, 80, 80);
            }
        };
        shift(&mut sa.local_ts);
        sa.remote_ts = sa.remote_ts.iter().map(|s| s.with_ports(6, 0, u16::MAX)).collect();
        sa.reqid = 2;
        sa
    }

    /// Entries as a killed aditd leaves them, and such as others make.
    #[test]
    #[ignore = "needs the kernel of cargo xtask kernel"]
    fn what_a_predecessor_left_goes_and_what_is_others_stays() {
        let Some((mut a, b)) = lab::hosts::<Kernel>() else { return };
        let foreign = "xfrm policy add src 10.77.0.0/16 dst 10.78.0.0/16 dir out priority 5 tmpl src 192.0.2.1 dst 192.0.2.9 \
                   proto esp reqid 9 mode tunnel";
        a.ip(foreign);
        let key = format!("0x{}", "07".repeat(20));
        a.ip(&format!(
        "xfrm state add src 192.0.2.1 dst 192.0.2.9 proto esp spi 0x999 reqid 9 mode tunnel aead rfc4106(gcm(aes)) {key} 128"
    ));
        let before = a.listing();
        a.before.clone_from(&before);
        let child = sa(&a, &b, 1);
        a.namespace
            .run(move || {
                // Made by another process, and never removed: what a kill leaves.
                let mut xfrm = Xfrm::new().unwrap();
                let between = Between::between((address("10.1.0.0"), 16), (address("10.2.0.0"), 16));
                let mut policy = Policy::pass(between, Direction::Out, 367_231);
                policy.index = 0xad00_0009;
                xfrm.add_policy(&policy).unwrap();
                let algorithms = Algorithms::from_iana(20, &[7; 36], 0, &[]).unwrap();
                let mut sa =
                    Sa::esp(child.remote.ip(), child.local.ip(), child.spi_in, Mode::Tunnel, algorithms);
                sa.acquire = 0xad00_0001;
                xfrm.add_sa(&sa).unwrap();
            })
            .unwrap();
        assert_ne!(a.listing(), before);
        a.start(RouteConfig::default());
        assert!(disturbed(&a).contains("removed 2 SAs and policies"));
        let again = sa(&a, &b, 1);
        a.plane().install(again).unwrap();
        // A policy of others in the way of ours is not taken, and nothing of the child stays.
        let mut clash = sa(&a, &b, 2);
        (clash.local_ts, clash.remote_ts) = (vec![net("10.77.0.0/16")], vec![net("10.78.0.0/16")]);
        let refused = a.plane().install(clash).unwrap_err().to_string();
        assert!(refused.contains("it is not ours"), "{refused}");
        a.shutdown();
        assert_eq!(a.listing(), before);
    }

    #[test]
    #[ignore = "needs the kernel of cargo xtask kernel"]
    fn a_second_daemon_is_refused() {
        let Some((a, _b)) = planes::<Kernel>() else { return };
        let second = a.namespace.run(|| Kernel::new(RouteConfig::default(), Arc::new(drop))).unwrap();
        let why = second.err().unwrap().to_string();
        assert!(why.contains("another aditd"), "{why}");
    }

    #[test]
    #[ignore = "needs the kernel of cargo xtask kernel"]
    fn a_question_that_is_not_answered_is_asked_again_and_nothing_waits_in_the_end() {
        let Some((mut a, b)) = planes::<Kernel>() else { return };
        let like = sa(&a, &b, 1);
        let trap = TrapPolicy {
            id: 7,
            name: like.name,
            ike_name: like.ike_name,
            reqid: 42,
            mode: like.mode,
            local_ts: like.local_ts,
            remote_ts: like.remote_ts,
            local: Some(a.outer()),
            remote: Some(b.outer()),
            options: like.options,
        };
        a.plane().add_trap(trap).unwrap();
        let x = a.socket(SocketAddr::new(a.inner(), 7000));
        let to = SocketAddr::new(b.inner(), 7000);
        let start = Instant::now();
        let mut asked = 0;
        // The kernel alone would ask after thirty seconds.
        until("the second question", || {
            let _ = x.send_to(b"anybody?", to);
            while let Ok(event) = a.events.recv_timeout(Duration::from_millis(20)) {
                assert!(matches!(event, DataplaneEvent::Acquire { trap_id: 7, .. }), "{event:?}");
                asked += 1;
            }
            asked >= 2
        });
        assert!(start.elapsed() >= Duration::from_secs(4));
        assert!(a.xfrm("xfrm state").contains("reqid 42"), "the kernel waits for an answer");
        a.shutdown();
    }

    #[test]
    #[ignore = "needs the kernel of cargo xtask kernel"]
    fn options_reach_the_kernel() {
        let Some((mut a, b)) = planes::<Kernel>() else { return };
        let mut child = sa(&a, &b, 1);
        child.options = Arc::new(EntryOptions {
            mark_in: Mark { value: 0x11, mask: 0xff },
            mark_in_sa: true,
            mark_out: Mark { value: 0x22, mask: u32::MAX },
            set_mark_in: SetMark::Same { mask: 0xff },
            set_mark_out: SetMark::Fixed(Mark { value: 0x33, mask: 0xff }),
            if_id_in: 7,
            if_id_out: 8,
            priority: 1234,
            interface: Some("eth0".into()),
            policies_fwd_out: true,
            hw_offload: HwOffload::Auto,
            icmp: true,
            ..EntryOptions::default()
        });
        child.replay_window = 4096;
        child.headers.copy_df = false;
        child.headers.copy_ecn = false;
        child.tfc_padding = 600;
        child.limits.hard_time = Some(Duration::from_millis(3_600_500));
        a.plane().install(child.clone()).unwrap();
        let policies = a.xfrm("xfrm policy list nosock dir out");
        for text in ["priority 1234", "mark 0x22/0xffffffff", "if_id 0x8", "dev eth0"] {
            assert!(policies.contains(text), "{text} in {policies}");
        }
        let policies = a.xfrm("xfrm policy list nosock dir fwd");
        assert!(policies.contains("mark 0x11/0xff") && policies.contains("if_id 0x7"), "{policies}");
        // In from the peer, and out through, for each of both families.
        assert_eq!(policies.matches("dir fwd").count(), 4, "{policies}");
        let states = a.xfrm("-s xfrm state");
        for text in [
            "replay_window 4096",
            "output-mark 0x33/0xff",
            "output-mark 0x11/0xff",
            "if_id 0x7",
            "flag noecn nopmtudisc",
            "seq 0x",
            "hard 3601",
        ] {
            assert!(states.contains(text), "{text} in {states}");
        }
        a.plane().remove(1);
        let nowhere = EntryOptions { interface: Some("nowhere0".into()), ..EntryOptions::default() };
        let refused = a.plane().install(ChildSa { options: Arc::new(nowhere), ..child.clone() });
        assert!(refused.unwrap_err().to_string().contains("nowhere0"));
        let none = EntryOptions { policies: false, ..EntryOptions::default() };
        a.plane().install(ChildSa { options: Arc::new(none), ..child }).unwrap();
        assert_eq!(a.xfrm("xfrm policy list nosock"), "");
        a.shutdown();
    }
}

/// Where the kernel has no ESP this says so; where it has, there is nothing to say.
#[test]
fn a_kernel_that_cannot_says_why_in_a_sentence() {
    let Some(why) = Kernel::unable() else { return };
    let causes = ["module", "CAP_NET_ADMIN", "algorithm"];
    assert!(causes.iter().any(|cause| why.contains(cause)), "{why}");
    assert!(!why.contains('\n'), "{why}");
}
