//! Quick crash detection (RFC 6290): a token by which a peer that lost its state can prove that it did.
//!
//! We make tokens when [`Settings::quick_crash_secrets`](crate::Settings::quick_crash_secrets) has a secret, which must
//! outlive us: after a crash the same secret makes the same token from the SPIs alone. The tokens of peers are always
//! taken.

use adit_crypto::{Prf, Secret, ct_eq};
use adit_wire::{Envelope, NotifyType, Payload};

use crate::core::{Core, log};
use crate::reason::Reason;
use crate::sa::{IkeSa, Message, Phase, Task};

/// Secrets that are tried, and tokens that are looked at, in one message (RFC 6290 §4.5, §5.1: at least four).
pub(crate) const GENERATIONS: usize = 4;
/// Octets of a token (RFC 6290 §5).
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=128;

/// RFC 6290 §5.1: a keyed hash over both SPIs.
fn token(secret: &Secret, spi_i: u64, spi_r: u64) -> Payload {
    let parts: [&[u8]; 2] = [&spi_i.to_be_bytes(), &spi_r.to_be_bytes()];
    let data = Prf::HmacSha256.compute(secret.as_bytes(), &parts);
    // RFC 6290 §4.1: it concerns an IKE_SA, so the protocol is 1.
    Payload::Notify { protocol: 1, spi: Vec::new(), kind: NotifyType::QUICK_CRASH_DETECTION, data }
}

/// The tokens for an IKE_SA that we do not have (any more), newest secret first.
pub(crate) fn tokens_of_the_past(core: &Core, spi_i: u64, spi_r: u64) -> Vec<Payload> {
    let secrets = core.settings.quick_crash_secrets.iter().take(GENERATIONS);
    // RFC 6290 §9.2: never for one that exists. The initiator flag of a forged message may have hidden it.
    if [spi_i, spi_r].iter().any(|spi| core.by_spi.contains_key(spi)) {
        return Vec::new();
    }
    secrets.map(|secret| token(secret, spi_i, spi_r)).collect()
}

impl IkeSa {
    /// Our token for this IKE_SA, if we make any.
    pub(crate) fn own_token(&self, core: &Core) -> Option<Payload> {
        core.settings.quick_crash_secrets.first().map(|secret| token(secret, self.spi_i, self.spi_r))
    }

    /// Keeps the token in a protected message of the peer's, in place of an older one (RFC 6290 §4.4).
    pub(crate) fn take_token(&mut self, message: &Message) {
        let data = message.notify(NotifyType::QUICK_CRASH_DETECTION);
        if let Some(data) = data.filter(|data| LENGTHS.contains(&data.len())) {
            self.peer_token = Some(Secret::from(data));
        }
    }

    /// RFC 6290 §4.3: the answer to our rekeying has the peer's token; ours follows by itself.
    pub(crate) fn tell_token_after_rekey(&mut self, core: &Core) {
        if self.own_token(core).is_some() {
            self.queue.push_back(Task::TellToken);
        }
    }

    /// An unprotected answer that may hold the peer's token. True if it does: then the peer has lost this IKE_SA, and it
    /// ends without a word (RFC 6290 §4.5). From wherever it comes (§3).
    pub(crate) fn on_shown_token(&mut self, core: &mut Core, envelope: &Envelope<'_>) -> bool {
        let Some(ours) = &self.peer_token else { return false };
        let shown = envelope.clear.iter().filter_map(|payload| match payload {
            Payload::Notify { kind: NotifyType::QUICK_CRASH_DETECTION, data, .. } => Some(data.as_slice()),
            _ => None,
        });
        let shown: Vec<&[u8]> = shown.take(GENERATIONS).collect();
        if !shown.iter().any(|data| ct_eq(data, ours.as_bytes())) {
            if !shown.is_empty() {
                core.stats.wrong_tokens += 1;
                log!(core, Ike, 2, self, "received a token that does not prove that the peer lost its state");
            }
            return false;
        }
        log!(core, Ike, 1, self, "the peer proved by its token that it lost IKE_SA {}", self.label());
        match self.phase {
            Phase::Established => self.on_dead_peer(core, Reason::PeerLostState),
            _ => self.close(core, None),
        }
        true
    }
}
