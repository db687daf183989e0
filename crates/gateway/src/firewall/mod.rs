//! `adit.firewall`: what nftables has to know of tunnels.
//!
//! In: CHILD_SAs, pools and policies, from the protocol thread. Out: a table of our own, or a file for the operator's
//! ruleset. What is to be there (`table`, with `claims`, `rules`, `style`) is plain data under a lock; how it differs from
//! what is there (`changes`) becomes text (`text`, `dropin`); a thread of its own (`worker`) has `nft` apply that, hears
//! of it when somebody takes it away, and looks for chains of others that stand in the way (`ruleset`).
//!
//! Rules are text for `nft`, which any operator can read and list, and which is tested as such. The few rules that a data
//! plane cannot do without are made by `adit_linux` itself, since they may not depend on a program being there.

mod changes;
mod claims;
pub mod dropin;
#[cfg(test)]
mod esp;
mod handle;
mod hooks;
mod names;
mod nft;
mod rules;
mod ruleset;
mod style;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod worker;

pub(crate) use handle::{Asker, Configured, Firewall};
pub use handle::{ChildCount, FirewallSnapshot};
pub(crate) use hooks::start;
pub use ruleset::{Blocking, Count, blocking};
pub use style::{Inside, Style};
pub use table::NAME;
pub(crate) use table::Table;
pub use worker::remark;
