//! When and where to: what happens to an IKE_SA when this host's addresses or routes change, or when its path does not
//! answer any more (RFC 4555 §3.5, §3.6, §3.10).
//!
//! Other paths are tried in a fixed order, and no more than [`MAX_PATHS`] of them.

use std::net::{IpAddr, SocketAddr};

use crate::action::{Action, Path};
use crate::core::{Bracketed, Core, Wait, log};
use crate::reason::Reason;
use crate::sa::{Active, IkeSa, Phase};

/// Paths that are tried besides the one in use.
const MAX_PATHS: usize = 16;

impl Core {
    pub(crate) fn addresses_changed(&mut self, addresses: Vec<IpAddr>) {
        self.turn = self.turn.wrapping_add(1);
        self.addresses = addresses;
        let ids: Vec<u32> = self.sas.keys().copied().collect();
        for id in ids {
            self.with(id, |sa, core| {
                sa.on_addresses_changed(core);
                sa.pump(core);
            });
        }
    }
}

impl IkeSa {
    fn on_addresses_changed(&mut self, core: &mut Core) {
        let local = self.path.local.ip();
        let gone = !core.addresses.contains(&local);
        match self.phase {
            // The question for an address is open; whoever hears the answer sees that it is old.
            Phase::Preparing(_) | Phase::AuthR(_) | Phase::Closed => {}
            Phase::Init(_) | Phase::AuthI(_) => {
                let another = core.addresses.iter().any(|addr| addr.is_ipv4() == local.is_ipv4());
                if gone && another {
                    log!(core, Ike, 1, self, "{local} is gone, starting again from another address");
                    self.restart(core);
                }
            }
            Phase::Rekeyed | Phase::Deleting if gone => self.ask_way(core, self.path.remote.ip()),
            Phase::Rekeyed | Phase::Deleting => {}
            Phase::Established if self.first_initiator || (gone && self.mobike.is_some()) => {
                self.ask_way(core, self.path.remote.ip());
            }
            // RFC 4555 §3.6: the other end decides, but it should know. Without MOBIKE there is nothing to be said.
            Phase::Established => self.tell_addresses(core),
        }
    }

    /// Which address does this host send from to an address of the peer?
    fn ask_way(&self, core: &mut Core, remote: IpAddr) {
        let among = self.configured_sources(remote);
        let current = Some(self.path.local.ip()).filter(|addr| addr.is_ipv4() == remote.is_ipv4());
        let turn = core.turn;
        core.ask(self.id, Wait::Roam { remote, turn }, Action::SourceAddress { remote, among, current });
    }

    pub(crate) fn on_roam_source(
        &mut self,
        core: &mut Core,
        turn: u32,
        remote: IpAddr,
        source: Result<IpAddr, String>,
    ) {
        if turn != core.turn {
            // Addresses have changed again, and it was asked again.
            return;
        }
        match Self::allowed_source(&self.configured_sources(remote), remote, source) {
            Ok(local) => {
                let local = SocketAddr::new(local, self.path.local.port());
                self.on_way(core, Path { local, remote: self.port_at(remote) });
            }
            Err(detail) => match self.next_remote(remote) {
                Some(next) => self.ask_way(core, next),
                None => log!(core, Ike, 1, self, "no way to the peer, waiting for one: {detail}"),
            },
        }
        self.pump(core);
    }

    /// A peer's address with the port that it is to be reached at.
    fn port_at(&self, remote: IpAddr) -> SocketAddr {
        // What a NAT made of the port is good for that address only.
        let mapped = self.nat.remote && remote != self.path.remote.ip();
        SocketAddr::new(remote, if mapped { 4500 } else { self.path.remote.port() })
    }

    /// The peer's addresses, the one in use first.
    fn remotes(&self) -> impl Iterator<Item = IpAddr> {
        let current = self.path.remote.ip();
        let more = self.mobike.iter().flat_map(|mobike| mobike.peer.iter().copied());
        std::iter::once(current).chain(more.filter(move |addr| *addr != current))
    }

    fn next_remote(&self, after: IpAddr) -> Option<IpAddr> {
        if !self.is_established() {
            return None;
        }
        self.remotes().skip_while(|addr| *addr != after).nth(1)
    }

