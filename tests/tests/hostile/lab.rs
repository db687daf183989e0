//! The gateway, mallory and the bystander.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use adit_ike::{ChildState, Command, Config, Connection, Event, IkeKeysExport, IkeState, Settings, Stats};
use adit_wire::{ExchangeType, Flags, Header, PayloadType};

use crate::host::Host;
use crate::net::{End, Link, Net};
use crate::pki::UNIX;
use crate::setup::{Auth, Setup, Side, id, ip, secret};
use crate::wire::{self, Raw};

pub const SECOND: u64 = 1_000_000;
const BYSTANDER: &str = "192.0.2.77";

/// More messages than that for one thing is a loop.
const MAX_MESSAGES: usize = 400;

type Keys = BTreeMap<(u64, u64), IkeKeysExport>;

/// A message between mallory and the gateway, before it arrives.
pub struct Msg {
    pub to_gateway: bool,
    pub header: Header,
    pub protected: bool,
    pub chain: Vec<Raw>,
    /// Takes the place of the chain's octets: type of the first payload, octets.
    pub plain: Option<(u8, Vec<u8>)>,
    /// Takes the place of the datagram.
    pub instead: Option<Vec<Vec<u8>>>,
    /// What protects it at the receiver.
    pub keys: Option<IkeKeysExport>,
}

impl Msg {
    pub fn is(&self, exchange: ExchangeType, response: bool) -> bool {
        (self.header.exchange, self.header.flags.response) == (exchange, response)
    }

    pub fn has(&self, kind: PayloadType) -> bool {
        self.chain.iter().any(|raw| raw.kind == kind.0)
    }

    pub fn get(&mut self, kind: PayloadType) -> Option<&mut Raw> {
        self.chain.iter_mut().find(|raw| raw.kind == kind.0)
    }

    pub fn body(&mut self, kind: PayloadType) -> &mut Vec<u8> {
        &mut self.get(kind).expect("a payload of that kind").body
    }

    pub fn drop(&mut self, kind: PayloadType) {
        self.chain.retain(|raw| raw.kind != kind.0);
    }

    /// What arrives.
    fn datagrams(self) -> Vec<Vec<u8>> {
        if let Some(instead) = self.instead {
            return instead;
        }
        let (first, bytes) = self.plain.unwrap_or_else(|| wire::join(&self.chain));
        vec![match self.keys.filter(|_| self.protected) {
            Some(keys) => wire::seal(&keys, &self.header, first, None, &bytes),
            None => {
                let length = (28 + bytes.len()) as u32;
                let mut out = Vec::new();
                Header { next: PayloadType(first), length, ..self.header }.emit(&mut out);
                out.extend(bytes);
                out
            }
        }]
    }
}

/// Bends nothing.
pub fn honest(_: &mut Msg) {}

pub struct Lab {
    pub now: u64,
    pub setup: Setup,
    pub gateway: Host,
    pub mallory: Host,
    pub bystander: Host,
    net: Net,
    config: Arc<Config>,
    keys: [Keys; 2],
    heard: [usize; 2],
    seed: u64,
    baseline: Vec<(&'static str, usize)>,
    /// Protected or not, whatever the gateway answered to mallory since [`Self::forget`]: exchange and chain.
    pub answers: Vec<(ExchangeType, Vec<Raw>)>,
    noted: (Stats, Stats),
    tag: u64,
}

fn quiet(conn: &mut Connection) {
    conn.dpd_delay = Duration::ZERO;
    conn.rekey_time = Duration::ZERO;
    conn.reauth_time = Duration::ZERO;
    for child in &mut conn.children {
        let child = Arc::make_mut(child);
        child.rekey_time = Duration::ZERO;
        child.life_time = Duration::ZERO;
    }
}

fn settings(side: &mut Side) -> &mut Settings {
    side.settings.export_keys = true;
    side.settings.fragment_size = 65_000;
    // Limits are what `admission` and `flood` are about; elsewhere one mallory tries very many things.
    side.settings.max_packet = 0;
    side.settings.auth_failures = 0;
    &mut side.settings
}

impl Lab {
    pub fn new(auth: Auth) -> Self {
        Self::with(auth, |_| {})
    }

