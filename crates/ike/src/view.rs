//! What can be seen of an SA from outside: the fields that `list-sas` and the up/down events show.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use adit_ipsec::{EntryOptions, Identity, Mode, Pair, Selector, Transform};

use crate::time::Instant;

/// State of an IKE_SA, in strongSwan's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IkeState {
    /// Waiting for addresses.
    Created,
    /// Before the end of IKE_AUTH.
    Connecting,
    /// In use.
    Established,
    /// A rekeying is under way.
    Rekeying,
    /// Replaced, waiting for its delete.
    Rekeyed,
    /// Delete sent.
    Deleting,
}

impl IkeState {
    /// The name in VICI.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::Connecting => "CONNECTING",
            Self::Established => "ESTABLISHED",
            Self::Rekeying => "REKEYING",
            Self::Rekeyed => "REKEYED",
            Self::Deleting => "DELETING",
        }
    }
}

/// State of a CHILD_SA, in strongSwan's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildState {
    /// The data plane is asked.
    Installing,
    /// In use.
    Installed,
    /// A rekeying is under way.
    Rekeying,
    /// Replaced, waiting for its delete.
    Rekeyed,
    /// Delete sent.
    Deleting,
    /// Deleted; the inbound half is kept for stragglers.
    Deleted,
}

impl ChildState {
    /// The name in VICI.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Installing => "INSTALLING",
            Self::Installed => "INSTALLED",
            Self::Rekeying => "REKEYING",
            Self::Rekeyed => "REKEYED",
            Self::Deleting => "DELETING",
            Self::Deleted => "DELETED",
        }
    }
}

/// A view that does not borrow.
pub type Snapshot = IkeSaView<'static>;

/// An IKE_SA with its children.
#[derive(Debug, Clone)]
pub struct IkeSaView<'a> {
    /// Unique id.
    pub id: u32,
    /// Connection name.
    pub name: Arc<str>,
    /// State.
    pub state: IkeState,
    /// Our address and port; `None` before it is known.
    pub local: Option<SocketAddr>,
    /// The peer's address and port; `None` before it is known.
    pub remote: Option<SocketAddr>,
    /// Our identity, once known.
    pub local_id: Option<Cow<'a, Identity>>,
    /// The peer's identity, once known.
    pub remote_id: Option<Cow<'a, Identity>>,
    /// The peer's EAP identity, when authenticated and not the same.
    pub remote_eap_id: Option<Cow<'a, Identity>>,
    /// Whether we were the (original) initiator.
    pub initiator: bool,
    /// Initiator's SPI.
    pub spi_i: u64,
    /// Responder's SPI.
    pub spi_r: u64,
    /// We are behind NAT.
    pub nat_local: bool,
    /// The peer is.
    pub nat_remote: bool,
    /// A NAT is pretended.
    pub nat_fake: bool,
    /// XFRM interfaces of its children; 0 = none.
    pub if_ids: Pair,
    /// Encryption of the IKE_SA.
    pub encr: Option<Transform>,
    /// Its integrity, if not an AEAD.
    pub integ: Option<Transform>,
    /// Its PRF.
    pub prf: Option<Transform>,
    /// Its key exchange.
    pub ke: Option<Transform>,
    /// When it was established.
    pub established_at: Option<Instant>,
    /// When it will be rekeyed.
    pub rekey_at: Option<Instant>,
    /// When it will be reauthenticated.
    pub reauth_at: Option<Instant>,
    /// Virtual addresses we were given.
    pub local_vips: Cow<'a, [IpAddr]>,
    /// DNS servers that came with them.
    pub local_dns: Cow<'a, [IpAddr]>,
    /// Virtual addresses we gave.
    pub remote_vips: Cow<'a, [IpAddr]>,
    /// strongSwan's names of tasks that wait.
    pub tasks_queued: Vec<&'static str>,
    /// strongSwan's names of tasks whose request is out.
    pub tasks_active: Vec<&'static str>,
    /// strongSwan's names of tasks that work on a peer's request.
    pub tasks_passive: Vec<&'static str>,
    /// The children.
    pub children: Vec<ChildSaView<'a>>,
}

