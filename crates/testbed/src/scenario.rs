//! What both ends are configured to do, and who plays them.

use crate::peer::Kind;
use crate::pki::{Algorithm, Entity, Pki, Subject};

/// How the ends prove themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// A pre-shared key, both ways.
    Psk,
    /// The gateway by certificate, the road-warrior by EAP-MSCHAPv2.
    Eap,
    /// The gateway by pre-shared key, the road-warrior by EAP-MSCHAPv2.
    EapPsk,
    /// Certificates of this kind, both ways.
    Certificates(Algorithm),
}

/// Which implementation plays which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// The gateway.
    pub gw: Kind,
    /// The road-warrior.
    pub rw: Kind,
}

impl Roles {
    /// strongSwan at both ends: what holds here says something about the case, not about us.
    pub const REFERENCE: Self = Self { gw: Kind::StrongSwan, rw: Kind::StrongSwan };
    /// Our gateway, strongSwan's road-warrior.
    pub const OUR_GATEWAY: Self = Self { gw: Kind::Adit, rw: Kind::StrongSwan };
    /// Our road-warrior, strongSwan's gateway.
    pub const OUR_CLIENT: Self = Self { gw: Kind::StrongSwan, rw: Kind::Adit };
    /// strongSwan 6.0.1 at both ends.
    pub const REFERENCE_6: Self = Self { gw: Kind::StrongSwan6, rw: Kind::StrongSwan6 };
    /// Our gateway, strongSwan 6.0.1's road-warrior.
    pub const OUR_GATEWAY_6: Self = Self { gw: Kind::Adit, rw: Kind::StrongSwan6 };
    /// Our road-warrior, strongSwan 6.0.1's gateway.
    pub const OUR_CLIENT_6: Self = Self { gw: Kind::StrongSwan6, rw: Kind::Adit };
    /// Both ours.
    pub const BOTH_OURS: Self = Self { gw: Kind::Adit, rw: Kind::Adit };
}

/// Settings of a section, in order.
#[derive(Clone, Debug, Default)]
pub struct Settings(Vec<(String, String)>);

impl Settings {
    /// Sets a key, replacing what it was.
    pub fn set(&mut self, key: &str, value: &str) -> &mut Self {
        self.remove(key);
        self.0.push((key.into(), value.into()));
        self
    }

    /// Removes a key.
    pub fn remove(&mut self, key: &str) -> &mut Self {
        self.0.retain(|(k, _)| k != key);
        self
    }

    fn render(&self, indent: &str) -> String {
        self.0.iter().map(|(k, v)| format!("{indent}{k} = {v}\n")).collect()
    }
}

/// One end's configuration: a connection, its rounds, its children, what belongs to them.
#[derive(Clone, Debug, Default)]
pub struct Conf {
    /// `connections.<name>`.
    pub name: String,
    /// Settings of the connection.
    pub conn: Settings,
    /// Its `local` section.
    pub local: Settings,
    /// Its `remote` section.
    pub remote: Settings,
    /// Its children.
    pub children: Vec<(String, Settings)>,
    /// `pools`, verbatim.
    pub pools: String,
    /// `secrets`, verbatim.
    pub secrets: String,
    /// Further text of swanctl.conf, verbatim.
    pub more: String,
    /// Settings within `charon { }` of strongswan.conf, verbatim lines.
    pub charon: String,
    /// Settings within `charon.plugins { }`, verbatim lines.
    pub plugins: String,
    /// Settings within `adit { }`, verbatim lines; strongSwan does not read them.
    pub adit: String,
    /// End entity certificate and key.
    pub entity: Option<Entity>,
    /// Trusted authorities, PEM.
    pub authorities: Vec<String>,
}

impl Conf {
    /// The only (first) child.
    pub fn child(&mut self) -> &mut Settings {
        &mut self.children.first_mut().expect("a child").1
    }

    /// Shortens the retransmission table: gives up after about `0.5 × (tries + 1)` seconds.
    pub fn impatient(&mut self, tries: u32) -> &mut Self {
        self.charon += &format!(
            "  retransmit_timeout = 0.5\n  retransmit_base = 1.0\n  retransmit_tries = {tries}\n  retransmit_jitter = 0\n"
        );
        self
    }

