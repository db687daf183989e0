//! Other outer addresses for a policy and its SAs (RFC 4555 §3.5): `struct xfrm_user_migrate`.

use std::net::IpAddr;

use super::bytes::{Reader, Writer, attributes, family_of};
use super::number;
use super::parts::{Encap, Mode};
use super::policy::{Direction, PolicyId};
use super::selector::{Mark, Selector};

/// Moves in one request (`XFRM_MAX_DEPTH`).
const MOST: usize = 6;

/// Octets of `struct xfrm_user_migrate`.
const SIZE: usize = 76;

/// Source and destination of outer packets, of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ends {
    /// Source.
    pub src: IpAddr,
    /// Destination.
    pub dst: IpAddr,
}

/// What one template and the SAs it fits become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// Where they are.
    pub from: Ends,
    /// Where they go.
    pub to: Ends,
    /// Protocol number: [`super::ESP`].
    pub protocol: u8,
    /// Tunnel or transport.
    pub mode: Mode,
    /// The SAs that fit.
    pub reqid: u32,
}

/// A policy that moves with its SAs. They keep keys, SPIs, counters and windows; the kernel does not let go of an
/// encapsulation, only change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// The policy.
    pub policy: PolicyId,
    /// What becomes of its templates; SAs without a template of their own move with whom they share reqid and ends.
    pub moves: Vec<Move>,
    /// The SAs' ESP in UDP from then on, if it changes.
    pub encap: Option<Encap>,
}

impl Migration {
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let mixed = |ends: &Ends| ends.src.is_ipv4() != ends.dst.is_ipv4();
        if self.moves.is_empty() || self.moves.len() > MOST {
            return Err("a migration has one to six moves");
        }
        if self.moves.iter().any(|it| mixed(&it.from) || mixed(&it.to)) {
            return Err("a move's source and destination are of different families");
        }
        self.policy.selector.check()
    }

    pub(super) fn write(&self, w: &mut Writer) {
        self.policy.write(w);
        w.attribute(number::MIGRATE, |w| self.moves.iter().for_each(|it| it.write(w)));
        if let Some(encap) = self.encap {
            encap.write(w);
        }
    }

    /// From the body of an event: `struct xfrm_userpolicy_id`, then attributes.
    pub(super) fn read(body: &[u8]) -> Option<Option<Self>> {
        let mut r = Reader(body);
        let selector = Selector::read(&mut r)?;
        let (index, direction) = (r.u32()?, r.u8()?);
        r.skip(3)?;
        let (Some(selector), Some(direction)) = (selector, Direction::from_number(direction)) else {
            return Some(None);
        };
        let policy = PolicyId { selector, direction, mark: Mark::default(), if_id: 0, index };
        let mut migration = Self { policy, moves: Vec::new(), encap: None };
        for (kind, payload) in attributes(r.0) {
            match kind {
                number::MIGRATE => {
                    for one in payload.chunks_exact(SIZE).take(MOST) {
                        migration.moves.push(Move::read(&mut Reader(one))?);
                    }
                }
                number::ENCAP => migration.encap = Encap::read(payload)?,
                number::MARK => migration.policy.mark = Mark::read(payload)?,
                number::IF_ID => migration.policy.if_id = Reader(payload).u32()?,
                _ => {}
            }
        }
        Some(Some(migration))
    }
}

impl Move {
    fn write(&self, w: &mut Writer) {
        for address in [self.from.dst, self.from.src, self.to.dst, self.to.src] {
            w.address(address);
        }
        w.u8(self.protocol);
        w.u8(self.mode.number());
        w.zeros(2);
        w.u32(self.reqid);
        w.u16(family_of(self.from.dst));
        w.u16(family_of(self.to.dst));
    }

    fn read(r: &mut Reader<'_>) -> Option<Self> {
        let (from_dst, from_src, to_dst, to_src) = (r.address()?, r.address()?, r.address()?, r.address()?);
        let (protocol, mode) = (r.u8()?, r.u8()?);
        r.skip(2)?;
        let (reqid, from, to) = (r.u32()?, r.u16()?, r.u16()?);
        Some(Self {
            from: Ends { src: from_src.of(from)?, dst: from_dst.of(from)? },
            to: Ends { src: to_src.of(to)?, dst: to_dst.of(to)? },
            protocol,
            mode: Mode::from_number(mode),
            reqid,
        })
    }
}
