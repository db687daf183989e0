//! The whole state of an endpoint in a few numbers, for tests that must see whether a datagram changed anything.
//!
//! Behind the feature `digest`, which only tests switch on. What is left out changes with any datagram and decides
//! nothing about an SA: counters, limits of unprotected answers, the secret behind cookies, and when something was last
//! sent.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use crate::core::Core;
use crate::endpoint::Endpoint;
use crate::sa::{Active, Child, ChildOffer, Contest, IkeSa, Phase, Task, Window};

/// One IKE_SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaDigest {
    /// Its unique id.
    pub id: u32,
    /// It waits for an IKE_SA_INIT answer, which anybody on the path can give.
    pub open: bool,
    /// Everything it is.
    pub state: u64,
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// Every IKE_SA, by ascending id.
    pub sas: Vec<SaDigest>,
    /// What they share: indexes, pending questions, deadlines.
    pub shared: u64,
}

#[derive(Default)]
struct Sponge(DefaultHasher);

impl Sponge {
    fn put(&mut self, value: &impl Hash) {
        value.hash(&mut self.0);
    }
}

impl Endpoint {
    /// The state now. Two that are equal are, but for a collision of hashes, the same state.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let core = self.core();
        let sas = core.sas.values().map(|sa| SaDigest {
            id: sa.id,
            open: matches!(sa.phase, Phase::Preparing(_) | Phase::Init(_)),
            state: ike_sa(sa),
        });
        Digest { sas: sas.collect(), shared: shared(core) }
    }
}

fn shared(core: &Core) -> u64 {
    let mut it = Sponge::default();
    it.put(&(&core.by_conn, &core.by_peer, &core.init_requests, &core.init_done, &core.deadlines));
    it.put(&(core.by_spi.len(), core.child_owner.len(), core.esp_spis.len(), core.inherit));
    it.put(&(core.tickets.len(), &core.used_tickets));
    it.put(&(&core.addresses, core.turn));
    it.put(&(core.guard.half_open.len(), core.guard.pending.len(), core.shutdown));
    for retry in core.retries.waiting() {
        it.put(&(&retry.conn, &retry.child, retry.failures, retry.at));
    }
    for (id, (owner, _)) in &core.pending {
        it.put(&(id, owner));
    }
    it.0.finish()
}

/// Hashes these fields of a struct as they are, names those that somebody else hashes, and leaves none out: a field that
/// is new does not compile before it has its place.
macro_rules! all {
    ($it:ident, $from:expr, $kind:ident: $($field:ident)*; apart: $($other:ident)*) => {
        let $kind { $($field,)* $($other: _,)* } = $from;
        $($it.put($field);)*
    };
}

fn ike_sa(sa: &IkeSa) -> u64 {
    let mut it = Sponge::default();
    all! { it, sa, IkeSa:
        id initiator spi_i spi_r path came_from mobike nat local_id remote_id remote_eap_id peer_fragments peer_childless redirect_until
        stands_alone drawn_if_ids local_vips local_dns vips_of vips_pending wanted_vips remote_vips established_at half_open_until
        rekey_at reauth_at expire_at dpd_at keepalive_at linger_until retry_at last_in usage_waiting usage_idle tries
        terminate_tags up_tags init_key peer_key first_initiator reauth_of reauth_failures auth_until
        rekey_failures successor heard yield_at heir_of ended scheduled ticket_given;
        apart: conn phase keys peer_token follows detour sync window active passive queue children lease reassembly last_out waiting
    }
    it.put(&(&sa.conn.name, sa.lease.is_some(), sa.peer_token.is_some()));
    it.put(&(std::mem::discriminant(&sa.follows), sa.detour.is_some(), sa.sync.message_ids, sa.sync.replay));
    it.put(&sa.keys.as_ref().map(|keys| (keys.sealed, keys.sk_d.as_bytes())));
    it.put(&sa.waiting.as_ref().map(|waiting| (waiting.since, waiting.pending)));
    phase(&mut it, &sa.phase);
    window(&mut it, &sa.window);
    active(&mut it, &sa.active);
    if let Some(passive) = &sa.passive {
        it.put(&(passive.mid, passive.payloads.len(), std::mem::discriminant(&passive.step)));
    }
    for task in &sa.queue {
        queued(&mut it, task);
    }
    for one in &sa.children {
        child(&mut it, one);
    }
    it.put(&sa.reassembly.as_ref().map(|it| (it.mid, it.response, it.until, it.held())));
    it.0.finish()
}

fn window(it: &mut Sponge, window: &Window) {
    all! { it, window, Window: send_next recv_next; apart: request answered }
    if let Some(request) = &window.request {
        it.put(&(request.mid, request.exchange.0, &request.packets, request.sent));
        it.put(&(request.first_sent, request.deadline));
    }
    if let Some(answered) = &window.answered {
        it.put(&(answered.mid, &answered.packets, answered.forget_at));
    }
}

fn phase(it: &mut Sponge, phase: &Phase) {
    it.put(&std::mem::discriminant(phase));
    if let Phase::Init(init) = phase {
        it.put(&(&init.nonce, &init.cookie, &init.request, init.restarts));
    }
}

fn active(it: &mut Sponge, active: &Active) {
    it.put(&std::mem::discriminant(active));
    match active {
        Active::Child(one) => offer(it, one),
        Active::RekeyIke(offer) => contest(it, &offer.contest),
        Active::DeleteChild { ids } => it.put(ids),
        _ => {}
    }
}

fn offer(it: &mut Sponge, offer: &ChildOffer) {
    it.put(&(&offer.wish.config.name, &offer.wish.tags, offer.wish.attempts, offer.wish.group));
    it.put(&(offer.rekeys, offer.spi_in, &offer.nonce, &offer.deleted));
    contest(it, &offer.contest);
}

fn contest(it: &mut Sponge, contest: &Contest) {
    it.put(&std::mem::discriminant(contest));
    it.put(&contest.rival());
}

fn queued(it: &mut Sponge, task: &Task) {
    it.put(&std::mem::discriminant(task));
    match task {
        Task::Child(wish) => it.put(&(&wish.config.name, &wish.tags, wish.attempts, wish.group)),
        Task::RekeyChild { id, group } => it.put(&(id, group)),
        Task::RekeyIke { group } => it.put(group),
        Task::DeleteChild { id } => it.put(id),
        Task::DeleteSpi { spi } => it.put(spi),
        _ => {}
    }
}

fn child(it: &mut Sponge, child: &Child) {
    all! { it, child, Child:
        id reqid spi_in spi_out local_ts remote_ts installed_at rekey_at expire_at remove_at idle_at asked tags
        delete_tags replaces replaced_by outbound_pending told rekey_failures revive redundant condemned;
        apart: config options state suite mode
    }
    it.put(&(&child.config.name, child.state.name(), child.suite.encr, child.suite.integ, child.suite.ke));
    it.put(&(std::mem::discriminant(&child.mode), child.options.numbers()));
}
