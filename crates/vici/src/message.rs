//! The message: an ordered tree of key/value pairs, lists and sections.
//!
//! Order is significant (authentication rounds, children) and kept. Values are raw bytes; numbers and booleans travel
//! as text. A name may stand twice; lookups give the last one, as a later setting replaces an earlier one.

use std::fmt::{self, Write as _};

/// Largest packet: 512 KiB, as every client expects.
pub const MAX_MESSAGE: usize = 512 * 1024;
/// Deepest nesting of sections.
pub const MAX_DEPTH: usize = 16;
/// Most elements (pairs, lists, list items, sections) of one message.
pub const MAX_ELEMENTS: usize = 65_536;

const SECTION_START: u8 = 1;
const SECTION_END: u8 = 2;
const KEY_VALUE: u8 = 3;
const LIST_START: u8 = 4;
const LIST_ITEM: u8 = 5;
const LIST_END: u8 = 6;

/// One entry of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Element {
    /// `name = value`
    KeyValue(String, Vec<u8>),
    /// `name = [ item … ]`
    List(String, Vec<Vec<u8>>),
    /// `name { … }`
    Section(String, Message),
}

/// An ordered tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message(pub Vec<Element>);

/// Why bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// Ends inside an element.
    Truncated,
    /// Larger than [`MAX_MESSAGE`].
    TooLarge,
    /// Nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// More than [`MAX_ELEMENTS`].
    TooMany,
    /// An element or packet type that does not exist, or not here.
    UnexpectedType(u8),
    /// A section or list that is not closed, or closed without having been opened.
    Unbalanced,
    /// A name that is not text.
    BadName,
}

/// Why a message has no encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodeError {
    /// A name of more than 255 bytes.
    NameTooLong,
    /// A value of more than 65535 bytes.
    ValueTooLong,
    /// Larger than [`MAX_MESSAGE`].
    TooLarge,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the message ends inside an element"),
            Self::TooLarge => write!(f, "the message is larger than {MAX_MESSAGE} bytes"),
            Self::TooDeep => write!(f, "sections are nested deeper than {MAX_DEPTH}"),
            Self::TooMany => write!(f, "the message has more than {MAX_ELEMENTS} elements"),
            Self::UnexpectedType(kind) => write!(f, "type {kind} is not expected here"),
            Self::Unbalanced => f.write_str("a section or list is not balanced"),
            Self::BadName => f.write_str("a name is not text"),
        }
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameTooLong => f.write_str("a name is longer than 255 bytes"),
            Self::ValueTooLong => f.write_str("a value is longer than 65535 bytes"),
            Self::TooLarge => write!(f, "the message is larger than {MAX_MESSAGE} bytes"),
        }
    }
}

impl std::error::Error for DecodeError {}
impl std::error::Error for EncodeError {}

impl Element {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::KeyValue(name, _) | Self::List(name, _) | Self::Section(name, _) => name,
        }
    }
}

impl Message {
    /// An empty message.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `name = value` (builder).
    #[must_use]
    pub fn kv(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.push_kv(name, value);
        self
    }

    /// Appends `name = value` with the value's text (builder).
    #[must_use]
    pub fn text(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.push_text(name, value);
        self
    }

    /// Appends `name = value` if there is one (builder).
    #[must_use]
    pub fn opt(mut self, name: &str, value: Option<impl fmt::Display>) -> Self {
        if let Some(value) = value {
            self.push_text(name, value);
        }
        self
    }

    /// Appends `name = yes` if `set`, nothing otherwise (builder): how flags travel in answers.
    #[must_use]
    pub fn flag(mut self, name: &str, set: bool) -> Self {
        if set {
            self.push_kv(name, "yes");
        }
        self
    }

    /// Appends a list (builder).
    #[must_use]
    pub fn list<I: AsRef<[u8]>>(mut self, name: &str, items: impl IntoIterator<Item = I>) -> Self {
        self.push_list(name, items);
        self
    }

    /// Appends a section (builder).
    #[must_use]
    pub fn section(mut self, name: &str, section: Self) -> Self {
        self.push_section(name, section);
        self
    }

