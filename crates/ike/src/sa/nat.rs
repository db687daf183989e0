//! NAT detection, moving to port 4500, keepalives, and peers whose address changes (RFC 7296 §2.23, RFC 3948).

use std::net::{IpAddr, SocketAddr};

use adit_crypto::sha1;
use adit_wire::{NotifyType, Payload};

use crate::action::{Action, Path, Transmit, TransmitKind};
use crate::core::{Bracketed, Core, log};
use crate::event::Event;
use crate::sa::{IkeSa, Message, Nat, Phase};

/// `SHA-1(SPIs | address | port)` (RFC 7296 §2.23).
fn digest(spi_i: u64, spi_r: u64, addr: SocketAddr) -> [u8; 20] {
    let port = addr.port().to_be_bytes();
    let (spi_i, spi_r) = (spi_i.to_be_bytes(), spi_r.to_be_bytes());
    match addr.ip() {
        IpAddr::V4(ip) => sha1(&[&spi_i, &spi_r, &ip.octets(), &port]),
        IpAddr::V6(ip) => sha1(&[&spi_i, &spi_r, &ip.octets(), &port]),
    }
}

impl IkeSa {
    /// The two notifies of NAT detection for a message on `path`. `spi_r` is 0 in the first request.
    pub(crate) fn nat_notifies(&self, core: &mut Core, spi_r: u64, path: Path) -> [Payload; 2] {
        let source = if self.conn.encap {
            // A digest that cannot match: the peer takes us to be behind NAT.
            log!(core, Ike, 1, self, "faking NAT situation to enforce UDP encapsulation");
            core.random::<20>()
        } else {
            digest(self.spi_i, spi_r, path.local)
        };
        let destination = digest(self.spi_i, spi_r, path.remote);
        [
            Payload::notify(NotifyType::NAT_DETECTION_SOURCE_IP, source.to_vec()),
            Payload::notify(NotifyType::NAT_DETECTION_DESTINATION_IP, destination.to_vec()),
        ]
    }

    /// Judges the peer's notifies. `spi_r` is what the peer computed with, `path` where its message travelled.
    pub(crate) fn detect_nat(&mut self, core: &mut Core, message: &Message, spi_r: u64, path: Path) {
        let mut sources = message.notifies(NotifyType::NAT_DETECTION_SOURCE_IP).peekable();
        let Some(destination) = message.notify(NotifyType::NAT_DETECTION_DESTINATION_IP) else { return };
        if sources.peek().is_none() {
            return;
        }
        let seen = digest(self.spi_i, spi_r, path.remote);
        // RFC 7296 §2.23: several source notifies may come, one of them must match.
        let remote = !sources.take(16).any(|source| source == seen);
        let local = destination != digest(self.spi_i, spi_r, path.local);
        self.nat = Nat { local, remote, fake: self.conn.encap, served: true };
        if local {
            log!(core, Ike, 1, self, "local host is behind NAT, sending keep alives");
        }
        if remote {
            log!(core, Ike, 1, self, "remote host is behind NAT");
        }
    }

    /// RFC 7296 §2.23: with a NAT in between, the initiator goes on from and to port 4500. RFC 4555 §3.3: also with
    /// MOBIKE, for a NAT may come to be in between.
    pub(crate) fn float(&mut self, core: &Core) {
        let wanted = self.nat.any() || (self.nat.served && self.conn.mobike);
        if !wanted {
            return;
        }
        let nat_t = core.settings.port_nat_t;
        self.path.local.set_port(nat_t);
        if self.path.remote.port() == 500 {
            self.path.remote.set_port(4500);
        }
    }

