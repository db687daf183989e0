//! The TUN device through which inner packets come and go.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use crate::sys::{check, check_len, tried};

/// An open TUN device without packet information headers: each read and write is one IP packet.
///
/// The device disappears with this value (it is never persistent), and with it its addresses and routes.
#[derive(Debug)]
pub struct Tun {
    file: File,
    name: String,
    index: u32,
}

impl Tun {
    /// Creates the device `name`, or takes over one that a killed predecessor left persistent.
    ///
    /// # Errors
    /// No `/dev/net/tun`, no permission, a name that is too long, or a device of that name which is not a TUN
    /// device or which another process holds.
    pub fn open(name: &str) -> io::Result<Self> {
        let what = || format!("opening TUN device {name}");
        let bytes = name.as_bytes();
        // One byte stays for the terminating NUL; '/' and spaces are refused by the kernel too.
        if bytes.is_empty() || bytes.len() >= libc::IFNAMSIZ || bytes.contains(&0) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{}: an interface name has 1 to 15 bytes", what()),
            ));
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open("/dev/net/tun")
            .map_err(|e| tried(format_args!("{} (/dev/net/tun)", what()), &e))?;

        // SAFETY: `ifreq` is plain old data; all zeroes is a valid value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(bytes) {
            *to = *from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
        // SAFETY: TUNSETIFF reads and writes one `ifreq`, which outlives the call; the fd is open.
        check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) })
            .map_err(|e| tried(what(), &e))?;
        // A persistent left-over becomes an ordinary device again, gone when we are.
        // SAFETY: TUNSETPERSIST takes its argument by value.
        check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETPERSIST as _, 0 as libc::c_ulong) })
            .map_err(|e| tried(what(), &e))?;

        let index = nix::net::if_::if_nametoindex(name).map_err(|e| tried(what(), &e.into()))?;
        Ok(Self { file, name: name.to_owned(), index })
    }

    /// The interface's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The interface's index.
    #[must_use]
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// Reads one IP packet; [`io::ErrorKind::WouldBlock`] when there is none.
    ///
    /// # Errors
    /// As `read(2)`; `EIO` while the interface is down.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the kernel writes at most `len` bytes into a live, exclusively borrowed buffer.
        check_len(unsafe { libc::read(self.file.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) })
    }

    /// Hands one IP packet to the kernel, as if it had arrived on the interface.
    ///
    /// # Errors
    /// As `write(2)`; `EIO` while the interface is down.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        // SAFETY: the kernel reads `len` bytes from a live buffer.
        check_len(unsafe { libc::write(self.file.as_raw_fd(), packet.as_ptr().cast(), packet.len()) })
            .map(drop)
    }

    /// Whether an error of [`Self::recv`] says that somebody has deleted the interface: nothing will come any more,
    /// and the descriptor would be reported ready for ever.
    #[must_use]
    pub fn is_gone(error: &io::Error) -> bool {
        error.raw_os_error() == Some(libc::EBADFD)
    }

    /// Sets the interface's MTU.
    ///
    /// # Errors
    /// As rtnetlink's answer; the text names device and value.
    pub fn set_mtu(&self, mtu: u32) -> io::Result<()> {
        crate::route::Netlink::new()?.set_mtu(self.index, mtu)
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
