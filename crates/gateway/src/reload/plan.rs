//! The plan of a reload, and how it is told.

use super::connection::{Change, ConnectionPlan, Fate, SaFate, Step};
use super::settings::SettingsPlan;
use crate::control::{PlanGroup, PlanRow};
use crate::pools::PoolPlan;

/// What a credential or an authority is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CredentialPlan {
    /// `secret`, `key`, `certificate`, `authority`.
    pub kind: &'static str,
    /// Its name, key id or subject.
    pub name: String,
    /// What differs.
    pub change: Change,
}

/// Everything that a reload would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ReloadPlan {
    /// strongswan.conf.
    pub settings: SettingsPlan,
    /// Credentials and authorities.
    pub credentials: Vec<CredentialPlan>,
    /// Pools.
    pub pools: Vec<PoolPlan>,
    /// Connections, those that go first.
    pub connections: Vec<ConnectionPlan>,
}

impl ReloadPlan {
    /// One row per thing that it speaks of.
    pub(crate) fn rows(&self) -> Vec<PlanRow> {
        let mut rows = Vec::new();
        let mut row = |group, kind: &'static str, name: &str, id, text: String| {
            rows.push(PlanRow { group, kind, name: name.to_owned(), id, text });
        };
        for key in &self.settings.now {
            row(PlanGroup::Changed, "setting", key, None, "takes effect at once".into());
        }
        for key in &self.settings.restart {
            row(PlanGroup::Alone, "setting", key, None, "has changed; needs a restart of aditd".into());
        }
        for it in &self.credentials {
            row(group(&it.change), it.kind, &it.name, None, told(&it.change));
        }
        for it in &self.pools {
            row(group(&it.change), "pool", &it.name, None, pool(it));
        }
        for it in &self.connections {
            row(group(&it.change), "connection", &it.name, None, told(&it.change));
            for (child, change) in it.children.iter().filter(|(_, change)| it.tells_of(change)) {
                let name = format!("{}/{child}", it.name);
                row(group(change), "child", &name, None, told(change));
            }
            for sa in &it.sas {
                let (kind, name, id) = match &sa.child {
                    Some((child, id)) => ("CHILD_SA", format!("{}/{child}", it.name), *id),
                    None => ("IKE_SA", it.name.to_string(), sa.ike),
                };
                let (group, text) = fate(sa);
                row(group, kind, &name, Some(id), text);
            }
            for step in &it.steps {
                let (group, kind, child, text) = match step {
                    Step::RemoveTrap(child) => (PlanGroup::Cut, "trap", child, "removed"),
                    Step::InstallTrap(child) => (PlanGroup::Changed, "trap", child, "installed"),
                    Step::ReplaceTrap(child) => (PlanGroup::Changed, "trap", child, "replaced"),
                    Step::RemoveShunt(child) => (PlanGroup::Changed, "policy", child, "removed"),
                    Step::InstallShunt(child) => (PlanGroup::Changed, "policy", child, "installed"),
                    Step::Start(child) => (PlanGroup::Changed, "child", child, "initiated"),
                    Step::CloseIke(_) | Step::CloseChild(_) => continue,
                };
                row(group, kind, &format!("{}/{child}", it.name), None, text.into());
            }
        }
        rows
    }
}

impl ConnectionPlan {
    /// Children of a connection that comes or goes as a whole need no row of their own.
    fn tells_of(&self, change: &Change) -> bool {
        *change != Change::Unchanged && !matches!(self.change, Change::Added | Change::Removed)
    }
}

fn group(change: &Change) -> PlanGroup {
    if *change == Change::Unchanged { PlanGroup::Alone } else { PlanGroup::Changed }
}

fn told(change: &Change) -> String {
    match change {
        Change::Added => "added".into(),
        Change::Removed => "removed".into(),
        Change::Unchanged => "unchanged".into(),
        Change::Changed(keys) if keys.is_empty() => "changed".into(),
        Change::Changed(keys) => format!("changed: {}", keys.join(", ")),
    }
}

fn pool(it: &PoolPlan) -> String {
    let mut text = told(&it.change);
    if it.change != Change::Unchanged && it.kept > 0 {
        text.push_str(&format!("; {} in use stay leased", it.kept));
    }
    if it.strays > 0 {
        text.push_str(&format!(
            "; {} in use outside of it stay with their peers until their IKE_SAs end",
            it.strays
        ));
    }
    text
}

fn fate(sa: &SaFate) -> (PlanGroup, String) {
    let with = sa.remote.map_or_else(String::new, |remote| format!(" (peer {remote})"));
    match &sa.fate {
        Fate::LeftAlone => (PlanGroup::Alone, format!("left alone{with}")),
        Fate::KeptUntilEnd(reason) => {
            (PlanGroup::Alone, format!("kept as it is until it ends: {reason}{with}"))
        }
        Fate::TakesOver(keys) => {
            let keys = keys.join(", ");
            (PlanGroup::Changed, format!("goes on, and takes over at its next rekeying: {keys}{with}"))
        }
        Fate::Cut { again: true, reason } => {
            (PlanGroup::Cut, format!("closed and initiated anew: {reason}{with}"))
        }
        Fate::Cut { again: false, reason } => (PlanGroup::Cut, format!("closed: {reason}{with}")),
    }
}
