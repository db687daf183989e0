//! A new configuration under SAs that run.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Endpoint;
use crate::config::{ChildConfig, Config, Connection};
use crate::core::Core;
use crate::sa::{Child, IkeSa};
use crate::view::{ChildState, IkeState};

impl Core {
    /// Takes a configuration. An IKE_SA whose connection differs only in what an IKE_SA takes over has the new one from
    /// now on; it sees its new children, and its old ones at their next rekeying. Every other keeps what it was made
    /// with.
    pub(crate) fn reconfigure(&mut self, config: Arc<Config>) {
        let by_name: BTreeMap<&str, &Arc<Connection>> =
            config.connections.iter().map(|conn| (&*conn.name, conn)).collect();
        let changed: Vec<(u32, Arc<Connection>)> = self
            .sas
            .iter()
            .filter(|(_, sa)| sa.established_at.is_some())
            .filter_map(|(id, sa)| Some((*id, &sa.conn, by_name.get(&*sa.conn.name)?)))
            .filter(|(_, old, new)| !Arc::ptr_eq(old, new) && old.carries_on(new))
            .map(|(id, _, new)| (id, Arc::clone(new)))
            .collect();
        drop(by_name);
        self.config = config;
        for (id, conn) in changed {
            self.with(id, |sa, core| {
                let delay = conn.dpd_delay;
                sa.conn = conn;
                if delay != Duration::ZERO && sa.is_established() {
                    sa.dpd_at = Some(core.now + delay);
                }
            });
        }
        self.prune_retries();
    }
}

impl IkeSa {
    /// What a CHILD_SA that was made with `config` is rekeyed to.
    pub(crate) fn successor_config(&self, config: &Arc<ChildConfig>) -> Arc<ChildConfig> {
        let current = self.conn.child(&config.name).filter(|new| config.carries_on(new));
        Arc::clone(current.unwrap_or(config))
    }
}

/// What an IKE_SA runs with, which is not always what is configured now.
#[derive(Debug, Clone)]
pub struct RunningConfig {
    /// Unique id of the IKE_SA.
    pub id: u32,
    /// Its state.
    pub state: IkeState,
    /// The other end, once known.
    pub remote: Option<SocketAddr>,
    /// Whether we initiated it.
    pub initiator: bool,
    /// Its connection.
    pub connection: Arc<Connection>,
    /// Unique id and configuration of each CHILD_SA that is in use or about to be.
    pub children: Vec<(u32, Arc<ChildConfig>)>,
}

impl Endpoint {
    /// What the IKE_SAs of a connection run with that neither have a successor nor are being deleted.
    pub fn running_configs(&self, connection: &str) -> impl Iterator<Item = RunningConfig> {
        let ids = self.core.by_conn.get(connection).into_iter().flatten();
        ids.filter_map(|id| self.core.sas.get(id)).filter_map(|sa| running(sa))
    }
}

fn running(sa: &IkeSa) -> Option<RunningConfig> {
    let view = sa.view();
    if matches!(view.state, IkeState::Rekeyed | IkeState::Deleting) {
        return None;
    }
    let in_use = |child: &&Child| {
        matches!(child.state, ChildState::Installing | ChildState::Installed | ChildState::Rekeying)
    };
    Some(RunningConfig {
        id: view.id,
        state: view.state,
        remote: view.remote,
        initiator: view.initiator,
        connection: Arc::clone(&sa.conn),
        children: sa
            .children
            .iter()
            .filter(in_use)
            .map(|child| (child.id, Arc::clone(&child.config)))
            .collect(),
    })
}
