//! Two endpoints on a virtual clock, joined by a wire without faults but with an optional NAT.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use adit_crypto::{Secret, SeededRandom};
use adit_ipsec::{ChildSa, Identity, SelectorSpec, Usage};
use adit_wire::{Envelope, NotifyType, Payload};

use crate::*;

pub(crate) const CLIENT: &str = "192.0.2.1";
pub(crate) const SERVER: &str = "192.0.2.2";
pub(crate) const NATTED: &str = "198.51.100.7";
/// 2026-11-23.
pub(crate) const NOW: i64 = 1_795_392_000;

pub(crate) fn id(text: &str) -> Identity {
    Identity::parse(text).unwrap()
}

pub(crate) fn ts(list: &[&str]) -> Vec<SelectorSpec> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

pub(crate) fn secret(owners: &[&str], text: &str) -> SharedSecret {
    SharedSecret {
        owners: owners.iter().map(|owner| id(owner)).collect(),
        secret: Secret::from(text.as_bytes()),
    }
}

/// One end with what its driver would keep.
pub(crate) struct Host {
    pub endpoint: Endpoint,
    pub installed: BTreeMap<u32, ChildSa>,
    pub active: BTreeSet<u32>,
    pub vips: Vec<IpAddr>,
    pub leases: BTreeMap<IpAddr, Identity>,
    pub pool: Vec<IpAddr>,
    pub events: Vec<Event>,
    pub fail_install: bool,
    pub usage: Option<Usage>,
    pub hold_actions: bool,
}

