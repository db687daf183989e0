//! What comes up: each case is a working pair with a knob turned, and what must be seen once it is up. Then it is taken
//! down again, and nothing may be left.

use adit_ike::{Fragmentation, HostSpec, SendCert, Snapshot};
use adit_ipsec::Selector;
use adit_wire::Envelope;
use adit_wire::consts::{ExchangeType, NotifyType};

use crate::net::{Captured, End, Link};
use crate::pair::Pair;
use crate::pki::{Algorithm, Pki};
use crate::setup::{Auth, Setup, id, ip, secret, specs};

/// A case that must come up.
pub struct Case {
    pub name: &'static str,
    pub auth: Auth,
    pub turn: fn(&mut Setup),
    /// Looks at the pair when it is up.
    pub check: fn(&Pair),
}

const fn case(name: &'static str, auth: Auth, turn: fn(&mut Setup), check: fn(&Pair)) -> Case {
    Case { name, auth, turn, check }
}

fn nothing(_: &mut Setup) {}

fn one_child(pair: &Pair) {
    assert_eq!(pair.children(End::Client).len(), 1);
    assert_eq!(pair.children(End::Gateway).len(), 1);
}

fn the_sa(pair: &Pair, end: End) -> Snapshot {
    pair.views(end).remove(0)
}

/// The notifies that anyone on the path can read.
pub fn clear_notifies(capture: &[Captured]) -> Vec<NotifyType> {
    let mut notifies = Vec::new();
    for datagram in capture {
        let message = if datagram.src.port() == 4500 || datagram.dst.port() == 4500 {
            datagram.bytes.strip_prefix(&[0; 4])
        } else {
            Some(&datagram.bytes[..])
        };
        let Some(Ok(envelope)) = message.map(Envelope::parse) else { continue };
        notifies.extend(envelope.clear.iter().filter_map(|payload| match payload {
            adit_wire::Payload::Notify { kind, .. } => Some(*kind),
            _ => None,
        }));
    }
    notifies
}

fn count(capture: &[Captured], exchange: ExchangeType, from: End) -> usize {
    let header = |c: &&Captured| {
        let bytes = c.bytes.strip_prefix(&[0; 4]).unwrap_or(&c.bytes);
        c.from == from && adit_wire::Header::parse(bytes).is_ok_and(|h| h.exchange == exchange)
    };
    capture.iter().filter(header).count()
}

fn floated(pair: &Pair) {
    one_child(pair);
    let (client, gateway) = (the_sa(pair, End::Client), the_sa(pair, End::Gateway));
    assert!(client.nat_local && !client.nat_remote && gateway.nat_remote && !gateway.nat_local);
    assert_eq!(client.remote.unwrap().port(), 4500);
    assert_eq!(gateway.remote.unwrap().ip(), ip("198.51.100.1"));
    assert!(client.children[0].udp_encap && gateway.children[0].udp_encap);
}

fn leased_both(pair: &Pair) {
    one_child(pair);
    let sa = the_sa(pair, End::Client);
    assert_eq!(sa.local_vips[..], [ip("10.3.0.1"), ip("fd03::1")]);
    let dns: Vec<_> = pair.client.virtual_ips.values().flat_map(|(_, dns)| dns.clone()).collect();
    assert_eq!(dns, [ip("10.2.0.53")]);
    let child = &sa.children[0];
    assert_eq!(child.local_ts[..], [Selector::host(ip("10.3.0.1")), Selector::host(ip("fd03::1"))]);
    assert_eq!(child.remote_ts.len(), 2);
}

fn fragmented(pair: &Pair) {
    one_child(pair);
    let largest = pair.net.capture.iter().map(|c| c.bytes.len()).max().unwrap();
    assert!(largest + 28 <= 1280, "a datagram with {largest} octets");
    assert!(count(&pair.net.capture, ExchangeType::IKE_AUTH, End::Client) > 4);
}

const NOTHING: fn(&mut Setup) = nothing;

