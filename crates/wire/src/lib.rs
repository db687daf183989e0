//! IKE messages and payloads, bytes to values and back (RFC 7296 §3, RFC 7383 §2.5).
//!
//! Bytes of a peer flow in, typed payloads or one [`WireError`] flow out; and the reverse. Nothing here decrypts, keeps
//! state or judges a value beyond its form: whether an exchange may hold a payload is the protocol's business.
//!
//! Every length is checked before it is used, every loop makes progress, and every count has a cap, so that any byte
//! string ends in a value or an error in time linear in its length.

mod config;
pub mod consts;
mod describe;
mod error;
mod first;
mod header;
mod id;
mod message;
mod payload;
mod reader;
mod sa;
mod ts;

pub use consts::{ConfigAttribute, ConfigKind, ExchangeType, NotifyType, PayloadType};
pub use describe::{describe, describe_fragment};
pub use error::{EmitError, WireError};
pub use first::FirstLook;
pub use header::{Flags, HEADER_LEN, Header};
pub use id::IdPayload;
pub use message::{Encrypted, Envelope, emit_clear, emit_encrypted_prefix};
pub use payload::{MAX_PAYLOADS, Payload, emit_payloads, parse_payloads};
pub use sa::{MAX_PROPOSALS, MAX_TRANSFORMS, ProposalPayload};
