//! UDP sockets for IKE and UDP-encapsulated ESP: the local address of each datagram is known and chosen.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::msg::{self, Fields};
use crate::sys::{enlarge_buffers, set_option, tried};

/// Where a datagram was sent to and where it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// The destination: our address (never the wildcard) and port.
    pub local: SocketAddr,
    /// The source.
    pub remote: SocketAddr,
    /// TOS and TTL it came with.
    pub fields: Fields,
}

/// Room for several datagrams that one system call takes in.
pub struct Batch(msg::Batch);

impl Batch {
    /// Room for `count` datagrams of any size.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self(msg::Batch::new(count, usize::from(u16::MAX)))
    }

    /// Whether it was filled: there may be more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.len() == self.0.capacity()
    }

    /// What was taken in last, from `socket`.
    pub fn iter<'a>(&'a self, socket: &'a UdpSocket) -> impl Iterator<Item = (&'a [u8], Meta)> {
        self.0.iter().map(|(bytes, received)| {
            let bound = socket.bound;
            let local = SocketAddr::new(received.local.unwrap_or(bound.ip()), bound.port());
            (bytes, Meta { local, remote: received.remote, fields: received.fields })
        })
    }
}

/// A nonblocking UDP socket of one address family.
#[derive(Debug)]
pub struct UdpSocket {
    socket: Socket,
    bound: SocketAddr,
}

impl UdpSocket {
    /// Binds; an IPv6 socket takes IPv6 only, so that one of each family can share a port.
    ///
    /// `mark` is the firewall mark of everything sent, by which rules can keep these packets out of the tunnel.
    /// The kernel may fragment what is sent (an IKE message can exceed the path MTU; RFC 7296 §2).
    ///
    /// # Errors
    /// As the system calls; the text names the address.
    pub fn bind(address: SocketAddr, mark: Option<u32>) -> io::Result<Self> {
        Self::bind_inner(address, mark).map_err(|e| tried(format_args!("binding UDP {address}"), &e))
    }

    fn bind_inner(address: SocketAddr, mark: Option<u32>) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        let fd = socket.as_raw_fd();
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        prepare(&socket, address.is_ipv4(), mark)?;
        enlarge_buffers(fd);
        socket.bind(&SockAddr::from(address))?;
        let bound = socket.local_addr()?.as_socket().unwrap_or(address);
        Ok(Self { socket, bound })
    }

    /// The address this socket is bound to.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.bound
    }

    /// Lets the kernel take the ESP out of what arrives (RFC 3948), for its own SAs; IKE messages, after their non-ESP
    /// marker, still come here, keepalives no more.
    ///
    /// # Errors
    /// As `setsockopt(2)`, when the kernel has no XFRM.
    pub fn esp_in_udp(&self) -> io::Result<()> {
        // Of linux/udp.h.
        const UDP_ENCAP: libc::c_int = 100;
        const UDP_ENCAP_ESPINUDP: libc::c_int = 2;
        set_option(self.socket.as_raw_fd(), libc::IPPROTO_UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP)
            .map_err(|e| tried(format_args!("having the kernel take ESP from UDP {}", self.bound), &e))
    }

    /// Lets what is sent and received here pass in the clear, whatever IPsec policies there are.
    ///
    /// # Errors
    /// As [`crate::xfrm::bypass`].
    pub fn bypass_ipsec(&self) -> io::Result<()> {
        crate::xfrm::bypass(self, self.bound.is_ipv4())
    }

    /// Receives one datagram; [`io::ErrorKind::WouldBlock`] when there is none.
    ///
    /// # Errors
    /// As `recvmsg(2)`, also what ICMP reported; a datagram that does not fit is `InvalidData`.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<(usize, Meta)> {
        let got = msg::recv(self.socket.as_raw_fd(), buffer)?;
        let local = SocketAddr::new(got.local.unwrap_or(self.bound.ip()), self.bound.port());
        Ok((got.len, Meta { local, remote: got.remote, fields: got.fields }))
    }

    /// Receives as many datagrams as are there and fit into `batch`; how many. [`io::ErrorKind::WouldBlock`] when there
    /// are none.
    ///
    /// # Errors
    /// As `recvmmsg(2)`, also what ICMP reported.
    pub fn recv_many(&self, batch: &mut Batch) -> io::Result<usize> {
        batch.0.recv(self.socket.as_raw_fd())
    }

    /// Datagrams that found the receive buffer full since the socket was made; 0 if the kernel does not say.
    #[must_use]
    pub fn dropped(&self) -> u32 {
        crate::sys::receive_drops(self.socket.as_raw_fd()).unwrap_or(0)
    }

    /// Sends one datagram, from `local` if given (else the routing table chooses).
    ///
    /// # Errors
    /// As `sendmsg(2)`; `EINVAL` or `EADDRNOTAVAIL` when `local` is not an address of this host.
    pub fn send(&self, local: Option<IpAddr>, remote: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        self.send_with(local, remote, Fields::default(), bytes)
    }

    /// As [`Self::send`], with chosen fields of the IP header.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_with(
        &self,
        local: Option<IpAddr>,
        remote: SocketAddr,
        fields: Fields,
        bytes: &[u8],
    ) -> io::Result<()> {
        msg::send(self.socket.as_raw_fd(), local, remote, fields, &[IoSlice::new(bytes)])
    }

    /// As [`Self::send`], for a datagram in pieces (a non-ESP marker and a message, say).
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_parts(
        &self,
        local: Option<IpAddr>,
        remote: SocketAddr,
        parts: &[IoSlice<'_>],
    ) -> io::Result<()> {
        msg::send(self.socket.as_raw_fd(), local, remote, Fields::default(), parts)
    }
}

