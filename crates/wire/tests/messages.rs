//! Round trips, truncation and damage of whole messages.
#![allow(clippy::unwrap_used, reason = "helpers of tests are no tests by clippy's reckoning")]

use adit_ipsec::{Proposal, Protocol, Selector};
use adit_wire::*;
use proptest::prelude::*;

fn header(exchange: ExchangeType) -> Header {
    Header {
        spi_i: 0x0102_0304_0506_0708,
        spi_r: 0,
        next: PayloadType::NONE,
        major: 2,
        minor: 0,
        exchange,
        flags: Flags { initiator: true, ..Flags::default() },
        message_id: 0,
        length: 0,
    }
}

fn every_payload() -> Vec<Payload> {
    let proposals = Proposal::default_ike()
        .into_iter()
        .zip(1..)
        .map(|(proposal, num)| ProposalPayload { num, spi: vec![], proposal, acceptable: true })
        .collect();
    let esp = Proposal::parse(Protocol::Esp, "aes256gcm16-x25519-esn").unwrap();
    let v6 = Selector::from_cidr("2001:db8::".parse().unwrap(), 32).unwrap();
    vec![
        Payload::Sa(proposals),
        Payload::Sa(vec![ProposalPayload { num: 1, spi: vec![1, 2, 3, 4], proposal: esp, acceptable: true }]),
        Payload::KeyExchange { group: 31, data: vec![7; 32] },
        Payload::IdI(IdPayload { kind: 2, data: b"rw.lab".to_vec() }),
        Payload::IdR(IdPayload { kind: 1, data: vec![192, 0, 2, 1] }),
        Payload::Cert { encoding: 4, data: vec![0x30; 300] },
        Payload::CertRequest { encoding: 4, authorities: vec![[1; 20], [2; 20]] },
        Payload::Auth { method: 14, data: vec![9; 70] },
        Payload::Nonce(vec![5; 32]),
        Payload::notify(NotifyType::COOKIE, vec![1; 32]),
        Payload::Notify { protocol: 3, spi: vec![1, 2, 3, 4], kind: NotifyType::REKEY_SA, data: vec![] },
        Payload::Delete { protocol: 1, spis: vec![] },
        Payload::Delete { protocol: 3, spis: vec![vec![1, 2, 3, 4], vec![5, 6, 7, 8]] },
        Payload::Vendor(b"adit".to_vec()),
        Payload::TsI(vec![Selector::any_v4(), Selector::any_v6()]),
        Payload::TsR(vec![v6.with_ports(6, 80, 443)]),
        Payload::Config { kind: ConfigKind::Request, attributes: vec![(1, vec![]), (3, vec![10, 2, 0, 2])] },
        Payload::Eap(vec![1, 1, 0, 5, 1]),
        Payload::Unknown { kind: 200, critical: false },
    ]
}

#[test]
fn every_payload_survives_the_wire() {
    let message = emit_clear(&header(ExchangeType::IKE_SA_INIT), &every_payload()).unwrap();
    let envelope = Envelope::parse(&message).unwrap();
    assert_eq!(envelope.clear, every_payload());
    assert_eq!(envelope.header.length as usize, message.len());
    let (first, body) = emit_payloads(&every_payload()).unwrap();
    assert_eq!(parse_payloads(first, &body).unwrap(), every_payload());
}

#[test]
fn a_delete_without_spis_has_the_size_of_its_protocols() {
    let deletes = [1, 2, 3].map(|protocol| Payload::Delete { protocol, spis: vec![] });
    let (first, body) = emit_payloads(&deletes).unwrap();
    assert_eq!(parse_payloads(first, &body).unwrap(), deletes);
}

#[test]
fn every_prefix_is_refused() {
    let message = emit_clear(&header(ExchangeType::IKE_SA_INIT), &every_payload()).unwrap();
    for cut in 0..message.len() {
        assert!(Envelope::parse(&message[..cut]).is_err(), "{cut}");
        // and with a length that claims to fit
        let mut short = message[..cut].to_vec();
        if let Some(length) = short.get_mut(24..28) {
            length.copy_from_slice(&(cut as u32).to_be_bytes());
            assert!(Envelope::parse(&short).is_err(), "{cut}");
        }
    }
}

