//! Calls that wait for a worker. What concerns the same traffic runs one after the other, in the order it was asked for.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use adit_ike::Group;

use super::environment::Variables;
use super::script;
use crate::log::{Line, Logger, SaName};

/// Scripts that run at once.
const WORKERS: usize = 4;
/// Calls that may wait. Those that take back what was done find room beyond it: each had its own first.
const MOST: usize = 1000;

/// One call of a script, or several of them in order.
pub(crate) struct Job {
    /// Jobs with the same one run one after the other.
    pub key: String,
    /// The command line.
    pub command: Arc<str>,
    /// What each call is told.
    pub calls: Vec<Variables>,
    /// Name of the child, for the log.
    pub child: Arc<str>,
    /// The IKE_SA, for the log.
    pub sa: SaName,
    /// Up, or down.
    pub up: bool,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    running: BTreeSet<String>,
    workers: usize,
    /// How long a script may take.
    limit: Duration,
    /// No more is asked for; what waits then has until this moment.
    closing: Option<Instant>,
    dropped: u64,
}

/// The jobs, shared with the workers.
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    logger: Arc<Logger>,
}

impl Queue {
    /// An empty one; workers are started when there is something to do.
    pub(crate) fn new(logger: Arc<Logger>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), changed: Condvar::new(), logger })
    }

    /// A panic elsewhere leaves the state whole: it is changed in single steps.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls that found no room.
    pub(crate) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Has a job done, by a worker, with so much time for each call. False, with a line in the log, if there is no room.
    pub(crate) fn push(self: &Arc<Self>, job: Job, limit: Duration) -> bool {
        let mut state = self.lock();
        state.limit = limit;
        if job.up && state.waiting.len() >= MOST {
            state.dropped += 1;
            let text = format!(
                "updown of {} is not run: {MOST} calls wait already ({} not run so far); the scripts are too slow",
                job.child, state.dropped
            );
            drop(state);
            self.log(&job.sa, 0, text);
            return false;
        }
        state.waiting.push_back(job);
        let another = state.workers < WORKERS.min(state.waiting.len() + state.running.len());
        if another {
            state.workers += 1;
        }
        drop(state);
        self.changed.notify_one();
        if another {
            let queue = Arc::clone(self);
            let started = std::thread::Builder::new().name("updown".into()).spawn(move || queue.work());
            if started.is_err() {
                // Whoever works already does this, too; without anybody the next job tries again.
                self.lock().workers -= 1;
            }
        }
        true
    }

    /// Takes no more, waits for what is there until `bound` is over, and ends what runs then.
    pub(crate) fn finish(&self, bound: Duration) {
        let until = Instant::now() + bound;
        let mut state = self.lock();
        state.closing = Some(until);
        self.changed.notify_all();
        while state.workers > 0 && !(state.waiting.is_empty() && state.running.is_empty()) {
            // After the bound the workers end what runs by themselves, which takes a moment.
            let now = Instant::now();
            let left = if now < until { until - now } else { Duration::from_secs(1) };
            let (again, timeout) =
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
            state = again;
            if timeout.timed_out() && now >= until + script::ENDS_WITHIN {
                break;
            }
        }
        let left = state.waiting.len();
        drop(state);
        if left > 0 {
            let text = format!("{left} updown calls were not run: the time for them is over");
            self.logger.line(Group::Chd, 0, text);
        }
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            let over = state.closing.is_some_and(|until| until <= Instant::now());
            let free = |job: &Job| !state.running.contains(&job.key);
            let next = state.waiting.iter().position(free).filter(|_| !over);
            let Some(job) = next.and_then(|at| state.waiting.remove(at)) else {
                if over || (state.closing.is_some() && state.waiting.is_empty()) {
                    break;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.running.insert(job.key.clone());
            let limit = state.limit;
            drop(state);
            self.run(&job, limit);
            state = self.lock();
            state.running.remove(&job.key);
            self.changed.notify_all();
        }
        state.workers -= 1;
        self.changed.notify_all();
    }

    fn run(&self, job: &Job, limit: Duration) {
        let hurry = || self.lock().closing.is_some_and(|until| until <= Instant::now());
        for variables in &job.calls {
            let mut line = |text: String| self.log(&job.sa, 1, format!("updown: {text}"));
            if let Err(failure) = script::run(&job.command, variables, limit, &hurry, &mut line) {
                let verb = if job.up { "up" } else { "down" };
                self.log(&job.sa, 0, format!("updown of {} for {verb} {failure}", job.child));
            }
        }
    }

    fn log(&self, sa: &SaName, level: i8, text: String) {
        self.logger.write(Line { group: Group::Chd, level, sa: Some(sa.clone()), text });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn job(key: &str, up: bool, command: &str) -> Job {
        Job {
            key: key.into(),
            command: command.into(),
            calls: vec![Vec::new()],
            child: "net".into(),
            sa: ("home".into(), 1),
            up,
        }
    }

    #[test]
    fn the_same_traffic_goes_in_order_and_others_need_not_wait() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo").display().to_string();
        let log = folder.path().join("log");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let queue = Queue::new(Arc::default());
        let say = |what: &str| format!("echo {what} >> {}", log.display());
        // Waits until somebody writes to the fifo, which is the last job.
        assert!(queue.push(job("a", true, &format!("read x < {fifo}; {}", say("up"))), LIMIT));
        assert!(queue.push(job("a", false, &say("down")), LIMIT));
        assert!(queue.push(job("b", true, &format!("{}; echo > {fifo}", say("other"))), LIMIT));
        queue.finish(LIMIT);
        assert_eq!(std::fs::read_to_string(log).unwrap(), "other\nup\ndown\n");
    }

    #[test]
    fn a_full_queue_refuses_ups_and_an_end_has_a_bound() {
        let queue = Queue::new(Arc::default());
        for _ in 0..WORKERS + MOST {
            queue.push(job("a", true, "sleep 1000"), LIMIT);
        }
        assert!(!queue.push(job("a", true, "true"), LIMIT));
        assert!(queue.dropped() > 0);
        assert!(queue.push(job("a", false, "true"), LIMIT));
        queue.finish(Duration::ZERO);
        let state = queue.lock();
        assert!(state.running.is_empty() && state.waiting.len() > MOST);
    }
}
