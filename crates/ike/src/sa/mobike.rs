//! MOBIKE (RFC 4555): a peer is told when addresses change, and followed when its do.
//!
//! The original initiator decides which addresses are used. Its UPDATE_SA_ADDRESSES moves both ends; the other end can
//! only say which addresses it has. What is to be sent is kept as flags, and one INFORMATIONAL request carries whatever
//! is due when the window is free, always with a COOKIE2. So a second move while the first is in flight needs no case
//! of its own: the flag is set again.
//!
//! When to move, and where to, is decided in [`super::roam`].

use std::net::{IpAddr, SocketAddr};

use adit_wire::{ExchangeType, NotifyType, Payload};

use crate::action::Path;
use crate::config::HostSpec;
use crate::core::{Core, log};
use crate::event::Event;
use crate::reason::{Reason, notify_name};
use crate::sa::{Active, Fatal, IkeSa, Message, Task};

/// Additional addresses of one end: more are neither told nor remembered.
const MAX_ADDRESSES: usize = 8;

/// Addresses that a peer has left and that late packets may still come from.
const MAX_LEFT: usize = 4;

/// What an IKE_SA knows once both ends support MOBIKE.
#[derive(Default)]
#[cfg_attr(feature = "digest", derive(Hash))]
pub(crate) struct Mobike {
    /// Addresses of the peer: the one that it told the others from, then those in its order.
    pub peer: Box<[IpAddr]>,
    /// Ours, as we told them last, sorted.
    told: Box<[IpAddr]>,
    /// UPDATE_SA_ADDRESSES is to be sent (`pending_update` in RFC 4555 §3.5).
    pub update: bool,
    /// Our addresses are to be told.
    pub tell: bool,
    /// Whether the peer receives at its new address is to be checked (RFC 4555 §3.7).
    check: bool,
    /// The request in flight has been sent on other paths as well.
    pub probing: bool,
    /// Where ESP goes until the check is done, and whether in UDP.
    pub esp: Option<Box<(Path, bool)>>,
    /// The last path that the peer agreed to, while we ask for another one.
    pub agreed: Option<Box<Path>>,
    /// Addresses that the peer has left, oldest first.
    left: Vec<SocketAddr>,
    /// NAT_DETECTION_DESTINATION_IP of the peer's last answer: how it sees us.
    seen_as: Option<[u8; 20]>,
}

impl Mobike {
    pub(crate) fn leave(&mut self, old: SocketAddr, new: SocketAddr) {
        self.left.retain(|addr| *addr != new && *addr != old);
        if self.left.len() >= MAX_LEFT {
            self.left.remove(0);
        }
        self.left.push(old);
    }

    pub(crate) fn has_left(&self, remote: SocketAddr) -> bool {
        self.left.contains(&remote)
    }
}

/// A request of ours that is about addresses.
pub(crate) struct Sent {
    update: bool,
    tell: bool,
    path: Path,
    cookie: [u8; 16],
}

impl IkeSa {
    /// We say which addresses are used (RFC 4555 §3.5).
    pub(crate) fn decides(&self) -> bool {
        self.first_initiator && self.mobike.is_some()
    }

    /// Where ESP goes.
    pub(crate) fn esp_path(&self) -> (Path, bool) {
        let old = self.mobike.as_ref().and_then(|mobike| mobike.esp.as_deref().copied());
        old.unwrap_or((self.path, self.nat.any()))
    }

    // -- IKE_AUTH ------------------------------------------------------------------------------------------------

    /// Says that we support MOBIKE, if we do, and which further addresses we have. All of them, sorted.
    pub(crate) fn announce_mobike(&self, core: &Core, payloads: &mut Vec<Payload>) -> Box<[IpAddr]> {
        if !self.conn.mobike {
            return Box::default();
        }
        payloads.push(Payload::notify(NotifyType::MOBIKE_SUPPORTED, Vec::new()));
        payloads.extend(self.additional_addresses(core).map(address_notify));
        self.own_addresses(core)
    }

    /// The peer's addresses, if it supports MOBIKE.
    pub(crate) fn mobike_of(&self, core: &mut Core, message: &Message) -> Option<Box<[IpAddr]>> {
        let supported = message.has_notify(NotifyType::MOBIKE_SUPPORTED);
        supported.then(|| self.addresses_in(core, message))
    }

    /// MOBIKE is in use if both want it.
    pub(crate) fn agree_on_mobike(&mut self, peer: Option<Box<[IpAddr]>>, told: Box<[IpAddr]>) {
        let agreed = peer.filter(|_| self.conn.mobike);
        self.mobike = agreed.map(|peer| Box::new(Mobike { peer, told, ..Mobike::default() }));
    }

