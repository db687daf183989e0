//! Keys of a CHILD_SA, its installation, and what follows from that (RFC 7296 §2.17, §2.8).

use std::sync::Arc;

use adit_crypto::{Encryption, Integrity, Secret, kdf};
use adit_ipsec::{ChildSa, Limits, Mode, SaKeys, Selector};
use adit_wire::{ExchangeType, NotifyType, Payload};

use crate::action::Action;
use crate::config::ChildConfig;
use crate::core::{Core, Wait, log};
use crate::event::{ChildKeysExport, Event};
use crate::reason::Reason;
use crate::sa::child::show;
use crate::sa::child_create::pfs_groups;
use crate::sa::proposals::ChildSuite;
use crate::sa::seal::crypto;
use crate::sa::transport::is_child_notify;
use crate::sa::{Child, Fatal, IkeSa, Passive, Step, Task};
use crate::view::ChildState;

/// A CHILD_SA that is negotiated and not installed yet.
pub(crate) struct NewChild {
    pub config: Arc<ChildConfig>,
    pub suite: ChildSuite,
    /// As negotiated.
    pub mode: Mode,
    /// The peer takes padded inner packets.
    pub tfc: bool,
    pub spi_in: u32,
    pub spi_out: u32,
    pub local_ts: Vec<Selector>,
    pub remote_ts: Vec<Selector>,
    pub replaces: Option<u32>,
    /// We are the initiator of the exchange.
    pub asked: bool,
    pub tags: Vec<u64>,
    /// It has lost a rekey collision already.
    pub redundant: bool,
}

/// How much a CHILD_SA may carry, and for how long.
fn limits(config: &ChildConfig, spi_in: u32) -> Limits {
    let given = |value: u64| (value > 0).then_some(value);
    // The SPI is random: it serves as the jitter that keeps both ends from rekeying at once.
    let jitter = |soft: u64, rand: u64| {
        let part = rand.min(soft / 2).checked_mul(u64::from(spi_in & 0xffff)).map_or(0, |n| n / 0x1_0000);
        soft - part
    };
    Limits {
        soft_bytes: given(config.rekey_bytes).map(|soft| jitter(soft, config.rand_bytes)),
        hard_bytes: given(config.life_bytes),
        soft_packets: given(config.rekey_packets).map(|soft| jitter(soft, config.rand_packets)),
        hard_packets: given(config.life_packets),
        hard_time: (!config.life_time.is_zero()).then_some(config.life_time),
    }
}

