//! The meaning of value texts: numbers, times, volumes, booleans, objects, ranges, attributes.

use std::net::IpAddr;
use std::time::Duration;

use zeroize::Zeroizing;

/// `yes true enabled 1` / `no false disabled 0`, in either case.
pub fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "enabled" | "1" => Some(true),
        "no" | "false" | "disabled" | "0" => Some(false),
        _ => None,
    }
}

/// The name of a network interface.
pub fn interface(text: &str) -> Option<String> {
    let fits = (1..=15).contains(&text.len()) && text != "." && text != "..";
    let odd = |c: char| c.is_whitespace() || c.is_control() || c == '/' || c == ':';
    (fits && !text.contains(odd)).then(|| text.to_owned())
}

/// An unsigned number with the prefixes of C: `0x` hexadecimal, a leading `0` octal.
pub fn integer(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return digits(hex, 16);
    }
    match text.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => digits(octal, 8),
        _ => digits(text, 10),
    }
}

/// A number as strongswan.conf reads it: decimal or `0x`, leading zeros without meaning.
pub fn decimal(text: &str) -> Option<u64> {
    let text = text.trim();
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => digits(hex, 16),
        None => digits(text, 10),
    }
}

fn digits(text: &str, radix: u32) -> Option<u64> {
    // `from_str_radix` also takes a sign, which no number here has.
    if text.is_empty() || !text.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    u64::from_str_radix(text, radix).ok()
}

/// A decimal number, optional blanks, and a unit of one letter.
fn with_unit(text: &str) -> Option<(&str, Option<char>)> {
    let text = text.trim();
    let (number, unit) = match text.char_indices().last() {
        Some((at, unit)) if unit.is_ascii_alphabetic() => (text.get(..at)?, Some(unit.to_ascii_lowercase())),
        _ => (text, None),
    };
    let number = number.trim_end();
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some((number, unit))
}

/// A time: seconds, or with one of `s m h d`.
pub fn time(text: &str) -> Option<Duration> {
    let (number, unit) = with_unit(text)?;
    let factor = match unit {
        None | Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        Some(_) => return None,
    };
    // 2^32 seconds are 136 years; beyond that lies a slip, and arithmetic that nobody tested.
    let seconds = number.parse::<u64>().ok()?.checked_mul(factor)?;
    (seconds <= u64::from(u32::MAX)).then(|| Duration::from_secs(seconds))
}

/// A volume in bytes, with one of `k m g` (powers of 1024); too much saturates.
pub fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = with_unit(text)?;
    let shift = match unit {
        None => 0,
        Some('k') => 10,
        Some('m') => 20,
        Some('g') => 30,
        Some(_) => return None,
    };
    // All digits, so the only way to fail is too many of them.
    let number = number.parse::<u64>().unwrap_or(u64::MAX);
    Some(number.saturating_mul(1 << shift))
}

/// Seconds with a fraction, as `retransmit_timeout` is given; no unit. At most a year.
pub fn seconds(text: &str) -> Option<Duration> {
    let value = float(text)?;
    (value <= 31_536_000.0).then(|| Duration::from_secs_f64(value))
}

/// A non-negative decimal fraction.
pub fn float(text: &str) -> Option<f64> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    text.parse::<f64>().ok().filter(|value| value.is_finite())
}

/// The object a `0x` (hex) or `0s` (base64) token stands for; `None` if it is neither, `Some(None)` if it is broken.
pub fn inline_object(text: &str) -> Option<Option<Zeroizing<Vec<u8>>>> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return Some(unhex(hex));
    }
    text.strip_prefix("0s").or_else(|| text.strip_prefix("0S")).map(unbase64)
}

/// The `0x…` form of an object.
pub fn object_to_inline(object: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(2 + 2 * object.len());
    text.push_str("0x");
    for byte in object {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A secret: `0x` hex, `0s` base64, else the text itself. `None` if the hex or base64 is broken.
pub fn secret(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    inline_object(text).unwrap_or_else(|| Some(Zeroizing::new(text.as_bytes().to_vec())))
}

fn unhex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() / 2 + 1));
    let mut half: Option<u8> = None;
    for c in text.chars().filter(|c| !matches!(c, ':' | ' ')) {
        let digit = u8::try_from(c.to_digit(16)?).ok()?;
        match half.take() {
            None => half = Some(digit),
            Some(high) => out.push(high << 4 | digit),
        }
    }
    if half.is_some() {
        // An odd number of digits: the first byte has only one, as strongSwan reads it.
        return unhex(&Zeroizing::new(format!("0{}", text.replace([':', ' '], ""))));
    }
    Some(out)
}

