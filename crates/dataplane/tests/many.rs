//! Thousands of children in the kernel: how long each takes when there are many already. Figures, no limits: the machine
//! this runs on is emulated.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Helpers of tests.

mod lab;

use std::net::Ipv4Addr;
use std::time::Instant;

use adit_dataplane::{Dataplane, Kernel};
use adit_ipsec::{ChildSa, Selector};
use lab::{Plane, sa};

/// Children at which a figure is taken.
const AT: [u32; 4] = [100, 1_000, 2_000, 10_000];

/// One of many clients behind one peer, with an address of its own.
fn client(like: &ChildSa, number: u32) -> ChildSa {
    let address = Ipv4Addr::from_bits(Ipv4Addr::new(10, 64, 0, 0).to_bits() + number);
    let (spi_in, spi_out) = (0xc100_0000 + number, 0xc200_0000 + number);
    ChildSa {
        id: number,
        reqid: number,
        spi_in,
        spi_out,
        local_ts: vec![lab::net("10.1.0.0/16")],
        remote_ts: vec![Selector::host(address.into())],
        ..like.clone()
    }
}

#[test]
#[ignore = "needs the kernel of cargo xtask kernel"]
fn ten_thousand_children_come_and_go() {
    let Some((mut a, b)) = lab::hosts::<Kernel>() else { return };
    let like = sa(&a, &b, 1);
    a.start(Kernel::usual());
    let (mut before, mut installed, mut start) = (0.0, 0, Instant::now());
    for number in 1..=AT[AT.len() - 1] {
        a.plane().install(client(&like, number)).unwrap();
        if AT.contains(&number) {
            let (all, some) = (start.elapsed().as_secs_f64() + before, f64::from(number - installed));
            println!(
                "install: {number:6} children: {:7.0} a second since {installed}, {:7.0} in all",
                some / (all - before),
                f64::from(number) / all
            );
            (before, installed, start) = (all, number, Instant::now());
        }
    }
    let count = |host: &lab::Host<Kernel>, what: &str, of: &str| host.xfrm(what).matches(of).count();
    assert_eq!(count(&a, "xfrm state", "proto esp spi"), 20_000);
    assert_eq!(count(&a, "xfrm policy list nosock", "dir "), 30_000);
    let (asked, start) = (1_000, Instant::now());
    for number in 1..=asked {
        a.plane().usage(number).unwrap();
    }
    println!("usage:   {:7.0} a second", f64::from(asked) / start.elapsed().as_secs_f64());
    let start = Instant::now();
    a.ip("xfrm policy flush");
    let told = a.events.recv_timeout(6 * lab::PATIENCE).expect("the flush is noticed");
    println!("flush:   {:.1} s until {told:?}", start.elapsed().as_secs_f64());
    assert_eq!(count(&a, "xfrm policy list nosock", "dir "), 30_000);
    let start = Instant::now();
    for number in 1..=1_000 {
        a.plane().remove(number);
    }
    println!("remove:  {:7.0} a second", 1_000.0 / start.elapsed().as_secs_f64());
    let start = Instant::now();
    a.shutdown();
    println!("shutdown of 9,000: {:.1} s", start.elapsed().as_secs_f64());
}
