//! What a packet of a stranger costs the protocol, while cookies are demanded.

use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddr};

use adit_crypto::Prf;
use adit_ike::{Endpoint, Instant, LogLevels, Path};

use crate::ends::{Auth, Setup};
use crate::measure::{ROUNDS, Subject, medians};

const COUNT: usize = 2000;

pub(crate) fn run() {
    let setup = Setup::new(Auth::Psk);
    let init = setup.first_message();
    let mut unknown = init.clone();
    // An INFORMATIONAL request of an IKE_SA that is not there.
    (unknown[8], unknown[18]) = (1, 37);
    let garbage = vec![0xa5; init.len()];
    let quiet = RefCell::new(setup.under_attack(LogLevels::all(-1), &init));
    let logging = RefCell::new(setup.under_attack(LogLevels::default(), &init));
    let key = Prf::HmacSha256.keyed(&[7; 32]);
    let mut subjects = [
        Subject::repeat(COUNT, || drop(key.compute(&[&[0; 30], &[0; 32]]))),
        attack(&quiet, &init, true),
        attack(&logging, &init, true),
        attack(&quiet, &unknown, false),
        attack(&quiet, &garbage, false),
    ];
    let names = [
        "floor: the MAC of a cookie",
        "IKE_SA_INIT, answered with a cookie",
        "the same, with the default log levels",
        "protected message of an unknown SPI",
        "no IKE message",
    ];
    println!("CPU time per packet of a stranger, µs (median of {ROUNDS} rounds of {COUNT})");
    for (name, ns) in names.into_iter().zip(medians(&mut subjects)) {
        println!("{name:<44}{:>8.2}", ns / 1e3);
    }
    println!();
}

/// The same message with another SPI from another address each time.
fn attack<'a>(endpoint: &'a RefCell<Endpoint>, message: &'a [u8], answered: bool) -> Subject<'a> {
    let (mut bytes, number) = (message.to_vec(), Cell::new(0u32));
    Subject::repeat(COUNT, move || {
        let n = number.get() + 1;
        number.set(n);
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        let mut endpoint = endpoint.borrow_mut();
        endpoint.handle_datagram(Instant::from_micros(u64::from(n) * 20), from(n), &bytes);
        assert!(!answered || endpoint.poll_transmit().is_some(), "no answer");
        while endpoint.poll_transmit().is_some() {}
        while endpoint.poll_event().is_some() {}
    })
}

/// A path from one of many addresses.
pub(crate) fn from(n: u32) -> Path {
    let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + n % 65_536);
    Path { local: SocketAddr::from(([192, 0, 2, 1], 500)), remote: SocketAddr::from((address, 500)) }
}