    /// A lab whose knobs are turned before; the bystander is up.
    pub fn with(auth: Auth, turn: impl Fn(&mut Setup)) -> Self {
        let mut setup = Setup::new(auth);
        setup.both(|side| {
            quiet(&mut side.conn);
            settings(side);
        });
        turn(&mut setup);
        let mut beside = Setup::new(Auth::Psk);
        beside.both(|side| quiet(&mut side.conn));
        let at = BYSTANDER.parse::<IpAddr>().unwrap();
        beside.client.conn.local_addrs = vec![adit_ike::HostSpec::Addr(at)];
        beside.client.outside.addresses = vec![at];
        beside.client.conn.local.id = Some(id("bystander.example.net"));
        let theirs = secret(&["bystander.example.net", crate::setup::GATEWAY], "another secret");
        beside.client.credentials.shared = vec![theirs.clone()];
        let mut conn = beside.gateway.conn.clone();
        conn.name = "beside".into();
        conn.remote_addrs = vec![adit_ike::HostSpec::Addr(at)];
        conn.remote.id = id("bystander.example.net");
        let mut credentials = setup.gateway.credentials.clone();
        credentials.shared.push(theirs);
        let config = Arc::new(Config {
            connections: vec![Arc::new(setup.gateway.conn.clone()), Arc::new(conn)],
            credentials: Arc::new(credentials),
        });
        let gateway = Host::new(
            End::Gateway,
            setup.gateway.settings.clone(),
            Arc::clone(&config),
            setup.gateway.outside.clone(),
            1,
            UNIX,
        );
        let client = |side: &Side, seed| {
            Host::new(End::Client, side.settings.clone(), side.config(), side.outside.clone(), seed, UNIX)
        };
        let mut net = Net::new(1, [Link::CLEAN; 2], None);
        net.cut = true; // it only notes what is sent
        let mut lab = Self {
            now: SECOND,
            gateway,
            mallory: client(&setup.client, 2),
            bystander: client(&beside.client, 3),
            net,
            config,
            keys: [Keys::new(), Keys::new()],
            heard: [0; 2],
            seed: 3,
            setup,
            baseline: Vec::new(),
            answers: Vec::new(),
            noted: (Stats::default(), Stats::default()),
            tag: 0,
        };
        let up = Command::Initiate { conn: Some("site".into()), child: None, tag: 0, trigger: None };
        lab.bystander.command(lab.now, up);
        lab.pump(&mut honest);
        lab.advance(30, &mut honest);
        assert_eq!(lab.bystander.sad.len(), 1, "{}", lab.story());
        lab.baseline = lab.gateway.endpoint.leftovers();
        lab.forget();
        lab
    }

    /// A lab in which mallory is connected.
    pub fn connected(auth: Auth) -> Self {
        let mut lab = Self::new(auth);
        assert_eq!(lab.connect(&mut honest), Some(Ok(())), "{}", lab.story());
        lab.forget();
        lab
    }

    /// The header of a request of mallory's.
    pub fn request(&self, exchange: ExchangeType, message_id: u32) -> Header {
        let (spi_i, spi_r) = self.spis();
        let flags = Flags { initiator: true, response: false, version: false };
        let (next, length) = (PayloadType::NONE, 0);
        Header { spi_i, spi_r, next, major: 2, minor: 0, exchange, flags, message_id, length }
    }

    /// A request of mallory's with these payloads, protected.
    pub fn sealed(&self, exchange: ExchangeType, mid: u32, chain: &[Raw]) -> Vec<u8> {
        let header = self.request(exchange, mid);
        let keys = self.gateway_keys(self.spis()).expect("keys of the gateway's");
        let (first, plain) = wire::join(chain);
        wire::seal(keys, &header, first, None, &plain)
    }

    /// The gateway still answers: an empty INFORMATIONAL request.
    pub fn answers_ping(&mut self, mid: u32) {
        self.forget();
        let message = self.sealed(ExchangeType::INFORMATIONAL, mid, &[]);
        self.send(&message);
        assert_eq!(self.answers, vec![(ExchangeType::INFORMATIONAL, Vec::new())], "{}", self.story());
    }

    /// Time passes for all.
    pub fn advance(&mut self, seconds: u64, bend: &mut dyn FnMut(&mut Msg)) {
        let deadline = self.now + seconds * SECOND;
        for _ in 0..MAX_MESSAGES {
            let hosts = [&self.gateway, &self.mallory, &self.bystander];
            let timer = hosts.iter().filter_map(|host| host.next_timeout()).map(|(at, _)| at).min();
            let Some(at) = timer.filter(|at| *at <= deadline) else {
                self.now = deadline;
                return;
            };
            self.now = self.now.max(at);
            for host in [&mut self.gateway, &mut self.mallory, &mut self.bystander] {
                if host.next_timeout().is_some_and(|(at, _)| at <= self.now) {
                    host.endpoint.handle_timeout(adit_ike::Instant::from_micros(self.now));
                }
            }
            self.pump(bend);
        }
        panic!("timers without end:\n{}", self.story());
    }

