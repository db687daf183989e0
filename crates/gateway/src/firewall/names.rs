//! Names of children as nftables can write them.

use std::fmt::Write as _;

/// Longer ones end in a sum of the whole: the kernel takes 255 bytes, and there is more to come before and behind.
const LONGEST: usize = 120;

/// `connection/child` of letters, digits, `-` and `_`; every other byte stands as `.` and two hexadecimal digits. Different
/// children have different names.
pub(super) fn identifier(conn: &str, child: &str) -> String {
    let mut name = escaped(conn);
    name.push('/');
    name.push_str(&escaped(child));
    if name.len() > LONGEST {
        let sum = sum(name.as_bytes());
        name.truncate(LONGEST - 18);
        // No escape is two bytes short, and no other name has this ending: `..` is in none.
        let _ = write!(name, "..{sum:016x}");
    }
    name
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            out.push(char::from(byte));
        } else {
            // writing to a string does not fail
            let _ = write!(out, ".{byte:02x}");
        }
    }
    out
}

/// What the chain of several groups is called behind its way: no child is, since those have a slash.
pub(super) fn several_name(groups: &[u32]) -> String {
    let list = groups.iter().map(ToString::to_string).collect::<Vec<_>>().join("-");
    if list.len() > LONGEST {
        format!("several..{:016x}", sum(list.as_bytes()))
    } else {
        format!("several.{list}")
    }
}

/// FNV-1a: the same in every build, since names in the kernel may outlive a process.
fn sum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// May stand between quotes as the name of an interface: nothing that ends the quotes, matches many, or escapes.
pub(super) fn is_plain_device(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.@+".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_name_reaches_the_grammar() {
        assert_eq!(identifier("home", "net-1"), "home/net-1");
        assert_eq!(identifier("a.b", "x\" accept; }"), "a.2eb/x.22.20accept.3b.20.7d");
        assert_eq!(identifier("ü", "/"), ".c3.bc/.2f");
        let (one, other) = ("x".repeat(300), format!("{}y", "x".repeat(299)));
        let (one, other) = (identifier(&one, "c"), identifier(&other, "c"));
        assert_eq!((one.len(), other.len()), (LONGEST, LONGEST));
        assert_ne!(one, other);
        assert!(is_plain_device("adit0") && is_plain_device("ipsec0.1"));
        assert!(!is_plain_device("adit*") && !is_plain_device("a\"b") && !is_plain_device("a\\b"));
    }
}
