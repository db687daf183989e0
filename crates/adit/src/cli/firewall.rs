//! `adit firewall`: the file for the operator's own ruleset, to be looked at before anything is written.

use adit_conf::Diagnostic;
use adit_gateway::Environment;
use adit_gateway::firewall::dropin;
use adit_vici::Message;

use super::{Failure, Outcome, daemon, show};

pub(super) fn run(uri: Option<&str>) -> Outcome {
    let text = match daemon::ask(uri) {
        Ok(mut client) => {
            client.request("adit-firewall", &Message::new())?.get_str("file").unwrap_or_default().to_owned()
        }
        // A daemon that was named has to be there.
        Err(failure) if uri.is_some() => return Err(failure),
        Err(_) => from_files()?,
    };
    show::print(&text);
    Ok(())
}

/// What the daemon would print if it ran.
fn from_files() -> Result<String, Failure> {
    let environment = Environment::from_process();
    let (settings, problems) = environment.settings();
    let (conf, more) = environment.connections(&settings);
    if let Some(error) = problems.iter().chain(&more).find(|it| it.is_error()) {
        return Err(Failure::No(format!("{}; `adit check` shows all of it", Diagnostic::at(error))));
    }
    let pools = dropin::pool_ranges(conf.pools.iter());
    Ok(dropin::render(&settings, conf.connections.iter(), &pools))
}
