//! Log lines in strongSwan's shape: 17 groups, levels −1 to 4, any number of sinks, each with its own levels.
//!
//! A line is written by whichever thread has it; a sink that cannot be written to is dropped, never waited for.
//! Text that came from a peer is escaped before it reaches a sink.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;

use adit_ike::Group;

/// Who a line belongs to: connection name and unique id of the IKE_SA.
pub(crate) type SaName = (std::sync::Arc<str>, u32);

/// One line.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// Subsystem.
    pub group: Group,
    /// −1 silent … 4 secrets; 0 audit, 1 control flow, 2 diagnosis.
    pub level: i8,
    /// The IKE_SA it speaks of.
    pub sa: Option<SaName>,
    /// Escaped text.
    pub text: String,
}

/// Where a sink writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// Standard output, without time (a service manager adds its own).
    Stdout,
    /// Standard error.
    Stderr,
    /// A file.
    File {
        /// Its path.
        path: PathBuf,
        /// Append to what is there.
        append: bool,
    },
}

/// What one sink wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SinkConfig {
    /// Where to.
    pub target: Target,
    /// Level of groups not named in `levels`.
    pub default: i8,
    /// Levels by group.
    pub levels: Vec<(Group, i8)>,
    /// Prefix lines with the local time in this format of strftime.
    pub time: Option<String>,
    /// Digits of fractions of a second behind it: 0, 3 or 6.
    pub precision: u8,
    /// Add `<connection|id>`.
    pub ike_name: bool,
}

struct Sink {
    config: SinkConfig,
    out: Box<dyn Write + Send>,
}

/// A listener of lines, for VICI's `log` and `control-log`; `false` ends it. It must not wait.
pub(crate) type Listener = Box<dyn FnMut(&Line) -> bool + Send>;

struct Subscriber {
    level: i8,
    id: u64,
    listener: Listener,
}

/// The daemon's logger, shared by its threads.
pub(crate) struct Logger {
    sinks: Mutex<Vec<Sink>>,
    subscribers: Mutex<(u64, Vec<Subscriber>)>,
}

impl SinkConfig {
    fn wants(&self, group: Group, level: i8) -> bool {
        let limit = self.levels.iter().find(|(g, _)| *g == group).map_or(self.default, |(_, l)| *l);
        level <= limit
    }
}

impl Default for Logger {
    fn default() -> Self {
        Self { sinks: Mutex::new(Vec::new()), subscribers: Mutex::new((0, Vec::new())) }
    }
}

impl Logger {
    /// Opens the sinks; those that cannot be opened are returned as sentences, the others work.
    pub(crate) fn configure(&self, sinks: &[SinkConfig]) -> Vec<String> {
        let mut opened = Vec::new();
        let mut failures = Vec::new();
        for config in sinks {
            match open(&config.target) {
                Ok(out) => opened.push(Sink { config: config.clone(), out }),
                Err(error) => failures.push(format!("opening log {:?} failed: {error}", config.target)),
            }
        }
        if let Ok(mut current) = self.sinks.lock() {
            *current = opened;
        }
        failures
    }

    /// The highest level any sink or listener wants: what the core need not format, it does not.
    pub(crate) fn level(&self, group: Group) -> i8 {
        let sinks = self.sinks.lock().map_or(1, |sinks| {
            (-1..=4).rev().find(|l| sinks.iter().any(|s| s.config.wants(group, *l))).unwrap_or(-1)
        });
        let listeners =
            self.subscribers.lock().map_or(-1, |s| s.1.iter().map(|s| s.level).max().unwrap_or(-1));
        // the `log` event of VICI has no level of its own: 1 is what its listeners get
        sinks.max(listeners).max(1)
    }

    /// Writes a line.
    pub(crate) fn write(&self, line: Line) {
        let line = Line { text: escape(&line.text), ..line };
        if let Ok(mut sinks) = self.sinks.lock() {
            sinks
                .retain_mut(|sink| !sink.config.wants(line.group, line.level) || render(sink, &line).is_ok());
        }
        if let Ok(mut subscribers) = self.subscribers.lock() {
            subscribers.1.retain_mut(|s| line.level > s.level || (s.listener)(&line));
        }
    }

    /// A line without an IKE_SA.
    pub(crate) fn line(&self, group: Group, level: i8, text: impl Into<String>) {
        self.write(Line { group, level, sa: None, text: text.into() });
    }

