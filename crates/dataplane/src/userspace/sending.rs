//! From an inner packet and its SA to the wire.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use adit_esp::{EspError, NEXT_HEADER_IPV4, NEXT_HEADER_IPV6};
use adit_ipsec::{Mode, PacketInfo};
use adit_linux::Fields;
use adit_linux::poll::wait_writable;
use adit_linux::udp::UdpSocket;

use super::outer::{Outer, WholeHeader, both_v4};
use super::sa::{Path, Sa};
use super::worker::{Running, Worker, bump};
use super::{mtu, toobig, transport};
use crate::DataplaneEvent;
use crate::state::millis_since;

/// How long a full socket may hold up the worker before a packet is dropped.
const SEND_PATIENCE: Duration = Duration::from_millis(5);
/// With less than this fraction of the sequence numbers left it is time to rekey (RFC 4303 §3.3.3): 1/16.
const SEQUENCE_LEFT_SHIFT: u32 = 4;

/// An inner packet cut to what its mode seals.
#[derive(Clone, Copy)]
struct Cut<'a> {
    next_header: u8,
    payload: &'a [u8],
    outer: Outer,
}

impl Worker {
    pub(super) fn seal_and_send(&self, running: &mut Running, sa: &Sa, info: &PacketInfo, packet: &[u8]) {
        let counters = &self.shared.counters;
        if sa.is_spent() {
            return bump(&counters.seal_failed);
        }
        let cut = match sa.mode {
            Mode::Tunnel => Cut {
                next_header: if info.dst.is_ipv4() { NEXT_HEADER_IPV4 } else { NEXT_HEADER_IPV6 },
                payload: packet,
                outer: Outer::of_tunnel(packet, sa.headers),
            },
            Mode::Transport => match transport::strip(packet) {
                Some(it) => Cut { next_header: it.next_header, payload: it.payload, outer: it.outer },
                None => return bump(&counters.not_whole),
            },
        };
        let path = sa.path();
        // An IPv6 packet that any link takes must get through: then it is our own that is fragmented (RFC 2473 §7.2).
        let whole = cut.outer.dont_fragment && (info.dst.is_ipv4() || packet.len() > mtu::LEAST as usize);
        if whole && !self.fits(running, sa, &path, (info, packet), cut) {
            return bump(&counters.too_big);
        }
        let tfc = match sa.tfc_padding {
            0 => 0,
            size => {
                let fits = sa.largest_payload(path.remote.is_ipv6());
                usize::from(size).min(fits as usize).saturating_sub(packet.len())
            }
        };
        running.out.clear();
        let sealed =
            sa.outbound.seal_padded(cut.next_header, cut.payload, tfc, &mut running.random, &mut running.out);
        match sealed {
            Ok(sequence) => {
                let last = sa.outbound.last_sequence();
                if last - sequence.min(last) < last >> SEQUENCE_LEFT_SHIFT && sa.nearly_spent() {
                    (self.events)(DataplaneEvent::Expired { id: sa.id, hard: false });
                }
            }
            Err(EspError::SequenceExhausted) => {
                // RFC 4303 §3.3.3: the sequence number must never cycle.
                if sa.spend() {
                    (self.events)(DataplaneEvent::Expired { id: sa.id, hard: true });
                }
                return bump(&counters.seal_failed);
            }
            Err(_) => return bump(&counters.seal_failed),
        }
        // Counted before it is out: whoever has seen the packet finds it counted.
        bump(&counters.sent);
        sa.sent.count(packet.len(), millis_since(self.shared.start));
        let outer = Outer { dont_fragment: whole, ..cut.outer };
        if self.send(&path, outer, &running.out).is_err() {
            bump(&counters.send_failed);
        }
        if let Some(hard) = sa.limit_reached(&sa.sent) {
            (self.events)(DataplaneEvent::Expired { id: sa.id, hard });
        }
    }