impl IkeSa {
    /// Derives the keys of a CHILD_SA and asks for its installation. The id is that of the new child.
    pub(crate) fn install_child(
        &mut self,
        core: &mut Core,
        new: NewChild,
        shared: Option<&Secret>,
        ni: &[u8],
        nr: &[u8],
    ) -> Fatal<u32> {
        let keys = self.keys.as_ref().ok_or_else(|| crypto("no keys"))?;
        let suite = new.suite;
        let encr = Encryption::from_id(suite.encr.id, suite.encr.key_bits)
            .ok_or_else(|| crypto("the negotiated ESP encryption is not served"))?;
        let integ = match suite.integ {
            None => None,
            Some(transform) => Some(
                Integrity::from_id(transform.id)
                    .ok_or_else(|| crypto("the negotiated ESP integrity is not served"))?,
            ),
        };
        let derived = kdf::child_keys(keys.prf, &keys.sk_d, shared, ni, nr, encr, integ).map_err(crypto)?;
        let direction = |encr_key: &Secret, integ_key: &Secret| SaKeys {
            encr: suite.encr.id,
            encr_key_bits: suite.encr.key_bits,
            integ: suite.integ.map_or(0, |transform| transform.id),
            encr_key: encr_key.as_bytes().to_vec(),
            integ_key: integ_key.as_bytes().to_vec(),
        };
        let to_responder = direction(&derived.encr_i, &derived.integ_i);
        let to_initiator = direction(&derived.encr_r, &derived.integ_r);
        let (keys_out, keys_in) =
            if new.asked { (to_responder, to_initiator) } else { (to_initiator, to_responder) };

        let id = core.next_child_id();
        let reqid = new
            .replaces
            .and_then(|old| self.child(old))
            .map(|old| old.reqid)
            .or_else(|| (new.config.reqid != 0).then_some(new.config.reqid))
            .or_else(|| core.traps.reqid(&self.conn.name, &new.config.name, &new.local_ts, &new.remote_ts))
            .unwrap_or_else(|| core.next_reqid());
        let options = self.child_options(core, &new);
        // RFC 7296 §2.8: the responder of a rekeying does not send on the new SA before it knows that the initiator
        // has it.
        let outbound_ready = (new.asked || new.replaces.is_none()) && !new.redundant;
        let (path, udp_encap) = self.esp_path();
        let sa = ChildSa {
            id,
            reqid,
            name: Arc::clone(&new.config.name),
            ike_name: Arc::clone(&self.conn.name),
            mode: new.mode,
            spi_in: new.spi_in,
            spi_out: new.spi_out,
            keys_in,
            keys_out,
            local_ts: new.local_ts.clone(),
            remote_ts: new.remote_ts.clone(),
            local: path.local,
            remote: path.remote,
            udp_encap,
            esn: suite.esn,
            replay_window: new.config.replay_window,
            headers: new.config.headers,
            // RFC 4303 §2.7: what comes after a payload can only be told from it by the length an IP header says.
            tfc_padding: if new.tfc && new.mode == Mode::Tunnel { new.config.tfc_padding } else { 0 },
            virtual_ips: self.local_vips.clone(),
            limits: limits(&new.config, new.spi_in),
            options: Arc::clone(&options),
            outbound_ready,
            replaces: new.replaces,
        };
        if core.settings.export_keys {
            let secret = |bytes: &[u8]| Secret::from(bytes);
            core.event(Event::ChildKeys(Box::new(ChildKeysExport {
                local: sa.local,
                remote: sa.remote,
                spi_in: sa.spi_in,
                spi_out: sa.spi_out,
                encr: suite.encr.id,
                encr_key_bits: suite.encr.key_bits,
                integ: sa.keys_in.integ,
                encr_in: secret(&sa.keys_in.encr_key),
                integ_in: secret(&sa.keys_in.integ_key),
                encr_out: secret(&sa.keys_out.encr_key),
                integ_out: secret(&sa.keys_out.integ_key),
            })));
        }
        // Most IKE_SAs have one child for ever: no room for four.
        self.children.reserve_exact(1);
        self.children.push(Child {
            id,
            config: new.config,
            options,
            reqid,
            state: ChildState::Installing,
            spi_in: new.spi_in,
            spi_out: new.spi_out,
            suite,
            mode: new.mode,
            local_ts: new.local_ts.into_boxed_slice(),
            remote_ts: new.remote_ts.into_boxed_slice(),
            installed_at: None,
            rekey_at: None,
            expire_at: None,
            remove_at: None,
            idle_at: None,
            asked: new.asked,
            tags: new.tags,
            delete_tags: Vec::new(),
            replaces: new.replaces,
            replaced_by: None,
            outbound_pending: !outbound_ready,
            told: false,
            rekey_failures: 0,
            revive: false,
            redundant: new.redundant,
            condemned: false,
        });
        core.child_owner.insert(id, self.id);
        if outbound_ready && let Some(old) = new.replaces {
            // The peer has it, or it would not have had it rekeyed.
            self.activate(core, old);
        }
        core.ask(self.id, Wait::Install { child: id }, Action::InstallChild(Box::new(sa)));
        Ok(id)
    }

    /// The data plane's word on a child.
    pub(crate) fn on_installed(&mut self, core: &mut Core, id: u32, result: Result<(), String>) {
        let Some(child) = self.child(id).filter(|child| child.state == ChildState::Installing) else {
            return;
        };
        let asked = child.asked;
        match result {
            Ok(()) => {
                if matches!(self.passive.as_deref(), Some(Passive { step: Step::AuthInstall { child }, .. }) if *child == id)
                {
                    // Whoever listens hears of the IKE_SA before its child.
                    self.become_established(core);
                }
                self.child_is_up(core, id);
                if !asked {
                    self.answer_installed(core, id, None);
                }
            }
            Err(detail) => {
                log!(core, Ike, 1, self, "unable to install inbound and outbound IPsec SA (SAD): {detail}");
                let reason = Reason::InstallFailed { detail };
                core.event(Event::Failure {
                    conn: Some(Arc::clone(&self.conn.name)),
                    child: self.child(id).map(|child| Arc::clone(&child.config.name)),
                    peer: self.peer_addr(),
                    reason: reason.clone(),
                });
                if asked {
                    self.asked_install_failed(core, id, reason);
                } else {
                    let old = self.child(id).and_then(|child| child.replaces);
                    self.drop_child(core, id);
                    self.answer_installed(core, id, Some(reason));
                    // Unless ours is under way, it goes on as before.
                    if let Some(old) = old
                        && self.contest_of(old).is_none()
                    {
                        self.rekey_later(core, old);
                    }
                }
            }
        }
        self.pump(core);
    }