    /// Registers a listener for lines up to `level`.
    pub(crate) fn subscribe(&self, level: i8, listener: Listener) -> u64 {
        let Ok(mut subscribers) = self.subscribers.lock() else { return 0 };
        subscribers.0 += 1;
        let id = subscribers.0;
        subscribers.1.push(Subscriber { level, id, listener });
        id
    }

    /// Ends a subscription.
    pub(crate) fn unsubscribe(&self, id: u64) {
        if let Ok(mut subscribers) = self.subscribers.lock() {
            subscribers.1.retain(|s| s.id != id);
        }
    }
}

fn open(target: &Target) -> std::io::Result<Box<dyn Write + Send>> {
    Ok(match target {
        Target::Stdout => Box::new(std::io::stdout()),
        Target::Stderr => Box::new(std::io::stderr()),
        Target::File { path, append } => {
            let mut options = OpenOptions::new();
            options.create(true);
            let file: File = if *append {
                options.append(true).open(path)?
            } else {
                options.write(true).truncate(true).open(path)?
            };
            Box::new(file)
        }
    })
}

fn render(sink: &mut Sink, line: &Line) -> std::io::Result<()> {
    let mut text = String::with_capacity(line.text.len() + 48);
    if let Some(format) = &sink.config.time {
        text.push_str(&timestamp(format, sink.config.precision));
        text.push(' ');
    }
    text.push_str("00[");
    text.push_str(line.group.name());
    text.push(']');
    if let (true, Some((name, id))) = (sink.config.ike_name, &line.sa) {
        text.push_str(&format!(" <{name}|{id}>"));
    }
    text.push(' ');
    text.push_str(&line.text);
    text.push('\n');
    sink.out.write_all(text.as_bytes())?;
    sink.out.flush()
}

/// Local time; a format that cannot be followed gives RFC 3339.
fn timestamp(format: &str, precision: u8) -> String {
    let now = jiff::Zoned::now();
    let fraction = match precision {
        0 => "",
        3 => "%.3f",
        _ => "%.6f",
    };
    jiff::fmt::strtime::format(format!("{format}{fraction}"), &now)
        .unwrap_or_else(|_| now.timestamp().to_string())
}

/// Longest text of one line; a peer's names are capped long before.
const MAX_TEXT: usize = 4096;

/// Control characters become `\xNN`: what a peer sends can neither forge lines nor drive a terminal.
pub(crate) fn escape(text: &str) -> String {
    if text.len() <= MAX_TEXT && !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len().min(MAX_TEXT) + 16);
    for c in text.chars() {
        if out.len() >= MAX_TEXT {
            out.push('…');
            break;
        }
        if c.is_control() {
            out.push_str(&format!("\\x{:02x}", c as u32));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_cannot_forge_a_line() {
        assert_eq!(escape("a\n00[IKE] forged\x1b[2J"), "a\\x0a00[IKE] forged\\x1b[2J");
        assert!(escape(&"x".repeat(10_000)).len() < MAX_TEXT + 8);
    }

    #[test]
    fn times_follow_the_configured_format() {
        assert_eq!(timestamp("%H:%M:%S", 0).len(), "21:09:38".len());
        assert_eq!(timestamp("%b %e %T", 3).len(), "Nov 23 21:09:38.000".len());
        assert!(timestamp("%Q%!", 0).ends_with('Z'));
    }

    #[test]
    fn levels_are_per_group_and_a_listener_hears_what_it_asked_for() {
        let logger = Logger::default();
        let dir = tempfile();
        let path = dir.join("log");
        let failures = logger.configure(&[SinkConfig {
            target: Target::File { path: path.clone(), append: false },
            default: 0,
            levels: vec![(Group::Ike, 1)],
            time: None,
            precision: 0,
            ike_name: true,
        }]);
        assert!(failures.is_empty());
        let (tx, rx) = std::sync::mpsc::sync_channel(4);
        logger.subscribe(1, Box::new(move |line| tx.try_send(line.clone()).is_ok()));
        logger.line(Group::Net, 1, "not written");
        logger.write(Line { group: Group::Ike, level: 1, sa: Some(("home".into(), 7)), text: "up".into() });
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "00[IKE] <home|7> up\n");
        assert_eq!(rx.iter().take(2).count(), 2);
        std::fs::remove_dir_all(dir).unwrap();
    }

    fn tempfile() -> PathBuf {
        let dir = std::env::temp_dir().join(format!("adit-log-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }
}
