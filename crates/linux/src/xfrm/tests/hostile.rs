//! Whatever the octets are, reading them ends, and what was written is read as it was.

use proptest::prelude::*;

use super::super::bytes::{Message, messages};
use super::super::error::{About, Failure};
use super::super::event::events;
use super::super::*;
use super::{octets, recorded};

/// Reads octets in every way there is.
fn read_all(bytes: &[u8]) {
    let told = events(bytes).count();
    assert!(told <= bytes.len() / 16 + 1);
    for message in messages(bytes).filter_map(Result::ok) {
        read_body(message);
    }
    for flags in [0, 0x100, 0x200, 0x300] {
        read_body(Message { kind: 2, flags, sequence: 0, port: 0, body: bytes });
    }
}

fn read_body(message: Message<'_>) {
    let _ = SaState::read(message.body);
    let _ = PolicyState::read(message.body);
    let _ = Migration::read(message.body);
    if let Err(failure) = Failure::from_message(&message, About::NewSa) {
        let sentence = failure.during("reading").to_string();
        assert!(sentence.len() < 3000 && !sentence.contains('\u{1b}'));
    }
}

/// Recorded events: the ground that mutations start from.
fn ground() -> Vec<Vec<u8>> {
    recorded(include_str!("events.txt")).map(|(_, bytes)| octets(&bytes)).collect()
}

fn selector() -> impl Strategy<Value = Selector> {
    let v4 = (any::<[u8; 4]>(), any::<[u8; 4]>(), 0..=32u8, 0..=32u8)
        .prop_map(|(src, dst, p, q)| Selector::between((src.into(), p), (dst.into(), q)));
    let v6 = (any::<[u8; 16]>(), any::<[u8; 16]>(), 0..=128u8, 0..=128u8)
        .prop_map(|(src, dst, p, q)| Selector::between((src.into(), p), (dst.into(), q)));
    let port = || (any::<u16>(), any::<u16>()).prop_map(|(value, mask)| Port { value, mask });
    (prop_oneof![v4, v6], any::<u8>(), port(), port(), any::<u32>()).prop_map(
        |(selector, protocol, src_port, dst_port, ifindex)| Selector {
            protocol,
            src_port,
            dst_port,
            ifindex,
            ..selector
        },
    )
}

proptest! {
    #[test]
    fn any_octets_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        read_all(&bytes);
    }

    #[test]
    fn recorded_events_are_read_without_a_panic_however_they_are_changed(
        which in any::<proptest::sample::Index>(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<proptest::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let ground = ground();
        let mut bytes = which.get(&ground).clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if !whole {
            let length = cut.index(bytes.len()) as u32;
            bytes.truncate(length as usize);
            // A header that agrees lets the body be looked at.
            if let Some(field) = bytes.get_mut(..4) {
                field.copy_from_slice(&length.to_ne_bytes());
            }
        }
        read_all(&bytes);
    }

    #[test]
    fn selectors_are_read_as_they_were_written(selector in selector()) {
        prop_assert_eq!(selector.check(), Ok(()));
        let mut w = Writer::with_capacity(64);
        selector.write(&mut w);
        prop_assert_eq!(w.as_slice().len(), 56);
        let read = Selector::read(&mut bytes::Reader(w.as_slice())).unwrap().unwrap();
        prop_assert_eq!(read, selector.canonical());
        let mut again = Writer::with_capacity(64);
        read.write(&mut again);
        prop_assert_eq!(again.as_slice(), w.as_slice());
        let host_bits = |(address, prefix): (std::net::IpAddr, u8)| match address {
            std::net::IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96).checked_shl(prefix.into()),
            std::net::IpAddr::V6(v6) => v6.to_bits().checked_shl(prefix.into()),
        };
        for net in [read.src, read.dst] {
            prop_assert_eq!(host_bits(net).unwrap_or(0), 0);
        }
        let rest = Selector { src: selector.src, dst: selector.dst, ..read };
        prop_assert_eq!(rest, selector);
    }

    #[test]
    fn windows_are_read_as_they_were_written(
        window in 0..=4096u32,
        esn in any::<bool>(),
        sent in any::<u64>(),
        received in any::<u64>(),
        word in 1..=u32::MAX,
    ) {
        let bitmap = esn || window > 32;
        let cut = |value: u64| if bitmap { value } else { value & 0xffff_ffff };
        let mut replay = Replay { window, esn, position: Position::default() };
        replay.position.sent = cut(sent);
        replay.position.received = cut(received);
        replay.position.seen = vec![word];
        replay.position.seen.resize(if bitmap { (window.div_ceil(32) as usize).max(1) } else { 1 }, 0);
        let mut sa = super::requests::full_sa();
        sa.replay = replay;
        let mut w = Writer::with_capacity(LARGEST);
        sa.write_info(&mut w);
        sa.write_attributes(&mut w);
        prop_assert!(w.as_slice().len() + 16 <= LARGEST);
        prop_assert_eq!(SaState::read(w.as_slice()).unwrap().sa, sa);
    }
}
