//! Session resumption (RFC 5723): a client whose gateway lost its state, or that lost touch, comes back with a ticket
//! instead of a key exchange and a proof of who it is.
//!
//! The gateway keeps nothing: a ticket holds what it needs, sealed under a secret of its own ([`ticket`]). The client
//! keeps the ticket with the same state ([`client`]), presents it once, and forgets it when the IKE_SA ends in order.

mod client;
mod gateway;
mod ticket;

use adit_crypto::{Prf, Secret, kdf};
use adit_ipsec::Identity;
use adit_wire::{IdPayload, Payload};

use crate::core::Core;
use crate::reason::Reason;
use crate::sa::auth_method::{METHOD_PSK, Whose};
use crate::sa::init_i::Transcript;
use crate::sa::seal::{AuthKeys, crypto};
use crate::sa::{Fatal, IkeSa, Suite};

pub(crate) use client::{Held, exchange_of};
pub(crate) use gateway::Presented;

/// Octets of a ticket that are kept or sent: it has to fit into one datagram with its request.
const MAX_TICKET: usize = 1024;

/// What an IKE_SA inherits by a ticket (RFC 5723 §5), the same at both ends.
pub(crate) struct Inherited {
    pub suite: Suite,
    pub sk_d: Secret,
    pub id_i: Identity,
    pub id_r: Identity,
}

impl IkeSa {
    /// Keys of a resumed IKE_SA; both SPIs are known (RFC 5723 §5.1).
    fn resume_keys(&mut self, core: &mut Core, of: &Inherited, ni: &[u8], nr: &[u8]) -> Fatal<AuthKeys> {
        let (prf, encr, integ) = of.suite.primitives()?;
        let skeyseed = skeyseed(prf, &of.sk_d, ni, nr);
        let keys =
            kdf::ike_keys(prf, &skeyseed, ni, nr, self.spi_i, self.spi_r, encr, integ).map_err(crypto)?;
        self.use_keys(core, of.suite, keys)
    }

    /// AUTH of a resumed IKE_SA: `prf(SK_p, octets)`, without the pad of a pre-shared key (RFC 5723 §4.3.3).
    fn resume_auth(&self, t: &Transcript, whose: Whose, id: &IdPayload) -> Fatal<Vec<u8>> {
        self.with_octets(t, whose, id, |prf, octets, sk_p| prf.compute(sk_p.as_bytes(), octets))
    }

    fn resume_proof(&self, t: &Transcript, whose: Whose, id: &IdPayload) -> Fatal<Payload> {
        Ok(Payload::Auth { method: METHOD_PSK, data: self.resume_auth(t, whose, id)? })
    }

    fn check_resume_proof(
        &self,
        t: &Transcript,
        whose: Whose,
        id: &IdPayload,
        proof: Option<(u8, Vec<u8>)>,
    ) -> Fatal<()> {
        let expected = self.resume_auth(t, whose, id)?;
        match proof {
            Some((METHOD_PSK, data)) if adit_crypto::ct_eq(&expected, &data) => Ok(()),
            _ => Err(Reason::TicketMismatch),
        }
    }
}

/// RFC 5723 §5.1.
fn skeyseed(prf: Prf, sk_d: &Secret, ni: &[u8], nr: &[u8]) -> Secret {
    Secret::from(prf.compute(sk_d.as_bytes(), &[b"Resumption", ni, nr]))
}
