//! What the two programs are made of: `aditd`, the daemon, and `adit`, the operator's command.
//!
//! Nearly everything lives in other crates; here are the command line ([`cli`]) and the demonstration ([`demo`]).

pub mod cli;
pub mod demo;
