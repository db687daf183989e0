//! What must not come up: who is told what, what can be seen on the wire, and that nothing is left behind.

use adit_ike::{AuthMethod, HostSpec};
use adit_wire::consts::NotifyType;

use crate::cases::clear_notifies;
use crate::host::Question;
use crate::net::End;
use crate::pair::Pair;
use crate::pki::{Algorithm, Pki};
use crate::setup::{Auth, Setup, id, ip, secret};

struct Case {
    name: &'static str,
    auth: Auth,
    turn: fn(&mut Setup),
    /// Label of the reason in the outcome at the client.
    client: &'static str,
    /// Label of the failure that the gateway tells of.
    gateway: Option<&'static str>,
    /// A notify that can be read on the wire.
    notify: Option<NotifyType>,
}

const fn case(
    name: &'static str,
    auth: Auth,
    turn: fn(&mut Setup),
    client: &'static str,
    gateway: Option<&'static str>,
    notify: Option<NotifyType>,
) -> Case {
    Case { name, auth, turn, client, gateway, notify }
}

const AUTH_FAILED: &str = "auth-failed-by-peer";

const CASES: &[Case] = &[
    // -- before and in IKE_SA_INIT
    case(
        "no IKE proposal in common",
        Auth::Psk,
        |s| {
            s.client.ike(&["aes256gcm16-prfsha384-x25519"]);
            s.gateway.ike(&["aes128-sha256-ecp256"]);
        },
        "no-proposal",
        Some("no-proposal"),
        Some(NotifyType::NO_PROPOSAL_CHOSEN),
    ),
    case(
        "the gateway does not know the address",
        Auth::Psk,
        |s| {
            s.gateway.conn.remote_addrs = vec![HostSpec::Addr(ip("192.0.2.99"))];
        },
        "no-proposal",
        Some("no-ike-config"),
        Some(NotifyType::NO_PROPOSAL_CHOSEN),
    ),
    case(
        "nobody there",
        Auth::Psk,
        |s| {
            s.client.conn.remote_addrs = vec![HostSpec::Addr(ip("203.0.113.77"))];
        },
        "peer-unreachable",
        None,
        None,
    ),
    case(
        "the gateway's name is unknown",
        Auth::Psk,
        |s| {
            s.client.conn.remote_addrs = vec![HostSpec::Name("gw.example.net".to_owned())];
        },
        "name-unresolved",
        None,
        None,
    ),
    case(
        "no address to initiate to",
        Auth::Psk,
        |s| {
            s.client.conn.remote_addrs = vec![HostSpec::Any];
        },
        "no-remote-address",
        None,
        None,
    ),
    case(
        "the own address is not on the host",
        Auth::Psk,
        |s| {
            s.client.conn.local_addrs = vec![HostSpec::Addr(ip("192.0.2.55"))];
        },
        "local-addr-missing",
        None,
        None,
    ),
    case(
        "no route",
        Auth::Psk,
        |s| {
            s.client.conn.local_addrs = vec![HostSpec::Any];
            s.client.outside.failing.insert(Question::Source);
        },
        "local-addr-missing",
        None,
        None,
    ),
    // -- authentication
    case(
        "wrong PSK",
        Auth::Psk,
        |s| {
            s.gateway.credentials.shared =
                vec![secret(&["client.example.net", "gw.example.net"], "a bad secret")];
        },
        AUTH_FAILED,
        Some("psk-mismatch"),
        None,
    ),
    case(
        "no PSK at the gateway",
        Auth::Psk,
        |s| s.gateway.credentials.shared.clear(),
        AUTH_FAILED,
        Some("no-shared-key"),
        None,
    ),
    case(
        "no PSK at the client",
        Auth::Psk,
        |s| s.client.credentials.shared.clear(),
        "no-shared-key",
        None,
        None,
    ),
    case(
        "the gateway does not know the client's identity",
        Auth::Psk,
        |s| {
            s.client.conn.local.id = Some(id("stranger.example.net"));
        },
        AUTH_FAILED,
        Some("no-peer-config"),
        None,
    ),
    case(
        "the client asks for another gateway",
        Auth::Psk,
        |s| {
            s.client.conn.remote.id = id("other.example.net");
        },
        AUTH_FAILED,
        Some("no-peer-config"),
        None,
    ),
    case(
        "the client authenticates otherwise than wanted",
        Auth::Cert(Algorithm::Ed25519),
        |s| {
            s.client.conn.local.method = AuthMethod::Psk;
            s.both(|side| {
                side.credentials.shared =
                    vec![secret(&["client.example.net", "gw.example.net"], "a very good secret")];
            });
        },
        AUTH_FAILED,
        None,
        None,
    ),
    case(
        "untrusted client certificate",
        Auth::Cert(Algorithm::P256),
        |s| {
            let stranger = Pki::stranger();
            s.client.conn.local.certs = vec![stranger.client.certificate.clone()];
            s.client.credentials.keys = vec![stranger.client.keys()];
        },
        AUTH_FAILED,
        Some("cert-untrusted"),
        None,
    ),
    case(
        "untrusted gateway certificate",
        Auth::Cert(Algorithm::P256),
        |s| {
            let stranger = Pki::stranger();
            s.gateway.conn.local.certs = vec![stranger.gateway.certificate.clone()];
            s.gateway.credentials.keys = vec![stranger.gateway.keys()];
        },
        "cert-untrusted",
        None,
        None,
    ),
    case(
        "expired client certificate",
        Auth::Cert(Algorithm::Ed25519),
        |s| {
            let expired = &Pki::of(Algorithm::Ed25519).expired;
            s.client.conn.local.certs = vec![expired.certificate.clone()];
            s.client.credentials.keys = vec![expired.keys()];
        },
        AUTH_FAILED,
        Some("cert-expired"),
        None,
    ),
    case(
        "an identity that the certificate does not carry",
        Auth::Cert(Algorithm::Ed25519),
        |s| {
            s.client.conn.local.id = Some(id("admin.example.net"));
            s.gateway.conn.remote.id = id("*.example.net");
        },
        AUTH_FAILED,
        Some("identity-not-certified"),
        None,
    ),
    case(
        "a gateway with another identity than configured",
        Auth::Cert(Algorithm::Ed25519),
        |s| {
            // It is trusted, and says who it is, but it is not the one that is wanted. (That the client sends the IDr it
            // wants makes an honest gateway refuse already; this one accepts any.)
            s.gateway.conn.local.id = None;
            s.client.conn.remote.id = id("CN=other.example.net");
        },
        AUTH_FAILED,
        Some("no-peer-config"),
        None,
    ),
    case(
        "another key than the certificate's",
        Auth::Cert(Algorithm::Ed25519),
        |s| {
            let pki = Pki::of(Algorithm::Ed25519);
            s.client.credentials.keys =
                vec![(pki.client.certificate.spki().to_vec(), pki.gateway.key.clone())];
        },
        AUTH_FAILED,
        Some("bad-signature"),
        None,
    ),
    case(
        "no private key at the client",
        Auth::Cert(Algorithm::Ed25519),
        |s| s.client.credentials.keys.clear(),
        "no-private-key",
        None,
        None,
    ),
    case(
        "the pinned certificate is another",
        Auth::Cert(Algorithm::Ed25519),
        |s| {
            s.gateway.conn.remote.certs = vec![Pki::of(Algorithm::Ed25519).large.certificate.clone()];
        },
        AUTH_FAILED,
        Some("cert-not-pinned"),
        None,
    ),
    case(
        "wrong EAP password",
        Auth::EapAndPsk,
        |s| {
            s.client.credentials.eap = vec![secret(&["alice"], "looking-glass")];
        },
        "eap-failed",
        Some("eap-failed"),
        None,
    ),
    case(
        "wrong EAP password, certificate",
        Auth::EapAndCert(Algorithm::Ed25519),
        |s| {
            s.client.credentials.eap = vec![secret(&["alice"], "looking-glass")];
        },
        "eap-failed",
        Some("eap-failed"),
        None,
    ),
    case(
        "a user that the gateway does not know",
        Auth::EapAndPsk,
        |s| {
            s.client.conn.local.eap_id = Some(id("mallory"));
            s.client.credentials.eap = vec![secret(&["mallory"], "wonderland")];
        },
        "eap-failed",
        Some("eap-failed"),
        None,
    ),
    case(
        "no password at the client",
        Auth::EapAndPsk,
        |s| s.client.credentials.eap.clear(),
        "no-eap-secret",
        None,
        None,
    ),
    case(
        "EAP, and the gateway's PSK is wrong",
        Auth::EapAndPsk,
        |s| {
            s.gateway.credentials.shared =
                vec![secret(&["client.example.net", "gw.example.net"], "a bad secret")];
        },
        "psk-mismatch",
        None,
        None,
    ),
    case(
        "EAP, and the gateway's certificate is untrusted",
        Auth::EapAndCert(Algorithm::Ed25519),
        |s| {
            s.client.credentials.authorities = vec![Pki::stranger().authority.clone()];
        },
        "cert-untrusted",
        None,
        None,
    ),
    // -- the first CHILD_SA
    case(
        "no ESP proposal in common",
        Auth::Psk,
        |s| {
            s.client.esp(&["aes256gcm16"]);
            s.gateway.esp(&["aes128-sha256"]);
        },
        "no-proposal",
        Some("no-proposal"),
        None,
    ),
    case(
        "selectors do not meet",
        Auth::Psk,
        |s| s.gateway.ts(&["10.9.0.0/16"], &["10.8.0.0/16"]),
        "ts-unacceptable",
        Some("ts-unacceptable"),
        None,
    ),
    case(
        "the pool is exhausted",
        Auth::Psk,
        |s| {
            s.road_warrior();
            s.gateway.outside.failing.insert(Question::Lease);
        },
        "no-virtual-ip",
        Some("no-lease"),
        None,
    ),
    case(
        "the gateway has no pools",
        Auth::Psk,
        |s| {
            s.road_warrior();
            s.gateway.conn.pools.clear();
        },
        "no-virtual-ip",
        Some("no-lease"),
        None,
    ),
    case(
        "the virtual address cannot be installed",
        Auth::Psk,
        |s| {
            s.road_warrior();
            s.client.outside.failing.insert(Question::VirtualIps);
        },
        "virtual-ip-failed",
        None,
        None,
    ),
    case(
        "the client's data plane refuses",
        Auth::Psk,
        |s| {
            s.client.outside.failing.insert(Question::Install);
        },
        "install-failed",
        None,
        None,
    ),
    case(
        "the gateway's data plane refuses",
        Auth::Psk,
        |s| {
            s.gateway.outside.failing.insert(Question::Install);
        },
        "temporary-failure",
        Some("install-failed"),
        None,
    ),
    case(
        "the client's data plane refuses, slowly",
        Auth::EapAndPsk,
        |s| {
            s.road_warrior();
            s.both(|side| side.outside.delay = 2_000_000);
            s.client.outside.failing.insert(Question::Install);
        },
        "install-failed",
        None,
        None,
    ),
];

