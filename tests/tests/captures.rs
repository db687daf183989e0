//! Recordings of other implementations with their keys (`tests/data/captures`): every message parses and opens, the
//! keys are the ones we derive, both AUTH values are the ones we would send, and the ESP packets hold what was sent.
//!
//! Only the decoders and the cryptography take part, nothing of the protocol's state: when this fails, it is there.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use adit_crypto::{Cipher, Encryption, Integrity, KeGroup, Prf, Secret, kdf};
use adit_esp::Inbound;
use adit_ipsec::{Proposal, Protocol, SaKeys, TransformType, parse_packet};
use adit_wire::{
    Envelope, ExchangeType, IdPayload, Payload, describe, emit_clear, emit_payloads, parse_payloads,
};

/// A recording: facts by name, and the packets in order with who sent them.
struct Recording {
    facts: BTreeMap<String, String>,
    packets: Vec<Packet>,
}

struct Packet {
    esp: bool,
    by_initiator: bool,
    bytes: Vec<u8>,
}

impl Recording {
    /// Lines of `name value`; `ike` and `esp` followed by `i` or `r` are packets; `#` begins a comment.
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let (mut facts, mut packets) = (BTreeMap::new(), Vec::new());
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.split_once(' ').unwrap();
            match (name, value.split_once(' ')) {
                ("ike" | "esp", Some((who @ ("i" | "r"), bytes))) => {
                    packets.push(Packet { esp: name == "esp", by_initiator: who == "i", bytes: hex(bytes) });
                }
                _ => assert!(facts.insert(name.to_owned(), value.to_owned()).is_none(), "{name} twice"),
            }
        }
        Self { facts, packets }
    }

    fn text(&self, name: &str) -> &str {
        self.facts.get(name).unwrap_or_else(|| panic!("no {name}"))
    }

    /// A key; empty when the recording has none of this name (integrity keys with an AEAD).
    fn key(&self, name: &str) -> Vec<u8> {
        self.facts.get(name).map(|text| hex(text)).unwrap_or_default()
    }

    fn numbers(&self, name: &str) -> Vec<u16> {
        self.text(name).split(' ').map(|word| word.parse().unwrap()).collect()
    }
}

fn hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2));
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Opens the Encrypted payload of a message (RFC 7296 §3.14, RFC 5282 §5): what is inside.
fn open(message: &[u8], cipher: &Cipher) -> Vec<Payload> {
    let encrypted = Envelope::parse(message).unwrap().encrypted.unwrap();
    let (aad, body) = message.split_at(encrypted.aad_len);
    let (iv, rest) = body.split_at(cipher.iv_len());
    let (data, icv) = rest.split_at(rest.len() - cipher.icv_len());
    let mut data = data.to_vec();
    cipher.open(iv, aad, &mut data, &[], icv).unwrap();
    let padding = usize::from(*data.last().unwrap());
    data.truncate(data.len() - 1 - padding);

    // One bit anywhere, and it does not open.
    let mut bent = message.to_vec();
    bent[encrypted.aad_len - 5] ^= 1;
    let (aad, body) = bent.split_at(encrypted.aad_len);
    let data_end = body.len() - cipher.icv_len();
    assert!(cipher.open(iv, aad, &mut body[cipher.iv_len()..data_end].to_vec(), &[], icv).is_err());
    parse_payloads(encrypted.first_inner, &data).unwrap()
}

fn nonce(payloads: &[Payload]) -> &[u8] {
    let nonce = payloads.iter().find_map(|p| if let Payload::Nonce(n) = p { Some(n) } else { None });
    nonce.unwrap()
}

fn proposal(payloads: &[Payload]) -> &Proposal {
    let sa = payloads.iter().find_map(|p| if let Payload::Sa(sa) = p { Some(sa) } else { None }).unwrap();
    assert!(sa[0].acceptable);
    &sa[0].proposal
}

