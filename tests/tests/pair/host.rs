//! One end: an endpoint and the outside that answers its questions. The outside keeps books, and every entry that does
//! not add up is an objection.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use adit_crypto::SeededRandom;
use adit_ike::{
    Action, ActionId, Command, Completion, Config, Endpoint, Event, Instant, Leased, Path, Reason, Settings,
    TransmitKind,
};
use adit_ipsec::{ChildSa, Identity, PacketInfo, Selector, Usage};

use crate::net::{End, Net};

/// Kinds of questions that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    Lease,
    Install,
    VirtualIps,
    Resolve,
    Source,
}

/// How the outside behaves.
#[derive(Debug, Clone, Default)]
pub struct Outside {
    /// Addresses of the host.
    pub addresses: Vec<IpAddr>,
    /// Names that can be resolved.
    pub names: BTreeMap<String, Vec<IpAddr>>,
    /// Addresses to lease, by pool.
    pub pools: BTreeMap<String, Vec<IpAddr>>,
    /// Handed out with every lease.
    pub attributes: Vec<(u16, Vec<u8>)>,
    /// Answers come after up to so many microseconds; 0 = at once.
    pub delay: u64,
    /// What fails.
    pub failing: BTreeSet<Question>,
    /// One that fails once: the question of that kind after so many others.
    pub fails_once: Option<(Question, u32)>,
    /// Questions so far.
    pub questions: BTreeMap<Question, u32>,
    /// Addresses that the host once had: what is sent from there does not leave it.
    pub gone: BTreeSet<IpAddr>,
    /// Traffic that every SA has seen, as idle time; `None` = SAs never carry anything.
    pub idle: Option<Duration>,
}

/// What was done to a host, so that a copy can be brought to where it was.
#[derive(Clone)]
enum Input {
    Command(Box<Command>),
    Datagram(SocketAddr, SocketAddr, Vec<u8>),
    Answer,
    Timeout,
    Flush,
}

/// An entry of the fake SAD.
pub struct Installed {
    pub sa: ChildSa,
    /// Sequence numbers that it left out.
    pub skipped: u64,
    pub sends: bool,
    /// When it began to send, as a number that rises: of several that fit a packet, the eldest sends it.
    pub rank: u64,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub udp_encap: bool,
}

pub struct Host {
    pub end: End,
    pub endpoint: Endpoint,
    pub outside: Outside,
    rng: SeededRandom,
    pub sad: BTreeMap<u32, Installed>,
    /// CHILD_SAs whose installation was refused; their removal may be asked for.
    refused: BTreeSet<u32>,
    /// Address → to whom, how often.
    pub leases: BTreeMap<IpAddr, (Identity, u32)>,
    /// Who had which address before: leases are sticky.
    sticky: BTreeMap<(String, Identity, bool), IpAddr>,
    /// IKE_SA → addresses and DNS servers in use.
    pub virtual_ips: BTreeMap<u32, (Vec<IpAddr>, Vec<IpAddr>)>,
    answers: BTreeMap<(u64, u64), (ActionId, Completion)>,
    asked: u64,
    pub events: Vec<(u64, Event)>,
    pub objections: Vec<String>,
    /// Of commands it was given.
    pub tags: Vec<u64>,
    /// Everything that was ever installed.
    pub installed_ever: u64,
    /// How often the SAD has changed.
    pub turns: u64,
    /// Everything that was ever done to it, if that is written down.
    tape: Option<Vec<(u64, Input)>>,
    born: (Settings, Arc<Config>, Vec<IpAddr>, u64, i64),
}

/// The IKE_SAs and CHILD_SAs that are up if one only listens to the events, as the gateway's subscribers do.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Told {
    pub ikes: BTreeSet<u32>,
    pub children: BTreeSet<u32>,
}

impl Told {
    /// One more event; an error if it does not fit those before.
    pub fn hear(&mut self, event: &Event) -> Result<(), String> {
        let Self { ikes, children } = self;
        let fits = match event {
            Event::IkeEstablished { id } => ikes.insert(*id),
            Event::IkeRekeyed { old, new } => ikes.remove(old) && ikes.insert(*new),
            Event::IkeClosed { id, was_established, .. } => ikes.remove(id) == *was_established,
            Event::ChildUp { ike, id } => ikes.contains(ike) && children.insert(*id),
            Event::ChildRekeyed { ike, old, new } => {
                ikes.contains(ike) && children.remove(old) && children.insert(*new)
            }
            Event::ChildDown { ike, id, .. } => ikes.contains(ike) && children.remove(id),
            _ => true,
        };
        if fits { Ok(()) } else { Err(format!("the event does not fit those before: {event:?}")) }
    }
}

