//! VICI: messages, packets, and the stream that carries them, however it is cut.

use adit_vici::message::Message;
use adit_vici::packet::{Packet, Reader};

pub(super) fn run(data: &[u8]) {
    if let Ok(message) = Message::decode(data) {
        let again = message.encode().expect("what was read can be written");
        assert_eq!(Message::decode(&again).expect("what was written reads"), message);
    }
    if let Ok(packet) = Packet::decode(data) {
        drop(packet.encode());
    }

    // The same packets come out whether the stream arrives whole or in pieces.
    let whole = packets(data, data.len().max(1));
    let piece = data.first().map_or(1, |b| usize::from(*b).max(1));
    assert_eq!(packets(data, piece), whole);
}

/// The packets of a stream that arrives in pieces of this size, and whether it ended in an error.
fn packets(data: &[u8], piece: usize) -> (Vec<String>, bool) {
    let mut reader = Reader::default();
    let mut found = Vec::new();
    for bytes in data.chunks(piece) {
        reader.push(bytes);
        loop {
            match reader.next_packet() {
                Ok(Some(packet)) => found.push(format!("{packet:?}")),
                Ok(None) => break,
                Err(_) => return (found, true),
            }
        }
    }
    (found, false)
}
