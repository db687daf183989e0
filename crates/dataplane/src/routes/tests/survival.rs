//! What somebody removes, what goes with its interface, and what a crash leaves.

use super::{address, host, needs};
use crate::routes::{Owner, RouteBook, RouteConfig};

#[test]
fn what_somebody_removes_is_put_back_and_told_once() {
    let Some(host) = host() else { return };
    let mut book = host.start(RouteConfig::default());
    book.add(Owner::Child(1), needs("198.51.100.7", &["10.1.0.0/16"], &["10.2.0.0/16", "10.3.0.0/16"]))
        .unwrap();
    book.add(Owner::Child(2), needs("2001:db8:7::7", &["fd01::/64"], &["fd02::/64"])).unwrap();
    book.add(Owner::Shunt(3), needs("192.0.2.2", &["fd01::/64"], &["fd03::/64"])).unwrap();
    book.add_vip(address("10.9.0.1"), address("192.0.2.1")).unwrap();
    book.add_vip(address("fd09::1"), address("192.0.2.1")).unwrap();
    let all = || host.ip("rule") + &host.ip("-6 rule") + &host.table().join("\n") + &host.ip("-brief addr");
    let before = all();
    let mut watch = host.namespace.run(|| adit_linux::route::Watch::new().unwrap()).unwrap();
    assert_eq!((book.mend(), book.take_notes().len()), (None, 0));
    for (act, named) in [
        ("route del 10.2.0.0/16 table 220", "10.2.0.0/16 via 192.0.2.254 dev"),
        ("route flush table 220", "10.2.0.0/16 via 192.0.2.254 dev"),
        ("-6 route flush table 220", "fd02::/64 via 2001:db8::fe dev"),
        ("rule del pref 220", "rule 220 (IPv4): from all lookup 220"),
        ("addr del 10.9.0.1/32 dev eth0", "address 10.9.0.1/32"),
    ] {
        host.ip(act);
        assert!(watch.drain(&book.own()).own, "{act}");
        let _ = book.mend();
        let notes = book.take_notes();
        assert!(notes[0].starts_with("what tunnels need was removed, not by us; put back: "), "{notes:?}");
        assert!(notes[0].contains(named), "{notes:?}");
        assert_eq!(all(), before, "after {act}");
        // What was put back is no news.
        assert!(!watch.drain(&book.own()).own, "{act}");
        assert_eq!((book.mend().is_some(), book.take_notes().len()), (notes.len() > 1, 0));
    }
}

#[test]
fn who_keeps_removing_is_not_answered_without_bound() {
    let Some(host) = host() else { return };
    let mut book = host.start(RouteConfig::default());
    book.add(Owner::Child(1), needs("198.51.100.7", &["10.1.0.0/16"], &["10.2.0.0/16"])).unwrap();
    for turn in 1..=5 {
        host.ip("route del 10.2.0.0/16 table 220");
        assert_eq!(book.mend().is_some(), turn == 5);
        assert_eq!(host.table().len(), 1);
    }
    let notes = book.take_notes();
    assert_eq!(notes.len(), 6);
    assert!(notes[5].contains("again and again") && notes[5].contains("after 1 s"), "{notes:?}");
    host.ip("route del 10.2.0.0/16 table 220");
    assert!(book.mend().is_some());
    assert!(host.table().is_empty() && book.take_notes().is_empty());
}

#[test]
fn what_somebody_puts_in_the_place_of_ours_is_theirs() {
    let Some(host) = host() else { return };
    let mut book = host.start(RouteConfig::default());
    host.ip("route add 10.3.0.0/16 via 192.0.2.99 table 220");
    let theirs = "10.3.0.0/16 via 192.0.2.99 dev eth0";
    book.add(Owner::Child(1), needs("198.51.100.7", &["10.1.0.0/16"], &["10.2.0.0/16", "10.3.0.0/16"]))
        .unwrap();
    let notes = book.take_notes();
    assert!(
        notes.len() == 1 && notes[0].contains("10.3.0.0/16") && notes[0].contains("going on"),
        "{notes:?}"
    );
    host.ip("route replace 10.2.0.0/16 via 192.0.2.98 table 220");
    let _ = book.mend();
    let notes = book.take_notes();
    assert!(
        notes.len() == 1 && notes[0].contains("10.2.0.0/16") && notes[0].contains("left alone"),
        "{notes:?}"
    );
    assert_eq!(host.table(), ["10.2.0.0/16 via 192.0.2.98 dev eth0", theirs]);
    book.clear();
    assert_eq!(host.table(), ["10.2.0.0/16 via 192.0.2.98 dev eth0", theirs]);
}