    pub(crate) fn addresses_told(&mut self, told: Box<[IpAddr]>) {
        if let Some(mobike) = &mut self.mobike {
            mobike.told = told;
        }
    }

    /// Our addresses besides the one in use.
    fn additional_addresses(&self, core: &Core) -> impl Iterator<Item = IpAddr> {
        let others = core.addresses.iter().copied().filter(|addr| *addr != self.path.local.ip());
        others.filter(|addr| self.may_use(*addr)).take(MAX_ADDRESSES)
    }

    /// All our addresses, sorted: which of them is in use does not make another set.
    fn own_addresses(&self, core: &Core) -> Box<[IpAddr]> {
        let mut all: Vec<IpAddr> = self.additional_addresses(core).collect();
        all.push(self.path.local.ip());
        all.sort_unstable();
        all.into()
    }

    /// Whether the peer was told other addresses than we have.
    pub(crate) fn knows_other_addresses(&self, core: &Core) -> bool {
        self.mobike.as_ref().is_some_and(|mobike| mobike.told != self.own_addresses(core))
    }

    /// Whether the connection lets us use that address of ours.
    pub(crate) fn may_use(&self, addr: IpAddr) -> bool {
        let allows = |spec: &HostSpec| spec.quality(addr) > 0;
        self.conn.local_addrs.is_empty() || self.conn.local_addrs.iter().any(allows)
    }

    /// The peer's addresses, as a message tells them: the one that it comes from, and the additional ones in it.
    fn addresses_in(&self, core: &mut Core, message: &Message) -> Box<[IpAddr]> {
        let mut found = vec![self.came_by().remote.ip()];
        for payload in &message.0 {
            let Payload::Notify { kind, data, .. } = payload else { continue };
            let addr = match *kind {
                NotifyType::ADDITIONAL_IP4_ADDRESS => {
                    <[u8; 4]>::try_from(data.as_slice()).ok().map(IpAddr::from)
                }
                NotifyType::ADDITIONAL_IP6_ADDRESS => {
                    <[u8; 16]>::try_from(data.as_slice()).ok().map(IpAddr::from)
                }
                _ => continue,
            };
            match addr.filter(|addr| found.len() <= MAX_ADDRESSES && self.is_reachable(*addr)) {
                Some(addr) if found.contains(&addr) => {}
                Some(addr) => found.push(addr),
                None => core.stats.dropped_addresses += 1,
            }
        }
        found.into()
    }

    /// Whether a peer can be at that address: not one that means nobody or many, and not one inside its own tunnel.
    fn is_reachable(&self, addr: IpAddr) -> bool {
        let nobody = addr.is_unspecified() || addr.is_multicast() || addr.is_loopback();
        let broadcast = matches!(addr, IpAddr::V4(addr) if addr.is_broadcast());
        !nobody && !broadcast && !self.remote_vips.contains(&addr)
    }

    // -- requests of the peer ------------------------------------------------------------------------------------

    /// RFC 4555 §3.9: the peer forbids that addresses are translated.
    pub(crate) fn check_no_nats(&self, message: &Message) -> Fatal<()> {
        let path = self.came_by();
        match message.notify(NotifyType::NO_NATS_ALLOWED) {
            Some(data) if data != no_nats(path) => Err(Reason::UnexpectedNat { remote: path.remote.ip() }),
            _ => Ok(()),
        }
    }

    /// What an INFORMATIONAL request says about addresses; payloads for the answer.
    pub(crate) fn on_mobility(&mut self, core: &mut Core, message: &Message) -> Vec<Payload> {
        if !self.conn.mobike {
            return Vec::new();
        }
        let path = self.came_by();
        let mut answer = Vec::new();
        if self.is_established() && self.mobike.is_some() {
            let listed = [
                NotifyType::ADDITIONAL_IP4_ADDRESS,
                NotifyType::ADDITIONAL_IP6_ADDRESS,
                NotifyType::NO_ADDITIONAL_ADDRESSES,
            ];
            let updates = message.has_notify(NotifyType::UPDATE_SA_ADDRESSES);
            if let Err(reason) = self.check_no_nats(message) {
                log!(core, Ike, 1, self, "sending UNEXPECTED_NAT_DETECTED: {reason}");
                answer.push(Payload::notify(NotifyType::UNEXPECTED_NAT_DETECTED, Vec::new()));
            } else {
                if listed.iter().any(|kind| message.has_notify(*kind)) {
                    self.on_peer_addresses(core, message, path);
                }
                if updates && !self.on_update(core, message, path) {
                    answer.push(Payload::notify(NotifyType::UNACCEPTABLE_ADDRESSES, Vec::new()));
                }
            }
        }
        // RFC 4555 §3.8: whoever asks how it is seen is told, but nothing else happens.
        if message.has_notify(NotifyType::NAT_DETECTION_SOURCE_IP) {
            answer.extend(self.nat_notifies(core, self.spi_r, path));
        }
        // RFC 4555 §3.7, §4.2.5: copied as it is.
        let cookie = message.notify(NotifyType::COOKIE2).filter(|data| (8..=64).contains(&data.len()));
        answer.extend(cookie.map(|data| Payload::notify(NotifyType::COOKIE2, data.to_vec())));
        answer
    }

