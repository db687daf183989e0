//! Running other programs.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

/// The cargo that runs this.
pub(crate) fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Runs `cargo` with these words.
pub(crate) fn run_cargo(words: &[&str]) -> bool {
    run(Command::new(cargo()).args(words))
}

/// Says what it runs, runs it; did it succeed?
pub(crate) fn run(command: &mut Command) -> bool {
    println!("$ {}", describe(command));
    command.status().is_ok_and(|status| status.success())
}

/// Does this succeed, quietly?
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}

/// Runs it, shows its output as it comes and gives it back; and whether it succeeded.
pub(crate) fn run_and_read(command: &mut Command) -> (bool, String) {
    println!("$ {}", describe(command));
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return (false, format!("{error}\n")),
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (out, err) = std::thread::scope(|scope| {
        let other = scope.spawn(|| copy(stderr, &mut std::io::stderr()));
        (copy(stdout, &mut std::io::stdout()), other.join().unwrap_or_default())
    });
    (child.wait().is_ok_and(|status| status.success()), out + &err)
}

fn copy(source: Option<impl Read>, sink: &mut impl Write) -> String {
    let mut all = String::new();
    let Some(source) = source else { return all };
    let mut reader = BufReader::new(source);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        // a closed terminal must not end the run
        let _ = sink.write_all(&line);
        all.push_str(&String::from_utf8_lossy(&line));
        line.clear();
    }
    all
}

fn describe(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let name = program.rsplit('/').next().unwrap_or(&program);
    let words = command.get_args().map(|a| a.to_string_lossy().into_owned());
    std::iter::once(name.to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}
