//! The daemon, in the foreground.

use std::process::ExitCode;

use adit_gateway::Environment;

const HELP: &str = "\
aditd: IKEv2/IPsec gateway, in the foreground

  --help       this text
  --version    the version

Files and sockets are found as charon and swanctl find them:
  STRONGSWAN_CONF                 settings, else /etc/strongswan.conf
  SWANCTL_DIR                     connections and credentials, else /etc/swanctl
  charon.plugins.vici.socket      control socket, else unix:///var/run/charon.vici

SIGHUP reloads, SIGTERM and SIGINT delete the SAs at the peers, clean up and end.
";

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        None => match adit_gateway::run(Environment::from_process()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("aditd: {error}");
                ExitCode::FAILURE
            }
        },
        Some("--help" | "-h") => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Some("--version" | "-v" | "-V") => {
            println!("aditd {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Some(other) => {
            eprintln!("aditd: unknown option {other}; --help shows those there are");
            ExitCode::from(2)
        }
    }
}