/// Options that UDP and raw ESP sockets share.
pub(crate) fn prepare(socket: &Socket, v4: bool, mark: Option<u32>) -> io::Result<()> {
    let fd = socket.as_raw_fd();
    if v4 {
        for option in [libc::IP_PKTINFO, libc::IP_RECVTOS, libc::IP_RECVTTL] {
            set_option(fd, libc::IPPROTO_IP, option, 1)?;
        }
        set_option(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT)?;
    } else {
        for option in [libc::IPV6_RECVPKTINFO, libc::IPV6_RECVTCLASS, libc::IPV6_RECVHOPLIMIT] {
            set_option(fd, libc::IPPROTO_IPV6, option, 1)?;
        }
        set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DONT)?;
    }
    if let Some(mark) = mark {
        socket.set_mark(mark)?;
    }
    Ok(())
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poll::Poller;

    #[test]
    fn the_destination_address_is_known_and_the_source_can_be_chosen() {
        let server = UdpSocket::bind("0.0.0.0:0".parse().unwrap(), None).unwrap();
        let client = UdpSocket::bind("0.0.0.0:0".parse().unwrap(), None).unwrap();
        let to = SocketAddr::new("127.0.0.2".parse().unwrap(), server.local_addr().port());
        client.send(Some("127.0.0.3".parse().unwrap()), to, b"hello").unwrap();
        let poller = Poller::new().unwrap();
        poller.add(&server, 0).unwrap();
        poller.wait(&mut Vec::new(), Some(std::time::Duration::from_secs(5))).unwrap();
        let mut buffer = [0; 64];
        let (n, meta) = server.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..n], b"hello");
        assert_eq!(meta.local, to);
        assert_eq!(meta.remote, SocketAddr::new("127.0.0.3".parse().unwrap(), client.local_addr().port()));
    }

    #[test]
    fn several_at_once_and_what_is_lost_is_counted() {
        let server = UdpSocket::bind("0.0.0.0:0".parse().unwrap(), None).unwrap();
        let client = UdpSocket::bind("0.0.0.0:0".parse().unwrap(), None).unwrap();
        let mut batch = Batch::new(4);
        assert_eq!(server.recv_many(&mut batch).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let port = server.local_addr().port();
        for n in 2..=7u8 {
            let to = SocketAddr::new([127, 0, 0, n].into(), port);
            client.send(Some([127, 0, 0, 1].into()), to, &vec![n; usize::from(n)]).unwrap();
        }
        let mut seen = Vec::new();
        for expected in [4, 2] {
            assert_eq!(server.recv_many(&mut batch).unwrap(), expected);
            assert_eq!(batch.is_full(), expected == 4);
            seen.extend(
                batch.iter(&server).map(|(bytes, meta)| (bytes.to_vec(), meta.local.ip(), meta.remote)),
            );
        }
        for (n, (bytes, local, remote)) in (2..=7u8).zip(seen) {
            assert_eq!((bytes, local), (vec![n; usize::from(n)], [127, 0, 0, n].into()));
            assert_eq!(remote, SocketAddr::new([127, 0, 0, 1].into(), client.local_addr().port()));
        }
        assert_eq!(server.dropped(), 0);
        // More than any buffer holds, and nobody reads.
        let to = SocketAddr::new([127, 0, 0, 2].into(), port);
        for _ in 0..20_000 {
            client.send(None, to, &[0; 4000]).unwrap();
        }
        assert!(server.dropped() > 0);
    }

    #[test]
    fn an_error_names_the_address() {
        let error = UdpSocket::bind("192.0.2.77:4500".parse().unwrap(), None).unwrap_err();
        assert!(error.to_string().starts_with("binding UDP 192.0.2.77:4500: "), "{error}");
    }
}
