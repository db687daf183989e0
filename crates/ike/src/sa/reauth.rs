//! Reauthentication: a new IKE_SA with the same children takes the place of an old one. Make-before-break starts the new
//! one first, break-before-make after the old one is gone (`charon.make_before_break`). The original responder can only
//! ask for it (RFC 4478), unless it could have been the initiator itself.

use std::sync::Arc;
use std::time::Duration;

use adit_wire::{NotifyType, Payload};

use crate::config::{AuthMethod, HostSpec};
use crate::core::{Core, log};
use crate::sa::revive::End;
use crate::sa::{Active, Child, IkeSa, Message, Task, Wish};
use crate::view::ChildState;

/// A peer that asks for reauthentication all the time is obeyed so often at most.
const LEAST_LIFETIME: Duration = Duration::from_secs(10);

impl IkeSa {
    /// Whether this end could have initiated, too: the peer has an address, and needs neither EAP nor a lease of ours.
    pub(crate) fn may_initiate(&self) -> bool {
        let reachable = |spec: &HostSpec| matches!(spec, HostSpec::Addr(_) | HostSpec::Name(_));
        self.first_initiator
            || (self.conn.remote_addrs.iter().any(reachable)
                && self.conn.remote.method != AuthMethod::Eap
                && self.lease.is_none())
    }

    /// Lifetimes that begin with the authentication and that no rekeying puts off.
    pub(crate) fn set_auth_lifetimes(&mut self, core: &mut Core) {
        let conn = Arc::clone(&self.conn);
        if conn.reauth_time.is_zero() {
            return;
        }
        // RFC 4478 §2: the responder deletes what is not authenticated again in time.
        self.auth_until = Some(core.now + conn.reauth_time + conn.over_time);
        let wait = if self.first_initiator {
            conn.reauth_time.saturating_sub(core.random_duration(conn.rand_time))
        } else if self.may_initiate() {
            // The initiator has been told the lifetime; only if it does not mind it is it our turn.
            conn.reauth_time + conn.over_time / 2
        } else {
            return;
        };
        log!(core, Ike, 1, self, "scheduling reauthentication in {}s", wait.as_secs());
        self.reauth_at = Some(core.now + wait);
    }

    /// What the responder tells of the lifetime of the authentication (RFC 4478 §3).
    pub(crate) fn auth_lifetime(&self) -> Option<Payload> {
        let seconds = u32::try_from(self.conn.reauth_time.as_secs()).unwrap_or(u32::MAX);
        (seconds > 0).then(|| lifetime(seconds))
    }

    /// AUTH_LIFETIME of the peer: the original initiator obeys, at the latest with a tenth of the time left.
    pub(crate) fn on_auth_lifetime(&mut self, core: &mut Core, message: &Message) {
        let Some(data) = message.notify(NotifyType::AUTH_LIFETIME) else { return };
        // RFC 4478 §2: only the original responder may ask.
        let Ok(seconds) = <[u8; 4]>::try_from(data) else { return };
        if !self.first_initiator {
            return;
        }
        let lifetime = Duration::from_secs(u64::from(u32::from_be_bytes(seconds)));
        let tenth = lifetime / 10;
        let wait = lifetime.saturating_sub(tenth).saturating_sub(core.random_duration(tenth));
        let earliest = self.established_at.unwrap_or(core.now) + LEAST_LIFETIME;
        let at = (core.now + wait).max(earliest);
        let told = lifetime.as_secs();
        match self.reauth_at.filter(|planned| *planned <= at) {
            Some(planned) => {
                let left = (planned - core.now).as_secs();
                log!(
                    core,
                    Ike,
                    1,
                    self,
                    "received AUTH_LIFETIME of {told}s, reauthentication already scheduled in {left}s"
                );
            }
            None => {
                let left = (at - core.now).as_secs();
                log!(
                    core,
                    Ike,
                    1,
                    self,
                    "received AUTH_LIFETIME of {told}s, scheduling reauthentication in {left}s"
                );
                self.reauth_at = Some(at);
            }
        }
    }

