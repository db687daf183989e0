//! Redirection to another gateway (RFC 5685), at either end.
//!
//! A client follows in IKE_SA_INIT (the nonce proves that whoever answers has seen the question), in the first or last
//! answer of IKE_AUTH, and by INFORMATIONAL. What it follows changes where it goes and nothing else: connection,
//! identities and selectors are those that it had, so that the other gateway has to prove to be the same one.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_ipsec::{GatewayId, RedirectStage};
use adit_wire::{ExchangeType, NotifyType, Payload};

use crate::core::{Core, log};
use crate::event::Event;
use crate::reason::Reason;
use crate::sa::{Active, AuthI, IkeSa, Message, Phase, Task, Wish};
use crate::time::Instant;

/// RFC 5685 §7: MAX_REDIRECTS and REDIRECT_LOOP_DETECT_PERIOD.
const MAX_REDIRECTS: usize = 5;
const PERIOD: Duration = Duration::from_secs(300);

/// Who may send whom elsewhere: only the original responder the original initiator (RFC 5685 §10), if that agrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Follows {
    #[default]
    Nobody,
    /// We announced it.
    We,
    /// The peer announced it.
    Peer,
}

/// Where an initiator was sent.
pub(crate) struct Detour {
    /// The gateway, and the address of the one that named it; `None` if we are back where we began.
    way: Option<(GatewayId, IpAddr)>,
    /// When, within the last [`PERIOD`].
    hops: Vec<Instant>,
}

/// Identity type, length, identity (RFC 5685 §9.2, §9.3).
fn identity(gateway: &GatewayId) -> Vec<u8> {
    let (kind, bytes) = match gateway {
        GatewayId::Address(IpAddr::V4(address)) => (1, address.octets().to_vec()),
        GatewayId::Address(IpAddr::V6(address)) => (2, address.octets().to_vec()),
        GatewayId::Name(name) => (3, name.clone().into_bytes()),
    };
    let len = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    [&[kind, len], bytes.get(..usize::from(len)).unwrap_or_default()].concat()
}

/// REDIRECT; `nonce` is Ni in IKE_SA_INIT and nothing otherwise.
pub(crate) fn notify(gateway: &GatewayId, nonce: &[u8]) -> Payload {
    let mut data = identity(gateway);
    data.extend_from_slice(nonce);
    Payload::notify(NotifyType::REDIRECT, data)
}

/// The gateway in a REDIRECT, and what follows it.
pub(crate) fn parse(data: &[u8]) -> Option<(GatewayId, &[u8])> {
    let (kind, rest) = data.split_first()?;
    let (len, rest) = rest.split_first()?;
    let (bytes, nonce) = rest.split_at_checked(usize::from(*len))?;
    let gateway = match kind {
        1 => GatewayId::Address(<[u8; 4]>::try_from(bytes).ok()?.into()),
        2 => GatewayId::Address(<[u8; 16]>::try_from(bytes).ok()?.into()),
        3 => GatewayId::Name(std::str::from_utf8(bytes).ok()?.to_owned()),
        _ => return None,
    };
    // A name with anything in it that no name has, an address that nobody has.
    Some((gateway.to_string().parse().ok()?, nonce))
}

/// Whether an IKE_SA_INIT request is of one who follows.
pub(crate) fn announced(request: &Message) -> Follows {
    if request.has_notify(NotifyType::REDIRECT_SUPPORTED) || was_sent_here(request) {
        Follows::Peer
    } else {
        Follows::Nobody
    }
}

/// Whether another gateway has sent the client here. RFC 5685 §9.3: such a one follows, too; but we do not send it on
/// by ourselves, or two gateways would play ball with it.
pub(crate) fn was_sent_here(request: &Message) -> bool {
    request.has_notify(NotifyType::REDIRECTED_FROM)
}

impl IkeSa {
    /// Where to initiate to instead of where the configuration says.
    pub(crate) fn detour_target(&self) -> Option<&GatewayId> {
        self.detour.as_ref()?.way.as_ref().map(|(gateway, _)| gateway)
    }

    /// The gateway that we were sent to does not answer: back to the one of the configuration.
    pub(crate) fn forget_detour(&mut self) {
        if let Some(detour) = &mut self.detour {
            detour.way = None;
        }
    }

    /// What our IKE_SA_INIT request says. RFC 5685 §9.3: REDIRECTED_FROM also says what REDIRECT_SUPPORTED does.
    pub(crate) fn redirect_announcement(&mut self, core: &Core) -> Option<Payload> {
        self.follows = Follows::Nobody;
        if !core.settings.follow_redirects {
            return None;
        }
        self.follows = Follows::We;
        let way = self.detour.as_ref().and_then(|detour| detour.way.as_ref());
        Some(match way {
            Some((_, from)) => {
                Payload::notify(NotifyType::REDIRECTED_FROM, identity(&GatewayId::Address(*from)))
            }
            None => Payload::notify(NotifyType::REDIRECT_SUPPORTED, Vec::new()),
        })
    }

