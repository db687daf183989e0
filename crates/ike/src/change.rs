//! What a changed configuration means for the SAs that run.
//!
//! An SA was negotiated and authenticated under one configuration. Some keys are looked at again while it lives: those
//! an SA takes over ([`Takes::Over`]). The others say who the peer is, how it proves that, or which packets the SA may
//! carry; with those changed it is another SA ([`Takes::NewSa`]), and the one there is keeps what it was made with.

use crate::config::{ChildConfig, Connection};

/// When a changed key has an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// The SA that runs goes on with it: at once, or at the next rekeying or authentication.
    Over,
    /// Only a new SA has it.
    NewSa,
}

/// A key that differs, by the name it has in swanctl.conf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// As `dpd_delay` or `remote.id`.
    pub key: &'static str,
    /// When it has an effect.
    pub takes: Takes,
}

/// Keys of a kind that differ between two structs.
macro_rules! differing {
    ($old:ident, $new:ident, $out:ident, $takes:ident: $($key:literal = $($field:ident).+;)*) => {
        $(if $old.$($field).+ != $new.$($field).+ {
            $out.push(Difference { key: $key, takes: Takes::$takes });
        })*
    };
}

impl Connection {
    /// What differs in `new`, without the children and shunts.
    #[must_use]
    pub fn differences(&self, new: &Self) -> Vec<Difference> {
        let mut out = Vec::new();
        differing! { self, new, out, NewSa:
            "local_addrs" = local_addrs;
            "remote_addrs" = remote_addrs;
            "local_port" = local_port;
            "remote_port" = remote_port;
            "vips" = vips;
            "local.id" = local.id;
            "local.auth" = local.method;
            "local.eap_id" = local.eap_id;
            "remote.id" = remote.id;
            "remote.auth" = remote.method;
            "remote.eap_id" = remote.eap_id;
            "remote.certs" = remote.certs;
            "remote.cacerts" = remote.cacerts;
            "if_id_in" = if_ids.given.inbound;
            "if_id_in" = if_ids.choice_in;
            "if_id_out" = if_ids.given.outbound;
            "if_id_out" = if_ids.choice_out;
        }
        differing! { self, new, out, Over:
            "local.certs" = local.certs;
            "proposals" = proposals;
            "pools" = pools;
            "encap" = encap;
            "dpd_delay" = dpd_delay;
            "fragmentation" = fragmentation;
            "childless" = childless;
            "mobike" = mobike;
            "send_certreq" = send_certreq;
            "send_cert" = send_cert;
            "keyingtries" = keyingtries;
            "unique" = unique;
            "rekey_time" = rekey_time;
            "reauth_time" = reauth_time;
            "over_time" = over_time;
            "rand_time" = rand_time;
        }
        let alone = |conn: &Self| Self { children: Vec::new(), shunts: Vec::new(), ..conn.clone() };
        if out.is_empty() && alone(self) != alone(new) {
            // A key that nobody has sorted yet must not be taken over unseen.
            out.push(Difference { key: "another key", takes: Takes::NewSa });
        }
        out
    }

    /// Whether an IKE_SA that was made with this goes on with `new`.
    #[must_use]
    pub fn carries_on(&self, new: &Self) -> bool {
        self.differences(new).iter().all(|it| it.takes == Takes::Over)
    }
}

impl ChildConfig {
    /// What differs in `new`.
    #[must_use]
    pub fn differences(&self, new: &Self) -> Vec<Difference> {
        let mut out = Vec::new();
        differing! { self, new, out, NewSa:
            "local_ts" = local_ts;
            "remote_ts" = remote_ts;
            "mode" = mode;
            "reqid" = reqid;
            "policies" = options.policies;
            "policies_fwd_out" = options.policies_fwd_out;
            "priority" = options.priority;
            "interface" = options.interface;
            "icmp" = options.icmp;
            "mark_in" = options.mark_in;
            "mark_in" = numbering.mark_in;
            "mark_out" = options.mark_out;
            "mark_out" = numbering.mark_out;
            "if_id_in" = options.if_id_in;
            "if_id_in" = numbering.if_id_in;
            "if_id_out" = options.if_id_out;
            "if_id_out" = numbering.if_id_out;
        }
        // RFC 4301 §4.4.1: an entry of the SPD outlives the SAs that serve it, which are made anew at each rekeying.
        differing! { self, new, out, Over:
            "esp_proposals" = esp_proposals;
            "rekey_time" = rekey_time;
            "life_time" = life_time;
            "rand_time" = rand_time;
            "rekey_bytes" = rekey_bytes;
            "life_bytes" = life_bytes;
            "rand_bytes" = rand_bytes;
            "rekey_packets" = rekey_packets;
            "life_packets" = life_packets;
            "rand_packets" = rand_packets;
            "start_action" = start_action;
            "dpd_action" = dpd_action;
            "close_action" = close_action;
            "replay_window" = replay_window;
            "inactivity" = inactivity;
            "copy_df" = headers.copy_df;
            "copy_ecn" = headers.copy_ecn;
            "copy_dscp" = headers.copy_dscp;
            "tfc_padding" = tfc_padding;
            "mark_in_sa" = options.mark_in_sa;
            "set_mark_in" = options.set_mark_in;
            "set_mark_out" = options.set_mark_out;
            "hw_offload" = options.hw_offload;
            "per_cpu_sas" = options.per_cpu;
        }
        if out.is_empty() && self != new {
            out.push(Difference { key: "another key", takes: Takes::NewSa });
        }
        out
    }

    /// Whether a CHILD_SA that was made with this is rekeyed to `new`. RFC 7296 §2.9.2: a rekeying does not narrow the
    /// selectors that are in use, so other selectors are another CHILD_SA.
    #[must_use]
    pub fn carries_on(&self, new: &Self) -> bool {
        self.differences(new).iter().all(|it| it.takes == Takes::Over)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use adit_ipsec::Identity;

    use super::*;

    #[test]
    fn keys_are_named_and_sorted() {
        let old = Connection::default();
        assert!(old.differences(&old).is_empty());
        let mut new = Connection { dpd_delay: Duration::from_secs(30), keyingtries: 0, ..old.clone() };
        let keys = |list: Vec<Difference>| list.iter().map(|it| it.key).collect::<Vec<_>>();
        assert_eq!(keys(old.differences(&new)), ["dpd_delay", "keyingtries"]);
        assert!(old.carries_on(&new));
        new.remote.id = Identity::Fqdn("gw".into());
        assert!(!old.carries_on(&new));
        let child = ChildConfig::default();
        let longer = ChildConfig { life_time: Duration::from_secs(9999), ..child.clone() };
        assert!(child.carries_on(&longer));
        let wider = ChildConfig { remote_ts: vec!["10.0.0.0/8".parse().unwrap()], ..child.clone() };
        assert_eq!(keys(child.differences(&wider)), ["remote_ts"]);
        assert!(!child.carries_on(&wider));
    }
}
