//! Choices of a connection that configuration, core and control surface speak of in the same words.

use std::fmt;

/// RFC 7383 on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fragmentation {
    /// Not announced.
    No,
    /// Announced and accepted, never sent.
    Accept,
    /// Sent when the peer announced it.
    #[default]
    Yes,
    /// As [`Self::Yes`]; IKEv1 knew a difference.
    Force,
}

/// When our certificate is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SendCert {
    /// Even if not asked.
    Always,
    /// Never.
    Never,
    /// When the peer sent a CERTREQ.
    #[default]
    IfAsked,
}

/// IKE_SAs that are made without a CHILD_SA (RFC 6023).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Childless {
    /// Accepted from a peer; done by us only when an IKE_SA is wanted and no child.
    #[default]
    Allow,
    /// Also done by us where the peer can; the children follow.
    Prefer,
    /// The only way, in either role.
    Force,
    /// Neither announced nor done.
    Never,
}

/// When clients are sent to another gateway (RFC 5685).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RedirectStage {
    /// Before anybody has proved anything: it costs least.
    #[default]
    Init,
    /// When both ends have proved themselves.
    Auth,
}

/// What happens to an older IKE_SA between the same identities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unique {
    /// It stays, INITIAL_CONTACT is ignored.
    Never,
    /// It goes only on INITIAL_CONTACT.
    #[default]
    No,
    /// It stays, the new one is refused.
    Keep,
    /// It goes.
    Replace,
}

/// What happens to a child at some turn of its life. Both may be set (`trap|start`); none means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChildAction {
    /// A trap stands for it: the first packet brings it up.
    pub trap: bool,
    /// It is brought up (again).
    pub start: bool,
}

impl ChildAction {
    /// Nothing (`none`, `clear`).
    pub const NONE: Self = Self { trap: false, start: false };
    /// `trap`, `route`.
    pub const TRAP: Self = Self { trap: true, start: false };
    /// `start`, `restart`.
    pub const START: Self = Self { trap: false, start: true };
}

impl fmt::Display for ChildAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.trap, self.start) {
            (false, false) => "none",
            (true, false) => "trap",
            (false, true) => "start",
            (true, true) => "trap|start",
        })
    }
}

/// Which way a tunnel copies the DSCP between inner and outer header (RFC 4301 §5.1.2, `copy_dscp`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CopyDscp {
    /// Neither way: what travels outside tells nothing of the traffic class inside, and may change nothing of it.
    No,
    /// From the outer header to the inner, on receiving.
    In,
    /// From the inner header to the outer, on sending.
    #[default]
    Out,
    /// Both.
    Yes,
}

impl CopyDscp {
    /// Whether the outer header takes the inner DSCP.
    #[must_use]
    pub const fn out(self) -> bool {
        matches!(self, Self::Out | Self::Yes)
    }

    /// Whether the inner header takes the outer DSCP.
    #[must_use]
    pub const fn into(self) -> bool {
        matches!(self, Self::In | Self::Yes)
    }
}

/// What a tunnel's ends do with fields that both headers have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderRules {
    /// The outer header takes the inner DF bit (RFC 4301 §8.1); otherwise the outer packet may be fragmented.
    pub copy_df: bool,
    /// RFC 6040's normal mode; otherwise its compatibility mode, and the outer field is not looked at.
    pub copy_ecn: bool,
    /// The DSCP.
    pub copy_dscp: CopyDscp,
}

impl Default for HeaderRules {
    /// strongSwan's defaults.
    fn default() -> Self {
        Self { copy_df: true, copy_ecn: true, copy_dscp: CopyDscp::Out }
    }
}

/// A policy without an SA (RFC 4301 §4.4.1): BYPASS or DISCARD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shunt {
    /// Goes in the clear, before any tunnel.
    Pass,
    /// Is dropped, unless a tunnel or trap is for it.
    Drop,
}

impl Shunt {
    /// The word of swanctl.conf.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Drop => "drop",
        }
    }
}
