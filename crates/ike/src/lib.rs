//! IKE_SAs and CHILD_SAs as pure state machines (RFC 7296 and its companions).
//!
//! One [`Endpoint`] holds any number of IKE_SAs. What flows in: datagrams, the passing of time, commands, and the
//! answers to questions. What flows out: datagrams to send ([`Transmit`]), questions and orders to the outside
//! ([`Action`]: install an SA, lease an address, resolve a name), news ([`Event`]), and the next time at which it wants
//! to be woken. After every call, drain [`Endpoint::poll_transmit`], [`Endpoint::poll_action`] and
//! [`Endpoint::poll_event`], and ask [`Endpoint::poll_timeout`] when to call [`Endpoint::handle_timeout`].
//!
//! An IKE_SA is one plain struct: keys, message IDs, children, leases, deadlines, and at most one exchange in flight
//! in each direction. Exchanges that wait for the outside (a lease, an installation) are fields too; nothing hides in a
//! closure or task. There is one queue of deadlines for all SAs, one entry each.
//!
//! A [`Reason`] is created where something fails, with the values that an operator needs; the notify that the peer
//! sees, the log line and the status are made from it.
//!
//! What it never does: sockets, clocks, threads, files, ambient randomness. The same seed and the same inputs give the
//! same bytes out, ECDSA signatures excepted. What it never believes: anything that is not authenticated. Before an
//! IKE_SA is established only IKE_SA_INIT and IKE_AUTH reach a handler, and an established one changes by protected
//! messages only.

mod action;
mod change;
mod config;
mod core;
#[cfg(feature = "digest")]
mod digest;
mod endpoint;
mod event;
mod guard;
mod reason;
mod sa;
mod select;
mod settings;
mod time;
mod traps;
mod view;

pub use action::{Action, ActionId, Command, Completion, Leased, Path, Transmit, TransmitKind};
pub use change::{Difference, Takes};
pub use config::{
    AuthMethod, ChildAction, ChildConfig, Childless, Config, Connection, Credentials, Fragmentation,
    HostSpec, LocalAuth, RemoteAuth, SendCert, SharedSecret, ShuntConfig, Unique,
};
#[cfg(feature = "digest")]
pub use digest::{Digest, SaDigest};
pub use endpoint::{Endpoint, RetryView, RunningConfig, Stats};
pub use event::{ChildKeysExport, Event, Group, IkeKeysExport};
pub use reason::Reason;
pub use settings::{LogLevels, Redirect, Settings};
pub use time::Instant;
pub use view::{ChildSaView, ChildState, IkeSaView, IkeState, Snapshot};

#[cfg(test)]
mod tests;
