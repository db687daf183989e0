//! The vocabulary of RFC 4301: traffic selectors, identities, proposals and the records of the SAD and SPD.
//!
//! What flows in is text (configuration) and values from the wire; what flows out are plain values that every other
//! crate speaks in. Nothing here does I/O, keeps state, or knows a cipher: algorithms are numbers with names.

pub mod dn;
pub mod entry;
pub mod gateway;
pub mod header;
pub mod identity;
pub mod names;
pub mod numbering;
pub mod packet;
pub mod policy;
pub mod proposal;
pub mod sa;
pub mod selector;

pub use entry::{EntryOptions, HwOffload, Mark, PerCpu, SetMark, XfrmInterfaces};
pub use gateway::GatewayId;
pub use identity::{Identity, MatchQuality};
pub use numbering::{Choice, IfIds, Numbering, Pair};
pub use packet::{PacketInfo, parse_packet};
pub use policy::{
    ChildAction, Childless, CopyDscp, Fragmentation, HeaderRules, RedirectStage, SendCert, Shunt, Unique,
};
pub use proposal::{Proposal, Protocol, Transform, TransformType, select_proposal};
pub use sa::{ChildSa, Limits, Mode, SaKeys, ShuntPolicy, TrapPolicy, Usage};
pub use selector::{Selector, SelectorSpec, narrow};