    /// The way to another gateway, unless we have been sent about too often.
    fn detour_to(&self, core: &mut Core, gateway: GatewayId) -> Result<Box<Detour>, Reason> {
        let from = self.path.remote.ip();
        log!(core, Ike, 0, self, "received redirect from {from} to {gateway}");
        let mut hops: Vec<Instant> =
            self.detour.iter().flat_map(|detour| detour.hops.iter().copied()).collect();
        hops.retain(|at| core.now - *at < PERIOD);
        if hops.len() >= MAX_REDIRECTS {
            return Err(Reason::TooManyRedirects { gateway: gateway.to_string() });
        }
        hops.push(core.now);
        core.stats.redirects_followed += 1;
        Ok(Box::new(Detour { way: Some((gateway, from)), hops }))
    }

    /// Begins anew at another gateway, as another IKE_SA: nothing is left at the one before.
    fn go_elsewhere(&mut self, core: &mut Core, detour: Box<Detour>) {
        self.detour = Some(detour);
        core.by_spi.remove(&self.spi_i);
        self.spi_i = core.new_ike_spi();
        core.by_spi.insert(self.spi_i, self.id);
        self.restart(core);
    }

    /// A REDIRECT in an answer to IKE_SA_INIT. True if there was one: followed, or not to be believed.
    pub(crate) fn on_init_redirect(&mut self, core: &mut Core, message: &Message) -> bool {
        let (Some(data), Phase::Init(init)) = (message.notify(NotifyType::REDIRECT), &self.phase) else {
            return false;
        };
        let genuine = parse(data).filter(|(_, nonce)| *nonce == init.nonce && self.follows == Follows::We);
        let Some((gateway, _)) = genuine else {
            // RFC 5685 §3: discarded in silence; the genuine answer may still come.
            core.stats.wrong_state += 1;
            log!(core, Ike, 1, self, "received REDIRECT that does not belong to our request, ignored");
            return true;
        };
        match self.detour_to(core, gateway) {
            Ok(detour) => self.go_elsewhere(core, detour),
            Err(reason) => self.fail(core, reason),
        }
        true
    }

    /// The gateway in an answer of IKE_AUTH in which a redirect may stand. Its sender has proved itself.
    pub(crate) fn auth_redirect(&self, message: &Message) -> Option<GatewayId> {
        let data = message.notify(NotifyType::REDIRECT).filter(|_| self.follows == Follows::We)?;
        parse(data).map(|(gateway, _)| gateway)
    }

    /// Sent elsewhere in IKE_AUTH. `stands`: both ends have proved themselves, so that there is something to delete.
    pub(crate) fn redirected_in_auth(
        &mut self,
        core: &mut Core,
        auth: Box<AuthI>,
        gateway: GatewayId,
        stands: bool,
    ) {
        self.phase = Phase::AuthI(auth);
        let detour = match self.detour_to(core, gateway) {
            Ok(detour) => detour,
            Err(reason) if stands => return self.fail_telling(core, reason),
            Err(reason) => return self.fail(core, reason),
        };
        if !stands {
            return self.go_elsewhere(core, detour);
        }
        if let Phase::AuthI(auth) = &mut self.phase
            && let Some(offer) = auth.take_offer()
        {
            core.release_esp_spi(offer.spi_in);
            self.queue.push_front(Task::Child(offer.wish));
        }
        let queue = std::mem::take(&mut self.queue);
        let tags = std::mem::take(&mut self.up_tags);
        let (alone, reauth_of) = (self.stands_alone, self.reauth_of.take());
        let sa = Self::initiate_as(core, Arc::clone(&self.conn), |sa| {
            sa.queue = queue;
            sa.up_tags = tags;
            sa.stands_alone = alone;
            sa.reauth_of = reauth_of;
            sa.detour = Some(detour);
        });
        core.adopt(sa);
        self.leave_politely(core, Payload::Delete { protocol: 1, spis: Vec::new() });
    }

