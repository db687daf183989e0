//! What a case starts from: a working pair, whose every knob can be turned before it runs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_crypto::Secret;
use adit_ike::{
    AuthMethod, ChildConfig, Config, Connection, Credentials, HostSpec, LocalAuth, LogLevels, RemoteAuth,
    Settings, SharedSecret,
};
use adit_ipsec::{Identity, Proposal, Protocol, SelectorSpec};

use crate::host::Outside;
use crate::net::Link;
use crate::pki::{Algorithm, Pki};

/// How the two prove themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    Psk,
    Cert(Algorithm),
    /// The client by EAP-MSCHAPv2, the gateway by pre-shared key.
    EapAndPsk,
    /// The client by EAP-MSCHAPv2, the gateway by certificate.
    EapAndCert(Algorithm),
}

/// One end before it starts.
#[derive(Clone)]
pub struct Side {
    pub settings: Settings,
    pub conn: Connection,
    pub credentials: Credentials,
    pub outside: Outside,
}

impl Side {
    pub fn config(&self) -> Arc<Config> {
        Arc::new(Config {
            connections: vec![Arc::new(self.conn.clone())],
            credentials: Arc::new(self.credentials.clone()),
        })
    }

    pub fn child(&mut self) -> &mut ChildConfig {
        Arc::make_mut(&mut self.conn.children[0])
    }

    pub fn ike(&mut self, proposals: &[&str]) {
        self.conn.proposals = proposals.iter().map(|p| Proposal::parse(Protocol::Ike, p).unwrap()).collect();
    }

    pub fn esp(&mut self, proposals: &[&str]) {
        self.child().esp_proposals =
            proposals.iter().map(|p| Proposal::parse(Protocol::Esp, p).unwrap()).collect();
    }

    /// Selectors of the first child: ours, the peer's.
    pub fn ts(&mut self, local: &[&str], remote: &[&str]) {
        self.child().local_ts = specs(local);
        self.child().remote_ts = specs(remote);
    }
}

#[derive(Clone)]
pub struct Setup {
    pub client: Side,
    pub gateway: Side,
    /// Client to gateway, gateway to client.
    pub links: [Link; 2],
    pub nat: bool,
    /// So many forged initiations are half open at the gateway when the client starts.
    pub half_open: u32,
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn id(text: &str) -> Identity {
    Identity::parse(text).unwrap()
}

pub fn specs(texts: &[&str]) -> Vec<SelectorSpec> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

pub fn secret(owners: &[&str], secret: &str) -> SharedSecret {
    SharedSecret {
        owners: owners.iter().map(|owner| id(owner)).collect(),
        secret: Secret::from(secret.as_bytes().to_vec()),
    }
}

pub const CLIENT: &str = "client.example.net";
pub const GATEWAY: &str = "gw.example.net";

impl Setup {
    /// Two sites, one child, by that authentication; nothing fails, nothing is lost.
    pub fn new(auth: Auth) -> Self {
        let side = |local: &str, remote: &str, address: &str, peer: &str, nets: [&str; 2]| Side {
            settings: Settings { log_levels: LogLevels::all(2), ..Settings::default() },
            conn: Connection {
                name: "site".into(),
                local_addrs: vec![HostSpec::Addr(ip(address))],
                remote_addrs: vec![HostSpec::Addr(ip(peer))],
                dpd_delay: Duration::from_secs(30),
                local: LocalAuth { id: Some(id(local)), ..LocalAuth::default() },
                remote: RemoteAuth { id: id(remote), ..RemoteAuth::default() },
                children: vec![Arc::new(ChildConfig {
                    name: "net".into(),
                    local_ts: specs(&nets[..1]),
                    remote_ts: specs(&nets[1..]),
                    ..ChildConfig::default()
                })],
                ..Connection::default()
            },
            credentials: Credentials::default(),
            outside: Outside { addresses: vec![ip(address)], ..Outside::default() },
        };
        let mut setup = Self {
            client: side(CLIENT, GATEWAY, "192.0.2.10", "203.0.113.1", ["10.1.0.0/16", "10.2.0.0/16"]),
            gateway: side(GATEWAY, CLIENT, "203.0.113.1", "192.0.2.10", ["10.2.0.0/16", "10.1.0.0/16"]),
            links: [Link::CLEAN; 2],
            nat: false,
            half_open: 0,
        };
        setup.authenticate(auth);
        setup
    }

