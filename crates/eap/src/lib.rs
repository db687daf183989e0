//! EAP methods as state machines (RFC 3748), for IKE_AUTH of RFC 7296 §2.16.
//!
//! Two roles: [`EapServer`], the gateway that asks, and [`EapClient`], the road-warrior that answers. Whole EAP packets
//! flow in (the body of an EAP payload), a step flows out: the next packet to send, or the end with an MSK, or the end
//! with a typed reason. Passwords come from an [`EapSecrets`] given with the call, randomness from a
//! [`Random`](adit_crypto::Random) given with the call.
//!
//! The one method served is MSCHAPv2 (RFC 2759 inside EAP type 26, keys by RFC 3079), and the Identity, Notification
//! and Nak types around it.
//!
//! What it never does: I/O, waiting, retransmitting (IKE does that), talking RADIUS, deciding whether the identity it
//! authenticated may use a connection. Nor does it ever take a peer's word: a client believes a server only after the
//! authenticator response verified, and an EAP-Success without one is a failure.

mod client;
mod error;
mod mschapv2;
mod packet;
mod server;

pub use client::{ClientStep, EapClient};
pub use error::EapError;
pub use packet::{MAX_PACKET, describe};
pub use server::{EapSecrets, EapServer, ServerStep};

/// Most packets either role processes in one conversation; a longer one is a loop.
pub const MAX_ROUNDS: u32 = 32;

/// An authentication method, inside EAP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// Microsoft's challenge handshake, version 2 (EAP type 26): mutual, by password, with keys.
    MsChapV2,
}

impl Method {
    /// The EAP type number of the registry (RFC 3748 §6.2).
    pub fn eap_type(self) -> u8 {
        match self {
            Self::MsChapV2 => packet::TYPE_MSCHAPV2,
        }
    }

    /// The name that log lines and `list-sas` use: `MSCHAPV2`.
    pub fn name(self) -> &'static str {
        match self {
            Self::MsChapV2 => "MSCHAPV2",
        }
    }

    /// The method that the part after `eap-` in a configured `auth = eap-mschapv2` names.
    pub fn from_keyword(keyword: &str) -> Option<Self> {
        keyword.eq_ignore_ascii_case("mschapv2").then_some(Self::MsChapV2)
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
