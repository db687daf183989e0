//! `sendmsg` and `recvmsg` with the packet-information control message, for UDP and raw sockets alike.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;

use socket2::SockAddr;

use crate::sys::check_len;

/// Room for the largest control message we use, aligned as `cmsghdr` must be.
#[repr(C, align(8))]
struct Control([u8; 128]);

/// Fields of the outer IP header that a sender chooses or a receiver is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fields {
    /// TOS or traffic class: DSCP and ECN.
    pub tos: u8,
    /// TTL or hop limit; `None` = the system's default, or not told.
    pub hop_limit: Option<u8>,
}

/// What came with a datagram.
pub(crate) struct Received {
    pub(crate) len: usize,
    pub(crate) remote: SocketAddr,
    /// The address the datagram was sent to, when the kernel told.
    pub(crate) local: Option<IpAddr>,
    /// What the IP header said, as far as the kernel told.
    pub(crate) fields: Fields,
}

/// Receives one datagram. A datagram larger than the buffer is an error, not a shortened success.
pub(crate) fn recv(fd: RawFd, buffer: &mut [u8]) -> io::Result<Received> {
    let mut control = Control([0; 128]);
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: `try_init` gives storage for an address and its length; `msghdr` is plain old data whose pointers
    // refer to locals that live until after the call, with their exact sizes.
    let ((len, header), remote) = unsafe {
        SockAddr::try_init(|storage, storage_len| {
            let mut header: libc::msghdr = std::mem::zeroed();
            header.msg_name = storage.cast();
            header.msg_namelen = *storage_len;
            header.msg_iov = &raw mut vector;
            header.msg_iovlen = 1;
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = control.0.len();
            let len = check_len(libc::recvmsg(fd, &raw mut header, libc::MSG_DONTWAIT))?;
            *storage_len = header.msg_namelen;
            Ok((len, header))
        })?
    };
    if header.msg_flags & libc::MSG_TRUNC != 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a datagram was larger than the buffer"));
    }
    let remote = remote
        .as_socket()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a datagram came without an IP source"))?;
    // SAFETY: the kernel filled in this header, whose control buffer is a local that lives.
    let (local, fields) = unsafe { ancillary(&header) };
    Ok(Received { len, remote, local, fields })
}

/// The address a datagram was sent to, and header fields of it, from its control messages.
///
/// # Safety
/// The kernel filled in `header` (`recvmsg`, `recvmmsg`), and its control buffer still lives.
unsafe fn ancillary(header: &libc::msghdr) -> (Option<IpAddr>, Fields) {
    let mut local = None;
    let mut fields = Fields::default();
    // SAFETY: the kernel filled `control` with well-formed messages of `msg_controllen` bytes; the CMSG macros
    // stay inside it, and the payload is read unaligned after its length was compared.
    unsafe {
        let mut cmsg = libc::CMSG_FIRSTHDR(std::ptr::from_ref(header));
        while !cmsg.is_null() {
            let payload = (*cmsg).cmsg_len.saturating_sub(libc::CMSG_LEN(0) as usize);
            if (*cmsg).cmsg_level == libc::IPPROTO_IP
                && (*cmsg).cmsg_type == libc::IP_PKTINFO
                && payload >= size_of::<libc::in_pktinfo>()
            {
                let info: libc::in_pktinfo =
                    libc::CMSG_DATA(cmsg).cast::<libc::in_pktinfo>().read_unaligned();
                // ipi_addr is the header's destination; ipi_spec_dst the local address of the matched route.
                local = Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr))));
            } else if (*cmsg).cmsg_level == libc::IPPROTO_IPV6
                && (*cmsg).cmsg_type == libc::IPV6_PKTINFO
                && payload >= size_of::<libc::in6_pktinfo>()
            {
                let info: libc::in6_pktinfo =
                    libc::CMSG_DATA(cmsg).cast::<libc::in6_pktinfo>().read_unaligned();
                local = Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)));
            } else {
                // IP_TOS comes as one byte, the others as an int.
                let value = match payload {
                    1..=3 => i32::from(*libc::CMSG_DATA(cmsg)),
                    4.. => libc::CMSG_DATA(cmsg).cast::<libc::c_int>().read_unaligned(),
                    _ => 0,
                };
                let value = u8::try_from(value & 0xff).unwrap_or(0);
                match ((*cmsg).cmsg_level, (*cmsg).cmsg_type) {
                    (libc::IPPROTO_IP, libc::IP_TOS) | (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                        fields.tos = value;
                    }
                    (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                        fields.hop_limit = Some(value);
                    }
                    _ => {}
                }
            }
            cmsg = libc::CMSG_NXTHDR(std::ptr::from_ref(header), cmsg);
        }
    }
    (local, fields)
}