impl Host {
    pub(crate) fn new(config: Config, settings: Settings, seed: u64) -> Self {
        Self {
            endpoint: Endpoint::new(settings, Arc::new(config), Box::new(SeededRandom::new(seed)), NOW),
            installed: BTreeMap::new(),
            active: BTreeSet::new(),
            vips: Vec::new(),
            leases: BTreeMap::new(),
            pool: vec!["10.3.0.1".parse().unwrap(), "10.3.0.2".parse().unwrap(), "fd03::1".parse().unwrap()],
            events: Vec::new(),
            fail_install: false,
            usage: None,
            hold_actions: false,
        }
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::Log { group, text, .. } => Some(format!("{group} {text}")),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn logged(&self, part: &str) -> bool {
        self.log().iter().any(|line| line.contains(part))
    }

    pub(crate) fn failures(&self) -> Vec<Reason> {
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::Failure { reason, .. } => Some(reason.clone()),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn outcome(&self, tag: u64) -> Option<Result<(), Reason>> {
        let mut found = self.events.iter().filter_map(|event| match event {
            Event::Outcome { tag: it, result } if *it == tag => Some(result.clone()),
            _ => None,
        });
        let outcome = found.next();
        assert!(found.next().is_none(), "more than one outcome for tag {tag}");
        outcome
    }

    pub(crate) fn established(&self) -> usize {
        self.endpoint.ike_sas().filter(|sa| sa.state == IkeState::Established).count()
    }

    pub(crate) fn assert_empty(&self) {
        assert_eq!(self.endpoint.leftovers(), vec![]);
        assert!(self.installed.is_empty(), "installed children left");
        assert!(self.vips.is_empty(), "virtual IPs left");
        assert!(self.leases.is_empty(), "leases left");
    }
}

pub(crate) struct Pair {
    pub now: Instant,
    pub client: Host,
    pub server: Host,
    /// The client is behind a NAT.
    pub nat: bool,
    /// The client's address as the server sees it, if so.
    pub natted: IpAddr,
    /// Nothing passes.
    pub cut: bool,
    /// Everything that was sent, by the client or not.
    pub wire: Vec<(bool, Vec<u8>)>,
    /// Drops the n-th datagrams from here on.
    pub drop: BTreeSet<usize>,
}

/// What a side is given.
pub(crate) struct Setup {
    pub client: Config,
    pub server: Config,
    pub client_settings: Settings,
    pub server_settings: Settings,
}

pub(crate) fn connection(local: &str, remote: &str) -> Connection {
    Connection {
        name: "home".into(),
        local: LocalAuth { id: Some(id(local)), method: AuthMethod::Psk, ..LocalAuth::default() },
        remote: RemoteAuth { id: id(remote), method: AuthMethod::Psk, ..RemoteAuth::default() },
        ..Connection::default()
    }
}

pub(crate) fn child(name: &str, local: &[&str], remote: &[&str]) -> Arc<ChildConfig> {
    Arc::new(ChildConfig {
        name: name.into(),
        local_ts: ts(local),
        remote_ts: ts(remote),
        ..ChildConfig::default()
    })
}

impl Setup {
    /// Pre-shared key, one child between two networks.
    pub(crate) fn psk() -> Self {
        let credentials = |word: &str| {
            Arc::new(Credentials {
                shared: vec![secret(&["a.example", "b.example"], word)],
                ..Credentials::default()
            })
        };
        let mut client = connection("a.example", "b.example");
        client.remote_addrs = vec![HostSpec::Addr(SERVER.parse().unwrap())];
        client.children = vec![child("net", &["10.1.0.0/16"], &["10.2.0.0/16"])];
        let mut server = connection("b.example", "a.example");
        server.children = vec![child("net", &["10.2.0.0/16"], &["10.1.0.0/16"])];
        Self {
            client: Config { connections: vec![Arc::new(client)], credentials: credentials("swordfish") },
            server: Config { connections: vec![Arc::new(server)], credentials: credentials("swordfish") },
            client_settings: Settings::default(),
            server_settings: Settings::default(),
        }
    }

    pub(crate) fn client_conn(&mut self) -> &mut Connection {
        Arc::make_mut(&mut self.client.connections[0])
    }

    pub(crate) fn server_conn(&mut self) -> &mut Connection {
        Arc::make_mut(&mut self.server.connections[0])
    }

    pub(crate) fn client_child(&mut self) -> &mut ChildConfig {
        Arc::make_mut(&mut self.client_conn().children[0])
    }

    pub(crate) fn server_child(&mut self) -> &mut ChildConfig {
        Arc::make_mut(&mut self.server_conn().children[0])
    }

    pub(crate) fn pair(self) -> Pair {
        Pair {
            now: Instant::ZERO,
            client: Host::new(self.client, self.client_settings, 1),
            server: Host::new(self.server, self.server_settings, 2),
            nat: false,
            natted: NATTED.parse().unwrap(),
            cut: false,
            wire: Vec::new(),
            drop: BTreeSet::new(),
        }
    }
}

impl Pair {
    pub(crate) fn up(&mut self) {
        self.initiate("net", 7);
    }

    pub(crate) fn initiate(&mut self, child: &str, tag: u64) {
        let command =
            Command::Initiate { conn: Some("home".into()), child: Some(child.into()), tag, trigger: None };
        self.client.endpoint.command(self.now, command);
        self.settle();
    }

    pub(crate) fn client_command(&mut self, command: Command) {
        self.client.endpoint.command(self.now, command);
        self.settle();
    }

    pub(crate) fn server_command(&mut self, command: Command) {
        self.server.endpoint.command(self.now, command);
        self.settle();
    }

    /// Delivers until nothing is left to deliver.
    pub(crate) fn settle(&mut self) {
        for _ in 0..1000 {
            let mut idle = true;
            for from_client in [true, false] {
                idle &= !self.actions(from_client);
                let host = if from_client { &mut self.client } else { &mut self.server };
                let Some(sent) = host.endpoint.poll_transmit() else { continue };
                idle = false;
                self.deliver(from_client, sent);
            }
            if idle {
                return;
            }
        }
        panic!("no end of messages");
    }

    fn deliver(&mut self, from_client: bool, sent: Transmit) {
        let number = self.wire.len();
        self.wire.push((from_client, sent.bytes.clone()));
        if self.cut || self.drop.contains(&number) || sent.kind == TransmitKind::Keepalive {
            return;
        }
        let mut path = Path { local: sent.path.remote, remote: sent.path.local };
        if self.nat {
            // Ports beyond 10000 belong to the NAT.
            let natted = self.natted;
            let inside: IpAddr = CLIENT.parse().unwrap();
            if from_client {
                path.remote = SocketAddr::new(natted, path.remote.port() + 10_000);
            } else {
                if path.local.ip() != natted {
                    return;
                }
                path.local = SocketAddr::new(inside, path.local.port() - 10_000);
            }
        }
        let host = if from_client { &mut self.server } else { &mut self.client };
        host.endpoint.handle_datagram(self.now, path, &sent.bytes);
    }

    pub(crate) fn actions(&mut self, client: bool) -> bool {
        let now = self.now;
        let host = if client { &mut self.client } else { &mut self.server };
        let own: IpAddr = if client { CLIENT } else { SERVER }.parse().unwrap();
        let mut some = false;
        while let Some(event) = host.endpoint.poll_event() {
            host.events.push(event);
        }
        while !host.hold_actions
            && let Some((id, action)) = host.endpoint.poll_action()
        {
            some = true;
            let completion = match action {
                Action::SourceAddress { among, .. } => {
                    Completion::Source(if among.is_empty() || among.contains(&own) {
                        Ok(own)
                    } else {
                        Err("no such address".into())
                    })
                }
                Action::Resolve { name } => Completion::Resolved(if name == "server.example" {
                    vec![SERVER.parse().unwrap()]
                } else {
                    vec![]
                }),
                Action::InstallChild(sa) => {
                    if host.fail_install {
                        Completion::Done(Err("no memory".into()))
                    } else {
                        if sa.outbound_ready {
                            host.active.insert(sa.id);
                        }
                        host.installed.insert(sa.id, *sa);
                        Completion::Done(Ok(()))
                    }
                }
                Action::RemoveChild { id } => {
                    host.installed.remove(&id);
                    host.active.remove(&id);
                    continue;
                }
                Action::ActivateOutbound { id } => {
                    assert!(host.installed.contains_key(&id));
                    host.active.insert(id);
                    continue;
                }
                Action::SkipSequence { .. } => continue,
                Action::UpdateChild { id, path, .. } => {
                    if let Some(sa) = host.installed.get_mut(&id) {
                        sa.local = path.local;
                        sa.remote = path.remote;
                    }
                    continue;
                }
                Action::Lease { identity, wanted, .. } => {
                    let mut addresses = Vec::new();
                    for want in wanted {
                        let free = host
                            .pool
                            .iter()
                            .find(|ip| ip.is_ipv4() == want.is_ipv4() && !host.leases.contains_key(ip));
                        if let Some(ip) = free.copied() {
                            host.leases.insert(ip, identity.clone());
                            addresses.push(ip);
                        }
                    }
                    Completion::Lease(if addresses.is_empty() {
                        Err("pool is empty".into())
                    } else {
                        Ok(Leased { addresses, attributes: vec![(3, vec![10, 2, 0, 53])] })
                    })
                }
                Action::Release { addresses, .. } => {
                    for ip in addresses {
                        host.leases.remove(&ip);
                    }
                    continue;
                }
                Action::InstallVirtualIps { addresses, .. } => {
                    host.vips.extend(addresses);
                    Completion::Done(Ok(()))
                }
                Action::RemoveVirtualIps { addresses, .. } => {
                    host.vips.retain(|ip| !addresses.contains(ip));
                    continue;
                }
                Action::QueryUsage { .. } => Completion::Usage(host.usage),
            };
            host.endpoint.complete(now, id, completion);
        }
        while let Some(event) = host.endpoint.poll_event() {
            host.events.push(event);
        }
        some
    }

    /// Lets time pass, timer by timer.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let next = [&self.client, &self.server]
                .into_iter()
                .filter_map(|host| host.endpoint.poll_timeout())
                .map(|(at, _)| at)
                .min();
            let Some(at) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            self.client.endpoint.handle_timeout(self.now);
            self.server.endpoint.handle_timeout(self.now);
            self.settle();
        }
        self.now = end;
    }

