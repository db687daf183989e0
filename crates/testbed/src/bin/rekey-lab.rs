//! `cargo xtask bench rekey`: rekeyings under load, against each strongSwan in each role, and what was lost.

use std::process::ExitCode;

use adit_testbed::Roles;
use adit_testbed::switches::{Plan, Tally, run};

/// A name for the command line, and who plays what.
type Pairing = (&'static str, Roles);

const PAIRINGS: [Pairing; 6] = [
    ("reference", Roles::REFERENCE),
    ("our_gateway", Roles::OUR_GATEWAY),
    ("our_client", Roles::OUR_CLIENT),
    ("reference_6", Roles::REFERENCE_6),
    ("our_gateway_6", Roles::OUR_GATEWAY_6),
    ("our_client_6", Roles::OUR_CLIENT_6),
];

const USAGE: &str = "usage: cargo xtask bench rekey [--seconds N] [--rate DATAGRAMS] [--load MBIT] [pairing…]
  for N seconds (60) each; pairings: reference, our_gateway, our_client with strongSwan 5.9.8, …_6 with 6.0.1
  (without one: ours in both roles against both)";

fn main() -> ExitCode {
    match plan() {
        Ok((plan, pairings)) => measure(&plan, &pairings),
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn plan() -> Result<(Plan, Vec<Pairing>), String> {
    let (mut seconds, mut rate, mut load, mut pairings) = (60, None, None, Vec::new());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || {
            let value = words.next().unwrap_or_default();
            value.parse::<u32>().map_err(|_| format!("{word} `{value}`: not a number"))
        };
        match word.as_str() {
            "--seconds" => seconds = number()?.max(1),
            "--rate" => rate = Some(number()?.clamp(1, 10_000)),
            "--load" => load = Some(number()?),
            name => match PAIRINGS.iter().find(|(pairing, _)| *pairing == name) {
                Some(pairing) => pairings.push(*pairing),
                None => return Err(format!("what is {name}?")),
            },
        }
    }
    if pairings.is_empty() {
        pairings.extend(PAIRINGS.iter().filter(|(name, _)| name.starts_with("our")));
    }
    let standard = Plan::lasting(seconds.into());
    let plan = Plan { rate: rate.unwrap_or(standard.rate), load: load.unwrap_or(standard.load), ..standard };
    Ok((plan, pairings))
}

fn measure(plan: &Plan, pairings: &[Pairing]) -> ExitCode {
    let lost = |tally: &Tally| tally.flows.iter().map(|f| f.lost_at_switch + f.lost_elsewhere).sum::<usize>();
    let mut code = ExitCode::SUCCESS;
    for (name, roles) in pairings {
        if let Some(reason) = roles.gw.missing().or_else(|| roles.rw.missing()) {
            println!("{name}: not run: {reason}");
            code = ExitCode::FAILURE;
            continue;
        }
        let (control, rekeyed) = run(*roles, plan);
        println!("{name}, {} s without rekeyings:\n{control}", plan.control.as_secs());
        println!("{name}, {} s with:\n{rekeyed}", plan.rekeying.as_secs());
        if name.starts_with("our") && lost(&rekeyed) > 0 {
            code = ExitCode::FAILURE;
        }
    }
    code
}