impl Host {
    pub fn new(
        end: End,
        settings: Settings,
        config: Arc<Config>,
        outside: Outside,
        seed: u64,
        unix: i64,
    ) -> Self {
        let born = (settings.clone(), Arc::clone(&config), outside.addresses.clone(), seed, unix);
        Self {
            tape: None,
            born,
            end,
            endpoint: Endpoint::new(settings, config, Box::new(SeededRandom::new(seed)), unix),
            outside,
            rng: SeededRandom::new(seed ^ 0x6f75_7473_6964_6531),
            sad: BTreeMap::new(),
            refused: BTreeSet::new(),
            leases: BTreeMap::new(),
            sticky: BTreeMap::new(),
            virtual_ips: BTreeMap::new(),
            answers: BTreeMap::new(),
            asked: 0,
            events: Vec::new(),
            objections: Vec::new(),
            tags: Vec::new(),
            installed_ever: 0,
            turns: 0,
        }
    }

    /// Writes down everything from now on.
    pub fn record(&mut self) {
        self.tape = Some(Vec::new());
    }

    /// How much is written down.
    pub fn mark(&self) -> usize {
        self.tape.as_ref().map_or(0, Vec::len)
    }

    fn note(&mut self, now: u64, input: impl FnOnce() -> Input) {
        if let Some(tape) = &mut self.tape {
            tape.push((now, input()));
        }
    }

    /// A copy of it as it was at that mark: the same seed and the same inputs.
    pub fn copy_at(&self, mark: usize) -> Self {
        let (settings, config, addresses, seed, unix) = self.born.clone();
        let outside = Outside { addresses, gone: BTreeSet::new(), ..self.outside.clone() };
        let mut copy = Self::new(self.end, settings, config, outside, seed, unix);
        copy.hear_addresses(0);
        copy.record();
        let mut nowhere = Net::new(0, [crate::net::Link::CLEAN; 2], None);
        nowhere.cut = true;
        for (now, input) in self.tape.iter().flatten().take(mark).cloned() {
            match input {
                Input::Command(command) => {
                    if let Command::AddressesChanged { addresses } = &*command {
                        copy.outside.addresses.clone_from(addresses);
                    }
                    copy.command(now, *command);
                }
                Input::Datagram(src, dst, bytes) => copy.receive(now, src, dst, &bytes),
                Input::Answer => assert!(copy.answer(now)),
                Input::Timeout => copy.timeout(now),
                Input::Flush => copy.flush(now, &mut nowhere),
            }
        }
        copy
    }

    pub fn timeout(&mut self, now: u64) {
        self.note(now, || Input::Timeout);
        self.endpoint.handle_timeout(Instant::from_micros(now));
    }

    /// Tells the endpoint the host's addresses, as a driver does when it starts.
    pub fn hear_addresses(&mut self, now: u64) {
        let addresses = self.outside.addresses.clone();
        self.command(now, Command::AddressesChanged { addresses });
    }

    pub fn command(&mut self, now: u64, command: Command) {
        self.note(now, || Input::Command(Box::new(command.clone())));
        if let Command::Initiate { tag, .. }
        | Command::InitiateIke { tag, .. }
        | Command::Redirect { tag, .. }
        | Command::TakeOver { tag, .. }
        | Command::TerminateIke { tag, .. }
        | Command::TerminateChild { tag, .. } = &command
            && *tag != 0
        {
            self.tags.push(*tag);
        }
        self.endpoint.command(Instant::from_micros(now), command);
    }

    /// A datagram from the network, as the gateway's sockets would hand it over.
    pub fn receive(&mut self, now: u64, src: SocketAddr, dst: SocketAddr, bytes: &[u8]) {
        self.note(now, || Input::Datagram(src, dst, bytes.to_vec()));
        let (port, port_nat_t) = (self.endpoint.settings().port, self.endpoint.settings().port_nat_t);
        if !self.outside.addresses.contains(&dst.ip()) {
            return;
        }
        let message = if dst.port() == port_nat_t {
            match bytes.strip_prefix(&[0; 4]) {
                Some(message) => message,
                None => return, // ESP or a keepalive
            }
        } else if dst.port() == port {
            bytes
        } else {
            return;
        };
        self.endpoint.handle_datagram(Instant::from_micros(now), Path { local: dst, remote: src }, message);
    }

