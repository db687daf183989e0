//! The diff, case by case: what changes, what runs, and what becomes of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use adit_ike::{ChildAction, ChildConfig, Connection, HostSpec, IkeState, RunningConfig};
use adit_ipsec::Identity;

use super::connection::plan;
use super::plan::ReloadPlan;
use super::settings::SettingsPlan;

const START: ChildAction = ChildAction { trap: false, start: true };
const TRAP: ChildAction = ChildAction { trap: true, start: false };
const NONE: ChildAction = ChildAction { trap: false, start: false };

fn child(name: &str, start_action: ChildAction) -> ChildConfig {
    let remote_ts = vec!["10.2.0.0/16".parse().unwrap()];
    ChildConfig { name: name.into(), remote_ts, start_action, ..ChildConfig::default() }
}

fn conn(children: &[ChildConfig]) -> Connection {
    let children = children.iter().cloned().map(Arc::new).collect();
    let remote_addrs = vec![HostSpec::Addr("192.0.2.1".parse().unwrap())];
    Connection { name: "home".into(), remote_addrs, children, ..Connection::default() }
}

/// IKE_SA 7 of `conn` with a CHILD_SA each for these, numbered from 10.
fn sa(conn: &Connection, up: &[&str]) -> RunningConfig {
    let config = |name: &&str| Arc::clone(conn.child(name).unwrap());
    RunningConfig {
        id: 7,
        state: IkeState::Established,
        remote: None,
        initiator: true,
        connection: Arc::new(conn.clone()),
        children: (10..).zip(up.iter().map(config)).collect(),
    }
}

/// The rows of the plan, one a line, what is left alone in brackets.
fn rows(
    old: Option<&Connection>,
    new: Option<&Connection>,
    live: &[RunningConfig],
    traps: &[&str],
) -> String {
    let traps: BTreeSet<Arc<str>> = traps.iter().map(|name| Arc::from(*name)).collect();
    let plan = ReloadPlan { connections: vec![plan(old, new, live, &traps)], ..ReloadPlan::default() };
    let line = |row: crate::control::PlanRow| {
        let id = row.id.map_or_else(String::new, |id| format!(" #{id}"));
        format!("{}: {} {}{id}: {}\n", row.group.name(), row.kind, row.name, row.text)
    };
    plan.rows().into_iter().map(line).collect()
}

#[test]
fn nothing_changed_nothing_touched() {
    let it = conn(&[child("a", START), child("b", TRAP)]);
    assert_eq!(
        rows(Some(&it), Some(&it), &[sa(&it, &["a"])], &["b"]),
        "alone: connection home: unchanged\nalone: IKE_SA home #7: left alone\nalone: CHILD_SA home/a #10: left alone\n"
    );
}

#[test]
fn a_changed_child_touches_no_other() {
    let old = conn(&[child("a", START), child("b", START), child("c", NONE), child("d", TRAP)]);
    let with = |change: &dyn Fn(&mut Vec<ChildConfig>)| {
        let mut children: Vec<ChildConfig> = old.children.iter().map(|c| (**c).clone()).collect();
        change(&mut children);
        conn(&children)
    };
    let live = [sa(&old, &["a", "b", "c"])];
    let told = |new: &Connection| {
        let all = rows(Some(&old), Some(new), &live, &["d"]);
        let kept =
            |line: &&str| !line.ends_with("left alone") && !line.ends_with("connection home: unchanged");
        all.lines().filter(kept).collect::<Vec<_>>().join("\n")
    };
    let other_ts = || vec!["10.9.0.0/16".parse().unwrap()];
    for (what, new, expected) in [
        (
            "lifetime of a started child",
            with(&|c| c[0].life_time = Duration::from_secs(9999)),
            "changed: child home/a: changed: life_time\n\
             changed: CHILD_SA home/a #10: goes on, and takes over at its next rekeying: life_time",
        ),
        (
            "selectors of a started child",
            with(&|c| c[0].remote_ts = other_ts()),
            "changed: child home/a: changed: remote_ts\n\
             cut: CHILD_SA home/a #10: closed and initiated anew: remote_ts changed\n\
             changed: child home/a: initiated",
        ),
        (
            "selectors of a child that a peer or an operator brought up",
            with(&|c| c[2].remote_ts = other_ts()),
            "changed: child home/c: changed: remote_ts\n\
             alone: CHILD_SA home/c #12: kept as it is until it ends: remote_ts changed",
        ),
        (
            "selectors of a trap",
            with(&|c| c[3].remote_ts = other_ts()),
            "changed: child home/d: changed: remote_ts\nchanged: trap home/d: replaced",
        ),
        (
            "a trap no more",
            with(&|c| c[3].start_action = NONE),
            "changed: child home/d: changed: start_action\ncut: trap home/d: removed",
        ),
        (
            "started children that go, one comes",
            with(&|c| {
                c.remove(1);
                c.push(child("e", START));
            }),
            "changed: child home/e: added\nchanged: child home/b: removed\n\
             cut: CHILD_SA home/b #11: closed: the child is removed\nchanged: child home/e: initiated",
        ),
    ] {
        assert_eq!(told(&new), expected, "{what}");
    }
}

