//! Small helpers all system calls here share.

use std::io;
use std::os::fd::RawFd;

/// Adds what was tried to an error, keeping its kind: "opening TUN adit0: Device or resource busy (16)".
///
/// The errno stays in the text; the kind stays matchable.
pub(crate) fn tried(what: impl std::fmt::Display, error: &io::Error) -> io::Error {
    let text = match error.raw_os_error() {
        Some(code) => {
            let plain = error.to_string();
            let plain = plain.split(" (os error").next().unwrap_or_default().to_owned();
            format!("{what}: {plain} ({code})")
        }
        None => format!("{what}: {error}"),
    };
    io::Error::new(error.kind(), text)
}

/// Turns a libc return value into a result.
pub(crate) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// As [`check`], for calls that return a length.
pub(crate) fn check_len(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Sets an integer socket option.
pub(crate) fn set_option(
    fd: RawFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the option value is a c_int that lives across the call, and its exact size is given.
    let result = unsafe {
        libc::setsockopt(
            fd,
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    check(result).map(drop)
}

/// Bytes asked for in each direction; bursts of decrypted or encrypted traffic must not overflow the queue.
const BUFFER_BYTES: libc::c_int = 8 << 20;

/// Enlarges both buffers of a socket, past the system's limit where we are allowed to, else up to it.
pub(crate) fn enlarge_buffers(fd: RawFd) {
    for (force, plain) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)] {
        if set_option(fd, libc::SOL_SOCKET, force, BUFFER_BYTES).is_err() {
            // Best effort: a smaller buffer costs throughput, not correctness.
            let _ = set_option(fd, libc::SOL_SOCKET, plain, BUFFER_BYTES);
        }
    }
}

/// Bounds how long a blocking receive may take: five seconds, far longer than the kernel needs to answer.
pub(crate) fn bound_receive(fd: RawFd) -> io::Result<()> {
    let patience = libc::timeval { tv_sec: 5, tv_usec: 0 };
    // SAFETY: the option value is a timeval that lives across the call, and its exact size is given.
    let result = unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_RCVTIMEO,
            (&raw const patience).cast(),
            size_of::<libc::timeval>() as libc::socklen_t,
        )
    };
    check(result).map(drop)
}

/// How many datagrams found a socket's receive buffer full.
pub(crate) fn receive_drops(fd: RawFd) -> io::Result<u32> {
    // SK_MEMINFO_DROPS of linux/sock_diag.h, the last of its nine values.
    const DROPS: usize = 8;
    let mut values = [0u32; DROPS + 1];
    let mut length = size_of_val(&values) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` octets, the exact size of `values`.
    let result = unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_MEMINFO, values.as_mut_ptr().cast(), &raw mut length)
    };
    check(result)?;
    Ok(values[DROPS])
}
