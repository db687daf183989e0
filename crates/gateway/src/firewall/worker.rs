//! The thread that has the table or the file be as wanted, and puts back what somebody takes away.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use adit_conf::strongswan::FirewallMode;
use adit_ike::Group;
use adit_linux::poll::Poller;
use adit_linux::ruleset::Watch;

use super::handle::{ChildCount, FirewallSnapshot, Shared};
use super::ruleset::{self, Blocking};
use super::table::NAME;
use super::{dropin, nft};

const WAKER: u64 = 0;
const WATCH: u64 = 1;
/// The table is not put back more often than this: whoever takes it away in a loop shall not have the machine busy.
const BETWEEN_RESTORES: Duration = Duration::from_secs(1);
/// It is told again when it was left alone for so long.
const QUIET: Duration = Duration::from_secs(600);
/// Others' rulesets are looked at when they have not changed for so long.
const SETTLED: Duration = Duration::from_secs(2);
/// What has failed is tried again.
const AGAIN: Duration = Duration::from_secs(30);

struct Worker {
    shared: Arc<Shared>,
    watch: Option<Watch>,
    /// What the kernel has is not what was written last: all is to be written.
    broken: bool,
    /// Not before.
    write_at: Option<Instant>,
    restored_at: Option<Instant>,
    look_at: Option<Instant>,
    blocking: Vec<Blocking>,
    /// Of the table or the file, and as it was last told.
    problem: Option<String>,
    restored: u64,
    /// The table, or the file.
    place: String,
    /// With its text.
    file: Option<(PathBuf, String)>,
}

/// Starts it; something comes when it has ended.
pub(super) fn start(shared: Arc<Shared>) -> Result<Receiver<()>, String> {
    let poller = Poller::new().map_err(|e| e.to_string())?;
    poller.add(&shared.waker, WAKER).map_err(|e| e.to_string())?;
    let watch = match Watch::new() {
        Ok(watch) => Some(watch),
        Err(error) => {
            let text = format!("firewall: {error}; what others do to the ruleset goes unnoticed");
            shared.logger.line(Group::Knl, 0, text);
            None
        }
    };
    if let Some(watch) = &watch {
        poller.add(watch, WATCH).map_err(|e| e.to_string())?;
    }
    let place = match shared.mode {
        FirewallMode::Table => format!("inet {NAME}"),
        _ => String::new(),
    };
    let mut worker = Worker {
        shared,
        watch,
        broken: true,
        write_at: None,
        restored_at: None,
        look_at: Some(Instant::now()),
        blocking: Vec::new(),
        problem: None,
        restored: 0,
        place,
        file: None,
    };
    let (ended, receiver) = channel();
    let run = move || {
        worker.run(&poller);
        // whoever does not wait needs no word
        let _ = ended.send(());
    };
    std::thread::Builder::new().name("firewall".into()).spawn(run).map_err(|e| e.to_string())?;
    Ok(receiver)
}

impl Worker {
    fn run(&mut self, poller: &Poller) {
        if self.shared.mode == FirewallMode::Dropin {
            // a predecessor may have had a table, and been killed
            self.remove();
        }
        let mut ready = Vec::new();
        loop {
            self.shared.waker.drain();
            self.hear(None);
            self.write();
            self.look();
            if self.answer() {
                return;
            }
            if let Err(error) = poller.wait(&mut ready, self.pause()) {
                self.tell(0, format!("it is left alone from now on: {error}"));
                return;
            }
        }
    }

    fn pause(&self) -> Option<Duration> {
        let until = |at: Instant| at.saturating_duration_since(Instant::now());
        [self.write_at, self.look_at].into_iter().flatten().map(until).min()
    }

    /// Reads the news; `own` is the process whose changes are ours.
    fn hear(&mut self, own: Option<u32>) {
        let Some(news) = self.watch.as_mut().map(|watch| watch.drain(NAME, own)) else { return };
        if news.others || news.ours {
            self.look_at = Some(Instant::now() + SETTLED);
        }
        if news.ours && !self.broken && self.shared.mode == FirewallMode::Table {
            self.broken = true;
            self.restored += 1;
            let now = Instant::now();
            let level = if self.restored_at.is_none_or(|at| now > at + QUIET) { 0 } else { 2 };
            self.write_at = self.restored_at.map(|at| at + BETWEEN_RESTORES).filter(|at| *at > now);
            self.restored_at = Some(now);
            self.tell(level, format!("somebody removed or changed the table inet {NAME}; it is put back"));
        }
    }

    /// Has the kernel, or the file, be as wanted.
    fn write(&mut self) {
        if self.write_at.is_some_and(|at| at > Instant::now()) {
            return;
        }
        self.write_at = None;
        match self.shared.mode {
            FirewallMode::Dropin => self.write_file(),
            _ => self.write_table(),
        }
    }