/// The SPI of the one proposal that counts.
fn spi(payloads: &[Payload]) -> &[u8] {
    let sa = payloads.iter().find_map(|p| if let Payload::Sa(sa) = p { Some(sa) } else { None }).unwrap();
    &sa[0].spi
}

/// Are these the keys of the recording?
fn compare(recording: &Recording, prefix: &str, skeyseed: &Secret, keys: &kdf::IkeKeys) {
    for (name, key) in [
        ("skeyseed", skeyseed),
        ("sk_d", &keys.sk_d),
        ("sk_ai", &keys.sk_ai),
        ("sk_ar", &keys.sk_ar),
        ("sk_ei", &keys.sk_ei),
        ("sk_er", &keys.sk_er),
        ("sk_pi", &keys.sk_pi),
        ("sk_pr", &keys.sk_pr),
    ] {
        assert_eq!(key.as_bytes(), recording.key(&format!("{prefix}{name}")), "{prefix}{name}");
    }
}

/// What opens the initiator's messages, and what the responder's.
fn ciphers(ike: (Prf, Encryption, Option<Integrity>), keys: &kdf::IkeKeys) -> [Cipher; 2] {
    [(&keys.sk_ei, &keys.sk_ai), (&keys.sk_er, &keys.sk_ar)]
        .map(|(encr, integ)| Cipher::new(ike.1, ike.2, encr.as_bytes(), integ.as_bytes()).unwrap())
}

