//! A made-up daemon for the tests of the handlers: answers from fixed values and writes down the orders it was given.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adit_conf::swanctl::{self, Connection, Pool};
use adit_ipsec::{Mark, Pair};
use adit_pki::Certificate;
use adit_vici::{EventSink, Message, SinkClosed};

use super::*;
use crate::firewall::{ChildCount, Count};

/// When the made-up daemon started and failed.
const THEN: u64 = 1_795_468_178;

#[derive(Default)]
pub(crate) struct Fake {
    orders: Mutex<Vec<String>>,
    conns: Mutex<Vec<Arc<Connection>>>,
    keys: Mutex<Vec<String>>,
    shared: Mutex<Vec<String>>,
}

impl Fake {
    /// One with a connection `site` (child `net`) loaded.
    pub(crate) fn with_site() -> Self {
        let fake = Self::default();
        let round = || Message::new().kv("auth", "psk");
        let site = Message::new()
            .list("remote_addrs", ["192.0.2.1"])
            .section("local", round())
            .section("remote", round())
            .section("children", Message::new().section("net", Message::new()));
        let conn = swanctl::connection("site", &conns::section(&site)).unwrap();
        fake.conns.lock().unwrap().push(Arc::new(conn));
        fake
    }

    pub(crate) fn orders(&self) -> Vec<String> {
        self.orders.lock().unwrap().clone()
    }

    fn order(&self, text: String) {
        self.orders.lock().unwrap().push(text);
    }

    /// The IKE_SA it has.
    pub(crate) fn sa() -> IkeSaSnapshot {
        let gcm = || Some(Algorithm { name: "AES_GCM_16".into(), bits: 256 });
        IkeSaSnapshot {
            name: "office".into(),
            id: 7,
            state: "ESTABLISHED",
            local: "10.0.5.20:4500".parse().unwrap(),
            local_id: "gw.example.net".into(),
            remote: "198.51.100.44:51022".parse().unwrap(),
            remote_id: "laptop-17".into(),
            remote_eap_id: Some("alice".into()),
            initiator: false,
            initiator_spi: 0x4f1c_0a9b_e27d_3358,
            responder_spi: 0xb80e_6c15_d9a2_4f71,
            nat_local: false,
            nat_remote: true,
            nat_fake: false,
            if_ids: Pair::default(),
            encryption: gcm(),
            integrity: None,
            prf: Some("PRF_HMAC_SHA2_384".into()),
            ke: Some("CURVE_25519".into()),
            established: Some(312),
            rekey_in: Some(12_904),
            reauth_in: None,
            local_vips: Vec::new(),
            remote_vips: vec!["10.3.0.5".parse().unwrap()],
            tasks_queued: Vec::new(),
            tasks_active: vec!["CHILD_REKEY"],
            tasks_passive: Vec::new(),
            children: vec![ChildSaSnapshot {
                name: "net-1".into(),
                id: 12,
                reqid: 3,
                state: "INSTALLED",
                mode: "TUNNEL",
                encap: true,
                spi_in: 0xc3a9_120f,
                spi_out: 0x0f77_e2c4,
                mark_in: Mark::NONE,
                mark_out: Mark::NONE,
                if_ids: Pair::default(),
                per_cpu: false,
                encryption: gcm(),
                integrity: None,
                ke: None,
                esn: false,
                bytes_in: 18_432,
                packets_in: 96,
                use_in: Some(1),
                bytes_out: 20_116,
                packets_out: 101,
                use_out: None,
                rekey_in: Some(2874),
                life_in: Some(3648),
                installed: 312,
                local_ts: vec!["10.0.4.0/24".into(), "10.233.0.0/18".into()],
                remote_ts: vec!["10.3.0.5/32".into()],
            }],
        }
    }

    fn failure() -> FailureNote {
        FailureNote {
            when: THEN,
            peer: Some("192.0.2.1:500".parse().unwrap()),
            sentence: "the peer does not answer".into(),
            cure: "check that UDP 500 and 4500 reach it".into(),
        }
    }
}

impl Daemon for Fake {
    fn version(&self) -> VersionInfo {
        VersionInfo {
            daemon: "aditd".into(),
            version: "0.1.0".into(),
            sysname: "Linux".into(),
            release: "6.12".into(),
            machine: "x86_64".into(),
        }
    }

    fn stats(&self) -> StatsSnapshot {
        StatsSnapshot {
            uptime: Duration::from_secs(150),
            started: THEN,
            workers: 5,
            idle: 4,
            active: [1, 0, 0, 0],
            queued: [0; 4],
            scheduled: 3,
            ike_sas: 1,
            half_open: 0,
            admission: vec![("cookies-sent", 7), ("refused", 0)],
            plugins: vec!["vici".into(), "counters".into()],
        }
    }

