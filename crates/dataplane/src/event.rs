//! What a data plane tells and is told, besides the SAs themselves.

use std::net::SocketAddr;
use std::sync::Arc;

use adit_ipsec::PacketInfo;

/// Something IKE or the operator should know.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum DataplaneEvent {
    /// A packet matched a trap and no SA; it waits for one.
    Acquire {
        /// The trap's id.
        trap_id: u32,
        /// The packet that caused it.
        packet: PacketInfo,
    },
    /// A CHILD_SA reached a limit.
    Expired {
        /// The CHILD_SA.
        id: u32,
        /// Whether it must not be used any more (else it should be rekeyed).
        hard: bool,
    },
    /// An authenticated packet came from another outer address: a NAT rebound, or the peer moved.
    Remapped {
        /// The CHILD_SA.
        id: u32,
        /// Where the packet came from.
        remote: SocketAddr,
    },
    /// ESP came for an SPI nobody has (rate limited). It is not authenticated: no more than a hint.
    SpiUnknown {
        /// The SPI.
        spi: u32,
        /// Where the packet came from.
        remote: SocketAddr,
    },
    /// A decrypted packet was not covered by the selectors of its SA and was dropped (RFC 4301 §5.2; rate
    /// limited). The peer is misconfigured, or tries to pass for somebody else.
    SelectorMismatch {
        /// The CHILD_SA it came in.
        id: u32,
        /// The inner packet.
        packet: PacketInfo,
    },
    /// Somebody else has changed what is ours in the kernel, or left something there: what it was and what was done about
    /// it, for the log.
    Disturbed {
        /// The sentence.
        sentence: String,
    },
    /// Somebody has deleted the TUN device. Nothing is carried any more until the data plane is made anew.
    DeviceLost,
}

/// Where a data plane delivers its events. Called from its worker threads: must not block.
pub type DataplaneEvents = Arc<dyn Fn(DataplaneEvent) + Send + Sync>;

/// An IKE message that came in on a NAT-T socket, non-ESP marker stripped (RFC 3948 §2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Our address and port it was sent to.
    pub local: SocketAddr,
    /// Where it came from.
    pub remote: SocketAddr,
    /// The IKE message.
    pub bytes: Vec<u8>,
}

/// Why something could not be installed: one sentence for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallError {
    /// The sentence.
    pub sentence: String,
}

impl InstallError {
    /// Wraps a sentence.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into() }
    }
}

impl std::fmt::Display for InstallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for InstallError {}

impl From<std::io::Error> for InstallError {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}

/// Packets dropped by the userspace data plane, by cause, and carried ones; read by status and metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Packets sealed, also those the socket then did not take.
    pub sent: u64,
    /// Packets opened and found good, also those the device then did not take.
    pub received: u64,
    /// Outbound packets no SA and no trap was for.
    pub no_policy: u64,
    /// Outbound packets for which a trap's queue had no room, or which waited too long.
    pub queue_full: u64,
    /// Outbound packets that are not IP.
    pub malformed: u64,
    /// Outbound packets whose SA could not seal (sequence numbers used up, hard limit).
    pub seal_failed: u64,
    /// Outbound packets the socket did not take.
    pub send_failed: u64,
    /// Outbound packets that do not fit their path and must not be fragmented; the sender was told.
    pub too_big: u64,
    /// Outbound packets that transport mode cannot carry: fragments, IPv6 with outer extension headers.
    pub not_whole: u64,
    /// Inbound packets dropped because they met congestion and their transport knows no ECN (RFC 6040 §4.2).
    pub congested: u64,
    /// Inbound dummy packets (RFC 4303 §2.6).
    pub dummies: u64,
    /// Inbound ESP for unknown SPIs.
    pub unknown_spi: u64,
    /// Inbound ESP that was replayed, forged or damaged.
    pub open_failed: u64,
    /// Inbound packets outside of their SA's selectors.
    pub selector_mismatch: u64,
    /// Inbound packets the TUN device did not take.
    pub deliver_failed: u64,
}
