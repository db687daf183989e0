//! Message IDs, the request in flight, and the last response (RFC 7296 §2.1–§2.3, window of one).

use adit_wire::ExchangeType;

use crate::action::Path;
use crate::core::{Core, log};
use crate::reason::Reason;
use crate::sa::{IkeSa, Phase};
use crate::time::Instant;

/// From the second retransmission on, other paths are tried as well, if there are any.
const PROBE_FROM: u32 = 2;

/// A request of ours that is not answered yet.
pub(crate) struct Request {
    pub mid: u32,
    pub exchange: ExchangeType,
    /// The datagrams: one, or all fragments.
    pub packets: Vec<Vec<u8>>,
    /// What is in them, where it may have to be sealed anew (RFC 6311).
    pub payloads: Option<Box<[adit_wire::Payload]>>,
    /// How often it was sent.
    pub sent: u32,
    pub first_sent: Instant,
    pub deadline: Instant,
}

/// What we last answered, for a peer that did not get it.
pub(crate) struct Answered {
    pub mid: u32,
    pub packets: Vec<Vec<u8>>,
    /// When no peer can be asking again any more.
    pub forget_at: Instant,
}

#[derive(Default)]
pub(crate) struct Window {
    /// Message ID of our next request.
    pub send_next: u32,
    /// Message ID of the peer's next request.
    pub recv_next: u32,
    pub request: Option<Box<Request>>,
    pub answered: Option<Box<Answered>>,
}

impl IkeSa {
    /// Registers and sends a request's datagrams.
    pub(crate) fn launch(
        &mut self,
        core: &mut Core,
        mid: u32,
        exchange: ExchangeType,
        packets: Vec<Vec<u8>>,
    ) {
        for packet in &packets {
            core.transmit(self.path, packet.clone());
        }
        self.last_out = core.now;
        let deadline = core.now + self.wait(core, 0);
        self.window.request = Some(Box::new(Request {
            mid,
            exchange,
            packets,
            payloads: None,
            sent: 1,
            first_sent: core.now,
            deadline,
        }));
    }

    fn wait(&self, core: &mut Core, n: u32) -> std::time::Duration {
        let wait = core.settings.retransmit_wait(n);
        let jitter = wait.saturating_mul(core.settings.retransmit_jitter.min(100)) / 100;
        wait.saturating_sub(core.random_duration(jitter))
    }

    /// Sends the last response again, to where the question came from this time (RFC 7296 §2.11): a NAT may have moved
    /// the peer in between. That alone moves nothing here, for an old question proves nothing.
    pub(crate) fn answer_again(&mut self, core: &mut Core, path: Path, mid: u32) {
        core.stats.peer_retransmits += 1;
        let Some(answered) = self.window.answered.as_ref().filter(|answered| answered.mid == mid) else {
            return;
        };
        let packets = answered.packets.clone();
        log!(core, Ike, 1, self, "received retransmit of request with ID {mid}, retransmitting response");
        for packet in packets {
            core.transmit(path, packet);
        }
        self.last_out = core.now;
    }

    /// The request's wait is over: send it again, or give up.
    pub(crate) fn on_retransmit_timer(&mut self, core: &mut Core) {
        let Some(mut request) = self.window.request.take() else { return };
        if request.sent > core.settings.retransmit_tries {
            log!(core, Ike, 1, self, "giving up after {} retransmits", request.sent.saturating_sub(1));
            self.on_peer_unreachable(core, &request);
            return;
        }
        core.stats.retransmits += 1;
        log!(core, Ike, 1, self, "retransmit {} of request with message ID {}", request.sent, request.mid);
        request.deadline = core.now + self.wait(core, request.sent);
        request.sent += 1;
        // RFC 7296 §2.1: byte-identical; RFC 7383 §2.6: the same fragments.
        for packet in &request.packets {
            core.transmit(self.path, packet.clone());
        }
        if request.sent > PROBE_FROM {
            self.probe(core, &request.packets);
        }
        self.last_out = core.now;
        self.window.request = Some(request);
    }

    /// The path has changed: the request in flight takes the new one at once, and has all the time there that it had on
    /// the old one.
    pub(crate) fn send_again(&mut self, core: &mut Core) {
        let deadline = core.now + self.wait(core, 0);
        let Some(request) = &mut self.window.request else { return };
        core.stats.retransmits += 1;
        (request.sent, request.deadline) = (1, deadline);
        let (mid, packets) = (request.mid, request.packets.clone());
        log!(core, Ike, 1, self, "retransmit of request with message ID {mid} on the new path");
        for packet in packets {
            core.transmit(self.path, packet);
        }
        self.last_out = core.now;
    }

    fn on_peer_unreachable(&mut self, core: &mut Core, request: &Request) {
        let established = self.established_at.is_some();
        let reason = Reason::PeerUnreachable {
            remote: self.path.remote.ip(),
            sent: request.sent,
            waited: core.now - request.first_sent,
            established,
        };
        if matches!(self.phase, Phase::Deleting | Phase::Rekeyed) {
            // Its delete, or that of a replaced or redundant SA, needs no answer to be carried out here.
            return self.close(core, None);
        }
        if established {
            return self.on_dead_peer(core, reason);
        }
        if self.is_connecting() {
            self.tries += 1;
            let limit = self.conn.keyingtries;
            // Without end only as long as anybody wants it.
            let configured = core.config.connections.iter().any(|conn| conn.name == self.conn.name);
            if (limit == 0 && configured) || self.tries < limit {
                log!(core, Ike, 1, self, "peer not responding, trying again ({}/{limit})", self.tries + 1);
                self.forget_detour();
                self.restart(core);
                return;
            }
        }
        log!(core, Ike, 1, self, "establishing IKE_SA failed, peer not responding");
        self.fail(core, reason);
    }
}
