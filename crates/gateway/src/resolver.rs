//! Name resolution beside the protocol thread: a question, a bounded number of workers, an answer by mail.

use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use adit_ike::{ActionId, Completion};

use crate::mailbox::{Mail, Mailbox};

/// Lookups under way at once, as `charon.host_resolver.max_threads`.
const MAX_LOOKUPS: usize = 3;

/// Most addresses of one name that are looked at.
const MAX_ADDRESSES: usize = 16;

/// Asks the system's resolver.
pub(crate) struct Resolver {
    mailbox: Mailbox,
    running: Arc<AtomicUsize>,
}

impl Resolver {
    /// Answers go to `mailbox`.
    pub(crate) fn new(mailbox: Mailbox) -> Self {
        Self { mailbox, running: Arc::default() }
    }

    /// Looks `name` up; no address is an answer too.
    pub(crate) fn ask(&self, action: ActionId, name: String) {
        let mailbox = self.mailbox.clone();
        if self.running.fetch_add(1, Ordering::Relaxed) >= MAX_LOOKUPS {
            self.running.fetch_sub(1, Ordering::Relaxed);
            mailbox.offer(Mail::Complete(action, Completion::Resolved(Vec::new())));
            return;
        }
        let running = Arc::clone(&self.running);
        let failed = self.mailbox.clone();
        let spawned = std::thread::Builder::new().name("resolve".into()).spawn(move || {
            let addresses = lookup(&name);
            running.fetch_sub(1, Ordering::Relaxed);
            mailbox.send(Mail::Complete(action, Completion::Resolved(addresses)));
        });
        if spawned.is_err() {
            self.running.fetch_sub(1, Ordering::Relaxed);
            failed.offer(Mail::Complete(action, Completion::Resolved(Vec::new())));
        }
    }
}

fn lookup(name: &str) -> Vec<IpAddr> {
    let Ok(found) = (name, 0u16).to_socket_addrs() else { return Vec::new() };
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in found.map(|a| a.ip()) {
        if !addresses.contains(&address) && addresses.len() < MAX_ADDRESSES {
            addresses.push(address);
        }
    }
    addresses
}
