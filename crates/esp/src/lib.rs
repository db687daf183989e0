//! ESP packets and the replay window.
//!
//! This crate turns IP packets into ESP packets and back (RFC 4303) for one Security Association at a time: an
//! [`Outbound`] seals, an [`Inbound`] opens. What flows in: a payload with its next-header number, or the octets from
//! SPI to integrity check value. What flows out: the same the other way, or an [`EspError`] that a counter remembers.
//! Packets are built in the caller's buffer and opened in place; nothing is allocated per packet but growth of that
//! buffer.
//!
//! Both ends are shared between threads by reference: sequence numbers and counters are atomic, and only the replay
//! window sits behind a lock that is held for a few instructions.
//!
//! It never looks at outer IP or UDP headers, never checks selectors (RFC 4301 §5.2 is the data plane's duty), has no
//! socket and no clock, and does not decide when an SA ends: it refuses to wrap a sequence number, and says so.

mod error;
mod inbound;
mod outbound;
mod window;

pub use error::EspError;
pub use inbound::{Inbound, InboundStats, Opened};
pub use outbound::{Outbound, OutboundStats};
pub use window::ReplayWindow;

use adit_crypto::{Cipher, Encryption, Integrity};
use adit_ipsec::SaKeys;

/// Octets of SPI and sequence number.
const HEADER_LEN: usize = 8;
/// Octets of pad length and next header.
const TRAILER_LEN: usize = 2;

/// Next header of a dummy packet (RFC 4303 §2.6): to be discarded in silence.
pub const NEXT_HEADER_DUMMY: u8 = 59;
/// Next header of an IPv4 packet in tunnel mode.
pub const NEXT_HEADER_IPV4: u8 = 4;
/// Next header of an IPv6 packet in tunnel mode.
pub const NEXT_HEADER_IPV6: u8 = 41;

/// The SPI at the front of an ESP packet; `None` when it is too short or starts with the zero SPI, which marks IKE on
/// the NAT traversal port (RFC 3948 §2.2).
#[must_use]
pub fn spi_of(packet: &[u8]) -> Option<u32> {
    let spi = packet.first_chunk().copied().map(u32::from_be_bytes)?;
    (spi != 0).then_some(spi)
}

/// Whether a datagram on the NAT traversal port is a keepalive (RFC 3948 §2.3).
#[must_use]
pub fn is_nat_keepalive(datagram: &[u8]) -> bool {
    datagram == [0xff]
}

/// The cipher an SA record asks for.
fn cipher_for(keys: &SaKeys) -> Result<Cipher, EspError> {
    let encr = Encryption::from_id(keys.encr, keys.encr_key_bits).ok_or(EspError::UnknownTransform)?;
    let integ = match keys.integ {
        0 => None,
        id => Some(Integrity::from_id(id).ok_or(EspError::UnknownTransform)?),
    };
    Ok(Cipher::new(encr, integ, &keys.encr_key, &keys.integ_key)?)
}

/// RFC 4303 §2.4: the ciphertext ends on a multiple of four octets and of the cipher's block.
fn alignment(cipher: &Cipher) -> usize {
    cipher.block_len().max(4)
}

#[cfg(test)]
mod tests;
