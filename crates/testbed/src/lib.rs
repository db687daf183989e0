//! Namespaces and real peers for tests.
//!
//! A test asks for a [`World`]: four network namespaces (road-warrior, NAT router, gateway, node), a daemon in the
//! outer two, each either strongSwan or ours, and a configuration that both are given in the same files. Both are
//! driven with the same tool (`swanctl`), so a case is written once and runs for every pairing of implementations; it
//! has to hold for the reference pair before it says anything about us.
//!
//! What flows in: a [`Scenario`] (how the ends authenticate, changed line by line by the case) and [`Roles`] (who
//! plays which end). What flows out: state read back over VICI as [`Tree`]s, pings, routes, addresses, packet
//! captures as `tshark` decodes them.
//!
//! It never depends on a crate of the product: what it says about the daemon must not come from the daemon's code.
//! It needs root, or else a kernel that lets an unprivileged user make user namespaces; see [`sandbox`].

pub mod capture;
pub mod events;
pub mod flood;
pub mod libreswan;
pub mod net;
pub mod newer;
pub mod openiked;
pub mod peer;
pub mod pki;
pub mod probe;
pub mod process;
pub mod sandbox;
pub mod scenario;
pub mod swanctl;
pub mod switches;
pub mod tree;
pub mod vm;
pub mod wait;
pub mod world;

pub use capture::Capture;
pub use net::{GW, NODE, NODE_TOO, NODE6, Network, RW, Traffic};
pub use peer::{Kind, Peer};
pub use pki::Pki;
pub use sandbox::{run_case, skip};
pub use scenario::{Auth, Conf, Roles, Scenario};
pub use tree::Tree;
pub use wait::{eventually, wait_for};
pub use world::World;
