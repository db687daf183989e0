//! The IKE sockets: one per address family on the IKE port and on the NAT-T port.
//!
//! With the userspace data plane the NAT-T sockets are read by its worker, since nearly all that arrives there is ESP;
//! without it this module reads them too and takes the non-ESP marker off (RFC 3948 §2.2).

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use adit_ike::Path;
use adit_linux::poll::Poller;
use adit_linux::udp::{Batch, UdpSocket};
use adit_linux::xfrm;

/// RFC 3948 §2.2: four zero bytes where ESP has its SPI.
const NON_ESP_MARKER: [u8; 4] = [0; 4];

/// Datagrams that one system call takes in.
const BATCH: usize = 32;

/// All sockets of the daemon.
pub(crate) struct Sockets {
    ike: Vec<UdpSocket>,
    nat_t: Vec<Arc<UdpSocket>>,
    port: u16,
    batch: Batch,
}

/// Ports and marks to bind with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    /// `charon.port`.
    pub ike: u16,
    /// `charon.port_nat_t`.
    pub nat_t: u16,
    /// `charon.plugins.socket-default.fwmark`.
    pub mark: Option<u32>,
}

impl Sockets {
    /// Binds both ports for every family the host has.
    ///
    /// # Errors
    /// A sentence that names the port, the cause and what to do.
    pub(crate) fn bind(ports: Ports) -> Result<Self, String> {
        let ike = families(ports.ike, ports.mark)?;
        let nat_t = families(ports.nat_t, ports.mark)?.into_iter().map(Arc::new).collect();
        Ok(Self { ike, nat_t, port: ports.ike, batch: Batch::new(BATCH) })
    }

    /// Has the kernel take the ESP out of what arrives on the NAT-T sockets (RFC 3948), and lets what all sockets send and
    /// receive go around its policies: IKE makes the tunnels, and must not wait for them.
    ///
    /// # Errors
    /// As the sockets say.
    pub(crate) fn beside_the_kernel(&self) -> io::Result<()> {
        for socket in self.ike.iter().chain(self.nat_t.iter().map(|socket| &**socket)) {
            xfrm::bypass(socket, socket.local_addr().is_ipv4())?;
        }
        self.nat_t.iter().try_for_each(|socket| socket.esp_in_udp())
    }

    /// The NAT-T sockets, for the data plane that sends and receives ESP through them.
    pub(crate) fn nat_t(&self) -> Vec<Arc<UdpSocket>> {
        self.nat_t.clone()
    }

    /// Datagrams that found the sockets' buffers full.
    pub(crate) fn dropped(&self) -> u64 {
        let nat_t = self.nat_t.iter().map(|socket| &**socket);
        self.ike.iter().chain(nat_t).map(|socket| u64::from(socket.dropped())).sum()
    }

    /// Registers what is read here; tokens count from `base`.
    pub(crate) fn register(&self, poller: &Poller, base: u64, with_nat_t: bool) -> io::Result<()> {
        for (token, socket) in (base..).zip(&self.ike) {
            poller.add(socket, token)?;
        }
        if with_nat_t {
            for (token, socket) in (base + self.ike.len() as u64..).zip(&self.nat_t) {
                poller.add(&**socket, token)?;
            }
        }
        Ok(())
    }

    /// Reads up to `budget` datagrams of the socket at `index` and hands on what is IKE.
    pub(crate) fn read(&mut self, index: usize, budget: usize, mut deliver: impl FnMut(Path, &[u8])) {
        let (socket, nat_t) = match self.ike.get(index) {
            Some(socket) => (socket, false),
            None => match self.nat_t.get(index - self.ike.len()) {
                Some(socket) => (&**socket, true),
                None => return,
            },
        };
        let mut left = budget;
        while left > 0 {
            match socket.recv_many(&mut self.batch) {
                Ok(0) => return,
                Ok(count) => left = left.saturating_sub(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // What ICMP reported about an earlier datagram is no more than a hint (RFC 7296 §2.4).
                Err(_) => {
                    left -= 1;
                    continue;
                }
            }
            for (bytes, meta) in self.batch.iter(socket) {
                let bytes = if nat_t { bytes.strip_prefix(&NON_ESP_MARKER[..]) } else { Some(bytes) };
                if let Some(bytes) = bytes {
                    deliver(Path { local: meta.local, remote: meta.remote }, bytes);
                }
            }
            if !self.batch.is_full() {
                return;
            }
        }
    }

    /// Sends one message, with the non-ESP marker unless it leaves from the IKE port.
    ///
    /// # Errors
    /// As the socket says; an address that is not on this host is `AddrNotAvailable` or `InvalidInput`.
    pub(crate) fn send(&self, path: Path, bytes: &[u8], marker: bool) -> io::Result<()> {
        let local = Some(path.local.ip()).filter(|ip| !ip.is_unspecified());
        let same_family = |s: &&UdpSocket| s.local_addr().is_ipv4() == path.remote.is_ipv4();
        let socket = if path.local.port() == self.port {
            self.ike.iter().find(same_family)
        } else {
            self.nat_t.iter().map(|s| &**s).find(same_family)
        };
        let Some(socket) = socket else {
            return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "no socket of that address family"));
        };
        let marked = marker && path.local.port() != self.port;
        if marked {
            socket.send_parts(local, path.remote, &[IoSlice::new(&NON_ESP_MARKER), IoSlice::new(bytes)])
        } else {
            socket.send(local, path.remote, bytes)
        }
    }
}

fn families(port: u16, mark: Option<u32>) -> Result<Vec<UdpSocket>, String> {
    let v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
    let v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
    let mut sockets = Vec::new();
    match UdpSocket::bind(v4, mark) {
        Ok(socket) => sockets.push(socket),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            return Err(format!(
                "UDP port {port} is taken: another IKE daemon (charon, pluto, iked, aditd) runs here; stop it, or set \
                 charon.port and charon.port_nat_t"
            ));
        }
        Err(error) => {
            return Err(format!(
                "binding UDP port {port} failed: {error}; aditd needs CAP_NET_ADMIN and \
                                          CAP_NET_BIND_SERVICE"
            ));
        }
    }
    // A host without IPv6 is served on IPv4 alone.
    if let Ok(socket) = UdpSocket::bind(v6, mark) {
        sockets.push(socket);
    }
    Ok(sockets)
}
