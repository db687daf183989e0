//! Commands in, questions out, answers in.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use adit_ipsec::{ChildSa, GatewayId, Identity, PacketInfo, Usage};

use crate::config::Config;

/// A pair of addresses that datagrams travel between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
}

/// What a [`Transmit`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransmitKind {
    /// An IKE message. The driver puts the non-ESP marker in front when it leaves from the NAT traversal port.
    Ike,
    /// A NAT keepalive: one octet 0xff, never with a marker (RFC 3948 §2.3).
    Keepalive,
}

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// From where to where.
    pub path: Path,
    /// Its payload, without marker.
    pub bytes: Vec<u8>,
    /// What it is.
    pub kind: TransmitKind,
}

/// What the operator, the gateway or the data plane wants.
#[derive(Clone)]
pub enum Command {
    /// Use another configuration from now on. Existing SAs keep the connection they were made with.
    SetConfig(Arc<Config>),
    /// Bring up a child, or all children of a connection.
    Initiate {
        /// The connection; `None` = the first that has the child.
        conn: Option<Arc<str>>,
        /// The child; `None` = all of the connection's.
        child: Option<Arc<str>>,
        /// Echoed in [`Event::Outcome`](crate::Event::Outcome); 0 = no outcome wanted.
        tag: u64,
        /// The packet that met a trap (RFC 7296 §2.9).
        trigger: Option<PacketInfo>,
    },
    /// Bring up the IKE_SA of a connection without children (RFC 6023), unless it is up. It stays when its last child
    /// goes.
    InitiateIke {
        /// The connection.
        conn: Arc<str>,
        /// As in [`Self::Initiate`].
        tag: u64,
    },
    /// Delete an IKE_SA with its children.
    TerminateIke {
        /// Its unique id.
        id: u32,
        /// Do not wait for the peer's answer.
        force: bool,
        /// As in [`Self::Initiate`].
        tag: u64,
    },
    /// Delete a CHILD_SA.
    TerminateChild {
        /// Its unique id.
        id: u32,
        /// As in [`Self::Initiate`].
        tag: u64,
    },
    /// Send the client of an IKE_SA to another gateway (RFC 5685). The outcome says whether that can be done.
    Redirect {
        /// Its unique id.
        id: u32,
        /// The other gateway.
        gateway: GatewayId,
        /// As in [`Self::Initiate`].
        tag: u64,
    },
    /// This copy of an IKE_SA takes over from another one that may have gone on without it (RFC 6311): its counters are
    /// to be brought together with the peer's.
    TakeOver {
        /// Its unique id.
        id: u32,
        /// Synchronize Message IDs. The number says how many requests the other copy may have sent that this one does
        /// not know of; at least one, the window.
        message_ids: Option<u32>,
        /// Skip so many sequence numbers of every CHILD_SA, and ask the peer to do so, too; 0 = none.
        replay: u64,
        /// As in [`Self::Initiate`].
        tag: u64,
    },
    /// Rekey an IKE_SA now.
    RekeyIke {
        /// Its unique id.
        id: u32,
    },
    /// Reauthenticate an IKE_SA now; if only the peer can do that, ask it to (RFC 4478).
    ReauthIke {
        /// Its unique id.
        id: u32,
    },
    /// Rekey a CHILD_SA now.
    RekeyChild {
        /// Its unique id.
        id: u32,
    },
    /// The data plane reports that a CHILD_SA reached a volume limit.
    ChildExpired {
        /// Its unique id.
        id: u32,
        /// It must not be used any more; otherwise it wants rekeying.
        hard: bool,
    },
    /// The data plane saw authenticated packets of a CHILD_SA come from another address.
    PeerMoved {
        /// The child's unique id.
        id: u32,
        /// Where they come from.
        remote: SocketAddr,
    },
    /// Addresses or routes of this host changed; also given once at the start. IKE_SAs whose path is gone find another
    /// one.
    AddressesChanged {
        /// The addresses that datagrams can be sent from: no loopback, link-local or virtual ones. Best first.
        addresses: Vec<IpAddr>,
    },
    /// Delete every IKE_SA. [`Event::ShutdownComplete`](crate::Event::ShutdownComplete) follows within 300 ms.
    Shutdown,
}

