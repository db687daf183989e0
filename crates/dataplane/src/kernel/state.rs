//! What is ours in the kernel: SAs and policies of CHILD_SAs, traps and shunts. The protocol thread changes it, the watching
//! thread puts back what others take away; whoever has the lock sees it whole.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use adit_ipsec::{ChildSa, HwOffload, ShuntPolicy, TrapPolicy, Usage};
use adit_linux::route::Netlink;
use adit_linux::xfrm::{
    Answer, Cause, Encap, Error, Offload, Policy, Request, Reservation, Sa, SaId, SaState, Xfrm,
};

use super::entries::{Entries, offloads, shunt_policies, trap_policies};
use super::marker;
use super::moving::skip;
use super::spd::{Change, Owner, Place, Spd};
use crate::InstallError;

/// What is remembered of one CHILD_SA. Its keys are the kernel's alone, but for those it does not have yet.
pub(super) struct Child {
    pub(super) name: Arc<str>,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) udp_encap: bool,
    pub(super) inbound: SaId,
    pub(super) outbound: SaId,
    pub(super) places_in: Vec<Place>,
    pub(super) places_out: Vec<Place>,
    /// The outbound half, until it may be used.
    pub(super) waiting: Option<Box<Waiting>>,
    /// What the SAs had carried when they were made anew, inbound and outbound.
    pub(super) carried: [Carried; 2],
    /// Where its packets came from when that was last told, and when.
    pub(super) remapped: Option<(SocketAddr, Instant)>,
    /// Somebody has taken an SA of it away, and IKE knows.
    pub(super) lost: bool,
}

/// Bytes and packets.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Carried {
    pub(super) bytes: u64,
    pub(super) packets: u64,
}

/// The outbound half of a CHILD_SA that only receives.
pub(super) struct Waiting {
    sa: Sa,
    policies: Vec<Policy>,
    offload: HwOffload,
}

impl Waiting {
    /// The same on another path.
    pub(super) fn go(&mut self, local: SocketAddr, remote: SocketAddr, encap: Option<Encap>) {
        (self.sa.src, self.sa.dst, self.sa.encap) = (local.ip(), remote.ip(), encap);
        let templates = self.policies.iter_mut().flat_map(|policy| &mut policy.templates);
        for template in templates.filter(|it| !it.dst.is_unspecified()) {
            (template.src, template.dst) = (local.ip(), remote.ip());
        }
    }

    /// The same further on.
    pub(super) fn skip(&mut self, by: u64) {
        skip(&mut self.sa.replay, by);
    }
}

/// See the module.
pub(super) struct State {
    pub(super) xfrm: Xfrm,
    netlink: Netlink,
    pub(super) spd: Spd,
    pub(super) children: HashMap<u32, Child>,
    /// By destination and SPI, both directions.
    pub(super) by_sa: HashMap<(IpAddr, u32), u32>,
    traps: HashMap<u32, Vec<Place>>,
    shunts: HashMap<u32, Vec<Place>>,
    /// Questions of the kernel that wait for an SA, the oldest first.
    pub(super) larvals: VecDeque<(Instant, Reservation)>,
    last_number: u32,
}

impl State {
    pub(super) fn new(xfrm: Xfrm, netlink: Netlink) -> Self {
        Self {
            xfrm,
            netlink,
            spd: Spd::default(),
            children: HashMap::new(),
            by_sa: HashMap::new(),
            traps: HashMap::new(),
            shunts: HashMap::new(),
            larvals: VecDeque::new(),
            last_number: 0,
        }
    }

