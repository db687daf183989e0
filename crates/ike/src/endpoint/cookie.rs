//! Stateless cookies against floods of IKE_SA_INIT (RFC 7296 §2.6).

use std::net::SocketAddr;
use std::time::Duration;

use adit_crypto::{Prf, Random, Secret, ct_eq};

use crate::time::Instant;

/// A secret makes cookies for so long.
const ROTATION: Duration = Duration::from_secs(120);

struct Generation {
    number: u8,
    since: Instant,
    secret: Secret,
}

/// Makes and checks cookies. A cookie is good as long as its secret, or the one after it, is in use.
#[derive(Default)]
pub(crate) struct Cookies {
    current: Option<Generation>,
    previous: Option<Generation>,
}

impl Cookies {
    fn rotate(&mut self, now: Instant, rng: &mut dyn Random) {
        if self.current.as_ref().is_some_and(|generation| now.since(generation.since) < ROTATION) {
            return;
        }
        let mut secret = vec![0; 32];
        rng.fill(&mut secret);
        let number = self.current.as_ref().map_or(0, |generation| generation.number.wrapping_add(1));
        self.previous = self.current.take().filter(|old| now.since(old.since) < 2 * ROTATION);
        self.current = Some(Generation { number, since: now, secret: Secret::from(secret) });
    }

    /// The cookie for a request: generation | MAC over nonce, address, port and SPI.
    pub(crate) fn make(
        &mut self,
        now: Instant,
        rng: &mut dyn Random,
        nonce: &[u8],
        peer: SocketAddr,
        spi: u64,
    ) -> Vec<u8> {
        self.rotate(now, rng);
        self.current.as_ref().map_or_else(Vec::new, |generation| mac(generation, nonce, peer, spi))
    }

    /// Whether a request carries a cookie that we made for it.
    pub(crate) fn check(
        &mut self,
        now: Instant,
        rng: &mut dyn Random,
        cookie: &[u8],
        nonce: &[u8],
        peer: SocketAddr,
        spi: u64,
    ) -> bool {
        self.rotate(now, rng);
        [&self.current, &self.previous]
            .into_iter()
            .flatten()
            .filter(|generation| cookie.first() == Some(&generation.number))
            .any(|generation| ct_eq(&mac(generation, nonce, peer, spi), cookie))
    }
}

fn mac(generation: &Generation, nonce: &[u8], peer: SocketAddr, spi: u64) -> Vec<u8> {
    let address = match peer.ip() {
        std::net::IpAddr::V4(a) => a.octets().to_vec(),
        std::net::IpAddr::V6(a) => a.octets().to_vec(),
    };
    let parts: [&[u8]; 5] =
        [&spi.to_be_bytes(), &peer.port().to_be_bytes(), &[address.len() as u8], &address, nonce];
    let mut cookie = vec![generation.number];
    cookie.extend(Prf::HmacSha256.compute(generation.secret.as_bytes(), &parts).into_iter().take(20));
    cookie
}

#[cfg(test)]
mod tests {
    use adit_crypto::SeededRandom;

    use super::*;

    #[test]
    fn bound_to_nonce_address_and_spi_and_time() {
        let mut cookies = Cookies::default();
        let rng = &mut SeededRandom::new(1);
        let peer: SocketAddr = "192.0.2.1:500".parse().unwrap();
        let other: SocketAddr = "192.0.2.2:500".parse().unwrap();
        let cookie = cookies.make(Instant::ZERO, rng, b"nonce", peer, 7);
        assert!((1..=64).contains(&cookie.len()));
        assert!(cookies.check(Instant::ZERO, rng, &cookie, b"nonce", peer, 7));
        assert!(!cookies.check(Instant::ZERO, rng, &cookie, b"nonce", other, 7));
        assert!(!cookies.check(Instant::ZERO, rng, &cookie, b"nonce", peer, 8));
        assert!(!cookies.check(Instant::ZERO, rng, &cookie, b"other", peer, 7));
        assert!(!cookies.check(Instant::ZERO, rng, &[], b"nonce", peer, 7));
        let later = Instant::ZERO + Duration::from_secs(121);
        assert!(cookies.check(later, rng, &cookie, b"nonce", peer, 7));
        let much_later = later + Duration::from_secs(121);
        assert!(!cookies.check(much_later, rng, &cookie, b"nonce", peer, 7));
    }
}
