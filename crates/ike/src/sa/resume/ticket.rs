//! Tickets by value (RFC 5723 §6.1): what the gateway has to remember, sealed so that only it can read it.
//!
//! `key id (8) | salt (4) | IV (8) | AES-256-GCM of the state | ICV (16)`. The key comes from a secret of the gateway,
//! salt and IV are random for every ticket, and everything before the state is authenticated with it.

use adit_crypto::{Cipher, Encryption, Prf, Random, Secret};
use adit_ipsec::{Identity, Transform, TransformType};

use super::Inherited;
use crate::sa::Suite;

/// The form of the state.
const VERSION: u8 = 1;
const KEY_ID: usize = 8;
const HEAD: usize = KEY_ID + 4 + 8;
const ICV: usize = 16;

/// What a ticket says.
pub(super) struct State {
    pub inherited: Inherited,
    /// Who the client proved to be, where that is not `id_i`.
    pub eap_id: Option<Identity>,
    pub conn: String,
    /// Of the IKE_SA that it is for.
    pub spis: (u64, u64),
    /// Unix seconds from which it is worth nothing.
    pub expires: i64,
}

fn derive(secret: &Secret, label: &[u8]) -> Vec<u8> {
    Prf::HmacSha256.compute(secret.as_bytes(), &[label])
}

fn key_id(secret: &Secret) -> Vec<u8> {
    let mut id = derive(secret, b"ticket key id");
    id.truncate(KEY_ID);
    id
}

fn cipher(secret: &Secret, salt: &[u8]) -> Option<Cipher> {
    let mut key = derive(secret, b"ticket key");
    key.extend_from_slice(salt);
    let key = Secret::from(key);
    Cipher::new(Encryption::AesGcm16_256, None, key.as_bytes(), &[]).ok()
}

/// A ticket; `None` if the state does not fit into one.
pub(super) fn seal(secret: &Secret, rng: &mut dyn Random, state: &State) -> Option<Vec<u8>> {
    let mut random = [0; HEAD - KEY_ID];
    rng.fill(&mut random);
    let (salt, iv) = random.split_at(4);
    let mut ticket = [&key_id(secret)[..], &random].concat();
    let mut data = write(state)?;
    let mut icv = [0; ICV];
    cipher(secret, salt)?.seal(iv, &ticket, &mut data, &[], &mut icv).ok()?;
    ticket.extend(data);
    ticket.extend(icv);
    Some(ticket)
}

/// What a ticket of ours says; `None` if it is none.
pub(super) fn open(secrets: &[Secret], ticket: &[u8]) -> Option<State> {
    let (head, rest) = ticket.split_at_checked(HEAD)?;
    let (data, icv) = rest.split_at_checked(rest.len().checked_sub(ICV)?)?;
    let (id, random) = head.split_at_checked(KEY_ID)?;
    let (salt, iv) = random.split_at_checked(4)?;
    let secret = secrets.iter().find(|secret| key_id(secret) == id)?;
    let mut data = zeroize::Zeroizing::new(data.to_vec());
    cipher(secret, salt)?.open(iv, head, &mut data, &[], icv).ok()?;
    read(&data)
}

fn write(state: &State) -> Option<Vec<u8>> {
    let mut out = vec![VERSION];
    out.extend(state.expires.to_be_bytes());
    out.extend(state.spis.0.to_be_bytes());
    out.extend(state.spis.1.to_be_bytes());
    let Suite { encr, integ, prf, ke } = state.inherited.suite;
    let integ = integ.map_or(0, |integ| integ.id);
    for number in [encr.id, encr.key_bits, integ, prf.id, ke.id] {
        out.extend(number.to_be_bytes());
    }
    let mut put = |octets: &[u8]| {
        out.extend(u16::try_from(octets.len()).ok()?.to_be_bytes());
        out.extend(octets);
        Some(())
    };
    put(state.conn.as_bytes())?;
    put(state.inherited.sk_d.as_bytes())?;
    let eap = state.eap_id.as_ref().unwrap_or(&Identity::Any);
    for id in [&state.inherited.id_i, &state.inherited.id_r, eap] {
        put(&[id.wire_kind()])?;
        put(&id.wire_data())?;
    }
    Some(out)
}