    /// The peer has installed what we cannot: it must go there, too.
    fn asked_install_failed(&mut self, core: &mut Core, id: u32, reason: Reason) {
        let Some(child) = self.child_mut(id) else { return };
        let tags = std::mem::take(&mut child.tags);
        let (spi, replaces, redundant) = (child.spi_in, child.replaces, child.redundant);
        let name = Arc::clone(&child.config.name);
        self.drop_child(core, id);
        core.outcome(&tags, Err(reason));
        self.queue.push_back(Task::DeleteSpi { spi });
        match replaces {
            Some(_) if redundant => {}
            Some(old) => self.rekey_later(core, old),
            None => {
                core.attempt_failed(&self.conn.name, &name);
                self.reauth_done(core);
                self.close_if_useless(core);
            }
        }
    }

    /// Continues the answer that waited for an installation.
    fn answer_installed(&mut self, core: &mut Core, id: u32, failed: Option<Reason>) {
        let waits = |step: &Step| matches!(step, Step::AuthInstall { child } | Step::CreateInstall { child } if *child == id);
        let Some(mut passive) = self.passive.take_if(|passive| waits(&passive.step)) else { return };
        let during_auth = matches!(passive.step, Step::AuthInstall { .. });
        if failed.is_some() {
            // What the child would have been is taken back; the rest of IKE_AUTH stands.
            passive.payloads.retain(|payload| match payload {
                Payload::Sa(_) | Payload::TsI(_) | Payload::TsR(_) => false,
                Payload::Notify { .. } => !is_child_notify(payload),
                _ => during_auth,
            });
            passive.payloads.push(Payload::notify(NotifyType::TEMPORARY_FAILURE, Vec::new()));
        }
        if during_auth {
            self.complete_auth(core, passive.mid, passive.payloads);
        } else {
            self.respond(core, ExchangeType::CREATE_CHILD_SA, passive.mid, passive.payloads);
        }
    }

    fn child_is_up(&mut self, core: &mut Core, id: u32) {
        if self.child(id).is_some_and(|child| child.redundant) {
            return self.redundant_is_up(core, id);
        }
        let now = core.now;
        let Some(config) = self.child(id).map(|child| Arc::clone(&child.config)) else { return };
        let jitter = core.random_duration(config.rand_time);
        let Some(child) = self.child_mut(id) else { return };
        child.state = ChildState::Installed;
        child.installed_at = Some(now);
        if !config.rekey_time.is_zero() {
            child.rekey_at = Some(now + config.rekey_time.saturating_sub(jitter));
        }
        if !config.life_time.is_zero() {
            child.expire_at = Some(now + config.life_time);
        }
        if !config.inactivity.is_zero() {
            child.idle_at = Some(now + config.inactivity);
        }
        let tags = std::mem::take(&mut child.tags);
        let replaces = child.replaces;
        let text = format!(
            "{}CHILD_SA {} established with SPIs {:08x}_i {:08x}_o and TS {} === {}",
            if child.outbound_pending { "inbound " } else { "" },
            child.label(),
            child.spi_in,
            child.spi_out,
            show(&child.local_ts),
            show(&child.remote_ts)
        );
        log!(core, Ike, 0, self, "{text}");
        if replaces.is_none() {
            self.tell_pfs(core, id, &config);
        }
        if replaces.and_then(|old| self.rival_of(old)) == Some(id) {
            // RFC 7296 §2.8.1: the answer to our own rekeying will tell which of the two is to stay.
            log!(core, Ike, 1, self, "detected CHILD_SA rekey collision");
        } else {
            self.take_place(core, id);
        }
        if self.vips_pending {
            // Without its addresses it is of no use: whoever waits hears of it then.
            if let Some(child) = self.child_mut(id) {
                child.tags = tags;
            }
        } else {
            core.outcome(&tags, Ok(()));
        }
        core.came_back(&self.conn.name, &config.name);
        self.reauth_done(core);
        if self.child(id).is_some_and(|child| child.condemned) {
            self.delete_child(core, id);
        }
    }

    /// A first child says nothing about PFS: what its rekeyings will demand is to be found in the log, before they fail.
    fn tell_pfs(&self, core: &mut Core, id: u32, config: &ChildConfig) {
        let groups = pfs_groups(&config.esp_proposals);
        let negotiated = self.child(id).is_some_and(|child| child.suite.ke.is_some());
        if !negotiated && !groups.contains(&0) {
            let groups = crate::reason::groups(&groups);
            log!(
                core,
                Ike,
                1,
                self,
                "rekeying CHILD_SA {}{{{id}}} will ask for key exchange by {groups}",
                config.name
            );
        }
    }
}