    /// A REDIRECT by INFORMATIONAL: a new IKE_SA with the same children at the other gateway, then this one goes
    /// (RFC 5685 §5). If the other does not answer, this one stays.
    pub(crate) fn on_redirect(&mut self, core: &mut Core, data: &[u8]) {
        let gateway = parse(data).map(|(gateway, _)| gateway);
        let under_way = core.by_conn.get(&self.conn.name).into_iter().flatten();
        let under_way = under_way.filter_map(|id| core.sas.get(id)).any(|sa| sa.reauth_of == Some(self.id));
        let Some(gateway) =
            gateway.filter(|_| self.follows == Follows::We && self.is_established() && !under_way)
        else {
            core.stats.wrong_state += 1;
            log!(core, Ike, 1, self, "received REDIRECT that is not to be followed, ignored");
            return;
        };
        let detour = match self.detour_to(core, gateway) {
            Ok(detour) => detour,
            Err(reason) => {
                log!(core, Ike, 1, self, "staying: {reason}");
                let conn = Some(Arc::clone(&self.conn.name));
                return core.event(Event::Failure { conn, child: None, peer: self.peer_addr(), reason });
            }
        };
        let waiting = std::mem::take(&mut self.queue);
        let (tasks, rest): (Vec<Task>, Vec<Task>) =
            waiting.into_iter().partition(|task| matches!(task, Task::Child(_)));
        self.queue = rest.into();
        let up = self.children.iter().filter(|child| child.is_up());
        let mut queue: Vec<Task> =
            up.map(|child| Task::Child(Wish::new(Arc::clone(&child.config)))).collect();
        queue.extend(tasks);
        let (id, alone) = (self.id, self.stands_alone);
        let sa = Self::initiate_as(core, Arc::clone(&self.conn), |sa| {
            sa.queue.extend(queue);
            sa.stands_alone = alone;
            sa.reauth_of = Some(id);
            sa.detour = Some(detour);
        });
        core.adopt(sa);
    }

    // -- the gateway ---------------------------------------------------------------------------------------------

    /// The gateway that an authenticated peer is sent to, if it is to go elsewhere.
    pub(crate) fn redirect_after_auth(&self, core: &Core, sent_here: bool) -> Option<GatewayId> {
        let rule = core.settings.redirect.as_ref().filter(|rule| rule.stage == RedirectStage::Auth)?;
        let here = rule.gateway == GatewayId::Address(self.path.local.ip());
        (self.follows == Follows::Peer && !sent_here && !here).then(|| rule.gateway.clone())
    }

    /// The IKE_SA stands and has no child. The client deletes it, or we do when its time is over (RFC 5685 §6).
    pub(crate) fn was_redirected(&mut self, core: &mut Core) {
        core.stats.redirects_sent += 1;
        let grace = core.settings.redirect_grace;
        self.redirect_until = (!grace.is_zero()).then(|| core.now + grace);
    }

    pub(crate) fn send_redirect(&mut self, core: &mut Core, gateway: &GatewayId) {
        log!(core, Ike, 0, self, "redirecting IKE_SA {} to {gateway}", self.label());
        // RFC 5685 §5: without a nonce, for it is protected.
        self.request(core, ExchangeType::INFORMATIONAL, &[notify(gateway, &[])], Active::Redirect);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_on_the_wire() {
        for (text, bytes) in [
            ("192.0.2.1", vec![1, 4, 192, 0, 2, 1]),
            ("2001:db8::1", vec![2, 16, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
            ("gw.example", [&[3, 10][..], b"gw.example"].concat()),
        ] {
            let gateway: GatewayId = text.parse().unwrap();
            assert_eq!(identity(&gateway), bytes);
            let with_nonce = [&bytes[..], b"nonce"].concat();
            assert_eq!(parse(&with_nonce), Some((gateway.clone(), &b"nonce"[..])));
            assert_eq!(parse(&bytes), Some((gateway, &[][..])));
            for cut in 0..bytes.len() {
                assert_eq!(parse(&bytes[..cut]), None, "{text} {cut}");
            }
        }
        for bad in [
            &[0, 4, 1, 2, 3, 4][..],
            &[4, 4, 1, 2, 3, 4],
            &[1, 16, 1, 2, 3, 4],
            &[1, 3, 1, 2, 3],
            &[1, 4, 0, 0, 0, 0],
            &[1, 4, 224, 0, 0, 1],
            &[2, 4, 1, 2, 3, 4],
            &[3, 0],
            &[3, 3, b'a', 0, b'b'],
            &[3, 2, 0xff, 0xfe],
            &[3, 7, b'1', b'.', b'2', b'.', b'3', b'.', b'4'],
        ] {
            let parsed = parse(bad);
            // A name that is an address leads to the address, which is checked like any other.
            let address = bad == [3, 7, b'1', b'.', b'2', b'.', b'3', b'.', b'4'];
            assert_eq!(parsed.is_some(), address, "{bad:?} {parsed:?}");
        }
    }
}