#[test]
fn routes_come_back_with_their_interface() {
    let Some(host) = host() else { return };
    let mut book = host.start(RouteConfig::default());
    book.add(Owner::Child(1), needs("198.51.100.7", &["10.1.0.0/16"], &["10.2.0.0/16"])).unwrap();
    book.add(Owner::Child(2), needs("192.0.2.2", &["10.1.0.0/16"], &["10.3.0.0/16"])).unwrap();
    book.add_vip(address("fd09::1"), address("192.0.2.1")).unwrap();
    let before = host.table();
    host.ip("link set eth0 down");
    book.refresh();
    let _ = book.mend();
    assert!(host.table().is_empty());
    host.ip("link set eth0 up");
    host.ip("route add default via 192.0.2.254");
    book.refresh();
    assert_eq!(host.table(), before);
    assert!(host.ip("addr show dev eth0").contains("fd09::1/128"));
    // Nobody's hand was in it.
    let notes = book.take_notes();
    assert!(!notes.iter().any(|note| note.contains("not by us")), "{notes:?}");
}

#[test]
fn what_a_killed_predecessor_left_is_removed_and_others_keep_theirs() {
    let Some(host) = host() else { return };
    let folder = std::env::temp_dir().join(host.namespace.name());
    std::fs::create_dir_all(&folder).unwrap();
    let config = RouteConfig { journal: Some(folder.join("kept")), ..RouteConfig::default() };
    let before = host.ip("rule");
    // What an operator, or another program, has put beside ours; one looks nearly the same.
    for line in [
        "route add 10.7.0.0/16 via 192.0.2.254 table 220 proto static",
        "route add throw 172.31.0.0/16 table 220 proto static",
        "addr add 10.9.0.7/32 dev eth0",
    ] {
        host.ip(line);
    }
    let others = host.table();
    let tunnel = || needs("198.51.100.7", &["10.1.0.0/16"], &["10.2.0.0/16", "10.3.0.0/16"]);
    let fill = |book: &mut RouteBook| {
        book.add(Owner::Child(1), tunnel()).unwrap();
        book.add(Owner::Child(2), needs("2001:db8:7::7", &["fd01::/64"], &["fd02::/64"])).unwrap();
        book.add(Owner::Shunt(3), needs("192.0.2.2", &["10.1.0.0/16"], &["10.4.0.0/16"])).unwrap();
        book.add_vip(address("10.9.0.1"), address("192.0.2.1")).unwrap();
        book.add_vip(address("fd09::1"), address("192.0.2.1")).unwrap();
    };
    let mut killed = host.start(config.clone());
    fill(&mut killed);
    let full = host.table();
    // Who comes while it lives gets no hold of its file, and takes nothing away.
    let mut second = host.start(config.clone());
    assert!(second.take_notes()[0].contains("another daemon uses it"));
    drop(second);
    assert_eq!(host.table(), full);
    drop(killed);
    // After its death an operator has replaced one.
    host.ip("route replace 10.3.0.0/16 via 192.0.2.99 table 220 proto static");
    let mut book = host.start(config.clone());
    assert_eq!(book.take_notes(), [""; 0]);
    let theirs = "10.3.0.0/16 via 192.0.2.99 dev eth0 proto static".to_owned();
    assert_eq!(host.table().iter().filter(|route| **route != theirs).cloned().collect::<Vec<_>>(), others);
    let shown = host.ip("addr show dev eth0");
    assert!(!shown.contains("10.9.0.1/32") && !shown.contains("fd09::1") && shown.contains("10.9.0.7/32"));
    assert_eq!(host.ip("rule").matches("lookup 220").count(), 1);
    // One that leaves in order leaves nothing to remember.
    host.ip("route del 10.3.0.0/16 table 220");
    fill(&mut book);
    book.clear();
    drop(book);
    assert_eq!(host.table(), others);
    assert_eq!(host.ip("rule"), before);
    fill(&mut host.start(RouteConfig { journal: None, ..config.clone() }));
    drop(host.start(config));
    assert_eq!(host.table(), full, "what is not written down was removed");
    std::fs::remove_dir_all(folder).unwrap();
}
