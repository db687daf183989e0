//! Two hosts and the network between them, driven in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use adit_crypto::SeededRandom;
use adit_ike::{ChildSaView, ChildState, Command, Endpoint, IkeState, Instant, Path, Reason, Snapshot};
use adit_ipsec::{Mode, Selector};

use crate::host::{Host, Told};
use crate::net::{End, Nat, Net};
use crate::pki::UNIX;
use crate::setup::{Setup, ip};

pub const SECOND: u64 = 1_000_000;

/// Long enough for a liveness check that starts late and whose every retransmission is awaited.
pub const PATIENCE: u64 = 600 * SECOND;

/// More than this in one run is a loop.
const MAX_STEPS: u64 = 200_000;

pub struct Pair {
    pub now: u64,
    pub net: Net,
    pub client: Host,
    pub gateway: Host,
    pub setup: Setup,
    seed: u64,
    tags: u64,
    /// Things that happened: a datagram arrived, an answer was given, a timer was due.
    pub steps: u64,
    /// The datagram that arrived last, and at whom; whoever takes it empties it.
    pub arrived: Option<(End, Vec<u8>)>,
    crashes: u64,
}

impl Pair {
    /// One whose hosts can be replaced by copies.
    pub fn recorded(setup: Setup, seed: u64) -> Self {
        assert_eq!(setup.half_open, 0);
        let mut pair = Self::new(setup, seed);
        pair.client.record();
        pair.gateway.record();
        pair
    }

    /// The point that an end is at now.
    pub fn mark(&self, end: End) -> usize {
        self.host(end).mark()
    }

    /// The machine at that end dies, and a copy of it takes its place that knows nothing of what came after `mark`.
    pub fn fail_over(&mut self, end: End, mark: usize) {
        let copy = self.host(end).copy_at(mark);
        *self.host_mut(end) = copy;
    }

    pub fn new(setup: Setup, seed: u64) -> Self {
        let mut seeds = SeededRandom::new(seed);
        let nat = setup.nat.then(|| Nat::new(ip("198.51.100.1")));
        let mut host = |end, side: &crate::setup::Side| {
            Host::new(end, side.settings.clone(), side.config(), side.outside.clone(), seeds.next_u64(), UNIX)
        };
        let client = host(End::Client, &setup.client);
        let gateway = host(End::Gateway, &setup.gateway);
        let net = Net::new(seeds.next_u64(), setup.links, nat);
        let mut pair = Self {
            now: SECOND,
            net,
            client,
            gateway,
            setup,
            seed,
            tags: 0,
            steps: 0,
            arrived: None,
            crashes: 0,
        };
        for end in End::BOTH {
            pair.host_mut(end).hear_addresses(SECOND);
        }
        for n in 0..pair.setup.half_open {
            pair.half_open(n);
        }
        pair
    }

    pub fn host(&self, end: End) -> &Host {
        match end {
            End::Client => &self.client,
            End::Gateway => &self.gateway,
        }
    }

    pub fn host_mut(&mut self, end: End) -> &mut Host {
        match end {
            End::Client => &mut self.client,
            End::Gateway => &mut self.gateway,
        }
    }

    /// Someone sends a well-formed IKE_SA_INIT request to the gateway and never speaks again.
    fn half_open(&mut self, n: u32) {
        let mut side = self.setup.client.clone();
        side.conn.proposals.clone_from(&self.setup.gateway.conn.proposals);
        let rng = SeededRandom::new(self.seed ^ u64::from(n) ^ 0xdec0_u64);
        let mut decoy = Endpoint::new(side.settings.clone(), side.config(), Box::new(rng), UNIX);
        let now = Instant::from_micros(self.now);
        decoy.command(
            now,
            Command::Initiate { conn: Some("site".into()), child: None, tag: 0, trigger: None },
        );
        while let Some((id, action)) = decoy.poll_action() {
            if let adit_ike::Action::SourceAddress { .. } = action {
                let address = self.setup.client.outside.addresses[0];
                decoy.complete(now, id, adit_ike::Completion::Source(Ok(address)));
            }
        }
        let request = decoy.poll_transmit().expect("an initiation");
        let src = SocketAddr::new(request.path.local.ip(), 500 + n as u16 + 1);
        let Path { remote, .. } = request.path;
        self.net.fly(self.now, End::Gateway, src, remote, request.bytes);
        self.run_for(SECOND / 10);
    }

    /// Takes what both have to say.
    pub fn flush(&mut self) {
        let Self { now, net, client, gateway, .. } = self;
        client.flush(*now, net);
        gateway.flush(*now, net);
    }

