//! The kernel's questions for an SA. Each is a larval SA that keeps the next packets from asking again, for as long as
//! `net.core.xfrm_acq_expires` says (30 s). When IKE has failed by then, the next packet should be a new try much sooner, as
//! with the userspace data plane.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use adit_linux::xfrm::{ESP, Mark, Mode, Reservation, SaId, Xfrm};

use super::state::State;

/// After this long the next packet may ask again. IKE passes over it while it is still trying.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Most questions that are remembered; others wait for the kernel to forget them.
const MOST: usize = 1024;

/// The SPI that larval SAs get when they are given up; below those that anybody chooses.
const SPIS: (u32, u32) = (0x100, 0x1ff);

/// The larval SA of a question.
pub(super) const fn larval(
    src: IpAddr,
    dst: IpAddr,
    mode: Mode,
    reqid: u32,
    mark: Mark,
    if_id: u32,
) -> Reservation {
    let (low, high) = SPIS;
    Reservation { src, dst, protocol: ESP, mode, reqid, low, high, mark, if_id }
}

/// Gives up a question. A larval SA has no SPI by which it could be removed; reserving one gives it one, or makes another
/// larval SA if it has been answered.
pub(super) fn drop_larval(xfrm: &mut Xfrm, larval: Reservation) {
    if let Ok(spi) = xfrm.reserve_spi(larval) {
        let id = SaId { dst: larval.dst, spi, protocol: larval.protocol, mark: larval.mark };
        // It has gone by itself otherwise.
        let _ = xfrm.delete_sa(id);
    }
}

impl State {
    /// Remembers a question that the kernel has asked at `now`.
    pub(super) fn remember_larval(&mut self, now: Instant, larval: Reservation) {
        if self.larvals.len() < MOST {
            self.larvals.push_back((now, larval));
        }
    }

    /// When the next question is to be given up.
    pub(super) fn larval_due(&self) -> Option<Instant> {
        self.larvals.front().map(|(asked, _)| *asked + PATIENCE)
    }

    /// Gives up the questions that were asked too long before `now`.
    pub(super) fn drop_larvals(&mut self, now: Instant) {
        while self.larval_due().is_some_and(|due| due <= now) {
            if let Some((_, larval)) = self.larvals.pop_front() {
                drop_larval(&mut self.xfrm, larval);
            }
        }
    }
}
