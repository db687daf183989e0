//! EAP, seen from the client: a gateway, or someone with its place, that says the wrong thing.

use adit_wire::{ExchangeType, PayloadType};

use crate::lab::{Lab, Msg, honest};
use crate::setup::Auth;
use crate::wire::Raw;

/// The nth EAP packet of the gateway is another. Mallory is the victim here: it must not come up, and must say why.
fn fooled(lab: &mut Lab, nth: usize, what: &str, bend: impl Fn(&mut Vec<u8>)) {
    let mut seen = 0;
    lab.connect(&mut |msg| {
        if msg.is(ExchangeType::IKE_AUTH, true)
            && let Some(raw) = msg.get(PayloadType::EAP)
        {
            if seen == nth {
                bend(&mut raw.body);
            }
            seen += 1;
        }
    });
    assert!(seen > nth, "{what}: only {seen} EAP packets\n{}", lab.story());
    assert!(lab.mallory.sad.is_empty() && !lab.is_in(), "{what}\n{}", lab.story());
    assert!(lab.noticed(), "{what}\n{}", lab.story());
    lab.clean();
}

/// Which EAP packets of the gateway's there are, in order.
fn conversation(lab: &mut Lab) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    let outcome = lab.connect(&mut |msg: &mut Msg| {
        if msg.is(ExchangeType::IKE_AUTH, true)
            && let Some(raw) = msg.get(PayloadType::EAP)
        {
            packets.push(raw.body.clone());
        }
    });
    assert_eq!(outcome, Some(Ok(())), "{}", lab.story());
    lab.clean();
    packets
}

#[test]
fn row_19_every_length_of_every_eap_packet() {
    let mut lab = Lab::new(Auth::EapAndPsk);
    let packets = conversation(&mut lab);
    assert!(packets.len() >= 4, "{packets:02x?}");
    for (nth, packet) in packets.iter().enumerate() {
        // A request for the identity may have any text behind its header, and so may be cut.
        let shortest_good = if packet[4..].first() == Some(&1) { 5 } else { packet.len() };
        for length in 0..shortest_good {
            // With the length field as it was, and as it then would have to be.
            for honest_length in [false, true] {
                fooled(&mut lab, nth, &format!("packet {nth}, {length} octets"), |body| {
                    body.truncate(length);
                    if honest_length && length >= 4 {
                        body[2..4].copy_from_slice(&(length as u16).to_be_bytes());
                    }
                });
            }
        }
        fooled(&mut lab, nth, "a length beyond the end", |body| body[2] = 0xff);
        fooled(&mut lab, nth, "code 0", |body| body[0] = 0);
        fooled(&mut lab, nth, "a response", |body| body[0] = 2);
        fooled(&mut lab, nth, "code 255", |body| body[0] = 255);
    }
    // MSCHAPv2 Failure requests of 0 to header + 1 octets, instead of the challenge and instead of the success.
    for nth in [1, 2] {
        for length in 0..=10_usize {
            for claimed in [0, 1, 4, length as u16, 9, 0xffff] {
                fooled(&mut lab, nth, &format!("failure of {length}"), |body| {
                    let mut failure = vec![26, 4, body[1]];
                    failure.extend(claimed.to_be_bytes());
                    failure.extend(b"E=691 R=0");
                    failure.truncate(1 + length);
                    body.truncate(2);
                    body[0] = 1;
                    body.extend(((4 + failure.len()) as u16).to_be_bytes());
                    body.extend(failure);
                });
            }
        }
    }
    lab.finish();
}

#[test]
fn row_21_success_before_the_method_is_complete() {
    let mut lab = Lab::new(Auth::EapAndPsk);
    let packets = conversation(&mut lab);
    let last = packets.len() - 1;
    assert_eq!(packets[last][0], 3, "{packets:02x?}");
    for nth in 0..last {
        for code in [3, 4] {
            fooled(&mut lab, nth, &format!("code {code} at {nth}"), |body| *body = vec![code, body[1], 0, 4]);
        }
        // Requests out of order: each of the others in this one's place.
        for (other, packet) in packets.iter().enumerate() {
            if other == nth || packet[0] == 3 {
                continue;
            }
            // The challenge comes twice if it takes the place of the identity request: that is a proper conversation,
            // as far as EAP knows, but the server answers its own.
            fooled(&mut lab, nth, &format!("{other} in the place of {nth}"), |body| body.clone_from(packet));
        }
    }
    // AUTH without any key, with an early success.
    let mut seen = false;
    lab.connect(&mut |msg| {
        if msg.is(ExchangeType::IKE_AUTH, true) && msg.has(PayloadType::EAP) && !seen {
            seen = true;
            *msg.body(PayloadType::EAP) = vec![3, 0, 0, 4];
            msg.chain.push(Raw::new(PayloadType::AUTH, vec![2, 0, 0, 0]));
        }
    });
    assert!(lab.mallory.sad.is_empty() && lab.noticed());
    lab.clean();
    assert_eq!(lab.connect(&mut honest), Some(Ok(())), "{}", lab.story());
    lab.finish();
}

#[test]
fn row_29_the_gateway_is_proved_before_the_name_is_told() {
    // A method that authenticates nobody must not be enough, nor no AUTH at all, nor a bad one.
    for auth in [Auth::EapAndPsk, Auth::EapAndCert(crate::pki::Algorithm::P256)] {
        let mut lab = Lab::new(auth);
        for case in 0..5 {
            let (mut first, mut told) = (true, false);
            lab.connect(&mut |msg| {
                if msg.is(ExchangeType::IKE_AUTH, true) && first {
                    first = false;
                    match case {
                        0 => msg.drop(PayloadType::AUTH),
                        1 => *msg.body(PayloadType::AUTH).last_mut().unwrap() ^= 1,
                        2 => msg.body(PayloadType::AUTH).truncate(4),
                        3 => msg.body(PayloadType::AUTH)[0] = 13,
                        _ => msg.drop(PayloadType::IDR),
                    }
                }
                told |= msg.is(ExchangeType::IKE_AUTH, false) && msg.has(PayloadType::EAP);
            });
            assert!(!told, "{auth:?} {case}: the EAP identity went out\n{}", lab.story());
            assert!(lab.mallory.sad.is_empty() && lab.noticed(), "{}", lab.story());
            lab.clean();
        }
        lab.finish();
    }
}
