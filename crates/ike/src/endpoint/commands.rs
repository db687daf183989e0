//! Commands: what the operator, the gateway and the data plane want.

use std::sync::Arc;
use std::time::Duration;

use adit_ipsec::PacketInfo;

use crate::action::Command;
use crate::config::{ChildConfig, Connection};
use crate::core::Core;
use crate::event::Event;
use crate::reason::Reason;
use crate::sa::{Active, IkeSa, Task, Wish, child_create};
use crate::view::ChildState;

/// How long a shutdown waits for answers to its deletes.
const SHUTDOWN_WAIT: Duration = Duration::from_millis(300);

impl Core {
    pub(crate) fn run(&mut self, command: Command) {
        match command {
            Command::SetConfig(config) => self.reconfigure(config),
            Command::Initiate { conn, child, tag, trigger } => {
                self.initiate(conn.as_deref(), child.as_deref(), tag, trigger);
            }
            Command::InitiateIke { conn, tag } => self.initiate_ike(&conn, tag),
            Command::TerminateIke { id, force, tag } => {
                let found = self.with(id, |sa, core| {
                    sa.forget_revivals(core);
                    sa.terminate_tags.push(tag);
                    if force {
                        sa.farewell(core, &Reason::Terminated);
                        sa.close(core, Some(Reason::Terminated));
                    } else {
                        sa.delete_with(core, Some(Reason::Terminated));
                    }
                });
                if found.is_none() {
                    self.outcome(&[tag], Err(Reason::NoSuchSa { id }));
                }
            }
            Command::TerminateChild { id, tag } => {
                let found = self.with_child(id, |sa, core| {
                    let conn = Arc::clone(&sa.conn.name);
                    if let Some(child) = sa.child_mut(id) {
                        child.revive = false;
                        child.delete_tags.push(tag);
                        core.retries.cancel(Some(&conn), Some(&child.config.name));
                    }
                    sa.delete_child(core, id);
                });
                if found.is_none() {
                    self.outcome(&[tag], Err(Reason::NoSuchSa { id }));
                }
            }
            Command::Redirect { id, gateway, tag } => self.redirect(id, gateway, tag),
            Command::TakeOver { id, message_ids, replay, tag } => {
                let found = self.with(id, |sa, core| sa.take_over(core, message_ids, replay, tag));
                if found.is_none() {
                    self.outcome(&[tag], Err(Reason::NoSuchSa { id }));
                }
            }
            Command::RekeyIke { id } => {
                self.with(id, |sa, core| {
                    if sa.is_established() {
                        sa.queue.push_back(Task::RekeyIke { group: None });
                        sa.pump(core);
                    }
                });
            }
            Command::ReauthIke { id } => {
                self.with(id, |sa, core| sa.reauthenticate_on_command(core));
            }
            Command::RekeyChild { id } => {
                self.with_child(id, |sa, core| rekey_child(sa, core, id));
            }
            Command::ChildExpired { id, hard } => {
                self.with_child(
                    id,
                    |sa, core| {
                        if hard { sa.expire_child(core, id) } else { rekey_child(sa, core, id) }
                    },
                );
            }
            Command::PeerMoved { id, remote } => {
                self.with_child(id, |sa, core| sa.on_peer_moved(core, remote));
            }
            Command::AddressesChanged { addresses } => self.addresses_changed(addresses),
            Command::Shutdown => self.begin_shutdown(),
        }
    }

    fn with_child<R>(&mut self, id: u32, work: impl FnOnce(&mut IkeSa, &mut Self) -> R) -> Option<R> {
        let owner = self.child_owner.get(&id).copied()?;
        self.with(owner, work)
    }

    pub(crate) fn initiate(
        &mut self,
        conn: Option<&str>,
        child: Option<&str>,
        tag: u64,
        trigger: Option<PacketInfo>,
    ) {
        if self.shutdown.is_some() {
            return self.outcome(&[tag], Err(Reason::Shutdown));
        }
        let found = self.config.connections.iter().find(|it| {
            conn.is_none_or(|name| &*it.name == name) && child.is_none_or(|name| it.child(name).is_some())
        });
        let Some(connection) = found.cloned() else {
            let conn_exists =
                conn.is_some_and(|name| self.config.connections.iter().any(|it| &*it.name == name));
            let reason = match (conn, child) {
                (Some(name), _) if !conn_exists => Reason::NoSuchConnection { name: name.to_owned() },
                (_, Some(name)) => Reason::NoSuchChild { name: name.to_owned() },
                (name, None) => Reason::NoSuchConnection { name: name.unwrap_or_default().to_owned() },
            };
            return self.outcome(&[tag], Err(reason));
        };
        let wishes = match child.and_then(|name| connection.child(name)) {
            Some(config) => {
                let config = Arc::clone(config);
                vec![Wish { config, tags: vec![tag], trigger, attempts: 0, group: None }]
            }
            None => child_create::wishes_for_all(&connection.children, tag),
        };
        if wishes.is_empty() {
            return self.outcome(&[tag], Err(Reason::NoSuchChild { name: String::new() }));
        }
        self.grant(&connection, wishes);
    }

