//! From the protocol's views of an SA to the snapshots that control clients get.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use adit_dataplane::Dataplane;
use adit_ike::{ChildSaView, IkeSaView, IkeState, Instant};
use adit_ipsec::{Mode, PerCpu, Transform, TransformType, names};

use crate::control::{Algorithm, ChildSaSnapshot, IkeSaSnapshot};

/// What stands for an address that is not known yet.
const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// An IKE_SA with its children, their counters read from the data plane.
pub(crate) fn ike_sa(view: &IkeSaView<'_>, now: Instant, dataplane: &dyn Dataplane) -> IkeSaSnapshot {
    let until = |at: Option<Instant>| at.map(|at| at.since(now).as_secs());
    let established = view.state == IkeState::Established;
    let shown = |value: Option<u64>| value.filter(|_| established);
    let identity = |id: &Option<std::borrow::Cow<'_, adit_ipsec::Identity>>| {
        id.as_deref().map_or_else(|| "%any".to_owned(), ToString::to_string)
    };
    IkeSaSnapshot {
        name: view.name.clone(),
        id: view.id,
        state: view.state.name(),
        local: view.local.unwrap_or(UNKNOWN),
        local_id: identity(&view.local_id),
        remote: view.remote.unwrap_or(UNKNOWN),
        remote_id: identity(&view.remote_id),
        remote_eap_id: view.remote_eap_id.as_deref().map(ToString::to_string),
        initiator: view.initiator,
        initiator_spi: view.spi_i,
        responder_spi: view.spi_r,
        nat_local: view.nat_local,
        nat_remote: view.nat_remote,
        nat_fake: view.nat_fake,
        if_ids: view.if_ids,
        encryption: view.encr.map(algorithm),
        integrity: view.integ.filter(|t| t.id != 0).map(algorithm),
        prf: view.prf.map(|t| algorithm(t).name),
        ke: view.ke.filter(|t| t.id != 0).map(|t| algorithm(t).name),
        established: shown(view.established_at.map(|at| now.since(at).as_secs())),
        rekey_in: shown(until(view.rekey_at)),
        reauth_in: shown(until(view.reauth_at)),
        local_vips: view.local_vips.to_vec(),
        remote_vips: view.remote_vips.to_vec(),
        tasks_queued: view.tasks_queued.clone(),
        tasks_active: view.tasks_active.clone(),
        tasks_passive: view.tasks_passive.clone(),
        children: view.children.iter().map(|c| child_sa(c, now, dataplane)).collect(),
    }
}

/// A CHILD_SA.
pub(crate) fn child_sa(view: &ChildSaView<'_>, now: Instant, dataplane: &dyn Dataplane) -> ChildSaSnapshot {
    let usage = dataplane.usage(view.id).unwrap_or_default();
    let until = |at: Option<Instant>| at.map(|at| at.since(now).as_secs());
    ChildSaSnapshot {
        name: view.name.clone(),
        id: view.id,
        reqid: view.reqid,
        state: view.state.name(),
        mode: match view.mode {
            Mode::Tunnel => "TUNNEL",
            Mode::Transport => "TRANSPORT",
        },
        encap: view.udp_encap,
        spi_in: view.spi_in,
        spi_out: view.spi_out,
        mark_in: view.options.mark_in,
        mark_out: view.options.mark_out,
        if_ids: view.options.numbers().1,
        per_cpu: view.options.per_cpu != PerCpu::No,
        encryption: view.encr.map(algorithm),
        integrity: view.integ.filter(|t| t.id != 0).map(algorithm),
        ke: view.ke.filter(|t| t.id != 0).map(|t| algorithm(t).name),
        esn: view.esn,
        bytes_in: usage.bytes_in,
        packets_in: usage.packets_in,
        use_in: usage.idle_in.map(|d| d.as_secs()),
        bytes_out: usage.bytes_out,
        packets_out: usage.packets_out,
        use_out: usage.idle_out.map(|d| d.as_secs()),
        rekey_in: until(view.rekey_at),
        life_in: until(view.expire_at),
        installed: view.installed_at.map_or(0, |at| now.since(at).as_secs()),
        local_ts: view.local_ts.iter().map(ToString::to_string).collect(),
        remote_ts: view.remote_ts.iter().map(ToString::to_string).collect(),
    }
}

fn algorithm(transform: Transform) -> Algorithm {
    let name = match transform.kind {
        TransformType::Encryption => names::encryption_name(transform.id),
        TransformType::Prf => names::prf_name(transform.id),
        TransformType::Integrity => names::integrity_name(transform.id),
        TransformType::KeyExchange => names::ke_name(transform.id),
        TransformType::Esn => "ESN",
    };
    Algorithm { name: name.to_owned(), bits: transform.key_bits }
}
