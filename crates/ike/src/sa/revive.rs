//! What becomes of children that end without our asking: `dpd_action`, `close_action`, and what a hard lifetime means.

use std::sync::Arc;

use crate::config::ChildAction;
use crate::core::Core;
use crate::event::Event;
use crate::sa::{Child, IkeSa};
use crate::view::ChildState;

/// Why a child ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The peer does not answer any more.
    DeadPeer,
    /// The peer deleted it, or its IKE_SA.
    ByPeer,
    /// Its lifetime is over, or that of its IKE_SA.
    Expired,
    /// It is to come back on a new IKE_SA.
    Reauthenticated,
}

impl End {
    fn action(self, child: &Child) -> ChildAction {
        let (start, close) = (child.config.start_action, child.config.close_action);
        match self {
            Self::DeadPeer => child.config.dpd_action,
            Self::ByPeer => close,
            Self::Expired => {
                ChildAction { start: start.start || close.start, trap: start.trap || close.trap }
            }
            Self::Reauthenticated => ChildAction { start: true, trap: false },
        }
    }
}

impl IkeSa {
    /// Notes what is to be done when this child is gone. Nothing, unless it is in use.
    pub(crate) fn note_end(&mut self, core: &mut Core, id: u32, end: End) {
        let name = Arc::clone(&self.conn.name);
        let in_use = |child: &&mut Child| {
            child.told && !matches!(child.state, ChildState::Deleting | ChildState::Deleted)
        };
        let Some(child) = self.child_mut(id).filter(in_use) else { return };
        let action = end.action(child);
        if end == End::Reauthenticated {
            // That is no loss.
            core.retries.cancel(Some(&name), Some(&child.config.name));
        }
        child.revive |= action.start;
        if action.trap {
            core.event(Event::TrapWanted { conn: name, child: Arc::clone(&child.config.name) });
        }
    }

    /// The same for all of them.
    pub(crate) fn note_end_of_all(&mut self, core: &mut Core, end: End) {
        let ids: Vec<u32> = self.children.iter().map(|child| child.id).collect();
        for id in ids {
            self.note_end(core, id, end);
        }
    }

    /// The operator ends it: nothing comes back.
    pub(crate) fn forget_revivals(&mut self, core: &mut Core) {
        self.children.iter_mut().for_each(|child| child.revive = false);
        core.retries.cancel(Some(&self.conn.name), None);
    }
}