    /// The peer's list of addresses, always all of them (RFC 4555 §3.6).
    fn on_peer_addresses(&mut self, core: &mut Core, message: &Message, path: Path) {
        let list = self.addresses_in(core, message);
        log!(core, Ike, 1, self, "got {} additional MOBIKE peer addresses", list.len().saturating_sub(1));
        let gone = !list.contains(&self.path.remote.ip());
        if let Some(mobike) = &mut self.mobike {
            mobike.peer = list;
        }
        if gone && self.decides() {
            // It cannot move us itself; this is how it asks for it.
            self.roam_to(core, path);
        }
    }

    /// UPDATE_SA_ADDRESSES (RFC 4555 §3.5). False if it is not carried out.
    fn on_update(&mut self, core: &mut Core, message: &Message, path: Path) -> bool {
        if self.decides() || !self.is_reachable(path.remote.ip()) || path.remote.port() == 0 {
            log!(core, Ike, 1, self, "refusing an address update from {}", path.remote.ip());
            return false;
        }
        let (esp, udp_encap) = self.esp_path();
        self.detect_nat(core, message, self.spi_r, path);
        if path != self.path {
            self.set_path(core, path);
            self.send_again(core);
        }
        self.tend_keepalives(core);
        let known = esp.remote.ip() == path.remote.ip();
        let Some(mobike) = &mut self.mobike else { return true };
        // RFC 4555 §3.7: before ESP is sent there, the peer shows that it receives what is sent there. Another port of
        // the same host is the same host.
        mobike.check = !known;
        if known {
            self.move_children(core);
        } else {
            mobike.esp = Some(Box::new((esp, udp_encap)));
            self.want_mobike();
        }
        true
    }

    // -- requests of ours ----------------------------------------------------------------------------------------

    /// Something about addresses is to be sent as soon as the window allows.
    pub(crate) fn want_mobike(&mut self) {
        if !self.queue.iter().any(|task| matches!(task, Task::Mobike)) {
            self.queue.push_front(Task::Mobike);
        }
    }

    pub(crate) fn send_mobike(&mut self, core: &mut Core) {
        let ours = self.own_addresses(core);
        let Some(mobike) = &mut self.mobike else { return };
        let tell = mobike.tell || (mobike.update && mobike.told != ours);
        let update = std::mem::take(&mut mobike.update);
        mobike.tell = false;
        if !update && !tell && !mobike.check {
            return;
        }
        let mut payloads = Vec::new();
        if tell {
            mobike.told = ours;
        }
        let path = self.path;
        if update {
            log!(core, Ike, 1, self, "requesting address change using MOBIKE");
            payloads.push(Payload::notify(NotifyType::UPDATE_SA_ADDRESSES, Vec::new()));
            payloads.extend(self.nat_notifies(core, self.spi_r, path));
        }
        if tell {
            log!(core, Ike, 1, self, "sending address list update using MOBIKE");
            let before = payloads.len();
            payloads.extend(self.additional_addresses(core).map(address_notify));
            if payloads.len() == before {
                payloads.push(Payload::notify(NotifyType::NO_ADDITIONAL_ADDRESSES, Vec::new()));
            }
        }
        let cookie = core.random::<16>();
        payloads.push(Payload::notify(NotifyType::COOKIE2, cookie.to_vec()));
        let sent = Box::new(Sent { update, tell, path, cookie });
        self.request(core, ExchangeType::INFORMATIONAL, &payloads, Active::Mobike(sent));
    }

