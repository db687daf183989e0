//! Octets that wipe themselves and do not print.

use std::fmt;

use zeroize::Zeroizing;

/// Secret octets: wiped on drop, never shown by `Debug`, compared in constant time.
#[derive(Clone)]
pub struct Secret(Zeroizing<Box<[u8]>>);

impl Secret {
    /// A secret of no octets (the integrity key of an AEAD, for instance).
    #[must_use]
    pub fn empty() -> Self {
        Self(Zeroizing::new(Box::default()))
    }

    /// The octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Length in octets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no octets.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Equality in time that depends on the lengths only.
    #[must_use]
    pub fn ct_eq(&self, other: &Self) -> bool {
        ct_eq(&self.0, &other.0)
    }
}

/// Equality of two octet strings in time that depends on their lengths only.
#[must_use]
pub fn ct_eq(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}

impl From<Vec<u8>> for Secret {
    fn from(mut octets: Vec<u8>) -> Self {
        // `into_boxed_slice` of a vector with spare capacity moves the octets and frees the old allocation unwiped.
        if octets.capacity() == octets.len() {
            return Self(Zeroizing::new(octets.into_boxed_slice()));
        }
        let secret = Self::from(octets.as_slice());
        zeroize::Zeroize::zeroize(&mut octets);
        secret
    }
}

impl From<&[u8]> for Secret {
    fn from(octets: &[u8]) -> Self {
        Self(Zeroizing::new(octets.into()))
    }
}

impl AsRef<[u8]> for Secret {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other)
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_length_only() {
        assert_eq!(format!("{:?}", Secret::from(vec![0x41; 3])), "Secret(3 bytes)");
    }

    #[test]
    fn a_vector_with_spare_capacity_keeps_its_octets() {
        let mut octets = Vec::with_capacity(100);
        octets.extend_from_slice(b"abc");
        assert_eq!(Secret::from(octets).as_bytes(), b"abc");
    }

    #[test]
    fn comparison_sees_length_and_content() {
        assert_eq!(Secret::from(&b"abc"[..]), Secret::from(&b"abc"[..]));
        assert_ne!(Secret::from(&b"abc"[..]), Secret::from(&b"abd"[..]));
        assert_ne!(Secret::from(&b"abc"[..]), Secret::from(&b"ab"[..]));
        assert!(Secret::empty().is_empty());
    }
}