    /// As swanctl.conf.
    pub fn swanctl_conf(&self) -> String {
        let children: String = self
            .children
            .iter()
            .map(|(name, settings)| format!("      {name} {{\n{}      }}\n", settings.render("        ")))
            .collect();
        format!(
            "connections {{\n  {} {{\n{}    local {{\n{}    }}\n    remote {{\n{}    }}\n    children {{\n{children}    \
             }}\n  }}\n}}\npools {{\n{}}}\nsecrets {{\n{}}}\n{}",
            self.name,
            self.conn.render("    "),
            self.local.render("      "),
            self.remote.render("      "),
            self.pools,
            self.secrets,
            self.more
        )
    }
}

/// Both ends' configuration.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The gateway's.
    pub gw: Conf,
    /// The road-warrior's.
    pub rw: Conf,
}

/// The secret of the tests: no real one.
pub const SECRET: &str = "correct horse battery staple";
/// The password of `alice`.
pub const PASSWORD: &str = "Ar3etTnp01qlpOgb";

impl Scenario {
    /// A road-warrior that reaches 10.2.0.0/24 through the gateway, with an address of its pool.
    pub fn new(auth: Auth) -> Self {
        let (name, gw_auth, rw_auth) = match auth {
            Auth::Psk => ("psk", "psk", "psk"),
            Auth::Eap => ("eap", "pubkey", "eap-mschapv2"),
            Auth::EapPsk => ("eap-psk", "psk", "eap-mschapv2"),
            Auth::Certificates(_) => ("cert", "pubkey", "pubkey"),
        };
        let mut gw = Conf { name: name.into(), ..Conf::default() };
        let mut rw = gw.clone();
        for end in [&mut gw, &mut rw] {
            end.conn.set("version", "2");
            end.children.push(("net".into(), Settings::default()));
            end.secrets = format!(
                "  ike-lab {{\n    id-gw = gw.lab\n    id-rw = rw@lab\n    secret = \"{SECRET}\"\n  }}\n  eap-alice {{\n    \
                 id = alice\n    secret = \"{PASSWORD}\"\n  }}\n"
            );
        }
        gw.conn.set("local_addrs", "192.168.0.2").set("pools", "home").set("mobike", "no");
        gw.pools = "  home {\n    addrs = 10.3.0.0/24\n    dns = 10.2.0.2\n  }\n".into();
        gw.local.set("auth", gw_auth).set("id", "gw.lab");
        gw.remote.set("auth", rw_auth).set("id", "rw@lab");
        gw.child().set("local_ts", "10.2.0.0/24");
        rw.conn.set("remote_addrs", "192.168.0.2").set("vips", "0.0.0.0").set("mobike", "no");
        rw.local.set("auth", rw_auth).set("id", "rw@lab");
        rw.remote.set("auth", gw_auth).set("id", "gw.lab");
        rw.child().set("remote_ts", "10.2.0.0/24");
        if matches!(auth, Auth::Eap | Auth::EapPsk) {
            gw.conn.set("send_certreq", "no");
            gw.remote.remove("id").set("eap_id", "%any");
            rw.local.set("id", "alice").set("eap_id", "alice");
            if auth == Auth::EapPsk {
                for end in [&mut gw, &mut rw] {
                    end.secrets +=
                        &format!("  ike-eap {{\n    id = gw.lab\n    secret = \"{SECRET}\"\n  }}\n");
                }
            }
        }
        let mut scenario = Self { gw, rw };
        match auth {
            Auth::Eap => scenario.certify(Algorithm::EcdsaP256, false),
            Auth::Certificates(algorithm) => scenario.certify(algorithm, true),
            Auth::Psk | Auth::EapPsk => {}
        }
        scenario
    }

    fn certify(&mut self, algorithm: Algorithm, client_too: bool) {
        let pki = Pki::new("lab root", algorithm);
        self.gw.entity = Some(pki.issue(Subject::Gateway));
        self.gw.local.set("certs", "peer.pem");
        self.rw.authorities.push(pki.authority.clone());
        if client_too {
            self.rw.entity = Some(pki.issue(Subject::RoadWarrior));
            self.rw.local.set("certs", "peer.pem");
            self.gw.authorities.push(pki.authority);
        }
    }

    /// Both ends with a shortened retransmission table.
    pub fn impatient(mut self, tries: u32) -> Self {
        self.gw.impatient(tries);
        self.rw.impatient(tries);
        self
    }
}