    pub(super) fn install(&mut self, child: &ChildSa) -> Result<(), InstallError> {
        let failed = |text: &dyn std::fmt::Display| {
            InstallError::new(format!("CHILD_SA {} cannot be installed: {text}", child.name))
        };
        if self.children.contains_key(&child.id) {
            return Err(failed(&format_args!("there is one with id {} already", child.id)));
        }
        let ifindex = self.ifindex(child.options.interface.as_deref()).map_err(|e| failed(&e))?;
        let mut entries = Entries::of(child, ifindex).map_err(|e| failed(&e))?;
        for sa in [&mut entries.inbound, &mut entries.outbound] {
            self.last_number = self.last_number.wrapping_add(1);
            sa.acquire = marker::sa_number(self.last_number);
        }
        let offload = child.options.hw_offload;
        let mut record = Child {
            name: Arc::clone(&child.name),
            local: child.local,
            remote: child.remote,
            udp_encap: child.udp_encap,
            inbound: entries.inbound.id(),
            outbound: entries.outbound.id(),
            places_in: Vec::new(),
            places_out: Vec::new(),
            waiting: None,
            carried: [Carried::default(); 2],
            remapped: None,
            lost: false,
        };
        let mut sas = vec![entries.inbound];
        let mut policies = entries.policies_in;
        let inbound = policies.len();
        if child.outbound_ready {
            sas.push(entries.outbound);
            policies.extend(entries.policies_out);
        } else {
            let waiting = Waiting { sa: entries.outbound, policies: entries.policies_out, offload };
            record.waiting = Some(Box::new(waiting));
        }
        self.add_sas(&mut sas, offload).map_err(|e| failed(&e))?;
        match self.put(Owner::Child(child.id), policies) {
            Ok(mut places) => {
                record.places_out = places.split_off(inbound);
                record.places_in = places;
            }
            Err(error) => {
                self.delete_sas(sas.iter().map(Sa::id));
                return Err(failed(&error));
            }
        }
        self.note_sas(child.id, &record);
        self.children.insert(child.id, record);
        Ok(())
    }

    pub(super) fn note_sas(&mut self, id: u32, child: &Child) {
        for sa in [child.inbound, child.outbound] {
            self.by_sa.insert((sa.dst, sa.spi), id);
        }
    }

    pub(super) fn forget_sas(&mut self, id: u32, sas: [SaId; 2]) {
        for sa in sas {
            if self.by_sa.get(&(sa.dst, sa.spi)) == Some(&id) {
                self.by_sa.remove(&(sa.dst, sa.spi));
            }
        }
    }

    /// Lets a CHILD_SA send that could only receive. The kernel prefers the newest SA of a reqid: the one before it sends
    /// no more.
    pub(super) fn activate(&mut self, id: u32) -> Result<(), InstallError> {
        let Some(child) = self.children.get_mut(&id) else { return Ok(()) };
        let Some(waiting) = child.waiting.take() else { return Ok(()) };
        let name = Arc::clone(&child.name);
        let failed =
            |e: &dyn std::fmt::Display| InstallError::new(format!("CHILD_SA {name} cannot send: {e}"));
        let Waiting { sa, policies, offload } = *waiting;
        let mut sas = [sa];
        self.add_sas(&mut sas, offload).map_err(|e| failed(&e))?;
        let places = self.put(Owner::Child(id), policies).map_err(|e| failed(&e))?;
        if let Some(child) = self.children.get_mut(&id) {
            child.places_out = places;
        }
        Ok(())
    }

    /// Removes a CHILD_SA: policies before their SAs, so that no packet asks for what is going.
    pub(super) fn remove(&mut self, id: u32) {
        let Some(child) = self.children.remove(&id) else { return };
        self.forget_sas(id, [child.inbound, child.outbound]);
        self.take(&child.places_out);
        if child.waiting.is_none() {
            self.delete_sas([child.outbound]);
        }
        self.take(&child.places_in);
        self.delete_sas([child.inbound]);
    }

    pub(super) fn add_trap(&mut self, trap: &TrapPolicy) -> Result<(), InstallError> {
        self.remove_trap(trap.id);
        let failed = |text: &dyn std::fmt::Display| {
            InstallError::new(format!("the trap for {} cannot be installed: {text}", trap.name))
        };
        let ifindex = self.ifindex(trap.options.interface.as_deref()).map_err(|e| failed(&e))?;
        let policies = trap_policies(trap, ifindex).map_err(|e| failed(&e))?;
        let places = self.put(Owner::Trap(trap.id), policies).map_err(|e| failed(&e))?;
        self.traps.insert(trap.id, places);
        Ok(())
    }

