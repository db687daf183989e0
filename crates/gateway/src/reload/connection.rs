//! What a changed connection does to what runs: a pure function of both configurations and the SAs.
//!
//! strongSwan closes whatever it had started and starts it anew. Here only what cannot go on is closed: an SA takes over
//! what [`adit_ike::Takes`] allows, and is left alone where nothing of it changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use adit_ike::{ChildConfig, Connection, Difference, IkeState, RunningConfig, ShuntConfig, Takes};

/// What happens to an item of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is new.
    Added,
    /// It is there no more.
    Removed,
    /// These keys of it differ; none are named where a key would tell a secret.
    Changed(Vec<&'static str>),
    /// It is as it was.
    Unchanged,
}

/// What happens to an SA or a trap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing.
    LeftAlone,
    /// It goes on, and has these keys from its next rekeying or authentication.
    TakesOver(Vec<&'static str>),
    /// It keeps what it was made with until it ends.
    KeptUntilEnd(String),
    /// It is closed; `again` = and initiated anew.
    Cut {
        /// Initiated anew.
        again: bool,
        /// Why.
        reason: String,
    },
}

/// An SA and its fate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SaFate {
    /// Unique id of the IKE_SA.
    pub ike: u32,
    /// Name and unique id of the CHILD_SA; `None` for the IKE_SA itself.
    pub child: Option<(Arc<str>, u32)>,
    /// The other end.
    pub remote: Option<std::net::SocketAddr>,
    /// What happens.
    pub fate: Fate,
}

/// What is done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Closes an IKE_SA.
    CloseIke(u32),
    /// Closes a CHILD_SA.
    CloseChild(u32),
    /// Removes the trap of a child.
    RemoveTrap(Arc<str>),
    /// Installs the trap of a child.
    InstallTrap(Arc<str>),
    /// Replaces the trap of a child.
    ReplaceTrap(Arc<str>),
    /// Removes a pass or drop policy.
    RemoveShunt(Arc<str>),
    /// Installs a pass or drop policy.
    InstallShunt(Arc<str>),
    /// Initiates a child.
    Start(Arc<str>),
}

/// Everything that a connection's change means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectionPlan {
    /// The connection.
    pub name: Arc<str>,
    /// What differs, without the children.
    pub change: Change,
    /// The children, the removed ones last, and the policies that never negotiate.
    pub children: Vec<(Arc<str>, Change)>,
    /// Its SAs.
    pub sas: Vec<SaFate>,
    /// What is to be done.
    pub steps: Vec<Step>,
}

impl ConnectionPlan {
    /// Neither the connection nor a child of it differs.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.change == Change::Unchanged && self.children.iter().all(|(_, c)| *c == Change::Unchanged)
    }
}

/// Plans the way from `old` to `new` (at least one of them is there). `live` are the IKE_SAs of that name, `traps` the
/// names of its children whose traps are installed.
pub(crate) fn plan(
    old: Option<&Connection>,
    new: Option<&Connection>,
    live: &[RunningConfig],
    traps: &BTreeSet<Arc<str>>,
) -> ConnectionPlan {
    let name = new.or(old).map_or_else(|| Arc::from(""), |conn| Arc::clone(&conn.name));
    let mut it = ConnectionPlan {
        name,
        change: change(old, new, Connection::differences),
        children: children(old, new),
        sas: Vec::new(),
        steps: Vec::new(),
    };
    let unchanged = it.is_unchanged();
    let mut up = BTreeSet::new();
    for sa in live {
        if unchanged {
            it.sas.extend(left_alone(sa));
        } else {
            it.ike_sa(sa, new, &mut up);
        }
    }
    if !unchanged {
        it.traps(old, new, traps);
        it.shunts(old, new);
        it.starts(new, &up);
    }
    it
}

