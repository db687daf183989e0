//! Policies without an SA: children that never negotiate (`mode = pass` and `drop`).

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_ike::{Connection, Group, ShuntConfig};
use adit_ipsec::{Selector, ShuntPolicy};

use crate::driver::Driver;

/// The shunts that are installed, by id.
#[derive(Default)]
pub(crate) struct Shunts {
    installed: BTreeMap<u32, ShuntPolicy>,
    last: u32,
}

impl Shunts {
    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &ShuntPolicy> {
        self.installed.values()
    }
}

impl Driver {
    /// Installs a shunt; one that is installed already stays.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn install_shunt(&mut self, conn: &Connection, shunt: &ShuntConfig) -> Result<(), String> {
        let same = |p: &ShuntPolicy| *p.ike_name == *conn.name && *p.name == *shunt.name;
        if self.shunts.installed.values().any(same) {
            return Ok(());
        }
        // `dynamic` is no host here: strongSwan takes it for any.
        let resolve = |specs: &[adit_ipsec::SelectorSpec]| -> Vec<Selector> {
            let any = [Selector::any_v4(), Selector::any_v6()];
            specs
                .iter()
                .flat_map(|spec| match spec {
                    adit_ipsec::SelectorSpec::Fixed(selector) => vec![*selector],
                    adit_ipsec::SelectorSpec::Dynamic { protocol, start_port, end_port } => {
                        any.map(|s| s.with_ports(*protocol, *start_port, *end_port)).to_vec()
                    }
                })
                .collect()
        };
        self.shunts.last += 1;
        let policy = ShuntPolicy {
            id: self.shunts.last,
            name: Arc::clone(&shunt.name),
            ike_name: Arc::clone(&conn.name),
            kind: shunt.kind,
            local_ts: resolve(&shunt.local_ts),
            remote_ts: resolve(&shunt.remote_ts),
            options: Arc::clone(&shunt.options),
        };
        self.dataplane
            .add_shunt(policy.clone())
            .map_err(|e| format!("installing policy '{}' failed: {}", shunt.name, e.sentence))?;
        let kind = shunt.kind.name();
        self.logger.line(Group::Cfg, 1, format!("installed {kind} policy '{}'", shunt.name));
        self.shunts.installed.insert(policy.id, policy);
        self.tell_firewall();
        Ok(())
    }

    /// Removes the shunts that `which` names; how many there were.
    pub(crate) fn remove_shunts(&mut self, which: impl Fn(&ShuntPolicy) -> bool) -> usize {
        let ids: Vec<u32> = self.shunts.installed.values().filter(|p| which(p)).map(|p| p.id).collect();
        for id in &ids {
            self.dataplane.remove_shunt(*id);
            self.shunts.installed.remove(id);
        }
        if !ids.is_empty() {
            self.tell_firewall();
        }
        ids.len()
    }
}
