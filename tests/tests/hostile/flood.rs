//! A flood of first messages from addresses that never sent one.

use std::net::{Ipv4Addr, SocketAddr};

use adit_ike::Command;

use crate::lab::{Lab, Msg, SECOND, honest};
use crate::setup::Auth;

const SPOOFED: u32 = 20_000;

/// 50,000 spoofed IKE_SA_INIT requests per second; in their midst an honest client. It has to get in by a cookie, and
/// what is remembered of the flood has a bound.
#[test]
fn an_honest_client_connects_in_a_flood() {
    // What the flood is made of.
    let mut lab = Lab::with(Auth::Psk, |setup| {
        setup.gateway.conn.remote_addrs = vec![adit_ike::HostSpec::Any];
    });
    let mut init = Vec::new();
    lab.connect(&mut |msg: &mut Msg| {
        if init.is_empty() {
            init = crate::wire::join(&msg.chain).1;
            let mut header = Vec::new();
            adit_wire::Header { length: 28 + init.len() as u32, ..msg.header }.emit(&mut header);
            init.splice(0..0, header);
        }
    });
    assert!(lab.is_in(), "{}", lab.story());
    lab.clean();

    let gateway: SocketAddr = "203.0.113.1:500".parse().unwrap();
    let (mut most, mut tables) = (0, 0);
    for n in 0..SPOOFED {
        init[..4].copy_from_slice(&(n + 1).to_be_bytes());
        let from = Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + n % 65_536);
        lab.gateway.receive(lab.now, SocketAddr::new(from.into(), 500), gateway, &init);
        lab.now += SECOND / 50_000;
        most = most.max(lab.gateway.endpoint.stats().half_open);
        tables =
            tables.max(lab.gateway.endpoint.leftovers().iter().map(|(_, count)| *count).max().unwrap_or(0));
        // What is answered goes nowhere.
        while lab.gateway.endpoint.poll_transmit().is_some() {}
        lab.gateway.events.clear();
        while lab.gateway.endpoint.poll_event().is_some() {}
        if n == SPOOFED / 2 {
            let initiate =
                Command::Initiate { conn: Some("site".into()), child: None, tag: 77, trigger: None };
            lab.mallory.command(lab.now, initiate);
            let mut cookies = 0;
            lab.pump(&mut |msg| cookies += u32::from(!msg.to_gateway && msg.chain.len() == 1));
            assert_eq!(cookies, 1, "{}", lab.story());
            assert_eq!(lab.mallory.outcome(77).map(Result::is_ok), Some(true), "{}", lab.story());
        }
    }
    assert!(most <= 31 && tables <= 40, "{most} half open, {tables} entries in a table");
    assert!(lab.is_in());
    assert!(lab.gateway.endpoint.stats().cookies_sent >= u64::from(SPOOFED) - 40);
    // The flood ebbs away.
    lab.advance(31, &mut honest);
    assert_eq!(lab.gateway.endpoint.stats().half_open, 0);
    lab.finish();
}