    /// The answer to one of them, and the path that it came by.
    pub(crate) fn on_mobike_response(&mut self, core: &mut Core, sent: &Sent, by: Path, message: &Message) {
        if message.notify(NotifyType::COOKIE2) != Some(&sent.cookie[..]) {
            // RFC 4555 §3.7: then the IKE_SA must be closed.
            let reason = Reason::Unroutable { remote: sent.path.remote.ip() };
            log!(core, Ike, 0, self, "COOKIE2 mismatch: {reason}");
            self.tell_failure(core, reason.clone());
            return self.delete_with(core, Some(reason));
        }
        let here = self.path;
        let Some(mobike) = &mut self.mobike else { return };
        if sent.path != here {
            // RFC 4555 §3.5: the addresses changed while it was in flight, so it says nothing about the new ones.
            mobike.update |= sent.update;
            mobike.tell |= sent.tell;
            return self.want_mobike();
        }
        if sent.update {
            let refusals = [NotifyType::UNACCEPTABLE_ADDRESSES, NotifyType::UNEXPECTED_NAT_DETECTED];
            if let Some(kind) = refusals.into_iter().find(|kind| message.has_notify(*kind)) {
                log!(core, Ike, 1, self, "received {} notify error", notify_name(kind));
                return self.on_refused_path(core);
            }
            mobike.agreed = None;
            mobike.seen_as = seen_as(message);
            self.detect_nat(core, message, self.spi_r, here);
            self.move_children(core);
            self.tend_keepalives(core);
        } else if mobike.check {
            // RFC 4555 §3.7: by another path that was probed meanwhile it says nothing about this one.
            let from = by.remote.ip();
            if from != here.remote.ip() {
                log!(
                    core,
                    Ike,
                    1,
                    self,
                    "{} did not answer itself, ESP stays where it was",
                    here.remote.ip()
                );
                return;
            }
            log!(core, Ike, 1, self, "return routability of {from} checked");
            if let Some(mobike) = &mut self.mobike {
                mobike.check = false;
            }
            self.move_children(core);
        }
    }

    pub(crate) fn tell_failure(&self, core: &mut Core, reason: Reason) {
        let conn = Some(std::sync::Arc::clone(&self.conn.name));
        core.event(Event::Failure { conn, child: None, peer: self.peer_addr(), reason });
    }

    /// What a liveness check asks along: behind a NAT, how the peer sees us (RFC 4555 §3.8).
    pub(crate) fn mapping_question(&self, core: &mut Core) -> Vec<Payload> {
        let asks = self.decides() && self.nat.local;
        if asks { self.nat_notifies(core, self.spi_r, self.path).into() } else { Vec::new() }
    }

    /// If the NAT before us has another mapping for us, the peer must be told, for it does not follow by itself.
    pub(crate) fn on_mapping_answer(&mut self, core: &mut Core, message: &Message) {
        let asked = self.decides() && self.nat.local;
        let Some(mobike) = self.mobike.as_deref_mut().filter(|_| asked) else { return };
        let seen = seen_as(message);
        if seen.is_some() && seen != mobike.seen_as {
            mobike.update = true;
            log!(core, Ike, 1, self, "NAT mappings changed, updating addresses using MOBIKE");
            self.want_mobike();
        }
    }

    /// The IKE_SA that takes over has what there is to know about addresses.
    pub(crate) fn bequeath_mobike(&mut self, new: &mut Self) {
        let Some(mut mobike) = self.mobike.take() else { return };
        if let Active::Mobike(sent) = &self.active {
            // The peer may get it when it is about an IKE_SA without children.
            mobike.update |= sent.update;
            mobike.tell |= sent.tell;
        }
        // With other SPIs it is another digest.
        mobike.seen_as = None;
        mobike.probing = false;
        let due = mobike.update || mobike.tell || mobike.check;
        new.mobike = Some(mobike);
        if due {
            new.want_mobike();
        }
    }
}

fn seen_as(message: &Message) -> Option<[u8; 20]> {
    message.notify(NotifyType::NAT_DETECTION_DESTINATION_IP).and_then(|data| data.try_into().ok())
}

fn address_notify(addr: IpAddr) -> Payload {
    match addr {
        IpAddr::V4(addr) => Payload::notify(NotifyType::ADDITIONAL_IP4_ADDRESS, addr.octets().to_vec()),
        IpAddr::V6(addr) => Payload::notify(NotifyType::ADDITIONAL_IP6_ADDRESS, addr.octets().to_vec()),
    }
}

/// What NO_NATS_ALLOWED has to say of a message that came by this path (RFC 4555 §4.2.6).
fn no_nats(path: Path) -> Vec<u8> {
    let mut data = Vec::with_capacity(36);
    for addr in [path.remote.ip(), path.local.ip()] {
        match addr {
            IpAddr::V4(addr) => data.extend(addr.octets()),
            IpAddr::V6(addr) => data.extend(addr.octets()),
        }
    }
    data.extend(path.remote.port().to_be_bytes());
    data.extend(path.local.port().to_be_bytes());
    data
}
