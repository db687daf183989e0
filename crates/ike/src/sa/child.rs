//! A CHILD_SA: its record, its selectors, its end.

use std::net::IpAddr;
use std::sync::Arc;

use adit_ipsec::{EntryOptions, Mode, Selector, SelectorSpec};

use crate::action::Action;
use crate::config::ChildConfig;
use crate::core::{Core, log};
use crate::event::Event;
use crate::reason::Reason;
use crate::sa::proposals::ChildSuite;
use crate::sa::{Active, Contest, IkeSa, Task, Wish};
use crate::time::Instant;
use crate::view::ChildState;

/// A CHILD_SA without its keys: those are the data plane's.
pub(crate) struct Child {
    pub id: u32,
    pub config: Arc<ChildConfig>,
    /// The configuration's, with the numbers that are this CHILD_SA's own.
    pub options: Arc<EntryOptions>,
    pub reqid: u32,
    pub state: ChildState,
    pub spi_in: u32,
    pub spi_out: u32,
    pub suite: ChildSuite,
    /// As negotiated.
    pub mode: Mode,
    pub local_ts: Box<[Selector]>,
    pub remote_ts: Box<[Selector]>,
    pub installed_at: Option<Instant>,
    pub rekey_at: Option<Instant>,
    pub expire_at: Option<Instant>,
    /// When the inbound half of a deleted one goes.
    pub remove_at: Option<Instant>,
    /// When to look whether it is still used.
    pub idle_at: Option<Instant>,
    /// We asked for it; otherwise we answered.
    pub asked: bool,
    pub tags: Vec<u64>,
    pub delete_tags: Vec<u64>,
    pub replaces: Option<u32>,
    pub replaced_by: Option<u32>,
    /// It receives, but does not send yet.
    pub outbound_pending: bool,
    /// Whoever listens knows it as up.
    pub told: bool,
    /// Attempts to rekey it that failed.
    pub rekey_failures: u32,
    /// Brought up again as soon as it is gone.
    pub revive: bool,
    /// Lost a rekey collision: it is only there to be deleted.
    pub redundant: bool,
    /// To be deleted as soon as its installation is over.
    pub condemned: bool,
}

impl Child {
    /// Counts as up: installed, and neither replaced nor on its way out.
    pub(crate) fn is_up(&self) -> bool {
        self.told && matches!(self.state, ChildState::Installed | ChildState::Rekeying)
    }

    /// Whether it is what a wish asks for: the same child, and the packet that asked, if any, would pass.
    pub(crate) fn satisfies(&self, wish: &Wish) -> bool {
        let live = self.is_up() || (self.state == ChildState::Installing && !self.redundant);
        live && self.config.name == wish.config.name
            && wish.trigger.as_ref().is_none_or(|packet| {
                let fits = |list: &[Selector], addr, port| {
                    list.iter().any(|selector| selector.matches(addr, packet.protocol, port))
                };
                fits(&self.local_ts, packet.src, packet.src_port)
                    && fits(&self.remote_ts, packet.dst, packet.dst_port)
            })
    }

    /// `net{4}`.
    pub(crate) fn label(&self) -> String {
        format!("{}{{{}}}", self.config.name, self.id)
    }
}

