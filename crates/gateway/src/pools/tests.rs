use std::net::Ipv4Addr;

use super::*;

const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

fn pools(first: &str, last: &str) -> Pools {
    let mut pools = Pools::default();
    pools.insert(
        PoolSpec {
            name: "home".into(),
            first: first.parse().unwrap(),
            last: last.parse().unwrap(),
            base: first.parse().unwrap(),
            attributes: vec![(3, vec![10, 2, 0, 2])],
        },
        Source::File,
    );
    pools
}

fn id(name: &str) -> Identity {
    Identity::Fqdn(name.into())
}

fn lease(pools: &mut Pools, who: &str, want: IpAddr) -> Result<IpAddr, String> {
    pools.acquire(&["home".into()], &id(who), &[want]).map(|l| l.addresses[0])
}

#[test]
fn an_identity_gets_its_address_back() {
    let mut p = pools("10.3.0.1", "10.3.0.3");
    let a = lease(&mut p, "a", ANY).unwrap();
    p.release(&[a], &id("a"));
    assert_ne!(lease(&mut p, "b", ANY).unwrap(), a);
    assert_eq!(lease(&mut p, "a", ANY).unwrap(), a);
}

#[test]
fn a_full_pool_reuses_the_longest_offline_lease_then_refuses() {
    let mut p = pools("10.3.0.1", "10.3.0.2");
    let a = lease(&mut p, "a", ANY).unwrap();
    let b = lease(&mut p, "b", ANY).unwrap();
    assert_eq!(lease(&mut p, "c", ANY).unwrap_err(), "no free IPv4 address in pool 'home'");
    p.release(&[b], &id("b"));
    p.release(&[a], &id("a"));
    assert_eq!(lease(&mut p, "c", ANY).unwrap(), b);
    assert_eq!(lease(&mut p, "a", ANY).unwrap(), a);
}

#[test]
fn two_holders_of_one_lease_are_counted() {
    let mut p = pools("10.3.0.1", "10.3.0.9");
    let a = lease(&mut p, "a", ANY).unwrap();
    assert_eq!(lease(&mut p, "a", a).unwrap(), a);
    p.release(&[a], &id("a"));
    assert_eq!(p.views().next().unwrap().2, 1);
    p.release(&[a], &id("a"));
    p.release(&[a], &id("a"));
    let (_, size, online, offline, _) = p.views().next().unwrap();
    assert_eq!((size, online, offline), (9, 0, 1));
    assert!(p.unload("home").is_ok());
}

#[test]
fn a_foreign_address_or_identity_releases_nothing() {
    let mut p = pools("10.3.0.1", "10.3.0.9");
    let a = lease(&mut p, "a", ANY).unwrap();
    p.release(&[a], &id("b"));
    p.release(&["192.0.2.1".parse().unwrap(), "::1".parse().unwrap()], &id("a"));
    assert_eq!(p.views().next().unwrap().2, 1);
    assert!(p.unload("home").unwrap_err().contains("online leases"));
}

#[test]
fn a_reload_keeps_what_is_in_use_and_what_clients_loaded() {
    let mut p = pools("10.3.0.1", "10.3.0.9");
    let spec = |p: &Pools, name: &str| PoolSpec { name: name.into(), ..p.pools["home"].spec.clone() };
    p.insert(spec(&p, "theirs"), Source::Vici);
    p.insert(spec(&p, "gone"), Source::File);
    let a = lease(&mut p, "a", ANY).unwrap();
    let wider = PoolSpec { first: "10.3.0.0".parse().unwrap(), ..spec(&p, "home") };
    p.replace(vec![wider]);
    assert_eq!(p.pools.keys().collect::<Vec<_>>(), ["home", "theirs"]);
    let others: Vec<_> = (0..9).map(|n| lease(&mut p, &format!("b{n}"), ANY).unwrap()).collect();
    assert!(!others.contains(&a), "{a} is in use");
    assert!(lease(&mut p, "c", ANY).is_err());
    p.replace(Vec::new());
    assert_eq!(p.pools.keys().collect::<Vec<_>>(), ["theirs"]);
}

#[test]
fn addresses_in_use_outlive_their_pool_and_are_given_to_nobody_else() {
    let mut p = pools("10.3.0.1", "10.3.0.4");
    let spec = |name: &str, first: &str, last: &str| PoolSpec {
        name: name.into(),
        first: first.parse().unwrap(),
        last: last.parse().unwrap(),
        base: first.parse().unwrap(),
        attributes: vec![(3, vec![10, 2, 0, 2])],
    };
    let held: Vec<_> = ["a", "b", "c"].iter().map(|who| lease(&mut p, who, ANY).unwrap()).collect();
    // the upper half passes to another pool
    let wanted = [spec("home", "10.3.0.1", "10.3.0.2"), spec("guests", "10.3.0.3", "10.3.0.4")];
    let plan = p.plan(&wanted);
    assert_eq!((plan[0].kept, plan[0].strays), (2, 1));
    assert_eq!(plan[0].change, Change::Changed(vec!["addrs"]));
    assert_eq!(plan[1].change, Change::Added);
    p.replace(wanted.to_vec());
    let guest = p.acquire(&["guests".into()], &id("g"), &[ANY]).unwrap().addresses[0];
    assert_eq!(guest.to_string(), "10.3.0.4", "10.3.0.3 is c's");
    assert!(p.acquire(&["guests".into()], &id("h"), &[ANY]).is_err());
    p.release(&held[2..], &id("c"));
    assert!(p.acquire(&["guests".into()], &id("h"), &[ANY]).is_ok());
    // gone altogether, and back
    assert_eq!(p.plan(&[])[1].strays, 2);
    p.replace(Vec::new());
    assert_eq!(p.strays.len(), 4);
    p.replace(vec![spec("home", "10.3.0.1", "10.3.0.4")]);
    assert!(p.strays.is_empty());
    assert!(lease(&mut p, "d", ANY).is_err());
    p.release(&held[..1], &id("a"));
    assert_eq!(lease(&mut p, "d", ANY).unwrap(), held[0]);
}

#[test]
fn an_unloaded_pool_serves_until_it_is_swept_or_loaded_again() {
    let mut p = pools("10.3.0.1", "10.3.0.9");
    let spec = p.pools["home"].spec.clone();
    p.unload("home").unwrap();
    assert_eq!(p.views().count(), 0);
    assert_eq!(p.unload("home").unwrap_err(), "home not found");
    let a = lease(&mut p, "a", ANY).unwrap();
    p.insert(spec, Source::Vici);
    p.sweep();
    assert_eq!(p.views().next().unwrap().2, 1);
    p.release(&[a], &id("a"));
    p.unload("home").unwrap();
    p.sweep();
    assert!(lease(&mut p, "a", ANY).unwrap_err().contains("does not exist"));
}