    /// Whether a packet that must not be fragmented fits its path; if not, its sender is told (RFC 4301 §8.2).
    fn fits(
        &self,
        running: &mut Running,
        sa: &Sa,
        path: &Path,
        (info, packet): (&PacketInfo, &[u8]),
        cut: Cut<'_>,
    ) -> bool {
        let now = millis_since(self.shared.start);
        if packet.len() > mtu::LEAST as usize / 2 && sa.mtu_due(now) {
            // Once in ten seconds; the kernel knows what ICMP has told about the path.
            let way = running.netlink.way_to(path.remote.ip());
            sa.set_path_mtu(way.map_or(0, |way| way.mtu));
        }
        let v6 = path.remote.is_ipv6();
        let outer = mtu::outer(v6, path.udp_encap) as usize;
        let total = outer + cut.payload.len() + sa.outbound.overhead(cut.payload.len());
        let path_mtu = sa.path_mtu() as usize;
        if path_mtu == 0 || total <= path_mtu {
            return true;
        }
        let header = u32::try_from(packet.len() - cut.payload.len()).unwrap_or(0);
        // RFC 2473 §7.1: an IPv6 sender is not told of less than it may count on.
        let least = if info.dst.is_ipv4() { 0 } else { mtu::LEAST };
        let largest = (sa.largest_payload(v6) + header).max(least);
        if running.errors.allow() && toobig::answer(info, packet, largest, &mut running.out) {
            // If the device does not take it, the sender's own timeouts do.
            let _ = self.tun.send(&running.out);
        }
        false
    }

    fn send(&self, path: &Path, outer: Outer, bytes: &[u8]) -> io::Result<()> {
        if outer.dont_fragment
            && let (Some(socket), Some((local, remote))) = (&self.whole, both_v4(path.local, path.remote))
        {
            // The port the NAT knows is that of the socket.
            let port = if path.udp_encap { self.nat_t(path)?.local_addr().port() } else { 0 };
            let header = WholeHeader::new((local.0, port), remote, path.udp_encap, outer.fields, bytes.len())
                .ok_or_else(|| io::Error::from(ErrorKind::InvalidInput))?;
            return retry(socket, || socket.send(remote.0, header.as_bytes(), bytes));
        }
        if path.udp_encap {
            let socket = self.nat_t(path)?;
            retry(&**socket, || socket.send_with(Some(path.local.ip()), path.remote, outer.fields, bytes))
        } else {
            self.send_raw(path.local.ip(), path.remote, outer.fields, bytes)
        }
    }

    /// The NAT-T socket of a path.
    fn nat_t(&self, path: &Path) -> io::Result<&Arc<UdpSocket>> {
        let fits = |s: &&Arc<UdpSocket>| s.local_addr().is_ipv4() == path.remote.is_ipv4();
        self.udp
            .iter()
            .find(|s| fits(s) && s.local_addr().port() == path.local.port())
            .or_else(|| self.udp.iter().find(fits))
            .ok_or_else(|| io::Error::from(ErrorKind::AddrNotAvailable))
    }

    fn send_raw(&self, local: IpAddr, remote: SocketAddr, fields: Fields, bytes: &[u8]) -> io::Result<()> {
        let socket = self
            .raw
            .iter()
            .find(|s| s.is_v4() == remote.is_ipv4())
            .ok_or_else(|| io::Error::from(ErrorKind::AddrNotAvailable))?;
        retry(socket, || socket.send_with(Some(local), remote.ip(), fields, bytes))
    }
}

/// Sends, and once more after a bounded wait if the socket was full.
fn retry(fd: impl std::os::fd::AsFd, send: impl Fn() -> io::Result<()>) -> io::Result<()> {
    match send() {
        Err(e) if e.kind() == ErrorKind::WouldBlock => {
            wait_writable(fd, SEND_PATIENCE)?;
            send()
        }
        other => other,
    }
}
