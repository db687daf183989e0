//! The firewall as the protocol thread and control clients reach it: what they say is noted under a lock, and a thread of
//! its own has it written.

use std::net::IpAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use adit_conf::StrongswanConf;
use adit_conf::strongswan::FirewallMode;
use adit_conf::swanctl::Connection;
use adit_ipsec::{ChildSa, Selector};
use adit_linux::poll::Waker;

use super::ruleset::Count;
use super::style::Inside;
use super::table::Table;
use super::worker;
use crate::log::Logger;

/// How long a question or the end may take; nft's own limit is longer, and nobody waits for that.
const PATIENCE: Duration = Duration::from_secs(10);
/// Questions that may wait for an answer.
const QUESTIONS: usize = 16;

/// How things are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FirewallSnapshot {
    /// `table` or `dropin`.
    pub mode: &'static str,
    /// The table, or the file.
    pub place: String,
    /// Why it is not as it should be.
    pub problem: Option<String>,
    /// What else the operator should know: what is so, and what to do about it.
    pub remarks: Vec<(String, String)>,
    /// How often the table was put back.
    pub restored: u64,
    /// Packets that only pretended to come out of a tunnel, since the table was last made.
    pub spoofed: Option<Count>,
    /// What each child carried, likewise.
    pub children: Vec<ChildCount>,
}

/// What a child carried, in all of its CHILD_SAs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildCount {
    /// The connection.
    pub conn: Arc<str>,
    /// The child.
    pub child: Arc<str>,
    /// What came out of tunnels.
    pub came_in: Count,
    /// What went into them.
    pub went_out: Count,
}

/// What the file is made of. It is put in text by the thread.
pub(crate) struct Configured {
    pub(crate) settings: StrongswanConf,
    pub(crate) connections: Vec<Arc<Connection>>,
    pub(crate) pools: Vec<Selector>,
}

/// What both sides see.
pub(super) struct Shared {
    pub(super) mode: FirewallMode,
    pub(super) logger: Arc<Logger>,
    pub(super) waker: Waker,
    /// How packets of tunnels are told, for the search in others' chains.
    pub(super) insides: Vec<Inside>,
    pub(super) wanted: Mutex<Wanted>,
}

/// What is wanted of the thread.
#[derive(Default)]
pub(super) struct Wanted {
    /// With `table`.
    pub(super) table: Option<Table>,
    /// With `dropin`: what has changed of what the file is made of.
    pub(super) file: Option<Configured>,
    pub(super) questions: Vec<SyncSender<FirewallSnapshot>>,
    pub(super) end: bool,
}

impl Shared {
    pub(super) fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks how things are; any thread may.
#[derive(Clone)]
pub(crate) struct Asker(Arc<Shared>);

impl Asker {
    /// How things are; `None` when the thread is busy for too long, or gone.
    pub(crate) fn snapshot(&self) -> Option<FirewallSnapshot> {
        let (answer, receiver) = sync_channel(1);
        {
            let mut wanted = self.0.wanted();
            if wanted.questions.len() >= QUESTIONS {
                return None;
            }
            wanted.questions.push(answer);
        }
        self.0.waker.wake();
        receiver.recv_timeout(PATIENCE).ok()
    }
}

/// Keeps the table, or the file.
pub(crate) struct Firewall {
    shared: Arc<Shared>,
    ended: Receiver<()>,
}

impl Firewall {
    /// Starts the thread, which works in the network namespace of the caller.
    ///
    /// # Errors
    /// A sentence, when the process is out of something.
    pub(crate) fn start(
        mode: FirewallMode,
        table: Option<Table>,
        insides: Vec<Inside>,
        logger: Arc<Logger>,
    ) -> Result<Self, String> {
        let waker = Waker::new().map_err(|e| e.to_string())?;
        let wanted = Mutex::new(Wanted { table, ..Wanted::default() });
        let shared = Arc::new(Shared { mode, logger, waker, insides, wanted });
        let ended = worker::start(Arc::clone(&shared))?;
        Ok(Self { shared, ended })
    }

    /// For whoever wants to ask.
    pub(crate) fn asker(&self) -> Asker {
        Asker(Arc::clone(&self.shared))
    }

    /// A CHILD_SA is about to be there.
    pub(crate) fn child_up(&self, sa: &ChildSa) {
        self.change(|table| table.child_up(sa));
    }

    /// A CHILD_SA is gone.
    pub(crate) fn child_down(&self, id: u32) {
        self.change(|table| table.child_down(id));
    }

    /// What is leased, and what goes in the clear (the peer's selector and ours).
    pub(crate) fn configured(&self, pools: Vec<(IpAddr, IpAddr)>, passed: Vec<(Selector, Selector)>) {
        self.change(|table| {
            table.set_pools(pools);
            table.set_passed(passed);
        });
    }

    /// What the file is to be made of.
    pub(crate) fn file(&self, configured: impl FnOnce() -> Configured) {
        if self.shared.mode == FirewallMode::Dropin {
            self.shared.wanted().file = Some(configured());
            self.shared.waker.wake();
        }
    }

    fn change(&self, change: impl FnOnce(&mut Table)) {
        if let Some(table) = &mut self.shared.wanted().table {
            change(table);
        }
        self.shared.waker.wake();
    }

    /// Removes the table. Waits until that is done, but not for ever.
    pub(crate) fn stop(self) {
        self.shared.wanted().end = true;
        self.shared.waker.wake();
        // It ends without a word; what it could not do stands in the log.
        let _ = self.ended.recv_timeout(PATIENCE);
    }
}
