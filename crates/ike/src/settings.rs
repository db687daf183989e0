//! What holds for the whole endpoint, with strongSwan's defaults.

use std::time::Duration;

use adit_crypto::Secret;
use adit_ipsec::{GatewayId, RedirectStage};

use crate::event::Group;

/// Where clients are sent, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// The other gateway.
    pub gateway: GatewayId,
    /// At which point of the handshake.
    pub stage: RedirectStage,
}

/// Endpoint-wide settings; the names are those of strongswan.conf.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// First wait of the retransmission table.
    pub retransmit_timeout: Duration,
    /// Factor from one wait to the next.
    pub retransmit_base: f64,
    /// Retransmissions before giving up.
    pub retransmit_tries: u32,
    /// At most so many percent of a wait are randomly taken off it.
    pub retransmit_jitter: u32,
    /// Upper bound of one wait; zero = none.
    pub retransmit_limit: Duration,
    /// Pause before an initiation is tried again for which this host was not ready (a name without address, no route);
    /// zero = it is given up, unless `keyingtries` says for ever.
    pub retry_initiate_interval: Duration,
    /// Life of a half-open IKE_SA, until its peer sends IKE_AUTH.
    pub half_open_timeout: Duration,
    /// How long a peer whose IKE_AUTH has begun may take to finish it (`adit.pending_auth_timeout`).
    pub pending_auth_timeout: Duration,
    /// Half-open IKE_SAs beyond which the one that has waited longest, of the address that has most, is given up; 0 = no
    /// limit.
    pub half_open_limit: u32,
    /// The same for those in IKE_AUTH.
    pub pending_auth_limit: u32,
    /// IKE_SA_INIT requests per second that are worked on without a cookie; 0 = no limit.
    pub init_rate_unproven: u32,
    /// IKE_SA_INIT requests per second and address (IPv6: /64) that are worked on; 0 = no limit. Only ones with a good
    /// cookie count: others may be spoofed.
    pub init_rate_ip: u32,
    /// The same for all addresses together. Half of its burst is for addresses that have no handshake under way.
    pub init_rate: u32,
    /// Failed authentications per minute of an identity from one address; ten times that from all. 0 = no limit.
    pub auth_failures: u32,
    /// The first reqid that is chosen here (`charon.reqid_base`).
    pub reqid_base: u32,
    /// Largest IKE message that is read, bytes; 0 = no limit.
    pub max_packet: u32,
    /// Half-open IKE_SAs in total from which cookies are demanded; 0 = never.
    pub cookie_threshold: u32,
    /// The same per peer address.
    pub cookie_threshold_ip: u32,
    /// Half-open IKE_SAs per address from which it is ignored; 0 = never.
    pub block_threshold: u32,
    /// Half-open IKE_SAs from which every initiation of a peer is ignored; 0 = no limit.
    pub init_limit_half_open: u32,
    /// IKE_SAs from which every initiation of a peer is ignored; 0 = no limit.
    pub max_sas: u32,
    /// NAT keepalive interval; zero = none.
    pub keep_alive: Duration,
    /// Largest IP datagram of an IKE message before it is fragmented; 0 = 1280.
    pub fragment_size: u16,
    /// IKE port.
    pub port: u16,
    /// NAT traversal port.
    pub port_nat_t: u16,
    /// How long the inbound half of a rekeyed CHILD_SA is kept.
    pub delete_rekeyed_delay: Duration,
    /// Which shard this endpoint is; its SPIs say so.
    pub shard: u8,
    /// How many shards there are.
    pub shards: u8,
    /// Reauthenticate before the old IKE_SA goes.
    pub make_before_break: bool,
    /// Our order of proposals decides, not the peer's.
    pub prefer_configured_proposals: bool,
    /// Close an IKE_SA whose child failed.
    pub close_ike_on_child_failure: bool,
    /// Close an IKE_SA whose only child was closed for inactivity.
    pub inactivity_close_ike: bool,
    /// Use RSASSA-PSS rather than PKCS#1 v1.5 where both are possible.
    pub rsa_pss: bool,
    /// Refuse to be responder.
    pub initiator_only: bool,
    /// Follow a gateway that sends us to another one (RFC 5685).
    pub follow_redirects: bool,
    /// Send clients to another gateway.
    pub redirect: Option<Redirect>,
    /// When an IKE_SA whose client was sent elsewhere is deleted, if the client does not do it; zero = never.
    pub redirect_grace: Duration,
    /// Announce and do the synchronization of counters after a failover (RFC 6311).
    pub message_id_sync: bool,
    /// As client: ask for tickets, and come back with one to a gateway that lost its state (RFC 5723).
    pub resume: bool,
    /// Secrets that tickets are sealed with, newest first. None = no tickets are given.
    pub ticket_secrets: Vec<Secret>,
    /// What a ticket lasts at most.
    pub ticket_lifetime: Duration,
    /// Secrets of quick crash detection (RFC 6290 §5.1), newest first; the first four count. None = no tokens are made.
    pub quick_crash_secrets: Vec<Secret>,
    /// Levels up to which log events are made.
    pub log_levels: LogLevels,
    /// Emit [`Event::IkeKeys`](crate::Event::IkeKeys) and [`Event::ChildKeys`](crate::Event::ChildKeys).
    pub export_keys: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retransmit_timeout: Duration::from_secs(4),
            retransmit_base: 1.8,
            retransmit_tries: 5,
            retransmit_jitter: 0,
            retransmit_limit: Duration::ZERO,
            retry_initiate_interval: Duration::ZERO,
            half_open_timeout: Duration::from_secs(30),
            pending_auth_timeout: Duration::from_secs(60),
            half_open_limit: 10_000,
            pending_auth_limit: 1000,
            init_rate_unproven: 100,
            init_rate_ip: 50,
            init_rate: 1000,
            auth_failures: 10,
            reqid_base: 1,
            max_packet: 10_000,
            cookie_threshold: 30,
            cookie_threshold_ip: 3,
            block_threshold: 5,
            init_limit_half_open: 0,
            max_sas: 0,
            keep_alive: Duration::from_secs(20),
            fragment_size: 1280,
            port: 500,
            port_nat_t: 4500,
            delete_rekeyed_delay: Duration::from_secs(5),
            shard: 0,
            shards: 1,
            make_before_break: true,
            prefer_configured_proposals: true,
            close_ike_on_child_failure: false,
            inactivity_close_ike: false,
            rsa_pss: false,
            initiator_only: false,
            follow_redirects: true,
            redirect: None,
            redirect_grace: Duration::from_secs(60),
            message_id_sync: true,
            resume: false,
            ticket_secrets: Vec::new(),
            ticket_lifetime: Duration::from_secs(8 * 3600),
            quick_crash_secrets: Vec::new(),
            log_levels: LogLevels::default(),
            export_keys: false,
        }
    }
}