    /// Takes what the endpoint has to say: datagrams to the network, questions to the outside.
    pub fn flush(&mut self, now: u64, net: &mut Net) {
        self.note(now, || Input::Flush);
        while let Some(transmit) = self.endpoint.poll_transmit() {
            let Path { local, remote } = transmit.path;
            if self.outside.gone.contains(&local.ip()) {
                continue;
            }
            if !self.outside.addresses.contains(&local.ip()) {
                self.objections.push(format!("sends from {local}, which is not an address of the host"));
            }
            let mut bytes = transmit.bytes;
            match transmit.kind {
                TransmitKind::Ike if local.port() == self.endpoint.settings().port_nat_t => {
                    bytes.splice(0..0, [0; 4]);
                }
                TransmitKind::Ike => {}
                TransmitKind::Keepalive => {
                    if bytes != [0xff] {
                        self.objections.push(format!("a keepalive of {bytes:02x?}"));
                    }
                }
            }
            net.send(now, self.end, local, remote, bytes);
        }
        while let Some((id, action)) = self.endpoint.poll_action() {
            if let Some(answer) = self.act(action) {
                let delay =
                    if self.outside.delay == 0 { 0 } else { self.rng.next_u64() % self.outside.delay };
                self.asked += 1;
                self.answers.insert((now + delay, self.asked), (id, answer));
            }
        }
        while let Some(event) = self.endpoint.poll_event() {
            self.events.push((now, event));
        }
    }

    /// When the outside answers next.
    pub fn next_answer(&self) -> Option<u64> {
        self.answers.first_key_value().map(|((at, _), _)| *at)
    }

    /// When the endpoint wants to be woken, and what for.
    pub fn next_timeout(&self) -> Option<(u64, &'static str)> {
        self.endpoint.poll_timeout().map(|(at, what)| (at.as_micros(), what))
    }

    /// Gives one answer that is due.
    pub fn answer(&mut self, now: u64) -> bool {
        let Some(entry) = self.answers.first_entry() else { return false };
        if entry.key().0 > now {
            return false;
        }
        let (id, answer) = entry.remove();
        self.note(now, || Input::Answer);
        self.endpoint.complete(Instant::from_micros(now), id, answer);
        true
    }

    fn fails(&mut self, question: Question) -> bool {
        let outside = &mut self.outside;
        let asked = outside.questions.entry(question).or_default();
        let now = outside.fails_once.take_if(|(kind, at)| *kind == question && *at == *asked).is_some();
        *asked += 1;
        now || outside.failing.contains(&question)
    }

