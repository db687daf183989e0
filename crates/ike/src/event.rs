//! What the endpoint tells: log lines, ups and downs, outcomes of commands, failures with their reasons.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use adit_crypto::Secret;

use crate::reason::Reason;
use crate::view::Snapshot;

/// A log subsystem of strongSwan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names are strongSwan's")]
pub enum Group {
    Dmn,
    Mgr,
    Ike,
    Chd,
    Job,
    Cfg,
    Knl,
    Net,
    Asn,
    Enc,
    Tnc,
    Imc,
    Imv,
    Pts,
    Tls,
    App,
    Esp,
    Lib,
}

impl Group {
    /// Every group.
    pub const ALL: [Self; 18] = [
        Self::Dmn,
        Self::Mgr,
        Self::Ike,
        Self::Chd,
        Self::Job,
        Self::Cfg,
        Self::Knl,
        Self::Net,
        Self::Asn,
        Self::Enc,
        Self::Tnc,
        Self::Imc,
        Self::Imv,
        Self::Pts,
        Self::Tls,
        Self::App,
        Self::Esp,
        Self::Lib,
    ];

    /// Three capitals, as in log lines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dmn => "DMN",
            Self::Mgr => "MGR",
            Self::Ike => "IKE",
            Self::Chd => "CHD",
            Self::Job => "JOB",
            Self::Cfg => "CFG",
            Self::Knl => "KNL",
            Self::Net => "NET",
            Self::Asn => "ASN",
            Self::Enc => "ENC",
            Self::Tnc => "TNC",
            Self::Imc => "IMC",
            Self::Imv => "IMV",
            Self::Pts => "PTS",
            Self::Tls => "TLS",
            Self::App => "APP",
            Self::Esp => "ESP",
            Self::Lib => "LIB",
        }
    }

    /// The group that a configuration names, in either case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// An IKE_SA is up.
    IkeEstablished {
        /// Its unique id.
        id: u32,
    },
    /// An IKE_SA is gone, established or not.
    IkeClosed {
        /// Its unique id.
        id: u32,
        /// Its connection.
        name: Arc<str>,
        /// Whether it had been established.
        was_established: bool,
        /// Why, unless it was on command.
        reason: Option<Reason>,
        /// What it was like just before.
        snapshot: Box<Snapshot>,
    },
    /// A CHILD_SA is up.
    ChildUp {
        /// Unique id of its IKE_SA.
        ike: u32,
        /// Its own unique id.
        id: u32,
    },
    /// A CHILD_SA is gone (and was not rekeyed).
    ChildDown {
        /// Unique id of its IKE_SA.
        ike: u32,
        /// Its own unique id.
        id: u32,
        /// Its name.
        name: Arc<str>,
        /// What its IKE_SA was like, with this child as the only one.
        snapshot: Box<Snapshot>,
    },
    /// An IKE_SA took the place of another; its children moved.
    IkeRekeyed {
        /// Unique id of the old one.
        old: u32,
        /// Unique id of the new one.
        new: u32,
    },
    /// A CHILD_SA took the place of another.
    ChildRekeyed {
        /// Unique id of the IKE_SA.
        ike: u32,
        /// Unique id of the old one.
        old: u32,
        /// Unique id of the new one.
        new: u32,
    },
    /// The peer is reached by another path from now on.
    IkeUpdated {
        /// Unique id of the IKE_SA.
        id: u32,
        /// Our address and port before.
        local: SocketAddr,
        /// The peer's before.
        remote: SocketAddr,
    },
    /// A child ended, and packets for it are to bring it up again (`dpd_action = trap`, `close_action = trap`).
    TrapWanted {
        /// Its connection.
        conn: Arc<str>,
        /// The child.
        child: Arc<str>,
    },
    /// The answer to a command with a tag.
    Outcome {
        /// The command's tag.
        tag: u64,
        /// How it ended.
        result: Result<(), Reason>,
    },
    /// Something did not come to pass, and why; to be remembered for the operator.
    Failure {
        /// The connection, when known.
        conn: Option<Arc<str>>,
        /// The child, when it is about one.
        child: Option<Arc<str>>,
        /// The other end.
        peer: Option<SocketAddr>,
        /// Why.
        reason: Reason,
    },
    /// A log line.
    Log {
        /// Subsystem.
        group: Group,
        /// 0 audit, 1 control flow, 2 diagnosis, 3 raw.
        level: i8,
        /// Connection name and unique id of the IKE_SA it speaks of.
        sa: Option<(Arc<str>, u32)>,
        /// The text; bytes of peers in it are escaped.
        text: String,
    },
    /// Keys of an IKE_SA; only with [`Settings::export_keys`](crate::Settings::export_keys).
    IkeKeys(Box<IkeKeysExport>),
    /// Keys of a CHILD_SA; only with [`Settings::export_keys`](crate::Settings::export_keys).
    ChildKeys(Box<ChildKeysExport>),
    /// [`Command::Shutdown`](crate::Command::Shutdown) is carried out: nothing is left.
    ShutdownComplete,
}

/// What a protocol analyser needs to read the exchanges of an IKE_SA.
#[derive(Debug, Clone)]
pub struct IkeKeysExport {
    /// Initiator's SPI.
    pub spi_i: u64,
    /// Responder's SPI.
    pub spi_r: u64,
    /// Encryption transform ID.
    pub encr: u16,
    /// Its key length in bits; 0 when it has none.
    pub encr_key_bits: u16,
    /// Integrity transform ID; 0 with an AEAD.
    pub integ: u16,
    /// SK_ei, with salt.
    pub sk_ei: Secret,
    /// SK_er, with salt.
    pub sk_er: Secret,
    /// SK_ai, empty with an AEAD.
    pub sk_ai: Secret,
    /// SK_ar, empty with an AEAD.
    pub sk_ar: Secret,
}

/// What a protocol analyser needs to read the packets of a CHILD_SA, both directions.
#[derive(Debug, Clone)]
pub struct ChildKeysExport {
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
    /// SPI of packets we receive.
    pub spi_in: u32,
    /// SPI of packets we send.
    pub spi_out: u32,
    /// Encryption transform ID.
    pub encr: u16,
    /// Its key length in bits; 0 when it has none.
    pub encr_key_bits: u16,
    /// Integrity transform ID; 0 with an AEAD.
    pub integ: u16,
    /// Inbound encryption key, with salt.
    pub encr_in: Secret,
    /// Inbound integrity key.
    pub integ_in: Secret,
    /// Outbound encryption key, with salt.
    pub encr_out: Secret,
    /// Outbound integrity key.
    pub integ_out: Secret,
}
