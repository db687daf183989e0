//! Carrying out what a plan says of SAs, traps and children to start.

use std::sync::Arc;

use adit_ike::{Command, Connection, Group};

use super::connection::{Change, ConnectionPlan, Step};
use crate::driver::Driver;

impl Driver {
    /// Closes, then moves traps, then starts: what comes may stand on what went.
    pub(super) fn take_steps(&mut self, plans: &[ConnectionPlan]) {
        for plan in plans {
            self.tell_change(plan);
            for step in &plan.steps {
                match step {
                    Step::CloseIke(id) => {
                        self.command(Command::TerminateIke { id: *id, force: false, tag: 0 });
                    }
                    Step::CloseChild(id) => self.command(Command::TerminateChild { id: *id, tag: 0 }),
                    _ => {}
                }
            }
        }
        for plan in plans {
            let conn = self.store.ike(&plan.name).map(Arc::clone);
            for step in &plan.steps {
                self.move_trap(&plan.name, conn.as_deref(), step);
                self.move_shunt(&plan.name, conn.as_deref(), step);
            }
        }
        for plan in plans {
            for step in &plan.steps {
                if let Step::Start(child) = step {
                    self.start(&plan.name, child);
                }
            }
        }
    }

    fn tell_change(&self, plan: &ConnectionPlan) {
        let children = plan.children.iter().any(|(_, change)| *change != Change::Unchanged);
        let verb = match &plan.change {
            Change::Added => "added",
            Change::Removed => "removed",
            Change::Changed(_) => "replaced",
            Change::Unchanged if children => "updated",
            Change::Unchanged => return,
        };
        self.logger.line(Group::Cfg, 1, format!("{verb} vici connection: {}", plan.name));
    }

    fn move_trap(&mut self, name: &Arc<str>, conn: Option<&Connection>, step: &Step) {
        let (Step::RemoveTrap(child) | Step::InstallTrap(child) | Step::ReplaceTrap(child)) = step else {
            return;
        };
        if !matches!(step, Step::InstallTrap(_)) {
            self.remove_traps(|trap| trap.ike_name == *name && trap.name == *child);
        }
        if matches!(step, Step::RemoveTrap(_)) {
            return;
        }
        if let Some(conn) = conn
            && let Some(child) = conn.child(child)
            && let Err(problem) = self.install_trap(conn, child)
        {
            self.logger.line(Group::Cfg, 0, problem);
        }
    }

    fn move_shunt(&mut self, name: &Arc<str>, conn: Option<&Connection>, step: &Step) {
        match step {
            Step::RemoveShunt(child) => {
                self.remove_shunts(|it| it.ike_name == *name && it.name == *child);
            }
            Step::InstallShunt(child) => {
                if let Some(conn) = conn
                    && let Some(shunt) = conn.shunts.iter().find(|it| it.name == *child)
                    && let Err(problem) = self.install_shunt(conn, shunt)
                {
                    self.logger.line(Group::Cfg, 0, problem);
                }
            }
            _ => {}
        }
    }

    fn start(&mut self, conn: &Arc<str>, child: &Arc<str>) {
        self.logger.line(Group::Cfg, 1, format!("vici initiating '{child}'"));
        self.command(Command::Initiate {
            conn: Some(Arc::clone(conn)),
            child: Some(Arc::clone(child)),
            tag: 0,
            trigger: None,
        });
    }
}