    fn listen(&mut self) {
        for (n, host) in [&self.mallory, &self.gateway].into_iter().enumerate() {
            for (_, event) in host.events.get(self.heard[n]..).unwrap_or_default() {
                if let Event::IkeKeys(keys) = event {
                    self.keys[n].insert((keys.spi_i, keys.spi_r), (**keys).clone());
                }
            }
            self.heard[n] = host.events.len();
        }
    }

    /// What the gateway was given.
    pub fn gateway_config(&self) -> Arc<Config> {
        Arc::clone(&self.config)
    }

    /// The keys of the gateway for these SPIs.
    pub fn gateway_keys(&self, spis: (u64, u64)) -> Option<&IkeKeysExport> {
        self.keys[1].get(&spis)
    }

    /// Carries what is sent to where it goes, until all is quiet.
    pub fn pump(&mut self, bend: &mut dyn FnMut(&mut Msg)) {
        for _ in 0..MAX_MESSAGES {
            for host in [&mut self.mallory, &mut self.gateway, &mut self.bystander] {
                while host.answer(self.now) {}
                host.flush(self.now, &mut self.net);
            }
            self.listen();
            let hosts = [&self.mallory, &self.gateway, &self.bystander];
            if self.net.capture.is_empty() && hosts.iter().all(|host| host.next_answer().is_none()) {
                return;
            }
            for sent in std::mem::take(&mut self.net.capture) {
                let marked = sent.src.port() == 4500;
                let bytes = if marked { &sent.bytes[4..] } else { &sent.bytes[..] };
                let datagrams = if [sent.src.ip(), sent.dst.ip()].contains(&ip(BYSTANDER)) {
                    vec![bytes.to_vec()]
                } else {
                    self.tap(bytes, bend)
                };
                for bytes in datagrams {
                    let bytes = if marked { [&[0; 4], &bytes[..]].concat() } else { bytes };
                    self.arrive(sent.src, sent.dst, &bytes);
                }
            }
        }
        panic!("messages without end:\n{}", self.story());
    }

    fn tap(&mut self, bytes: &[u8], bend: &mut dyn FnMut(&mut Msg)) -> Vec<Vec<u8>> {
        let Ok(header) = Header::parse(bytes) else { return vec![bytes.to_vec()] };
        // Which way it goes: mallory initiates every IKE_SA, or its successor by a rekeying of the gateway.
        let to_gateway = self.mallory.endpoint.ike_sas().any(|sa| {
            (sa.spi_i, sa.initiator) == (header.spi_i, header.flags.initiator)
                || (sa.spi_r, sa.initiator) == (header.spi_r, header.flags.initiator) && header.spi_r != 0
        });
        let spis = (header.spi_i, header.spi_r);
        let protected = matches!(header.next, PayloadType::SK);
        let (sender, receiver) = if to_gateway { (0, 1) } else { (1, 0) };
        let chain = if protected {
            let opened = self.keys[sender].get(&spis).and_then(|keys| wire::open(keys, bytes));
            let Some((first, plain)) = opened else { return vec![bytes.to_vec()] };
            wire::split(first, &plain)
        } else {
            wire::split(header.next.0, &bytes[28..])
        };
        if !to_gateway {
            self.answers.push((header.exchange, chain.clone()));
        }
        let keys = self.keys[receiver].get(&spis).or_else(|| self.keys[sender].get(&spis)).cloned();
        let mut msg = Msg { to_gateway, header, protected, chain, plain: None, instead: None, keys };
        bend(&mut msg);
        msg.datagrams()
    }

    /// A datagram arrives at whoever has the address.
    pub fn arrive(&mut self, src: SocketAddr, dst: SocketAddr, bytes: &[u8]) {
        for host in [&mut self.mallory, &mut self.gateway, &mut self.bystander] {
            host.receive(self.now, src, dst, bytes);
        }
    }

