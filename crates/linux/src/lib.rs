//! What Adit asks of the Linux kernel: a TUN device, UDP and raw ESP sockets that know which local address a
//! datagram was sent to, addresses, routes and rules over rtnetlink, IPsec SAs and policies over XFRM netlink,
//! network namespaces, one masquerade rule.
//!
//! In: file names, addresses, bytes. Out: bytes, and [`std::io::Error`]s whose text names what was tried. Every
//! call is synchronous and bounded; sockets and the TUN device never block, [`poll`] says when to come back.
//!
//! This is the only crate of the workspace that may say `unsafe`; each such block says why it is sound. It never
//! interprets a packet beyond the outer IPv4 header of a raw socket, keeps no state of its own (what is
//! installed is remembered by the caller), and never touches an entry it was not asked to touch.

pub mod filter;
mod msg;
pub mod nat;
pub mod netns;
mod nft;
pub mod poll;
pub mod process;
pub mod raw;
pub mod route;
pub mod ruleset;
mod sys;
pub mod tun;
pub mod udp;
pub mod xfrm;

pub use msg::Fields;