/// Every one of them. The storm draws from it, too.
pub const CASES: &[Case] = &[
    case("plain", Auth::Psk, NOTHING, |pair| {
        one_child(pair);
        let sa = the_sa(pair, End::Client);
        assert!(!sa.nat_any() && !sa.children[0].udp_encap && sa.remote.unwrap().port() == 4500);
        assert_eq!(count(&pair.net.capture, ExchangeType::IKE_SA_INIT, End::Client), 1);
        assert_eq!(count(&pair.net.capture, ExchangeType::IKE_AUTH, End::Gateway), 1);
    }),
    case("behind NAT", Auth::Psk, Setup::behind_nat, floated),
    case(
        "the child follows the IKE_SA",
        Auth::Psk,
        |s| {
            s.road_warrior();
            s.client.conn.childless = adit_ike::Childless::Prefer;
        },
        |pair| {
            leased_both(pair);
            assert!(clear_notifies(&pair.net.capture).contains(&NotifyType::CHILDLESS_IKEV2_SUPPORTED));
            assert_eq!(count(&pair.net.capture, ExchangeType::CREATE_CHILD_SA, End::Client), 1);
        },
    ),
    case(
        "NAT pretended",
        Auth::Psk,
        |s| s.client.conn.encap = true,
        |pair| {
            let sa = the_sa(pair, End::Client);
            assert!(sa.nat_fake || sa.nat_any());
            assert!(sa.children[0].udp_encap && sa.remote.unwrap().port() == 4500);
        },
    ),
    case(
        "cookie demanded",
        Auth::Psk,
        |s| {
            s.gateway.settings.cookie_threshold = 1;
            s.half_open = 1;
        },
        |pair| {
            one_child(pair);
            assert!(clear_notifies(&pair.net.capture).contains(&NotifyType::COOKIE));
            assert!(pair.gateway.endpoint.stats().cookies_sent > 0);
        },
    ),
    case(
        "cookie demanded by address",
        Auth::Psk,
        |s| {
            s.gateway.settings.cookie_threshold_ip = 2;
            s.half_open = 2;
        },
        |pair| {
            one_child(pair);
            assert!(clear_notifies(&pair.net.capture).contains(&NotifyType::COOKIE));
        },
    ),
    case(
        "another group wanted",
        Auth::Psk,
        |s| {
            s.client.ike(&["aes256gcm16-prfsha384-x25519-ecp256"]);
            s.gateway.ike(&["aes256gcm16-prfsha384-ecp256"]);
        },
        |pair| {
            one_child(pair);
            assert!(clear_notifies(&pair.net.capture).contains(&NotifyType::INVALID_KE_PAYLOAD));
            assert_eq!(the_sa(pair, End::Client).ke.unwrap().id, 19);
        },
    ),
    case(
        "cookie and another group",
        Auth::Psk,
        |s| {
            s.client.ike(&["aes256gcm16-prfsha384-x25519-ecp256"]);
            s.gateway.ike(&["aes256gcm16-prfsha384-ecp256"]);
            s.gateway.settings.cookie_threshold = 1;
            s.half_open = 1;
        },
        |pair| {
            one_child(pair);
            let seen = clear_notifies(&pair.net.capture);
            assert!(seen.contains(&NotifyType::INVALID_KE_PAYLOAD) && seen.contains(&NotifyType::COOKIE));
        },
    ),
    case(
        "CBC and HMAC, finite field",
        Auth::Psk,
        |s| {
            s.both(|side| {
                side.ike(&["aes128-sha256-modp2048"]);
                side.esp(&["aes256-sha512-noesn"]);
            });
        },
        |pair| {
            one_child(pair);
            let sa = the_sa(pair, End::Gateway);
            assert_eq!((sa.encr.unwrap().id, sa.integ.unwrap().id, sa.ke.unwrap().id), (12, 12, 14));
            assert_eq!(sa.children[0].integ.unwrap().id, 14);
            assert!(!sa.children[0].esn);
        },
    ),
    case(
        "ChaCha20, P-521, ESN",
        Auth::Psk,
        |s| {
            s.both(|side| {
                side.ike(&["chacha20poly1305-prfsha512-ecp521"]);
                side.esp(&["chacha20poly1305-esn"]);
            });
        },
        |pair| {
            one_child(pair);
            assert!(the_sa(pair, End::Gateway).children[0].esn);
        },
    ),
    case(
        "the gateway's order decides",
        Auth::Psk,
        |s| {
            s.client.ike(&["aes128-sha256-x25519", "aes256gcm16-prfsha384-x25519"]);
            s.gateway.ike(&["aes256gcm16-prfsha384-x25519", "aes128-sha256-x25519"]);
        },
        |pair| assert_eq!(the_sa(pair, End::Client).encr.unwrap().id, 20),
    ),
    case("P-256 certificates", Auth::Cert(Algorithm::P256), NOTHING, one_child),
    case("P-384 certificates", Auth::Cert(Algorithm::P384), NOTHING, one_child),
    case("Ed25519 certificates", Auth::Cert(Algorithm::Ed25519), NOTHING, one_child),
    case("RSA certificates", Auth::Cert(Algorithm::Rsa), NOTHING, one_child),
    case(
        "RSA certificates, PSS",
        Auth::Cert(Algorithm::Rsa),
        |s| s.both(|side| side.settings.rsa_pss = true),
        one_child,
    ),
    case(
        "certificates sent unasked",
        Auth::Cert(Algorithm::Ed25519),
        |s| {
            s.both(|side| {
                side.conn.send_certreq = false;
                side.conn.send_cert = SendCert::Always;
            });
        },
        one_child,
    ),
    case(
        "certificates pinned, not sent",
        Auth::Cert(Algorithm::Ed25519),
        |s| {
            let pki = Pki::of(Algorithm::Ed25519);
            s.both(|side| side.conn.send_cert = SendCert::Never);
            s.client.conn.remote.certs = vec![pki.gateway.certificate.clone()];
            s.gateway.conn.remote.certs = vec![pki.client.certificate.clone()];
        },
        one_child,
    ),
    case(
        "the gateway takes the identity from its certificate",
        Auth::Cert(Algorithm::P256),
        |s| {
            s.gateway.conn.local.id = None;
            s.client.conn.remote.id = id("CN=gw.example.net");
        },
        one_child,
    ),
    case("EAP, gateway by PSK", Auth::EapAndPsk, NOTHING, |pair| {
        one_child(pair);
        assert_eq!(the_sa(pair, End::Gateway).remote_eap_id.as_deref(), Some(&id("alice")));
    }),
    case("EAP, gateway by certificate", Auth::EapAndCert(Algorithm::P256), NOTHING, |pair| {
        one_child(pair);
        assert_eq!(the_sa(pair, End::Gateway).remote_eap_id.as_deref(), Some(&id("alice")));
    }),
    case(
        "a phone: NAT, EAP, certificate, addresses",
        Auth::EapAndCert(Algorithm::Ed25519),
        |s| {
            s.behind_nat();
            s.road_warrior();
            s.gateway.conn.remote.id = adit_ipsec::Identity::Any;
        },
        |pair| {
            floated(pair);
            leased_both(pair);
        },
    ),
    case(
        "certificate of 5 kB from the client",
        Auth::Cert(Algorithm::Ed25519),
        |s| {
            let large = &Pki::of(Algorithm::Ed25519).large;
            s.client.conn.local.certs = vec![large.certificate.clone()];
            s.client.credentials.keys = vec![large.keys()];
        },
        fragmented,
    ),
    case(
        "certificates of 5 kB from both, P-256, behind NAT",
        Auth::Cert(Algorithm::P256),
        |s| {
            let pki = Pki::of(Algorithm::P256);
            s.client.conn.local.certs = vec![pki.large.certificate.clone()];
            s.client.credentials.keys = vec![pki.large.keys()];
            s.gateway.conn.local.certs = vec![pki.large_gateway.certificate.clone()];
            s.gateway.credentials.keys = vec![pki.large_gateway.keys()];
            s.behind_nat();
        },
        fragmented,
    ),
    case(
        "no fragmentation, whatever the size",
        Auth::Cert(Algorithm::Ed25519),
        |s| {
            let large = &Pki::of(Algorithm::Ed25519).large;
            s.client.conn.local.certs = vec![large.certificate.clone()];
            s.client.credentials.keys = vec![large.keys()];
            s.gateway.conn.fragmentation = Fragmentation::No;
        },
        |pair| {
            one_child(pair);
            assert_eq!(count(&pair.net.capture, ExchangeType::IKE_AUTH, End::Client), 1);
        },
    ),
    case(
        "three children",
        Auth::Psk,
        |s| {
            s.add_child("voice", "10.11.0.0/16", "10.12.0.0/16");
            s.add_child("six", "fd01::/64", "fd02::/64");
        },
        |pair| {
            assert_eq!(pair.children(End::Client).len(), 3);
            let reqids: std::collections::BTreeSet<_> =
                the_sa(pair, End::Client).children.iter().map(|c| c.reqid).collect();
            assert_eq!(reqids.len(), 3);
        },
    ),
    case(
        "three children with PFS",
        Auth::Psk,
        |s| {
            s.add_child("voice", "10.11.0.0/16", "10.12.0.0/16");
            s.add_child("six", "fd01::/64", "fd02::/64");
            s.both(|side| {
                for child in &mut side.conn.children {
                    std::sync::Arc::make_mut(child).esp_proposals = vec![
                        adit_ipsec::Proposal::parse(adit_ipsec::Protocol::Esp, "aes256gcm16-x25519").unwrap(),
                    ];
                }
            });
        },
        |pair| {
            assert_eq!(pair.children(End::Client).len(), 3);
            // The first one's keys come from IKE_AUTH, which has no key exchange of its own.
            assert_eq!(the_sa(pair, End::Client).children.iter().filter(|c| c.ke.is_some()).count(), 2);
        },
    ),
    case("a road-warrior's addresses", Auth::Psk, Setup::road_warrior, leased_both),
    case(
        "a wanted address",
        Auth::Psk,
        |s| {
            s.road_warrior();
            s.client.conn.vips = vec![ip("0.0.0.0")];
        },
        |pair| {
            one_child(pair);
            assert_eq!(the_sa(pair, End::Client).local_vips[..], [ip("10.3.0.1")]);
        },
    ),
    case(
        "a full tunnel",
        Auth::Psk,
        |s| {
            s.road_warrior();
            s.client.ts(&["dynamic"], &["0.0.0.0/0", "::/0"]);
            s.gateway.ts(&["0.0.0.0/0", "::/0"], &["dynamic"]);
        },
        |pair| {
            let sa = the_sa(pair, End::Client);
            assert_eq!(sa.children[0].remote_ts[..], [Selector::any_v4(), Selector::any_v6()]);
        },
    ),
    case(
        "narrowed by the gateway",
        Auth::Psk,
        |s| s.client.ts(&["10.0.0.0/8"], &["0.0.0.0/0"]),
        |pair| {
            let sa = the_sa(pair, End::Client);
            assert_eq!(sa.children[0].local_ts[..], [Selector::from_cidr(ip("10.1.0.0"), 16).unwrap()]);
            assert_eq!(sa.children[0].remote_ts[..], [Selector::from_cidr(ip("10.2.0.0"), 16).unwrap()]);
        },
    ),
    case(
        "narrowed to a port",
        Auth::Psk,
        |s| {
            s.gateway.ts(&["10.2.0.5/32[tcp/443]"], &["10.1.0.0/16[tcp]"]);
        },
        |pair| {
            let ts = the_sa(pair, End::Client).children[0].remote_ts[0];
            assert_eq!(
                (ts.protocol(), ts.start_port(), ts.end_port(), ts.start()),
                (6, 443, 443, ip("10.2.0.5"))
            );
        },
    ),
    case(
        "host to host, over IPv6",
        Auth::Psk,
        |s| {
            for (side, own, peer) in [
                (&mut s.client, "2001:db8:1::10", "2001:db8:2::1"),
                (&mut s.gateway, "2001:db8:2::1", "2001:db8:1::10"),
            ] {
                side.outside.addresses = vec![ip(own)];
                side.conn.local_addrs = vec![HostSpec::Addr(ip(own))];
                side.conn.remote_addrs = vec![HostSpec::Addr(ip(peer))];
                side.ts(&["dynamic"], &["dynamic"]);
            }
        },
        |pair| {
            let sa = the_sa(pair, End::Client);
            assert_eq!(sa.children[0].local_ts[..], [Selector::host(ip("2001:db8:1::10"))]);
        },
    ),
    case(
        "the gateway by name, any own address",
        Auth::Psk,
        |s| {
            s.client.conn.local_addrs = vec![HostSpec::Any];
            s.client.conn.remote_addrs = vec![HostSpec::Name("gw.example.net".to_owned())];
            s.client.outside.names = [("gw.example.net".to_owned(), vec![ip("203.0.113.1")])].into();
            s.gateway.conn.remote_addrs = vec![HostSpec::Name("nowhere.example.net".to_owned())];
        },
        one_child,
    ),
    case(
        "one of several keys",
        Auth::Psk,
        |s| {
            s.gateway.credentials.shared.insert(0, secret(&["other.example.net"], "another secret"));
            s.gateway.credentials.shared.push(secret(&[], "anybody's secret"));
        },
        one_child,
    ),
    case(
        "a slow outside",
        Auth::Psk,
        |s| {
            s.road_warrior();
            s.both(|side| side.outside.delay = 3_000_000);
            // Slower than the first retransmission: requests are repeated while their answer is being worked on.
            s.both(|side| side.settings.retransmit_timeout = std::time::Duration::from_millis(500));
        },
        leased_both,
    ),
    case(
        "a fifth lost, duplicates, reordering",
        Auth::Psk,
        |s| {
            s.links = [Link { loss: 20, duplicates: 20, delay: 30_000, jitter: 200_000 }; 2];
        },
        one_child,
    ),
    case(
        "everything twice",
        Auth::EapAndCert(Algorithm::P256),
        |s| {
            s.road_warrior();
            s.links = [Link { loss: 0, duplicates: 100, delay: 30_000, jitter: 60_000 }; 2];
        },
        leased_both,
    ),
    case(
        "two selectors a side",
        Auth::Psk,
        |s| {
            for (side, own, peer) in [
                (&mut s.client, ["10.1.0.0/16", "10.11.0.0/16"], ["10.2.0.0/16", "10.12.0.0/16"]),
                (&mut s.gateway, ["10.12.0.0/16", "10.2.0.0/16"], ["10.11.0.0/16", "10.1.0.0/16"]),
            ] {
                side.child().local_ts = specs(&own);
                side.child().remote_ts = specs(&peer);
            }
        },
        |pair| {
            let sa = the_sa(pair, End::Client);
            assert_eq!((sa.children[0].local_ts.len(), sa.children[0].remote_ts.len()), (2, 2));
        },
    ),
];

