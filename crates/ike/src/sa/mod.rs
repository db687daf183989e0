//! One IKE_SA: its durable state, and what may happen in which phase.
//!
//! The struct is plain: keys, message IDs, children, leases, deadlines, and at most one exchange in flight in each
//! direction. What belongs to the handshake alone lives in the [`Phase`] and goes with it.

pub(crate) mod auth_i;
mod auth_method;
mod auth_r;
mod certs;
mod child;
pub(crate) mod child_create;
mod child_install;
mod childless;
mod close;
mod collision;
mod config_payload;
mod create_respond;
mod established;
mod fragments;
mod ike_rekey;
mod informational;
mod init_i;
pub(crate) mod init_r;
mod message;
mod mobike;
mod nat;
mod numbers;
mod prepare;
mod proposals;
pub(crate) mod quick_crash;
mod reauth;
mod receive;
pub(crate) mod redirect;
pub(crate) mod resume;
mod revive;
mod roam;
mod seal;
mod sync;
mod timers;
mod transport;
mod view;
mod window;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use adit_crypto::{Cipher, Prf, Secret};
use adit_ipsec::{GatewayId, Identity, PacketInfo, Pair, Transform};

use crate::action::Path;
use crate::config::{ChildConfig, Connection};
use crate::core::InitKey;
use crate::guard::Waiting;
use crate::reason::Reason;
use crate::time::Instant;

pub(crate) use auth_i::AuthI;
pub(crate) use auth_r::AuthR;
pub(crate) use child::Child;
pub(crate) use child_create::ChildOffer;
pub(crate) use collision::Contest;
pub(crate) use fragments::Reassembly;
pub(crate) use ike_rekey::IkeOffer;
pub(crate) use init_i::Init;
pub(crate) use init_r::InitRequest;
pub(crate) use message::Message;
pub(crate) use mobike::Mobike;
pub(crate) use sync::Sync;
pub(crate) use window::Window;

/// Where an IKE_SA stands. What only makes sense in one phase is inside it.
pub(crate) enum Phase {
    /// Initiator: addresses are being found.
    Preparing(Box<prepare::Preparing>),
    /// Initiator: IKE_SA_INIT is out.
    Init(Box<Init>),
    /// Initiator: in IKE_AUTH.
    AuthI(Box<AuthI>),
    /// Responder: IKE_SA_INIT is answered, IKE_AUTH is awaited or under way.
    AuthR(Box<AuthR>),
    /// In use.
    Established,
    /// Replaced by a rekeying; only its delete is awaited.
    Rekeyed,
    /// Our delete is out.
    Deleting,
    /// Gone.
    Closed,
}

/// The algorithms of an IKE_SA.
#[derive(Clone, Copy)]
pub(crate) struct Suite {
    pub encr: Transform,
    pub integ: Option<Transform>,
    pub prf: Transform,
    pub ke: Transform,
}

/// The keys of an IKE_SA that outlive its handshake.
pub(crate) struct Keys {
    pub suite: Suite,
    pub prf: Prf,
    pub sk_d: Secret,
    pub seal: Cipher,
    pub open: Cipher,
    /// Number of messages sealed: the IV of the next one with an AEAD.
    pub sealed: u64,
}

/// Where NATs are.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "digest", derive(Hash))]
pub(crate) struct Nat {
    pub local: bool,
    pub remote: bool,
    pub fake: bool,
    /// The peer knows NAT traversal at all.
    pub served: bool,
}

impl Nat {
    pub(crate) fn any(self) -> bool {
        self.local || self.remote || self.fake
    }
}

/// A child that somebody wants.
#[derive(Clone)]
pub(crate) struct Wish {
    pub config: Arc<ChildConfig>,
    pub tags: Vec<u64>,
    pub trigger: Option<PacketInfo>,
    /// TEMPORARY_FAILUREs and key exchange retries so far.
    pub attempts: u8,
    /// Key exchange group that the peer asked for.
    pub group: Option<u16>,
}

impl Wish {
    /// Nobody waits for it.
    pub(crate) fn new(config: Arc<ChildConfig>) -> Self {
        Self { config, tags: Vec::new(), trigger: None, attempts: 0, group: None }
    }
}

/// Something to do once the window is free.
pub(crate) enum Task {
    Child(Wish),
    RekeyChild {
        id: u32,
        group: Option<u16>,
    },
    RekeyIke {
        group: Option<u16>,
    },
    DeleteChild {
        id: u32,
    },
    /// A child that the peer has and we do not, by our SPI.
    DeleteSpi {
        spi: u32,
    },
    DeleteIke,
    Redirect {
        gateway: GatewayId,
    },
    /// The peer's replay counters are to skip numbers.
    SyncReplay {
        payload: adit_wire::Payload,
    },
    Dpd,
    /// Ask the original initiator to reauthenticate.
    AuthLifetime,
    /// A ticket for this IKE_SA, from the gateway (RFC 5723).
    AskTicket,
    /// Our quick crash detection token, for a peer that has none of this IKE_SA yet.
    TellToken,
    /// What the MOBIKE state says is to be sent.
    Mobike,
}