#[test]
fn the_log_line_names_every_payload() {
    assert_eq!(
        describe(ExchangeType::IKE_SA_INIT, false, 0, &every_payload()),
        "IKE_SA_INIT request 0 [ SA SA KE IDi IDr CERT CERTREQ AUTH No N(COOKIE) N(REKEY_SA) D D V TSi TSr \
         CPRQ(ADDR DNS) EAP/REQ/ID (200) ]"
    );
}

#[test]
fn versions() {
    let mut message = emit_clear(&header(ExchangeType::IKE_SA_INIT), &[]).unwrap();
    message[17] = 0x2f; // a higher minor version is accepted (RFC 7296 §2.5)
    assert!(Envelope::parse(&message).is_ok());
    message[17] = 0x30;
    let error = Envelope::parse(&message).unwrap_err();
    assert_eq!(error, WireError::UnsupportedVersion { major: 3, minor: 0 });
    assert_eq!(error.notify(), NotifyType::INVALID_MAJOR_VERSION);
}

#[test]
fn a_critical_unknown_payload_is_named_and_another_is_passed_over() {
    let known_v1 = Payload::Unknown { kind: 13, critical: true };
    let message = emit_clear(&header(ExchangeType::IKE_SA_INIT), &[known_v1]).unwrap();
    assert_eq!(Envelope::parse(&message).unwrap_err(), WireError::UnsupportedCritical(13));
}

#[test]
fn too_many_payloads_are_refused() {
    let many = vec![Payload::Vendor(vec![]); MAX_PAYLOADS + 1];
    let message = emit_clear(&header(ExchangeType::IKE_SA_INIT), &many).unwrap();
    assert_eq!(Envelope::parse(&message).unwrap_err(), WireError::TooManyPayloads);
    let (first, body) = emit_payloads(&many).unwrap();
    assert_eq!(parse_payloads(first, &body).unwrap_err(), WireError::TooManyPayloads);
}

#[test]
fn the_encrypted_payload_of_rfc_7634_appendix_b() {
    // the message before the IV: header and generic header of RFC 7634 Appendix B
    let prefix = emit_encrypted_prefix(
        &Header {
            spi_i: 0xc0c1_c2c3_c4c5_c6c7,
            spi_r: 0xd0d1_d2d3_d4d5_d6d7,
            message_id: 9,
            flags: Flags { response: true, initiator: false, version: false },
            ..header(ExchangeType::INFORMATIONAL)
        },
        PayloadType::NOTIFY,
        None,
        8 + 13 + 16,
    )
    .unwrap();
    let expected: Vec<u8> = ["c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d7", "2e2025200000000900000045", "29000029"]
        .concat()
        .as_bytes()
        .chunks(2)
        .map(|h| u8::from_str_radix(std::str::from_utf8(h).unwrap(), 16).unwrap())
        .collect();
    assert_eq!(prefix, expected);
    let message = [prefix.as_slice(), &[0; 37]].concat();
    let encrypted = Envelope::parse(&message).unwrap().encrypted.unwrap();
    assert_eq!(
        (encrypted.first_inner, encrypted.aad_len, encrypted.body.len()),
        (PayloadType::NOTIFY, 32, 37)
    );
}

#[test]
fn fragment_numbers() {
    for (number, total, fine) in [(1, 1, true), (2, 3, true), (0, 1, false), (1, 0, false), (4, 3, false)] {
        let mut message = emit_encrypted_prefix(
            &header(ExchangeType::IKE_AUTH),
            PayloadType::IDI,
            Some((number, total)),
            40,
        )
        .unwrap();
        message.extend([0; 40]);
        assert_eq!(Envelope::parse(&message).is_ok(), fine, "{number}/{total}");
    }
}

