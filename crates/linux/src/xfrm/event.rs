//! What the kernel tells unasked, and what others do to its SAs and policies.

use std::net::{IpAddr, SocketAddr};

use super::bytes::{Message, Reader, attributes, messages};
use super::migrate::Migration;
use super::number;
use super::policy::PolicyState;
use super::sa::SaId;
use super::sa_state::{INFO, SaState};
use super::selector::{Mark, Selector};

/// A packet met a policy whose SA is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquire {
    /// Number of this question; [`super::Sa::acquire`] of the answer.
    pub number: u32,
    /// Source of the outer packets that are wanted.
    pub src: IpAddr,
    /// Their destination.
    pub dst: IpAddr,
    /// The packet; `None` when it is of no IP family.
    pub selector: Option<Selector>,
    /// The policy it met, with its index, templates, mark and XFRM interface.
    pub policy: PolicyState,
    /// Reqid of the policy's innermost template; 0 = none.
    pub reqid: u32,
    /// The CPU that wants an SA of its own (RFC 9611).
    pub cpu: Option<u32>,
}

/// The peer's NAT sends from elsewhere. The SA stays as it is until it is updated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// The SA its packets came by; the mark is not told.
    pub id: SaId,
    /// Its reqid.
    pub reqid: u32,
    /// Where the SA says they come from.
    pub old: SocketAddr,
    /// Where they came from.
    pub new: SocketAddr,
}

/// Something the kernel tells. `by` is the netlink port that whoever asked for it named as theirs: [`super::Xfrm::port`]
/// for us, 0 for many others (`ip xfrm` among them) and the kernel itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A packet met a policy whose SA is not there. The kernel asks once, and again when its own waiting
    /// (`net.core.xfrm_acq_expires`) is over.
    Acquire(Box<Acquire>),
    /// An SA has reached a limit; one with SPI 0 is an acquire that was not answered.
    Expire {
        /// The SA with what it has done.
        sa: Box<SaState>,
        /// It is gone.
        hard: bool,
    },
    /// The peer's NAT sends from elsewhere.
    Mapping(Box<Mapping>),
    /// An SA was added or updated.
    NewSa {
        /// By whom.
        by: u32,
        /// The SA.
        sa: Box<SaState>,
    },
    /// An SA was removed.
    DeletedSa {
        /// By whom.
        by: u32,
        /// The SA.
        id: SaId,
    },
    /// All SAs were removed.
    FlushedSas {
        /// By whom.
        by: u32,
        /// Those of one protocol; 0 or 255 = all.
        protocol: u8,
    },
    /// A policy was added or updated.
    NewPolicy {
        /// By whom.
        by: u32,
        /// The policy.
        policy: Box<PolicyState>,
    },
    /// A policy was removed.
    DeletedPolicy {
        /// By whom.
        by: u32,
        /// The policy as it was.
        policy: Box<PolicyState>,
    },
    /// All policies were removed.
    FlushedPolicies {
        /// By whom.
        by: u32,
    },
    /// A policy has moved.
    Migrated(Box<Migration>),
    /// Something was missed, or could not be read: look at everything.
    Missed,
}

/// The events in a datagram.
pub(super) fn events(datagram: &[u8]) -> impl Iterator<Item = Event> {
    messages(datagram).filter_map(|message| match message {
        Ok(message) => event(&message).unwrap_or(Some(Event::Missed)),
        Err(()) => Some(Event::Missed),
    })
}