#[test]
fn a_changed_connection() {
    let old = conn(&[child("a", START), child("c", NONE)]);
    let soft = Connection { dpd_delay: Duration::from_secs(30), ..old.clone() };
    assert_eq!(
        rows(Some(&old), Some(&soft), &[sa(&old, &["a"])], &[]),
        "changed: connection home: changed: dpd_delay\n\
         changed: IKE_SA home #7: goes on, and takes over at its next rekeying: dpd_delay\n\
         alone: CHILD_SA home/a #10: left alone\n"
    );
    let mut hard = old.clone();
    hard.remote.id = Identity::Fqdn("other".into());
    assert_eq!(
        rows(Some(&old), Some(&hard), &[sa(&old, &["a"])], &[]),
        "changed: connection home: changed: remote.id\n\
         cut: IKE_SA home #7: closed and initiated anew: remote.id changed\n\
         cut: CHILD_SA home/a #10: closed and initiated anew: remote.id changed\n\
         changed: child home/a: initiated\n"
    );
    // The child that was not started keeps the IKE_SA.
    assert_eq!(
        rows(Some(&old), Some(&hard), &[sa(&old, &["a", "c"])], &[]),
        "changed: connection home: changed: remote.id\n\
         alone: IKE_SA home #7: kept as it is until it ends: remote.id changed\n\
         cut: CHILD_SA home/a #10: closed and initiated anew: remote.id changed\n\
         alone: CHILD_SA home/c #11: kept as it is until it ends: remote.id changed\n\
         changed: child home/a: initiated\n"
    );
    // One that never came up is tried again with the new configuration.
    let trying = RunningConfig { state: IkeState::Connecting, ..sa(&old, &[]) };
    let told = rows(Some(&old), Some(&hard), &[trying], &[]);
    assert!(told.contains("cut: IKE_SA home #7: closed and initiated anew"), "{told}");
    let moved = Connection { remote_addrs: vec![HostSpec::Any], ..old.clone() };
    let trapped = conn(&[child("a", TRAP)]);
    let told =
        rows(Some(&trapped), Some(&Connection { children: trapped.children.clone(), ..moved }), &[], &["a"]);
    assert!(told.contains("changed: trap home/a: replaced"), "{told}");
}

#[test]
fn a_connection_that_goes_and_one_that_comes() {
    let it = conn(&[child("a", START), child("c", NONE), child("d", TRAP)]);
    assert_eq!(
        rows(Some(&it), None, &[sa(&it, &["a", "c"])], &["d"]),
        "changed: connection home: removed\n\
         alone: IKE_SA home #7: kept as it is until it ends: the connection is removed\n\
         cut: CHILD_SA home/a #10: closed: the connection is removed\n\
         alone: CHILD_SA home/c #11: kept as it is until it ends: the connection is removed\n\
         cut: trap home/d: removed\n"
    );
    assert_eq!(
        rows(None, Some(&it), &[], &[]),
        "changed: connection home: added\nchanged: trap home/d: installed\nchanged: child home/a: initiated\n"
    );
    // An SA that was kept finds its connection again.
    let told = rows(None, Some(&it), &[sa(&it, &["a", "c"])], &[]);
    assert!(told.contains("alone: CHILD_SA home/a #10: left alone"), "{told}");
    assert!(!told.contains("home/a: initiated"), "{told}");
}