#[test]
fn nothing_may_follow_the_encrypted_payload() {
    let mut message =
        emit_encrypted_prefix(&header(ExchangeType::IKE_AUTH), PayloadType::IDI, None, 40).unwrap();
    message.extend([0; 44]);
    let length = message.len() as u32;
    message[24..28].copy_from_slice(&length.to_be_bytes());
    assert_eq!(Envelope::parse(&message).unwrap_err(), WireError::EncryptedNotLast);
}

#[test]
fn selectors_with_impossible_ranges_are_refused() {
    let ts = |kind: u8, length: u16, start: [u8; 4], end: [u8; 4]| {
        let mut body = vec![1, 0, 0, 0, kind, 0];
        body.extend(length.to_be_bytes());
        body.extend([0, 0, 0xff, 0xff]);
        body.extend(start);
        body.extend(end);
        let mut chain = vec![0, 0];
        chain.extend((body.len() as u16 + 4).to_be_bytes());
        chain.extend(body);
        parse_payloads(PayloadType::TSI, &chain)
    };
    assert!(ts(7, 16, [10, 0, 0, 1], [10, 0, 0, 2]).is_ok());
    assert!(ts(7, 16, [10, 0, 0, 2], [10, 0, 0, 1]).is_err());
    assert!(ts(8, 16, [10, 0, 0, 1], [10, 0, 0, 2]).is_err());
    for length in [0, 1, 3, 4, 8, 15, 17] {
        assert!(ts(7, length, [10, 0, 0, 1], [10, 0, 0, 2]).is_err(), "{length}");
    }
}

#[test]
fn what_is_not_understood_spoils_only_its_proposal_or_transform() {
    let good = Proposal::parse(Protocol::Ike, "aes256gcm16-prfsha256-x25519").unwrap();
    let one = |num| ProposalPayload { num, spi: vec![], proposal: good.clone(), acceptable: true };
    let (first, mut body) = emit_payloads(&[Payload::Sa(vec![one(1), one(2)])]).unwrap();
    // generic header 4, proposal header 8: type of the first transform
    body[4 + 8 + 4] = 99;
    let Payload::Sa(read) = &parse_payloads(first, &body).unwrap()[0] else { panic!() };
    assert_eq!((read[0].acceptable, read[1].acceptable), (false, true));
    // an unknown attribute of the second proposal's first transform
    let (first, mut body) = emit_payloads(&[Payload::Sa(vec![one(1)])]).unwrap();
    body[4 + 8 + 8..4 + 8 + 10].copy_from_slice(&0x8001_u16.to_be_bytes());
    let Payload::Sa(read) = &parse_payloads(first, &body).unwrap()[0] else { panic!() };
    // … which was the only one of its type: were the proposal taken, that type would go unanswered
    assert!(!read[0].acceptable && read[0].proposal.transforms.len() == good.transforms.len() - 1);
    let two = Proposal::parse(Protocol::Ike, "aes256gcm16-aes128gcm16-prfsha256-x25519").unwrap();
    let two = ProposalPayload { proposal: two, ..one(1) };
    let (first, mut body) = emit_payloads(&[Payload::Sa(vec![two])]).unwrap();
    body[4 + 8 + 8..4 + 8 + 10].copy_from_slice(&0x8001_u16.to_be_bytes());
    let Payload::Sa(read) = &parse_payloads(first, &body).unwrap()[0] else { panic!() };
    assert!(read[0].acceptable && read[0].proposal.transforms.len() == 3);
}

#[test]
fn an_spi_of_a_wrong_size_spoils_its_proposal() {
    let acceptable = |protocol, text, size| {
        let proposal = Proposal::parse(protocol, text).unwrap();
        let payload = ProposalPayload { num: 1, spi: vec![7; size], proposal, acceptable: true };
        let (first, body) = emit_payloads(&[Payload::Sa(vec![payload])]).unwrap();
        let Payload::Sa(read) = &parse_payloads(first, &body).unwrap()[0] else { panic!() };
        read[0].acceptable
    };
    let ike =
        [0, 1, 4, 7, 8, 9, 255].map(|size| acceptable(Protocol::Ike, "aes256gcm16-prfsha256-x25519", size));
    assert_eq!(ike, [true, false, false, false, true, false, false]);
    let esp = [0, 3, 4, 5, 8, 255].map(|size| acceptable(Protocol::Esp, "aes256gcm16", size));
    assert_eq!(esp, [false, false, true, false, false, false]);
}