    /// Appends `name = value`.
    pub fn push_kv(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.0.push(Element::KeyValue(name.to_owned(), value.as_ref().to_vec()));
    }

    /// Appends `name = value` with the value's text.
    pub fn push_text(&mut self, name: &str, value: impl fmt::Display) {
        self.0.push(Element::KeyValue(name.to_owned(), value.to_string().into_bytes()));
    }

    /// Appends a list.
    pub fn push_list<I: AsRef<[u8]>>(&mut self, name: &str, items: impl IntoIterator<Item = I>) {
        self.0.push(Element::List(name.to_owned(), items.into_iter().map(|i| i.as_ref().to_vec()).collect()));
    }

    /// Appends a section.
    pub fn push_section(&mut self, name: &str, section: Self) {
        self.0.push(Element::Section(name.to_owned(), section));
    }

    /// The entries in order.
    pub fn elements(&self) -> &[Element] {
        &self.0
    }

    /// Nothing in it?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a key.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().rev().find_map(|e| match e {
            Element::KeyValue(n, value) if n == name => Some(value.as_slice()),
            _ => None,
        })
    }

    /// The value of a key, if it is text.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|v| std::str::from_utf8(v).ok())
    }

    /// The value of a key as a number.
    pub fn get_number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.get_str(name).and_then(|v| v.trim().parse().ok())
    }

    /// The value of a key as a boolean: `yes true enabled 1`, `no false disabled 0`, in either case.
    pub fn get_bool(&self, name: &str) -> Option<bool> {
        let value = self.get_str(name)?;
        let is = |words: &[&str]| words.iter().any(|w| value.eq_ignore_ascii_case(w));
        if is(&["yes", "true", "enabled", "1"]) {
            Some(true)
        } else if is(&["no", "false", "disabled", "0"]) {
            Some(false)
        } else {
            None
        }
    }

    /// Does a key stand here, whatever its value?
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The items of a list.
    pub fn get_list(&self, name: &str) -> Option<&[Vec<u8>]> {
        self.0.iter().rev().find_map(|e| match e {
            Element::List(n, items) if n == name => Some(items.as_slice()),
            _ => None,
        })
    }

    /// The items of a list that are text; none if there is no such list.
    pub fn get_strings(&self, name: &str) -> Vec<&str> {
        self.get_list(name).unwrap_or_default().iter().filter_map(|i| std::str::from_utf8(i).ok()).collect()
    }

    /// A section.
    pub fn get_section(&self, name: &str) -> Option<&Self> {
        self.0.iter().rev().find_map(|e| match e {
            Element::Section(n, section) if n == name => Some(section),
            _ => None,
        })
    }

    /// The sections in order.
    pub fn sections(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.0.iter().filter_map(|e| match e {
            Element::Section(name, section) => Some((name.as_str(), section)),
            _ => None,
        })
    }

    /// The answer of a command that worked.
    pub fn success() -> Self {
        Self::new().kv("success", "yes")
    }

    /// The answer of a command that did not.
    pub fn failure(errmsg: impl fmt::Display) -> Self {
        Self::new().kv("success", "no").text("errmsg", errmsg)
    }

    /// Its bytes.
    ///
    /// # Errors
    /// If a name, a value or the whole is longer than the format allows.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::new();
        self.encode_into(&mut out)?;
        Ok(out)
    }

    pub(crate) fn encode_into(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        for element in &self.0 {
            match element {
                Element::KeyValue(name, value) => {
                    out.push(KEY_VALUE);
                    put_name(out, name)?;
                    put_value(out, value)?;
                }
                Element::List(name, items) => {
                    out.push(LIST_START);
                    put_name(out, name)?;
                    for item in items {
                        out.push(LIST_ITEM);
                        put_value(out, item)?;
                    }
                    out.push(LIST_END);
                }
                Element::Section(name, section) => {
                    out.push(SECTION_START);
                    put_name(out, name)?;
                    section.encode_into(out)?;
                    out.push(SECTION_END);
                }
            }
            if out.len() > MAX_MESSAGE {
                return Err(EncodeError::TooLarge);
            }
        }
        Ok(())
    }

    /// Reads a message.
    ///
    /// # Errors
    /// If the bytes are not exactly one well-formed message within the limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_MESSAGE {
            return Err(DecodeError::TooLarge);
        }
        let mut input = Input { rest: bytes, left: MAX_ELEMENTS };
        // Open sections, innermost last; an explicit stack, so that depth costs no call frames.
        let mut open: Vec<(String, Self)> = Vec::new();
        let mut here = Self::new();
        while let Some(kind) = input.next_type() {
            match kind {
                SECTION_START => {
                    input.count()?;
                    if open.len() >= MAX_DEPTH {
                        return Err(DecodeError::TooDeep);
                    }
                    open.push((input.name()?, std::mem::take(&mut here)));
                }
                SECTION_END => {
                    let (name, outer) = open.pop().ok_or(DecodeError::Unbalanced)?;
                    let section = std::mem::replace(&mut here, outer);
                    here.0.push(Element::Section(name, section));
                }
                KEY_VALUE => {
                    input.count()?;
                    let name = input.name()?;
                    here.0.push(Element::KeyValue(name, input.value()?));
                }
                LIST_START => {
                    input.count()?;
                    let name = input.name()?;
                    here.0.push(Element::List(name, input.items()?));
                }
                other => return Err(DecodeError::UnexpectedType(other)),
            }
        }
        if open.is_empty() { Ok(here) } else { Err(DecodeError::Unbalanced) }
    }
}