#[test]
fn what_an_older_configuration_left_is_judged_by_what_it_was_made_with() {
    let first = conn(&[child("c", NONE)]);
    let mut second = first.clone();
    second.remote.id = Identity::Fqdn("other".into());
    let third = Connection { dpd_delay: Duration::from_secs(30), ..second.clone() };
    let told = rows(Some(&second), Some(&third), &[sa(&first, &["c"])], &[]);
    assert!(told.contains("alone: IKE_SA home #7: kept as it is until it ends: remote.id changed"), "{told}");
    // and a way back is one
    let told = rows(Some(&second), Some(&first), &[sa(&first, &["c"])], &[]);
    assert!(told.contains("alone: CHILD_SA home/c #10: left alone"), "{told}");
}

#[test]
fn settings_are_told_by_name() {
    let settings = SettingsPlan { now: vec!["charon.keep_alive"], restart: vec!["charon.port"] };
    let rows = ReloadPlan { settings, ..ReloadPlan::default() }.rows();
    let told: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
    assert_eq!(told, ["takes effect at once", "has changed; needs a restart of aditd"]);
}

#[test]
fn a_reading_has_every_error_with_its_place_and_what_could_not_be_used_apart() {
    let dir = crate::control::folder("reading");
    let environment = crate::Environment {
        strongswan_conf: dir.join("strongswan.conf"),
        swanctl_conf: dir.join("swanctl.conf"),
        swanctl_dir: dir.clone(),
    };
    assert!(super::read(&environment).missing.is_some());
    std::fs::write(dir.join("strongswan.conf"), "charon {\n  retransmit_tires = 3\n}\n").unwrap();
    std::fs::write(
        dir.join("swanctl.conf"),
        "connections {\n  a {\n    local {\n      certs = no.pem\n    }\n    remote {\n    }\n  }\n}\npools {\n  p {\n    addrs = x\n  }\n}\n",
    )
    .unwrap();
    let reading = super::read(&environment);
    let errors = reading.errors.join("\n");
    assert!(
        errors.contains("strongswan.conf:2:3: error: ") && errors.contains("swanctl.conf:12:"),
        "{errors}"
    );
    let [unresolved] = reading.unresolved.as_slice() else { panic!("{:?}", reading.unresolved) };
    assert!(unresolved.place.ends_with("swanctl.conf:2: "), "{unresolved}");
    assert!(
        unresolved.text.starts_with("connection 'a': ") && unresolved.text.contains("no.pem"),
        "{unresolved}"
    );
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn policies_come_go_and_change_beside_the_children() {
    use adit_ike::ShuntConfig;
    use adit_ipsec::Shunt;
    let shunt = |name: &str, remote: &str, installed| {
        Arc::new(ShuntConfig {
            name: name.into(),
            kind: Shunt::Pass,
            local_ts: vec!["0.0.0.0/0".parse().unwrap()],
            remote_ts: vec![remote.parse().unwrap()],
            installed,
            options: Arc::default(),
        })
    };
    let with = |shunts: Vec<Arc<ShuntConfig>>| Connection { shunts, ..conn(&[child("a", START)]) };
    let old = with(vec![shunt("lan", "10.9.0.0/16", true), shunt("gone", "10.8.0.0/16", true)]);
    let new = with(vec![
        shunt("lan", "10.9.0.0/17", true),
        shunt("new", "10.7.0.0/16", true),
        shunt("idle", "10.6.0.0/16", false),
    ]);
    let live = [sa(&old, &["a"])];
    let text = rows(Some(&old), Some(&new), &live, &[]);
    for line in [
        "policy home/lan: removed",
        "policy home/gone: removed",
        "policy home/lan: installed",
        "policy home/new: installed",
        "CHILD_SA home/a #10: ",
    ] {
        assert!(text.contains(line), "no `{line}` in\n{text}");
    }
    assert!(!text.contains("policy home/idle") && !text.contains("cut:"), "{text}");
    let text = rows(Some(&old), Some(&old), &live, &[]);
    assert!(!text.contains("policy home"), "{text}");
}
