//! ESP: any key and any packets, first as they are, then one of our own that was bent at one place.

use adit_crypto::SeededRandom;
use adit_esp::{Inbound, Outbound};
use adit_ipsec::{SaKeys, parse_packet};

/// Encryption, key bits, KEYMAT bytes, integrity, its key bytes.
const SUITES: [(u16, u16, usize, u16, usize); 6] = [
    (20, 128, 20, 0, 0),
    (20, 256, 36, 0, 0),
    (28, 0, 36, 0, 0),
    (12, 128, 16, 12, 32),
    (12, 256, 32, 13, 48),
    (12, 192, 24, 14, 64),
];

pub(super) fn run(data: &[u8]) {
    let [suite, options, key, at, value, rest @ ..] = data else { return };
    let (encr, encr_key_bits, encr_len, integ, integ_len) = SUITES[usize::from(*suite) % SUITES.len()];
    let keys = SaKeys {
        encr,
        encr_key_bits,
        integ,
        encr_key: vec![*key; encr_len],
        integ_key: vec![!*key; integ_len],
    };
    let (extended, window) = (options & 1 != 0, u32::from(options >> 1));
    // 0 is no SPI but the marker of IKE in UDP (RFC 3948 §2.2).
    let spi = u32::from_be_bytes(rest.first_chunk().copied().unwrap_or([1, 2, 3, 4])).max(1);
    let inbound = Inbound::new(spi, &keys, extended, window).expect("a served suite");

    // Nothing an outsider sends may open.
    for packet in rest.chunks(64 + usize::from(*at)) {
        assert!(inbound.open(&mut packet.to_vec()).is_err());
    }
    let _ = (parse_packet(rest), adit_esp::spi_of(rest), adit_esp::is_nat_keepalive(rest));

    // What we sealed opens; with one byte changed it does not.
    let outbound = Outbound::new(spi, &keys, extended).expect("a served suite");
    let mut rng = SeededRandom::new(u64::from(*key));
    let mut sealed = Vec::new();
    if outbound.seal(4, rest, &mut rng, &mut sealed).is_err() {
        return;
    }
    let mut bent = sealed.clone();
    let place = usize::from(*at) % bent.len();
    if *value != 0 {
        bent[place] ^= *value;
        assert!(inbound.open(&mut bent).is_err());
    }
    let opened = inbound.open(&mut sealed).expect("our own packet");
    assert_eq!((opened.next_header, &*opened.payload), (4, rest));
}