/// Selectors as log lines show them.
pub(crate) fn show(selectors: &[Selector]) -> String {
    selectors.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

pub(crate) fn resolve(specs: &[SelectorSpec], hosts: &[IpAddr]) -> Vec<Selector> {
    specs.iter().flat_map(|spec| spec.resolve(hosts)).collect()
}

impl IkeSa {
    /// What `dynamic` means on our side.
    pub(crate) fn local_hosts(&self) -> Vec<IpAddr> {
        if self.local_vips.is_empty() { vec![self.path.local.ip()] } else { self.local_vips.clone() }
    }

    /// What `dynamic` means on the peer's side.
    pub(crate) fn remote_hosts(&self) -> Vec<IpAddr> {
        if self.remote_vips.is_empty() { vec![self.path.remote.ip()] } else { self.remote_vips.clone() }
    }

    pub(crate) fn child(&self, id: u32) -> Option<&Child> {
        self.children.iter().find(|child| child.id == id)
    }

    pub(crate) fn child_mut(&mut self, id: u32) -> Option<&mut Child> {
        self.children.iter_mut().find(|child| child.id == id)
    }

    /// Removes a child for good. Tells about it only if it was up.
    pub(crate) fn drop_child(&mut self, core: &mut Core, id: u32) {
        let Some(at) = self.children.iter().position(|child| child.id == id) else { return };
        self.activate_successor(core, id);
        if let Active::Child(offer) = &mut self.active
            && offer.contest.rival() == Some(id)
        {
            offer.contest = Contest::Alone;
        }
        let up = self.children.get(at).is_some_and(|child| child.told);
        let snapshot = up.then(|| {
            let mut view = self.view();
            view.children.retain(|child| child.id == id);
            Box::new(view.into_owned())
        });
        let child = self.children.remove(at);
        core.order(Action::RemoveChild { id });
        core.release_esp_spi(child.spi_in);
        core.child_owner.remove(&id);
        if let Some(snapshot) = snapshot {
            log!(core, Ike, 1, self, "CHILD_SA {} closed", child.label());
            core.event(Event::ChildDown { ike: self.id, id, name: Arc::clone(&child.config.name), snapshot });
        }
        core.outcome(&child.delete_tags, Ok(()));
        if child.revive {
            core.bring_back(&self.conn.name, &child.config.name);
        }
        if !child.tags.is_empty() {
            core.outcome(&child.tags, Err(Reason::IkeClosed));
        }
    }

    /// A child that still sends on its predecessor sends by itself from now on.
    pub(crate) fn activate_successor(&mut self, core: &mut Core, old: u32) {
        let Some(new) = self.child(old).and_then(|child| child.replaced_by) else { return };
        self.activate(core, new);
    }

    /// Lets a child send, if it does not yet. One that never sent is passed over in order, for it is the data plane's
    /// cue to take the one before it out of use.
    pub(crate) fn activate(&mut self, core: &mut Core, new: u32) {
        let Some(child) = self.child(new).filter(|child| child.outbound_pending) else { return };
        if let Some(old) = child.replaces.filter(|old| *old < new) {
            self.activate(core, old);
        }
        let Some(child) = self.child_mut(new) else { return };
        child.outbound_pending = false;
        let (label, spi_in, spi_out) = (child.label(), child.spi_in, child.spi_out);
        let ts = format!("{} === {}", show(&child.local_ts), show(&child.remote_ts));
        core.order(Action::ActivateOutbound { id: new });
        log!(
            core,
            Ike,
            0,
            self,
            "outbound CHILD_SA {label} established with SPIs {spi_in:08x}_i {spi_out:08x}_o and TS {ts}"
        );
    }

    /// A child whose successor is in place: it only receives, and not for long.
    pub(crate) fn retire_child(&mut self, core: &mut Core, id: u32) {
        self.activate_successor(core, id);
        let keep_until = core.now + core.settings.delete_rekeyed_delay;
        if let Some(child) = self.child_mut(id) {
            child.state = ChildState::Deleted;
            child.rekey_at = None;
            child.expire_at = None;
            child.idle_at = None;
            child.remove_at = Some(keep_until);
        }
    }

    /// Queues the delete of a child, unless that is under way.
    pub(crate) fn delete_child(&mut self, core: &mut Core, id: u32) {
        let Some(child) = self.child_mut(id) else { return };
        if matches!(child.state, ChildState::Deleting | ChildState::Deleted) {
            return;
        }
        if child.state == ChildState::Installing {
            // The data plane has it, or will, and sends on it: it goes the way of all others, a little later.
            child.condemned = true;
            return;
        }
        child.state = ChildState::Deleting;
        child.rekey_at = None;
        child.expire_at = None;
        child.idle_at = None;
        self.queue.push_back(Task::DeleteChild { id });
        self.pump(core);
    }
}
