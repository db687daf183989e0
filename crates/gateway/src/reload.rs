//! Reading the configuration, at start and on SIGHUP, and what that starts and stops.
//!
//! A file with an error changes nothing: what runs goes on, and the log says what is wrong where.

use std::sync::Arc;

use adit_conf::swanctl::{Pool, SwanctlConf};
use adit_conf::{Diagnostic, Severity};
use adit_ike::{ChildConfig, Command, Connection, Group};

use crate::creds::CredentialSet;
use crate::driver::Driver;
use crate::pools::PoolSpec;
use crate::settings;
use crate::store::{Change, Source};
use crate::{map, traps::Traps};

impl Driver {
    /// SIGHUP: both files again.
    pub(crate) fn reload(&mut self) {
        self.logger.line(Group::Dmn, 0, "SIGHUP received, reloading configuration");
        if let Err(error) = self.reload_settings() {
            self.logger.line(Group::Cfg, 0, error);
        }
        self.load_files();
    }

    /// strongswan.conf again: timers, limits, log levels.
    ///
    /// # Errors
    /// The first complaint; the settings stay as they were.
    pub(crate) fn reload_settings(&mut self) -> Result<(), String> {
        let (conf, diagnostics) = self.store.environment().settings();
        if let Some(error) = self.report(&diagnostics) {
            return Err(error);
        }
        for problem in self.logger.configure(&settings::sinks(&conf)) {
            self.logger.line(Group::Lib, 0, problem);
        }
        let log_levels = settings::core_levels(&self.logger);
        self.endpoint.set_settings(adit_ike::Settings { log_levels, ..map::settings(&conf) });
        self.attributes = conf.attributes;
        Ok(())
    }

    /// swanctl.conf and the credentials beside it.
    pub(crate) fn load_files(&mut self) {
        let (conf, diagnostics) = self.store.environment().connections();
        if self.report(&diagnostics).is_some() {
            self.logger.line(
                Group::Cfg,
                0,
                "swanctl.conf has errors, so nothing of it was applied; `adit check` shows them in place",
            );
            return;
        }
        let dir = self.store.environment().swanctl_dir.clone();
        let (files, problems) = CredentialSet::from_files(&dir, &conf.secrets);
        for problem in problems {
            self.logger.line(Group::Cfg, 0, problem);
        }
        self.store.files = files;
        self.load_pools(&conf);
        self.load_authorities(&conf);
        self.load_connections(conf);
    }

    fn load_pools(&mut self, conf: &SwanctlConf) {
        let specs = conf.pools.iter().filter_map(pool_spec).collect();
        self.pools.replace(specs);
    }

    fn load_authorities(&mut self, conf: &SwanctlConf) {
        let dir = self.store.environment().swanctl_dir.clone();
        for authority in &conf.authorities {
            match crate::creds::referenced(&dir, "x509ca", &authority.cacert) {
                Ok(certs) => certs.into_iter().for_each(|c| self.store.files.add_certificate(c, true)),
                Err(problem) => self.logger.line(Group::Cfg, 0, problem),
            }
        }
    }

    fn load_connections(&mut self, conf: SwanctlConf) {
        let named: Vec<&str> = conf.connections.iter().map(|c| c.name.as_str()).collect();
        let gone: Vec<String> = self
            .store
            .loaded_from_file()
            .into_iter()
            .filter(|name| !named.contains(&name.as_str()))
            .collect();
        for name in gone {
            self.unload_connection(&name);
        }
        let mut started = Vec::new();
        for connection in conf.connections {
            let name = connection.name.clone();
            match self.store_connection(connection, Source::File) {
                Ok(Change::Unchanged) => {}
                Ok(_) => started.push(name),
                Err(problem) => self.logger.line(Group::Cfg, 0, problem),
            }
        }
        self.apply();
        for name in started {
            self.run_start_actions(&name);
        }
    }

    /// Loads one connection for a client.
    ///
    /// # Errors
    /// A sentence; what was loaded before stays.
    pub(crate) fn load_connection(
        &mut self,
        connection: adit_conf::swanctl::Connection,
    ) -> Result<(), String> {
        let name = connection.name.clone();
        let change = self.store_connection(connection, Source::Vici)?;
        self.apply();
        if change != Change::Unchanged {
            self.run_start_actions(&name);
        }
        Ok(())
    }