impl ConnectionPlan {
    fn ike_sa(&mut self, sa: &RunningConfig, new: Option<&Connection>, up: &mut BTreeSet<Arc<str>>) {
        let keys = new.map(|new| sa.connection.differences(new));
        let another = keys.as_deref().is_none_or(needs_new);
        let reason = keys.as_deref().map_or_else(|| "the connection is removed".to_owned(), named);
        let fates: Vec<SaFate> = sa
            .children
            .iter()
            .map(|(id, config)| {
                let fate = if another {
                    ended(config, new.and_then(|new| new.child(&config.name)), reason.clone())
                } else {
                    child_fate(config, new.and_then(|new| new.child(&config.name)))
                };
                SaFate { ike: sa.id, child: Some((Arc::clone(&config.name), *id)), remote: sa.remote, fate }
            })
            .collect();
        let cut = |fate: &SaFate| matches!(fate.fate, Fate::Cut { .. });
        let all_cut = fates.iter().all(cut);
        let starts = |conn: &Connection| conn.children.iter().any(|child| child.start_action.start);
        // One that is on its way up, or without a child, is ours to give up if we had begun it by ourselves.
        let own_attempt =
            sa.initiator && sa.state != IkeState::Established && starts(&sa.connection) && another;
        let nothing_left = !new.is_some_and(starts);
        let close = all_cut && if fates.is_empty() { own_attempt } else { another || nothing_left };
        let fate = match keys {
            _ if close => Fate::Cut {
                again: !nothing_left,
                reason: if another { reason } else { "no child is left in it".into() },
            },
            Some(keys) if keys.is_empty() => Fate::LeftAlone,
            Some(keys) if !another => Fate::TakesOver(keys.iter().map(|it| it.key).collect()),
            _ => Fate::KeptUntilEnd(reason),
        };
        self.sas.push(SaFate { ike: sa.id, child: None, remote: sa.remote, fate });
        if close {
            self.steps.push(Step::CloseIke(sa.id));
        }
        for fate in fates {
            match &fate.child {
                Some((_, id)) if cut(&fate) && !close => self.steps.push(Step::CloseChild(*id)),
                // what an older configuration keeps is none that the new one counts on
                Some((name, _)) if !cut(&fate) && !another => {
                    up.insert(Arc::clone(name));
                }
                _ => {}
            }
            self.sas.push(fate);
        }
    }

    fn traps(&mut self, old: Option<&Connection>, new: Option<&Connection>, installed: &BTreeSet<Arc<str>>) {
        let moved = match (old, new) {
            (Some(old), Some(new)) => {
                (&old.local_addrs, &old.remote_addrs, &old.vips)
                    != (&new.local_addrs, &new.remote_addrs, &new.vips)
            }
            _ => false,
        };
        for name in installed {
            let had = old.and_then(|conn| conn.child(name));
            match new.and_then(|conn| conn.child(name)) {
                None => self.steps.push(Step::RemoveTrap(Arc::clone(name))),
                Some(child) if had.is_some_and(|h| h.start_action.trap) && !child.start_action.trap => {
                    self.steps.push(Step::RemoveTrap(Arc::clone(name)));
                }
                Some(child) if moved || had.is_some_and(|had| !had.carries_on(child)) => {
                    self.steps.push(Step::ReplaceTrap(Arc::clone(name)));
                }
                Some(_) => {}
            }
        }
        for child in new.into_iter().flat_map(|conn| &conn.children) {
            if child.start_action.trap && !installed.contains(&child.name) && self.touches(&child.name) {
                self.steps.push(Step::InstallTrap(Arc::clone(&child.name)));
            }
        }
    }

    /// What is changed is removed first: no traffic passes that neither would have let pass.
    fn shunts(&mut self, old: Option<&Connection>, new: Option<&Connection>) {
        let differs = |one: &ShuntConfig, other: Option<&Connection>| shunt(other, &one.name) != Some(one);
        for had in old.into_iter().flat_map(|conn| &conn.shunts).filter(|had| differs(had, new)) {
            self.steps.push(Step::RemoveShunt(Arc::clone(&had.name)));
        }
        let new = new.into_iter().flat_map(|conn| &conn.shunts);
        for it in new.filter(|it| it.installed && differs(it, old)) {
            self.steps.push(Step::InstallShunt(Arc::clone(&it.name)));
        }
    }

    fn starts(&mut self, new: Option<&Connection>, up: &BTreeSet<Arc<str>>) {
        for child in new.into_iter().flat_map(|conn| &conn.children) {
            if child.start_action.start && !up.contains(&child.name) && self.touches(&child.name) {
                self.steps.push(Step::Start(Arc::clone(&child.name)));
            }
        }
    }