    /// The one child of each side, and that they fit.
    pub(crate) fn children(&self) -> (ChildSa, ChildSa) {
        assert_eq!((self.client.installed.len(), self.server.installed.len()), (1, 1));
        let c = self.client.installed.values().next().unwrap().clone();
        let s = self.server.installed.values().next().unwrap().clone();
        assert_fit(&c, &s);
        (c, s)
    }

    pub(crate) fn assert_up(&self) -> (ChildSa, ChildSa) {
        assert_eq!((self.client.established(), self.server.established()), (1, 1), "{}", self.logs());
        self.children()
    }

    pub(crate) fn assert_nothing(&mut self) {
        self.pass(Duration::from_secs(200));
        self.client.assert_empty();
        self.server.assert_empty();
    }

    pub(crate) fn logs(&self) -> String {
        format!("client:\n{}\nserver:\n{}", self.client.log().join("\n"), self.server.log().join("\n"))
    }

    /// Notifies that the server sent unprotected.
    pub(crate) fn clear_notifies(&self) -> Vec<NotifyType> {
        self.wire
            .iter()
            .filter(|(client, _)| !client)
            .filter_map(|(_, bytes)| Envelope::parse(bytes).ok())
            .flat_map(|envelope| envelope.clear)
            .filter_map(|payload| match payload {
                Payload::Notify { kind, .. } if kind.is_error() || kind == NotifyType::COOKIE => Some(kind),
                _ => None,
            })
            .collect()
    }
}

pub(crate) fn assert_fit(a: &ChildSa, b: &ChildSa) {
    assert_eq!(a.keys_in, b.keys_out);
    assert_eq!(a.keys_out, b.keys_in);
    assert_eq!((a.spi_in, a.spi_out), (b.spi_out, b.spi_in));
    assert_eq!((&a.local_ts, &a.remote_ts), (&b.remote_ts, &b.local_ts));
    assert_eq!((a.esn, a.udp_encap, a.mode), (b.esn, b.udp_encap, b.mode));
}