    fn write_table(&mut self) {
        // What changes while nft runs is written in the next turn: the waker has been drained before.
        for _ in 0..2 {
            let whole = self.broken;
            let text = match &mut self.shared.wanted().table {
                Some(table) if whole => Some(table.whole()),
                Some(table) => table.changes(),
                None => None,
            };
            let Some(text) = text else { return };
            let ran = nft::apply(&text);
            self.broken = ran.result.is_err();
            self.hear(ran.pid);
            match ran.result {
                Ok(_) => return self.settle(None),
                // A change that does not go in is no reason to give up: the whole may.
                Err(error) if !whole => self.tell(1, format!("{error}; writing the whole table")),
                Err(error) => {
                    self.settle(Some(error));
                    self.write_at = Some(Instant::now() + AGAIN);
                    return;
                }
            }
        }
    }

    fn write_file(&mut self) {
        if let Some(of) = self.shared.wanted().file.take() {
            let connections = of.connections.iter().map(|conn| &**conn);
            let text = dropin::render(&of.settings, connections, &of.pools);
            self.file = Some((of.settings.adit.dropin.file.clone(), text));
        } else if self.problem.is_none() {
            return;
        }
        let Some((path, text)) = &self.file else { return };
        self.place = path.display().to_string();
        match dropin::write(path, text) {
            Ok(true) => {
                let text = format!("wrote {}; to have it read: {}", self.place, dropin::RELOAD);
                self.tell(0, text);
                self.settle(None);
            }
            Ok(false) => self.settle(None),
            Err(error) => {
                self.settle(Some(format!("writing {}: {error}", self.place)));
                self.write_at = Some(Instant::now() + AGAIN);
            }
        }
    }

    /// Notes whether all is well, and tells what is new about it.
    fn settle(&mut self, problem: Option<String>) {
        if self.problem != problem {
            let text = problem.clone().unwrap_or_else(|| "it is as it should be again".to_owned());
            self.tell(0, text);
        }
        self.problem = problem;
    }

    /// Looks for chains of others that stand in the way.
    fn look(&mut self) {
        if self.look_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.look_at = None;
        match ruleset::blocking(&self.shared.insides) {
            Ok(found) => {
                for new in found.iter().filter(|it| !self.blocking.contains(it)) {
                    let (sentence, cure) = remark(new, self.shared.mode);
                    self.tell(0, format!("{sentence}; {cure}"));
                }
                self.blocking = found;
            }
            Err(error) => self.tell(1, format!("looking for chains that drop: {error}")),
        }
    }

    /// Answers who asks; whether it is the end.
    fn answer(&mut self) -> bool {
        let (questions, end) = {
            let mut wanted = self.shared.wanted();
            (std::mem::take(&mut wanted.questions), wanted.end)
        };
        if !questions.is_empty() {
            let snapshot = self.snapshot();
            for question in questions {
                // who gave up needs no answer
                let _ = question.send(snapshot.clone());
            }
        }
        if end && self.shared.mode == FirewallMode::Table {
            self.remove();
        }
        end
    }

    fn snapshot(&self) -> FirewallSnapshot {
        let mut snapshot = FirewallSnapshot {
            mode: if self.shared.mode == FirewallMode::Table { "table" } else { "dropin" },
            place: self.place.clone(),
            problem: self.problem.clone(),
            remarks: self.blocking.iter().map(|it| remark(it, self.shared.mode)).collect(),
            restored: self.restored,
            ..FirewallSnapshot::default()
        };
        let names = match &self.shared.wanted().table {
            Some(table) if !self.broken => table.children(),
            _ => return snapshot,
        };
        match ruleset::counters() {
            Ok(counters) => {
                let of = |way: &str, name: &str| {
                    counters.get(&format!("{way}-{name}")).copied().unwrap_or_default()
                };
                snapshot.spoofed = counters.get("spoofed").copied();
                for (name, (conn, child)) in names {
                    let (came_in, went_out) = (of("in", &name), of("out", &name));
                    snapshot.children.push(ChildCount { conn, child, came_in, went_out });
                }
            }
            Err(error) => snapshot.problem = snapshot.problem.or(Some(error)),
        }
        snapshot
    }

    fn remove(&mut self) {
        let ran = nft::apply(&format!("add table inet {NAME}\ndelete table inet {NAME}\n"));
        self.hear(ran.pid);
        if let Err(error) = ran.result {
            self.tell(0, format!("removing the table inet {NAME}: {error}"));
        }
    }

    fn tell(&self, level: i8, text: String) {
        self.shared.logger.line(Group::Knl, level, format!("firewall: {text}"));
    }
}

/// What a chain that drops means, and what to do.
pub fn remark(it: &Blocking, mode: FirewallMode) -> (String, String) {
    let what = match it.hook.as_str() {
        "forward" => "packets that leave or enter a tunnel here",
        _ => "packets that tunnels bring for this host",
    };
    let sentence = format!(
        "the chain {} drops by policy and has no rule about tunnels: {what} end there, and no other table can allow them",
        it.chain
    );
    let cure = match mode {
        FirewallMode::Dropin => format!("include the file in that ruleset and have it read: {}", dropin::RELOAD),
        _ => "accept them in that chain; `adit firewall` prints rules for it, and adit.firewall = dropin writes them to a file".to_owned(),
    };
    (sentence, cure)
}