    /// Follows the peer's address after a message that is genuine and new.
    pub(crate) fn on_authentic(&mut self, core: &mut Core, path: Path) {
        if path == self.path {
            return;
        }
        let mut path = path;
        let follow = match self.phase {
            // The floating of the initiator. Without a NAT its address is what it was in IKE_SA_INIT, whatever somebody
            // on the way has made of it.
            Phase::AuthR(_) => {
                if !self.nat.local && !self.nat.remote {
                    path.remote.set_ip(self.path.remote.ip());
                }
                true
            }
            // RFC 4555 §3.8: only what says UPDATE_SA_ADDRESSES moves anything.
            _ if self.mobike.is_some() => false,
            // RFC 7296 §2.23: a host behind NAT must not follow, the other one should.
            _ => self.nat.remote && !self.nat.local,
        };
        if follow {
            self.move_path(core, path);
        }
    }

    /// From now on the peer is reached by another path, for IKE and ESP.
    pub(crate) fn move_path(&mut self, core: &mut Core, path: Path) {
        if path != self.path {
            self.set_path(core, path);
            self.move_children(core);
        }
    }

    /// From now on IKE messages take another path.
    pub(crate) fn set_path(&mut self, core: &mut Core, path: Path) {
        let old = std::mem::replace(&mut self.path, path);
        if let Some(mobike) = self.mobike.as_deref_mut().filter(|_| old.remote != path.remote) {
            mobike.leave(old.remote, path.remote);
        }
        if old.local != path.local {
            log!(
                core,
                Ike,
                1,
                self,
                "local endpoint changed from {} to {}",
                Bracketed(old.local),
                Bracketed(path.local)
            );
        }
        if old.remote != path.remote {
            log!(
                core,
                Ike,
                1,
                self,
                "remote endpoint changed from {} to {}",
                Bracketed(old.remote),
                Bracketed(path.remote)
            );
        }
        if self.established_at.is_some() {
            core.event(Event::IkeUpdated { id: self.id, local: old.local, remote: old.remote });
        }
    }

    /// Has ESP take the path of the IKE messages, in UDP or not as the NATs on it want it.
    pub(crate) fn move_children(&mut self, core: &mut Core) {
        if let Some(mobike) = &mut self.mobike {
            mobike.esp = None;
        }
        if self.established_at.is_some() {
            for child in &self.children {
                let (path, udp_encap) = (self.path, self.nat.any());
                core.order(Action::UpdateChild { id: child.id, path, udp_encap });
            }
        }
    }

    /// The data plane saw genuine packets of the peer come from another address.
    pub(crate) fn on_peer_moved(&mut self, core: &mut Core, remote: SocketAddr) {
        // RFC 7296 §2.23: only a peer behind NAT, and only if we are not. RFC 4555 §3.8 leaves ESP that right.
        let follows = self.is_established() && self.nat.remote && !self.nat.local;
        // Packets from before a move may come after it.
        let late = self.mobike.as_ref().is_some_and(|mobike| mobike.has_left(remote));
        if follows && !late {
            self.move_path(core, Path { remote, ..self.path });
        }
    }

    /// Keepalives begin or end with the NAT before us.
    pub(crate) fn tend_keepalives(&mut self, core: &Core) {
        let interval = core.settings.keep_alive;
        let wanted = self.nat.local && !interval.is_zero();
        self.keepalive_at = wanted.then(|| self.keepalive_at.unwrap_or(core.now + interval));
    }

    /// Keeps our NAT's mapping alive, if nothing else did (RFC 3948 §4).
    pub(crate) fn on_keepalive_timer(&mut self, core: &mut Core) {
        let interval = core.settings.keep_alive;
        if interval.is_zero() || !self.nat.local {
            self.keepalive_at = None;
            return;
        }
        if core.now - self.last_out >= interval {
            log!(core, Ike, 1, self, "sending keep alive to {}", Bracketed(self.path.remote));
            core.transmits.push_back(Transmit {
                path: self.path,
                bytes: vec![0xff],
                kind: TransmitKind::Keepalive,
            });
            self.last_out = core.now;
        }
        self.keepalive_at = Some(self.last_out + interval);
    }
}
