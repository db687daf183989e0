//! What the protocol hands to a data plane: the records of the SAD and SPD (RFC 4301 §4.4) for one CHILD_SA.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroize;

use crate::Selector;

/// Encapsulation mode of a CHILD_SA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Whole IP packets are carried.
    #[default]
    Tunnel,
    /// Only what follows the IP header is carried.
    Transport,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tunnel => "TUNNEL",
            Self::Transport => "TRANSPORT",
        })
    }
}

/// Algorithms and keys of one direction. Wiped when dropped; `Debug` shows lengths, never bytes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SaKeys {
    /// IANA number of the encryption algorithm.
    pub encr: u16,
    /// Its Key Length attribute in bits, 0 if it has none.
    pub encr_key_bits: u16,
    /// IANA number of the integrity algorithm, 0 with an AEAD.
    pub integ: u16,
    /// Encryption key, for an AEAD followed by its salt.
    pub encr_key: Vec<u8>,
    /// Integrity key, empty with an AEAD.
    pub integ_key: Vec<u8>,
}

impl fmt::Debug for SaKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SaKeys")
            .field("encr", &self.encr)
            .field("encr_key_bits", &self.encr_key_bits)
            .field("integ", &self.integ)
            .field("encr_key_len", &self.encr_key.len())
            .field("integ_key_len", &self.integ_key.len())
            .finish()
    }
}

impl Drop for SaKeys {
    fn drop(&mut self) {
        self.encr_key.zeroize();
        self.integ_key.zeroize();
    }
}

/// Both directions of one ESP CHILD_SA, ready to be installed.
#[derive(Clone, Debug)]
pub struct ChildSa {
    /// Unique id of the CHILD_SA; what later calls name it by.
    pub id: u32,
    /// Shared by a trap policy, the CHILD_SA it caused and all its rekeyed successors.
    pub reqid: u32,
    /// Name of the child configuration.
    pub name: Arc<str>,
    /// Name of the connection.
    pub ike_name: Arc<str>,
    /// Tunnel or transport.
    pub mode: Mode,
    /// SPI of packets to us, chosen by us.
    pub spi_in: u32,
    /// SPI of packets to the peer, chosen by it.
    pub spi_out: u32,
    /// Keys of the inbound direction.
    pub keys_in: SaKeys,
    /// Keys of the outbound direction.
    pub keys_out: SaKeys,
    /// Our side's selectors.
    pub local_ts: Vec<Selector>,
    /// The peer's side's selectors.
    pub remote_ts: Vec<Selector>,
    /// Our outer address and port.
    pub local: SocketAddr,
    /// The peer's outer address and port.
    pub remote: SocketAddr,
    /// ESP in UDP (RFC 3948) instead of protocol 50.
    pub udp_encap: bool,
    /// Extended sequence numbers (RFC 4303 §2.2.1).
    pub esn: bool,
    /// Size of the replay window in packets, 0 = no replay check.
    pub replay_window: u32,
    /// Virtual addresses that we, as client, were given.
    pub virtual_ips: Vec<IpAddr>,
    /// False: only the inbound half is used until the outbound half is activated (the responder of a rekeying,
    /// RFC 7296 §2.8).
    pub outbound_ready: bool,
    /// The CHILD_SA of which this one is the rekeyed successor.
    pub replaces: Option<u32>,
}

/// A policy without an SA: the first packet that meets it asks for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrapPolicy {
    /// Id by which the acquire names it, and the reqid of the CHILD_SA it will cause.
    pub id: u32,
    /// Name of the child configuration.
    pub name: Arc<str>,
    /// Name of the connection.
    pub ike_name: Arc<str>,
    /// Our side's selectors.
    pub local_ts: Vec<Selector>,
    /// The peer's side's selectors.
    pub remote_ts: Vec<Selector>,
    /// The peer's address, if configured as one.
    pub remote: Option<IpAddr>,
}

/// What went through a CHILD_SA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of inner packets received.
    pub bytes_in: u64,
    /// Inner packets received.
    pub packets_in: u64,
    /// Bytes of inner packets sent.
    pub bytes_out: u64,
    /// Inner packets sent.
    pub packets_out: u64,
    /// Since the last inbound packet; `None` if there was none.
    pub idle_in: Option<Duration>,
    /// Since the last outbound packet; `None` if there was none.
    pub idle_out: Option<Duration>,
}
