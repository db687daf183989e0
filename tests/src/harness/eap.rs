//! EAP: noise to either role never authenticates, and a bent conversation never ends in two different keys.

use adit_crypto::{Random, Secret, SeededRandom};
use adit_eap::{ClientStep, EapClient, EapSecrets, EapServer, Method, ServerStep, describe};

struct Alice(Secret);

impl EapSecrets for Alice {
    fn password(&self, identity: &[u8]) -> Option<Secret> {
        (identity == b"alice").then(|| self.0.clone())
    }
}

pub(super) fn run(data: &[u8]) {
    let Some((options, script)) = data.split_first() else { return };
    drop(describe(script));
    // A password that depends on all of the input: no packet in it can prove knowledge of it.
    let seed = data
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
    let mut rng = SeededRandom::new(seed);
    let mut password = vec![0; 16];
    rng.fill(&mut password);
    let alice = Alice(Secret::from(password));
    let mut script = Script(script);
    if options & 1 == 0 {
        noise(*options, &mut script, &alice, &mut rng)
    } else {
        bend(*options, &mut script, &alice, &mut rng)
    }
}

fn ends(options: u8, alice: &Alice) -> (EapServer, EapClient) {
    let known = (options & 4 != 0).then(|| b"alice".to_vec());
    let allowed = (options & 8 != 0).then_some(Method::MsChapV2);
    (
        EapServer::new(options & 2 != 0, known, Method::MsChapV2),
        EapClient::new(b"alice".to_vec(), alice.0.clone(), allowed),
    )
}

/// Packets out of the input to each role, one after the other.
fn noise(options: u8, script: &mut Script<'_>, alice: &Alice, rng: &mut SeededRandom) {
    let (mut server, mut client) = ends(options, alice);
    let mut id = match server.start(rng, alice) {
        ServerStep::Request(packet) => packet[1],
        other => panic!("the first step is a request, not {other:?}"),
    };
    while let Some(piece) = script.piece() {
        let mut packet = piece.to_vec();
        if options & 16 != 0 {
            mend(&mut packet, Some(id));
        }
        match client.receive(&packet, rng) {
            ClientStep::Success { .. } => panic!("the client believed a server without the password"),
            ClientStep::Failure(reason) => one_line(&reason),
            ClientStep::Response(_) => {}
        }
        if options & 16 != 0 {
            packet[0] = 2;
        }
        match server.receive(&packet, rng, alice) {
            ServerStep::Success { .. } => panic!("the server believed a client without the password"),
            ServerStep::Request(packet) => id = packet[1],
            ServerStep::Failure { reason, .. } => one_line(&reason),
        }
    }
}

/// Two honest ends, and somebody between them who does what the input says.
fn bend(options: u8, script: &mut Script<'_>, alice: &Alice, rng: &mut SeededRandom) {
    let (mut server, mut client) = ends(options, alice);
    let (mut server_msk, mut client_msk) = (None, None);
    let mut step = server.start(rng, alice);
    for _ in 0..40 {
        let (packet, last) = match step {
            ServerStep::Request(packet) => (packet, false),
            ServerStep::Success { packet, msk, identity } => {
                assert_eq!(identity, b"alice");
                server_msk = msk;
                (packet, true)
            }
            ServerStep::Failure { packet, reason } => {
                one_line(&reason);
                (packet, true)
            }
        };
        match client.receive(&script.bent(packet), rng) {
            ClientStep::Response(answer) if !last => step = server.receive(&script.bent(answer), rng, alice),
            ClientStep::Response(_) => break,
            ClientStep::Success { msk } => {
                client_msk = msk;
                break;
            }
            ClientStep::Failure(reason) => {
                one_line(&reason);
                break;
            }
        }
    }
    if let (Some(server), Some(client)) = (server_msk, client_msk) {
        assert_eq!(server, client);
    }
}

fn one_line(reason: &adit_eap::EapError) {
    let text = reason.to_string();
    assert!(!text.is_empty() && !text.chars().any(char::is_control), "{text:?}");
}

/// Lengths as they should be, so that what is inside is looked at; and the identifier that is expected.
fn mend(packet: &mut Vec<u8>, id: Option<u8>) {
    if packet.len() < 5 {
        packet.resize(5, 1);
    }
    let length = u16::try_from(packet.len()).unwrap_or(u16::MAX);
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    if let Some(id) = id {
        packet[1] = id;
    }
    if let Some(inner) = packet.get_mut(7..9) {
        inner.copy_from_slice(&length.wrapping_sub(5).to_be_bytes());
    }
}

/// The rest of the input, read as instructions.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// As many bytes as the next byte says.
    fn piece(&mut self) -> Option<&'a [u8]> {
        let len = usize::from(self.byte()?);
        let (piece, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        Some(piece)
    }

    /// The packet as it arrives; unharmed when the input is at its end.
    fn bent(&mut self, mut packet: Vec<u8>) -> Vec<u8> {
        let Some(what) = self.byte() else { return packet };
        match what % 8 {
            1 => {
                let at = usize::from(self.byte().unwrap_or(0)) % packet.len().max(1);
                let change = self.byte().unwrap_or(1);
                if let Some(byte) = packet.get_mut(at) {
                    *byte ^= change;
                }
            }
            2 => packet.truncate(usize::from(self.byte().unwrap_or(0))),
            3 => packet.extend(self.piece().unwrap_or_default()),
            4 => packet = self.piece().unwrap_or_default().to_vec(),
            5 => {
                let at = usize::from(self.byte().unwrap_or(0)) % (packet.len() + 1);
                packet.splice(at.., self.piece().unwrap_or_default().iter().copied());
            }
            _ => return packet,
        }
        if what & 0x80 != 0 {
            mend(&mut packet, None);
        }
        drop(describe(&packet));
        packet
    }
}