/// Room for several datagrams, and what came with them; allocated once, used again and again.
pub(crate) struct Batch {
    bytes: Vec<u8>,
    each: usize,
    control: Vec<Control>,
    names: Vec<libc::sockaddr_storage>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    filled: usize,
}

// SAFETY: the pointers inside point into the vectors beside them, which move with it; they are set anew before each use.
unsafe impl Send for Batch {}

impl Batch {
    pub(crate) fn new(count: usize, each: usize) -> Self {
        // SAFETY: all three are plain old data, for which zeros are valid.
        let (name, vector, header) = unsafe { (std::mem::zeroed(), std::mem::zeroed(), std::mem::zeroed()) };
        Self {
            bytes: vec![0; count * each],
            each,
            control: (0..count).map(|_| Control([0; 128])).collect(),
            names: vec![name; count],
            vectors: vec![vector; count],
            headers: vec![header; count],
            filled: 0,
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.filled
    }

    pub(crate) fn capacity(&self) -> usize {
        self.headers.len()
    }

    /// Takes in what is there, as much as there is room for.
    pub(crate) fn recv(&mut self, fd: RawFd) -> io::Result<usize> {
        self.filled = 0;
        let parts = self.bytes.chunks_exact_mut(self.each).zip(&mut self.control).zip(&mut self.names);
        for (((bytes, control), name), (vector, header)) in
            parts.zip(self.vectors.iter_mut().zip(&mut self.headers))
        {
            vector.iov_base = bytes.as_mut_ptr().cast();
            vector.iov_len = bytes.len();
            let header = &mut header.msg_hdr;
            header.msg_name = std::ptr::from_mut(name).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = control.0.len();
            header.msg_flags = 0;
        }
        let count = libc::c_uint::try_from(self.headers.len()).unwrap_or(1);
        // SAFETY: `count` headers, each with buffers of the exact sizes given, all owned by self and borrowed mutably.
        let received = unsafe {
            libc::recvmmsg(
                fd,
                self.headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        self.filled = usize::try_from(crate::sys::check(received)?).unwrap_or(0);
        Ok(self.filled)
    }

    /// What came, and what with it. Datagrams that did not fit are left out.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], Received)> {
        let each = self.bytes.chunks_exact(self.each).zip(&self.headers).zip(&self.names).take(self.filled);
        each.filter_map(|((bytes, header), name)| {
            let length = usize::try_from(header.msg_len).ok()?;
            if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
                return None;
            }
            // SAFETY: the kernel filled in this header, and self owns its control buffer.
            let (local, fields) = unsafe { ancillary(&header.msg_hdr) };
            let (len, remote) = (length, source(name)?);
            Some((bytes.get(..len)?, Received { len, remote, local, fields }))
        })
    }
}

/// The address in a storage that the kernel filled.
fn source(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let name = std::ptr::from_ref(name);
    // SAFETY: a storage is large enough and aligned for either kind, and its family says which it is.
    unsafe {
        match libc::c_int::from((*name).ss_family) {
            libc::AF_INET => {
                let v4 = *name.cast::<libc::sockaddr_in>();
                let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
                Some(SocketAddr::new(ip.into(), u16::from_be(v4.sin_port)))
            }
            libc::AF_INET6 => {
                let v6 = *name.cast::<libc::sockaddr_in6>();
                let (ip, port) = (Ipv6Addr::from(v6.sin6_addr.s6_addr), u16::from_be(v6.sin6_port));
                Some(std::net::SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

/// Sends one datagram gathered from `parts`, from the address `local` if given, with these header fields.
pub(crate) fn send(
    fd: RawFd,
    local: Option<IpAddr>,
    remote: SocketAddr,
    fields: Fields,
    parts: &[io::IoSlice<'_>],
) -> io::Result<()> {
    let v4 = remote.is_ipv4();
    let remote = SockAddr::from(remote);
    let mut control = Control([0; 128]);
    // SAFETY: `msghdr` is plain old data; its pointers refer to locals and borrowed slices that live until after
    // the call. `IoSlice` is ABI compatible with `iovec` and sendmsg only reads through it. At most three control
    // messages are written inside `control`: CMSG_SPACE of an in6_pktinfo (40) and two ints (24 each) is 88 of its
    // 128 bytes.
    unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_name = remote.as_ptr().cast_mut().cast();
        header.msg_namelen = remote.len();
        header.msg_iov = parts.as_ptr().cast_mut().cast();
        header.msg_iovlen = parts.len();
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = 0;
        match local {
            Some(IpAddr::V4(address)) if !address.is_unspecified() => {
                let mut info: libc::in_pktinfo = std::mem::zeroed();
                info.ipi_spec_dst.s_addr = u32::from(address).to_be();
                put(&mut header, libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            Some(IpAddr::V6(address)) if !address.is_unspecified() => {
                let mut info: libc::in6_pktinfo = std::mem::zeroed();
                info.ipi6_addr.s6_addr = address.octets();
                put(&mut header, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
            _ => {}
        }
        if fields.tos != 0 {
            let (level, kind) =
                if v4 { (libc::IPPROTO_IP, libc::IP_TOS) } else { (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) };
            put(&mut header, level, kind, &libc::c_int::from(fields.tos));
        }
        if let Some(limit) = fields.hop_limit.filter(|limit| *limit > 0) {
            let (level, kind) =
                if v4 { (libc::IPPROTO_IP, libc::IP_TTL) } else { (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) };
            put(&mut header, level, kind, &libc::c_int::from(limit));
        }
        if header.msg_controllen == 0 {
            header.msg_control = std::ptr::null_mut();
        }
        check_len(libc::sendmsg(fd, &raw const header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)).map(drop)
    }
}

/// Appends one control message to the header's control buffer.
///
/// # Safety
/// `header.msg_control` points to a zeroed, 8-aligned buffer that has room for `CMSG_SPACE(size_of::<T>())` bytes
/// after the `msg_controllen` that are in use, which end with a whole control message.
unsafe fn put<T>(header: &mut libc::msghdr, level: libc::c_int, kind: libc::c_int, payload: &T) {
    let size = size_of::<T>() as libc::c_uint;
    // SAFETY: per this function's contract the buffer has room for header and payload behind what is in use; CMSG_SPACE
    // keeps every message aligned as `cmsghdr` must be.
    unsafe {
        let at = header.msg_controllen;
        header.msg_controllen = at + libc::CMSG_SPACE(size) as usize;
        let cmsg = header.msg_control.cast::<u8>().add(at).cast::<libc::cmsghdr>();
        (*cmsg).cmsg_level = level;
        (*cmsg).cmsg_type = kind;
        (*cmsg).cmsg_len = libc::CMSG_LEN(size) as _;
        std::ptr::copy_nonoverlapping(payload, libc::CMSG_DATA(cmsg).cast(), 1);
    }
}