    fn counters(&self, scope: CounterScope<'_>) -> Vec<CounterSnapshot> {
        let values = std::array::from_fn(|i| i as u64 + 1);
        match scope {
            CounterScope::Global => vec![CounterSnapshot { name: String::new(), values }],
            CounterScope::Connection("office") => vec![CounterSnapshot { name: "office".into(), values }],
            _ => Vec::new(),
        }
    }

    fn reset_counters(&self, scope: CounterScope<'_>) -> bool {
        scope == CounterScope::Global
    }

    fn firewall(&self) -> Option<FirewallSnapshot> {
        let count = |packets| Count { packets, bytes: packets * 84 };
        Some(FirewallSnapshot {
            mode: "table",
            place: "inet adit".into(),
            remarks: vec![("it drops".into(), "accept it".into())],
            spoofed: Some(count(2)),
            children: vec![ChildCount {
                conn: "office".into(),
                child: "net".into(),
                came_in: count(5),
                went_out: count(4),
            }],
            ..FirewallSnapshot::default()
        })
    }

    fn firewall_file(&self) -> String {
        "table inet filter {\n}\n".into()
    }

    fn reload_settings(&self) -> Result<(), String> {
        Ok(())
    }

    fn ike_sas(&self, filter: &SaFilter, after: Option<u32>, _: usize) -> Vec<IkeSaSnapshot> {
        let sa = Self::sa();
        let matches = filter.ike.as_ref().is_none_or(|n| **n == *sa.name)
            && filter.ike_id.is_none_or(|id| id == sa.id)
            && after.is_none_or(|a| sa.id > a);
        if matches { vec![sa] } else { Vec::new() }
    }

    fn policies(&self) -> Vec<PolicySnapshot> {
        vec![PolicySnapshot {
            ike: "site".into(),
            child: "net".into(),
            reqid: 4,
            mode: "TUNNEL",
            local_ts: vec!["10.0.0.1/32".into()],
            remote_ts: vec!["10.2.0.0/24".into()],
        }]
    }

    fn initiate(
        &self,
        conn: &str,
        child: Option<&str>,
        wait: Wait,
        level: i8,
        sink: LineSink<'_>,
    ) -> Result<(), InitiateError> {
        self.order(format!("initiate {conn} {child:?} {wait:?} {level}"));
        sink(&LogLine {
            group: "IKE",
            level: 0,
            thread: 1,
            sa: Some((conn.into(), 7)),
            text: format!("initiating IKE_SA {conn}[7] to 192.0.2.1"),
        });
        match wait {
            Wait::Forever => Ok(()),
            Wait::AtMost(_) => Err(InitiateError::Timeout),
            Wait::Detached => Err(InitiateError::Failed("the peer said no".into())),
        }
    }

    fn terminate(
        &self,
        target: Target,
        force: bool,
        wait: Wait,
        _: i8,
        _: LineSink<'_>,
    ) -> Result<(), String> {
        self.order(format!("terminate {target:?} {force} {wait:?}"));
        if matches!(wait, Wait::AtMost(_)) { Err("still there".into()) } else { Ok(()) }
    }

    fn redirect(&self, ike: u32, gateway: &GatewayId) -> Result<(), String> {
        self.order(format!("redirect {ike} {gateway}"));
        if gateway.to_string() == "bad.example" { Err("it does not follow".into()) } else { Ok(()) }
    }

    fn retries(&self) -> Vec<RetrySnapshot> {
        vec![RetrySnapshot { ike: "lab".into(), child: "net".into(), failures: 3, next_in: 12 }]
    }

    fn cancel_retries(&self, conn: Option<&str>, child: Option<&str>) -> usize {
        self.order(format!("cancel {conn:?} {child:?}"));
        usize::from(conn == Some("lab"))
    }

    fn rekey(&self, target: Target, reauth: bool) -> Result<(), String> {
        self.order(format!("rekey {target:?} {reauth}"));
        Ok(())
    }

    fn install(&self, conn: &str, child: &str) -> Result<(), String> {
        self.order(format!("install {conn} {child}"));
        Ok(())
    }

    fn uninstall(&self, conn: Option<&str>, child: &str) -> bool {
        self.order(format!("uninstall {conn:?} {child}"));
        child == "net"
    }

    fn connections(&self) -> Vec<Arc<Connection>> {
        self.conns.lock().unwrap().clone()
    }

    fn subjects(&self, flag: CertFlag, reference: &str) -> Vec<String> {
        vec![format!("CN={reference}, OU={flag:?}")]
    }

    fn load_conn(&self, connection: Connection) -> Result<(), String> {
        let mut conns = self.conns.lock().unwrap();
        conns.retain(|c| c.name != connection.name);
        conns.push(Arc::new(connection));
        Ok(())
    }

