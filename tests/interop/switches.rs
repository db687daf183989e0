//! No packet is lost when keys change: rekeyings in a row under load, a numbered probe counting. Longer with
//! `cargo xtask bench rekey`.

use adit_testbed::switches::{Plan, Tally};
use adit_testbed::{Roles, vm};

/// Ten rekeyings of the CHILD_SA and one or two of the IKE_SA, by either side, against strongSwan's client.
#[test]
fn our_gateway() {
    crate::run(module_path!(), "our_gateway", Roles::OUR_GATEWAY, none_lost);
}

/// The same against strongSwan's gateway.
#[test]
fn our_client() {
    crate::run(module_path!(), "our_client", Roles::OUR_CLIENT, none_lost);
}

fn none_lost(roles: Roles) {
    // a load at which a busy machine keeps up, so that what is lost is lost to the switch
    let (load, rate) = if vm::inside() { (0, 50) } else { (2, 200) };
    let plan = Plan { load, rate, ..Plan::lasting(20) };
    let (control, rekeyed) = adit_testbed::switches::run(roles, &plan);
    println!("without rekeyings:\n{control}with:\n{rekeyed}");
    assert!(rekeyed.refused.is_empty(), "{:?}", rekeyed.refused);
    // a rekeying by command can take seconds under emulation
    let least = if vm::inside() { 3 } else { 8 };
    assert!(rekeyed.rekeyed.0 >= least && rekeyed.rekeyed.1 >= 1, "{rekeyed}");
    let lost = |tally: &Tally| tally.flows.iter().map(|f| f.lost_at_switch + f.lost_elsewhere).sum::<usize>();
    assert_eq!(lost(&rekeyed), 0, "\n{rekeyed}");
    assert_eq!(rekeyed.flows.iter().map(|f| f.doubled).sum::<usize>(), 0, "\n{rekeyed}");
}
