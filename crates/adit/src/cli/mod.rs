//! `adit`, the operator's command: arguments in, sentences and an exit code out.
//!
//! It asks the running daemon over VICI and reads configuration files; it changes nothing but through the daemon.
//! Exit codes: 0 it is so, 1 it is not (a tunnel failed, a file has errors), 2 it could not be asked (usage, no daemon);
//! of `check --against-running` also 3 a reload would change something and cut nothing, 4 it would cut something.

mod check;
mod daemon;
mod firewall;
mod plan;
mod show;
mod status;
mod surroundings;
mod tunnel;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// IKEv2 gateway: see what is up, bring tunnels up and down, check configuration.
#[derive(Debug, Parser)]
#[command(name = "adit", version, about)]
struct Cli {
    /// Control socket of the daemon [default: charon.plugins.vici.socket of strongswan.conf, else
    /// unix:///var/run/charon.vici].
    #[arg(long, short = 'u', global = true, value_name = "URI")]
    uri: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What is up, what is configured and down, and why.
    Status {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Bring a connection or child up.
    Up {
        /// A child, a connection (all its children), or connection/child.
        name: String,
        /// Only the IKE_SA of a connection, without its children (RFC 6023).
        #[arg(long)]
        ike_only: bool,
        #[command(flatten)]
        how: How,
    },
    /// Take a connection or child down.
    Down {
        /// A connection, a child, or connection/child.
        name: String,
        /// Do not wait for the peer to confirm.
        #[arg(long, short)]
        force: bool,
        #[command(flatten)]
        how: How,
    },
    /// Check configuration files: without a daemon, or what reloading them would do to the one that runs.
    Check {
        /// Ask the daemon what a reload of its files, as they are now, would cut, change and leave alone. Exit code: 0
        /// nothing, 3 it would change something, 4 it would cut something, 1 the files have errors.
        #[arg(long, conflicts_with_all = ["dir", "file", "strongswan_conf"])]
        against_running: bool,
        /// Print JSON.
        #[arg(long, requires = "against_running")]
        json: bool,
        /// Folder of swanctl.conf and credentials [default: $SWANCTL_DIR, else /etc/swanctl].
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
        /// The connections [default: swanctl.conf in that folder].
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// The daemon's settings [default: $STRONGSWAN_CONF, else /etc/strongswan.conf if there is one].
        #[arg(long, value_name = "FILE")]
        strongswan_conf: Option<PathBuf>,
    },
    /// Have the daemon reload its files, as SIGHUP does: as a whole, or with an error not at all. Says what it did.
    Reload {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print what an nftables ruleset of your own has to accept for the loaded configuration: what adit.firewall = dropin
    /// writes to a file. Without a daemon, of the configuration files.
    Firewall,
    /// See it work: road-warrior, NAT, gateway and node on this machine, and pings through a tunnel.
    Demo,
    /// Be the daemon, as `aditd`; the demo starts its two ends this way.
    #[command(hide = true)]
    Daemon,
    /// Versions of this command and of the daemon.
    Version,
}

/// How to wait and what to tell meanwhile.
#[derive(Debug, Args)]
struct How {
    /// Seconds to wait for the outcome [default: until it is decided].
    #[arg(long, short, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
    /// Print the daemon's log while it works.
    #[arg(long, short)]
    verbose: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("'{text}' is no number of seconds"))?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if time >= Duration::from_millis(1) && time <= Duration::from_secs(86_400) => Ok(time),
        _ => Err("give a time between 0.001 and 86400 seconds".to_owned()),
    }
}

/// Why there is no success to report.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    /// What was asked for is not so.
    No(String),
    /// It could not be asked.
    Unasked(String),
    /// A reload would change something, and cut nothing.
    WouldChange,
    /// A reload would cut something.
    WouldCut,
}

type Outcome = Result<(), Failure>;

impl From<adit_vici::ClientError> for Failure {
    fn from(error: adit_vici::ClientError) -> Self {
        match error {
            adit_vici::ClientError::Failed(errmsg) => Self::No(errmsg),
            other => Self::Unasked(format!("{other}; is aditd still running?")),
        }
    }
}

/// Reads the arguments, does what they say, and gives the exit code.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let uri = cli.uri.as_deref();
    let outcome = match cli.command {
        Command::Status { json } => status::run(uri, json),
        Command::Up { name, ike_only, how } => tunnel::up(uri, &name, ike_only, &how),
        Command::Down { name, force, how } => tunnel::down(uri, &name, force, &how),
        Command::Check { against_running: true, json, .. } => plan::against_running(uri, json),
        Command::Reload { json } => plan::reload(uri, json),
        Command::Check { dir, file, strongswan_conf, .. } => check::run(dir, file, strongswan_conf),
        Command::Firewall => firewall::run(uri),
        Command::Demo => return ExitCode::from(crate::demo::run()),
        Command::Daemon => adit_gateway::run(adit_gateway::Environment::from_process()).map_err(Failure::No),
        Command::Version => version(uri),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::No(sentence)) => {
            complain(&sentence);
            ExitCode::from(1)
        }
        Err(Failure::WouldChange) => ExitCode::from(3),
        Err(Failure::WouldCut) => ExitCode::from(4),
        Err(Failure::Unasked(sentence)) => {
            complain(&sentence);
            ExitCode::from(2)
        }
    }
}

fn complain(sentence: &str) {
    if !sentence.is_empty() {
        eprintln!("adit: {}", show::plain(sentence));
    }
}

fn version(uri: Option<&str>) -> Outcome {
    show::print(&format!("adit {}\n", env!("CARGO_PKG_VERSION")));
    match daemon::connect(uri) {
        Ok(mut client) => {
            let v = client.request("version", &adit_vici::Message::new())?;
            let get = |key| show::plain(v.get_str(key).unwrap_or("?"));
            show::print(&format!(
                "{} {} ({}, {}, {})\n",
                get("daemon"),
                get("version"),
                get("sysname"),
                get("release"),
                get("machine")
            ));
            Ok(())
        }
        // Without a daemon its version is no failure, unless one was named.
        Err(_) if uri.is_none() => Ok(()),
        Err(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
        let cli = Cli::parse_from(["adit", "up", "net", "--uri", "unix:///x", "-t", "2.5"]);
        assert_eq!(cli.uri.as_deref(), Some("unix:///x"));
        let Command::Up { how, .. } = cli.command else { panic!("not up") };
        assert_eq!(how.timeout, Some(Duration::from_millis(2500)));
        assert!(Cli::try_parse_from(["adit", "up", "net", "-t", "0"]).is_err());
        assert!(Cli::try_parse_from(["adit", "up", "net", "-t", "NaN"]).is_err());
    }
}