    fn next(&self) -> Option<u64> {
        [
            self.net.next(),
            self.client.next_answer(),
            self.gateway.next_answer(),
            self.client.next_timeout().map(|(at, _)| at),
            self.gateway.next_timeout().map(|(at, _)| at),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// One thing happens, unless nothing does before `deadline`.
    pub fn step(&mut self, deadline: u64) -> bool {
        self.flush();
        let Some(next) = self.next().filter(|next| *next <= deadline) else { return false };
        self.steps += 1;
        assert!(self.steps < MAX_STEPS, "a loop at {} µs: {:?}", self.now, self.timeouts());
        self.now = self.now.max(next);
        let now = self.now;
        if let Some((to, src, dst, bytes)) = self.net.arrived(now) {
            self.host_mut(to).receive(now, src, dst, &bytes);
            self.arrived = Some((to, bytes));
        } else if self.client.answer(now) || self.gateway.answer(now) {
        } else {
            for host in [&mut self.client, &mut self.gateway] {
                if host.next_timeout().is_some_and(|(at, _)| at <= now) {
                    host.timeout(now);
                }
            }
        }
        true
    }

    fn timeouts(&self) -> [Option<(u64, &'static str)>; 2] {
        [self.client.next_timeout(), self.gateway.next_timeout()]
    }

    /// Goes on until `done` or `deadline`; tells which.
    pub fn run_until(&mut self, deadline: u64, mut done: impl FnMut(&Self) -> bool) -> bool {
        loop {
            self.flush();
            if done(self) {
                return true;
            }
            if !self.step(deadline) {
                self.now = self.now.max(deadline);
                return false;
            }
        }
    }

    pub fn run_for(&mut self, micros: u64) {
        let deadline = self.now + micros;
        self.run_until(deadline, |_| false);
    }

    /// Nothing is under way: no datagram, no question, no exchange, nothing half up or half down.
    pub fn is_quiet(&self) -> bool {
        self.net.is_empty()
            && End::BOTH.into_iter().all(|end| {
                let host = self.host(end);
                host.next_answer().is_none()
                    && host.endpoint.ike_sas().all(|sa| {
                        sa.state == IkeState::Established
                            && sa.tasks_queued.is_empty()
                            && sa.tasks_active.is_empty()
                            && sa.tasks_passive.is_empty()
                            && sa.children.iter().all(|child| child.state == ChildState::Installed)
                    })
            })
    }

    /// Goes on until it is quiet and both ends agree; what they do not agree on otherwise.
    pub fn settle(&mut self) -> Result<(), String> {
        self.settle_watched(|_| {})
    }

    /// The same, with somebody who looks after every step.
    pub fn settle_watched(&mut self, mut watch: impl FnMut(&Self)) -> Result<(), String> {
        let deadline = self.now + PATIENCE;
        let mut last = String::new();
        let settled = self.run_until(deadline, |pair| {
            watch(pair);
            pair.is_quiet()
                && match pair.disagreement() {
                    None => true,
                    Some(difference) => {
                        last = difference;
                        false
                    }
                }
        });
        let objections: Vec<_> = End::BOTH
            .into_iter()
            .flat_map(|end| self.host(end).objections.iter().map(move |o| format!("{end:?}: {o}")))
            .collect();
        if !objections.is_empty() {
            return Err(objections.join("; "));
        }
        if settled {
            return Ok(());
        }
        Err(match self.disagreement() {
            Some(difference) => difference,
            None if self.is_quiet() => last,
            None => format!("never quiet: {:?} {:?}", self.views(End::Client), self.views(End::Gateway)),
        })
    }

    pub fn views(&self, end: End) -> Vec<Snapshot> {
        self.host(end).endpoint.ike_sas().map(adit_ike::IkeSaView::into_owned).collect()
    }

    /// How a socket of the client looks from the gateway.
    fn seen(&self, address: SocketAddr) -> Option<SocketAddr> {
        match &self.net.nat {
            Some(nat) if nat.covers(address.ip()) => nat.seen_as(address),
            _ => Some(address),
        }
    }

    /// In what the two ends, or an end and its data plane, differ.
    pub fn disagreement(&self) -> Option<String> {
        let [client, gateway] = End::BOTH.map(|end| {
            self.views(end).into_iter().map(|sa| ((sa.spi_i, sa.spi_r), sa)).collect::<BTreeMap<_, _>>()
        });
        for end in End::BOTH {
            if let Some(difference) = self.books(end) {
                return Some(format!("{end:?}: {difference}"));
            }
        }
        if !client.keys().eq(gateway.keys()) {
            let list = |sas: &BTreeMap<(u64, u64), Snapshot>| {
                let sas = sas.iter().map(|((i, r), sa)| format!("{}[{}] {i:016x}_{r:016x}", sa.name, sa.id));
                sas.collect::<Vec<_>>().join(", ")
            };
            return Some(format!("IKE_SAs: client [{}], gateway [{}]", list(&client), list(&gateway)));
        }
        client.values().zip(gateway.values()).find_map(|(c, g)| {
            self.ike_difference(c, g).map(|difference| format!("{}[{}/{}]: {difference}", c.name, c.id, g.id))
        })
    }

    fn ike_difference(&self, c: &Snapshot, g: &Snapshot) -> Option<String> {
        if c.initiator == g.initiator {
            return Some("both are initiator or neither is".to_owned());
        }
        if (c.encr, c.integ, c.prf, c.ke) != (g.encr, g.integ, g.prf, g.ke) {
            return Some("other algorithms".to_owned());
        }
        if c.local.and_then(|local| self.seen(local)) != g.remote || c.remote != g.local {
            return Some(format!(
                "paths: client {:?}-{:?}, gateway {:?}-{:?}",
                c.local, c.remote, g.local, g.remote
            ));
        }
        // A pretended NAT is seen by the other end only.
        let pretended = c.nat_fake || g.nat_fake;
        if !pretended && (c.nat_local, c.nat_remote) != (g.nat_remote, g.nat_local) {
            return Some("NAT seen otherwise".to_owned());
        }
        if c.local_vips != g.remote_vips || c.remote_vips != g.local_vips {
            return Some(format!("virtual addresses: {:?} and {:?}", c.local_vips, g.remote_vips));
        }
        if c.local_id != g.remote_id || c.remote_id != g.local_id {
            return Some("identities".to_owned());
        }
        let spis = |sa: &Snapshot, swap: bool| -> BTreeSet<(u32, u32)> {
            let pairs = sa.children.iter().map(|child| (child.spi_in, child.spi_out));
            pairs.map(|(i, o)| if swap { (o, i) } else { (i, o) }).collect()
        };
        let (ours, theirs) = (spis(c, false), spis(g, true));
        if ours != theirs {
            return Some(format!("CHILD_SAs (client in, out): client {ours:08x?}, gateway {theirs:08x?}"));
        }
        c.children.iter().find_map(|ours| {
            let theirs = g.children.iter().find(|theirs| theirs.spi_in == ours.spi_out)?;
            let (Some(a), Some(b)) = (self.client.sad.get(&ours.id), self.gateway.sad.get(&theirs.id)) else {
                return Some(format!("CHILD_SA {:08x} is in one SAD only", ours.spi_in));
            };
            let what = if a.sa.keys_in != b.sa.keys_out || a.sa.keys_out != b.sa.keys_in {
                "keys"
            } else if ours.mode == Mode::Tunnel
                && (sorted(&ours.local_ts) != sorted(&theirs.remote_ts)
                    || sorted(&ours.remote_ts) != sorted(&theirs.local_ts))
            {
                "selectors"
            } else if ours.mode == Mode::Transport && !transport_fits((c, ours), (g, theirs)) {
                "selectors of transport mode"
            } else if (ours.mode, ours.esn, ours.udp_encap) != (theirs.mode, theirs.esn, theirs.udp_encap) {
                "mode, ESN or encapsulation"
            } else if !(a.sends && b.sends) {
                "an outbound half that was never activated"
            } else if Some(a.remote) != c.remote
                || self.seen(a.local) != Some(b.remote)
                || b.local != a.remote
            {
                "outer addresses"
            } else {
                return None;
            };
            Some(format!("CHILD_SA {:08x}/{:08x}: {what}", ours.spi_in, ours.spi_out))
        })
    }

    /// Do the fake data plane, the leases and the virtual addresses of a host fit what its endpoint lists?
    fn books(&self, end: End) -> Option<String> {
        let host = self.host(end);
        let sas = self.views(end);
        let listed: BTreeMap<u32, _> =
            sas.iter().flat_map(|sa| sa.children.iter().map(|child| (child.id, child))).collect();
        if !listed.keys().eq(host.sad.keys()) {
            let (listed, sad): (Vec<_>, Vec<_>) = (listed.keys().collect(), host.sad.keys().collect());
            return Some(format!("CHILD_SAs listed {listed:?}, installed {sad:?}"));
        }
        for (id, child) in &listed {
            let sa = &host.sad[id].sa;
            if (sa.spi_in, sa.spi_out, sa.reqid) != (child.spi_in, child.spi_out, child.reqid)
                || sa.local_ts[..] != child.local_ts[..]
                || sa.remote_ts[..] != child.remote_ts[..]
                || host.sad[id].udp_encap != child.udp_encap
            {
                return Some(format!("CHILD_SA {id} is listed otherwise than installed"));
            }
            if host.endpoint.ike_of_child(*id).and_then(|ike| host.endpoint.ike_sa(ike)).is_none() {
                return Some(format!("CHILD_SA {id} has no IKE_SA"));
            }
        }
        let mut leased: BTreeMap<IpAddr, u32> = BTreeMap::new();
        for address in sas.iter().flat_map(|sa| sa.remote_vips.iter()) {
            *leased.entry(*address).or_default() += 1;
        }
        let given: BTreeMap<IpAddr, u32> = host.leases.iter().map(|(a, (_, count))| (*a, *count)).collect();
        if leased != given {
            return Some(format!("addresses of peers {leased:?}, leased {given:?}"));
        }
        let mut had: Vec<IpAddr> = sas.iter().flat_map(|sa| sa.local_vips.iter().copied()).collect();
        let mut used: Vec<IpAddr> = host.virtual_ips.values().flat_map(|(a, _)| a.iter().copied()).collect();
        had.sort();
        used.sort();
        if had != used {
            return Some(format!("virtual addresses had {had:?}, in use {used:?}"));
        }
        let up =
            Told { ikes: sas.iter().map(|sa| sa.id).collect(), children: listed.keys().copied().collect() };
        match host.told() {
            Ok(told) if told != up => return Some(format!("up by events {told:?}, by the lists {up:?}")),
            Ok(_) => {}
            Err(misfit) => return Some(misfit),
        }
        let stats = host.endpoint.stats();
        if (stats.ike_sas, stats.child_sas, stats.half_open) != (sas.len(), listed.len(), 0) {
            return Some(format!("counts {} IKE_SAs and {} CHILD_SAs: {stats:?}", sas.len(), listed.len()));
        }
        None
    }

    /// What is left where nothing should be.
    pub fn leftover(&self) -> Option<String> {
        End::BOTH.into_iter().find_map(|end| {
            let host = self.host(end);
            let sas = host.endpoint.ike_sas().count();
            if sas > 0 || !host.sad.is_empty() || !host.leases.is_empty() || !host.virtual_ips.is_empty() {
                return Some(format!(
                    "{end:?}: {sas} IKE_SAs, {} in the SAD, leases {:?}, virtual addresses {:?}",
                    host.sad.len(),
                    host.leases,
                    host.virtual_ips
                ));
            }
            match host.next_timeout() {
                // The secret behind cookies may turn over for ever.
                Some((_, what)) if !what.contains("cookie") => Some(format!("{end:?}: a timer '{what}'")),
                _ => None,
            }
        })
    }

    pub fn tag(&mut self) -> u64 {
        self.tags += 1;
        self.tags
    }

    /// Has one end initiate, without waiting for anything; the tag of the outcome.
    pub fn initiate(&mut self, end: End, child: Option<&str>) -> u64 {
        let tag = self.tag();
        let command =
            Command::Initiate { conn: Some("site".into()), child: child.map(Into::into), tag, trigger: None };
        self.command(end, command);
        tag
    }

    pub fn command(&mut self, end: End, command: Command) {
        let now = self.now;
        self.host_mut(end).command(now, command);
    }

    /// From now on an end has these addresses, the preferred ones first.
    pub fn readdress(&mut self, end: End, addresses: &[&str]) {
        let (now, addresses): (u64, Vec<IpAddr>) = (self.now, addresses.iter().map(|a| ip(a)).collect());
        self.host_mut(end).readdress(now, &addresses);
    }

    /// Has one end initiate and waits for the outcome.
    pub fn up(&mut self, end: End) -> Result<(), Reason> {
        let tag = self.initiate(end, None);
        self.outcome(end, tag)
    }

    /// Waits for the outcome of a command.
    pub fn outcome(&mut self, end: End, tag: u64) -> Result<(), Reason> {
        let deadline = self.now + PATIENCE;
        assert!(
            self.run_until(deadline, |pair| pair.host(end).outcome(tag).is_some()),
            "no outcome\n{}",
            self.story()
        );
        self.host(end).outcome(tag).unwrap().clone()
    }

    /// Unique ids of the IKE_SAs of an end.
    pub fn ikes(&self, end: End) -> Vec<u32> {
        self.host(end).endpoint.ike_sas().map(|sa| sa.id).collect()
    }

    /// Unique ids of its CHILD_SAs that are in use.
    pub fn children(&self, end: End) -> Vec<u32> {
        let sas = self.host(end).endpoint.ike_sas();
        sas.flat_map(|sa| sa.children).filter(|c| c.state == ChildState::Installed).map(|c| c.id).collect()
    }

    /// Has one end delete its only IKE_SA and waits for the outcome.
    pub fn terminate(&mut self, end: End) -> Result<(), Reason> {
        let tag = self.tag();
        let id = self.ikes(end)[0];
        self.command(end, Command::TerminateIke { id, force: false, tag });
        self.outcome(end, tag)
    }

    /// Has one end delete a CHILD_SA and waits for the outcome.
    pub fn terminate_child(&mut self, end: End, id: u32) -> Result<(), Reason> {
        let tag = self.tag();
        self.command(end, Command::TerminateChild { id, tag });
        self.outcome(end, tag)
    }

    /// The client's or gateway's machine starts anew.
    pub fn crash(&mut self, end: End) {
        let side = match end {
            End::Client => &self.setup.client,
            End::Gateway => &self.setup.gateway,
        };
        let (settings, config) = (side.settings.clone(), side.config());
        self.crashes += 1;
        let seed = self.seed ^ self.now ^ self.crashes << 48;
        let now = self.now;
        self.host_mut(end).crash(now, settings, config, seed, UNIX);
    }

    /// What was promised and not kept: an outcome for every command, an end for everything that was up.
    fn promises(&self) -> Result<(), String> {
        for end in End::BOTH {
            let host = self.host(end);
            let unanswered = host.unanswered();
            if !unanswered.is_empty() {
                return Err(format!("{end:?}: commands {unanswered:?} have no outcome, or several"));
            }
            let Told { ikes, children } = host.told()?;
            if !ikes.is_empty() || !children.is_empty() {
                return Err(format!("{end:?}: by events IKE_SAs {ikes:?} and CHILD_SAs {children:?} are up"));
            }
        }
        Ok(())
    }

    /// Shuts both ends down and waits until nothing is left.
    pub fn shut_down(&mut self) -> Result<(), String> {
        for end in End::BOTH {
            self.command(end, Command::Shutdown);
        }
        let deadline = self.now + PATIENCE;
        self.run_until(deadline, |pair| pair.net.is_empty() && pair.leftover().is_none());
        self.leftover().map_or(Ok(()), Err)?;
        self.promises()
    }

    /// Waits until nothing is left.
    pub fn drain(&mut self) -> Result<(), String> {
        let deadline = self.now + PATIENCE;
        self.run_until(deadline, |pair| pair.net.is_empty() && pair.leftover().is_none());
        self.leftover().map_or(Ok(()), Err)?;
        self.promises()
    }

    /// Both ends' logs in one.
    pub fn story(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        for end in End::BOTH {
            lines.extend(self.host(end).story().lines().map(str::to_owned));
        }
        lines.sort_by(|a, b| a[..13].cmp(&b[..13]));
        lines.join("\n")
    }
}

/// In transport mode each end's selectors are for the outer addresses as that end sees them; the rest is mirrored.
fn transport_fits(a: (&Snapshot, &ChildSaView<'_>), b: (&Snapshot, &ChildSaView<'_>)) -> bool {
    let at_home = |(sa, child): (&Snapshot, &ChildSaView<'_>)| {
        let all = |list: &[Selector], address: Option<SocketAddr>| {
            list.iter().all(|one| address.is_some_and(|a| one.is_host(a.ip())))
        };
        all(&child.local_ts, sa.local) && all(&child.remote_ts, sa.remote)
    };
    let nowhere = |list: &[Selector]| -> Vec<Selector> {
        list.iter().map(|one| one.at(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))).collect()
    };
    at_home(a)
        && at_home(b)
        && sorted(&nowhere(&a.1.local_ts)) == sorted(&nowhere(&b.1.remote_ts))
        && sorted(&nowhere(&a.1.remote_ts)) == sorted(&nowhere(&b.1.local_ts))
}

/// Goes on until it is quiet and both ends agree, or tells the story.
pub fn settle(pair: &mut Pair) {
    pair.settle().unwrap_or_else(|difference| panic!("{difference}\n{}", pair.story()));
}

/// Shuts both ends down, and nothing may be left.
pub fn shut_down(mut pair: Pair) {
    pair.shut_down().unwrap_or_else(|left| panic!("left: {left}\n{}", pair.story()));
}

fn sorted(selectors: &[Selector]) -> Vec<Selector> {
    let mut selectors = selectors.to_vec();
    selectors.sort();
    selectors
}
