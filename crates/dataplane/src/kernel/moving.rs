//! SAs that are made anew with the same keys: at other addresses, or further on in their sequence numbers.
//!
//! The kernel's own way, MIGRATE, finds SAs by reqid and addresses and takes the first; during a rekeying there are two,
//! and it would be left to chance which one moves. Here an SA is read with its keys, windows and counters, removed, and
//! added again; what the old one sent between being read and being removed is jumped over, so that no sequence number is
//! used twice.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use adit_linux::xfrm::{Encap, Error, Limit, Replay, SaId, SaState};

use super::state::{Carried, State};

/// Packets that no SA sends in a microsecond.
const MOST_IN_A_MICROSECOND: u64 = 100;

/// Sequence numbers that an SA cannot have used up in the time between its being read and its being gone, in which we may
/// not have run at all.
fn jump(time: Duration) -> u64 {
    let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    microseconds.saturating_add(1).saturating_mul(MOST_IN_A_MICROSECOND)
}

/// What became of an SA.
pub(super) enum Made {
    /// It is there again.
    Anew,
    /// It is not, and has to be rekeyed.
    Lost(Error),
}

impl State {
    /// Changes the outer addresses of a CHILD_SA. `Lost` when one of its SAs could not be made again.
    pub(super) fn update_path(
        &mut self,
        id: u32,
        local: SocketAddr,
        remote: SocketAddr,
        udp_encap: bool,
    ) -> Made {
        let Some(child) = self.children.get_mut(&id) else { return Made::Anew };
        if (child.local, child.remote, child.udp_encap) == (local, remote, udp_encap) {
            return Made::Anew;
        }
        (child.local, child.remote, child.udp_encap) = (local, remote, udp_encap);
        let (old_in, old_out) = (child.inbound, child.outbound);
        child.inbound.dst = local.ip();
        child.outbound.dst = remote.ip();
        child.remapped = None;
        let encap = |from: SocketAddr, to: SocketAddr| {
            udp_encap.then(|| Encap { src_port: from.port(), dst_port: to.port() })
        };
        let places = [child.places_in.clone(), child.places_out.clone()];
        let sends = child.waiting.is_none();
        if let Some(waiting) = &mut child.waiting {
            waiting.go(local, remote, encap(local, remote));
        }
        let (new_in, new_out) = (child.inbound, child.outbound);
        self.forget_sas(id, [old_in, old_out]);
        for sa in [new_in, new_out] {
            self.by_sa.insert((sa.dst, sa.spi), id);
        }
        let mut made = self.remake(id, 0, old_in, |state, _| {
            (state.sa.src, state.sa.dst) = (remote.ip(), local.ip());
            state.sa.encap = encap(remote, local);
        });
        if sends {
            let out = self.remake(id, 1, old_out, |state, jump| {
                (state.sa.src, state.sa.dst) = (local.ip(), remote.ip());
                state.sa.encap = encap(local, remote);
                skip(&mut state.sa.replay, jump);
            });
            made = made.and(out);
        }
        for (places, (src, dst)) in places.iter().zip([(remote, local), (local, remote)]) {
            for place in places {
                let change = self.spd.change(*place, |policy| {
                    // Templates of transport mode have no addresses.
                    for template in policy.templates.iter_mut().filter(|it| !it.dst.is_unspecified()) {
                        (template.src, template.dst) = (src.ip(), dst.ip());
                    }
                });
                self.run(&[change]);
            }
        }
        match made {
            Ok(()) => Made::Anew,
            Err(error) => Made::Lost(error),
        }
    }

    /// Skips sequence numbers of what a CHILD_SA sends.
    pub(super) fn skip_sequence(&mut self, id: u32, by: u64) -> Made {
        let Some(child) = self.children.get_mut(&id) else { return Made::Anew };
        if let Some(waiting) = &mut child.waiting {
            waiting.skip(by);
            return Made::Anew;
        }
        let outbound = child.outbound;
        let further = |state: &mut SaState, jump: u64| skip(&mut state.sa.replay, by.saturating_add(jump));
        match self.remake(id, 1, outbound, further) {
            Ok(()) => Made::Anew,
            Err(error) => Made::Lost(error),
        }
    }