    pub(super) fn remove_trap(&mut self, id: u32) {
        if let Some(places) = self.traps.remove(&id) {
            self.take(&places);
        }
    }

    pub(super) fn add_shunt(&mut self, shunt: &ShuntPolicy) -> Result<(), InstallError> {
        self.remove_shunt(shunt.id);
        let failed = |text: &dyn std::fmt::Display| {
            let kind = shunt.kind.name();
            InstallError::new(format!("the {kind} policy {} cannot be installed: {text}", shunt.name))
        };
        let ifindex = self.ifindex(shunt.options.interface.as_deref()).map_err(|e| failed(&e))?;
        let policies = shunt_policies(shunt, ifindex).map_err(|e| failed(&e))?;
        let places = self.put(Owner::Shunt(shunt.id), policies).map_err(|e| failed(&e))?;
        self.shunts.insert(shunt.id, places);
        Ok(())
    }

    pub(super) fn remove_shunt(&mut self, id: u32) {
        if let Some(places) = self.shunts.remove(&id) {
            self.take(&places);
        }
    }

    /// Adds SAs, all or none, with as much of the network card's help as it gives.
    fn add_sas(&mut self, sas: &mut [Sa], wanted: HwOffload) -> Result<(), Error> {
        let mut last = Ok(());
        for packet in offloads(wanted) {
            for sa in &mut *sas {
                sa.offload = packet.and_then(|packet| self.card_of(sa, packet));
            }
            let requests: Vec<_> = sas.iter().map(Request::AddSa).collect();
            let results = self.xfrm.batch(&requests);
            let added = sas.iter().zip(&results).filter(|(_, result)| result.is_ok()).map(|(sa, _)| sa.id());
            let added: Vec<_> = added.collect();
            last = results.into_iter().find_map(Result::err).map_or(Ok(()), Err);
            if last.is_ok() {
                return last;
            }
            self.delete_sas(added);
        }
        last
    }

    /// The card that an SA's packets go through: that of our own address.
    fn card_of(&mut self, sa: &Sa, packet: bool) -> Option<Offload> {
        let here = self.netlink.addresses().ok()?;
        let of = |wanted: IpAddr| here.iter().find(|it| it.address == wanted).map(|it| it.ifindex);
        let (inbound, ifindex) = match of(sa.dst) {
            Some(ifindex) => (true, ifindex),
            None => (false, of(sa.src)?),
        };
        Some(Offload { ifindex, inbound, packet })
    }

    /// Removes SAs. Who has gone already is no loss.
    pub(super) fn delete_sas(&mut self, ids: impl IntoIterator<Item = SaId>) {
        let requests: Vec<_> = ids.into_iter().map(Request::DeleteSa).collect();
        let _ = self.xfrm.batch(&requests);
    }

    /// Puts policies into the book and the kernel, all or none.
    fn put(&mut self, owner: Owner, policies: Vec<Policy>) -> Result<Vec<Place>, InstallError> {
        let (places, changes): (Vec<_>, Vec<_>) =
            policies.into_iter().map(|policy| self.spd.add(owner, policy)).unzip();
        let results = self.run(&changes);
        let Some(error) = results.iter().flatten().find_map(|result| result.as_ref().err()) else {
            return Ok(places);
        };
        let mut sentence = error.to_string();
        if error.cause() == Cause::Exists {
            sentence.push_str(
                "; it is not ours: stop who made it, or remove it (ip xfrm policy shows and deletes them)",
            );
        }
        // What did not come in must not be taken out: it is somebody else's, or the one before.
        for (place, result) in places.iter().zip(results).rev() {
            let change = self.spd.remove(*place);
            if !matches!(result, Some(Err(_))) {
                self.run(&[change]);
            }
        }
        Err(InstallError::new(sentence))
    }

