//! Octets to and from netlink messages: native order, structures field by field, attributes padded to four.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zeroize::{Zeroize, Zeroizing};

/// Length of `struct nlmsghdr`.
pub(super) const HEADER: usize = 16;

/// Octets being written. They hold keys: the room is taken once (growing would leave copies behind) and wiped.
pub(super) struct Writer {
    bytes: Zeroizing<Vec<u8>>,
    /// The netlink port that requests name as theirs.
    pub(super) port: u32,
}

impl Writer {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Zeroizing::new(Vec::with_capacity(capacity)), port: 0 }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets what was written; it is overwritten.
    pub(super) fn clear(&mut self) {
        self.bytes.as_mut_slice().zeroize();
        self.bytes.clear();
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn zeros(&mut self, count: usize) {
        let length = self.bytes.len() + count;
        self.bytes.resize(length, 0);
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_ne_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_ne_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_ne_bytes());
    }

    /// Network order.
    pub(super) fn be16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    /// Network order.
    pub(super) fn be32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    /// `xfrm_address_t`: sixteen octets, of which IPv4 takes the first four.
    pub(super) fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(v4) => {
                self.bytes(&v4.octets());
                self.zeros(12);
            }
            IpAddr::V6(v6) => self.bytes(&v6.octets()),
        }
    }

    /// One message with its header; its length is filled in when the body is written.
    pub(super) fn message(&mut self, kind: u16, flags: u16, sequence: u32, body: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.u32(0);
        self.u16(kind);
        self.u16(flags);
        self.u32(sequence);
        // XFRM believes this, and names it in the events that come of the request.
        self.u32(self.port);
        body(self);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        if let Some(field) = self.bytes.get_mut(start..start + 4) {
            field.copy_from_slice(&length.to_ne_bytes());
        }
        self.align();
    }

    /// One attribute.
    pub(super) fn attribute(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.u16(0);
        self.u16(kind);
        body(self);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        if let Some(field) = self.bytes.get_mut(start..start + 2) {
            field.copy_from_slice(&length.to_ne_bytes());
        }
        self.align();
    }

    /// An attribute of one number.
    pub(super) fn number(&mut self, kind: u16, value: u32) {
        self.attribute(kind, |w| w.u32(value));
    }

    fn align(&mut self) {
        self.zeros(self.bytes.len().next_multiple_of(4) - self.bytes.len());
    }
}

/// Octets being read. Nothing is believed: what is not there is `None`.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn skip(&mut self, count: usize) -> Option<()> {
        self.take(count).map(drop)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_ne_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_ne_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_ne_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_ne_bytes)
    }

    pub(super) fn be16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn be32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// `xfrm_address_t`, whose family is told elsewhere.
    pub(super) fn address(&mut self) -> Option<RawAddress> {
        self.array().map(RawAddress)
    }
}

/// `xfrm_address_t` before its family is known.
#[derive(Clone, Copy)]
pub(super) struct RawAddress([u8; 16]);

impl RawAddress {
    pub(super) fn of(self, family: u16) -> Option<IpAddr> {
        match i32::from(family) {
            libc::AF_INET => self.0.first_chunk().map(|v4: &[u8; 4]| Ipv4Addr::from(*v4).into()),
            libc::AF_INET6 => Some(Ipv6Addr::from(self.0).into()),
            _ => None,
        }
    }
}

/// The family's number in structures.
pub(super) const fn family_of(address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(_) => libc::AF_INET as u16,
        IpAddr::V6(_) => libc::AF_INET6 as u16,
    }
}

/// The flags that are on.
pub(super) fn bits<const N: usize>(all: [(bool, u8); N]) -> u8 {
    all.into_iter().filter(|(on, _)| *on).fold(0, |sum, (_, bit)| sum | bit)
}

/// The attributes in some octets, up to the first that is broken.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    /// The bits that are flags (nested, network order).
    const KIND: u16 = 0x3fff;
    std::iter::from_fn(move || {
        let mut reader = Reader(bytes);
        let length = usize::from(reader.u16()?);
        let kind = reader.u16()?;
        let payload = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & KIND, payload))
    })
}

/// One message out of a datagram.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    /// The netlink port of whoever asked for it.
    pub(super) port: u32,
    pub(super) body: &'a [u8],
}

/// The messages in a datagram; the last one is `Err` when the datagram ends inside it.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Result<Message<'_>, ()>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let message = first_message(bytes);
        bytes = match &message {
            Some((_, length)) => bytes.get(length.next_multiple_of(4)..).unwrap_or_default(),
            None => &[],
        };
        Some(message.map(|(message, _)| message).ok_or(()))
    })
}

fn first_message(bytes: &[u8]) -> Option<(Message<'_>, usize)> {
    let mut header = Reader(bytes);
    let length = usize::try_from(header.u32()?).ok()?;
    let (kind, flags, sequence, port) = (header.u16()?, header.u16()?, header.u32()?, header.u32()?);
    let body = bytes.get(HEADER..length)?;
    Some((Message { kind, flags, sequence, port, body }, length))
}