    /// Reads an SA of a child (`way` 0 = inbound, 1 = outbound), removes it, and adds it changed. `change` is told what may
    /// have been sent since it was read.
    fn remake(
        &mut self,
        id: u32,
        way: usize,
        sa: SaId,
        change: impl FnOnce(&mut SaState, u64),
    ) -> Result<(), Error> {
        let asked = Instant::now();
        let mut state = self.xfrm.get_sa(sa)?;
        self.xfrm.delete_sa(sa)?;
        let jump = jump(asked.elapsed());
        if let Some(carried) = self.children.get_mut(&id).and_then(|child| child.carried.get_mut(way)) {
            carried.add(&state);
        }
        what_is_left(&mut state);
        change(&mut state, jump);
        let result = self.xfrm.add_sa(&state.sa);
        if result.is_err() && state.sa.offload.take().is_some() {
            // Another address may be on another card.
            return self.xfrm.add_sa(&state.sa);
        }
        result
    }
}

impl Carried {
    fn add(&mut self, state: &SaState) {
        self.bytes += state.usage.bytes;
        self.packets += state.usage.packets;
    }
}

/// Moves the last sequence number sent on, as far as there are any.
pub(super) fn skip(replay: &mut Replay, by: u64) {
    let most = if replay.esn { u64::MAX } else { u32::MAX.into() };
    replay.position.sent = replay.position.sent.saturating_add(by).min(most);
}

/// Takes from the limits what is used up; an SA that is made anew counts from zero.
fn what_is_left(state: &mut SaState) {
    let less = |limit: &mut Limit, used: u64| {
        for limit in [&mut limit.soft, &mut limit.hard].into_iter().flatten() {
            *limit = limit.saturating_sub(used).max(1);
        }
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    less(&mut state.sa.limits.bytes, state.usage.bytes);
    less(&mut state.sa.limits.packets, state.usage.packets);
    less(&mut state.sa.limits.seconds, now.saturating_sub(state.usage.added));
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_linux::xfrm::{Algorithms, Mode, Sa, Usage};

    fn state(esn: bool) -> SaState {
        let host = |n| std::net::Ipv4Addr::new(192, 0, 2, n).into();
        let mut sa = Sa::esp(host(1), host(2), 1, Mode::Tunnel, Algorithms::None);
        sa.replay.esn = esn;
        let usage = Usage { bytes: 600, packets: 6, added: u64::MAX, used: 0 };
        SaState { sa, usage, too_old: 0, replayed: 0, forged: 0, last_used: None }
    }

    #[test]
    fn skipping_ends_with_the_last_number() {
        for (esn, last) in [(false, u64::from(u32::MAX)), (true, u64::MAX)] {
            let mut state = state(esn);
            skip(&mut state.sa.replay, 5);
            assert_eq!(state.sa.replay.position.sent, 5);
            skip(&mut state.sa.replay, u64::MAX);
            assert_eq!(state.sa.replay.position.sent, last);
        }
    }

    #[test]
    fn the_longer_it_takes_the_more_is_jumped_over() {
        assert_eq!(jump(Duration::ZERO), 100);
        assert_eq!(jump(Duration::from_millis(10)), 1_000_100);
        assert_eq!(jump(Duration::MAX), u64::MAX);
    }

    #[test]
    fn an_sa_made_anew_lasts_no_longer() {
        let mut state = state(false);
        state.sa.limits.bytes = Limit { soft: Some(1000), hard: Some(600) };
        what_is_left(&mut state);
        assert_eq!(state.sa.limits.bytes, Limit { soft: Some(400), hard: Some(1) });
        assert_eq!(state.sa.limits.packets, Limit::default());
    }
}
