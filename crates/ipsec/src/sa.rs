//! Records of the SAD and SPD, as the protocol gives them to a data plane.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroize;

use crate::{EntryOptions, HeaderRules, Selector, Shunt};

/// Encapsulation mode (RFC 4301 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Mode {
    /// Whole IP packets inside.
    #[default]
    Tunnel,
    /// Upper-layer payloads inside.
    Transport,
}

/// Algorithms and keys of one direction. Never printed, wiped when dropped.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct SaKeys {
    /// IANA number of the encryption transform.
    pub encr: u16,
    /// Its key size in bits; 0 where the algorithm has only one.
    pub encr_key_bits: u16,
    /// IANA number of the integrity transform; 0 with AEAD.
    pub integ: u16,
    /// Encryption key, followed by the salt for AEAD.
    pub encr_key: Vec<u8>,
    /// Integrity key; empty with AEAD.
    pub integ_key: Vec<u8>,
}

impl Drop for SaKeys {
    fn drop(&mut self) {
        self.encr_key.zeroize();
        self.integ_key.zeroize();
    }
}

impl fmt::Debug for SaKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SaKeys")
            .field("encr", &self.encr)
            .field("encr_key_bits", &self.encr_key_bits)
            .field("integ", &self.integ)
            .finish_non_exhaustive()
    }
}

/// Both directions of a CHILD_SA.
#[derive(Debug, Clone)]
pub struct ChildSa {
    /// Unique id of the CHILD_SA in this daemon.
    pub id: u32,
    /// Groups the SAs of one policy over rekeyings.
    pub reqid: u32,
    /// Name of the child configuration.
    pub name: Arc<str>,
    /// Name of the connection.
    pub ike_name: Arc<str>,
    /// Tunnel or transport.
    pub mode: Mode,
    /// SPI of what we receive.
    pub spi_in: u32,
    /// SPI of what we send.
    pub spi_out: u32,
    /// Keys of what we receive.
    pub keys_in: SaKeys,
    /// Keys of what we send.
    pub keys_out: SaKeys,
    /// Our selectors, after narrowing.
    pub local_ts: Vec<Selector>,
    /// The peer's selectors, after narrowing.
    pub remote_ts: Vec<Selector>,
    /// Our outer address and port.
    pub local: SocketAddr,
    /// The peer's outer address and port.
    pub remote: SocketAddr,
    /// ESP in UDP (RFC 3948).
    pub udp_encap: bool,
    /// Extended sequence numbers (RFC 4303 §2.2.1).
    pub esn: bool,
    /// Packets; 0 = no replay protection.
    pub replay_window: u32,
    /// What the tunnel's ends do with fields that both headers have.
    pub headers: HeaderRules,
    /// Inner packets are padded to this many bytes (RFC 4303 §2.7), [`u16::MAX`] = as many as fit; 0 = not at all.
    pub tfc_padding: u16,
    /// Addresses that the peer leased to us.
    pub virtual_ips: Vec<IpAddr>,
    /// When it is used up.
    pub limits: Limits,
    /// How its entries in SPD and SAD are made.
    pub options: Arc<EntryOptions>,
    /// May the outbound half be used at once? `false` for a rekeying's responder, which waits (RFC 7296 §2.8).
    pub outbound_ready: bool,
    /// The CHILD_SA this one is a rekeying of.
    pub replaces: Option<u32>,
}

/// Lifetime limits of one CHILD_SA, per direction; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Rekey after so many bytes.
    pub soft_bytes: Option<u64>,
    /// End after so many bytes.
    pub hard_bytes: Option<u64>,
    /// Rekey after so many packets.
    pub soft_packets: Option<u64>,
    /// End after so many packets.
    pub hard_packets: Option<u64>,
    /// End after so long. IKE keeps the time itself; a kernel goes by this when there is no IKE daemon any more.
    pub hard_time: Option<Duration>,
}

/// A policy that asks for a CHILD_SA when the first packet matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrapPolicy {
    /// Chosen by whoever installs it; comes back in the acquire event.
    pub id: u32,
    /// Name of the child configuration.
    pub name: Arc<str>,
    /// Name of the connection.
    pub ike_name: Arc<str>,
    /// The reqid of the CHILD_SA that will serve the same selectors.
    pub reqid: u32,
    /// Tunnel or transport.
    pub mode: Mode,
    /// Our selectors.
    pub local_ts: Vec<Selector>,
    /// The peer's selectors.
    pub remote_ts: Vec<Selector>,
    /// Our outer address, where it is known.
    pub local: Option<IpAddr>,
    /// The peer's outer address, where it is known.
    pub remote: Option<IpAddr>,
    /// How its entries in the SPD are made.
    pub options: Arc<EntryOptions>,
}

/// A policy without an SA: traffic that goes in the clear, or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShuntPolicy {
    /// Chosen by whoever installs it.
    pub id: u32,
    /// Name of the child configuration.
    pub name: Arc<str>,
    /// Name of the connection.
    pub ike_name: Arc<str>,
    /// Pass or drop.
    pub kind: Shunt,
    /// Our selectors.
    pub local_ts: Vec<Selector>,
    /// The peer's selectors.
    pub remote_ts: Vec<Selector>,
    /// How its entries in the SPD are made.
    pub options: Arc<EntryOptions>,
}

/// What went through a CHILD_SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes of inner packets received.
    pub bytes_in: u64,
    /// Packets received.
    pub packets_in: u64,
    /// Bytes of inner packets sent.
    pub bytes_out: u64,
    /// Packets sent.
    pub packets_out: u64,
    /// Time since the last packet received; `None` = none yet.
    pub idle_in: Option<Duration>,
    /// Time since the last packet sent; `None` = none yet.
    pub idle_out: Option<Duration>,
}
