//! From what the configuration says to what the protocol runs.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use adit_conf::swanctl as conf;
use adit_ike as ike;
use adit_ipsec::{Choice, EntryOptions, Identity, IfIds, Numbering};
use adit_pki::Certificate;

use crate::creds;

/// A connection for the protocol; an error is a sentence that names the connection.
pub(crate) fn connection(
    from: &conf::Connection,
    swanctl_dir: &Path,
    replay_window: u32,
) -> Result<ike::Connection, String> {
    let fail = |cause: String| format!("connection '{}': {cause}", from.name);
    let hosts = |list: &[String]| -> Result<Vec<ike::HostSpec>, String> {
        list.iter()
            .map(|h| host(h).ok_or_else(|| fail(format!("'{h}' is no address, range or host name"))))
            .collect()
    };
    let local = from.local.first().ok_or_else(|| fail("has no local authentication".into()))?;
    let remote = from.remote.first().ok_or_else(|| fail("has no remote authentication".into()))?;
    let certs = |list: &[String], folder: &str| -> Result<Vec<Certificate>, String> {
        let mut all = Vec::new();
        for reference in list {
            all.extend(creds::referenced(swanctl_dir, folder, reference).map_err(&fail)?);
        }
        Ok(all)
    };
    let negotiated = from.children.iter().filter(|c| c.shunt.is_none());
    Ok(ike::Connection {
        name: from.name.as_str().into(),
        local_addrs: hosts(&from.local_addrs)?,
        remote_addrs: hosts(&from.remote_addrs)?,
        local_port: from.local_port,
        remote_port: from.remote_port,
        proposals: from.proposals.clone(),
        vips: from.vips.clone(),
        pools: from.pools.clone(),
        encap: from.encap,
        mobike: from.mobike,
        dpd_delay: from.dpd_delay,
        fragmentation: from.fragmentation,
        childless: from.childless,
        send_certreq: from.send_certreq,
        send_cert: from.send_cert,
        keyingtries: from.keyingtries,
        unique: from.unique,
        rekey_time: from.rekey_time,
        reauth_time: from.reauth_time,
        over_time: from.over_time,
        rand_time: from.rand_time,
        if_ids: from.if_ids,
        local: ike::LocalAuth {
            id: local.id.clone(),
            method: method(&local.auth),
            eap_id: local.eap_id.clone(),
            certs: certs(&local.certs, "x509")?,
        },
        remote: ike::RemoteAuth {
            id: remote.id.clone().unwrap_or(Identity::Any),
            method: method(&remote.auth),
            eap_id: remote.eap_id.clone(),
            cacerts: certs(&remote.cacerts, "x509ca")?,
            certs: certs(&remote.certs, "x509")?,
        },
        children: negotiated.map(|c| Arc::new(child(c, from.if_ids, replay_window))).collect(),
        shunts: from.children.iter().filter_map(shunt).map(Arc::new).collect(),
    })
}

fn method(auth: &conf::AuthMethod) -> ike::AuthMethod {
    match auth {
        conf::AuthMethod::Psk => ike::AuthMethod::Psk,
        conf::AuthMethod::Pubkey(_) => ike::AuthMethod::Pubkey,
        conf::AuthMethod::Eap(_) => ike::AuthMethod::Eap,
    }
}

fn child(from: &conf::Child, of_conn: IfIds, replay_window: u32) -> ike::ChildConfig {
    let (options, numbering) = entries(from, of_conn);
    ike::ChildConfig {
        name: from.name.as_str().into(),
        esp_proposals: from.esp_proposals.clone(),
        local_ts: from.local_ts.clone(),
        remote_ts: from.remote_ts.clone(),
        mode: from.mode,
        headers: from.headers,
        tfc_padding: from.tfc_padding,
        rekey_time: from.rekey_time,
        life_time: from.life_time,
        rand_time: from.rand_time,
        rekey_bytes: from.rekey_bytes,
        life_bytes: from.life_bytes,
        rand_bytes: from.rand_bytes,
        rekey_packets: from.rekey_packets,
        life_packets: from.life_packets,
        rand_packets: from.rand_packets,
        start_action: from.start_action,
        dpd_action: from.dpd_action,
        close_action: from.close_action,
        replay_window: from.replay_window.unwrap_or(replay_window),
        inactivity: from.inactivity,
        reqid: from.reqid,
        options: Arc::new(options),
        numbering,
    }
}

/// How a child's entries are made: with the connection's XFRM interfaces where it names none itself.
fn entries(from: &conf::Child, of_conn: IfIds) -> (EntryOptions, Numbering) {
    let (mut options, mut numbering) = (from.options.clone(), from.numbering);
    let given = of_conn.given;
    for (id, choice, (theirs, their_choice)) in [
        (&mut options.if_id_in, &mut numbering.if_id_in, (given.inbound, of_conn.choice_in)),
        (&mut options.if_id_out, &mut numbering.if_id_out, (given.outbound, of_conn.choice_out)),
    ] {
        if *id == 0 && *choice == Choice::Given {
            *id = theirs;
            *choice = if their_choice == Choice::Given { Choice::Given } else { Choice::OfIkeSa };
        }
    }
    (options, numbering)
}

