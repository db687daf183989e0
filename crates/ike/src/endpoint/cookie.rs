//! Stateless cookies against floods of IKE_SA_INIT (RFC 7296 §2.6).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use adit_crypto::{Prf, PrfKey, Random, ct_eq};

use crate::time::Instant;

/// A secret makes cookies for so long; strongSwan's time, as is the next.
const ROTATION: Duration = Duration::from_secs(120);
/// A cookie is good for so long. One that a real address once got is worth nothing to a spoofer later.
const LIFE: Duration = Duration::from_secs(10);
/// Octets of the MAC.
const MAC: usize = 20;
/// Generation, time, MAC.
const LEN: usize = 1 + 4 + MAC;

struct Generation {
    number: u8,
    since: Instant,
    key: PrfKey,
}

/// Makes and checks cookies. Stateless but for two secrets.
#[derive(Default)]
pub(crate) struct Cookies {
    current: Option<Generation>,
    previous: Option<Generation>,
}

/// What a cookie is bound to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound<'a> {
    pub nonce: &'a [u8],
    pub peer: SocketAddr,
    pub spi: u64,
}

impl Cookies {
    fn rotate(&mut self, now: Instant, rng: &mut dyn Random) {
        if self.current.as_ref().is_some_and(|generation| now.since(generation.since) < ROTATION) {
            return;
        }
        let mut secret = [0; 32];
        rng.fill(&mut secret);
        let number = self.current.as_ref().map_or(0, |generation| generation.number.wrapping_add(1));
        self.previous = self.current.take().filter(|old| now.since(old.since) < 2 * ROTATION);
        self.current = Some(Generation { number, since: now, key: Prf::HmacSha256.keyed(&secret) });
    }

    /// The cookie for a request: generation | seconds | MAC over seconds, nonce, address, port and SPI.
    pub(crate) fn make(&mut self, now: Instant, rng: &mut dyn Random, bound: Bound<'_>) -> [u8; LEN] {
        self.rotate(now, rng);
        let mut cookie = [0; LEN];
        if let Some(generation) = &self.current {
            write(&mut cookie, generation, seconds(now), bound);
        }
        cookie
    }

    /// Whether a request carries a cookie that we made for it, and not long ago.
    pub(crate) fn check(
        &mut self,
        now: Instant,
        rng: &mut dyn Random,
        cookie: &[u8],
        bound: Bound<'_>,
    ) -> bool {
        self.rotate(now, rng);
        let Ok(cookie) = <&[u8; LEN]>::try_from(cookie) else { return false };
        let [number, a, b, c, d, ..] = *cookie;
        let made = u32::from_be_bytes([a, b, c, d]);
        // Wraps with it: a difference that is not small is no age.
        if Duration::from_secs(seconds(now).wrapping_sub(made).into()) > LIFE {
            return false;
        }
        let generations = [&self.current, &self.previous];
        generations.into_iter().flatten().filter(|generation| generation.number == number).any(|generation| {
            let mut expected = [0; LEN];
            write(&mut expected, generation, made, bound);
            ct_eq(&expected, cookie)
        })
    }
}

fn seconds(now: Instant) -> u32 {
    (now.as_micros() / 1_000_000) as u32
}

fn write(cookie: &mut [u8; LEN], generation: &Generation, made: u32, bound: Bound<'_>) {
    // Fixed lengths first, so that no two inputs read the same.
    let mut fixed = [0; 4 + 8 + 2 + 16];
    let address = match bound.peer.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let parts: [&[u8]; 4] =
        [&made.to_be_bytes(), &bound.spi.to_be_bytes(), &bound.peer.port().to_be_bytes(), &address.octets()];
    fixed.iter_mut().zip(parts.into_iter().flatten()).for_each(|(to, from)| *to = *from);
    let mac = generation.key.compute(&[&fixed, bound.nonce]);
    let all = [generation.number].into_iter().chain(made.to_be_bytes()).chain(mac.as_ref().iter().copied());
    cookie.iter_mut().zip(all).for_each(|(to, from)| *to = from);
}

#[cfg(test)]
mod tests {
    use adit_crypto::SeededRandom;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn bound_to_nonce_address_port_and_spi() {
        let mut cookies = Cookies::default();
        let rng = &mut SeededRandom::new(1);
        let bound = Bound { nonce: b"nonce", peer: "192.0.2.1:500".parse().unwrap(), spi: 7 };
        let cookie = cookies.make(at(0), rng, bound);
        assert!((1..=64).contains(&cookie.len()));
        assert!(cookies.check(at(0), rng, &cookie, bound));
        for other in [
            Bound { peer: "192.0.2.2:500".parse().unwrap(), ..bound },
            Bound { peer: "192.0.2.1:501".parse().unwrap(), ..bound },
            Bound { spi: 8, ..bound },
            Bound { nonce: b"other", ..bound },
        ] {
            assert!(!cookies.check(at(0), rng, &cookie, other), "{other:?}");
        }
        for at_octet in 0..LEN {
            let mut bent = cookie;
            bent[at_octet] ^= 1;
            assert!(!cookies.check(at(0), rng, &bent, bound), "{at_octet}");
        }
        assert!(!cookies.check(at(0), rng, &[], bound));
    }

    #[test]
    fn good_for_ten_seconds_whatever_the_secret() {
        let mut cookies = Cookies::default();
        let rng = &mut SeededRandom::new(1);
        let bound = Bound { nonce: b"nonce", peer: "[2001:db8::1]:500".parse().unwrap(), spi: 7 };
        cookies.make(at(0), rng, bound);
        // The secret turns over at 120 s.
        let cookie = cookies.make(at(115), rng, bound);
        assert!(cookies.check(at(125), rng, &cookie, bound));
        assert!(!cookies.check(at(126), rng, &cookie, bound));
        assert!(!cookies.check(at(114), rng, &cookie, bound));
        assert!(!cookies.check(at(400), rng, &cookie, bound));
    }
}