    /// Mallory's datagram to the gateway.
    pub fn send(&mut self, bytes: &[u8]) {
        self.arrive("192.0.2.10:500".parse().unwrap(), "203.0.113.1:500".parse().unwrap(), bytes);
        self.pump(&mut honest);
    }

    /// Mallory connects, or tries to.
    pub fn connect(&mut self, bend: &mut dyn FnMut(&mut Msg)) -> Option<Result<(), String>> {
        self.tag += 1;
        let (conn, child, tag) = (Some("site".into()), Some("net".into()), self.tag);
        self.mallory.command(self.now, Command::Initiate { conn, child, tag, trigger: None });
        self.pump(bend);
        self.mallory.outcome(self.tag).map(|outcome| outcome.as_ref().map_err(ToString::to_string).copied())
    }

    /// Mallory does something on its SA, or the gateway on its own one of it.
    pub fn command(&mut self, end: End, command: Command, bend: &mut dyn FnMut(&mut Msg)) {
        let host = if end == End::Client { &mut self.mallory } else { &mut self.gateway };
        host.command(self.now, command);
        self.pump(bend);
    }

    /// Mallory's established IKE_SA at the gateway, its first child, and the same at mallory.
    pub fn ids(&self, end: End) -> Option<(u32, u32)> {
        let host = if end == End::Client { &self.mallory } else { &self.gateway };
        let sa = host.endpoint.ike_sas().find(|sa| {
            sa.remote.is_none_or(|it| it.ip() != ip(BYSTANDER)) && sa.state == IkeState::Established
        })?;
        Some((sa.id, sa.children.first().map_or(0, |child| child.id)))
    }

    /// The IKE_SA that mallory has, whatever its state: SPIs.
    pub fn spis(&self) -> (u64, u64) {
        let sa = self.mallory.endpoint.ike_sas().last().expect("an IKE_SA of mallory's");
        (sa.spi_i, sa.spi_r)
    }

    /// Is mallory in?
    pub fn is_in(&self) -> bool {
        self.ids(End::Gateway).is_some()
    }

    /// Nothing is under way, and mallory and the gateway have as many IKE_SAs with as many CHILD_SAs. (SPIs may
    /// differ: that is mallory's own loss.)
    pub fn agrees(&self) -> bool {
        let list = |host: &Host| {
            let sas =
                host.endpoint.ike_sas().filter(|sa| sa.remote.is_none_or(|it| it.ip() != ip(BYSTANDER)));
            let mut list: Vec<_> = sas
                .filter(|sa| &*sa.name != "beside")
                .map(|sa| {
                    let up = sa.children.iter().filter(|child| child.state == ChildState::Installed);
                    (sa.state == IkeState::Established, up.count())
                })
                .collect();
            list.sort();
            list
        };
        let (ours, theirs) = (list(&self.gateway), list(&self.mallory));
        ours == theirs && ours.iter().all(|(established, _)| *established)
    }

    /// From here on new reasons and counters are looked for.
    pub fn forget(&mut self) {
        self.answers.clear();
        self.gateway.events.clear();
        self.mallory.events.clear();
        self.bystander.events.clear();
        self.heard = [self.mallory.events.len(), self.gateway.events.len()];
        self.noted = (self.gateway.endpoint.stats(), self.mallory.endpoint.stats());
    }

    /// Something said or counted that something is not as it should be, since [`Self::forget`].
    pub fn noticed(&self) -> bool {
        let told = |host: &Host| {
            host.events.iter().any(|(_, event)| {
                matches!(
                    event,
                    Event::Failure { .. }
                        | Event::IkeClosed { reason: Some(_), .. }
                        | Event::Outcome { result: Err(_), .. }
                )
            })
        };
        let counted = |was: &Stats, is: Stats| {
            let sum = |it: &Stats| {
                it.malformed
                    + it.unknown_spi
                    + it.bad_integrity
                    + it.wrong_state
                    + it.refused
                    + it.out_of_window
                    + it.dropped_fragments
            };
            sum(&is) > sum(was) || is.peer_retransmits > was.peer_retransmits
        };
        told(&self.gateway)
            || told(&self.mallory)
            || counted(&self.noted.0, self.gateway.endpoint.stats())
            || counted(&self.noted.1, self.mallory.endpoint.stats())
            || !self.errors().is_empty()
    }

    /// Error notifies that the gateway answered with.
    pub fn errors(&self) -> Vec<u16> {
        let notifies = self.answers.iter().flat_map(|(_, chain)| chain).filter(|raw| raw.kind == 41);
        let kinds = notifies.map(|raw| u16::from_be_bytes([raw.body[2], raw.body[3]]));
        kinds.filter(|kind| *kind < 16384).collect()
    }