/// The exchange of ours that is in flight.
pub(crate) enum Active {
    None,
    /// IKE_SA_INIT or IKE_AUTH; its state is in the phase.
    Handshake,
    Child(Box<ChildOffer>),
    RekeyIke(Box<IkeOffer>),
    DeleteChild {
        ids: Vec<u32>,
    },
    DeleteIke,
    Redirect,
    SyncReplay,
    Dpd,
    Mobike(Box<mobike::Sent>),
}

/// A request of the peer that waits for the outside before it can be answered.
pub(crate) struct Passive {
    pub mid: u32,
    /// The answer as far as it goes.
    pub payloads: Vec<adit_wire::Payload>,
    pub step: Step,
}

/// What a suspended answer waits for.
pub(crate) enum Step {
    /// IKE_AUTH: addresses for the peer.
    AuthLease,
    /// IKE_AUTH: installation of the first child.
    AuthInstall { child: u32 },
    /// CREATE_CHILD_SA: installation of a new or rekeyed child.
    CreateInstall { child: u32 },
}

/// Addresses leased to the peer.
#[derive(Clone)]
pub(crate) struct Lease {
    pub pools: Vec<String>,
    pub identity: Identity,
}

pub(crate) struct IkeSa {
    pub id: u32,
    pub conn: Arc<Connection>,
    pub initiator: bool,
    pub spi_i: u64,
    pub spi_r: u64,
    pub phase: Phase,
    pub path: Path,
    /// Where the request came from that is being answered, if that is not the path (RFC 7296 §2.11).
    pub came_from: Option<Box<Path>>,
    /// Once both ends have said that they support it.
    pub mobike: Option<Box<Mobike>>,
    pub keys: Option<Box<Keys>>,
    pub local_id: Identity,
    pub remote_id: Identity,
    pub remote_eap_id: Option<Identity>,
    pub nat: Nat,
    /// The peer announced RFC 7383.
    pub peer_fragments: bool,
    /// As initiator: the responder announced RFC 6023.
    pub peer_childless: bool,
    /// RFC 5685: who follows whom, and where we were sent.
    pub follows: redirect::Follows,
    pub detour: Option<Box<redirect::Detour>>,
    /// When it is deleted because its client was sent elsewhere.
    pub redirect_until: Option<Instant>,
    pub sync: Sync,
    /// It was asked for without children: it stays when it has none.
    pub stands_alone: bool,
    pub window: Window,
    pub active: Active,
    pub passive: Option<Box<Passive>>,
    pub queue: VecDeque<Task>,
    pub children: Vec<Child>,
    /// Interface ids that are its own; 0 where they are not, or not yet.
    pub drawn_if_ids: Pair,
    /// Virtual addresses we were given, their DNS servers, and the IKE_SA that installed them.
    pub local_vips: Vec<IpAddr>,
    pub local_dns: Vec<IpAddr>,
    pub vips_of: u32,
    /// Their installation is under way: children are not in full use before.
    pub vips_pending: bool,
    /// Virtual addresses to ask for rather than those of the connection: what we had before a reauthentication.
    pub wanted_vips: Vec<IpAddr>,
    /// Virtual addresses we gave.
    pub remote_vips: Vec<IpAddr>,
    pub lease: Option<Box<Lease>>,
    pub reassembly: Option<Box<Reassembly>>,
    /// What proves that the peer lost this IKE_SA (RFC 6290).
    pub peer_token: Option<Secret>,
    /// The ticket that we gave for this IKE_SA: when it expires, and its digest (RFC 5723).
    pub ticket_given: Option<Box<(i64, [u8; 20])>>,
    pub established_at: Option<Instant>,
    pub half_open_until: Option<Instant>,
    pub rekey_at: Option<Instant>,
    pub reauth_at: Option<Instant>,
    pub expire_at: Option<Instant>,
    pub dpd_at: Option<Instant>,
    pub keepalive_at: Option<Instant>,
    /// When an SA that is replaced or being deleted goes in any case.
    pub linger_until: Option<Instant>,
    /// When waiting tasks are looked at again.
    pub retry_at: Option<Instant>,
    pub last_in: Instant,
    pub last_out: Instant,
    /// Usage answers that a liveness check waits for, and the shortest idle time among them.
    pub usage_waiting: u32,
    pub usage_idle: Option<Duration>,
    /// Attempts of the whole initiation, see `keyingtries`.
    pub tries: u32,
    pub terminate_tags: Vec<u64>,
    /// Of commands that wait for it to be established.
    pub up_tags: Vec<u64>,
    /// Index key in `Core::init_requests`.
    pub init_key: Option<InitKey>,
    /// Index key in `Core::by_peer`.
    pub peer_key: Option<u64>,
    /// Its place among those whose peer has not proved itself.
    pub waiting: Option<Waiting>,
    /// We initiated the handshake, whoever rekeyed since.
    pub first_initiator: bool,
    /// The IKE_SA that this one replaces by reauthentication.
    pub reauth_of: Option<u32>,
    /// Attempts to replace this one by reauthentication that failed.
    pub reauth_failures: u32,
    /// When the authentication is too old, whatever has been rekeyed since.
    pub auth_until: Option<Instant>,
    /// Attempts to rekey this one that failed.
    pub rekey_failures: u32,
    /// The IKE_SA that a rekeying made of this one.
    pub successor: Option<u32>,
    /// A message of the peer under these keys was authentic: it has them, too.
    pub heard: bool,
    /// When this one gives way to another of the same peer.
    pub yield_at: Option<Instant>,
    /// The IKE_SA from which this one inherits if it survives a rekey collision.
    pub heir_of: Option<u32>,
    /// Everything has been given back.
    pub ended: bool,
    /// The entry in `Core::deadlines`.
    pub scheduled: Option<Instant>,
}

