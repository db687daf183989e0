//! Seeded mutation of valid exchanges, inside the protection and with a good ICV: payloads left out, doubled, moved, cut,
//! made longer, taken from another message; octets and bits of them changed; lengths that lie.
//!
//! `ADIT_SEED` gives another seed, `ADIT_ROUNDS` another number of rounds per exchange.

use adit_crypto::SeededRandom;

use crate::lab::{Lab, Msg};
use crate::scenes::Scene;
use crate::wire::{self, Raw};

const ROUNDS: u64 = 1000;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn below(rng: &mut SeededRandom, bound: usize) -> usize {
    if bound == 0 { 0 } else { (rng.next_u64() % bound as u64) as usize }
}

/// Values at which lengths, counts and numbers break.
const EDGES: [u8; 10] = [0, 1, 2, 3, 4, 0x7f, 0x80, 0xfe, 0xff, 8];

fn mutate(rng: &mut SeededRandom, msg: &mut Msg, seen: &[Raw]) {
    for _ in 0..=below(rng, 3) {
        let count = msg.chain.len();
        let at = below(rng, count);
        match below(rng, 13) {
            0 if count > 0 => drop(msg.chain.remove(at)),
            1 if count > 0 => msg.chain.insert(below(rng, count + 1), msg.chain[at].clone()),
            2 if count > 1 => msg.chain.swap(at, below(rng, count)),
            3 if count > 0 => {
                let keep = below(rng, msg.chain[at].body.len() + 1);
                msg.chain[at].body.truncate(keep);
            }
            4 if count > 0 => {
                let most = [4, 40, 4000][below(rng, 3)];
                let extra = 1 + below(rng, most);
                msg.chain[at].body.extend((0..extra).map(|n| n as u8));
            }
            5 if count > 0 => {
                msg.chain[at].kind = [33 + below(rng, 16), below(rng, 256)][below(rng, 2)] as u8
            }
            6 if count > 0 => msg.chain[at].flags = [0x80, 0x7f, 0xff][below(rng, 3)],
            7 if count > 0 => {
                let length = (msg.chain[at].body.len() + 4) as u16;
                let lies = [0, 1, 3, 4, length.wrapping_sub(1), length + 1, 0xffff];
                msg.chain[at].length = Some(lies[below(rng, lies.len())]);
            }
            8 if !seen.is_empty() => {
                msg.chain.insert(below(rng, count + 1), seen[below(rng, seen.len())].clone());
            }
            9 => {
                // The whole plaintext cut or made longer.
                let (first, mut plain) = wire::join(&msg.chain);
                if below(rng, 2) == 0 {
                    plain.truncate(below(rng, plain.len() + 1));
                } else {
                    plain.extend(vec![below(rng, 256) as u8; 1 + below(rng, 64)]);
                }
                msg.plain = Some((first, plain));
            }
            _ if count > 0 && !msg.chain[at].body.is_empty() => {
                let body = &mut msg.chain[at].body;
                // Headers are where it hurts.
                let reach = if below(rng, 2) == 0 { body.len().min(24) } else { body.len() };
                let place = below(rng, reach);
                body[place] = match below(rng, 3) {
                    0 => body[place] ^ 1 << below(rng, 8),
                    1 => EDGES[below(rng, EDGES.len())],
                    _ => below(rng, 256) as u8,
                };
            }
            _ => {}
        }
    }
}

fn rounds(scenes: &[Scene]) {
    for (n, scene) in scenes.iter().enumerate() {
        let seed = number("ADIT_SEED", 1) ^ (n as u64) << 32;
        let mut rng = SeededRandom::new(seed);
        let mut lab: Lab = scene.lab();
        let mut seen: Vec<Raw> = Vec::new();
        for round in 0..number("ADIT_ROUNDS", ROUNDS) {
            let response = round % 2 == 1;
            let mut done = false;
            scene.play(&mut lab, response, &mut |msg| {
                if seen.len() < 64 {
                    seen.extend(msg.chain.clone());
                }
                mutate(&mut rng, msg, &seen);
                done = true;
            });
            assert!(done, "{scene:?}, round {round}: nothing to bend\n{}", lab.story());
            assert!(scene.is_defined(&lab), "{scene:?}, round {round}: in silence\n{}", lab.story());
            lab.clean();
        }
        lab.finish();
    }
}

#[test]
fn mutated_first_exchanges() {
    rounds(&Scene::ALL[..3]);
}

#[test]
fn mutated_eap() {
    rounds(&Scene::ALL[3..8]);
}

#[test]
fn mutated_later_exchanges() {
    rounds(&Scene::ALL[8..]);
}
