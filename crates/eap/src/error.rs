//! Why an EAP conversation failed.

use std::fmt;

/// The reason for a failed EAP conversation. `Display` is a sentence fragment for the operator; bytes of the peer in it
/// are escaped and short.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EapError {
    /// A packet or a field in it has an impossible length or value; the text names the field.
    Malformed(&'static str),
    /// The response carries another identifier than our request (RFC 3748 §4.1).
    WrongIdentifier {
        /// The identifier of our request.
        expected: u8,
        /// The identifier that came.
        received: u8,
    },
    /// A well-formed packet that the state of the conversation does not allow; the text names it.
    OutOfOrder(&'static str),
    /// The peer wants another method (Nak); its wishes by type number.
    MethodRefused {
        /// EAP types the peer proposed instead, at most eight.
        wanted: Vec<u8>,
    },
    /// The server insists on a method we do not serve or were told not to use.
    MethodNotAllowed {
        /// The EAP type of the server's request.
        requested: u8,
    },
    /// Server: no password is known for this user.
    UnknownUser {
        /// The name, printable.
        user: String,
    },
    /// Server: the user exists, the password is wrong.
    WrongPassword {
        /// The name, printable.
        user: String,
    },
    /// Server: the method's user name is not that of the EAP identity.
    NameMismatch {
        /// The EAP identity, printable.
        identity: String,
        /// The name inside the method, printable.
        name: String,
    },
    /// Client: the server refused our user name or password.
    Rejected {
        /// RFC 2759 §6 error code, 691 = authentication failure; 0 when none was given.
        code: u32,
        /// The server's text, printable; may be empty.
        message: String,
    },
    /// Client: the server could not prove that it knows our password.
    ServerNotAuthenticated,
    /// Server: the client did not accept our proof.
    ProofRefused,
    /// Client: the server announced success before the method was complete (CVE-2021-45079).
    EarlySuccess,
    /// Client: the server announced failure without a reason.
    FailedByServer,
    /// The conversation went on for more than [`MAX_ROUNDS`](crate::MAX_ROUNDS) packets.
    TooManyRounds,
    /// A packet came after the conversation had ended.
    Ended,
}

impl fmt::Display for EapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "malformed EAP packet: {what}"),
            Self::WrongIdentifier { expected, received } => {
                write!(f, "EAP response has identifier {received} instead of {expected}")
            }
            Self::OutOfOrder(what) => {
                write!(f, "{what} at a point of the EAP conversation where it is not allowed")
            }
            Self::MethodRefused { wanted } => {
                f.write_str("the client refuses EAP_MSCHAPV2")?;
                let mut separator = " and asks for ";
                for kind in wanted {
                    write!(f, "{separator}{}", crate::packet::type_name(*kind))?;
                    separator = ", ";
                }
                Ok(())
            }
            Self::MethodNotAllowed { requested } => {
                write!(
                    f,
                    "the server insists on EAP method {}, which we do not use",
                    crate::packet::type_name(*requested)
                )
            }
            Self::UnknownUser { user } => write!(f, "no EAP secret is configured for user '{user}'"),
            Self::WrongPassword { user } => write!(f, "wrong EAP password for user '{user}'"),
            Self::NameMismatch { identity, name } => {
                write!(f, "the client's EAP identity '{identity}' and its MSCHAPv2 user name '{name}' differ")
            }
            Self::Rejected { code, message } => {
                write!(f, "the server refused our EAP user name or password (error {code}")?;
                if !message.is_empty() {
                    write!(f, ", '{message}'")?;
                }
                f.write_str(")")
            }
            Self::ServerNotAuthenticated => f.write_str(
                "the server does not know our EAP password: its MSCHAPv2 authenticator response is wrong",
            ),
            Self::ProofRefused => {
                f.write_str("the client did not accept our MSCHAPv2 authenticator response")
            }
            Self::EarlySuccess => {
                f.write_str("the server announced EAP success before its authentication was complete")
            }
            Self::FailedByServer => f.write_str("the server announced EAP failure without a reason"),
            Self::TooManyRounds => write!(f, "no end of EAP after {} packets", crate::MAX_ROUNDS),
            Self::Ended => f.write_str("EAP packet after the end of the conversation"),
        }
    }
}

impl std::error::Error for EapError {}

/// Peer bytes for a log line: control characters escaped, at most 64 bytes of them.
pub(crate) fn printable(bytes: &[u8]) -> String {
    const MOST: usize = 64;
    let shown = bytes.get(..MOST).unwrap_or(bytes);
    let mut out = String::new();
    for c in String::from_utf8_lossy(shown).chars() {
        if c.is_control() || ('\u{200b}'..='\u{202e}').contains(&c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    if shown.len() < bytes.len() {
        out.push('…');
    }
    out
}
