//! One CHILD_SA as the worker uses it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock};
use std::time::Instant;

use adit_esp::{Inbound, Outbound};
use adit_ipsec::{ChildSa, HeaderRules, Limits, Mode, Selector, Usage};

use super::mtu::Sizes;
use crate::InstallError;
use crate::state::Meter;

/// A path's MTU is asked for again after this many milliseconds: ICMP may have told the kernel of a smaller one.
const MTU_VALID_MS: u64 = 10_000;

/// The outer addresses of an SA.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) udp_encap: bool,
    /// The other remote address that has been reported as remapped.
    reported: Option<SocketAddr>,
}

/// Both directions of one CHILD_SA.
#[derive(Debug)]
pub(super) struct Sa {
    pub(super) id: u32,
    pub(super) local_ts: Vec<Selector>,
    pub(super) remote_ts: Vec<Selector>,
    pub(super) mode: Mode,
    pub(super) headers: HeaderRules,
    /// Inner packets are padded to this size, [`u16::MAX`] = as many as fit; 0 = not at all.
    pub(super) tfc_padding: u16,
    sizes: Sizes,
    /// Largest packet of the path; 0 = not known.
    path_mtu: AtomicU32,
    /// When it was asked for, in milliseconds since the start, plus one.
    mtu_asked: AtomicU64,
    pub(super) outbound: Outbound,
    pub(super) inbound: Inbound,
    path: RwLock<Path>,
    pub(super) sent: Meter,
    pub(super) received: Meter,
    limits: Limits,
    soft_reported: AtomicBool,
    hard_reported: AtomicBool,
}

impl Sa {
    pub(super) fn new(child: &ChildSa) -> Result<Self, InstallError> {
        let failed = |e: adit_esp::EspError| {
            InstallError::new(format!("CHILD_SA {}{{{}}} cannot be installed: {e}", child.name, child.id))
        };
        Ok(Self {
            id: child.id,
            local_ts: child.local_ts.clone(),
            remote_ts: child.remote_ts.clone(),
            mode: child.mode,
            headers: child.headers,
            tfc_padding: child.tfc_padding,
            sizes: Sizes::of(&child.keys_out),
            path_mtu: AtomicU32::new(0),
            mtu_asked: AtomicU64::new(0),
            outbound: Outbound::new(child.spi_out, &child.keys_out, child.esn).map_err(failed)?,
            inbound: Inbound::new(child.spi_in, &child.keys_in, child.esn, child.replay_window)
                .map_err(failed)?,
            path: RwLock::new(Path {
                local: child.local,
                remote: child.remote,
                udp_encap: child.udp_encap,
                reported: None,
            }),
            sent: Meter::default(),
            received: Meter::default(),
            limits: child.limits,
            soft_reported: AtomicBool::new(false),
            hard_reported: AtomicBool::new(false),
        })
    }

    pub(super) fn path(&self) -> Path {
        *self.path.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_path(&self, local: SocketAddr, remote: SocketAddr, udp_encap: bool) {
        *self.path.write().unwrap_or_else(PoisonError::into_inner) =
            Path { local, remote, udp_encap, reported: None };
        self.mtu_asked.store(0, Relaxed);
        self.path_mtu.store(0, Relaxed);
    }

    /// Whether the path's MTU is to be asked for; true once per period.
    pub(super) fn mtu_due(&self, now_ms: u64) -> bool {
        let asked = self.mtu_asked.load(Relaxed);
        let due = asked == 0 || now_ms >= asked + MTU_VALID_MS;
        if due {
            self.mtu_asked.store(now_ms + 1, Relaxed);
        }
        due
    }

    /// The path's MTU; 0 = not known.
    pub(super) fn path_mtu(&self) -> u32 {
        self.path_mtu.load(Relaxed)
    }

    pub(super) fn set_path_mtu(&self, mtu: u32) {
        self.path_mtu.store(mtu, Relaxed);
    }

    /// Largest payload that fits the path.
    pub(super) fn largest_payload(&self, outer_v6: bool) -> u32 {
        match self.path_mtu() {
            0 => super::mtu::DEFAULT,
            mtu => self.sizes.inner(mtu, outer_v6),
        }
    }

    /// Whether a packet from `remote` with this number is the first from a new address.
    pub(super) fn remapped(&self, remote: SocketAddr, sequence: u64) -> bool {
        let path = self.path();
        if !path.udp_encap || path.remote == remote || path.reported == Some(remote) {
            return false;
        }
        if sequence < self.inbound.highest_sequence() {
            return false;
        }
        self.path.write().unwrap_or_else(PoisonError::into_inner).reported = Some(remote);
        true
    }

    /// Whether the SA may not carry any more.
    pub(super) fn is_spent(&self) -> bool {
        self.hard_reported.load(Relaxed)
    }

    /// Notes that the SA is spent; true the first time.
    pub(super) fn spend(&self) -> bool {
        !self.hard_reported.swap(true, Relaxed)
    }

    /// Whether a limit was reached just now: `Some(hard)`, once each.
    pub(super) fn limit_reached(&self, meter: &Meter) -> Option<bool> {
        let (bytes, packets) = (meter.bytes.load(Relaxed), meter.packets.load(Relaxed));
        let reached = |limit: Option<u64>, so_far: u64| limit.is_some_and(|limit| so_far >= limit);
        let limits = &self.limits;
        if reached(limits.hard_bytes, bytes) || reached(limits.hard_packets, packets) {
            return self.spend().then_some(true);
        }
        if reached(limits.soft_bytes, bytes) || reached(limits.soft_packets, packets) {
            return (!self.soft_reported.swap(true, Relaxed)).then_some(false);
        }
        None
    }

    /// Asks for a rekey; true the first time.
    pub(super) fn nearly_spent(&self) -> bool {
        !self.soft_reported.swap(true, Relaxed)
    }

    pub(super) fn usage(&self, start: Instant) -> Usage {
        Usage {
            bytes_in: self.received.bytes.load(Relaxed),
            packets_in: self.received.packets.load(Relaxed),
            bytes_out: self.sent.bytes.load(Relaxed),
            packets_out: self.sent.packets.load(Relaxed),
            idle_in: self.received.idle(start),
            idle_out: self.sent.idle(start),
        }
    }
}