    fn authenticate(&mut self, auth: Auth) {
        let Self { client, gateway, .. } = self;
        let (by_client, by_gateway) = match auth {
            Auth::Psk => (AuthMethod::Psk, AuthMethod::Psk),
            Auth::Cert(_) => (AuthMethod::Pubkey, AuthMethod::Pubkey),
            Auth::EapAndPsk => (AuthMethod::Eap, AuthMethod::Psk),
            Auth::EapAndCert(_) => (AuthMethod::Eap, AuthMethod::Pubkey),
        };
        (client.conn.local.method, client.conn.remote.method) = (by_client, by_gateway);
        (gateway.conn.local.method, gateway.conn.remote.method) = (by_gateway, by_client);
        if by_gateway == AuthMethod::Psk {
            for side in [&mut *client, &mut *gateway] {
                side.credentials.shared = vec![secret(&[CLIENT, GATEWAY], "a very good secret")];
            }
        }
        if let Auth::Cert(algorithm) | Auth::EapAndCert(algorithm) = auth {
            let pki = Pki::of(algorithm);
            client.credentials.authorities = vec![pki.authority.clone()];
            gateway.conn.local.certs = vec![pki.gateway.certificate.clone()];
            gateway.credentials.keys = vec![pki.gateway.keys()];
            if by_client == AuthMethod::Pubkey {
                gateway.credentials.authorities = vec![pki.authority.clone()];
                client.conn.local.certs = vec![pki.client.certificate.clone()];
                client.credentials.keys = vec![pki.client.keys()];
            }
        }
        if by_client == AuthMethod::Eap {
            client.conn.local.eap_id = Some(id("alice"));
            gateway.conn.remote.eap_id = Some(Identity::Any);
            for side in [client, gateway] {
                side.credentials.eap = vec![secret(&["alice"], "wonderland")];
            }
        }
    }

    /// Puts the client behind a NAT box.
    pub fn behind_nat(&mut self) {
        self.nat = true;
        self.client.conn.local_addrs = vec![HostSpec::Any];
        self.client.outside.addresses = vec![ip("192.168.7.2")];
        self.gateway.conn.remote_addrs = vec![HostSpec::Any];
    }

    /// Neither end insists on an address of its own or the other's, so that both can move.
    pub fn roaming(&mut self) {
        self.both(|side| side.conn.local_addrs = vec![HostSpec::Any]);
        self.gateway.conn.remote_addrs = vec![HostSpec::Any];
    }

    /// Makes the client a road-warrior that asks for an address of each family.
    pub fn road_warrior(&mut self) {
        self.client.conn.vips = vec![ip("0.0.0.0"), ip("::")];
        self.client.ts(&["dynamic"], &["10.2.0.0/16", "fd02::/64"]);
        self.gateway.ts(&["10.2.0.0/16", "fd02::/64"], &["dynamic"]);
        self.gateway.conn.pools = vec!["rw4".to_owned(), "rw6".to_owned()];
        self.gateway.outside.pools = [
            ("rw4".to_owned(), (1..4).map(|n| ip(&format!("10.3.0.{n}"))).collect()),
            ("rw6".to_owned(), (1..4).map(|n| ip(&format!("fd03::{n}"))).collect()),
        ]
        .into();
        // INTERNAL_IP4_DNS
        self.gateway.outside.attributes = vec![(3, vec![10, 2, 0, 53])];
    }

    /// Adds a child of that name to both ends.
    pub fn add_child(&mut self, name: &str, client_net: &str, gateway_net: &str) {
        for (side, nets) in
            [(&mut self.client, [client_net, gateway_net]), (&mut self.gateway, [gateway_net, client_net])]
        {
            side.conn.children.push(Arc::new(ChildConfig {
                name: name.into(),
                local_ts: specs(&nets[..1]),
                remote_ts: specs(&nets[1..]),
                ..ChildConfig::default()
            }));
        }
    }

    pub fn both(&mut self, turn: impl Fn(&mut Side)) {
        turn(&mut self.client);
        turn(&mut self.gateway);
    }
}
