//! IKE messages: any bytes end in a value or an error, a value prints, and what it is written as reads the same.

use adit_ipsec::{Identity, Proposal, Selector, narrow, select_proposal};
use adit_wire::{Envelope, Payload, PayloadType, describe, emit_clear, emit_payloads, parse_payloads};

pub(super) fn run(data: &[u8]) {
    if let Ok(envelope) = Envelope::parse(data) {
        walk(&envelope.clear);
        let header = envelope.header;
        describe(header.exchange, header.flags.response, header.message_id, &envelope.clear);
        if let Some(encrypted) = &envelope.encrypted {
            assert_eq!(encrypted.aad_len + encrypted.body.len(), data.len());
            return;
        }
        if let Ok(again) = emit_clear(&header, &envelope.clear) {
            let second = Envelope::parse(&again).expect("what was written reads");
            assert_eq!(plain(second.clear), plain(envelope.clear));
        }
    }
    // The inside of an encrypted payload, with a first byte for its type.
    let Some((first, body)) = data.split_first() else { return };
    if let Ok(payloads) = parse_payloads(PayloadType(*first), body) {
        walk(&payloads);
        if let Ok((kind, again)) = emit_payloads(&payloads) {
            let second = parse_payloads(kind, &again).expect("what was written reads");
            assert_eq!(plain(second), plain(payloads));
        }
    }
}

/// Without what the second form need not have: unknown transforms are gone, and with them the reason to refuse.
fn plain(mut payloads: Vec<Payload>) -> Vec<Payload> {
    for payload in &mut payloads {
        if let Payload::Sa(proposals) = payload {
            proposals.iter_mut().for_each(|p| p.acceptable = true);
        }
    }
    payloads
}

/// What the protocol does with payloads first of all.
fn walk(payloads: &[Payload]) {
    for payload in payloads {
        match payload {
            Payload::Sa(proposals) => {
                let offered: Vec<(u8, Proposal)> =
                    proposals.iter().map(|p| (p.num, p.proposal.clone())).collect();
                for (configured, ke_optional) in
                    [(Proposal::default_ike(), false), (Proposal::default_esp(), true)]
                {
                    if let Some((_, chosen)) = select_proposal(&configured, &offered) {
                        let has_ke = chosen.first(adit_ipsec::TransformType::KeyExchange).is_some();
                        assert!(has_ke || ke_optional);
                        assert!(chosen.first(adit_ipsec::TransformType::Encryption).is_some());
                    }
                }
                proposals.iter().for_each(|p| drop(p.proposal.to_string()));
            }
            Payload::IdI(id) | Payload::IdR(id) => {
                if let Ok(identity) = Identity::from_wire(id.kind, &id.data) {
                    assert!(!identity.to_string().chars().any(char::is_control));
                    assert_eq!((identity.wire_kind(), identity.wire_data()), (id.kind, id.data.clone()));
                    assert_eq!(identity.matches(&identity), adit_ipsec::MatchQuality::Exact);
                }
            }
            Payload::TsI(selectors) | Payload::TsR(selectors) => {
                for narrowed in narrow(&[Selector::any_v4(), Selector::any_v6()], selectors) {
                    assert!(selectors.iter().any(|offered| offered.contains(&narrowed)));
                    let cover = narrowed.cidrs();
                    assert!(!cover.is_empty() && cover.len() <= 254);
                    drop(narrowed.to_string());
                }
            }
            _ => {}
        }
    }
}