/// Octets that are read from the front.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn number(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn octets(&mut self) -> Option<&'a [u8]> {
        let count = usize::from(self.number()?);
        self.take(count)
    }

    fn identity(&mut self) -> Option<Identity> {
        let kind = *self.octets()?.first()?;
        let data = self.octets()?;
        if kind == Identity::Any.wire_kind() && data == Identity::Any.wire_data() {
            return Some(Identity::Any);
        }
        Identity::from_wire(kind, data).ok()
    }
}

fn read(data: &[u8]) -> Option<State> {
    let mut rest = Rest(data);
    if rest.array()? != [VERSION] {
        return None;
    }
    let expires = i64::from_be_bytes(rest.array()?);
    let spis = (u64::from_be_bytes(rest.array()?), u64::from_be_bytes(rest.array()?));
    let transform = |kind, id, key_bits| Transform { kind, id, key_bits };
    let encr = transform(TransformType::Encryption, rest.number()?, rest.number()?);
    let integ = Some(rest.number()?).filter(|id| *id != 0);
    let suite = Suite {
        encr,
        integ: integ.map(|id| transform(TransformType::Integrity, id, 0)),
        prf: transform(TransformType::Prf, rest.number()?, 0),
        ke: transform(TransformType::KeyExchange, rest.number()?, 0),
    };
    let conn = std::str::from_utf8(rest.octets()?).ok()?.to_owned();
    let sk_d = Secret::from(rest.octets()?);
    let (id_i, id_r, eap) = (rest.identity()?, rest.identity()?, rest.identity()?);
    let eap_id = Some(eap).filter(|eap| !eap.is_any());
    let inherited = Inherited { suite, sk_d, id_i, id_r };
    rest.0.is_empty().then_some(State { inherited, eap_id, conn, spis, expires })
}

#[cfg(test)]
mod tests {
    use adit_crypto::SeededRandom;

    use super::*;

    fn state() -> State {
        let transform = |kind, id, key_bits| Transform { kind, id, key_bits };
        let suite = Suite {
            encr: transform(TransformType::Encryption, 20, 256),
            integ: None,
            prf: transform(TransformType::Prf, 5, 0),
            ke: transform(TransformType::KeyExchange, 31, 0),
        };
        State {
            inherited: Inherited {
                suite,
                sk_d: Secret::from(vec![7; 32]),
                id_i: Identity::parse("rw@lab").unwrap(),
                id_r: Identity::parse("gw.lab").unwrap(),
            },
            eap_id: Some(Identity::parse("alice").unwrap()),
            conn: "home".to_owned(),
            spis: (1, 2),
            expires: 1_800_000_000,
        }
    }

    //= rfc5723 6.1-1, 6.1-3, 6.1-5, 6.1-6, 9.1-1, 9.9-1
    #[test]
    fn what_is_sealed_is_read_with_the_same_secret_only() {
        let secrets = [1, 2].map(|n| Secret::from(vec![n; 32]));
        let ticket = seal(&secrets[1], &mut SeededRandom::new(1), &state()).unwrap();
        // A key that is no longer the first one still opens it.
        let read = open(&secrets, &ticket).unwrap();
        let expected = state();
        assert_eq!(read.inherited.sk_d, expected.inherited.sk_d);
        assert_eq!(
            (read.inherited.id_i, read.inherited.id_r, read.eap_id),
            (expected.inherited.id_i, expected.inherited.id_r, expected.eap_id)
        );
        assert_eq!((read.conn, read.spis, read.expires), (expected.conn, expected.spis, expected.expires));
        assert_eq!(read.inherited.suite.encr, expected.inherited.suite.encr);
        assert!(open(&secrets[..1], &ticket).is_none());
        assert!(open(&[], &ticket).is_none());
        for at in 0..ticket.len() {
            let mut bent = ticket.clone();
            bent[at] ^= 1;
            assert!(open(&secrets, &bent).is_none(), "{at}");
            assert!(open(&secrets, &ticket[..at]).is_none(), "{at}");
        }
    }

    //= rfc5723 9.10-1
    #[test]
    fn nothing_of_the_state_shows_and_no_two_are_alike() {
        let secret = Secret::from(vec![1; 32]);
        let rng = &mut SeededRandom::new(1);
        let tickets = [(); 2].map(|()| seal(&secret, rng, &state()).unwrap());
        for ticket in &tickets {
            for plain in [&b"rw@lab"[..], b"gw.lab", b"alice", b"home", &[7; 8]] {
                assert!(ticket.windows(plain.len()).all(|part| part != plain));
            }
        }
        assert_ne!(tickets[0][KEY_ID..], tickets[1][KEY_ID..]);
    }
}