    /// The operator wants it reauthenticated now.
    pub(crate) fn reauthenticate_on_command(&mut self, core: &mut Core) {
        if !self.is_established() {
            return;
        }
        if self.may_initiate() {
            self.reauthenticate(core);
        } else {
            log!(core, Ike, 1, self, "asking the initiator to reauthenticate");
            self.queue.push_back(Task::AuthLifetime);
        }
        self.pump(core);
    }

    /// Asks the original initiator to reauthenticate at once.
    pub(crate) fn send_auth_lifetime(&mut self, core: &mut Core) {
        self.request(core, adit_wire::ExchangeType::INFORMATIONAL, &[lifetime(0)], Active::Dpd);
    }

    /// Time to reauthenticate.
    pub(crate) fn reauthenticate(&mut self, core: &mut Core) {
        self.reauth_at = None;
        let same_name = core.by_conn.get(&self.conn.name).into_iter().flatten();
        if same_name.filter_map(|id| core.sas.get(id)).any(|sa| sa.reauth_of == Some(self.id)) {
            return;
        }
        let wishes: Vec<Wish> = self
            .children
            .iter()
            .filter(|child| child.is_up())
            .map(|child| Wish::new(Arc::clone(&child.config)))
            .collect();
        log!(core, Ike, 0, self, "reauthenticating IKE_SA {}", self.label());
        // One that is to stand without children is made anew without; the other way round it would take one to ask for.
        let alone = self.stands_alone && core.settings.make_before_break;
        if !core.settings.make_before_break || (wishes.is_empty() && !alone) {
            self.note_end_of_all(core, End::Reauthenticated);
            return self.delete_with(core, Some(crate::Reason::Reauthenticated));
        }
        // The configuration may have changed since.
        let current = core.config.connections.iter().find(|conn| conn.name == self.conn.name);
        let conn = current.map_or_else(|| Arc::clone(&self.conn), Arc::clone);
        let (id, vips) = (self.id, self.local_vips.clone());
        let sa = Self::initiate_as(core, conn, |sa| {
            sa.queue.extend(wishes.into_iter().map(Task::Child));
            sa.stands_alone = alone;
            sa.reauth_of = Some(id);
            // The same addresses again, if they can be had.
            sa.wanted_vips = vips;
        });
        let failed = sa.is_closed();
        core.adopt(sa);
        if failed {
            self.reauth_failed(core, false);
        }
    }

    /// Another child of a reauthenticated IKE_SA is up, or came to nothing: after the last one its predecessor goes.
    pub(crate) fn reauth_done(&mut self, core: &mut Core) {
        let Some(old) = self.reauth_of else { return };
        let waiting = self.queue.iter().any(|task| matches!(task, Task::Child(_)))
            || matches!(self.active, Active::Child(_))
            || self.children.iter().any(|child| child.state == ChildState::Installing);
        if waiting || !(self.stands_alone || self.children.iter().any(Child::is_up)) {
            return;
        }
        self.reauth_of = None;
        core.with(old, |sa, core| sa.delete_with(core, Some(crate::Reason::Reauthenticated)));
    }

    /// The IKE_SA that was to replace this one did not come to be: again later, as long as the lifetime allows.
    /// `elsewhere`: it was with another gateway, by a redirect; without need this one stays then.
    pub(crate) fn reauth_failed(&mut self, core: &mut Core, elsewhere: bool) {
        let needless = elsewhere && (self.reauth_at.is_some() || self.auth_until.is_none());
        if !self.is_established() || needless {
            return;
        }
        let pause = core.pause(self.reauth_failures, Duration::from_secs(10), Duration::from_secs(300));
        self.reauth_failures = self.reauth_failures.saturating_add(1);
        log!(core, Ike, 1, self, "reauthentication failed, trying again in {} seconds", pause.as_secs());
        self.reauth_at = Some(core.now + pause);
    }
}

fn lifetime(seconds: u32) -> Payload {
    Payload::notify(NotifyType::AUTH_LIFETIME, seconds.to_be_bytes().to_vec())
}
