//! The program `nft`: text in, what it says out, and never longer than it may take.

use std::io::{self, Read, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

/// Far longer than it needs for tens of thousands of children; whoever waits is a thread with nothing else to do.
const LIMIT: Duration = Duration::from_secs(60);
/// More of an answer than this is not read.
const MOST: u64 = 64 << 20;
/// A service manager may give a path without it.
const PLACES: [&str; 2] = ["nft", "/usr/sbin/nft"];

/// What came of a run.
#[derive(Debug)]
pub(super) struct Ran {
    /// The number of the process, by which its changes are known; `None` if there was none.
    pub(super) pid: Option<u32>,
    /// What it printed, or a sentence.
    pub(super) result: Result<String, String>,
}

/// Applies a ruleset as one transaction.
pub(super) fn apply(text: &str) -> Ran {
    run(&["-f", "-"], text)
}

/// Runs it with arguments and a text to read.
pub(super) fn run(arguments: &[&str], input: &str) -> Ran {
    let mut child = match spawn(arguments) {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let sentence = "there is no program `nft`; install the package nftables".to_owned();
            return Ran { pid: None, result: Err(sentence) };
        }
        Err(error) => return Ran { pid: None, result: Err(format!("starting nft: {error}")) },
    };
    let pid = Some(child.id());
    let (done, answers) = channel();
    // Each pipe has a thread, so that none of them can be what the others wait for.
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.to_owned();
        // If it ends early it says why, which is heard below.
        std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    }
    collect(child.stdout.take(), done.clone(), 0);
    collect(child.stderr.take(), done, 1);
    let mut texts = [String::new(), String::new()];
    let deadline = Instant::now() + LIMIT;
    for _ in 0..texts.len() {
        match answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok((index, text)) => texts[index] = text,
            Err(_) => {
                end(&mut child);
                let sentence = format!("nft did not end within {} seconds", LIMIT.as_secs());
                return Ran { pid, result: Err(sentence) };
            }
        }
    }
    let [out, errors] = texts;
    let result = match child.wait() {
        Ok(status) if status.success() => Ok(out),
        Ok(_) => Err(complaint(&errors)),
        Err(error) => Err(format!("waiting for nft: {error}")),
    };
    Ran { pid, result }
}

fn spawn(arguments: &[&str]) -> io::Result<Child> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for place in PLACES {
        let mut command = Command::new(place);
        command.args(arguments).env("LC_ALL", "C");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => last = error,
            other => return other,
        }
    }
    Err(last)
}

fn collect(pipe: Option<impl Read + Send + 'static>, done: Sender<(usize, String)>, index: usize) {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            // what was read before an error is what there is
            let _ = pipe.take(MOST).read_to_end(&mut bytes);
        }
        // nobody listens if it took too long
        let _ = done.send((index, String::from_utf8_lossy(&bytes).into_owned()));
    });
}

fn end(child: &mut Child) {
    // it may just have ended by itself
    let _ = child.kill();
    let _ = child.wait();
}

/// The first thing it complains of, on one line.
fn complaint(errors: &str) -> String {
    let line = errors.lines().find(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
    let plain: String = line.chars().filter(|c| !c.is_control()).take(300).collect();
    let cure = if plain.contains("not permitted") { "; it needs CAP_NET_ADMIN" } else { "" };
    format!("nft refuses: {plain}{cure}")
}
