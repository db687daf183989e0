//! What notifies say of a CHILD_SA: transport mode, also behind NAT, and padding (RFC 7296 §1.3.1, §2.23.1).

use std::net::IpAddr;

use adit_ipsec::{Mode, Selector};
use adit_wire::{NotifyType, Payload};

use crate::core::{Core, log};
use crate::sa::{IkeSa, Message};

/// What a peer's message says of the CHILD_SA it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ChildNotifies {
    /// It wants, or agrees to, transport mode.
    pub transport: bool,
    /// It does not take padded inner packets.
    pub no_tfc: bool,
    /// It has narrowed the selectors and would take more in another CHILD_SA.
    pub more_selectors: bool,
}

impl ChildNotifies {
    pub(crate) fn of(message: &Message) -> Self {
        Self {
            transport: message.has_notify(NotifyType::USE_TRANSPORT_MODE),
            no_tfc: message.has_notify(NotifyType::ESP_TFC_PADDING_NOT_SUPPORTED),
            more_selectors: message.has_notify(NotifyType::ADDITIONAL_TS_POSSIBLE),
        }
    }
}

/// Whether a payload only makes sense beside a CHILD_SA.
pub(crate) fn is_child_notify(payload: &Payload) -> bool {
    matches!(
        payload,
        Payload::Notify { kind: NotifyType::USE_TRANSPORT_MODE | NotifyType::ADDITIONAL_TS_POSSIBLE, .. }
    )
}

/// The notify that asks for transport mode, or agrees to it.
pub(crate) fn use_transport() -> Payload {
    Payload::notify(NotifyType::USE_TRANSPORT_MODE, Vec::new())
}

/// The one address of all selectors.
fn only_address(selectors: &[Selector]) -> Option<IpAddr> {
    let address = selectors.first()?.start();
    selectors.iter().all(|one| one.is_host(address)).then_some(address)
}

/// The selectors at another address, if all are at one; as they are otherwise.
fn moved(selectors: &[Selector], to: IpAddr) -> Vec<Selector> {
    let host = only_address(selectors).is_some_and(|from| from.is_ipv4() == to.is_ipv4());
    selectors.iter().map(|one| if host { one.at(to) } else { *one }).collect()
}

/// Selectors as they came and as this host sees them.
pub(crate) struct Translated {
    pub local: Vec<Selector>,
    pub remote: Vec<Selector>,
    /// What the peer calls us and itself.
    names: (Option<IpAddr>, Option<IpAddr>),
}

impl Translated {
    /// What the answer says of selectors of ours: the addresses that the peer knows.
    pub(crate) fn answer(&self, local: &[Selector], remote: &[Selector]) -> (Vec<Selector>, Vec<Selector>) {
        let back = |list: &[Selector], name: Option<IpAddr>| match name {
            Some(name) => list.iter().map(|one| one.at(name)).collect(),
            None => list.to_vec(),
        };
        (back(local, self.names.0), back(remote, self.names.1))
    }
}

impl IkeSa {
    /// RFC 7296 §2.23.1: a host behind NAT is called by another address than it calls itself. On either side's
    /// selectors, the address is replaced by the one that packets have here.
    pub(crate) fn translate(&self, local: &[Selector], remote: &[Selector]) -> Translated {
        let side = |behind: bool, selectors: &[Selector], here: IpAddr| {
            let name = only_address(selectors).filter(|_| behind);
            (if behind { moved(selectors, here) } else { selectors.to_vec() }, name)
        };
        let (local, own) = side(self.nat.local, local, self.path.local.ip());
        let (remote, peer) = side(self.nat.remote, remote, self.path.remote.ip());
        Translated { local, remote, names: (own, peer) }
    }

    /// Whether both ends of these selectors are the hosts themselves: transport mode carries nothing else.
    pub(crate) fn host_to_host(&self, local: &[Selector], remote: &[Selector]) -> bool {
        let (here, there) = (self.path.local.ip(), self.path.remote.ip());
        !local.is_empty()
            && !remote.is_empty()
            && local.iter().all(|one| one.is_host(here))
            && remote.iter().all(|one| one.is_host(there))
    }

    /// The mode to ask for when transport mode is configured.
    pub(crate) fn mode_to_offer(
        &self,
        core: &mut Core,
        wanted: Mode,
        (local, remote): (&[Selector], &[Selector]),
    ) -> Mode {
        if wanted == Mode::Transport && !self.host_to_host(local, remote) {
            log!(core, Ike, 1, self, "not using transport mode, not host-to-host");
            return Mode::Tunnel;
        }
        wanted
    }
}
