//! The payloads of one received message, taken out by kind.

use adit_ipsec::{Proposal, Selector};
use adit_wire::{ConfigKind, IdPayload, NotifyType, Payload, ProposalPayload};

/// A message's payloads. Taking a kind that comes twice gives the first.
pub(crate) struct Message(pub Vec<Payload>);

macro_rules! take {
    ($self:ident, $pattern:pat => $value:expr) => {{
        let at = $self.0.iter().position(|payload| {
            #[allow(unused_variables)]
            let found = matches!(payload, $pattern);
            found
        })?;
        match $self.0.remove(at) {
            $pattern => Some($value),
            _ => None,
        }
    }};
}

impl Message {
    pub(crate) fn sa(&mut self) -> Option<Vec<ProposalPayload>> {
        take!(self, Payload::Sa(proposals) => proposals)
    }

    pub(crate) fn ke(&mut self) -> Option<(u16, Vec<u8>)> {
        take!(self, Payload::KeyExchange { group, data } => (group, data))
    }

    pub(crate) fn nonce(&mut self) -> Option<Vec<u8>> {
        take!(self, Payload::Nonce(nonce) => nonce)
    }

    pub(crate) fn id_i(&mut self) -> Option<IdPayload> {
        take!(self, Payload::IdI(id) => id)
    }

    pub(crate) fn id_r(&mut self) -> Option<IdPayload> {
        take!(self, Payload::IdR(id) => id)
    }

    pub(crate) fn auth(&mut self) -> Option<(u8, Vec<u8>)> {
        take!(self, Payload::Auth { method, data } => (method, data))
    }

    pub(crate) fn ts_i(&mut self) -> Option<Vec<Selector>> {
        take!(self, Payload::TsI(selectors) => selectors)
    }

    pub(crate) fn ts_r(&mut self) -> Option<Vec<Selector>> {
        take!(self, Payload::TsR(selectors) => selectors)
    }

    pub(crate) fn eap(&mut self) -> Option<Vec<u8>> {
        take!(self, Payload::Eap(packet) => packet)
    }

    pub(crate) fn config(&mut self, wanted: ConfigKind) -> Option<Vec<(u16, Vec<u8>)>> {
        let at = self
            .0
            .iter()
            .position(|payload| matches!(payload, Payload::Config { kind, .. } if *kind == wanted))?;
        match self.0.remove(at) {
            Payload::Config { attributes, .. } => Some(attributes),
            _ => None,
        }
    }

    /// X.509 certificates (encoding 4), in order, at most eight.
    pub(crate) fn certificates(&self) -> Vec<&[u8]> {
        self.0
            .iter()
            .filter_map(|payload| match payload {
                Payload::Cert { encoding: 4, data } => Some(data.as_slice()),
                _ => None,
            })
            .take(8)
            .collect()
    }

    /// Hashes of authorities asked for, and whether there was a CERTREQ at all.
    pub(crate) fn cert_requests(&self) -> Option<Vec<[u8; 20]>> {
        let mut found = None;
        for payload in &self.0 {
            if let Payload::CertRequest { encoding: 4, authorities } = payload {
                let list: &mut Vec<[u8; 20]> = found.get_or_insert_default();
                list.extend(authorities.iter().take(256));
            }
        }
        found
    }

    pub(crate) fn notify(&self, wanted: NotifyType) -> Option<&[u8]> {
        self.0.iter().find_map(|payload| match payload {
            Payload::Notify { kind, data, .. } if *kind == wanted => Some(data.as_slice()),
            _ => None,
        })
    }

    pub(crate) fn has_notify(&self, wanted: NotifyType) -> bool {
        self.notify(wanted).is_some()
    }

    /// Protocol and SPI of a notify.
    pub(crate) fn notify_spi(&self, wanted: NotifyType) -> Option<(u8, &[u8])> {
        self.0.iter().find_map(|payload| match payload {
            Payload::Notify { kind, protocol, spi, .. } if *kind == wanted => {
                Some((*protocol, spi.as_slice()))
            }
            _ => None,
        })
    }

    pub(crate) fn notifies(&self, wanted: NotifyType) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter_map(move |payload| match payload {
            Payload::Notify { kind, data, .. } if *kind == wanted => Some(data.as_slice()),
            _ => None,
        })
    }

    /// The first error notify, known or not (RFC 7296 §3.10.1: an unknown error is an error all the same).
    pub(crate) fn error(&self) -> Option<(NotifyType, &[u8])> {
        self.0.iter().find_map(|payload| match payload {
            Payload::Notify { kind, data, .. } if kind.is_error() => Some((*kind, data.as_slice())),
            _ => None,
        })
    }
}

/// A notify with a two-octet group number as its data.
pub(crate) fn invalid_ke(group: u16) -> Payload {
    Payload::notify(NotifyType::INVALID_KE_PAYLOAD, group.to_be_bytes().to_vec())
}

/// The group in an INVALID_KE_PAYLOAD.
pub(crate) fn wanted_group(data: &[u8]) -> Option<u16> {
    data.first_chunk::<2>().map(|bytes| u16::from_be_bytes(*bytes))
}

/// Numbered proposals with one SPI for all.
pub(crate) fn offer(proposals: &[Proposal], spi: &[u8]) -> Payload {
    let numbered = proposals.iter().take(64).zip(1..=u8::MAX).map(|(proposal, num)| ProposalPayload {
        num,
        spi: spi.to_vec(),
        proposal: proposal.clone(),
        acceptable: true,
    });
    Payload::Sa(numbered.collect())
}

/// The acceptable ones among offered proposals.
pub(crate) fn acceptable(offered: &[ProposalPayload]) -> Vec<(u8, Proposal)> {
    offered
        .iter()
        .filter(|proposal| proposal.acceptable)
        .map(|proposal| (proposal.num, proposal.proposal.clone()))
        .collect()
}
