//! Raw sockets: for ESP that is not encapsulated in UDP (IP protocol 50, RFC 4303), and for whole IPv4 packets.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use socket2::{Domain, Protocol, Socket, Type};

use crate::msg::{self, Fields};
use crate::sys::{enlarge_buffers, tried};

/// IP protocol number of ESP.
const ESP: i32 = 50;

/// One received ESP packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EspMeta {
    /// Where in the caller's buffer the ESP packet (SPI to ICV) is; the outer header stands outside of it.
    pub packet: Range<usize>,
    /// Outer destination.
    pub local: IpAddr,
    /// Outer source.
    pub remote: IpAddr,
    /// TOS and TTL it came with.
    pub fields: Fields,
}

/// A nonblocking raw socket for IP protocol 50 of one address family.
#[derive(Debug)]
pub struct EspSocket {
    socket: Socket,
    v4: bool,
}

impl EspSocket {
    /// Opens an IPv4 (`v4`) or IPv6 socket; `mark` as for [`crate::udp::UdpSocket::bind`].
    ///
    /// # Errors
    /// Without `CAP_NET_RAW`, or where the family is not served.
    pub fn open(v4: bool, mark: Option<u32>) -> io::Result<Self> {
        let open = || {
            let domain = if v4 { Domain::IPV4 } else { Domain::IPV6 };
            let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(ESP)))?;
            socket.set_nonblocking(true)?;
            crate::udp::prepare(&socket, v4, mark)?;
            enlarge_buffers(socket.as_raw_fd());
            Ok(Self { socket, v4 })
        };
        open()
            .map_err(|e| tried(format_args!("opening a raw ESP socket (IPv{})", if v4 { 4 } else { 6 }), &e))
    }

    /// Whether this is the IPv4 socket.
    #[must_use]
    pub const fn is_v4(&self) -> bool {
        self.v4
    }

    /// Receives one ESP packet; [`io::ErrorKind::WouldBlock`] when there is none.
    ///
    /// # Errors
    /// As `recvmsg(2)`; `InvalidData` for a packet that does not fit or has no sane outer header.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<EspMeta> {
        let got = msg::recv(self.socket.as_raw_fd(), buffer)?;
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "a raw packet without a usable IP header");
        if self.v4 {
            // An IPv4 raw socket delivers the IP header (raw(7)); an IPv6 one does not (RFC 3542 §3).
            let header = buffer.get(..got.len).ok_or_else(bad)?;
            let first = *header.first().ok_or_else(bad)?;
            let length = usize::from(first & 0x0f) * 4;
            if first >> 4 != 4 || length < 20 || length > got.len {
                return Err(bad());
            }
            let destination: [u8; 4] = header.get(16..20).and_then(|d| d.try_into().ok()).ok_or_else(bad)?;
            return Ok(EspMeta {
                packet: length..got.len,
                local: IpAddr::V4(Ipv4Addr::from(destination)),
                remote: got.remote.ip(),
                fields: Fields {
                    tos: header.get(1).copied().unwrap_or(0),
                    hop_limit: header.get(8).copied(),
                },
            });
        }
        let local = got.local.ok_or_else(bad)?;
        Ok(EspMeta { packet: 0..got.len, local, remote: got.remote.ip(), fields: got.fields })
    }

    /// Sends one ESP packet; the kernel makes the outer header.
    ///
    /// # Errors
    /// As `sendmsg(2)`.
    pub fn send(&self, local: Option<IpAddr>, remote: IpAddr, bytes: &[u8]) -> io::Result<()> {
        self.send_with(local, remote, Fields::default(), bytes)
    }

    /// As [`Self::send`], with chosen fields of the IP header.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_with(
        &self,
        local: Option<IpAddr>,
        remote: IpAddr,
        fields: Fields,
        bytes: &[u8],
    ) -> io::Result<()> {
        let remote = SocketAddr::new(remote, 0);
        msg::send(self.socket.as_raw_fd(), local, remote, fields, &[IoSlice::new(bytes)])
    }
}

/// A nonblocking socket that sends whole IPv4 packets, header included, and receives nothing (`IPPROTO_RAW`, raw(7)).
///
/// It is how a packet gets its DF bit: there is no control message for that, and the option of a socket is not that of
/// one packet. The kernel fills in identification and checksum, and does not fragment.
#[derive(Debug)]
pub struct HeaderSocket(Socket);

impl HeaderSocket {
    /// Opens one; `mark` as for [`crate::udp::UdpSocket::bind`].
    ///
    /// # Errors
    /// Without `CAP_NET_RAW`.
    pub fn open(mark: Option<u32>) -> io::Result<Self> {
        let open = || {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?;
            socket.set_nonblocking(true)?;
            if let Some(mark) = mark {
                socket.set_mark(mark)?;
            }
            enlarge_buffers(socket.as_raw_fd());
            Ok(Self(socket))
        };
        open().map_err(|e| tried("opening a raw socket for IPv4 packets", &e))
    }

    /// Sends the packet of `header` and `bytes` to the destination its header names.
    ///
    /// # Errors
    /// As `sendmsg(2)`; `EMSGSIZE` if it is larger than the device's MTU.
    pub fn send(&self, remote: Ipv4Addr, header: &[u8], bytes: &[u8]) -> io::Result<()> {
        let parts = [IoSlice::new(header), IoSlice::new(bytes)];
        let remote = SocketAddr::new(remote.into(), 0);
        msg::send(self.0.as_raw_fd(), None, remote, Fields::default(), &parts)
    }
}

impl AsFd for HeaderSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for EspSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
