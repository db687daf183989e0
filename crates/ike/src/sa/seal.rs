//! Protection of messages: SK payloads and their fragments, out and in (RFC 7296 §3.14, RFC 5282, RFC 7383).

use adit_crypto::{Cipher, CryptoError, Encryption, Integrity, Prf, kdf};
use adit_wire::{
    Encrypted, ExchangeType, Flags, HEADER_LEN, Header, Payload, PayloadType, emit_encrypted_prefix,
    emit_payloads,
};

use crate::config::Fragmentation;
use crate::core::{Core, log};
use crate::event::{Event, IkeKeysExport};
use crate::reason::Reason;
use crate::sa::fragments::MAX_FRAGMENTS;
use crate::sa::{Fatal, IkeSa, Keys, Suite};

/// Keys that only the handshake needs.
pub(crate) struct AuthKeys {
    pub sk_pi: adit_crypto::Secret,
    pub sk_pr: adit_crypto::Secret,
}

pub(crate) fn crypto(error: impl std::fmt::Display) -> Reason {
    Reason::Crypto { detail: error.to_string() }
}

impl Suite {
    /// The primitives behind the numbers. Fails for what the library does not have.
    pub(crate) fn primitives(&self) -> Fatal<(Prf, Encryption, Option<Integrity>)> {
        let unknown = |what: &str| Reason::Crypto { detail: format!("{what} is not served") };
        let prf = Prf::from_id(self.prf.id).ok_or_else(|| unknown("the negotiated PRF"))?;
        let encr = Encryption::from_id(self.encr.id, self.encr.key_bits)
            .ok_or_else(|| unknown("the negotiated encryption"))?;
        let integ = match self.integ {
            None => None,
            Some(transform) => {
                Some(Integrity::from_id(transform.id).ok_or_else(|| unknown("the negotiated integrity"))?)
            }
        };
        Ok((prf, encr, integ))
    }
}

impl IkeSa {
    /// Takes keys into use that `derived` holds, and tells whoever wants to read along.
    pub(crate) fn use_keys(
        &mut self,
        core: &mut Core,
        suite: Suite,
        derived: kdf::IkeKeys,
    ) -> Fatal<AuthKeys> {
        let (prf, encr, integ) = suite.primitives()?;
        let cipher = |encr_key: &[u8], integ_key: &[u8]| Cipher::compact(encr, integ, encr_key, integ_key);
        let to_responder = cipher(derived.sk_ei.as_bytes(), derived.sk_ai.as_bytes()).map_err(crypto)?;
        let to_initiator = cipher(derived.sk_er.as_bytes(), derived.sk_ar.as_bytes()).map_err(crypto)?;
        if core.settings.export_keys {
            core.event(Event::IkeKeys(Box::new(IkeKeysExport {
                spi_i: self.spi_i,
                spi_r: self.spi_r,
                encr: suite.encr.id,
                encr_key_bits: suite.encr.key_bits,
                integ: suite.integ.map_or(0, |transform| transform.id),
                sk_ei: derived.sk_ei.clone(),
                sk_er: derived.sk_er.clone(),
                sk_ai: derived.sk_ai.clone(),
                sk_ar: derived.sk_ar.clone(),
            })));
        }
        let (seal, open) =
            if self.initiator { (to_responder, to_initiator) } else { (to_initiator, to_responder) };
        self.keys = Some(Box::new(Keys { suite, prf, sk_d: derived.sk_d, seal, open, sealed: 0 }));
        Ok(AuthKeys { sk_pi: derived.sk_pi, sk_pr: derived.sk_pr })
    }

    /// The header of a message of ours on this IKE_SA.
    pub(crate) fn header(&self, exchange: ExchangeType, response: bool, message_id: u32) -> Header {
        Header {
            spi_i: self.spi_i,
            spi_r: self.spi_r,
            next: PayloadType::NONE,
            major: 2,
            minor: 0,
            exchange,
            flags: Flags { initiator: self.initiator, response, version: false },
            message_id,
            length: 0,
        }
    }

