//! Names and numbers of the XFRM interfaces that are made.
//!
//! The number of a connection comes of its name, so that it is the same in every life of the daemon and on every gateway
//! that has the connection; where two names would have one number, the later takes the next. The interface's name is
//! `adit-` and the connection's, as far as that fits and the kernel and a shell can bear it; else its beginning and four
//! letters of a hash. Interfaces for numbers that are configured are called by these.

use std::collections::{BTreeMap, BTreeSet};

/// What all names begin with, for firewall rules that mean all (`iifname "adit-*"`).
const PREFIX: &str = "adit-";
/// `IFNAMSIZ` without the zero at the end.
const LONGEST: usize = 15;
/// Letters of a connection's name before the hash.
const HEAD: usize = 5;
/// The name of the one that all share.
const SHARED_NAME: &str = "xfrm";
/// The highest octet of all numbers; operators count from one.
const OURS: u32 = 0xad << 24;
const LOW: u32 = 0x00ff_ffff;
/// The number of the one that all share.
pub(super) const SHARED: u32 = OURS;

/// Which connection has which number.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    given: BTreeMap<String, u32>,
    connections: BTreeMap<u32, String>,
    /// Other people's.
    foreign: BTreeSet<u32>,
}

impl Numbers {
    /// None is given yet; these are others'.
    pub(super) fn without(foreign: impl IntoIterator<Item = u32>) -> Self {
        Self { foreign: foreign.into_iter().collect(), ..Self::default() }
    }

    /// The number of a connection, always the same; 0 when there are no more.
    pub(super) fn of(&mut self, connection: &str) -> u32 {
        if let Some(number) = self.given.get(connection) {
            return *number;
        }
        let first = hash(connection, 0);
        let mut all = (0..=LOW).map(|step| OURS | (first.wrapping_add(step) & LOW));
        let free =
            |it: &u32| *it != SHARED && !self.connections.contains_key(it) && !self.foreign.contains(it);
        let Some(number) = all.find(free) else { return 0 };
        self.given.insert(connection.to_owned(), number);
        self.connections.insert(number, connection.to_owned());
        number
    }

    /// What the interface of a number is to be called, where some names are taken.
    pub(super) fn name(&self, number: u32, taken: impl Fn(&str) -> bool) -> String {
        match self.connections.get(&number) {
            Some(connection) => name(connection, taken),
            None if number == SHARED => name(SHARED_NAME, taken),
            None => name(&number.to_string(), taken),
        }
    }
}

fn name(wish: &str, taken: impl Fn(&str) -> bool) -> String {
    let bearable = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let clean: String = wish.chars().map(|c| if bearable(c) { c } else { '_' }).collect();
    let whole = format!("{PREFIX}{clean}");
    if clean == wish && !wish.is_empty() && whole.len() <= LONGEST && !taken(&whole) {
        return whole;
    }
    let head: String = clean.chars().take(HEAD).collect();
    let head = head.trim_end_matches(['-', '_', '.']);
    let hashed = |salt| format!("{PREFIX}{head}-{}", letters(hash(wish, salt)));
    // A salt gives another name for all but one in a million.
    (0..u32::MAX).map(hashed).find(|name| !taken(name)).unwrap_or(whole)
}

/// FNV-1a. Whoever names connections here is the operator: nobody looks for collisions.
fn hash(text: &str, salt: u32) -> u32 {
    let bytes = salt.to_be_bytes().into_iter().filter(|_| salt > 0).chain(text.bytes());
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    // The high bits are the better mixed ones.
    hash ^ hash >> 24
}

/// Twenty bits in letters and digits that are not taken for each other.
fn letters(hash: u32) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let one = |at: u32| {
        let at = usize::try_from(hash >> (5 * at) & 31).unwrap_or_default();
        char::from(LETTERS.get(at).copied().unwrap_or(b'a'))
    };
    (0..4).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(_: &str) -> bool {
        false
    }

    #[test]
    fn names_are_readable_short_and_harmless() {
        assert_eq!(name("office", free), "adit-office");
        assert_eq!(name("gw.site-10", free), "adit-gw.site-10");
        let mut seen = BTreeSet::new();
        for wish in [
            "gw.site-100",
            "frankfurt-berlin",
            "frankfurt-bern",
            "büro",
            "a/b",
            "../x",
            "$(reboot)",
            "a b",
            "",
        ] {
            let name = name(wish, free);
            assert!(name.len() <= LONGEST && name.starts_with("adit-"), "{name}");
            assert!(name.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c)), "{name}");
            assert!(seen.insert(name.clone()), "{name}");
        }
        assert!(name("frankfurt-berlin", free).starts_with("adit-frank-"));
        assert_eq!(name("frankfurt-berlin", free), name("frankfurt-berlin", free));
    }

    #[test]
    fn a_name_that_is_taken_is_not_given_again() {
        let first = name("42", |it| it == "adit-42");
        assert!(first.starts_with("adit-42-") && first.len() <= LONGEST, "{first}");
        let second = name("42", |it| it == "adit-42" || it == first);
        assert!(second.starts_with("adit-42-") && second != first, "{second}");
    }

    #[test]
    fn numbers_are_a_connections_own_and_always_the_same() {
        let (mut one, mut other) = (Numbers::default(), Numbers::default());
        let office = one.of("office");
        other.of("home");
        assert_eq!((other.of("office"), one.of("office")), (office, office));
        assert_eq!((office >> 24, one.name(office, free).as_str()), (0xad, "adit-office"));
        // One that is somebody else's is passed over.
        let mut third = Numbers::without([office]);
        assert_eq!(third.of("office"), OURS | (office.wrapping_add(1) & LOW));
        let numbers: BTreeSet<u32> = (0..5000).map(|n| one.of(&format!("conn-{n}"))).collect();
        assert_eq!(numbers.len(), 5000);
        assert!(!numbers.contains(&office) && !numbers.contains(&SHARED) && !numbers.contains(&0));
        assert_eq!(one.name(SHARED, free), "adit-xfrm");
        assert_eq!(one.name(u32::MAX, free), "adit-4294967295");
    }
}