    fn act(&mut self, action: Action) -> Option<Completion> {
        match action {
            Action::Lease { pools, identity, wanted } => {
                Some(Completion::Lease(self.lease(&pools, &identity, &wanted)))
            }
            Action::Release { identity, addresses, .. } => {
                for address in addresses {
                    match self.leases.get_mut(&address) {
                        Some((owner, count)) if *owner == identity && *count > 0 => {
                            *count -= 1;
                            if *count == 0 {
                                self.leases.remove(&address);
                            }
                        }
                        _ => self
                            .objections
                            .push(format!("{address} released by {identity}, who does not have it")),
                    }
                }
                None
            }
            Action::InstallChild(sa) => Some(Completion::Done(self.install(*sa))),
            Action::ActivateOutbound { id } => {
                if self.sad.contains_key(&id) {
                    self.start_sending(id);
                } else {
                    self.objections.push(format!("outbound half activated of CHILD_SA {id}, not installed"));
                }
                None
            }
            Action::UpdateChild { id, path, udp_encap } => {
                match self.sad.get_mut(&id) {
                    Some(entry) => {
                        self.turns += 1;
                        (entry.local, entry.remote, entry.udp_encap) = (path.local, path.remote, udp_encap);
                    }
                    None if self.refused.contains(&id) => {}
                    None => self.objections.push(format!("CHILD_SA {id} updated, which is not installed")),
                }
                None
            }
            Action::SkipSequence { id, by } => {
                match self.sad.get_mut(&id) {
                    Some(entry) => entry.skipped += by,
                    None => self.objections.push(format!("CHILD_SA {id} skips, which is not installed")),
                }
                None
            }
            Action::RemoveChild { id } => {
                self.turns += 1;
                if self.sad.remove(&id).is_none() && !self.refused.remove(&id) {
                    self.objections.push(format!("CHILD_SA {id} removed, which is not installed"));
                }
                None
            }
            Action::QueryUsage { id } => {
                let idle = self.outside.idle;
                Some(Completion::Usage(self.sad.get(&id).map(|_| Usage {
                    bytes_in: 1000,
                    packets_in: 10,
                    bytes_out: 1000,
                    packets_out: 10,
                    idle_in: idle,
                    idle_out: idle,
                })))
            }
            Action::InstallVirtualIps { ike, addresses, dns, .. } => {
                if self.fails(Question::VirtualIps) {
                    return Some(Completion::Done(Err("the device is gone".to_owned())));
                }
                if self.virtual_ips.insert(ike, (addresses, dns)).is_some() {
                    self.objections.push(format!("virtual addresses of IKE_SA {ike} installed twice"));
                }
                Some(Completion::Done(Ok(())))
            }
            Action::RemoveVirtualIps { ike, addresses, dns } => {
                if self.virtual_ips.remove(&ike) != Some((addresses, dns))
                    && !self.fails(Question::VirtualIps)
                {
                    self.objections
                        .push(format!("virtual addresses of IKE_SA {ike} removed, which are others"));
                }
                None
            }
            Action::Resolve { name } => {
                let known = self.outside.names.get(&name).cloned().unwrap_or_default();
                Some(Completion::Resolved(if self.fails(Question::Resolve) { Vec::new() } else { known }))
            }
            Action::SourceAddress { remote, among, current } => {
                let fits =
                    |a: &&IpAddr| a.is_ipv4() == remote.is_ipv4() && (among.is_empty() || among.contains(a));
                let mut usable = self.outside.addresses.iter().filter(fits);
                let found = usable.clone().find(|a| current == Some(**a)).or_else(|| usable.next()).copied();
                let found = found.filter(|_| !self.fails(Question::Source));
                Some(Completion::Source(found.ok_or_else(|| "no such address".to_owned())))
            }
        }
    }

    fn install(&mut self, sa: ChildSa) -> Result<(), String> {
        let id = sa.id;
        if self.sad.contains_key(&id) {
            self.objections.push(format!("CHILD_SA {id} installed twice"));
        }
        if self.sad.values().any(|entry| entry.sa.spi_in == sa.spi_in) {
            self.objections.push(format!("SPI {:08x} is in use twice", sa.spi_in));
        }
        if sa.spi_in < 256 || sa.spi_out < 256 {
            self.objections.push(format!("reserved SPI in {:08x}/{:08x}", sa.spi_in, sa.spi_out)); // RFC 4303 §2.1
        }
        if sa.local_ts.is_empty() || sa.remote_ts.is_empty() {
            self.objections.push(format!("CHILD_SA {id} without selectors"));
        }
        if sa.keys_in.encr_key.is_empty() || sa.keys_in.encr_key == sa.keys_out.encr_key {
            self.objections.push(format!("CHILD_SA {id} with bad keys"));
        }
        if self.fails(Question::Install) {
            self.refused.insert(id);
            return Err("the data plane is full".to_owned());
        }
        let (local, remote, udp_encap) = (sa.local, sa.remote, sa.udp_encap);
        self.installed_ever += 1;
        self.turns += 1;
        let ready = sa.outbound_ready;
        self.sad.insert(id, Installed { skipped: 0, sends: false, rank: 0, local, remote, udp_encap, sa });
        if ready {
            self.start_sending(id);
        }
        Ok(())
    }

    /// As a data plane does: the SA takes the place of the one that it replaces, for good.
    fn start_sending(&mut self, id: u32) {
        self.turns += 1;
        let rank = self.turns;
        let Some(entry) = self.sad.get_mut(&id).filter(|entry| !entry.sends) else { return };
        (entry.sends, entry.rank) = (true, rank);
        if let Some(old) = entry.sa.replaces.and_then(|old| self.sad.get_mut(&old)) {
            old.sends = false;
        }
    }

    /// The SA that a packet leaves on.
    pub fn outbound(&self, packet: &PacketInfo) -> Option<&Installed> {
        let fits = |list: &[Selector], addr, port| {
            list.iter().any(|selector| selector.matches(addr, packet.protocol, port))
        };
        let sending = self.sad.values().filter(|entry| entry.sends);
        sending
            .filter(|entry| {
                fits(&entry.sa.local_ts, packet.src, packet.src_port)
                    && fits(&entry.sa.remote_ts, packet.dst, packet.dst_port)
            })
            .min_by_key(|entry| entry.rank)
    }