/// A chain of one payload with this body.
fn one(kind: PayloadType, body: &[u8]) -> Result<Vec<Payload>, WireError> {
    let mut chain = vec![0, 0];
    chain.extend((body.len() as u16 + 4).to_be_bytes());
    chain.extend(body);
    parse_payloads(kind, &chain)
}

#[test]
fn lengths_of_nested_structures_at_their_edges() {
    // hostile-input case: every length field at 0, 1 and one less than its header
    for length in [0_u16, 1, 2, 3] {
        let [high, low] = length.to_be_bytes();
        assert!(
            parse_payloads(PayloadType::NONCE, &[0, 0, high, low, 1, 2, 3, 4]).is_err(),
            "payload {length}"
        );
        assert!(one(PayloadType::SA, &[0, 0, high, low, 1, 1, 0, 0]).is_err(), "proposal {length}");
        assert!(
            one(PayloadType::SA, &[0, 0, 0, 16, 1, 1, 0, 1, 0, 0, high, low, 1, 0, 0, 12]).is_err(),
            "transform {length}"
        );
        assert!(one(PayloadType::TSI, &[1, 0, 0, 0, 7, 0, high, low]).is_err(), "selector {length}");
    }
    // an attribute of length 0 is an attribute; one that reaches past the end is not
    assert!(one(PayloadType::CP, &[1, 0, 0, 0, 0, 1, 0, 0]).is_ok());
    assert!(one(PayloadType::CP, &[1, 0, 0, 0, 0, 1, 0, 1]).is_err());
    assert!(one(PayloadType::CP, &[1, 0, 0, 0, 0, 1, 0]).is_err());
    assert!(one(PayloadType::CP, &[5, 0, 0, 0]).is_err());
    let many = [vec![1, 0, 0, 0], [0, 1, 0, 0].repeat(300)].concat();
    assert!(one(PayloadType::CP, &many).is_err());
    // counts of deletes
    assert!(one(PayloadType::DELETE, &[3, 4, 0, 1, 1, 2, 3, 4]).is_ok());
    for bad in [
        &[3, 4, 0, 2, 1, 2, 3, 4][..],
        &[3, 4, 0, 0, 1, 2, 3, 4],
        &[3, 0, 0xff, 0xff],
        &[1, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1],
    ] {
        assert!(one(PayloadType::DELETE, bad).is_err(), "{bad:?}");
    }
    // an SPI longer than the notify
    assert!(one(PayloadType::NOTIFY, &[3, 5, 0x40, 9, 1, 2, 3, 4]).is_err());
    // identities (hostile-input case: over-long ones), nonces, certificate requests
    for (size, fine) in [(0, false), (1, true), (4096, true), (4097, false), (65_000, false)] {
        let body = [vec![2, 0, 0, 0], vec![b'a'; size]].concat();
        assert_eq!(one(PayloadType::IDI, &body).is_ok(), fine, "{size}");
    }
    for (size, fine) in [(0, false), (15, false), (16, true), (256, true), (257, false)] {
        assert_eq!(one(PayloadType::NONCE, &vec![1; size]).is_ok(), fine, "{size}");
    }
    for (size, fine) in [(0, true), (19, false), (20, true), (21, false), (40, true)] {
        assert_eq!(one(PayloadType::CERTREQ, &[vec![4], vec![1; size]].concat()).is_ok(), fine, "{size}");
    }
    for (size, fine) in [(0, false), (3, false), (4, true)] {
        assert_eq!(one(PayloadType::EAP, &vec![1; size]).is_ok(), fine, "{size}");
    }
    assert!(one(PayloadType::SK, &[0; 32]).is_err() && one(PayloadType::SKF, &[0; 32]).is_err());
}