/// A child that never negotiates.
fn shunt(from: &conf::Child) -> Option<ike::ShuntConfig> {
    Some(ike::ShuntConfig {
        name: from.name.as_str().into(),
        kind: from.shunt?,
        local_ts: from.local_ts.clone(),
        remote_ts: from.remote_ts.clone(),
        installed: from.start_action.trap || from.start_action.start,
        options: Arc::new(from.options.clone()),
    })
}

/// `%any`, an address, a CIDR, a range or a DNS name.
pub(crate) fn host(text: &str) -> Option<ike::HostSpec> {
    let text = text.trim();
    if text.is_empty() || text == "%any" || text == "%any4" || text == "%any6" {
        return Some(ike::HostSpec::Any);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(if address.is_unspecified() {
            ike::HostSpec::Any
        } else {
            ike::HostSpec::Addr(address)
        });
    }
    if let Some((address, prefix)) = text.split_once('/') {
        let address: IpAddr = address.parse().ok()?;
        let prefix: u8 = prefix.parse().ok()?;
        return (prefix <= if address.is_ipv4() { 32 } else { 128 })
            .then_some(ike::HostSpec::Cidr(address, prefix));
    }
    if let Some((first, last)) = text.split_once('-')
        && let (Ok(first), Ok(last)) = (first.parse::<IpAddr>(), last.parse::<IpAddr>())
    {
        return (first.is_ipv4() == last.is_ipv4() && first <= last)
            .then_some(ike::HostSpec::Range(first, last));
    }
    let name = text.len() <= 253 && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    name.then(|| ike::HostSpec::Name(text.into()))
}

/// strongswan.conf's part of the protocol's settings.
pub(crate) fn settings(from: &adit_conf::StrongswanConf) -> ike::Settings {
    let redirect = &from.adit.redirect;
    let protected = |value: u32| if from.dos_protection { value } else { 0 };
    ike::Settings {
        retransmit_timeout: from.retransmit_timeout,
        retransmit_base: from.retransmit_base,
        retransmit_tries: from.retransmit_tries,
        retransmit_jitter: from.retransmit_jitter,
        retransmit_limit: from.retransmit_limit,
        retry_initiate_interval: from.retry_initiate_interval,
        half_open_timeout: from.half_open_timeout,
        pending_auth_timeout: from.adit.pending_auth_timeout,
        cookie_threshold: protected(from.cookie_threshold),
        cookie_threshold_ip: protected(from.cookie_threshold_ip),
        block_threshold: protected(from.block_threshold),
        init_rate: protected(from.adit.init_rate),
        init_rate_ip: protected(from.adit.init_rate_ip),
        init_rate_unproven: protected(from.adit.init_rate_unproven),
        half_open_limit: from.adit.half_open_limit,
        pending_auth_limit: from.adit.pending_auth_limit,
        auth_failures: from.adit.auth_failures,
        reqid_base: from.reqid_base,
        max_packet: from.max_packet,
        keep_alive: from.keep_alive,
        fragment_size: from.fragment_size,
        port: from.port,
        port_nat_t: from.port_nat_t,
        delete_rekeyed_delay: from.delete_rekeyed_delay,
        init_limit_half_open: from.init_limit_half_open,
        max_sas: from.ikesa_limit,
        make_before_break: from.make_before_break,
        prefer_configured_proposals: from.prefer_configured_proposals,
        rsa_pss: from.rsa_pss,
        follow_redirects: from.follow_redirects,
        redirect: redirect.gateway.clone().map(|gateway| ike::Redirect { gateway, stage: redirect.stage }),
        redirect_grace: redirect.grace,
        message_id_sync: from.adit.message_id_sync,
        initiator_only: from.initiator_only,
        close_ike_on_child_failure: from.close_ike_on_child_failure,
        inactivity_close_ike: from.inactivity_close_ike,
        resume: from.adit.resume,
        ticket_lifetime: from.adit.ticket_lifetime,
        export_keys: from.save_keys.exports_ike() || from.save_keys.exports_esp(),
        ..ike::Settings::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_in_every_form() {
        use ike::HostSpec::{Addr, Any, Cidr, Name, Range};
        let ip = |s: &str| s.parse::<IpAddr>().unwrap();
        for (text, expected) in [
            ("%any", Some(Any)),
            ("0.0.0.0", Some(Any)),
            ("192.0.2.1", Some(Addr(ip("192.0.2.1")))),
            ("192.0.2.0/24", Some(Cidr(ip("192.0.2.0"), 24))),
            ("192.0.2.0/33", None),
            ("192.0.2.1-192.0.2.9", Some(Range(ip("192.0.2.1"), ip("192.0.2.9")))),
            ("192.0.2.9-192.0.2.1", None),
            ("vpn-1.example.net", Some(Name("vpn-1.example.net".into()))),
            ("$(reboot)", None),
        ] {
            assert_eq!(host(text), expected, "{text}");
        }
    }
}