    /// Seals a message into one datagram, or into fragments if it is too large and the peer can take them.
    pub(crate) fn seal(
        &mut self,
        core: &mut Core,
        exchange: ExchangeType,
        response: bool,
        mid: u32,
        payloads: &[Payload],
    ) -> Fatal<Vec<Vec<u8>>> {
        log!(core, Enc, 1, self, "generating {}", adit_wire::describe(exchange, response, mid, payloads));
        let (first, body) = emit_payloads(payloads).map_err(crypto)?;
        let header = self.header(exchange, response, mid);
        let may_split = self.peer_fragments
            && matches!(self.conn.fragmentation, Fragmentation::Yes | Fragmentation::Force);
        let room = self.room(core);
        let (overhead, block) = self.overhead()?;
        // The padding ends with its own length.
        let padded = |len: usize| (len + 1).next_multiple_of(block);
        let whole = HEADER_LEN + 4 + overhead + padded(body.len());
        if !may_split || whole <= room {
            return Ok(vec![self.seal_one(core, &header, first, None, &body)?]);
        }
        // RFC 7383 §2.5: each fragment has 8 bytes of payload header. What is left is whole blocks, less the pad
        // length.
        let each = room.saturating_sub(HEADER_LEN + 8 + overhead);
        let each = (each / block * block).saturating_sub(1).max(64);
        let total = body.len().div_ceil(each);
        let total = u16::try_from(total)
            .ok()
            .filter(|total| usize::from(*total) <= MAX_FRAGMENTS)
            .ok_or(Reason::Limit { what: "fragments per message" })?;
        log!(core, Enc, 1, self, "splitting IKE message ({whole} bytes) into {total} fragments");
        let mut packets = Vec::with_capacity(usize::from(total));
        for (number, chunk) in (1..=total).zip(body.chunks(each)) {
            // RFC 7383 §2.5: only the first one names the first payload inside.
            let inner = if number == 1 { first } else { PayloadType::NONE };
            packets.push(self.seal_one(core, &header, inner, Some((number, total)), chunk)?);
        }
        Ok(packets)
    }

    /// Bytes of an IKE message that fit into one datagram on this path.
    fn room(&self, core: &Core) -> usize {
        let size = match core.settings.fragment_size {
            0 => 1280,
            size => usize::from(size),
        };
        let ip = if self.path.remote.is_ipv4() { 20 } else { 40 };
        let marker = if self.path.local.port() == core.settings.port_nat_t { 4 } else { 0 };
        size.saturating_sub(ip + 8 + marker)
    }

    /// IV and ICV; and the block that the rest is padded to.
    fn overhead(&self) -> Fatal<(usize, usize)> {
        let keys = self.keys.as_ref().ok_or_else(|| crypto("no keys"))?;
        let block = keys.seal.block_len().max(1);
        Ok((keys.seal.iv_len() + keys.seal.icv_len(), block))
    }

    fn seal_one(
        &mut self,
        core: &mut Core,
        header: &Header,
        first: PayloadType,
        fragment: Option<(u16, u16)>,
        body: &[u8],
    ) -> Fatal<Vec<u8>> {
        let keys = self.keys.as_mut().ok_or_else(|| crypto("no keys"))?;
        let (iv_len, icv_len, block) =
            (keys.seal.iv_len(), keys.seal.icv_len(), keys.seal.block_len().max(1));
        let padded = (body.len() + 1).next_multiple_of(block);
        let mut message =
            emit_encrypted_prefix(header, first, fragment, iv_len + padded + icv_len).map_err(crypto)?;
        let mut iv = vec![0; iv_len];
        if keys.seal.needs_random_iv() {
            core.rng.fill(&mut iv);
        } else {
            // RFC 5282 §3.1: unique per key, a counter will do.
            let counter = keys.sealed.to_be_bytes();
            let skip = iv_len.saturating_sub(counter.len());
            for (to, from) in iv.iter_mut().skip(skip).zip(counter) {
                *to = from;
            }
        }
        keys.sealed = keys.sealed.checked_add(1).ok_or_else(|| crypto("message counter exhausted"))?;
        let mut data = Vec::with_capacity(padded);
        data.extend_from_slice(body);
        data.resize(padded, 0);
        let pad = u8::try_from(padded - body.len() - 1).map_err(|_| crypto("padding"))?;
        if let Some(last) = data.last_mut() {
            *last = pad;
        }
        let mut icv = vec![0; icv_len];
        keys.seal.seal(&iv, &message, &mut data, &[], &mut icv).map_err(crypto)?;
        message.extend_from_slice(&iv);
        message.extend_from_slice(&data);
        message.extend_from_slice(&icv);
        Ok(message)
    }

    /// Checks and decrypts an Encrypted payload of `message`.
    pub(crate) fn open(&self, message: &[u8], encrypted: &Encrypted<'_>) -> Result<Vec<u8>, CryptoError> {
        let keys = self.keys.as_ref().ok_or(CryptoError::Authentication)?;
        let aad = message.get(..encrypted.aad_len).ok_or(CryptoError::Authentication)?;
        let (iv, rest) =
            encrypted.body.split_at_checked(keys.open.iv_len()).ok_or(CryptoError::Authentication)?;
        let data_len = rest.len().checked_sub(keys.open.icv_len()).ok_or(CryptoError::Authentication)?;
        let (data, icv) = rest.split_at_checked(data_len).ok_or(CryptoError::Authentication)?;
        let mut data = data.to_vec();
        keys.open.open(iv, aad, &mut data, &[], icv)?;
        let pad = usize::from(data.pop().ok_or(CryptoError::Malformed("padding"))?);
        let len = data.len().checked_sub(pad).ok_or(CryptoError::Malformed("padding"))?;
        data.truncate(len);
        Ok(data)
    }
}