    /// Row 33: no octet of a peer's reaches a log or a sentence as a control character.
    fn check_texts(&self) {
        for (_, event) in self.gateway.events.iter().chain(&self.mallory.events) {
            let text = match event {
                Event::Log { text, .. } => text.clone(),
                Event::Failure { reason, .. } | Event::Outcome { result: Err(reason), .. } => {
                    format!("{reason} {}", reason.cure())
                }
                _ => continue,
            };
            assert!(!text.chars().any(char::is_control), "{text:?}");
            assert!(text.len() < 20_000, "{} octets of text", text.len());
        }
    }

    /// Mallory forgets everything it had; the gateway does not hear of it.
    pub fn reborn(&mut self) {
        self.seed += 1;
        // What goes out now finds nobody.
        self.gateway.flush(self.now, &mut self.net);
        self.net.capture.clear();
        let side = &self.setup.client;
        let (settings, config) = (side.settings.clone(), side.config());
        self.mallory = Host::new(End::Client, settings, config, side.outside.clone(), self.seed, UNIX);
    }

    /// Mallory is gone: nothing of it may be left, and the bystander is as before.
    pub fn clean(&mut self) {
        self.check_bystander();
        self.check_texts();
        let ids: Vec<u32> = self
            .gateway
            .endpoint
            .ike_sas()
            .filter(|sa| sa.remote.is_none_or(|it| it.ip() != ip(BYSTANDER)))
            .map(|sa| sa.id)
            .collect();
        for id in ids {
            let command = Command::TerminateIke { id, force: true, tag: 0 };
            self.gateway.command(self.now, command);
        }
        self.keys = [Keys::new(), Keys::new()];
        self.reborn();
        self.now += 2 * SECOND;
        self.forget();
        assert_eq!(self.gateway.endpoint.leftovers(), self.baseline, "{}", self.story());
        assert!(self.gateway.objections.is_empty(), "{:?}", self.gateway.objections);
        self.check_bystander();
    }

    /// The tunnel of the bystander stands at both ends, unchanged.
    fn check_bystander(&self) {
        let ours: Vec<_> = self.gateway.endpoint.ike_sas().filter(|sa| &*sa.name == "beside").collect();
        let theirs: Vec<_> = self.bystander.endpoint.ike_sas().collect();
        let both = [ours, theirs];
        for sas in &both {
            assert_eq!(sas.len(), 1, "{}", self.story());
            assert_eq!((sas[0].state, sas[0].children.len()), (IkeState::Established, 1), "{}", self.story());
        }
        let [ours, theirs] = both.map(|sas| {
            let child = &sas[0].children[0];
            (sas[0].spi_i, child.spi_in, child.spi_out)
        });
        assert_eq!((ours.0, ours.1, ours.2), (theirs.0, theirs.2, theirs.1));
    }

    /// Everything at the end: nothing is left of mallory, and the bystander's tunnel can still be rekeyed.
    pub fn finish(mut self) {
        self.clean();
        let before = self.bystander.sad.keys().next().copied().unwrap();
        self.bystander.command(self.now, Command::RekeyChild { id: before });
        self.pump(&mut honest);
        let id = self.bystander.endpoint.ike_sas().next().unwrap().id;
        self.bystander.command(self.now, Command::RekeyIke { id });
        self.pump(&mut honest);
        self.advance(30, &mut honest);
        self.check_bystander();
        assert_ne!(self.bystander.sad.keys().next().copied().unwrap(), before);
        let (ours, theirs) = (self.gateway.sad.values().next().unwrap(), self.bystander.sad.values().next());
        assert_eq!(Some(&ours.sa.keys_in), theirs.map(|entry| &entry.sa.keys_out));
        assert!(self.bystander.objections.is_empty() && self.gateway.objections.is_empty());
    }

    pub fn story(&self) -> String {
        let mut lines = Vec::new();
        for (who, host) in
            [("mallory", &self.mallory), ("gateway", &self.gateway), ("bystander", &self.bystander)]
        {
            lines.extend(host.story().lines().map(|line| format!("{} {who} {}", &line[..13], &line[14..])));
        }
        lines.sort_by(|a, b| a[..13].cmp(&b[..13]));
        lines.join("\n")
    }
}
