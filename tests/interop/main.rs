//! Our daemon against strongSwan, and each against itself, in namespaces rw – nat – gw – node.
//!
//! A case is a function of [`Roles`]; [`cases!`] makes a test of it for every pairing of implementations. The
//! reference pair is part of the run: when it fails, the case or the machine is at fault.

use adit_testbed::{Roles, run_case, skip};

/// Makes a module per case with a test for each pairing.
macro_rules! cases {
    ($($(#[$doc:meta])* $case:ident = $function:expr;)*) => {$(
        $(#[$doc])*
        mod $case {
            #[allow(unused_imports, reason = "not every case is a function of the module around")]
            use super::*;
            #[test]
            fn reference() {
                crate::run(module_path!(), "reference", adit_testbed::Roles::REFERENCE, $function);
            }
            #[test]
            fn our_gateway() {
                crate::run(module_path!(), "our_gateway", adit_testbed::Roles::OUR_GATEWAY, $function);
            }
            #[test]
            fn our_client() {
                crate::run(module_path!(), "our_client", adit_testbed::Roles::OUR_CLIENT, $function);
            }
            #[test]
            fn both_ours() {
                crate::run(module_path!(), "both_ours", adit_testbed::Roles::BOTH_OURS, $function);
            }
        }
    )*};
}

mod algorithms;
mod carry;
mod extensions;
mod failures;
mod firewall;
mod flood;
mod judge;
mod kernel;
mod libreswan;
mod lifecycle;
mod matrix;
mod network;
mod newer;
mod openiked;
mod ours;
mod reload;
mod side_by_side;
mod switches;
mod tables;
mod updown;
mod vici_client;
mod wireguard;

/// Runs a case for `roles`, in a sandbox if need be; skips it where one of them is not there.
fn run(module: &str, pairing: &str, roles: Roles, case: impl FnOnce(Roles)) {
    let module = module.split_once("::").map_or(module, |(_, rest)| rest);
    let test = format!("{module}::{pairing}");
    if let Some(reason) = roles.gw.missing().or_else(|| roles.rw.missing()) {
        return skip(&test, &reason);
    }
    run_case(&test, || case(roles));
}
