//! How large an inner packet may be so that its ESP packet still fits the path.

use adit_crypto::{Encryption, Integrity};
use adit_ipsec::SaKeys;

/// The TUN device's MTU while nothing calls for less: fits a 1500-byte path with every suite over IPv4, and is
/// what other userspace IPsec stacks use.
pub(super) const DEFAULT: u32 = 1400;

/// Never less than this: IPv6 does not run on smaller links (RFC 8200 §5).
pub(super) const LEAST: u32 = 1280;

/// What a suite adds to a packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// SPI, sequence number, IV and ICV.
    fixed: u32,
    /// Padding fills to this.
    block: u32,
}

impl Sizes {
    pub(super) fn of(keys: &SaKeys) -> Self {
        let encryption = Encryption::from_id(keys.encr, keys.encr_key_bits);
        let (iv, block, mut icv) = encryption
            .map_or((16, 16, 16), |e| (e.iv_len(), e.block_len(), if e.is_aead() { e.icv_len() } else { 0 }));
        if let Some(integrity) = Integrity::from_id(keys.integ) {
            icv += integrity.icv_len();
        }
        // RFC 4303 §2; padding fills to the block, and at least to 4 bytes.
        Self {
            fixed: u32::try_from(8 + iv + icv).unwrap_or(u32::MAX),
            block: u32::try_from(block.max(4)).unwrap_or(16),
        }
    }

    /// Largest payload for a path, always counting UDP encapsulation: an SA may come to need it any time.
    pub(super) fn inner(self, path_mtu: u32, outer_v6: bool) -> u32 {
        let room = path_mtu.saturating_sub(outer(outer_v6, true).saturating_add(self.fixed));
        // Two bytes are pad length and next header.
        (room / self.block * self.block).saturating_sub(2)
    }
}

/// Octets of the outer headers.
pub(super) const fn outer(v6: bool, encap: bool) -> u32 {
    (if v6 { 40 } else { 20 }) + if encap { 8 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(encr: u16, encr_key_bits: u16, integ: u16) -> SaKeys {
        SaKeys { encr, encr_key_bits, integ, encr_key: Vec::new(), integ_key: Vec::new() }
    }

    fn inner(path_mtu: u32, outer_v6: bool, keys: &SaKeys) -> u32 {
        Sizes::of(keys).inner(path_mtu, outer_v6)
    }

    #[test]
    fn the_largest_packet_fits_exactly() {
        // 1500 - 20 - 8 - 8 - 8 - 16 = 1440, less 2.
        assert_eq!(inner(1500, false, &keys(20, 256, 0)), 1438);
        assert_eq!(inner(1500, true, &keys(20, 256, 0)), 1418);
        // AES-CBC with HMAC-SHA2-512-256: 1500 - 20 - 8 - 8 - 16 - 32 = 1416, 88 blocks are 1408.
        assert_eq!(inner(1500, false, &keys(12, 256, 14)), 1406);
        assert!(inner(1500, false, &keys(12, 256, 14)) >= DEFAULT);
        assert_eq!(inner(0, false, &keys(12, 256, 14)), 0);
    }
}
