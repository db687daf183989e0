//! The little strict DER that keys and signatures need: definite, minimal lengths; single-octet tags.

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OID: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const CONTEXT_0: u8 = 0xa0;
pub(crate) const CONTEXT_1: u8 = 0xa1;
pub(crate) const CONTEXT_2: u8 = 0xa2;
pub(crate) const CONTEXT_3: u8 = 0xa3;

/// Reads elements from the front of a slice.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tag and content of the next element.
    pub(crate) fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        // Multi-octet tags do not occur in the structures read here.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            let count = usize::from(first & 0x7f);
            if count == 0 || count > 3 {
                return None;
            }
            let (octets, rest) = rest.split_at_checked(count)?;
            let len = octets.iter().fold(0usize, |len, octet| len << 8 | usize::from(*octet));
            let minimal = len >= 0x80 && octets.first() != Some(&0);
            if !minimal {
                return None;
            }
            (len, rest)
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// Content of the next element if it has this tag.
    pub(crate) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = *self;
        match ahead.any() {
            Some((found, content)) if found == tag => {
                *self = ahead;
                Some(content)
            }
            _ => None,
        }
    }

    /// A reader over the content of the next element.
    pub(crate) fn nested(&mut self, tag: u8) -> Option<Self> {
        self.take(tag).map(Self)
    }

    /// A non-negative INTEGER's magnitude without leading zero octets (empty for zero).
    pub(crate) fn unsigned(&mut self) -> Option<&'a [u8]> {
        match self.take(INTEGER)? {
            [] => None,
            [0] => Some(&[]),
            // Minimal: a leading zero only in front of a set high bit.
            [0, rest @ ..] => rest.first().is_some_and(|octet| octet & 0x80 != 0).then_some(rest),
            content => content.first().is_some_and(|octet| octet & 0x80 == 0).then_some(content),
        }
    }

    /// Content of a BIT STRING of whole octets.
    pub(crate) fn octet_bits(&mut self) -> Option<&'a [u8]> {
        match self.take(BIT_STRING)? {
            [0, rest @ ..] => Some(rest),
            _ => None,
        }
    }

    pub(crate) fn end(&self) -> Option<()> {
        self.is_empty().then_some(())
    }
}

/// One element of concatenated parts.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(len + 5);
    out.push(tag);
    if len < 0x80 {
        out.push(len as u8);
    } else {
        let octets = len.to_be_bytes();
        let skip = octets.iter().take_while(|octet| **octet == 0).count();
        out.push(0x80 | (octets.len() - skip) as u8);
        out.extend(octets.iter().skip(skip));
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_must_be_minimal_and_present() {
        for bad in [
            &[0x30][..],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x81, 0x01, 0],
            &[0x30, 0x82, 0x00, 0x80],
            &[0x30, 0x02, 0],
            &[0x30, 0x84, 1, 0, 0, 0],
            &[0x1f, 0x20, 0],
        ] {
            assert!(Reader::new(bad).any().is_none(), "{bad:02x?}");
        }
    }

    #[test]
    fn integers_must_be_minimal_and_not_negative() {
        let read = |bytes: &'static [u8]| Reader::new(bytes).unsigned();
        assert_eq!(read(&[2, 1, 0]), Some(&[][..]));
        assert_eq!(read(&[2, 2, 0, 0x80]), Some(&[0x80][..]));
        assert_eq!(read(&[2, 1, 0x7f]), Some(&[0x7f][..]));
        for bad in [&[2, 0][..], &[2, 1, 0x80], &[2, 2, 0, 0x7f], &[2, 2, 0, 0]] {
            assert_eq!(read(bad), None, "{bad:02x?}");
        }
    }

    #[test]
    fn elements_read_back() {
        for len in [0usize, 1, 127, 128, 255, 256, 70_000] {
            let content = vec![7; len];
            let bytes = element(OCTET_STRING, &[&content]);
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.take(OCTET_STRING), Some(&content[..]));
            assert!(reader.is_empty());
        }
    }
}