/// The raw form in which swanctl prints trees: `{a=b c=[d e] f {g=h}}` without the outer braces.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, element) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_char(' ')?;
            }
            match element {
                Element::KeyValue(name, value) => {
                    write!(f, "{name}=")?;
                    show(f, value)?;
                }
                Element::List(name, items) => {
                    write!(f, "{name}=[")?;
                    for (j, item) in items.iter().enumerate() {
                        if j > 0 {
                            f.write_char(' ')?;
                        }
                        show(f, item)?;
                    }
                    f.write_char(']')?;
                }
                Element::Section(name, section) => write!(f, "{name} {{{section}}}")?,
            }
        }
        Ok(())
    }
}

fn show(f: &mut fmt::Formatter<'_>, value: &[u8]) -> fmt::Result {
    match std::str::from_utf8(value) {
        Ok(text) if !text.chars().any(char::is_control) => f.write_str(text),
        _ => {
            f.write_str("0x")?;
            value.iter().try_for_each(|b| write!(f, "{b:02x}"))
        }
    }
}

pub(crate) fn put_name(out: &mut Vec<u8>, name: &str) -> Result<(), EncodeError> {
    out.push(u8::try_from(name.len()).map_err(|_| EncodeError::NameTooLong)?);
    out.extend_from_slice(name.as_bytes());
    Ok(())
}

fn put_value(out: &mut Vec<u8>, value: &[u8]) -> Result<(), EncodeError> {
    let length = u16::try_from(value.len()).map_err(|_| EncodeError::ValueTooLong)?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
    Ok(())
}

/// What is left to read, in bytes and in elements.
pub(crate) struct Input<'a> {
    pub(crate) rest: &'a [u8],
    left: usize,
}

