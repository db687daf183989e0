//! The endpoint: everything that concerns more than one IKE_SA.

use std::sync::Arc;

use adit_crypto::Random;

use crate::action::{Action, ActionId, Command, Completion, Path, Transmit};
use crate::config::Config;
use crate::event::Event;
use crate::settings::Settings;
use crate::time::Instant;
use crate::view::IkeSaView;

/// Counters of an endpoint since its start, and sizes of its tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// IKE_SAs in any state.
    pub ike_sas: usize,
    /// IKE_SAs whose peer is not authenticated yet and initiated.
    pub half_open: usize,
    /// CHILD_SAs.
    pub child_sas: usize,
    /// Datagrams dropped as no IKE messages.
    pub malformed: u64,
    /// Messages for SPIs that nobody has.
    pub unknown_spi: u64,
    /// Messages that failed their integrity check.
    pub bad_integrity: u64,
    /// Messages that the state of their IKE_SA does not allow.
    pub wrong_state: u64,
    /// Cookies demanded.
    pub cookies_sent: u64,
    /// IKE_SA_INIT requests ignored because of a limit.
    pub refused: u64,
    /// Requests retransmitted by us.
    pub retransmits: u64,
    /// Requests retransmitted by peers.
    pub peer_retransmits: u64,
}

/// All IKE_SAs of one shard.
pub struct Endpoint {
    _todo: (),
}

impl Endpoint {
    /// An endpoint without SAs. `unix_at_epoch` is the wall clock, in unix seconds, at [`Instant::ZERO`].
    #[must_use]
    pub fn new(settings: Settings, config: Arc<Config>, rng: Box<dyn Random>, unix_at_epoch: i64) -> Self {
        let _ = (settings, config, rng, unix_at_epoch);
        Self { _todo: () }
    }

    /// A datagram came, its non-ESP marker removed.
    pub fn handle_datagram(&mut self, now: Instant, path: Path, bytes: &[u8]) {
        let _ = (now, path, bytes);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// When [`Self::handle_timeout`] wants to be called, and what for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }

    /// Carries out a command.
    pub fn command(&mut self, now: Instant, command: Command) {
        let _ = (now, command);
    }

    /// The answer to an [`Action`].
    pub fn complete(&mut self, now: Instant, id: ActionId, completion: Completion) {
        let _ = (now, id, completion);
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        None
    }

    /// The next question or order.
    pub fn poll_action(&mut self) -> Option<(ActionId, Action)> {
        None
    }

    /// The next news.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }

    /// Every IKE_SA, by ascending id.
    pub fn ike_sas(&self) -> impl Iterator<Item = IkeSaView<'_>> {
        std::iter::empty()
    }

    /// One IKE_SA.
    #[must_use]
    pub fn ike_sa(&self, id: u32) -> Option<IkeSaView<'_>> {
        let _ = id;
        None
    }

    /// The IKE_SA that a CHILD_SA belongs to.
    #[must_use]
    pub fn ike_of_child(&self, child: u32) -> Option<u32> {
        let _ = child;
        None
    }

    /// Counters and sizes.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    /// The settings in use.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        unimplemented!()
    }

    /// Changes settings; requests already out keep their timers.
    pub fn set_settings(&mut self, settings: Settings) {
        let _ = settings;
    }
}