/// `None` = it could not be read; `Some(None)` = nothing that is told here.
fn event(message: &Message<'_>) -> Option<Option<Event>> {
    let by = message.port;
    let body = message.body;
    Some(Some(match message.kind {
        number::MSG_ACQUIRE => match acquire(body)? {
            Some(acquire) => Event::Acquire(Box::new(acquire)),
            None => return Some(None),
        },
        number::MSG_EXPIRE => expire(body)?,
        number::MSG_MAPPING => Event::Mapping(Box::new(mapping(body)?)),
        number::MSG_NEWSA | number::MSG_UPDSA => Event::NewSa { by, sa: Box::new(SaState::read(body)?) },
        number::MSG_DELSA => {
            let mut r = Reader(body);
            let (mut id, _) = SaId::read(&mut r)?;
            if let Some((_, mark)) = attributes(r.0).find(|(kind, _)| *kind == number::MARK) {
                id.mark = Mark::read(mark)?;
            }
            Event::DeletedSa { by, id }
        }
        number::MSG_FLUSHSA => Event::FlushedSas { by, protocol: Reader(body).u8()? },
        number::MSG_NEWPOLICY | number::MSG_UPDPOLICY => match PolicyState::read(body)? {
            Some(policy) => Event::NewPolicy { by, policy: Box::new(policy) },
            None => return Some(None),
        },
        number::MSG_DELPOLICY => match deleted_policy(body)? {
            Some(policy) => Event::DeletedPolicy { by, policy: Box::new(policy) },
            None => return Some(None),
        },
        number::MSG_FLUSHPOLICY => Event::FlushedPolicies { by },
        number::MSG_MIGRATE => match Migration::read(body)? {
            Some(migration) => Event::Migrated(Box::new(migration)),
            None => return Some(None),
        },
        kind if i32::from(kind) == libc::NLMSG_OVERRUN => Event::Missed,
        _ => return Some(None),
    }))
}

/// `struct xfrm_user_acquire`, then attributes of the policy.
fn acquire(body: &[u8]) -> Option<Option<Acquire>> {
    let mut r = Reader(body);
    let dst = r.address()?;
    r.skip(8)?; // No SPI yet, and the template tells the protocol.
    let src = r.address()?;
    let selector = Selector::read(&mut r)?;
    let policy = PolicyState::read_info(&mut r)?;
    r.skip(12)?; // algorithms
    let number = r.u32()?;
    let Some(mut policy) = policy else { return Some(None) };
    let mut cpu = None;
    for (kind, payload) in attributes(r.0) {
        match kind {
            number::SA_PCPU => cpu = Some(Reader(payload).u32()?),
            _ => policy.read_attribute(kind, payload)?,
        }
    }
    let template = policy.policy.templates.first();
    let v4 = template.map_or(policy.policy.selector.is_v4(), |template| template.dst.is_ipv4());
    let family = if v4 { libc::AF_INET } else { libc::AF_INET6 } as u16;
    Some(Some(Acquire {
        number,
        src: src.of(family)?,
        dst: dst.of(family)?,
        selector,
        reqid: template.map_or(0, |template| template.reqid),
        policy,
        cpu,
    }))
}

/// `struct xfrm_user_expire`, then attributes of the SA.
fn expire(body: &[u8]) -> Option<Event> {
    /// Octets of the whole struct, with its padding.
    const WHOLE: usize = INFO + 8;
    let hard = *body.get(INFO)? != 0;
    let (info, attributes) = (body.get(..INFO)?, body.get(WHOLE..)?);
    let sa = Box::new(SaState::read_parts(info, attributes)?);
    Some(Event::Expire { sa, hard })
}

/// `struct xfrm_user_mapping`.
fn mapping(body: &[u8]) -> Option<Mapping> {
    let mut r = Reader(body);
    let (id, family) = SaId::read(&mut r)?;
    let reqid = r.u32()?;
    let (old, new) = (r.address()?, r.address()?);
    let (old_port, new_port) = (r.be16()?, r.be16()?);
    Some(Mapping {
        id,
        reqid,
        old: SocketAddr::new(old.of(family)?, old_port),
        new: SocketAddr::new(new.of(family)?, new_port),
    })
}

/// `struct xfrm_userpolicy_id`, which says only how it was found, then the policy as an attribute, then its attributes.
fn deleted_policy(body: &[u8]) -> Option<Option<PolicyState>> {
    const ID: usize = 64;
    let rest = body.get(ID..)?;
    let (_, info) = attributes(rest).find(|(kind, _)| *kind == number::POLICY)?;
    let Some(mut policy) = PolicyState::read_info(&mut Reader(info))? else { return Some(None) };
    for (kind, payload) in attributes(rest) {
        policy.read_attribute(kind, payload)?;
    }
    Some(Some(policy))
}
