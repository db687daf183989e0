//! A responder and its initiators in one process, with nothing between them: what is timed is the responder alone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::measure::cpu;
use adit_crypto::{PrivateKey, Secret, SystemRandom};
use adit_dataplane::{Dataplane, Null};
use adit_ike::{
    Action, AuthMethod, ChildConfig, Command, Completion, Config, Connection, Credentials, Endpoint, Event,
    HostSpec, Instant, Leased, LocalAuth, LogLevels, Path, RemoteAuth, Settings, SharedSecret,
};
use adit_ipsec::{Identity, Proposal, Protocol, Selector, SelectorSpec};
use adit_pki::Certificate;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};

/// How both ends prove themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Auth {
    Psk,
    Ecdsa,
}

/// An endpoint with its data plane and the time spent in both.
pub(crate) struct End {
    endpoint: Endpoint,
    dataplane: Null,
    local: SocketAddr,
    /// CPU time spent.
    pub(crate) spent: Duration,
    /// Handshakes completed.
    pub(crate) established: usize,
}

/// The configurations of both ends; made once, shared by all handshakes as a daemon shares them.
pub(crate) struct Setup {
    settings: Settings,
    responder: Arc<Config>,
    initiator: Arc<Config>,
}

const NAMES: [&str; 2] = ["gw.bench", "rw.bench"];

impl Setup {
    pub(crate) fn new(auth: Auth) -> Self {
        let settings = Settings {
            log_levels: LogLevels::all(-1),
            cookie_threshold: 0,
            cookie_threshold_ip: 0,
            block_threshold: 0,
            init_rate: 0,
            init_rate_ip: 0,
            init_rate_unproven: 0,
            half_open_limit: 0,
            pending_auth_limit: 0,
            ..Settings::default()
        };
        let [responder, initiator] = match auth {
            Auth::Psk => {
                let secret = Secret::from(&b"a pre-shared key of good length"[..]);
                let shared = vec![SharedSecret { owners: Vec::new(), secret }];
                let credentials = Credentials { shared, ..Credentials::default() };
                [
                    config(0, AuthMethod::Psk, credentials.clone(), None),
                    config(1, AuthMethod::Psk, credentials, None),
                ]
            }
            Auth::Ecdsa => {
                let authority = Authority::new();
                [0, 1].map(|end| {
                    let (cert, key) = authority.issue(NAMES[end]);
                    let credentials = Credentials {
                        keys: vec![(cert.spki().to_vec(), Arc::new(key))],
                        authorities: vec![authority.certificate.clone()],
                        ..Credentials::default()
                    };
                    config(end, AuthMethod::Pubkey, credentials, Some(cert))
                })
            }
        };
        Self { settings, responder, initiator }
    }

    pub(crate) fn responder(&self) -> End {
        End::new(self.settings.clone(), &self.responder, "192.0.2.1:500")
    }

    /// The first message of an initiator.
    pub(crate) fn first_message(&self) -> Vec<u8> {
        let mut initiator = self.initiator();
        initiator.initiate();
        initiator.turn(None).remove(0).2
    }

    /// A responder to anybody with the default limits, that has so many half-open IKE_SAs that it demands cookies. They
    /// do not go as long as the clock says that it is early.
    pub(crate) fn under_attack(&self, log_levels: LogLevels, init: &[u8]) -> Endpoint {
        let mut config = (*self.responder).clone();
        for connection in &mut config.connections {
            Arc::make_mut(connection).remote_addrs = vec![HostSpec::Any];
        }
        let settings = Settings { log_levels, ..Settings::default() };
        let mut endpoint = Endpoint::new(settings, Arc::new(config), Box::new(SystemRandom), 0);
        for n in 0..=endpoint.settings().cookie_threshold {
            let mut bytes = init.to_vec();
            bytes[..4].copy_from_slice(&(u32::MAX - n).to_be_bytes());
            endpoint.handle_datagram(Instant::ZERO, crate::spoofed::from(n), &bytes);
            while endpoint.poll_transmit().is_some() {}
            while endpoint.poll_event().is_some() {}
        }
        assert!(endpoint.stats().cookies_sent > 0, "it does not demand cookies");
        endpoint
    }

    pub(crate) fn initiator(&self) -> End {
        End::new(self.settings.clone(), &self.initiator, "192.0.2.2:500")
    }
}

