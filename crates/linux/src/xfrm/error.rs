//! What went wrong, as a sentence with its cause and, where there is one, the kernel's own words.

use std::fmt;
use std::io;

use super::bytes::{HEADER, Message, Reader, attributes};

/// Flags of an error message: it has attributes; it does not repeat the request's body.
const ACK_TLVS: u16 = 0x200;
const CAPPED: u16 = 0x100;

/// Longest text that is taken from the kernel.
const LONGEST_TEXT: usize = 256;

/// Why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// There is one already.
    Exists,
    /// There is none.
    Gone,
    /// The kernel has no ESP for this family.
    NoEsp,
    /// The kernel has no such algorithm.
    NoAlgorithm,
    /// The kernel, or the network card, cannot do this.
    Unsupported,
    /// The request itself is wrong.
    Invalid,
    /// CAP_NET_ADMIN is missing.
    NotPermitted,
    /// The kernel has no memory left.
    NoMemory,
    /// The request is larger than the kernel takes.
    TooLarge,
    /// Answers were lost because the socket could not hold them: it may be done or not.
    Overrun,
    /// No answer came in time: it may be done or not.
    Unanswered,
    /// The answer could not be read.
    Garbled,
    /// Anything else.
    Other,
}

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    what: String,
    failure: Failure,
}

/// Why, without what was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    cause: Cause,
    errno: i32,
    text: Option<String>,
}

/// What a request was about, by which the kernel's numbers get their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// Making or changing an SA.
    NewSa,
    /// Anything else.
    Other,
}

impl Failure {
    pub(super) const fn of(cause: Cause) -> Self {
        Self { cause, errno: 0, text: None }
    }

    /// What our own check found.
    pub(super) fn invalid(text: &str) -> Self {
        Self { cause: Cause::Invalid, errno: libc::EINVAL, text: Some(text.to_owned()) }
    }

    pub(super) fn errno(errno: i32, about: About) -> Self {
        Self { cause: cause_of(errno, about), errno, text: None }
    }

    pub(super) fn io(error: &io::Error, about: About) -> Self {
        match (error.kind(), error.raw_os_error()) {
            (io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut, _) => Self::of(Cause::Unanswered),
            (io::ErrorKind::InvalidData, None) => Self::of(Cause::Garbled),
            (_, Some(errno)) => Self::errno(errno, about),
            _ => Self { cause: Cause::Other, errno: 0, text: Some(error.to_string()) },
        }
    }

    /// From an NLMSG_ERROR message: `Ok` is an acknowledgement.
    pub(super) fn from_message(message: &Message<'_>, about: About) -> Result<(), Self> {
        let mut body = Reader(message.body);
        let Some(code) = body.u32().map(u32::cast_signed) else { return Err(Self::of(Cause::Garbled)) };
        if code == 0 {
            return Ok(());
        }
        let mut failure = Self::errno(code.saturating_neg(), about);
        failure.text = extended(message.flags, body);
        Err(failure)
    }

    /// The same number, about something known.
    pub(super) fn about(mut self, about: About) -> Self {
        if self.cause != Cause::Invalid && self.errno != 0 {
            self.cause = cause_of(self.errno, about);
        }
        self
    }

    pub(super) fn during(self, what: impl fmt::Display) -> Error {
        Error { what: what.to_string(), failure: self }
    }

    fn sentence(&self) -> &'static str {
        match self.cause {
            Cause::Exists => "there is one already",
            Cause::Gone => "there is none",
            Cause::NoEsp => {
                "the kernel has no ESP: its module (esp4, esp6) is missing or blacklisted; \
                 install it, or choose the userspace data plane"
            }
            Cause::NoAlgorithm => {
                "the kernel does not have the algorithm: its module is missing, or not allowed (FIPS mode); \
                 install it, or propose another one"
            }
            Cause::Unsupported => "the kernel or the network card cannot do this",
            Cause::Invalid => "the request is not valid",
            Cause::NotPermitted => "not permitted: CAP_NET_ADMIN is missing",
            Cause::NoMemory => "the kernel has no memory left",
            Cause::TooLarge => "the request is too large",
            Cause::Overrun => "the answer was lost, the socket's buffer was full; it may have been done",
            Cause::Unanswered => "the kernel did not answer in time; it may have been done",
            Cause::Garbled => "the kernel's answer could not be read",
            Cause::Other => "the kernel refused",
        }
    }
}