impl IkeSa {
    pub(crate) fn new(id: u32, conn: Arc<Connection>, initiator: bool, path: Path, now: Instant) -> Self {
        Self {
            id,
            conn,
            initiator,
            spi_i: 0,
            spi_r: 0,
            phase: Phase::Closed,
            path,
            came_from: None,
            mobike: None,
            keys: None,
            local_id: Identity::Any,
            remote_id: Identity::Any,
            remote_eap_id: None,
            nat: Nat::default(),
            peer_fragments: false,
            peer_childless: false,
            follows: redirect::Follows::Nobody,
            detour: None,
            redirect_until: None,
            sync: Sync::default(),
            stands_alone: false,
            window: Window::default(),
            active: Active::None,
            passive: None,
            queue: VecDeque::new(),
            children: Vec::new(),
            drawn_if_ids: Pair::default(),
            local_vips: Vec::new(),
            local_dns: Vec::new(),
            vips_of: id,
            vips_pending: false,
            wanted_vips: Vec::new(),
            remote_vips: Vec::new(),
            lease: None,
            reassembly: None,
            peer_token: None,
            ticket_given: None,
            established_at: None,
            half_open_until: None,
            rekey_at: None,
            reauth_at: None,
            expire_at: None,
            dpd_at: None,
            keepalive_at: None,
            linger_until: None,
            retry_at: None,
            last_in: now,
            last_out: now,
            usage_waiting: 0,
            usage_idle: None,
            tries: 0,
            terminate_tags: Vec::new(),
            up_tags: Vec::new(),
            init_key: None,
            peer_key: None,
            waiting: None,
            first_initiator: initiator,
            reauth_of: None,
            reauth_failures: 0,
            auth_until: None,
            rekey_failures: 0,
            successor: None,
            heard: false,
            yield_at: None,
            heir_of: None,
            ended: false,
            scheduled: None,
        }
    }

    /// The SPI we chose.
    pub(crate) fn own_spi(&self) -> u64 {
        if self.initiator { self.spi_i } else { self.spi_r }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.ended
    }

    /// Authenticated, and not on its way out.
    pub(crate) fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Established)
    }

    /// In the handshake, as initiator.
    pub(crate) fn is_connecting(&self) -> bool {
        self.initiator && matches!(self.phase, Phase::Preparing(_) | Phase::Init(_) | Phase::AuthI(_))
    }

    pub(crate) fn log_name(&self) -> (Arc<str>, u32) {
        (Arc::clone(&self.conn.name), self.id)
    }

    /// `home[3]`.
    pub(crate) fn label(&self) -> String {
        format!("{}[{}]", self.conn.name, self.id)
    }

    /// `192.0.2.1[a.example]...192.0.2.2[b.example]`.
    pub(crate) fn between(&self) -> String {
        format!("{}[{}]...{}[{}]", self.path.local.ip(), self.local_id, self.path.remote.ip(), self.remote_id)
    }

    /// Who the peer is for leases and uniqueness: what it proved, not what it said.
    pub(crate) fn peer_identity(&self) -> &Identity {
        self.remote_eap_id.as_ref().unwrap_or(&self.remote_id)
    }

    pub(crate) fn peer_addr(&self) -> Option<SocketAddr> {
        (!self.path.remote.ip().is_unspecified()).then_some(self.path.remote)
    }
}

/// A failure inside a handler: the reason, and whether the whole IKE_SA is lost with it.
pub(crate) type Fatal<T> = Result<T, Reason>;
