//! A reload: the files are read and resolved ([`wanted`]), compared with what runs ([`plan`]), and applied as a whole or
//! not at all.
//!
//! The comparison is a value. `adit check --against-running` prints it; SIGHUP and `adit reload` carry it out; what a
//! client loads over VICI goes the same way, one connection at a time.

mod connection;
mod files;
mod interfaces;
mod leaving;
mod plan;
mod served;
mod settings;
mod steps;
#[cfg(test)]
mod tests;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use adit_conf::{Diagnostic, Severity};
use adit_ike::{Command, Connection, Group, RunningConfig};

use crate::driver::Driver;
use crate::map;
use crate::settings as sinks;
use crate::store::Source;

pub(crate) use connection::Change;
use connection::ConnectionPlan;
pub(crate) use files::Files;
pub(crate) use plan::{CredentialPlan, ReloadPlan};
pub(crate) use wanted::{Reading, Wanted, pool_spec, read};

impl Driver {
    /// The first reading: what can be used is used, since nothing runs yet that could be harmed.
    pub(crate) fn load(&mut self, mut reading: Reading) {
        self.give_interfaces(&mut reading);
        self.leave_out_unserved(&mut reading);
        self.remark(&reading.remarks);
        let unresolved = reading.unresolved.iter().map(ToString::to_string);
        for problem in reading.errors.iter().cloned().chain(unresolved) {
            self.logger.line(Group::Cfg, 0, problem);
        }
        if !reading.errors.is_empty() {
            let text =
                "swanctl.conf has errors, so nothing of it was applied; `adit check` shows them in place";
            self.logger.line(Group::Cfg, 0, text);
            return;
        }
        self.unresolved = reading.unresolved.into_iter().map(|it| it.text).collect();
        let plan = self.plan(&reading.wanted);
        self.carry_out(plan, reading.wanted);
    }

