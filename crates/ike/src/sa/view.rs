//! How an IKE_SA looks from outside.

use std::borrow::Cow;
use std::sync::Arc;

use crate::sa::{Active, Child, IkeSa, Passive, Phase, Step, Task};
use crate::view::{ChildSaView, IkeSaView, IkeState};

impl IkeSa {
    fn state(&self) -> IkeState {
        match &self.phase {
            Phase::Preparing(_) => IkeState::Created,
            Phase::Init(_) | Phase::AuthI(_) | Phase::AuthR(_) => IkeState::Connecting,
            Phase::Established if matches!(self.active, Active::RekeyIke(_)) => IkeState::Rekeying,
            Phase::Established => IkeState::Established,
            Phase::Rekeyed => IkeState::Rekeyed,
            Phase::Deleting | Phase::Closed => IkeState::Deleting,
        }
    }

    pub(crate) fn view(&self) -> IkeSaView<'_> {
        let suite = self.keys.as_ref().map(|keys| keys.suite);
        let known = !self.path.remote.ip().is_unspecified();
        let id = |id: &'_ adit_ipsec::Identity| !id.is_any();
        IkeSaView {
            id: self.id,
            name: Arc::clone(&self.conn.name),
            state: self.state(),
            local: (!self.path.local.ip().is_unspecified()).then_some(self.path.local),
            remote: known.then_some(self.path.remote),
            local_id: id(&self.local_id).then_some(Cow::Borrowed(&self.local_id)),
            remote_id: id(&self.remote_id).then_some(Cow::Borrowed(&self.remote_id)),
            remote_eap_id: self.remote_eap_id.as_ref().map(Cow::Borrowed),
            initiator: self.initiator,
            spi_i: self.spi_i,
            spi_r: self.spi_r,
            nat_local: self.nat.local,
            nat_remote: self.nat.remote,
            nat_fake: self.nat.fake,
            if_ids: self.if_ids(),
            encr: suite.map(|suite| suite.encr),
            integ: suite.and_then(|suite| suite.integ),
            prf: suite.map(|suite| suite.prf),
            ke: suite.map(|suite| suite.ke),
            established_at: self.established_at,
            rekey_at: self.rekey_at,
            reauth_at: self.reauth_at,
            local_vips: Cow::Borrowed(&self.local_vips),
            local_dns: Cow::Borrowed(&self.local_dns),
            remote_vips: Cow::Borrowed(&self.remote_vips),
            tasks_queued: self.queue.iter().map(task_name).collect(),
            tasks_active: self.active_names(),
            tasks_passive: self.passive.iter().map(|passive| passive_name(passive)).collect(),
            children: self.children.iter().map(child_view(self.nat.any())).collect(),
        }
    }

    fn active_names(&self) -> Vec<&'static str> {
        match &self.active {
            Active::None if self.sync.is_pending() => vec!["IKE_MID_SYNC"],
            Active::None => Vec::new(),
            Active::Handshake => match self.phase {
                Phase::Init(_) => vec!["IKE_INIT", "IKE_NATD"],
                _ => vec!["IKE_CERT_PRE", "IKE_AUTH", "IKE_CERT_POST", "IKE_CONFIG", "CHILD_CREATE"],
            },
            Active::Child(offer) if offer.rekeys.is_some() => vec!["CHILD_REKEY"],
            Active::Child(_) => vec!["CHILD_CREATE"],
            Active::RekeyIke(_) => vec!["IKE_REKEY"],
            Active::DeleteChild { .. } => vec!["CHILD_DELETE"],
            Active::DeleteIke => vec!["IKE_DELETE"],
            Active::Redirect => vec!["IKE_REDIRECT"],
            Active::SyncReplay => vec!["IKE_MID_SYNC"],
            Active::Dpd => vec!["IKE_DPD"],
            Active::Mobike(_) => vec!["IKE_MOBIKE"],
        }
    }
}

fn task_name(task: &Task) -> &'static str {
    match task {
        Task::Child(_) => "CHILD_CREATE",
        Task::RekeyChild { .. } => "CHILD_REKEY",
        Task::RekeyIke { .. } => "IKE_REKEY",
        Task::DeleteChild { .. } | Task::DeleteSpi { .. } => "CHILD_DELETE",
        Task::DeleteIke => "IKE_DELETE",
        Task::Redirect { .. } => "IKE_REDIRECT",
        Task::SyncReplay { .. } => "IKE_MID_SYNC",
        Task::Dpd | Task::TellToken | Task::AskTicket => "IKE_DPD",
        Task::AuthLifetime => "IKE_AUTH_LIFETIME",
        Task::Mobike => "IKE_MOBIKE",
    }
}

fn passive_name(passive: &Passive) -> &'static str {
    match passive.step {
        Step::AuthLease => "IKE_CONFIG",
        Step::AuthInstall { .. } | Step::CreateInstall { .. } => "CHILD_CREATE",
    }
}

fn child_view(udp_encap: bool) -> impl Fn(&Child) -> ChildSaView<'_> {
    move |child| ChildSaView {
        id: child.id,
        name: Arc::clone(&child.config.name),
        reqid: child.reqid,
        state: child.state,
        mode: child.mode,
        options: Arc::clone(&child.options),
        udp_encap,
        spi_in: child.spi_in,
        spi_out: child.spi_out,
        encr: Some(child.suite.encr),
        integ: child.suite.integ,
        ke: child.suite.ke,
        esn: child.suite.esn,
        installed_at: child.installed_at,
        rekey_at: child.rekey_at,
        expire_at: child.expire_at,
        local_ts: Cow::Borrowed(&child.local_ts),
        remote_ts: Cow::Borrowed(&child.remote_ts),
    }
}
