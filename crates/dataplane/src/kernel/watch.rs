//! The thread that hears what the kernel has to say: limits, questions of traps, peers that have moved, and what others do to
//! our entries.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use adit_ipsec::PacketInfo;
use adit_linux::poll::{Poller, Waker};
use adit_linux::xfrm::{Acquire, Event, Mapping, Monitor, SaState, Selector};

use super::larval::larval;
use super::repair::{Damage, Repairs};
use super::spd::{Key, Owner};
use super::state::State;
use crate::{DataplaneEvent, DataplaneEvents};

const WAKER: u64 = 0;
const MONITOR: u64 = 1;

/// Events that are taken in before what follows from them is done.
const BATCH: usize = 1024;

/// A peer that has moved is told again when nothing has come of it for so long.
const TELL_AGAIN: Duration = Duration::from_secs(1);

/// What control and the thread share.
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    /// The netlink port of control's and this thread's requests.
    pub(super) port: u32,
    pub(super) stop: AtomicBool,
    pub(super) waker: Waker,
    pub(super) events: DataplaneEvents,
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens until told to stop.
pub(super) fn watch(shared: &Arc<Shared>, mut monitor: Monitor, poller: &Poller) {
    let mut ready = Vec::new();
    let mut repairs = Repairs::default();
    while !shared.stop.load(Relaxed) {
        let due = [shared.state().larval_due(), repairs.due()].into_iter().flatten().min();
        let timeout = due.map(|at| at.saturating_duration_since(Instant::now()));
        if poller.wait(&mut ready, timeout).is_err() {
            // Nothing that can be waited for any more; control notices when it stops us.
            std::thread::sleep(Duration::from_millis(10));
            continue;
        }
        shared.waker.drain();
        let mut told = Vec::new();
        hear(shared, &mut monitor, repairs.damage(), &mut told);
        let now = Instant::now();
        if repairs.is_due(now) {
            repairs.carry_out(&mut shared.state(), now, &mut told);
        }
        if due.is_some_and(|at| at <= now) {
            shared.state().drop_larvals(now);
        }
        told.into_iter().for_each(|event| (shared.events)(event));
    }
}

/// Adds what is waited for.
pub(super) fn poller(shared: &Shared, monitor: &Monitor) -> std::io::Result<Poller> {
    let poller = Poller::new()?;
    poller.add(&shared.waker, WAKER)?;
    poller.add(monitor, MONITOR)?;
    Ok(poller)
}

fn hear(shared: &Shared, monitor: &mut Monitor, damage: &mut Damage, told: &mut Vec<DataplaneEvent>) {
    for _ in 0..BATCH {
        let event = match monitor.next_event() {
            Ok(Some(event)) => event,
            Ok(None) => return,
            Err(_) => {
                damage.everything();
                return;
            }
        };
        match event {
            Event::Acquire(acquire) => told.extend(shared.state().asked(&acquire)),
            Event::Expire { sa, hard } => told.extend(shared.state().expired(&sa, hard)),
            Event::Mapping(mapping) => told.extend(shared.state().remapped(&mapping)),
            // Our own doing. The kernel's own (0) is told by itself.
            Event::NewPolicy { by, .. }
            | Event::DeletedPolicy { by, .. }
            | Event::DeletedSa { by, .. }
            | Event::FlushedPolicies { by }
            | Event::FlushedSas { by, .. }
                if by == shared.port => {}
            Event::NewPolicy { by, policy } | Event::DeletedPolicy { by, policy } => {
                damage.policy(by, Key::of(&policy.policy));
            }
            Event::FlushedPolicies { by } => damage.all_policies(by),
            Event::DeletedSa { by, id } => {
                let child = shared.state().by_sa.get(&(id.dst, id.spi)).copied();
                child.into_iter().for_each(|child| damage.child(by, child));
            }
            Event::FlushedSas { by, .. } => damage.all_sas(by),
            Event::Missed => damage.everything(),
            Event::NewSa { .. } | Event::Migrated(_) => {}
        }
    }
    // More is there: the descriptor wakes us again.
}

impl State {
    /// A packet has met a policy of ours that has no SA.
    fn asked(&mut self, acquire: &Acquire) -> Option<DataplaneEvent> {
        let policy = &acquire.policy.policy;
        let owner = self.spd.owner(policy.index)?;
        let template = policy.templates.first()?;
        let question =
            larval(acquire.src, acquire.dst, template.mode, template.reqid, policy.mark, policy.if_id);
        self.remember_larval(Instant::now(), question);
        match owner {
            Owner::Trap(trap_id) => {
                let packet = acquire.selector.as_ref().map(packet)?;
                Some(DataplaneEvent::Acquire { trap_id, packet })
            }
            // Its SA is gone, or going this moment.
            Owner::Child(id) => {
                let child = self.children.get_mut(&id).filter(|child| !child.lost)?;
                let outbound = child.outbound;
                if self.xfrm.get_sa(outbound).is_ok() {
                    return None;
                }
                self.children.get_mut(&id)?.lost = true;
                Some(DataplaneEvent::Expired { id, hard: false })
            }
            Owner::Shunt(_) => None,
        }
    }

    fn expired(&mut self, sa: &SaState, hard: bool) -> Option<DataplaneEvent> {
        let id = *self.by_sa.get(&(sa.sa.dst, sa.sa.spi)).filter(|_| sa.sa.spi != 0)?;
        Some(DataplaneEvent::Expired { id, hard })
    }

    fn remapped(&mut self, mapping: &Mapping) -> Option<DataplaneEvent> {
        let id = *self.by_sa.get(&(mapping.id.dst, mapping.id.spi))?;
        let child = self.children.get_mut(&id)?;
        // The kernel says so with every packet until the SA is changed, and IKE may have its reasons not to.
        let told: Option<(SocketAddr, Instant)> = child.remapped;
        if child.remote == mapping.new
            || told.is_some_and(|(to, at)| to == mapping.new && at.elapsed() < TELL_AGAIN)
        {
            return None;
        }
        child.remapped = Some((mapping.new, Instant::now()));
        Some(DataplaneEvent::Remapped { id, remote: mapping.new })
    }
}

/// The packet that the kernel describes by a selector.
fn packet(selector: &Selector) -> PacketInfo {
    let (mut src_port, mut dst_port) = (selector.src_port.value, selector.dst_port.value);
    if matches!(selector.protocol, 1 | 58) {
        // RFC 4301 §4.4.1.1: type and code in one number.
        src_port = src_port << 8 | dst_port & 0xff;
        dst_port = src_port;
    }
    PacketInfo {
        src: selector.src.0,
        dst: selector.dst.0,
        protocol: selector.protocol,
        src_port,
        dst_port,
        total_len: 0,
    }
}