    /// Whether a child has something of the change: it differs itself, or the connection does.
    fn touches(&self, name: &str) -> bool {
        self.change != Change::Unchanged
            || self.children.iter().any(|(child, change)| **child == *name && *change != Change::Unchanged)
    }
}

fn children(old: Option<&Connection>, new: Option<&Connection>) -> Vec<(Arc<str>, Change)> {
    let there = |conn: Option<&Connection>, name: &str| conn.and_then(|conn| conn.child(name)).cloned();
    let now = new.into_iter().flat_map(|conn| &conn.children).map(|child| {
        let before = there(old, &child.name);
        (Arc::clone(&child.name), change(before.as_deref(), Some(&**child), ChildConfig::differences))
    });
    let gone = old.into_iter().flat_map(|conn| &conn.children);
    let gone = gone.filter(|child| there(new, &child.name).is_none());
    now.chain(gone.map(|child| (Arc::clone(&child.name), Change::Removed))).chain(shunts(old, new)).collect()
}

fn shunt<'a>(conn: Option<&'a Connection>, name: &str) -> Option<&'a ShuntConfig> {
    conn?.shunts.iter().find(|shunt| *shunt.name == *name).map(|shunt| &**shunt)
}

fn shunts(old: Option<&Connection>, new: Option<&Connection>) -> Vec<(Arc<str>, Change)> {
    let all = |conn: Option<&Connection>| conn.map(|conn| conn.shunts.clone()).unwrap_or_default();
    let now = all(new).into_iter().map(|it| {
        let change = match shunt(old, &it.name) {
            None => Change::Added,
            Some(had) if *had == *it => Change::Unchanged,
            Some(_) => Change::Changed(Vec::new()),
        };
        (Arc::clone(&it.name), change)
    });
    let gone = all(old).into_iter().filter(|it| shunt(new, &it.name).is_none());
    now.chain(gone.map(|it| (Arc::clone(&it.name), Change::Removed))).collect()
}

fn change<T>(old: Option<&T>, new: Option<&T>, differences: fn(&T, &T) -> Vec<Difference>) -> Change {
    match (old, new) {
        (None, _) => Change::Added,
        (_, None) => Change::Removed,
        (Some(old), Some(new)) => match differences(old, new) {
            none if none.is_empty() => Change::Unchanged,
            some => Change::Changed(some.iter().map(|it| it.key).collect()),
        },
    }
}

fn child_fate(made_with: &ChildConfig, now: Option<&Arc<ChildConfig>>) -> Fate {
    let Some(new) = now else { return ended(made_with, None, "the child is removed".into()) };
    match made_with.differences(new) {
        none if none.is_empty() => Fate::LeftAlone,
        some if needs_new(&some) => ended(made_with, now, named(&some)),
        some => Fate::TakesOver(some.iter().map(|it| it.key).collect()),
    }
}

/// One that cannot go on: what we had started by ourselves is closed, everything else stays until it ends.
fn ended(made_with: &ChildConfig, now: Option<&Arc<ChildConfig>>, reason: String) -> Fate {
    if made_with.start_action.start {
        Fate::Cut { again: now.is_some_and(|new| new.start_action.start), reason }
    } else {
        Fate::KeptUntilEnd(reason)
    }
}

fn left_alone(sa: &RunningConfig) -> impl Iterator<Item = SaFate> {
    let fate = |child| SaFate { ike: sa.id, child, remote: sa.remote, fate: Fate::LeftAlone };
    std::iter::once(fate(None))
        .chain(sa.children.iter().map(move |(id, config)| fate(Some((Arc::clone(&config.name), *id)))))
}

fn needs_new(keys: &[Difference]) -> bool {
    keys.iter().any(|it| it.takes == Takes::NewSa)
}

/// The keys that make it another SA.
fn named(keys: &[Difference]) -> String {
    let keys: Vec<&str> = keys.iter().filter(|it| it.takes == Takes::NewSa).map(|it| it.key).collect();
    format!("{} changed", keys.join(", "))
}