impl IkeSaView<'_> {
    /// Whether NAT is in the way, or pretended.
    #[must_use]
    pub fn nat_any(&self) -> bool {
        self.nat_local || self.nat_remote || self.nat_fake
    }

    /// A copy that does not borrow.
    #[must_use]
    pub fn into_owned(self) -> Snapshot {
        IkeSaView {
            id: self.id,
            name: self.name,
            state: self.state,
            local: self.local,
            remote: self.remote,
            local_id: self.local_id.map(|id| Cow::Owned(id.into_owned())),
            remote_id: self.remote_id.map(|id| Cow::Owned(id.into_owned())),
            remote_eap_id: self.remote_eap_id.map(|id| Cow::Owned(id.into_owned())),
            initiator: self.initiator,
            spi_i: self.spi_i,
            spi_r: self.spi_r,
            nat_local: self.nat_local,
            nat_remote: self.nat_remote,
            nat_fake: self.nat_fake,
            if_ids: self.if_ids,
            encr: self.encr,
            integ: self.integ,
            prf: self.prf,
            ke: self.ke,
            established_at: self.established_at,
            rekey_at: self.rekey_at,
            reauth_at: self.reauth_at,
            local_vips: Cow::Owned(self.local_vips.into_owned()),
            local_dns: Cow::Owned(self.local_dns.into_owned()),
            remote_vips: Cow::Owned(self.remote_vips.into_owned()),
            tasks_queued: self.tasks_queued,
            tasks_active: self.tasks_active,
            tasks_passive: self.tasks_passive,
            children: self.children.into_iter().map(ChildSaView::into_owned).collect(),
        }
    }
}

/// A CHILD_SA.
#[derive(Debug, Clone)]
pub struct ChildSaView<'a> {
    /// Unique id.
    pub id: u32,
    /// Name in the configuration.
    pub name: Arc<str>,
    /// Shared by an SA and those that replace it.
    pub reqid: u32,
    /// State.
    pub state: ChildState,
    /// Tunnel or transport.
    pub mode: Mode,
    /// How its entries in SPD and SAD are made.
    pub options: Arc<EntryOptions>,
    /// ESP goes in UDP.
    pub udp_encap: bool,
    /// SPI of packets we receive.
    pub spi_in: u32,
    /// SPI of packets we send.
    pub spi_out: u32,
    /// Encryption.
    pub encr: Option<Transform>,
    /// Integrity, if not an AEAD.
    pub integ: Option<Transform>,
    /// Key exchange of its own (PFS).
    pub ke: Option<Transform>,
    /// Extended sequence numbers.
    pub esn: bool,
    /// When it was installed.
    pub installed_at: Option<Instant>,
    /// When it will be rekeyed.
    pub rekey_at: Option<Instant>,
    /// When it will be closed.
    pub expire_at: Option<Instant>,
    /// Our side's selectors.
    pub local_ts: Cow<'a, [Selector]>,
    /// The peer's selectors.
    pub remote_ts: Cow<'a, [Selector]>,
}

impl ChildSaView<'_> {
    fn into_owned(self) -> ChildSaView<'static> {
        ChildSaView {
            local_ts: Cow::Owned(self.local_ts.into_owned()),
            remote_ts: Cow::Owned(self.remote_ts.into_owned()),
            id: self.id,
            name: self.name,
            reqid: self.reqid,
            state: self.state,
            mode: self.mode,
            options: self.options,
            udp_encap: self.udp_encap,
            spi_in: self.spi_in,
            spi_out: self.spi_out,
            encr: self.encr,
            integ: self.integ,
            ke: self.ke,
            esn: self.esn,
            installed_at: self.installed_at,
            rekey_at: self.rekey_at,
            expire_at: self.expire_at,
        }
    }
}