fn run(case: &Case, initiator: End) -> Result<(), String> {
    let mut setup = Setup::new(case.auth);
    (case.turn)(&mut setup);
    let mut pair = Pair::new(setup, 1);
    let told = |pair: &Pair, what: &str| format!("{what}\n{}", pair.story());
    if let Err(reason) = pair.up(initiator) {
        return Err(told(&pair, &format!("does not come up: {reason}")));
    }
    pair.settle().map_err(|difference| told(&pair, &difference))?;
    let check = std::panic::AssertUnwindSafe(|| (case.check)(&pair));
    std::panic::catch_unwind(check).map_err(|_| told(&pair, "is up, but otherwise than expected"))?;
    pair.terminate(initiator.other()).map_err(|reason| told(&pair, &format!("terminate: {reason}")))?;
    pair.drain().map_err(|left| told(&pair, &format!("left: {left}")))
}

fn all(cases: impl Iterator<Item = &'static Case>, initiator: End) {
    let failed: Vec<_> = cases
        .filter_map(|case| run(case, initiator).err().map(|error| format!("=== {}: {error}", case.name)))
        .collect();
    assert!(failed.is_empty(), "{} cases failed\n{}", failed.len(), failed.join("\n\n"));
}

#[test]
fn every_case_comes_up_and_goes_down() {
    all(CASES.iter(), End::Client);
}

/// The roles of site-to-site cases can be swapped.
#[test]
fn the_gateway_initiates() {
    let swappable =
        ["plain", "CBC and HMAC, finite field", "P-256 certificates", "RSA certificates", "three children"];
    all(CASES.iter().filter(|case| swappable.contains(&case.name)), End::Gateway);
}