/// What a number means to XFRM.
const fn cause_of(errno: i32, about: About) -> Cause {
    match (errno, about) {
        (libc::EEXIST, _) => Cause::Exists,
        // Crypto API: nothing by this name, and no module to load for it.
        (libc::ENOENT | libc::ENOSYS, About::NewSa) => Cause::NoAlgorithm,
        (libc::EPROTONOSUPPORT, _) => Cause::NoEsp,
        // ENODATA: nothing to migrate.
        (libc::ESRCH | libc::ENOENT | libc::ENODATA, _) => Cause::Gone,
        (libc::ENOSYS | libc::EOPNOTSUPP | libc::ENOPROTOOPT, _) => Cause::Unsupported,
        (libc::EINVAL | libc::ERANGE, _) => Cause::Invalid,
        (libc::EPERM | libc::EACCES, _) => Cause::NotPermitted,
        (libc::ENOMEM, _) => Cause::NoMemory,
        (libc::EMSGSIZE, _) => Cause::TooLarge,
        (libc::ENOBUFS, _) => Cause::Overrun,
        _ => Cause::Other,
    }
}

/// The kernel's own words (`NLMSGERR_ATTR_MSG`), printable.
fn extended(flags: u16, mut body: Reader<'_>) -> Option<String> {
    const MSG: u16 = 1;
    if flags & ACK_TLVS == 0 {
        return None;
    }
    // The request's header, and its body unless the kernel was asked to leave it out.
    let length = usize::try_from(Reader(body.0).u32()?).ok()?;
    body.skip(if flags & CAPPED == 0 { length.checked_next_multiple_of(4)?.max(HEADER) } else { HEADER })?;
    let (_, text) = attributes(body.0).find(|(kind, _)| *kind == MSG)?;
    let text = text.split(|byte| *byte == 0).next()?;
    let text = String::from_utf8_lossy(text.get(..text.len().min(LONGEST_TEXT))?).escape_debug().to_string();
    (!text.is_empty()).then_some(text)
}

impl Error {
    /// Why it failed.
    #[must_use]
    pub const fn cause(&self) -> Cause {
        self.failure.cause
    }

    /// The kernel's number for it; 0 where there is none.
    #[must_use]
    pub const fn errno(&self) -> i32 {
        self.failure.errno
    }

    /// The kernel's own words, or what our own check found.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.failure.text.as_deref()
    }
}

/// "adding ESP SA c0000001 to 192.0.2.1: there is one already (17)".
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.failure.sentence())?;
        if let Some(text) = &self.failure.text {
            write!(f, ": {text}")?;
        }
        match self.failure.errno {
            0 => Ok(()),
            errno => write!(f, " ({errno})"),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        use io::ErrorKind as Kind;
        let kind = match error.cause() {
            Cause::Exists => Kind::AlreadyExists,
            Cause::Gone => Kind::NotFound,
            Cause::NoEsp | Cause::NoAlgorithm | Cause::Unsupported => Kind::Unsupported,
            Cause::Invalid | Cause::TooLarge => Kind::InvalidInput,
            Cause::NotPermitted => Kind::PermissionDenied,
            Cause::NoMemory => Kind::OutOfMemory,
            Cause::Unanswered => Kind::TimedOut,
            Cause::Garbled => Kind::InvalidData,
            Cause::Overrun | Cause::Other => Kind::Other,
        };
        Self::new(kind, error)
    }
}
