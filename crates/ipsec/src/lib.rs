//! Traffic selectors, identities, proposals and SA records: the vocabulary of RFC 4301.
//!
//! Every other crate speaks in these values. Text flows in from configuration ([`SelectorSpec`], [`Identity::parse`],
//! [`Proposal::parse`]), bytes flow in from the wire layer ([`Identity::from_wire`]) and from the inside of a tunnel
//! ([`parse_packet`]); out flow values that hold their invariants: a [`Selector`] never has mixed families or a start
//! behind its end, a configured [`Proposal`] never names an algorithm that is not served. Everything prints as
//! strongSwan prints it, because operators and their scripts read it.
//!
//! The records given to a data plane ([`ChildSa`], [`TrapPolicy`]) live here too, so that the protocol and the data
//! planes need not know each other.
//!
//! What it never does: cryptography, I/O, clocks, parsing of IKE messages, reading of system databases (the protocol and
//! service names are a small table of our own, so that the same input prints the same everywhere).

mod cidr;
mod identity;
pub mod names;
mod packet;
mod proposal;
mod sa;
mod selector;
mod services;
mod spec;
mod transform;

pub use identity::{Identity, IdentityError, MAX_IDENTITY, MatchQuality};
pub use packet::{PacketInfo, parse_packet};
pub use proposal::{Proposal, select_proposal, select_proposal_preferring};
pub use sa::{ChildSa, Mode, SaKeys, TrapPolicy, Usage};
pub use selector::{Selector, narrow};
pub use spec::SelectorSpec;
pub use transform::{Protocol, Transform, TransformType};