/// Checks one recording from its first byte to its last.
fn judge(recording: &Recording) {
    let [encr, bits, integ, prf, group] = recording.numbers("ike")[..] else { panic!() };
    let (encr, integ) = (Encryption::from_id(encr, bits).unwrap(), Integrity::from_id(integ));
    let prf = Prf::from_id(prf).unwrap();
    let ike: Vec<&Packet> = recording.packets.iter().filter(|p| !p.esp).collect();
    let sides: Vec<bool> = ike.iter().map(|p| p.by_initiator).collect();
    assert!(sides.chunks(2).all(|pair| pair == [true, false]));

    // IKE_SA_INIT: both offer and answer name the suite, and what we write of it is what was read.
    let [request, response] = [0, 1].map(|at| Envelope::parse(&ike[at].bytes).unwrap());
    for (message, envelope) in ike.iter().zip([&request, &response]) {
        let header = &envelope.header;
        assert_eq!((header.exchange, header.message_id), (ExchangeType::IKE_SA_INIT, 0));
        assert_eq!(emit_clear(header, &envelope.clear).unwrap(), message.bytes);
        let Some(Payload::KeyExchange { group: used, data }) =
            envelope.clear.iter().find(|p| matches!(p, Payload::KeyExchange { .. }))
        else {
            panic!("no KE")
        };
        assert_eq!((*used, data.len()), (group, KeGroup::from_id(group).unwrap().public_len()));
        let chosen = proposal(&envelope.clear);
        assert_eq!(chosen.protocol, Protocol::Ike);
        assert_eq!(chosen.first(TransformType::Encryption).unwrap().id, encr.id());
        assert_eq!(chosen.first(TransformType::Prf).unwrap().id, prf.id());
        assert_eq!(chosen.first(TransformType::KeyExchange).unwrap().id, group);
    }
    assert!(
        describe(ExchangeType::IKE_SA_INIT, true, 0, &response.clear)
            .starts_with("IKE_SA_INIT response 0 [ SA KE No N(NATD_S_IP) N(NATD_D_IP)")
    );

    // The key hierarchy, from the shared secret of the key exchange on.
    let (ni, nr) = (nonce(&request.clear), nonce(&response.clear));
    let (spi_i, spi_r) = (response.header.spi_i, response.header.spi_r);
    let shared = Secret::from(recording.key("shared"));
    let skeyseed = kdf::skeyseed(prf, ni, nr, &shared);
    let keys = kdf::ike_keys(prf, &skeyseed, ni, nr, spi_i, spi_r, encr, integ).unwrap();
    compare(recording, "", &skeyseed, &keys);
    let [from_i, from_r] = ciphers((prf, encr, integ), &keys);

    // IKE_AUTH: who it is, and the proof over the first message, the other's nonce and the identity (§2.15).
    let auth_i = open(&ike[2].bytes, &from_i);
    let auth_r = open(&ike[3].bytes, &from_r);
    for payloads in [&auth_i, &auth_r] {
        let (first, bytes) = emit_payloads(payloads).unwrap();
        assert_eq!(&parse_payloads(first, &bytes).unwrap(), payloads);
    }
    let psk = recording.key("psk");
    let proof = |payloads: &[Payload], first: &[u8], nonce: &[u8], sk_p: &Secret, id: &IdPayload| {
        let maced = prf.compute(sk_p.as_bytes(), &[&id.body()]);
        let expected = kdf::auth_psk(prf, &psk, &[first, nonce, &maced]);
        assert!(payloads.contains(&Payload::Auth { method: 2, data: expected.clone() }));
        expected
    };
    let id = |name| IdPayload { kind: 2, data: recording.text(name).as_bytes().to_vec() };
    let (id_i, id_r) = (id("id.i"), id("id.r"));
    assert!(auth_i.contains(&Payload::IdI(id_i.clone())) && auth_r.contains(&Payload::IdR(id_r.clone())));
    assert_eq!(proof(&auth_i, &ike[0].bytes, nr, &keys.sk_pi, &id_i), recording.key("auth.i"));
    assert_eq!(proof(&auth_r, &ike[1].bytes, ni, &keys.sk_pr, &id_r), recording.key("auth.r"));

    // The CHILD_SA's keys, and the packets they open; what comes after, in order.
    let [esp_encr, esp_bits, esp_integ] = recording.numbers("esp")[..] else { panic!() };
    let mut session = Session {
        recording,
        ike: (prf, encr, integ),
        esp: (esp_encr, esp_bits, esp_integ),
        keys,
        ciphers: BTreeMap::from([(spi_i, [from_i, from_r])]),
        inbound: BTreeMap::new(),
        opened: 0,
    };
    session.child("", None, [&auth_i, &auth_r], [ni, nr]);
    let (mut request, mut last) = (Vec::new(), Vec::new());
    let auth_at = recording.packets.iter().position(|p| p.bytes == ike[3].bytes).unwrap();
    for packet in &recording.packets[auth_at + 1..] {
        if packet.esp {
            session.ping(packet);
            continue;
        }
        let header = Envelope::parse(&packet.bytes).unwrap().header;
        let [from_i, from_r] = &session.ciphers[&header.spi_i];
        let inside = open(&packet.bytes, if packet.by_initiator { from_i } else { from_r });
        if !header.flags.response {
            request = inside;
        } else if header.exchange == ExchangeType::CREATE_CHILD_SA {
            session.create(&request, &inside);
        } else {
            assert!(matches!(request[..], [Payload::Delete { .. }]), "{request:?}");
            last = inside;
        }
    }
    assert!(session.opened >= 4);
    // The end: the IKE_SA is deleted, and the deletion acknowledged by an empty message.
    assert_eq!(request, [Payload::Delete { protocol: 1, spis: vec![] }]);
    assert_eq!(last, []);
}

/// What an established IKE_SA of a recording has.
struct Session<'a> {
    recording: &'a Recording,
    ike: (Prf, Encryption, Option<Integrity>),
    /// As SA records have it: encryption, key bits, integrity.
    esp: (u16, u16, u16),
    keys: kdf::IkeKeys,
    /// By the initiator's SPI: an SA that was rekeyed still has its delete to read.
    ciphers: BTreeMap<u64, [Cipher; 2]>,
    /// By SPI; and whether it is the initiator who sends.
    inbound: BTreeMap<u32, (Inbound, bool)>,
    opened: usize,
}

