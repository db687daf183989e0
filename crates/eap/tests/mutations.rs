//! Mutated packets to both roles in every state: a defined outcome, no panic, and never success without proof.
#![allow(clippy::unwrap_used, clippy::panic)]

use adit_crypto::{Random, Secret, SeededRandom};
use adit_eap::{ClientStep, EapClient, EapSecrets, EapServer, Method, ServerStep, describe};

struct Alice;

impl EapSecrets for Alice {
    fn password(&self, identity: &[u8]) -> Option<Secret> {
        (identity == b"alice").then(|| Secret::from(b"secret".to_vec()))
    }
}

fn byte(rng: &mut SeededRandom) -> usize {
    let mut out = [0; 4];
    rng.fill(&mut out);
    usize::try_from(u32::from_le_bytes(out)).unwrap()
}

/// Flips, cuts, grows, splices; half of the time mends the lengths so that the damage gets past the framing.
fn mutate(packet: &[u8], rng: &mut SeededRandom) -> Vec<u8> {
    let mut out = packet.to_vec();
    for _ in 0..=byte(rng) % 3 {
        let at = byte(rng) % out.len().max(1);
        match byte(rng) % 5 {
            0 if !out.is_empty() => out[at] ^= 1 << (byte(rng) % 8),
            1 if !out.is_empty() => out[at] = byte(rng) as u8,
            2 => out.truncate(at),
            3 => out.extend((0..byte(rng) % 40).map(|_| b'S')),
            _ if !out.is_empty() => drop(out.remove(at)),
            _ => {}
        }
    }
    if byte(rng).is_multiple_of(2) {
        let length = u16::try_from(out.len()).unwrap();
        if let Some(field) = out.get_mut(2..4) {
            field.copy_from_slice(&length.to_be_bytes());
        }
        if let Some(field) = out.get_mut(7..9) {
            field.copy_from_slice(&(length - 5).to_be_bytes());
        }
    }
    out
}

#[test]
fn both_roles_survive_mutated_conversations() {
    let (mut successes, mut mutated) = (0, 0);
    for seed in 0..20_000 {
        let mut rng = SeededRandom::new(seed);
        let mut server = EapServer::new(seed % 2 == 0, Some(b"alice".to_vec()), Method::MsChapV2);
        let mut client = EapClient::new(b"alice".to_vec(), Secret::from(b"secret".to_vec()), None);
        let (mut server_msk, mut client_msk) = (None, None);
        let mut step = server.start(&mut rng, &Alice);
        for _ in 0..40 {
            let (mut packet, last) = match step {
                ServerStep::Request(packet) => (packet, false),
                ServerStep::Success { packet, msk, identity } => {
                    assert_eq!(identity, b"alice");
                    server_msk = msk;
                    (packet, true)
                }
                ServerStep::Failure { packet, .. } => (packet, true),
            };
            if byte(&mut rng).is_multiple_of(4) {
                packet = mutate(&packet, &mut rng);
                mutated += 1;
            }
            describe(&packet);
            match client.receive(&packet, &mut rng) {
                ClientStep::Response(mut answer) => {
                    if last {
                        break;
                    }
                    if byte(&mut rng).is_multiple_of(4) {
                        answer = mutate(&answer, &mut rng);
                        mutated += 1;
                    }
                    step = server.receive(&answer, &mut rng, &Alice);
                }
                ClientStep::Success { msk } => {
                    client_msk = msk;
                    break;
                }
                ClientStep::Failure(reason) => {
                    assert!(!reason.to_string().is_empty());
                    break;
                }
            }
        }
        // Whoever got to the end knows the password, and so the same keys, unless a challenge or response was bent
        // on the way, which the proofs then show.
        if let (Some(server), Some(client)) = (&server_msk, &client_msk) {
            assert_eq!(server, client);
            successes += 1;
        }
    }
    assert!(successes > 100 && mutated > 10_000, "{successes} {mutated}");
}

#[test]
fn noise_never_authenticates() {
    for seed in 0..20_000 {
        let mut rng = SeededRandom::new(seed);
        let mut client = EapClient::new(b"alice".to_vec(), Secret::from(b"secret".to_vec()), None);
        let mut server = EapServer::new(true, None, Method::MsChapV2);
        let mut id = match server.start(&mut rng, &Alice) {
            ServerStep::Request(packet) => packet[1],
            other => panic!("{other:?}"),
        };
        for _ in 0..6 {
            let mut noise = vec![0; byte(&mut rng) % 80 + 4];
            rng.fill(&mut noise);
            let length = u16::try_from(noise.len()).unwrap();
            noise[2..4].copy_from_slice(&length.to_be_bytes());
            noise[0] = 1 + noise[0] % 4;
            noise[1] = id;
            if noise.len() > 9 {
                noise[4] = [1, 2, 3, 26][usize::from(noise[4] % 4)];
                noise[5] %= 6;
                noise[7..9].copy_from_slice(&(length - 5).to_be_bytes());
            }
            assert!(!matches!(client.receive(&noise, &mut rng), ClientStep::Success { .. }));
            noise[0] = 2;
            match server.receive(&noise, &mut rng, &Alice) {
                ServerStep::Request(packet) => id = packet[1],
                ServerStep::Failure { .. } => {}
                ServerStep::Success { .. } => panic!(),
            }
        }
    }
}
