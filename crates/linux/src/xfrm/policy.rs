//! Entries of the SPD: `struct xfrm_userpolicy_info` and its attributes.

use super::bytes::{Reader, Writer, attributes, bits};
use super::lifetime::{Limits, Usage};
use super::number;
use super::parts::Offload;
use super::selector::{Mark, Selector};
use super::template::{self, Template};

/// Templates of one policy (`XFRM_MAX_DEPTH`).
const DEEPEST: usize = 6;

/// Which packets a policy sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// For this host.
    In,
    /// From this host, and forwarded ones on their way out.
    Out,
    /// Forwarded ones, after decryption.
    Forward,
}

impl Direction {
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::In => 0,
            Self::Out => 1,
            Self::Forward => 2,
        }
    }

    pub(super) const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::In),
            1 => Some(Self::Out),
            2 => Some(Self::Forward),
            _ => None,
        }
    }
}

impl std::fmt::Display for Direction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Forward => "fwd",
        })
    }
}

/// What a policy does with its packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PolicyAction {
    /// They pass: as the templates ask, or in the clear without any.
    Allow,
    /// They are dropped.
    Block,
}

/// One policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Packets it is for.
    pub selector: Selector,
    /// Which way they go.
    pub direction: Direction,
    /// The lowest number wins.
    pub priority: u32,
    /// What happens to them.
    pub action: PolicyAction,
    /// The kernel's number of it; 0 = the kernel chooses. Its three low bits are the direction.
    pub index: u32,
    /// What they have to go through, outermost last.
    pub templates: Vec<Template>,
    /// Only packets with this mark.
    pub mark: Mark,
    /// Only packets of this XFRM interface; 0 = of none.
    pub if_id: u32,
    /// ICMP errors about its packets are its packets too.
    pub icmp: bool,
    /// A socket's own policy goes before it.
    pub local_ok: bool,
    /// A network card that looks after it.
    pub offload: Option<Offload>,
}

/// By which a policy is found: its selector, or its index where that is not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId {
    /// Packets it is for.
    pub selector: Selector,
    /// Which way they go.
    pub direction: Direction,
    /// Its mark.
    pub mark: Mark,
    /// Its XFRM interface.
    pub if_id: u32,
    /// The kernel's number of it; the selector does not count then.
    pub index: u32,
}

/// "policy out 10.3.0.1/32 to 10.2.0.0/24".
impl std::fmt::Display for PolicyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "policy {} {}", self.direction, self.selector)?;
        if self.index != 0 {
            write!(f, " index {}", self.index)?;
        }
        if !self.mark.is_none() {
            write!(f, " mark {:#x}/{:#x}", self.mark.value, self.mark.mask)?;
        }
        if self.if_id != 0 {
            write!(f, " if_id {}", self.if_id)?;
        }
        Ok(())
    }
}

impl Policy {
    /// A policy that lets its packets pass in the clear, with everything else left at what does nothing.
    #[must_use]
    pub const fn pass(selector: Selector, direction: Direction, priority: u32) -> Self {
        Self {
            selector,
            direction,
            priority,
            action: PolicyAction::Allow,
            index: 0,
            templates: Vec::new(),
            mark: Mark { value: 0, mask: 0 },
            if_id: 0,
            icmp: false,
            local_ok: false,
            offload: None,
        }
    }

    /// By which it is found.
    #[must_use]
    pub const fn id(&self) -> PolicyId {
        PolicyId {
            selector: self.selector,
            direction: self.direction,
            mark: self.mark,
            if_id: self.if_id,
            index: 0,
        }
    }

    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.templates.len() > DEEPEST {
            return Err("a policy has more than six templates");
        }
        if self.templates.iter().any(|template| template.src.is_ipv4() != template.dst.is_ipv4()) {
            return Err("a template's source and destination are of different families");
        }
        self.selector.check()
    }

    /// `struct xfrm_userpolicy_info`.
    pub(super) fn write_info(&self, w: &mut Writer) {
        self.selector.write(w);
        Limits::default().write(w);
        w.zeros(32); // what it has done
        w.u32(self.priority);
        w.u32(self.index);
        w.u8(self.direction.number());
        w.u8(u8::from(self.action == PolicyAction::Block));
        w.u8(bits([(self.local_ok, number::POLICY_LOCALOK), (self.icmp, number::POLICY_ICMP)]));
        w.zeros(1 + 4); // share, padding
    }

    pub(super) fn write_attributes(&self, w: &mut Writer) {
        if !self.templates.is_empty() {
            w.attribute(number::TMPL, |w| self.templates.iter().for_each(|template| template.write(w)));
        }
        self.mark.write(w, number::MARK);
        if self.if_id != 0 {
            w.number(number::IF_ID, self.if_id);
        }
        if let Some(offload) = self.offload {
            offload.write(w);
        }
    }
}

/// A policy as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyState {
    /// What it is; its index is the kernel's.
    pub policy: Policy,
    /// When it was added and last used.
    pub usage: Usage,
}

impl PolicyState {
    /// From the body of a message: `struct xfrm_userpolicy_info`, then attributes. `Some(None)` = a policy of a socket,
    /// or of a family that is not IP.
    pub(super) fn read(body: &[u8]) -> Option<Option<Self>> {
        let mut r = Reader(body);
        let state = Self::read_info(&mut r)?;
        let Some(mut state) = state else { return Some(None) };
        for (kind, payload) in attributes(r.0) {
            state.read_attribute(kind, payload)?;
        }
        Some(Some(state))
    }

    pub(super) fn read_info(r: &mut Reader<'_>) -> Option<Option<Self>> {
        let selector = Selector::read(r)?;
        let _no_limits = Limits::read(r)?;
        let usage = Usage::read(r)?;
        let (priority, index) = (r.u32()?, r.u32()?);
        let (direction, action, flags) = (r.u8()?, r.u8()?, r.u8()?);
        r.skip(1 + 4)?;
        let (Some(selector), Some(direction)) = (selector, Direction::from_number(direction)) else {
            return Some(None);
        };
        let mut policy = Policy::pass(selector, direction, priority);
        policy.index = index;
        policy.action = if action == 0 { PolicyAction::Allow } else { PolicyAction::Block };
        policy.icmp = flags & number::POLICY_ICMP != 0;
        policy.local_ok = flags & number::POLICY_LOCALOK != 0;
        Some(Some(Self { policy, usage }))
    }

    pub(super) fn read_attribute(&mut self, kind: u16, payload: &[u8]) -> Option<()> {
        let policy = &mut self.policy;
        match kind {
            number::TMPL => {
                policy.templates = payload
                    .chunks_exact(template::SIZE)
                    .take(DEEPEST)
                    .map(|template| Template::read(&mut Reader(template)))
                    .collect::<Option<_>>()?;
            }
            number::MARK => policy.mark = Mark::read(payload)?,
            number::IF_ID => policy.if_id = Reader(payload).u32()?,
            number::OFFLOAD_DEV => policy.offload = Some(Offload::read(payload)?),
            _ => {}
        }
        Some(())
    }
}

impl PolicyId {
    /// `struct xfrm_userpolicy_id`, the mark and the XFRM interface.
    pub(super) fn write(&self, w: &mut Writer) {
        self.selector.write(w);
        w.u32(self.index);
        w.u8(self.direction.number());
        w.zeros(3);
        self.mark.write(w, number::MARK);
        if self.if_id != 0 {
            w.number(number::IF_ID, self.if_id);
        }
    }
}