impl Settings {
    /// The wait after sending a request for the `n`th time, from 0.
    #[must_use]
    pub fn retransmit_wait(&self, n: u32) -> Duration {
        let seconds = self.retransmit_timeout.as_secs_f64() * self.retransmit_base.powi(n.min(64) as i32);
        // A base of 1000 must not make a wait that no clock can hold.
        let wait = Duration::try_from_secs_f64(seconds).unwrap_or(MAX_WAIT).min(MAX_WAIT);
        if self.retransmit_limit.is_zero() { wait } else { wait.min(self.retransmit_limit) }
    }

    /// From the first sending of a request to giving it up.
    #[must_use]
    pub fn retransmit_total(&self) -> Duration {
        (0..=self.retransmit_tries.min(64)).fold(Duration::ZERO, |sum, n| sum + self.retransmit_wait(n))
    }
}

const MAX_WAIT: Duration = Duration::from_secs(24 * 3600);

/// Log levels by group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLevels([i8; Group::ALL.len()]);

impl LogLevels {
    /// The same level for every group.
    #[must_use]
    pub const fn all(level: i8) -> Self {
        Self([level; Group::ALL.len()])
    }

    /// Sets the level of one group.
    pub fn set(&mut self, group: Group, level: i8) {
        if let Some(slot) = self.0.get_mut(group as usize) {
            *slot = level;
        }
    }

    /// The level of one group.
    #[must_use]
    pub fn get(&self, group: Group) -> i8 {
        self.0.get(group as usize).copied().unwrap_or(-1)
    }

    /// Whether a line of that group and level is wanted.
    #[must_use]
    pub fn wants(&self, group: Group, level: i8) -> bool {
        level <= self.get(group)
    }
}

impl Default for LogLevels {
    fn default() -> Self {
        Self::all(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_table_is_strongswans() {
        let settings = Settings::default();
        let waits: Vec<u64> =
            (0..6).map(|n| (settings.retransmit_wait(n).as_secs_f64() * 10.0).round() as u64).collect();
        assert_eq!(waits, [40, 72, 130, 233, 420, 756]);
        assert_eq!(settings.retransmit_total().as_secs(), 165);
    }
}