    /// A later one: with a single error, nothing is touched.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub(crate) fn reload(&mut self, mut reading: Reading) -> Result<ReloadPlan, Vec<String>> {
        self.give_interfaces(&mut reading);
        self.leave_out_unserved(&mut reading);
        self.remark(&reading.remarks);
        let problems = self.problems(&reading);
        if !problems.is_empty() {
            for problem in &problems {
                self.logger.line(Group::Cfg, 0, problem.clone());
            }
            let text = "nothing was applied, what runs goes on; `adit check` shows what is wrong in place";
            self.logger.line(Group::Cfg, 0, text);
            return Err(problems);
        }
        self.unresolved = reading.unresolved.into_iter().map(|it| it.text).collect();
        let plan = self.plan(&reading.wanted);
        for key in &plan.settings.restart {
            let text = format!("{key} has changed, and takes effect when aditd is restarted");
            self.logger.line(Group::Cfg, 0, text);
        }
        self.carry_out(plan.clone(), reading.wanted);
        Ok(plan)
    }

    /// What stands against a reading. What could not be used when it was last read is known, and takes nothing away now;
    /// a file that is gone would take away everything.
    pub(crate) fn problems(&self, reading: &Reading) -> Vec<String> {
        let new = reading.unresolved.iter().filter(|it| !self.unresolved.contains(&it.text));
        let missing = reading.missing.iter().filter(|_| self.store.loaded_from_file().next().is_some());
        reading
            .errors
            .iter()
            .cloned()
            .chain(new.map(ToString::to_string))
            .chain(
                missing.map(|it| format!("{it}, and connections of it run; an empty file takes them away")),
            )
            .collect()
    }

    /// What giving the daemon `wanted` would do.
    pub(crate) fn plan(&self, wanted: &Wanted) -> ReloadPlan {
        let named: BTreeSet<&str> = wanted.connections.iter().map(|(_, conn)| &*conn.name).collect();
        let gone = self.store.loaded_from_file().filter(|conn| !named.contains(&*conn.name));
        let mut traps: BTreeMap<&str, BTreeSet<Arc<str>>> = BTreeMap::new();
        for trap in self.traps.iter() {
            traps.entry(&trap.ike_name).or_default().insert(Arc::clone(&trap.name));
        }
        let none = BTreeSet::new();
        let of = |old: Option<&Connection>, new: Option<&Connection>| {
            let name = new.or(old).map_or("", |conn| &*conn.name);
            self.connection_plan(old, new, traps.get(name).unwrap_or(&none))
        };
        let mut connections: Vec<ConnectionPlan> = gone.map(|conn| of(Some(conn), None)).collect();
        connections.extend(
            wanted
                .connections
                .iter()
                .map(|(_, new)| of(self.store.ike(&new.name).map(|old| &**old), Some(new))),
        );
        ReloadPlan {
            settings: settings::plan(&self.settings, &wanted.settings),
            credentials: self.store.credential_plan(wanted),
            pools: self.pools.plan(&wanted.pools),
            connections,
        }
    }

    fn connection_plan(
        &self,
        old: Option<&Connection>,
        new: Option<&Connection>,
        traps: &BTreeSet<Arc<str>>,
    ) -> ConnectionPlan {
        let name = new.or(old).map_or("", |conn| &*conn.name);
        let live: Vec<RunningConfig> = self.endpoint.running_configs(name).collect();
        connection::plan(old, new, &live, traps)
    }

    /// The children of a connection whose traps are installed.
    fn trapped(&self, name: &str) -> BTreeSet<Arc<str>> {
        self.traps.iter().filter(|t| *t.ike_name == *name).map(|t| Arc::clone(&t.name)).collect()
    }

    fn carry_out(&mut self, plan: ReloadPlan, wanted: Wanted) {
        self.apply_settings(&wanted.settings);
        self.pools.replace(wanted.pools);
        self.store.replace_credentials(wanted.credentials, wanted.authorities);
        for gone in plan.connections.iter().filter(|it| it.change == Change::Removed) {
            self.store.unload(&gone.name);
        }
        let names = wanted.connections.iter().map(|(conf, _)| conf.name.clone()).collect();
        for (conf, conn) in wanted.connections {
            self.store.put(conf, conn, Source::File);
        }
        self.store.order(names);
        self.apply();
        self.take_steps(&plan.connections);
    }

    /// strongswan.conf again: timers, limits, log levels.
    ///
    /// # Errors
    /// The first complaint; the settings stay as they were.
    pub(crate) fn reload_settings(&mut self) -> Result<(), String> {
        let (conf, diagnostics) = self.store.environment().settings();
        self.remark(&diagnostics);
        if let Some(error) = diagnostics.iter().find(|d| d.is_error()) {
            return Err(error.at());
        }
        for key in settings::plan(&self.settings, &conf).restart {
            let text = format!("{key} has changed, and takes effect when aditd is restarted");
            self.logger.line(Group::Cfg, 0, text);
        }
        self.apply_settings(&conf);
        self.tell_firewall();
        Ok(())
    }

    fn apply_settings(&mut self, wanted: &adit_conf::StrongswanConf) {
        let conf = settings::effective(&self.settings, wanted);
        // Also when nothing changed: whoever rotates log files says so this way.
        for problem in self.logger.configure(&sinks::sinks(&conf)) {
            self.logger.line(Group::Lib, 0, problem);
        }
        match sinks::core(&conf, &self.logger) {
            Ok(settings) => self.endpoint.set_settings(settings),
            Err(problem) => self.logger.line(Group::Cfg, 0, problem),
        }
        self.attributes.clone_from(&conf.attributes);
        self.store.replay_window = conf.replay_window;
        self.settings = conf;
    }

    /// Loads one connection for a client.
    ///
    /// # Errors
    /// A sentence; what was loaded before stays.
    pub(crate) fn load_connection(
        &mut self,
        connection: adit_conf::swanctl::Connection,
    ) -> Result<(), String> {
        let dir = &self.store.environment().swanctl_dir;
        let mut new = Arc::new(map::connection(&connection, dir, self.store.replay_window)?);
        self.give_interface(&mut new);
        self.is_served(&connection, &new)?;
        let old = self.store.ike(&new.name).map(Arc::clone);
        if old.as_ref() == Some(&new) {
            self.store.put(Arc::new(connection), new, Source::Vici);
            return Ok(());
        }
        let plan = self.connection_plan(old.as_deref(), Some(&new), &self.trapped(&new.name));
        self.store.put(Arc::new(connection), new, Source::Vici);
        self.apply();
        self.take_steps(&[plan]);
        Ok(())
    }

    /// Takes a connection out; `false` if there is none of that name.
    pub(crate) fn unload_connection(&mut self, name: &str) -> bool {
        let Some(old) = self.store.unload(name) else { return false };
        let plan = self.connection_plan(Some(&old), None, &self.trapped(name));
        self.apply();
        self.take_steps(&[plan]);
        true
    }

    /// Gives the core what is configured now.
    pub(crate) fn apply(&mut self) {
        let config = Arc::new(self.store.config());
        let store = &self.store;
        self.failures.keep_only(|name| store.ike(name).is_some());
        self.command(Command::SetConfig(config));
        self.tell_firewall();
    }

    /// Logs what there is to say that is no error.
    fn remark(&self, diagnostics: &[Diagnostic]) {
        for diagnostic in diagnostics {
            let level = match diagnostic.severity {
                Severity::Info => 2,
                Severity::Warning => 1,
                Severity::Error => continue,
            };
            self.logger.line(Group::Cfg, level, diagnostic.at());
        }
    }
}