    fn store_connection(
        &mut self,
        connection: adit_conf::swanctl::Connection,
        source: Source,
    ) -> Result<Change, String> {
        let name = connection.name.clone();
        let old = self.store.ike(&name).map(Arc::clone);
        let change = self.store.load(connection, source)?;
        match (change, old) {
            (Change::Added, _) => self.logger.line(Group::Cfg, 1, format!("added vici connection: {name}")),
            (Change::Replaced, Some(old)) => {
                let new = self.store.ike(&name).map(Arc::clone);
                let children_only = new.is_some_and(|new| {
                    Connection { children: Vec::new(), ..(*new).clone() }
                        == Connection { children: Vec::new(), ..(*old).clone() }
                });
                let verb = if children_only { "updated" } else { "replaced" };
                self.logger.line(Group::Cfg, 1, format!("{verb} vici connection: {name}"));
                self.undo_start_actions(&old);
            }
            _ => {}
        }
        Ok(change)
    }

    /// Takes a connection out; `false` if there is none of that name.
    pub(crate) fn unload_connection(&mut self, name: &str) -> bool {
        let Some(old) = self.store.unload(name) else { return false };
        self.undo_start_actions(&old);
        self.apply();
        true
    }

    /// Gives the core what is configured now.
    pub(crate) fn apply(&mut self) {
        let config = Arc::new(self.store.config());
        let store = &self.store;
        self.failures.keep_only(|name| store.ike(name).is_some());
        self.command(Command::SetConfig(config));
    }

    fn run_start_actions(&mut self, name: &str) {
        let Some(conn) = self.store.ike(name).map(Arc::clone) else { return };
        for child in &conn.children {
            if child.start_action.trap
                && let Err(problem) = self.install_trap(&conn, child)
            {
                self.logger.line(Group::Cfg, 0, problem);
            }
            if child.start_action.start {
                self.start(&conn, child);
            }
        }
    }

    fn start(&mut self, conn: &Connection, child: &ChildConfig) {
        self.logger.line(Group::Cfg, 1, format!("vici initiating '{}'", child.name));
        self.command(Command::Initiate {
            conn: Some(Arc::clone(&conn.name)),
            child: Some(Arc::clone(&child.name)),
            tag: 0,
            trigger: None,
        });
    }

    /// Removes the traps of a connection and closes the children it had started by itself.
    fn undo_start_actions(&mut self, old: &Connection) {
        self.remove_traps(|trap| *trap.ike_name == *old.name);
        let started = |name: &str| old.child(name).is_some_and(|c| c.start_action.start);
        let close: Vec<u32> = self
            .endpoint
            .ike_sas()
            .filter(|sa| *sa.name == *old.name)
            .flat_map(|sa| sa.children.into_iter())
            .filter(|child| started(&child.name))
            .map(|child| child.id)
            .collect();
        for id in close {
            self.command(Command::TerminateChild { id, tag: 0 });
        }
    }

    /// Logs what is wrong; the first error, if there is one.
    fn report(&self, diagnostics: &[Diagnostic]) -> Option<String> {
        for diagnostic in diagnostics {
            let level = match diagnostic.severity {
                Severity::Info => 2,
                Severity::Warning => 1,
                Severity::Error => 0,
            };
            self.logger.line(Group::Cfg, level, diagnostic.at());
        }
        diagnostics.iter().find(|d| d.is_error()).map(Diagnostic::at)
    }

    /// The traps that are installed.
    pub(crate) fn traps(&self) -> &Traps {
        &self.traps
    }
}

/// A pool with addresses; one with attributes only has no leases to keep.
pub(crate) fn pool_spec(pool: &Pool) -> Option<PoolSpec> {
    let range = pool.addrs?;
    Some(PoolSpec {
        name: pool.name.clone(),
        first: range.first,
        last: range.last,
        base: range.base,
        attributes: pool.attributes.clone(),
    })
}
