//! Who wants the files read again: SIGHUP, `adit reload`, or a dry run.

use std::sync::{Mutex, PoisonError};

use super::{Reading, ReloadPlan, read};
use crate::environment::Environment;
use crate::mailbox::Mailbox;

/// The files, and whose turn it is.
pub(crate) struct Files {
    environment: Environment,
    /// One reload at a time: what was read last is applied last.
    turn: Mutex<()>,
}

impl Files {
    /// The files of this environment.
    pub(crate) fn new(environment: Environment) -> Self {
        Self { environment, turn: Mutex::new(()) }
    }

    /// Reads them; on the caller's thread.
    pub(crate) fn read(&self) -> Reading {
        read(&self.environment)
    }

    /// Reads them and has the protocol thread apply them.
    ///
    /// # Errors
    /// Everything that is wrong with them; nothing was applied then.
    pub(crate) fn reload(&self, mailbox: &Mailbox) -> Result<ReloadPlan, Vec<String>> {
        // the lock guards an order, no value that a panic could have left half-made
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let reading = self.read();
        let gone = || Err(vec!["the daemon is shutting down".to_owned()]);
        mailbox.call(move |driver| driver.reload(reading)).unwrap_or_else(gone)
    }
}
