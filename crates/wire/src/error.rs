//! What can be wrong with bytes, and with values that do not fit into them.

use std::fmt;

use crate::NotifyType;

/// Why bytes are no IKE message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireError {
    /// Shorter than what it announces.
    Truncated {
        /// What was being read.
        what: &'static str,
    },
    /// A length field that cannot be.
    BadLength {
        /// What was being read.
        what: &'static str,
    },
    /// A value that the RFC forbids.
    BadValue {
        /// What was being read.
        what: &'static str,
    },
    /// Major version other than 2 (RFC 7296 §2.5).
    UnsupportedVersion {
        /// Major version.
        major: u8,
        /// Minor version.
        minor: u8,
    },
    /// An unknown payload with the critical bit (RFC 7296 §2.5).
    UnsupportedCritical(u8),
    /// More payloads than any message needs.
    TooManyPayloads,
    /// Something behind an Encrypted payload, which has to be last (RFC 7296 §3.14).
    EncryptedNotLast,
}

impl WireError {
    /// What the peer is told.
    pub const fn notify(&self) -> NotifyType {
        match self {
            Self::UnsupportedVersion { .. } => NotifyType::INVALID_MAJOR_VERSION,
            Self::UnsupportedCritical(_) => NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD,
            _ => NotifyType::INVALID_SYNTAX,
        }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { what } => write!(f, "{what} is cut short"),
            Self::BadLength { what } => write!(f, "{what} has an impossible length"),
            Self::BadValue { what } => write!(f, "{what} has a forbidden value"),
            Self::UnsupportedVersion { major, minor } => {
                write!(f, "IKE version {major}.{minor} is not supported")
            }
            Self::UnsupportedCritical(kind) => write!(f, "payload type {kind} is critical and unknown"),
            Self::TooManyPayloads => f.write_str("message has too many payloads"),
            Self::EncryptedNotLast => f.write_str("the Encrypted payload is not the last one"),
        }
    }
}

impl std::error::Error for WireError {}

/// Why a value does not fit into a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmitError {
    /// Longer than its length field can say.
    TooLong {
        /// What was being written.
        what: &'static str,
    },
    /// A selector of mixed families, an unknown payload, or another value without a form.
    Unrepresentable {
        /// What was being written.
        what: &'static str,
    },
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { what } => write!(f, "{what} is too long for a message"),
            Self::Unrepresentable { what } => write!(f, "{what} has no form on the wire"),
        }
    }
}

impl std::error::Error for EmitError {}
