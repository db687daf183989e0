//! From an ESP packet to the inner one, and to the inside.

use std::net::{IpAddr, SocketAddr};

use adit_esp::{NEXT_HEADER_DUMMY, NEXT_HEADER_IPV4, NEXT_HEADER_IPV6};
use adit_ipsec::{Mode, PacketInfo, parse_packet};
use adit_linux::Fields;

use super::sa::Sa;
use super::worker::{Running, Tables, Worker, bump};
use super::{outer, transport};
use crate::DataplaneEvent;
use crate::state::millis_since;

/// How an ESP packet came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Came {
    pub(super) local: IpAddr,
    pub(super) remote: SocketAddr,
    pub(super) fields: Fields,
    pub(super) encap: bool,
}

impl Worker {
    pub(super) fn inbound(&self, running: &mut Running, tables: &Tables, packet: &mut [u8], came: Came) {
        let counters = &self.shared.counters;
        let Some(spi) = adit_esp::spi_of(packet) else { return bump(&counters.open_failed) };
        let Some(sa) = tables.inbound.get(&spi) else {
            bump(&counters.unknown_spi);
            if running.hints.allow() {
                (self.events)(DataplaneEvent::SpiUnknown { spi, remote: came.remote });
            }
            return;
        };
        let Ok(opened) = sa.inbound.open(packet) else { return bump(&counters.open_failed) };
        // From here on the packet is authentic: its outer source is worth something (RFC 7296 §2.23), unless a later
        // packet has overtaken it.
        if came.encap && sa.remapped(came.remote, opened.sequence) {
            (self.events)(DataplaneEvent::Remapped { id: sa.id, remote: came.remote });
        }
        if opened.next_header == NEXT_HEADER_DUMMY {
            // RFC 4303 §2.6.
            return bump(&counters.dummies);
        }
        match sa.mode {
            Mode::Tunnel => self.out_of_tunnel(running, sa, opened.next_header, opened.payload, came),
            Mode::Transport => {
                let between = (came.remote.ip(), came.local);
                let mut whole = std::mem::take(&mut running.out);
                let (next, payload) = (opened.next_header, opened.payload);
                if transport::restore(next, payload, between, came.fields, came.encap, &mut whole) {
                    match parse_packet(&whole) {
                        Some(info) => self.deliver(running, sa, &info, &whole),
                        None => bump(&counters.selector_mismatch),
                    }
                } else {
                    bump(&counters.deliver_failed);
                }
                running.out = whole;
            }
        }
    }

    fn out_of_tunnel(&self, running: &mut Running, sa: &Sa, next_header: u8, payload: &mut [u8], came: Came) {
        let counters = &self.shared.counters;
        let expected = match next_header {
            NEXT_HEADER_IPV4 => 4,
            NEXT_HEADER_IPV6 => 6,
            _ => return bump(&counters.selector_mismatch),
        };
        let info = match parse_packet(payload) {
            Some(info) if payload.first().is_some_and(|b| b >> 4 == expected) => info,
            _ => return bump(&counters.selector_mismatch),
        };
        // RFC 4303 §2.7: bytes after the inner packet's own length are padding.
        let Some(inner) = payload.get_mut(..info.total_len) else { return bump(&counters.selector_mismatch) };
        if !outer::arrive(inner, came.fields.tos, sa.headers) {
            return bump(&counters.congested);
        }
        self.deliver(running, sa, &info, inner);
    }

    /// RFC 4301 §5.2 step 4: what comes in must be what this very SA was negotiated for.
    fn deliver(&self, running: &mut Running, sa: &Sa, info: &PacketInfo, inner: &[u8]) {
        let counters = &self.shared.counters;
        let from = sa.remote_ts.iter().any(|s| s.matches(info.src, info.protocol, info.src_port));
        let to = sa.local_ts.iter().any(|s| s.matches(info.dst, info.protocol, info.dst_port));
        if !from || !to {
            bump(&counters.selector_mismatch);
            if running.hints.allow() {
                (self.events)(DataplaneEvent::SelectorMismatch { id: sa.id, packet: *info });
            }
            return;
        }
        if sa.is_spent() {
            return bump(&counters.open_failed);
        }
        bump(&counters.received);
        sa.received.count(inner.len(), millis_since(self.shared.start));
        if self.tun.send(inner).is_err() {
            bump(&counters.deliver_failed);
        }
        if let Some(hard) = sa.limit_reached(&sa.received) {
            (self.events)(DataplaneEvent::Expired { id: sa.id, hard });
        }
    }
}
