//! Sockets whose own traffic goes around the policies.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use super::bytes::Writer;
use super::policy::{Direction, Policy};
use super::selector::Selector;
use crate::sys::{check, tried};

/// Lets what a socket of one family sends and receives pass in the clear, whatever policies there are: IKE's own
/// datagrams must not wait for the tunnel that they make. Listings show such policies as the socket's; they go with it.
///
/// # Errors
/// As `setsockopt(2)`: without CAP_NET_ADMIN, without XFRM in the kernel.
pub fn bypass(socket: impl AsFd, v4: bool) -> io::Result<()> {
    let (level, option) = if v4 {
        (libc::IPPROTO_IP, libc::IP_XFRM_POLICY)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_XFRM_POLICY)
    };
    for direction in [Direction::In, Direction::Out] {
        let mut w = Writer::with_capacity(super::request::LARGEST);
        Policy::pass(Selector::all(v4), direction, 0).write_info(&mut w);
        let bytes = w.as_slice();
        // SAFETY: the option value is `struct xfrm_userpolicy_info`, whose octets live across the call, and its exact
        // size is given.
        let result = unsafe {
            libc::setsockopt(
                socket.as_fd().as_raw_fd(),
                level,
                option,
                bytes.as_ptr().cast(),
                bytes.len() as libc::socklen_t,
            )
        };
        check(result).map_err(|e| tried("letting a socket bypass IPsec", &e))?;
    }
    Ok(())
}
