//! What is configured now, from the files and from VICI clients, in one place.
//!
//! A connection belongs to whoever loaded it last. One that is loaded again unchanged is left alone, whoever loads it:
//! `swanctl --load-all` after the daemon read the same file touches nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_conf::swanctl;
use adit_ike as ike;

use crate::control::AuthoritySpec;
use crate::creds::{self, CredentialSet};
use crate::environment::Environment;
use crate::map;

/// Who loaded something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The daemon, from swanctl.conf.
    File,
    /// A client.
    Vici,
}

struct Loaded {
    source: Source,
    conf: Arc<swanctl::Connection>,
    ike: Arc<ike::Connection>,
}

/// What became of a connection that was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is as it was.
    Unchanged,
    /// There was none of that name.
    Added,
    /// It replaces one of that name.
    Replaced,
}

/// Connections, credentials and authorities.
pub(crate) struct Store {
    environment: Environment,
    replay_window: u32,
    /// In the order in which they were first loaded: it decides between equally good matches.
    order: Vec<String>,
    connections: BTreeMap<String, Loaded>,
    /// Loaded from the files.
    pub files: CredentialSet,
    /// Loaded by clients.
    pub clients: CredentialSet,
    /// Authorities that clients loaded.
    pub authorities: BTreeMap<String, AuthoritySpec>,
}

impl Store {
    /// An empty store.
    pub(crate) fn new(environment: Environment, replay_window: u32) -> Self {
        Self {
            environment,
            replay_window,
            order: Vec::new(),
            connections: BTreeMap::new(),
            files: CredentialSet::default(),
            clients: CredentialSet::default(),
            authorities: BTreeMap::new(),
        }
    }

    /// Loads a connection.
    ///
    /// # Errors
    /// A sentence when it names a certificate that cannot be read; the one there was stays.
    pub(crate) fn load(&mut self, conf: swanctl::Connection, source: Source) -> Result<Change, String> {
        let ike = map::connection(&conf, &self.environment.swanctl_dir, self.replay_window)?;
        let name = conf.name.clone();
        let change = match self.connections.get(&name) {
            Some(old) if *old.ike == ike => Change::Unchanged,
            Some(_) => Change::Replaced,
            None => Change::Added,
        };
        let conf = Arc::new(conf);
        match self.connections.get_mut(&name) {
            Some(old) if change == Change::Unchanged => (old.source, old.conf) = (source, conf),
            _ => {
                let loaded = Loaded { source, conf, ike: Arc::new(ike) };
                if self.connections.insert(name.clone(), loaded).is_none() {
                    self.order.push(name);
                }
            }
        }
        Ok(change)
    }

    /// Takes a connection out.
    pub(crate) fn unload(&mut self, name: &str) -> Option<Arc<ike::Connection>> {
        self.order.retain(|n| n != name);
        self.connections.remove(name).map(|loaded| loaded.ike)
    }

    /// Names of connections that came from the file.
    pub(crate) fn loaded_from_file(&self) -> Vec<String> {
        self.connections
            .iter()
            .filter(|(_, c)| c.source == Source::File)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// A connection as the protocol knows it.
    pub(crate) fn ike(&self, name: &str) -> Option<&Arc<ike::Connection>> {
        self.connections.get(name).map(|c| &c.ike)
    }

    /// All connections as configured, in the order in which they were loaded.
    pub(crate) fn configured(&self) -> impl Iterator<Item = &Arc<swanctl::Connection>> {
        self.order.iter().filter_map(|name| self.connections.get(name)).map(|c| &c.conf)
    }

    /// Everything, as the protocol wants it.
    pub(crate) fn config(&self) -> ike::Config {
        let connections: Vec<Arc<ike::Connection>> = self
            .order
            .iter()
            .filter_map(|name| self.connections.get(name))
            .map(|c| Arc::clone(&c.ike))
            .collect();
        let pinned = connections.iter().flat_map(|c| c.local.certs.iter().chain(&c.remote.certs));
        let mut credentials = creds::merge([&self.files, &self.clients], pinned);
        credentials.authorities.extend(self.authorities.values().map(|a| a.cacert.clone()));
        ike::Config { credentials: Arc::new(credentials), connections }
    }

    /// The folder that names of certificates refer to.
    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }
}
