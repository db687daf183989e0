//! What the protocol thread tells the firewall.

use std::net::IpAddr;
use std::sync::Arc;

use adit_conf::StrongswanConf;
use adit_conf::strongswan::FirewallMode;
use adit_ike::Group;
use adit_ipsec::{Selector, Shunt};

use super::{Configured, Firewall, Style, Table, dropin};
use crate::driver::Driver;
use crate::log::Logger;

/// As configured, for the data plane of that name.
pub(crate) fn start(conf: &StrongswanConf, dataplane: &str, logger: &Arc<Logger>) -> Option<Firewall> {
    let mode = conf.adit.firewall;
    let table = match mode {
        FirewallMode::Off => return None,
        FirewallMode::Table => Style::new(conf, dataplane).map(|style| Some(Table::new(style))),
        FirewallMode::Dropin => Ok(None),
    };
    let insides = match &table {
        Ok(Some(table)) => vec![table.inside().clone()],
        _ => Style::configured(conf),
    };
    table
        .and_then(|table| Firewall::start(mode, table, insides, Arc::clone(logger)))
        .map_err(|error| logger.line(Group::Knl, 0, format!("firewall: there is none: {error}")))
        .ok()
}

impl Driver {
    /// Pools, policies or connections have changed.
    pub(crate) fn tell_firewall(&self) {
        let Some(firewall) = &self.firewall else { return };
        let passed = self.shunts.iter().filter(|it| it.kind == Shunt::Pass).flat_map(|it| {
            it.remote_ts.iter().flat_map(|remote| it.local_ts.iter().map(|local| (*remote, *local)))
        });
        firewall.configured(self.pools.ranges().collect(), passed.collect());
        firewall.file(|| Configured {
            settings: self.settings.clone(),
            connections: self.store.configured().map(Arc::clone).collect(),
            pools: self.pool_selectors(),
        });
    }

    /// The file for the operator's ruleset, for what is loaded now.
    pub(crate) fn dropin(&self) -> String {
        dropin::render(&self.settings, self.store.configured().map(|conn| &**conn), &self.pool_selectors())
    }

    fn pool_selectors(&self) -> Vec<Selector> {
        let selector = |(first, last): (IpAddr, IpAddr)| Selector::new(0, 0, u16::MAX, first, last);
        self.pools.ranges().filter_map(selector).collect()
    }
}
