//! strongswan.conf while running: what takes effect at once, and what was decided when the daemon started.

use adit_conf::StrongswanConf;

/// What a changed strongswan.conf means, by the names of its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SettingsPlan {
    /// In effect from now on.
    pub now: Vec<&'static str>,
    /// In effect after a restart only: sockets, devices, routes and files that are opened once.
    pub restart: Vec<&'static str>,
}

/// The keys that need a restart, each with its place.
macro_rules! at_start {
    ($($key:literal = $($field:ident).+;)*) => {
        fn at_start(running: &StrongswanConf, wanted: &StrongswanConf) -> Vec<&'static str> {
            let mut keys = Vec::new();
            $(if running.$($field).+ != wanted.$($field).+ {
                keys.push($key);
            })*
            keys
        }

        /// What the daemon runs with when it is given `wanted`: all of it, but for what was decided at its start.
        pub(crate) fn effective(running: &StrongswanConf, wanted: &StrongswanConf) -> StrongswanConf {
            let mut conf = wanted.clone();
            $(conf.$($field).+ = running.$($field).+.clone();)*
            conf
        }
    };
}

at_start! {
    "charon.port" = port;
    "charon.port_nat_t" = port_nat_t;
    "charon.reqid_base" = reqid_base;
    "charon.install_routes" = install_routes;
    "charon.routing_table" = routing_table;
    "charon.routing_table_prio" = routing_table_prio;
    "charon.install_virtual_ip" = install_virtual_ip;
    "charon.install_virtual_ip_on" = network.install_virtual_ip_on;
    "charon.interfaces_use" = network.interfaces_use;
    "charon.interfaces_ignore" = network.interfaces_ignore;
    "charon.ignore_routing_tables" = network.ignore_routing_tables;
    "charon.process_route" = network.process_route;
    "charon.plugins.kernel-netlink.process_rules" = network.process_rules;
    "charon.plugins.kernel-netlink.roam_events" = network.roam_events;
    "charon.plugins.kernel-netlink.install_routes_xfrmi" = network.install_routes_xfrmi;
    "charon.plugins.kernel-netlink.mtu" = network.route_mtu;
    "charon.plugins.kernel-netlink.mss" = network.route_mss;
    "charon.plugins.resolve.file" = resolve_file;
    "charon.plugins.updown.dns_handler" = updown_dns;
    "charon.plugins.vici.socket" = vici_socket;
    "charon.plugins.save-keys" = save_keys;
    "charon.plugins.socket-default.fwmark" = socket_fwmark;
    "charon.plugins.socket-default.use_ipv4" = use_ipv4;
    "charon.plugins.socket-default.use_ipv6" = use_ipv6;
    "charon.plugins.kernel-netlink.spdh_thresh.ipv4" = spd_hash_v4;
    "charon.plugins.kernel-netlink.spdh_thresh.ipv6" = spd_hash_v6;
    "charon.plugins.kernel-netlink.fwmark" = rule_fwmark;
    "charon.plugins.kernel-libipsec.fwmark" = esp_fwmark;
    "charon.plugins.kernel-libipsec.raw_esp" = raw_esp;
    "charon.plugins.kernel-libipsec.allow_peer_ts" = allow_peer_ts;
    "adit.dataplane" = adit.dataplane;
    "adit.firewall" = adit.firewall;
    "adit.xfrm_interfaces" = adit.xfrm_interfaces;
    "adit.tun" = adit.tun;
    "adit.mtu" = adit.mtu;
}

/// The keys that differ among those that take effect at once.
macro_rules! changed {
    ($old:ident, $new:ident, $keys:ident: $($key:literal = $($field:ident).+;)*) => {
        $(if $old.$($field).+ != $new.$($field).+ {
            $keys.push($key);
        })*
    };
}

/// What giving the running daemon `wanted` means.
pub(crate) fn plan(running: &StrongswanConf, wanted: &StrongswanConf) -> SettingsPlan {
    let new = &effective(running, wanted);
    let mut now = Vec::new();
    changed! { running, new, now:
        "charon.retransmit_timeout" = retransmit_timeout;
        "charon.retransmit_base" = retransmit_base;
        "charon.retransmit_tries" = retransmit_tries;
        "charon.retransmit_jitter" = retransmit_jitter;
        "charon.retransmit_limit" = retransmit_limit;
        "charon.retry_initiate_interval" = retry_initiate_interval;
        "charon.keep_alive" = keep_alive;
        "charon.half_open_timeout" = half_open_timeout;
        "charon.dos_protection" = dos_protection;
        "charon.cookie_threshold" = cookie_threshold;
        "charon.cookie_threshold_ip" = cookie_threshold_ip;
        "charon.block_threshold" = block_threshold;
        "charon.init_limit_half_open" = init_limit_half_open;
        "charon.ikesa_limit" = ikesa_limit;
        "charon.max_packet" = max_packet;
        "charon.initiator_only" = initiator_only;
        "charon.fragment_size" = fragment_size;
        "charon.make_before_break" = make_before_break;
        "charon.delete_rekeyed" = delete_rekeyed;
        "charon.delete_rekeyed_delay" = delete_rekeyed_delay;
        "charon.reuse_ikesa" = reuse_ikesa;
        "charon.close_ike_on_child_failure" = close_ike_on_child_failure;
        "charon.inactivity_close_ike" = inactivity_close_ike;
        "charon.prefer_configured_proposals" = prefer_configured_proposals;
        "charon.replay_window" = replay_window;
        "charon.follow_redirects" = follow_redirects;
        "charon.rsa_pss" = rsa_pss;
        "charon.dns" = dns;
        "charon.nbns" = nbns;
        "charon.plugins.attr" = attributes;
        "charon.filelog" = filelogs;
        "charon.syslog" = syslogs;
        "charon-systemd.journal" = journal;
        "adit.message_id_sync" = adit.message_id_sync;
        "adit.redirect" = adit.redirect;
        "adit.dropin" = adit.dropin;
        "adit.quick_crash_file" = adit.quick_crash_file;
        "adit.resume" = adit.resume;
        "adit.ticket_file" = adit.ticket_file;
        "adit.ticket_lifetime" = adit.ticket_lifetime;
        "adit.half_open_limit" = adit.half_open_limit;
        "adit.pending_auth_limit" = adit.pending_auth_limit;
        "adit.pending_auth_timeout" = adit.pending_auth_timeout;
        "adit.updown_timeout" = adit.updown_timeout;
        "adit.init_rate" = adit.init_rate;
        "adit.init_rate_ip" = adit.init_rate_ip;
        "adit.init_rate_unproven" = adit.init_rate_unproven;
        "adit.auth_failures" = adit.auth_failures;
    }
    if now.is_empty() && running != new {
        now.push("another setting");
    }
    SettingsPlan { now, restart: at_start(running, wanted) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_effect_and_what_waits_for_a_restart() {
        let running = StrongswanConf::default();
        assert_eq!(plan(&running, &running), SettingsPlan::default());
        let mut wanted = StrongswanConf { retransmit_tries: 9, port: 501, max_packet: 1, ..running.clone() };
        wanted.adit.tun = "tun7".into();
        let it = plan(&running, &wanted);
        assert_eq!(it.now, ["charon.retransmit_tries", "charon.max_packet"]);
        assert_eq!(it.restart, ["charon.port", "adit.tun"]);
        let effective = effective(&running, &wanted);
        assert_eq!((effective.port, effective.retransmit_tries), (500, 9));
        // asked again, only what still waits is told
        let again = plan(&effective, &wanted);
        assert_eq!((again.now.len(), again.restart.len()), (0, 2));
    }
}
