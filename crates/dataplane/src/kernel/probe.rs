//! Whether the kernel does ESP: found out by having it do so.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use adit_linux::xfrm::{Algorithms, Cause, Mode, Sa, Xfrm};

use super::marker;

/// Of no SA that IKE makes: RFC 4303's are chosen from strongSwan's range, 0xc0000000 to 0xcfffffff.
const SPI: u32 = 0xad17_0e5b;

/// AES-GCM with a 16 octet ICV, by its IANA number, and the length of its key and salt.
const GCM: (u16, usize) = (20, 20);

/// Installs an SA from loopback to loopback, which no policy leads anything into, and removes it.
///
/// # Errors
/// A sentence with the cause and what to do.
pub(super) fn probe(xfrm: &mut Xfrm) -> io::Result<()> {
    let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (transform, length) = GCM;
    let algorithms = Algorithms::from_iana(transform, &vec![0; length], 0, &[]).unwrap_or_default();
    let mut sa = Sa::esp(host, host, SPI, Mode::Transport, algorithms);
    // If we are killed before it is gone, the next one removes it.
    sa.acquire = marker::sa_number(0);
    let added = xfrm.add_sa(&sa);
    match &added {
        // A predecessor's, that was killed at this very place.
        Err(error) if error.cause() == Cause::Exists => {}
        Err(_) => return added.map_err(io::Error::from),
        Ok(()) => {}
    }
    xfrm.delete_sa(sa.id()).map_err(io::Error::from)
}