#[test]
fn a_payload_without_selectors_is_neither_read_nor_written() {
    assert!(one(PayloadType::TSI, &[0, 0, 0, 0]).is_err());
    assert!(emit_payloads(&[Payload::TsI(vec![])]).is_err());
    // one of a type that is not known reads as none, so that nothing can be narrowed to it
    assert_eq!(one(PayloadType::TSR, &[1, 0, 0, 0, 10, 0, 0, 8, 1, 2, 3, 4]), Ok(vec![Payload::TsR(vec![])]));
}

#[test]
fn caps_on_proposals_and_transforms() {
    let proposal = Proposal::parse(Protocol::Ike, "aes256gcm16-prfsha256-x25519").unwrap();
    let of = |proposals: usize, transforms: usize| {
        let mut proposal = proposal.clone();
        proposal.transforms.resize(transforms, proposal.transforms[0]);
        let one = ProposalPayload { num: 1, spi: vec![], proposal, acceptable: true };
        let (first, body) = emit_payloads(&[Payload::Sa(vec![one; proposals])]).unwrap();
        parse_payloads(first, &body).is_ok()
    };
    assert!(of(MAX_PROPOSALS, 3) && !of(MAX_PROPOSALS + 1, 3));
    assert!(of(1, MAX_TRANSFORMS) && !of(1, MAX_TRANSFORMS + 1));
}

#[test]
fn reserved_bits_are_ignored() {
    // RFC 7296 §2.5: in the header's flags, the generic header, and a configuration attribute
    let payloads = [Payload::Nonce(vec![1; 16])];
    let mut message = emit_clear(&header(ExchangeType::IKE_SA_INIT), &payloads).unwrap();
    message[19] |= 0xc7;
    message[29] = 0x7f;
    assert_eq!(Envelope::parse(&message).unwrap().clear, payloads);
    // the critical bit of a payload that is known
    message[29] = 0x80;
    assert_eq!(Envelope::parse(&message).unwrap().clear, payloads);
    let Payload::Config { attributes, .. } = &one(PayloadType::CP, &[1, 9, 9, 9, 0x80, 1, 0, 0]).unwrap()[0]
    else {
        panic!()
    };
    assert_eq!(attributes, &[(1, vec![])]);
}

#[test]
fn log_lines_of_what_is_unusual() {
    let line = |payloads: &[Payload]| describe(ExchangeType::INFORMATIONAL, true, 7, payloads);
    assert_eq!(line(&[]), "INFORMATIONAL response 7 [ ]");
    let unusual = [
        Payload::notify(NotifyType(40_000), vec![]),
        Payload::Config { kind: ConfigKind::Ack, attributes: vec![] },
        Payload::Config { kind: ConfigKind::Reply, attributes: vec![(1, vec![]), (999, vec![])] },
        Payload::Eap(vec![3, 1, 0, 4]),
        Payload::Eap(vec![2, 1, 0, 5, 26]),
        Payload::Eap(vec![2, 1, 0, 5, 99]),
        Payload::Eap(vec![9, 1, 0, 4]),
    ];
    assert_eq!(
        line(&unusual),
        "INFORMATIONAL response 7 [ N((40000)) CPA CPRP(ADDR (999)) EAP/SUCC EAP/RES/MSCHAPV2 EAP/RES/(99) EAP ]"
    );
    assert_eq!(describe_fragment(ExchangeType::IKE_AUTH, false, 1, 1, 2), "IKE_AUTH request 1 [ EF(1/2) ]");
}

proptest! {
    #[test]
    fn bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), first in any::<u8>()) {
        let _ = Envelope::parse(&bytes);
        let _ = parse_payloads(PayloadType(first), &bytes);
    }

    #[test]
    fn what_parses_again_emits_what_parses(at in 28usize..1500, value in any::<u8>()) {
        let mut message = emit_clear(&header(ExchangeType::IKE_SA_INIT), &every_payload()).unwrap();
        let at = at % message.len();
        message[at] = value;
        if let Ok(envelope) = Envelope::parse(&message)
            && let Ok(again) = emit_clear(&envelope.header, &envelope.clear)
        {
            let second = Envelope::parse(&again).unwrap();
            prop_assert_eq!(second.clear.len(), envelope.clear.len());
        }
    }
}