fn config(
    end: usize,
    method: AuthMethod,
    credentials: Credentials,
    cert: Option<Certificate>,
) -> Arc<Config> {
    let address = |last: u8| HostSpec::Addr([192, 0, 2, last].into());
    let net =
        |octet: u8| SelectorSpec::Fixed(Selector::from_cidr([10, octet, 0, 0].into(), 16).expect("a prefix"));
    let (ours, theirs) = (end as u8 + 1, 2 - end as u8);
    let ike = Proposal::parse(Protocol::Ike, "aes256gcm16-prfsha256-x25519").expect("a proposal");
    let esp = Proposal::parse(Protocol::Esp, "aes256gcm16").expect("a proposal");
    let child = ChildConfig {
        name: "net".into(),
        esp_proposals: vec![esp],
        local_ts: vec![net(ours)],
        remote_ts: vec![net(theirs)],
        ..ChildConfig::default()
    };
    let connection = Connection {
        name: "bench".into(),
        local_addrs: vec![address(ours)],
        remote_addrs: vec![address(theirs)],
        proposals: vec![ike],
        local: LocalAuth {
            id: Some(Identity::Fqdn(NAMES[end].into())),
            method,
            certs: cert.into_iter().collect(),
            ..LocalAuth::default()
        },
        remote: RemoteAuth { id: Identity::Fqdn(NAMES[1 - end].into()), method, ..RemoteAuth::default() },
        children: vec![Arc::new(child)],
        unique: adit_ike::Unique::Never,
        ..Connection::default()
    };
    Arc::new(Config { connections: vec![Arc::new(connection)], credentials: Arc::new(credentials) })
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a P-256 key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "bench CA");
        let certificate =
            Certificate::from_der(params.self_signed(&key).expect("signed").der()).expect("parsed");
        Self { issuer: Issuer::new(params, key), certificate }
    }

    fn issue(&self, name: &str) -> (Certificate, PrivateKey) {
        let key = KeyPair::generate().expect("a P-256 key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().expect("a name"))];
        let cert = params.signed_by(&key, &self.issuer).expect("signed");
        let cert = Certificate::from_der(cert.der()).expect("parsed");
        (cert, PrivateKey::from_pkcs8(&key.serialize_der()).expect("a key"))
    }
}

impl End {
    fn new(settings: Settings, config: &Arc<Config>, local: &str) -> Self {
        let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        Self {
            endpoint: Endpoint::new(
                settings,
                Arc::clone(config),
                Box::new(SystemRandom),
                unix.as_secs() as i64,
            ),
            dataplane: Null::default(),
            local: local.parse().expect("an address"),
            spent: Duration::ZERO,
            established: 0,
        }
    }

    pub(crate) fn initiate(&mut self) {
        let child = Some("net".into());
        self.endpoint.command(Instant::ZERO, Command::Initiate { conn: None, child, tag: 0, trigger: None });
    }

    /// Works on one datagram (or on what is pending) and answers what it wants to send; all of it is timed.
    pub(crate) fn turn(
        &mut self,
        datagram: Option<(SocketAddr, Vec<u8>)>,
    ) -> Vec<(SocketAddr, SocketAddr, Vec<u8>)> {
        let start = cpu();
        let now = Instant::from_micros(1);
        if let Some((remote, bytes)) = datagram {
            self.endpoint.handle_datagram(now, Path { local: self.local, remote }, &bytes);
        }
        while let Some((id, action)) = self.endpoint.poll_action() {
            let completion = match action {
                Action::InstallChild(sa) => {
                    Completion::Done(self.dataplane.install(*sa).map_err(|e| e.sentence))
                }
                Action::SourceAddress { .. } => Completion::Source(Ok(self.local.ip())),
                Action::Lease { .. } => Completion::Lease(Ok(Leased::default())),
                Action::InstallVirtualIps { .. } => Completion::Done(Ok(())),
                Action::QueryUsage { id } => Completion::Usage(self.dataplane.usage(id)),
                Action::RemoveChild { id } => {
                    self.dataplane.remove(id);
                    continue;
                }
                _ => continue,
            };
            self.endpoint.complete(now, id, completion);
        }
        let mut out = Vec::new();
        while let Some(transmit) = self.endpoint.poll_transmit() {
            out.push((transmit.path.local, transmit.path.remote, transmit.bytes));
        }
        while let Some(event) = self.endpoint.poll_event() {
            if matches!(event, Event::ChildUp { .. }) {
                self.established += 1;
            }
        }
        self.spent += cpu() - start;
        out
    }
}

/// One whole handshake between a new initiator and the responder; its port tells it from the others.
pub(crate) fn handshake(setup: &Setup, responder: &mut End, number: usize) {
    let before = responder.established;
    let mut initiator = setup.initiator();
    // peers of one gateway differ in their addresses; 64,000 ports do as well
    let port = 1024 + (number % 64_000) as u16;
    let from = SocketAddr::new(initiator.local.ip(), port);
    initiator.initiate();
    let mut pending = initiator.turn(None);
    for _ in 0..8 {
        let mut back = Vec::new();
        for (_, _, bytes) in pending.drain(..) {
            back.extend(responder.turn(Some((from, bytes))));
        }
        let gateway = responder.local;
        for (_, _, bytes) in back {
            pending.extend(initiator.turn(Some((gateway, bytes))));
        }
        if pending.is_empty() {
            break;
        }
    }
    assert_eq!(responder.established, before + 1, "handshake {number} did not end in a CHILD_SA");
}