    /// This is how the peer can be reached now.
    fn on_way(&mut self, core: &mut Core, path: Path) {
        if path == self.path {
            return self.tell_addresses(core);
        }
        match self.phase {
            // Its delete is all that is still to come.
            Phase::Rekeyed | Phase::Deleting => {
                self.set_path(core, path);
                self.send_again(core);
            }
            Phase::Established if self.decides() => self.roam_to(core, path),
            Phase::Established if self.mobike.is_some() => {
                // RFC 4555 §3.5: the one exception to the rule that only the other end moves anything.
                self.move_path(core, path);
                self.send_again(core);
                self.tell_addresses(core);
            }
            Phase::Established if self.first_initiator => {
                // Nobody but a peer behind NAT would be followed; a new IKE_SA begins where we are now.
                log!(core, Ike, 0, self, "reauthenticating IKE_SA due to address change");
                self.move_path(core, path);
                self.send_again(core);
                self.reauthenticate(core);
            }
            _ => {}
        }
    }

    /// Takes another path and has the peer take it.
    pub(crate) fn roam_to(&mut self, core: &mut Core, path: Path) {
        let old = self.path;
        self.move_path(core, path);
        if let Some(mobike) = &mut self.mobike {
            mobike.update = true;
            mobike.agreed.get_or_insert_with(|| Box::new(old));
        }
        // RFC 4555 §3.5: what is in flight goes on with the new addresses.
        self.send_again(core);
        self.want_mobike();
    }

    /// Tells the peer our addresses, if they are others than it was told last.
    fn tell_addresses(&mut self, core: &Core) {
        if self.is_established() && self.knows_other_addresses(core) {
            if let Some(mobike) = &mut self.mobike {
                mobike.tell = true;
            }
            self.want_mobike();
        }
    }

    /// The peer does not accept the addresses that we wanted (RFC 4555 §3.5).
    pub(crate) fn on_refused_path(&mut self, core: &mut Core) {
        let (local, remote) = (self.path.local.ip(), self.path.remote.ip());
        self.tell_failure(core, Reason::AddressesRefused { local, remote });
        let agreed = self.mobike.as_mut().and_then(|mobike| mobike.agreed.take());
        match agreed.filter(|path| **path != self.path && core.addresses.contains(&path.local.ip())) {
            Some(path) => {
                log!(core, Ike, 1, self, "going on from {}", path.local.ip());
                self.move_path(core, *path);
            }
            None => self.reauthenticate(core),
        }
    }

    // -- other paths, while the one in use does not answer --------------------------------------------------------

    /// All pairs of our addresses and the peer's but the one in use: first what leaves the peer's address as it is.
    fn other_paths(&self, core: &Core) -> Vec<Path> {
        let current = self.path.local.ip();
        let ours: Vec<IpAddr> = std::iter::once(current)
            .filter(|addr| core.addresses.contains(addr) || core.addresses.is_empty())
            .chain(core.addresses.iter().copied().filter(|addr| *addr != current && self.may_use(*addr)))
            .collect();
        let pairs = self.remotes().flat_map(|remote| {
            let local = ours.iter().filter(move |addr| addr.is_ipv4() == remote.is_ipv4());
            local.map(move |local| (*local, remote))
        });
        pairs
            .map(|(local, remote)| Path {
                local: SocketAddr::new(local, self.path.local.port()),
                remote: self.port_at(remote),
            })
            .filter(|path| *path != self.path)
            .take(MAX_PATHS)
            .collect()
    }

    /// Sends an unanswered request on every other path as well. The one who decides may do so always, the other only
    /// to tell that its own addresses have changed (RFC 4555 §3.6).
    pub(crate) fn probe(&mut self, core: &mut Core, packets: &[Vec<u8>]) {
        let may = self.first_initiator || matches!(self.active, Active::Mobike(_));
        let Some(mobike) = self.mobike.as_deref_mut().filter(|_| may) else { return };
        mobike.probing = true;
        for path in self.other_paths(core) {
            let (local, remote) = (Bracketed(path.local), Bracketed(path.remote));
            log!(core, Ike, 1, self, "checking path {local} - {remote}");
            for packet in packets {
                core.transmit(path, packet.clone());
            }
        }
    }

    /// Our request was answered, on this path. If it is another one than ours, it works, and ours seems not to.
    pub(crate) fn on_answered_by(&mut self, core: &mut Core, path: Path) {
        let Some(mobike) = &mut self.mobike else { return };
        let probed = std::mem::take(&mut mobike.probing);
        if probed
            && path != self.path
            && self.is_established()
            && self.decides()
            && self.other_paths(core).contains(&path)
        {
            log!(
                core,
                Ike,
                0,
                self,
                "the path to {} does not answer, another one does",
                self.path.remote.ip()
            );
            self.roam_to(core, path);
        }
    }
}