    /// Takes policies out of the book and, where nobody else wants them, out of the kernel.
    fn take(&mut self, places: &[Place]) {
        let changes: Vec<_> = places.iter().map(|place| self.spd.remove(*place)).collect();
        // Who has gone already is no loss; who cannot be put in its place is missed by the next audit.
        self.run(&changes);
    }

    /// Carries out changes; a result for each.
    pub(super) fn run(&mut self, changes: &[Option<Change>]) -> Vec<Option<Result<(), Error>>> {
        let requests: Vec<_> = changes.iter().flatten().map(request).collect();
        let mut results = self.xfrm.batch(&requests).into_iter();
        let each = changes.iter().map(|change| {
            change.as_ref()?;
            results.next().map(|result| result.map(|_: Answer| ()))
        });
        each.collect()
    }

    fn ifindex(&mut self, interface: Option<&str>) -> Result<u32, String> {
        let Some(name) = interface else { return Ok(0) };
        self.netlink.link_index(name).map_err(|e| format!("its interface {name} is not there: {e}"))
    }

    /// What a CHILD_SA has carried.
    pub(super) fn usage(&mut self, id: u32) -> Option<Usage> {
        let child = self.children.get(&id)?;
        let (sas, carried) = ([child.inbound, child.outbound], child.carried);
        let policies = [child.places_in.last(), child.places_out.first()].map(|place| place.copied());
        let answers = self.xfrm.batch(&sas.map(Request::GetSa));
        let [incoming, outgoing] = [0, 1].map(|way| match answers.get(way) {
            Some(Ok(Answer::Sa(state))) => Some(&**state),
            _ => None,
        });
        let count = |state: Option<&SaState>, before: Carried| {
            let usage = state.map(|state| state.usage).unwrap_or_default();
            (before.bytes + usage.bytes, before.packets + usage.packets)
        };
        let [before_in, before_out] = carried;
        let (bytes_in, packets_in) = count(incoming, before_in);
        let (bytes_out, packets_out) = count(outgoing, before_out);
        let [policy_in, policy_out] = policies;
        Some(Usage {
            bytes_in,
            packets_in,
            bytes_out,
            packets_out,
            idle_in: self.idle(incoming, policy_in, packets_in),
            idle_out: self.idle(outgoing, policy_out, packets_out),
        })
    }

    /// Time since an SA was last used: by its own word where the kernel keeps that, else by its policy's, which is what
    /// strongSwan goes by.
    fn idle(&mut self, sa: Option<&SaState>, policy: Option<Place>, packets: u64) -> Option<Duration> {
        if packets == 0 {
            return None;
        }
        let used = match sa.and_then(|state| state.last_used) {
            Some(used) => used,
            None => self.xfrm.get_policy(self.spd.id(policy?)?).ok()?.usage.used,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (used > 0).then(|| now.saturating_sub(Duration::from_secs(used)))
    }

    /// Removes all that is ours.
    pub(super) fn clear(&mut self) {
        let policies: Vec<_> =
            self.spd.all().map(|(key, policy)| marker::delete(key.id(), policy.index)).collect();
        let _ = self.xfrm.batch(&policies);
        let sas: Vec<_> = self.children.values().flat_map(|child| [child.outbound, child.inbound]).collect();
        self.delete_sas(sas);
        self.drop_larvals(Instant::now() + Duration::from_secs(3600));
        self.spd = Spd::default();
        self.children.clear();
        self.by_sa.clear();
        self.traps.clear();
        self.shunts.clear();
    }
}

fn request(change: &Change) -> Request<'_> {
    match change {
        Change::Add(policy) => Request::AddPolicy(policy),
        Change::Replace(policy) => Request::UpdatePolicy(policy),
        Change::Delete(id) => Request::DeletePolicy(*id),
    }
}
