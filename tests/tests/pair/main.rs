//! Two endpoints on a virtual clock and a virtual network.
//!
//! Nothing here waits, opens a socket or asks the system for randomness: a [`pair::Pair`] is two
//! [`adit_ike::Endpoint`]s, each with an outside that answers its questions, and a [`net::Net`] between them that loses,
//! delays, duplicates and reorders what they send, from a seed. The same seed gives the same bytes on the wire (as long
//! as no ECDSA signature is made), so a run that failed can be watched again:
//!
//! ```text
//! ADIT_SEED=4711 cargo test -p adit-tests --test pair storm
//! ```
//!
//! What is judged, at every quiet moment, is what an operator would call right: both ends list the same SAs with the
//! same keys and mirrored selectors, the data planes hold exactly the SAs that are listed, and addresses are leased to
//! those only who are there.

mod cases;
mod childless;
mod collisions;
mod failures;
mod found;
mod host;
mod hostile;
mod impair;
mod lifecycle;
mod net;
mod pair;
mod pki;
mod redirect;
mod rekey_table;
mod revival;
mod roaming;
mod setup;
mod storm;
mod sync;
mod transport;
mod walk;
