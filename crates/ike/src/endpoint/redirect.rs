//! Redirection before there is an IKE_SA, and on command (RFC 5685 §3, §5).

use adit_ipsec::{GatewayId, RedirectStage};
use adit_wire::Header;

use crate::action::Path;
use crate::core::{Core, log};
use crate::reason::Reason;
use crate::sa::redirect::{self, Follows};
use crate::sa::{InitRequest, Task};

impl Core {
    /// Sends a client elsewhere instead of answering. True if that was done.
    pub(crate) fn redirect_init(&mut self, path: Path, header: &Header, request: &InitRequest<'_>) -> bool {
        let rule = self.settings.redirect.as_ref().filter(|rule| rule.stage == RedirectStage::Init);
        let Some(gateway) = rule.map(|rule| rule.gateway.clone()) else { return false };
        // RFC 5685 §3: not a client that does not follow.
        let follows = redirect::announced(&request.rest) == Follows::Peer;
        let here = gateway == GatewayId::Address(path.local.ip());
        if !follows || here || redirect::was_sent_here(&request.rest) {
            return false;
        }
        self.stats.redirects_sent += 1;
        log!(self, Ike, 1, none, "redirecting {} to {gateway}", path.remote.ip());
        // Not rate-limited, as a cookie is not: it costs no computation, leaves nothing behind, and whole crowds are to
        // be sent elsewhere at once. RFC 5685 §3: the responder SPI stays zero.
        self.send_unprotected(path, header, &[redirect::notify(&gateway, &request.nonce)]);
        true
    }

    /// Sends the client of one IKE_SA elsewhere.
    pub(crate) fn redirect(&mut self, id: u32, gateway: GatewayId, tag: u64) {
        let result = self.with(id, |sa, core| {
            if sa.follows != Follows::Peer || !sa.is_established() {
                return Err(Reason::RedirectUnsupported { id });
            }
            sa.queue.retain(|task| !matches!(task, Task::Redirect { .. }));
            sa.queue.push_back(Task::Redirect { gateway });
            sa.pump(core);
            Ok(())
        });
        self.outcome(&[tag], result.unwrap_or(Err(Reason::NoSuchSa { id })));
    }
}
