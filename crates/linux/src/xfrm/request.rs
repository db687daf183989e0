//! What can be asked for, several in one go.

use std::fmt;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST};

use super::bytes::Writer;
use super::error::About;
use super::migrate::Migration;
use super::number;
use super::parts::Mode;
use super::policy::{Policy, PolicyId, PolicyState};
use super::sa::{Sa, SaId};
use super::sa_state::SaState;
use super::selector::Mark;

/// Octets no request exceeds: an SA with the longest keys and the largest window takes less than 1,500.
pub(super) const LARGEST: usize = 2048;

/// An SPI to be reserved for an SA that will come to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    /// Source of the outer packets.
    pub src: IpAddr,
    /// Their destination: us.
    pub dst: IpAddr,
    /// Protocol number: [`super::ESP`].
    pub protocol: u8,
    /// Tunnel or transport.
    pub mode: Mode,
    /// Which policies' templates it fits.
    pub reqid: u32,
    /// Lowest SPI to choose from; at least 0x100 (RFC 4303 §2.1).
    pub low: u32,
    /// Highest.
    pub high: u32,
    /// As the SA's.
    pub mark: Mark,
    /// As the SA's.
    pub if_id: u32,
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub enum Request<'a> {
    /// Adds an SA; [`super::Cause::Exists`] when there is one of its id, a reserved SPI included.
    AddSa(&'a Sa),
    /// Fills in a reserved SPI, or changes lifetimes, encapsulation, marks and the like of an SA; keys never change.
    UpdateSa(&'a Sa),
    /// Removes an SA.
    DeleteSa(SaId),
    /// Asks for an SA.
    GetSa(SaId),
    /// Reserves an SPI. It is given up by the kernel after `net.core.xfrm_acq_expires` seconds.
    ReserveSpi(Reservation),
    /// Adds a policy; [`super::Cause::Exists`] when there is one of its id.
    AddPolicy(&'a Policy),
    /// Adds a policy or puts it in the place of the one with its id.
    UpdatePolicy(&'a Policy),
    /// Removes a policy.
    DeletePolicy(PolicyId),
    /// Asks for a policy.
    GetPolicy(PolicyId),
    /// Moves a policy's templates and their SAs to other addresses.
    Migrate(&'a Migration),
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// The SA that was asked for, or the reserved one.
    Sa(Box<SaState>),
    /// The policy that was asked for.
    Policy(Box<PolicyState>),
}

impl Request<'_> {
    pub(super) fn check(&self) -> Result<(), &'static str> {
        match self {
            Self::AddSa(sa) | Self::UpdateSa(sa) => sa.check(),
            Self::AddPolicy(policy) | Self::UpdatePolicy(policy) => policy.check(),
            Self::DeletePolicy(id) | Self::GetPolicy(id) => id.selector.check(),
            Self::Migrate(migration) => migration.check(),
            Self::ReserveSpi(wanted) if wanted.src.is_ipv4() != wanted.dst.is_ipv4() => {
                Err("an SA's source and destination are of different families")
            }
            Self::ReserveSpi(_) | Self::DeleteSa(_) | Self::GetSa(_) => Ok(()),
        }
    }

    pub(super) fn write(&self, w: &mut Writer, sequence: u32) {
        let (kind, answered) = match self {
            Self::AddSa(_) => (number::MSG_NEWSA, false),
            Self::UpdateSa(_) => (number::MSG_UPDSA, false),
            Self::DeleteSa(_) => (number::MSG_DELSA, false),
            Self::GetSa(_) => (number::MSG_GETSA, true),
            Self::ReserveSpi(_) => (number::MSG_ALLOCSPI, true),
            Self::AddPolicy(_) => (number::MSG_NEWPOLICY, false),
            Self::UpdatePolicy(_) => (number::MSG_UPDPOLICY, false),
            Self::DeletePolicy(_) => (number::MSG_DELPOLICY, false),
            Self::GetPolicy(_) => (number::MSG_GETPOLICY, true),
            Self::Migrate(_) => (number::MSG_MIGRATE, false),
        };
        // An object answers for itself.
        let flags = if answered { NLM_F_REQUEST } else { NLM_F_REQUEST | NLM_F_ACK };
        w.message(kind, flags, sequence, |w| self.write_body(w));
    }

    fn write_body(&self, w: &mut Writer) {
        match self {
            Self::AddSa(sa) | Self::UpdateSa(sa) => {
                sa.write_info(w);
                sa.write_attributes(w);
            }
            Self::DeleteSa(id) | Self::GetSa(id) => id.write(w),
            Self::ReserveSpi(wanted) => wanted.write(w),
            Self::AddPolicy(policy) | Self::UpdatePolicy(policy) => {
                policy.write_info(w);
                policy.write_attributes(w);
            }
            Self::DeletePolicy(id) | Self::GetPolicy(id) => id.write(w),
            Self::Migrate(migration) => migration.write(w),
        }
    }

    /// What an object answers, if it can.
    pub(super) fn answer(&self, kind: u16, body: &[u8]) -> Option<Answer> {
        match (self, kind) {
            (Self::GetSa(_) | Self::ReserveSpi(_), number::MSG_NEWSA) => {
                SaState::read(body).map(|sa| Answer::Sa(Box::new(sa)))
            }
            (Self::GetPolicy(_), number::MSG_NEWPOLICY) => {
                PolicyState::read(body)?.map(|policy| Answer::Policy(Box::new(policy)))
            }
            _ => None,
        }
    }

    /// Whether an acknowledgement is all that it wants.
    pub(super) const fn is_order(&self) -> bool {
        !matches!(self, Self::GetSa(_) | Self::ReserveSpi(_) | Self::GetPolicy(_))
    }

    pub(super) const fn about(&self) -> About {
        match self {
            Self::AddSa(_) | Self::UpdateSa(_) => About::NewSa,
            _ => About::Other,
        }
    }
}

impl Reservation {
    /// `struct xfrm_userspi_info`.
    fn write(&self, w: &mut Writer) {
        let mut sa = Sa::esp(self.src, self.dst, 0, self.mode, super::Algorithms::None);
        sa.protocol = self.protocol;
        sa.reqid = self.reqid;
        sa.write_info(w);
        w.u32(self.low);
        w.u32(self.high);
        self.mark.write(w, number::MARK);
        if self.if_id != 0 {
            w.number(number::IF_ID, self.if_id);
        }
    }
}

/// "adding ESP SA c1234567 to 192.0.2.1".
impl fmt::Display for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddSa(sa) => write!(f, "adding {}", sa.id()),
            Self::UpdateSa(sa) => write!(f, "updating {}", sa.id()),
            Self::DeleteSa(id) => write!(f, "removing {id}"),
            Self::GetSa(id) => write!(f, "looking up {id}"),
            Self::ReserveSpi(wanted) => write!(f, "reserving an SPI at {}", wanted.dst),
            Self::AddPolicy(policy) => write!(f, "adding {}", policy.id()),
            Self::UpdatePolicy(policy) => write!(f, "updating {}", policy.id()),
            Self::DeletePolicy(id) => write!(f, "removing {id}"),
            Self::GetPolicy(id) => write!(f, "looking up {id}"),
            Self::Migrate(migration) => write!(f, "moving {}", migration.policy),
        }
    }
}
