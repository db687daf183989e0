//! Which IKE_SA a datagram or an answer is for.

use adit_wire::{ExchangeType, Header};

use crate::action::{Action, ActionId, Completion, Path};
use crate::core::{Bracketed, Core, Wait, log};
use crate::sa::Phase;

/// Whose a message is.
enum Owner {
    Sa(u32),
    /// No IKE_SA's.
    Nobody,
    /// It bears the SPI of an IKE_SA and does not fit it.
    Mismatch,
}

/// Whether the exchange is one that an IKE_SA begins with.
pub(crate) fn is_first(exchange: ExchangeType) -> bool {
    matches!(exchange, ExchangeType::IKE_SA_INIT | ExchangeType::IKE_SESSION_RESUME)
}

/// Whether it is the request that begins an IKE_SA.
fn begins(header: &Header) -> bool {
    is_first(header.exchange) && header.flags.initiator && !header.flags.response
}

impl Core {
    pub(crate) fn receive(&mut self, path: Path, bytes: &[u8]) {
        let limit = self.settings.max_packet as usize;
        if limit > 0 && bytes.len() > limit {
            self.stats.oversized += 1;
            return;
        }
        let header = match Header::parse(bytes) {
            Ok(header) if usize::try_from(header.length) == Ok(bytes.len()) && header.spi_i != 0 => header,
            _ => {
                self.stats.malformed += 1;
                return;
            }
        };
        match self.owner(&header) {
            Owner::Sa(id) => {
                self.log_received(path, bytes);
                self.with(id, |sa, core| sa.on_message(core, path, &header, bytes));
                if let Some(old) = self.inherit.take() {
                    self.with(old, |sa, core| sa.ike_rival_is_used(core));
                    self.with(id, |sa, core| sa.on_message(core, path, &header, bytes));
                }
            }
            Owner::Nobody => {
                self.hush(|guard| &mut guard.quiet);
                self.log_received(path, bytes);
                self.on_stranger(path, &header, bytes);
                self.muted = false;
            }
            Owner::Mismatch => self.stats.unknown_spi += 1,
        }
    }

    fn log_received(&mut self, path: Path, bytes: &[u8]) {
        log!(
            self,
            Net,
            1,
            none,
            "received packet: from {} to {} ({} bytes)",
            Bracketed(path.remote),
            Bracketed(path.local),
            bytes.len()
        );
    }

    fn on_stranger(&mut self, path: Path, header: &Header, bytes: &[u8]) {
        if header.major != 2 {
            self.refuse_version(path, header);
        } else if !begins(header) {
            self.unknown_spi(path, header);
        } else if header.spi_r == 0 {
            self.on_init_request(path, header, bytes);
        } else {
            self.stats.malformed += 1;
        }
    }

    /// Whose message it is, by its SPIs.
    fn owner(&self, header: &Header) -> Owner {
        if header.major != 2 || begins(header) {
            return Owner::Nobody;
        }
        // The initiator flag says whose SPI is whose: that of the sender's role.
        let (own, other) =
            if header.flags.initiator { (header.spi_r, header.spi_i) } else { (header.spi_i, header.spi_r) };
        let Some(id) = self.by_spi.get(&own).copied() else { return Owner::Nobody };
        let first = is_first(header.exchange);
        let fits = self.sas.get(&id).is_some_and(|sa| {
            let theirs = if sa.initiator { sa.spi_r } else { sa.spi_i };
            let waiting = matches!(sa.phase, Phase::Init(_));
            sa.initiator != header.flags.initiator && (theirs == other || (waiting && first))
        });
        if fits { Owner::Sa(id) } else { Owner::Mismatch }
    }

    pub(crate) fn answered(&mut self, id: ActionId, completion: Completion) {
        let Some((owner, wait)) = self.pending.remove(&id) else { return };
        if !self.sas.contains_key(&owner) {
            // The IKE_SA went while its question was open. What it would have got is given back; installations have
            // been taken back when it went.
            if let (Wait::Lease(lease), Completion::Lease(Ok(leased))) = (wait, completion) {
                let addresses = leased.addresses;
                self.order(Action::Release { pools: lease.pools, identity: lease.identity, addresses });
            }
            return;
        }
        self.with(owner, |sa, core| match (wait, completion) {
            (Wait::Resolve, Completion::Resolved(addresses)) => sa.on_resolved(core, &addresses),
            (Wait::Source, Completion::Source(source)) => sa.on_source(core, source),
            (Wait::Roam { remote, turn }, Completion::Source(source)) => {
                sa.on_roam_source(core, turn, remote, source);
            }
            (Wait::Lease(_), Completion::Lease(result)) => sa.on_lease(core, result),
            (Wait::VirtualIps, Completion::Done(result)) => sa.on_vips_installed(core, result),
            (Wait::Install { child }, Completion::Done(result)) => sa.on_installed(core, child, result),
            (Wait::Usage, Completion::Usage(usage)) => sa.on_usage(core, usage),
            (Wait::Idle { child }, Completion::Usage(usage)) => sa.on_idle_usage(core, child, usage),
            // A driver that answers with something else has answered no.
            (Wait::Resolve, _) => sa.on_resolved(core, &[]),
            (Wait::Source, _) => sa.on_source(core, Err(UNFIT.to_owned())),
            (Wait::Roam { remote, turn }, _) => sa.on_roam_source(core, turn, remote, Err(UNFIT.to_owned())),
            (Wait::Lease(_), _) => sa.on_lease(core, Err(UNFIT.to_owned())),
            (Wait::VirtualIps, _) => sa.on_vips_installed(core, Err(UNFIT.to_owned())),
            (Wait::Install { child }, _) => sa.on_installed(core, child, Err(UNFIT.to_owned())),
            (Wait::Usage, _) => sa.on_usage(core, None),
            (Wait::Idle { child }, _) => sa.on_idle_usage(core, child, None),
        });
    }
}

const UNFIT: &str = "the driver gave an unfitting answer";
