//! One run of a script: its command line to `/bin/sh`, its output to the log, its end within a bound.

use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use adit_linux::poll::Poller;
use adit_linux::process::Group;

use super::environment::Variables;

/// Where programs are looked for when the daemon has no PATH itself.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// After SIGTERM, before SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
/// What ending takes at most, once it has been decided.
pub(super) const ENDS_WITHIN: Duration = Duration::from_secs(5);
/// Lines that are logged, and how long each may be.
const LINES: usize = 100;
const LINE: usize = 1000;

const OUTPUT: u64 = 1;
const ENDED: u64 = 2;

/// How a script ended that did not do so well.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It was not started: why.
    NotStarted(String),
    /// With this code.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// It did not end in time, and was ended.
    TooSlow(Duration),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotStarted(why) => write!(f, "was not started: {why}"),
            Self::Code(code) => write!(f, "exited with {code}"),
            Self::Signal(signal) => write!(f, "was ended by signal {signal}"),
            Self::TooSlow(limit) => {
                write!(f, "had not ended after {} s and was ended (adit.updown_timeout)", limit.as_secs())
            }
        }
    }
}

/// Runs `command` with these variables and no others but PATH; its lines go to `line` as they come. `hurry` says whether
/// time is up before `limit` is over.
pub(super) fn run(
    command: &str,
    variables: &Variables,
    limit: Duration,
    hurry: &dyn Fn() -> bool,
    line: &mut dyn FnMut(String),
) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::NotStarted(error.to_string());
    let (output, input) = io::pipe().map_err(failed)?;
    let poller = Poller::new().map_err(failed)?;
    poller.add(&output, OUTPUT).map_err(failed)?;
    let group = {
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", command])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").filter(|it| !it.is_empty()).unwrap_or_else(|| PATH.into()))
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(input.try_clone().map_err(failed)?)
            .stderr(input);
        // Our end of the pipe's input goes with the command.
        Group::spawn(&mut shell).map_err(failed)?
    };
    let mut run = Run { group, output: Some(output), poller, lines: Lines::default(), slow: false };
    match run.watch(limit, hurry, line) {
        Ok(_) if run.slow => Err(Failure::TooSlow(limit)),
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            Err(status.signal().map_or(Failure::Code(status.code().unwrap_or(-1)), Failure::Signal))
        }
        Err(error) => {
            // Nobody watches it any more.
            let _ = run.group.end(true);
            Err(failed(error))
        }
    }
}

struct Run {
    group: Group,
    output: Option<io::PipeReader>,
    poller: Poller,
    lines: Lines,
    slow: bool,
}

impl Run {
    fn watch(
        &mut self,
        limit: Duration,
        hurry: &dyn Fn() -> bool,
        line: &mut dyn FnMut(String),
    ) -> io::Result<ExitStatus> {
        /// How often `hurry` is asked.
        const TICK: Duration = Duration::from_millis(200);
        self.poller.add(&self.group, ENDED)?;
        let mut until = Instant::now() + limit;
        let mut ready = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            self.poller.wait(&mut ready, Some(left.min(TICK)))?;
            if ready.contains(&OUTPUT) {
                self.read(line)?;
            }
            if let Some(status) = self.group.status()? {
                // What it left in the background may keep the output open; what it said itself is there.
                self.drain(line)?;
                self.lines.finish(line);
                if self.slow {
                    // Whatever it started had its time, too.
                    self.group.end(true)?;
                }
                return Ok(status);
            }
            let over = until <= Instant::now();
            if !self.slow && (over || hurry()) {
                self.slow = true;
                self.group.end(false)?;
                until = Instant::now() + GRACE;
            } else if over {
                self.group.end(true)?;
                until = Instant::now() + GRACE;
            }
        }
    }

    /// Reads once; at the end of the output there is nothing more to wait for.
    fn read(&mut self, line: &mut dyn FnMut(String)) -> io::Result<()> {
        let mut buffer = [0; 4096];
        let Some(output) = &mut self.output else { return Ok(()) };
        let n = output.read(&mut buffer)?;
        self.lines.take(buffer.get(..n).unwrap_or_default(), line);
        if n == 0
            && let Some(output) = self.output.take()
        {
            self.poller.remove(&output)?;
        }
        Ok(())
    }

    /// Reads what is there, without waiting for more.
    fn drain(&mut self, line: &mut dyn FnMut(String)) -> io::Result<()> {
        /// Enough for what a pipe holds; somebody in the background may go on writing.
        const READS: usize = 32;
        let mut ready = Vec::new();
        self.poller.remove(&self.group)?;
        for _ in 0..READS {
            self.poller.wait(&mut ready, Some(Duration::ZERO))?;
            if !ready.contains(&OUTPUT) || self.output.is_none() {
                break;
            }
            self.read(line)?;
        }
        Ok(())
    }
}

/// Output cut into lines, so many of them.
#[derive(Default)]
struct Lines {
    partial: Vec<u8>,
    told: usize,
}

impl Lines {
    fn take(&mut self, bytes: &[u8], line: &mut dyn FnMut(String)) {
        for byte in bytes {
            if *byte == b'\n' {
                self.finish(line);
            } else if self.partial.len() < LINE {
                self.partial.push(*byte);
            }
        }
    }

    fn finish(&mut self, line: &mut dyn FnMut(String)) {
        let text = String::from_utf8_lossy(&std::mem::take(&mut self.partial)).into_owned();
        if text.is_empty() {
            return;
        }
        self.told += 1;
        match self.told {
            n if n <= LINES => line(text),
            n if n == LINES + 1 => line(format!("more than {LINES} lines; the rest is not logged")),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(command: &str, limit: u64) -> (Result<(), Failure>, Vec<String>) {
        let variables = vec![("PLUTO_VERB".to_owned(), "up-client".to_owned())];
        let mut lines = Vec::new();
        let result =
            run(command, &variables, Duration::from_secs(limit), &|| false, &mut |line| lines.push(line));
        (result, lines)
    }

    #[test]
    fn what_it_says_and_how_it_ends() {
        let (result, lines) = ran("echo $PLUTO_VERB; echo oops >&2; printf 'no newline'; exit 3", 60);
        assert_eq!(
            (result, lines),
            (Err(Failure::Code(3)), vec!["up-client".into(), "oops".into(), "no newline".into()])
        );
        assert_eq!(ran("kill -9 $$", 60).0, Err(Failure::Signal(9)));
        assert_eq!(ran("/nonexistent/script", 60).0, Err(Failure::Code(127)));
        let (result, lines) = ran("env | grep -v ^P; cat", 60);
        assert_eq!((result, lines), (Ok(()), Vec::new()), "no other variables, no input");
        let (result, lines) = ran("seq 1000; head -c 5000 /dev/zero | tr '\\0' x", 60);
        assert_eq!((result, lines.len()), (Ok(()), LINES + 1));
    }

    #[test]
    fn it_ends_in_time_with_everything_it_started() {
        let (result, _) = ran("trap '' TERM; sleep 1000 & sleep 1000", 0);
        assert_eq!(result, Err(Failure::TooSlow(Duration::ZERO)));
        // One that leaves something in the background has ended.
        let (result, lines) = ran("sleep 3 & echo done", 60);
        assert_eq!((result, lines), (Ok(()), vec!["done".into()]));
    }
}