impl<'a> Input<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self { rest, left: MAX_ELEMENTS }
    }

    pub(crate) fn next_type(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn count(&mut self) -> Result<(), DecodeError> {
        self.left = self.left.checked_sub(1).ok_or(DecodeError::TooMany)?;
        Ok(())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn name(&mut self) -> Result<String, DecodeError> {
        let length = self.next_type().ok_or(DecodeError::Truncated)?;
        let bytes = self.take(usize::from(length))?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| DecodeError::BadName)
    }

    fn value(&mut self) -> Result<Vec<u8>, DecodeError> {
        let (length, rest) = self.rest.split_first_chunk::<2>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        self.take(usize::from(u16::from_be_bytes(*length))).map(<[u8]>::to_vec)
    }

    fn items(&mut self) -> Result<Vec<Vec<u8>>, DecodeError> {
        let mut items = Vec::new();
        loop {
            match self.next_type() {
                Some(LIST_ITEM) => {
                    self.count()?;
                    items.push(self.value()?);
                }
                Some(LIST_END) => return Ok(items),
                Some(other) => return Err(DecodeError::UnexpectedType(other)),
                None => return Err(DecodeError::Unbalanced),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Message {
        Message::new()
            .kv("key1", "value1")
            .section(
                "section1",
                Message::new()
                    .section("sub-section", Message::new().kv("key2", "value2"))
                    .list("list1", ["item1", "item2"]),
            )
            .flag("absent", false)
            .text("n", 7)
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let m = Message::new().kv("k", "v").list("l", ["a"]).section("s", Message::new());
        assert_eq!(m.encode().unwrap(), b"\x03\x01k\x00\x01v\x04\x01l\x05\x00\x01a\x06\x01\x01s\x02");
    }

    #[test]
    fn round_trip_keeps_order() {
        let bytes = sample().encode().unwrap();
        assert_eq!(Message::decode(&bytes).unwrap(), sample());
        assert_eq!(
            sample().to_string(),
            "key1=value1 section1 {sub-section {key2=value2} list1=[item1 item2]} n=7"
        );
    }

    #[test]
    fn lookups() {
        let m = Message::new().kv("a", "1").kv("a", "YES").list("l", ["x"]).text("n", 42);
        assert_eq!(m.get_str("a"), Some("YES"));
        assert_eq!(m.get_bool("a"), Some(true));
        assert_eq!(m.get_bool("n"), None);
        assert_eq!(m.get_number::<u32>("n"), Some(42));
        assert_eq!(m.get_strings("l"), ["x"]);
        assert!(!m.has("l") && m.get_section("l").is_none());
    }

    #[test]
    fn limits_of_encoding() {
        assert_eq!(Message::new().kv(&"n".repeat(256), "").encode(), Err(EncodeError::NameTooLong));
        assert_eq!(Message::new().kv("n", vec![0; 65_536]).encode(), Err(EncodeError::ValueTooLong));
        let many = (0..9).fold(Message::new(), |m, _| m.kv("n", vec![0; 65_535]));
        assert_eq!(many.encode(), Err(EncodeError::TooLarge));
    }

    #[test]
    fn limits_of_decoding() {
        let deep = |n: usize| [b"\x01\x01s".repeat(n), vec![SECTION_END; n]].concat();
        assert!(Message::decode(&deep(MAX_DEPTH)).is_ok());
        assert_eq!(Message::decode(&deep(MAX_DEPTH + 1)), Err(DecodeError::TooDeep));
        assert_eq!(Message::decode(&b"\x03\x00\x00\x00".repeat(MAX_ELEMENTS + 1)), Err(DecodeError::TooMany));
        assert_eq!(Message::decode(&vec![0; MAX_MESSAGE + 1]), Err(DecodeError::TooLarge));
    }

    #[test]
    fn malformed_input_is_named() {
        for (bytes, error) in [
            (&b"\x02"[..], DecodeError::Unbalanced),
            (b"\x01\x01s", DecodeError::Unbalanced),
            (b"\x04\x01l", DecodeError::Unbalanced),
            (b"\x04\x01l\x03", DecodeError::UnexpectedType(3)),
            (b"\x05\x00\x00", DecodeError::UnexpectedType(5)),
            (b"\x00", DecodeError::UnexpectedType(0)),
            (b"\x03", DecodeError::Truncated),
            (b"\x03\x05abc", DecodeError::Truncated),
            (b"\x03\x01k\x00", DecodeError::Truncated),
            (b"\x03\x01k\x00\x02v", DecodeError::Truncated),
            (b"\x03\x01\xff\x00\x00", DecodeError::BadName),
        ] {
            assert_eq!(Message::decode(bytes), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn no_mutation_panics() {
        let bytes = sample().encode().unwrap();
        for cut in 0..bytes.len() {
            let _ = Message::decode(&bytes[..cut]);
            for value in [0, 1, 2, 3, 4, 5, 6, 7, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[cut] = value;
                if let Ok(message) = Message::decode(&changed) {
                    assert_eq!(Message::decode(&message.encode().unwrap()).unwrap(), message);
                    let _ = message.to_string();
                }
            }
        }
    }
}