    fn initiate_ike(&mut self, name: &str, tag: u64) {
        if self.shutdown.is_some() {
            return self.outcome(&[tag], Err(Reason::Shutdown));
        }
        let found = self.config.connections.iter().find(|it| &*it.name == name).cloned();
        let Some(connection) = found else {
            return self.outcome(&[tag], Err(Reason::NoSuchConnection { name: name.to_owned() }));
        };
        let Some(id) = self.usable_ike(&connection) else {
            let sa = IkeSa::initiate_as(self, connection, |sa| {
                sa.stands_alone = true;
                sa.up_tags.push(tag);
            });
            return self.adopt(sa);
        };
        self.with(id, |sa, core| {
            sa.stands_alone = true;
            if sa.is_established() {
                core.outcome(&[tag], Ok(()));
            } else {
                sa.up_tags.push(tag);
            }
        });
    }

    /// An IKE_SA of that connection that can take children, now or soon.
    fn usable_ike(&self, connection: &Arc<Connection>) -> Option<u32> {
        let usable = |sa: &&u32| {
            self.sas.get(sa).is_some_and(|sa| {
                let leaving = matches!(sa.active, Active::DeleteIke)
                    || sa.queue.iter().any(|task| matches!(task, Task::DeleteIke));
                // One of a configuration that is no more has other ends, or other proofs.
                let same = Arc::ptr_eq(&sa.conn, connection) || sa.conn.carries_on(connection);
                same && ((sa.is_established() && !leaving) || sa.is_connecting())
            })
        };
        self.by_conn.get(&connection.name).into_iter().flatten().find(usable).copied()
    }

    /// Puts wishes onto an IKE_SA of that connection, a new one if there is none.
    fn grant(&mut self, connection: &Arc<Connection>, wishes: Vec<Wish>) {
        let Some(id) = self.usable_ike(connection) else {
            let sa = IkeSa::initiate(self, Arc::clone(connection), wishes);
            self.adopt(sa);
            return;
        };
        self.with(id, |sa, core| {
            for wish in wishes {
                wish_for(sa, core, wish);
            }
            sa.pump(core);
        });
    }

    fn begin_shutdown(&mut self) {
        self.shutdown = Some(self.now + SHUTDOWN_WAIT);
        self.retries.cancel(None, None);
        let ids: Vec<u32> = self.sas.keys().copied().collect();
        for id in ids {
            self.with(id, |sa, core| {
                if sa.established_at.is_some() {
                    sa.farewell(core, &Reason::Shutdown);
                } else {
                    sa.close(core, Some(Reason::Shutdown));
                }
            });
        }
    }

    /// Ends a shutdown when nothing is left or its time is up.
    pub(crate) fn end_shutdown(&mut self) {
        let Some(at) = self.shutdown else { return };
        if !self.sas.is_empty() && self.now < at {
            return;
        }
        let ids: Vec<u32> = self.sas.keys().copied().collect();
        for id in ids {
            self.with(id, |sa, core| sa.close(core, Some(Reason::Shutdown)));
        }
        if !self.shutdown_told {
            self.shutdown_told = true;
            self.event(Event::ShutdownComplete);
        }
    }
}

/// One more wish for an IKE_SA: joined with the same one if that is waiting already.
fn wish_for(sa: &mut IkeSa, core: &mut Core, wish: Wish) {
    let same = |config: &Arc<ChildConfig>| config.name == wish.config.name;
    if let Some(child) = sa.children.iter_mut().find(|child| child.satisfies(&wish)) {
        if child.state == ChildState::Installing || sa.vips_pending {
            child.tags.extend(wish.tags);
        } else {
            core.outcome(&wish.tags, Ok(()));
        }
        return;
    }
    let running = match (&mut sa.active, &mut sa.phase) {
        (Active::Child(offer), _) if offer.rekeys.is_none() => Some(&mut offer.wish),
        (_, crate::sa::Phase::AuthI(auth)) => auth.wish_mut(),
        _ => None,
    };
    let waiting = sa.queue.iter_mut().filter_map(|task| match task {
        Task::Child(wish) => Some(wish),
        _ => None,
    });
    match running.into_iter().chain(waiting).find(|it| same(&it.config)) {
        Some(it) => it.tags.extend(wish.tags),
        None => sa.queue.push_back(Task::Child(wish)),
    }
}

fn rekey_child(sa: &mut IkeSa, core: &mut Core, id: u32) {
    let queued = sa.queue.iter().any(|task| matches!(task, Task::RekeyChild { id: it, .. } if *it == id));
    if sa.is_established() && !queued {
        sa.queue.push_back(Task::RekeyChild { id, group: None });
        sa.pump(core);
    }
}