/// Whether an IKE_SA without children is to stay is the operator's choice (`close_ike_on_child_failure`).
fn run(case: &Case, close: bool) -> Result<(), String> {
    let mut setup = Setup::new(case.auth);
    (case.turn)(&mut setup);
    setup.both(|side| side.settings.close_ike_on_child_failure = close);
    let mut pair = Pair::new(setup, 1);
    let told = |pair: &Pair, what: String| format!("{what}\n{}", pair.story());
    let label = match pair.up(End::Client) {
        Ok(()) => return Err(told(&pair, "comes up".to_owned())),
        Err(reason) => {
            let (sentence, cure) = (reason.sentence(), reason.cure());
            assert!(sentence.len() > 10 && !cure.is_empty(), "{sentence} {cure}");
            reason.label()
        }
    };
    pair.settle().map_err(|difference| told(&pair, difference))?;
    let mut wrong = Vec::new();
    if label != case.client {
        wrong.push(format!("the client says {label}, not {}", case.client));
    }
    if !pair.client.failures().contains(&label) {
        wrong.push(format!(
            "the outcome is {label}, failures told of at the client: {:?}",
            pair.client.failures()
        ));
    }
    let failures = pair.gateway.failures();
    if case.gateway.is_some_and(|label| !failures.contains(&label)) {
        wrong.push(format!("the gateway says {failures:?}, not {:?}", case.gateway));
    }
    if let Some(notify) = case.notify
        && !clear_notifies(&pair.net.capture).contains(&notify)
    {
        wrong.push(format!("{notify:?} is not on the wire"));
    }
    if !pair.client.sad.is_empty() || !pair.gateway.sad.is_empty() {
        wrong.push("a CHILD_SA is installed".to_owned());
    }
    if close && !pair.ikes(End::Client).is_empty() {
        wrong.push("the IKE_SA stays".to_owned());
    }
    if let Some(id) = pair.ikes(End::Client).first().copied() {
        pair.command(End::Client, adit_ike::Command::TerminateIke { id, force: false, tag: 0 });
    }
    if let Err(left) = pair.drain() {
        wrong.push(format!("left: {left}"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(told(&pair, wrong.join("; "))) }
}

fn all(close: bool) {
    let failed: Vec<_> = CASES
        .iter()
        .filter_map(|case| run(case, close).err().map(|error| format!("=== {}: {error}", case.name)))
        .collect();
    assert!(failed.is_empty(), "{} cases failed\n{}", failed.len(), failed.join("\n\n"));
}

#[test]
fn every_failure_is_told_and_leaves_nothing() {
    all(false);
}

#[test]
fn no_ike_sa_stays_without_its_child_when_told_so() {
    all(true);
}