    fn lease(&mut self, pools: &[String], identity: &Identity, wanted: &[IpAddr]) -> Result<Leased, String> {
        if self.fails(Question::Lease) {
            return Err("the pool is exhausted".to_owned());
        }
        let mut addresses = Vec::new();
        for want in wanted {
            let found = pools.iter().find_map(|pool| {
                let key = (pool.clone(), identity.clone(), want.is_ipv4());
                if let Some(had) = self.sticky.get(&key)
                    && self.leases.get(had).is_none_or(|(owner, _)| owner == identity)
                {
                    return Some(*had);
                }
                let mut free = self.outside.pools.get(pool)?.iter().filter(|a| a.is_ipv4() == want.is_ipv4());
                let free = *free.find(|a| !self.leases.contains_key(*a))?;
                self.sticky.insert(key, free);
                Some(free)
            });
            // One family the pools do not serve is no failure; none at all is.
            if let Some(address) = found {
                self.leases.entry(address).or_insert_with(|| (identity.clone(), 0)).1 += 1;
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err("no free address".to_owned());
        }
        Ok(Leased { addresses, attributes: self.outside.attributes.clone() })
    }

    /// The host has these addresses from now on, the preferred ones first, and its endpoint hears of it.
    pub fn readdress(&mut self, now: u64, addresses: &[IpAddr]) {
        let had = std::mem::replace(&mut self.outside.addresses, addresses.to_vec());
        self.outside.gone.extend(had);
        self.outside.gone.retain(|address| !addresses.contains(address));
        self.command(now, Command::AddressesChanged { addresses: addresses.to_vec() });
    }

    /// The machine loses power and comes back: SAs, leases and addresses in use are gone.
    pub fn crash(&mut self, now: u64, settings: Settings, config: Arc<Config>, seed: u64, unix: i64) {
        let sticky = std::mem::take(&mut self.sticky);
        let mut fresh = Self::new(self.end, settings, config, self.outside.clone(), seed, unix);
        fresh.sticky = sticky;
        fresh.objections = std::mem::take(&mut self.objections);
        fresh.hear_addresses(now);
        *self = fresh;
    }

    pub fn outcome(&self, wanted: u64) -> Option<&Result<(), Reason>> {
        self.events.iter().find_map(|(_, event)| match event {
            Event::Outcome { tag, result } if *tag == wanted => Some(result),
            _ => None,
        })
    }

    /// The messages that it read, as its log describes them: `IKE_AUTH request 1 [ … ]`.
    pub fn read(&self) -> Vec<String> {
        let texts = self.events.iter().filter_map(|(_, event)| match event {
            Event::Log { text, .. } => text.strip_prefix("parsed "),
            _ => None,
        });
        texts.map(str::to_owned).collect()
    }

    /// Labels of every failure it told of.
    pub fn failures(&self) -> Vec<&'static str> {
        self.events
            .iter()
            .filter_map(|(_, event)| match event {
                Event::Failure { reason, .. } => Some(reason.label()),
                _ => None,
            })
            .collect()
    }

    /// What its events say is up.
    pub fn told(&self) -> Result<Told, String> {
        let mut told = Told::default();
        self.events.iter().try_for_each(|(_, event)| told.hear(event))?;
        Ok(told)
    }

    /// Commands with a tag that were not answered exactly once.
    pub fn unanswered(&self) -> Vec<u64> {
        let answers = |wanted: u64| {
            let answered =
                |(_, event): &&(u64, Event)| matches!(event, Event::Outcome { tag, .. } if *tag == wanted);
            self.events.iter().filter(answered).count()
        };
        self.tags.iter().copied().filter(|tag| answers(*tag) != 1).collect()
    }

    /// Its log and its events, for those who look for the cause of a failed run.
    pub fn story(&self) -> String {
        let mut story = String::new();
        for (at, event) in &self.events {
            let line = match event {
                Event::Log { group, text, .. } => format!("[{group}] {text}"),
                Event::IkeClosed { id, reason, .. } => format!("* IkeClosed {id} {reason:?}"),
                Event::ChildDown { ike, id, .. } => format!("* ChildDown {ike} {id}"),
                other => format!("* {other:?}"),
            };
            story += &format!("{:>13.6} {:?} {line}\n", *at as f64 / 1e6, self.end);
        }
        story
    }
}