fn unbase64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() / 4 * 3 + 3));
    let (mut bits, mut count) = (0u32, 0u32);
    let body = text.trim_end_matches('=');
    if text.len() - body.len() > 2 {
        return None;
    }
    for c in body.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        let sextet = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits & 0xff_ffff) << 6 | u32::from(sextet);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    // One character alone carries no whole byte.
    (count < 6).then_some(out)
}

/// `address/prefix`, split and checked.
pub fn cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (addr, prefix) = text.split_once('/')?;
    let addr: IpAddr = addr.trim().parse().ok()?;
    let prefix = u8::try_from(digits(prefix.trim(), 10)?).ok()?;
    (prefix <= if addr.is_ipv4() { 32 } else { 128 }).then_some((addr, prefix))
}

/// A duration as it is written: the largest unit that divides it.
pub fn show_time(time: Duration) -> String {
    let seconds = time.as_secs();
    for (unit, name) in [(86_400, "d"), (3600, "h"), (60, "m")] {
        if seconds > 0 && seconds.is_multiple_of(unit) {
            return format!("{}{name}", seconds / unit);
        }
    }
    format!("{seconds}s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans() {
        for yes in ["yes", "True", "ENABLED", "1"] {
            assert_eq!(boolean(yes), Some(true));
        }
        for no in ["no", "false", "Disabled", "0"] {
            assert_eq!(boolean(no), Some(false));
        }
        assert_eq!(boolean("on"), None);
    }

    #[test]
    fn numbers() {
        assert_eq!(integer("0x1F"), Some(31));
        assert_eq!(integer("017"), Some(15));
        assert_eq!(integer("019"), None);
        assert_eq!(integer("0"), Some(0));
        assert_eq!(integer("+1"), None);
        assert_eq!(integer(""), None);
        assert_eq!(decimal("010"), Some(10));
        assert_eq!(decimal("0x10"), Some(16));
        assert_eq!(integer("99999999999999999999"), None);
    }

    #[test]
    fn times() {
        for (text, expected) in
            [("30", 30), ("30s", 30), ("5 m", 300), ("4H", 14_400), ("1d", 86_400), ("010", 10)]
        {
            assert_eq!(time(text), Some(Duration::from_secs(expected)), "{text}");
        }
        for text in ["", "s", "-1", "1w", "1.5h", "1 h 2", "99999999999999d", "1ms"] {
            assert_eq!(time(text), None, "{text}");
        }
        assert_eq!(show_time(Duration::from_secs(5400)), "90m");
    }

    #[test]
    fn volumes() {
        assert_eq!(bytes("1k"), Some(1024));
        assert_eq!(bytes("2 M"), Some(2 << 20));
        assert_eq!(bytes("1g"), Some(1 << 30));
        assert_eq!(bytes("99999999999999999999"), Some(u64::MAX));
        assert_eq!(bytes("18446744073709551615g"), Some(u64::MAX));
        assert_eq!(bytes("1t"), None);
    }

    #[test]
    fn fractions() {
        assert_eq!(seconds("4.0"), Some(Duration::from_secs(4)));
        assert_eq!(seconds("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(seconds("4s"), None);
        assert_eq!(float("nan"), None);
        assert_eq!(float("1e999"), None);
        assert_eq!(float("."), None);
    }

    #[test]
    fn secrets() {
        assert_eq!(secret("abc").as_deref(), Some(&b"abc".to_vec()));
        assert_eq!(secret("0x616263").as_deref(), Some(&b"abc".to_vec()));
        assert_eq!(secret("0x1").as_deref(), Some(&vec![1]));
        assert_eq!(secret("0sYWJj").as_deref(), Some(&b"abc".to_vec()));
        assert_eq!(secret("0sYWI=").as_deref(), Some(&b"ab".to_vec()));
        assert_eq!(secret("0sYQ").as_deref(), Some(&b"a".to_vec()));
        assert_eq!(secret("0xzz"), None);
        assert_eq!(secret("0s!"), None);
        assert_eq!(secret("0sA"), None);
        assert_eq!(object_to_inline(b"\x00\xff"), "0x00ff");
    }

    #[test]
    fn cidrs() {
        assert_eq!(cidr("10.0.0.0/8"), Some(("10.0.0.0".parse().unwrap(), 8)));
        assert_eq!(cidr("10.0.0.0/33"), None);
        assert_eq!(cidr("fd00::/64"), Some(("fd00::".parse().unwrap(), 64)));
        assert_eq!(cidr("10.0.0.0"), None);
    }
}
