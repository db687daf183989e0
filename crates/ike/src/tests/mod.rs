//! Two endpoints against each other. Faults of the network are the pair tests' business.

mod admission;
mod auth;
mod child;
mod failures;
mod handshake;
mod hostile;
mod lossy;
mod pair;
mod pki;
mod reconfigure;
mod rekey;