impl Session<'_> {
    /// Derives the keys of a CHILD_SA (RFC 7296 §2.17) and makes the receiving halves.
    fn child(
        &mut self,
        prefix: &str,
        shared: Option<&Secret>,
        messages: [&[Payload]; 2],
        nonces: [&[u8]; 2],
    ) {
        let (encr, encr_key_bits, integ) = self.esp;
        let kind = (Encryption::from_id(encr, encr_key_bits).unwrap(), Integrity::from_id(integ));
        let [ni, nr] = nonces;
        let child = kdf::child_keys(self.ike.0, &self.keys.sk_d, shared, ni, nr, kind.0, kind.1).unwrap();
        for (name, key) in [
            ("child.encr.i", &child.encr_i),
            ("child.integ.i", &child.integ_i),
            ("child.encr.r", &child.encr_r),
            ("child.integ.r", &child.integ_r),
        ] {
            assert_eq!(key.as_bytes(), self.recording.key(&format!("{prefix}{name}")), "{prefix}{name}");
        }
        // Each names the SPI it wants to receive with.
        let [of_i, of_r] = messages.map(|m| u32::from_be_bytes(spi(m).try_into().unwrap()));
        for (spi, encr_key, integ_key, by_initiator) in
            [(of_r, &child.encr_i, &child.integ_i, true), (of_i, &child.encr_r, &child.integ_r, false)]
        {
            let (encr_key, integ_key) = (encr_key.as_bytes().to_vec(), integ_key.as_bytes().to_vec());
            let keys = SaKeys { encr, encr_key_bits, integ, encr_key, integ_key };
            self.inbound.insert(spi, (Inbound::new(spi, &keys, false, 32).unwrap(), by_initiator));
        }
    }

    /// A CREATE_CHILD_SA exchange of the initiator's: a CHILD_SA's successor, or the IKE_SA's own (§1.3.2, §1.3.3).
    fn create(&mut self, request: &[Payload], response: &[Payload]) {
        let nonces = [nonce(request), nonce(response)];
        if proposal(response).protocol == Protocol::Esp {
            let shared = Secret::from(self.recording.key("rekey.child.shared"));
            return self.child("rekey.", Some(&shared), [request, response], nonces);
        }
        let (prf, encr, integ) = self.ike;
        let [ni, nr] = nonces;
        let shared = Secret::from(self.recording.key("rekey.ike.shared"));
        let skeyseed = kdf::skeyseed_rekey(prf, &self.keys.sk_d, &shared, ni, nr);
        let [spi_i, spi_r] =
            [request, response].map(|payloads| u64::from_be_bytes(spi(payloads).try_into().unwrap()));
        self.keys = kdf::ike_keys(prf, &skeyseed, ni, nr, spi_i, spi_r, encr, integ).unwrap();
        compare(self.recording, "rekey.ike.", &skeyseed, &self.keys);
        self.ciphers.insert(spi_i, ciphers(self.ike, &self.keys));
    }

    /// An echo request or reply between the two hosts behind the ends.
    fn ping(&mut self, packet: &Packet) {
        let (inbound, by_initiator) = &self.inbound[&adit_esp::spi_of(&packet.bytes).unwrap()];
        assert_eq!(packet.by_initiator, *by_initiator);
        let mut bytes = packet.bytes.clone();
        let opened = inbound.open(&mut bytes).unwrap();
        assert_eq!(opened.next_header, 4);
        let inner = parse_packet(opened.payload).unwrap();
        let [of_i, of_r] = ["198.51.100.1", "203.0.113.1"].map(|a| a.parse::<IpAddr>().unwrap());
        let (src, dst) = if packet.by_initiator { (of_i, of_r) } else { (of_r, of_i) };
        assert_eq!((inner.src, inner.dst, inner.protocol, inner.total_len), (src, dst, 1, 84));
        assert!(inbound.open(&mut packet.bytes.clone()).is_err(), "a replay");
        self.opened += 1;
    }
}

#[test]
fn recordings_open_with_the_keys_we_derive() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/captures");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 4);
    for file in files {
        println!("{}", file.display());
        judge(&Recording::read(&file));
    }
}
