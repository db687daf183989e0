//! IKE_SAs that are made without a CHILD_SA (RFC 6023).

use std::sync::Arc;

use adit_wire::{NotifyType, Payload};

use crate::config::Childless;
use crate::core::{Core, log};
use crate::event::Event;
use crate::reason::Reason;
use crate::sa::init_i::syntax;
use crate::sa::{Fatal, IkeSa, Message, Task};

/// What a responder says in IKE_SA_INIT if it takes IKE_AUTH without a child. RFC 6023 §4: the protocol is 1.
pub(crate) fn announcement(childless: Childless) -> Option<Payload> {
    (childless != Childless::Never).then(|| Payload::Notify {
        protocol: 1,
        spi: Vec::new(),
        kind: NotifyType::CHILDLESS_IKEV2_SUPPORTED,
        data: Vec::new(),
    })
}

impl IkeSa {
    /// Initiator: whether IKE_AUTH goes out without the child that is wanted, or without any to begin with.
    pub(crate) fn goes_childless(&self) -> Fatal<bool> {
        let wanted = self.queue.iter().any(|task| matches!(task, Task::Child(_)));
        let childless = match self.conn.childless {
            Childless::Force => true,
            Childless::Prefer => !wanted || self.peer_childless,
            Childless::Allow | Childless::Never => !wanted,
        };
        // RFC 6023 §3: not if the responder has not announced it. `never` is deaf to the announcement.
        if childless && !self.peer_childless {
            return Err(Reason::ChildlessUnsupported);
        }
        Ok(childless)
    }

    /// Responder: whether IKE_AUTH may come with, or without, a child. `announced` is what IKE_SA_INIT said.
    pub(crate) fn admits_child(&self, announced: bool, message: &Message) -> Fatal<()> {
        let is_child =
            |payload: &&Payload| matches!(payload, Payload::Sa(_) | Payload::TsI(_) | Payload::TsR(_));
        match message.0.iter().filter(is_child).count() {
            // RFC 6023 §3: whoever has announced it has to do it; whoever has not behaves as if it had never heard of it.
            0 if !announced => Err(Reason::ChildlessRefused),
            0 => Ok(()),
            1 | 2 => Err(syntax("IKE_AUTH request with a part of what makes a CHILD_SA")),
            _ if self.conn.childless == Childless::Force => Err(Reason::ChildRefused),
            _ => Ok(()),
        }
    }

    /// Initiator: the IKE_SA is up without a child; the children that are wanted follow by CREATE_CHILD_SA, unless the
    /// addresses that they would be for were not to be had.
    pub(crate) fn childless_is_up(&mut self, core: &mut Core, message: &Message) {
        let error = message.error().map(|(kind, _)| kind);
        if let Some(kind) = error {
            log!(core, Ike, 1, self, "received {} notify", crate::reason::notify_name(kind));
        }
        if self.conn.vips.is_empty() || !self.local_vips.is_empty() {
            // If none is wanted, this is all there is to be.
            return self.reauth_done(core);
        }
        for task in std::mem::take(&mut self.queue) {
            let wish = match task {
                Task::Child(wish) => wish,
                other => {
                    self.queue.push_back(other);
                    continue;
                }
            };
            core.event(Event::Failure {
                conn: Some(Arc::clone(&self.conn.name)),
                child: Some(Arc::clone(&wish.config.name)),
                peer: self.peer_addr(),
                reason: Reason::NoVirtualIp,
            });
            core.outcome(&wish.tags, Err(Reason::NoVirtualIp));
        }
        self.close_if_useless(core);
    }
}
