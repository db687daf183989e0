//! The daemon as a library: threads, clock, sockets, files and logs around the sans-IO core.
//!
//! One protocol thread (`driver`) owns the endpoint, the data plane, the pools and the configuration; nothing of them
//! is locked. It reads the IKE sockets and a mailbox through which the data plane's worker, the control clients and
//! the signal thread reach it. Questions of the core are answered in `outside`, or by a thread of their own where they
//! could take long (`resolver`).
//!
//! Nothing of the protocol is decided here. What is configured is in `store`, what is shown in `views`, and why
//! something is not up in `failures`.

pub mod control;
mod counters;
mod creds;
mod daemon;
mod driver;
pub mod environment;
mod failures;
pub mod firewall;
mod key_export;
mod keylog;
mod log;
mod mailbox;
mod map;
mod outside;
mod pools;
mod reload;
mod resolv;
mod resolver;
mod roam;
mod run;
mod secret_file;
mod settings;
mod shunts;
mod sockets;
mod store;
mod traps;
mod updown;
mod views;

pub use environment::Environment;
pub use run::run;