/// Names a question, so that its answer finds back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionId(pub u64);

/// What the endpoint asks of its driver. Those marked *answered* need exactly one
/// [`Endpoint::complete`](crate::Endpoint::complete); for the others a completion is ignored.
#[derive(Debug)]
pub enum Action {
    /// *Answered* by [`Completion::Lease`]. Lease addresses and collect attributes for a peer.
    Lease {
        /// Pools, in order.
        pools: Vec<String>,
        /// Whose lease it is: the EAP identity if there is one, else IDi.
        identity: Identity,
        /// One entry per address wanted; unspecified = any of that family.
        wanted: Vec<IpAddr>,
    },
    /// Give leased addresses back.
    Release {
        /// The pools they were asked from.
        pools: Vec<String>,
        /// Whose they were.
        identity: Identity,
        /// The addresses.
        addresses: Vec<IpAddr>,
    },
    /// *Answered* by [`Completion::Done`]. Install a CHILD_SA.
    InstallChild(Box<ChildSa>),
    /// Let a CHILD_SA that receives also send.
    ActivateOutbound {
        /// Its unique id.
        id: u32,
    },
    /// The outer addresses of a CHILD_SA changed. Comes also for one whose installation failed or is still under way.
    UpdateChild {
        /// Its unique id.
        id: u32,
        /// The new ones.
        path: Path,
        /// Whether ESP goes in UDP.
        udp_encap: bool,
    },
    /// The packets that a CHILD_SA sends skip so many sequence numbers.
    SkipSequence {
        /// Its unique id.
        id: u32,
        /// How many; all that are left, if there are less.
        by: u64,
    },
    /// Remove a CHILD_SA. Comes also for one whose installation failed or is still under way.
    RemoveChild {
        /// Its unique id.
        id: u32,
    },
    /// *Answered* by [`Completion::Usage`].
    QueryUsage {
        /// The CHILD_SA's unique id.
        id: u32,
    },
    /// *Answered* by [`Completion::Done`]. Take virtual addresses and DNS servers into use.
    InstallVirtualIps {
        /// Unique id of the IKE_SA.
        ike: u32,
        /// Our outer address.
        local: IpAddr,
        /// Addresses for this host.
        addresses: Vec<IpAddr>,
        /// DNS servers.
        dns: Vec<IpAddr>,
    },
    /// Undo [`Self::InstallVirtualIps`].
    RemoveVirtualIps {
        /// Unique id of the IKE_SA that brought them (not of one that replaced it by a rekey).
        ike: u32,
        /// The addresses.
        addresses: Vec<IpAddr>,
        /// The DNS servers.
        dns: Vec<IpAddr>,
    },
    /// *Answered* by [`Completion::Resolved`].
    Resolve {
        /// A host name.
        name: String,
    },
    /// *Answered* by [`Completion::Source`]. Which address does this host send from towards `remote`?
    SourceAddress {
        /// The peer.
        remote: IpAddr,
        /// Candidates to choose from; empty = any address of this host.
        among: Vec<IpAddr>,
        /// The address in use: it is the answer as long as packets can be sent from it, even if another would be chosen
        /// today.
        current: Option<IpAddr>,
    },
}

/// What a driver answers to an [`Action`].
#[derive(Debug)]
pub enum Completion {
    /// To [`Action::Lease`]; the error is a sentence.
    Lease(Result<Leased, String>),
    /// To [`Action::InstallChild`] and [`Action::InstallVirtualIps`]; the error is a sentence.
    Done(Result<(), String>),
    /// To [`Action::QueryUsage`]; `None` if there is no such SA.
    Usage(Option<Usage>),
    /// To [`Action::Resolve`]; empty if the name has no address.
    Resolved(Vec<IpAddr>),
    /// To [`Action::SourceAddress`]; the error is a sentence.
    Source(Result<IpAddr, String>),
}

/// A lease.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leased {
    /// The addresses.
    pub addresses: Vec<IpAddr>,
    /// Configuration attributes (RFC 7296 §3.15.1) to hand out with them.
    pub attributes: Vec<(u16, Vec<u8>)>,
}