    fn unload_conn(&self, name: &str) -> bool {
        let mut conns = self.conns.lock().unwrap();
        let before = conns.len();
        conns.retain(|c| c.name != name);
        conns.len() < before
    }

    fn certificates(&self) -> Vec<CertSnapshot> {
        Vec::new()
    }

    fn load_cert(&self, certificate: Certificate, flag: CertFlag) -> Result<(), String> {
        self.order(format!("load-cert {} {flag:?}", certificate.subject()));
        Ok(())
    }

    fn load_key(&self, data: &[u8]) -> Result<String, String> {
        if data == b"bad" {
            return Err("no key in it".into());
        }
        self.keys.lock().unwrap().push("abcd".into());
        Ok("abcd".into())
    }

    fn unload_key(&self, id: &str) -> bool {
        let mut keys = self.keys.lock().unwrap();
        let before = keys.len();
        keys.retain(|k| k != id);
        keys.len() < before
    }

    fn key_ids(&self) -> Vec<String> {
        self.keys.lock().unwrap().clone()
    }

    fn load_shared(&self, secret: SharedSpec) -> Result<(), String> {
        let owners: Vec<String> = secret.owners.iter().map(ToString::to_string).collect();
        self.order(format!("load-shared {} {:?} [{}]", secret.id, secret.kind, owners.join(" ")));
        self.shared.lock().unwrap().push(secret.id);
        Ok(())
    }

    fn unload_shared(&self, id: &str) -> bool {
        let mut shared = self.shared.lock().unwrap();
        let before = shared.len();
        shared.retain(|s| s != id);
        shared.len() < before
    }

    fn shared_ids(&self) -> Vec<String> {
        self.shared.lock().unwrap().clone()
    }

    fn clear_creds(&self) {
        self.order("clear-creds".into());
    }

    fn flush_certs(&self) {
        self.order("flush-certs".into());
    }

    fn authorities(&self) -> Vec<AuthoritySpec> {
        Vec::new()
    }

    fn load_authority(&self, authority: AuthoritySpec) -> Result<(), String> {
        self.order(format!("load-authority {}", authority.name));
        Ok(())
    }

    fn unload_authority(&self, _: &str) -> bool {
        false
    }

    fn pools(&self, name: Option<&str>, leases: bool) -> Vec<PoolSnapshot> {
        let lease = |address: &str, identity: &str, online| LeaseSnapshot {
            address: address.parse().unwrap(),
            identity: identity.into(),
            online,
        };
        let pool = PoolSnapshot {
            name: "home".into(),
            base: "10.3.0.0".parse().unwrap(),
            size: 254,
            online: 1,
            offline: 1,
            leases: if leases {
                vec![lease("10.3.0.1", "rw", true), lease("10.3.0.2", "C=CH, CN=x", false)]
            } else {
                Vec::new()
            },
        };
        if name.is_none_or(|n| n == "home") { vec![pool] } else { Vec::new() }
    }

    fn load_pool(&self, pool: Pool) -> Result<(), String> {
        self.order(format!("load-pool {}", pool.name));
        Ok(())
    }

    fn unload_pool(&self, name: &str) -> Result<(), String> {
        Err(format!("{name} not found"))
    }

    fn loading_ends(&self) {
        self.order("loading ends".into());
    }

    fn plan(&self) -> Result<Vec<PlanRow>, Vec<String>> {
        let row = |group, kind, name: &str, id, text: &str| PlanRow {
            group,
            kind,
            name: name.into(),
            id,
            text: text.into(),
        };
        Ok(vec![
            row(PlanGroup::Cut, "CHILD_SA", "site/net", Some(12), "closed: remote_ts changed"),
            row(PlanGroup::Alone, "pool", "home", None, "unchanged"),
        ])
    }

    fn reload(&self) -> Result<Vec<PlanRow>, Vec<String>> {
        Err(vec!["a:1:2: error: x".into(), "b: error: y".into()])
    }

    fn last_failure(&self, conn: &str, _: Option<&str>) -> Option<FailureNote> {
        (conn == "site").then(Self::failure)
    }

    fn strangers(&self) -> Vec<FailureNote> {
        vec![Self::failure()]
    }
}

/// What a command streamed.
#[derive(Default)]
pub(crate) struct Heard(Vec<String>);

impl Heard {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.clone()
    }
}

impl EventSink for Heard {
    fn event(&mut self, name: &str, message: &Message) -> Result<(), SinkClosed> {
        self.0.push(format!("{name} {message}"));
        Ok(())
    }

    fn wants(&self, _: &str) -> bool {
        true
    }

    fn client(&self) -> u64 {
        1
    }
}

/// A folder of this test's own.
pub(crate) fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("adit-control-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}
