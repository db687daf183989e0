//! Programs that the daemon starts: in a process group of their own, with no descriptors but the three they are given.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};

use nix::errno::Errno;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::sys::{check, tried};

/// The leader of a process group.
#[derive(Debug)]
pub struct Group {
    child: Child,
    /// Readable once the leader has ended.
    ended: OwnedFd,
}

impl Group {
    /// Starts `command` as the leader of a new group.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        // What std and this crate open closes by itself; what whoever started the daemon left open does not.
        close_on_exec();
        let mut child = command.process_group(0).spawn()?;
        match pidfd(child.id()) {
            Ok(ended) => Ok(Self { child, ended }),
            Err(error) => {
                // Nobody could tell when it ends. Errors: it ended already, and was waited for.
                let _ = child.kill();
                let _ = child.wait();
                Err(tried("watching a process", &error))
            }
        }
    }

    /// Ends what is left of the group, politely (SIGTERM) or not (SIGKILL).
    ///
    /// # Errors
    /// As `kill(2)`; that nothing is left is none.
    pub fn end(&self, at_once: bool) -> io::Result<()> {
        let signal = if at_once { Signal::SIGKILL } else { Signal::SIGTERM };
        let group = i32::try_from(self.child.id()).map_err(io::Error::other)?;
        match signal::killpg(Pid::from_raw(group), signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(tried("ending a process group", &error.into())),
        }
    }

    /// How the leader ended, if it has.
    ///
    /// # Errors
    /// As `waitpid(2)`.
    pub fn status(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }
}

/// Readable once the leader has ended.
impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }
}

/// Has every descriptor but 0, 1 and 2 close when a program is started. A kernel or sandbox that has no such call leaves
/// open what the daemon itself was left with.
fn close_on_exec() {
    // SAFETY: sets a flag of descriptors, touches no memory of ours and closes none of them.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3 as libc::c_uint, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
    }
}

/// A descriptor of a process that has not been waited for yet.
fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes two numbers and returns a new descriptor or -1; touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0 as libc::c_uint) };
    let fd = check(libc::c_int::try_from(result).map_err(io::Error::other)?)?;
    // SAFETY: the kernel has just made it, and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::process::Stdio;

    use super::*;
    use crate::poll::Poller;

    #[test]
    fn it_inherits_nothing_and_goes_with_its_children() {
        let leaky = std::fs::File::open("/dev/null").unwrap();
        nix::fcntl::fcntl(&leaky, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
        let mut command = Command::new("/bin/sh");
        let (mut reader, writer) = io::pipe().unwrap();
        command.args(["-c", "ls /proc/self/fd; sleep 1000 & sleep 1000"]).stdin(Stdio::null());
        let mut group = Group::spawn(command.stdout(writer)).unwrap();
        drop(command);
        let mut text = String::new();
        let mut byte = [0];
        while text.lines().count() < 4 || !text.ends_with('\n') {
            assert_eq!(reader.read(&mut byte).unwrap(), 1, "{text}");
            text.push(char::from(byte[0]));
        }
        // 3 is the folder that `ls` reads.
        assert_eq!(text, "0\n1\n2\n3\n", "{} was inherited", leaky.as_raw_fd());
        assert!(group.status().unwrap().is_none());
        group.end(false).unwrap();
        let poller = Poller::new().unwrap();
        poller.add(&group, 1).unwrap();
        let mut ready = Vec::new();
        poller.wait(&mut ready, None).unwrap();
        assert_eq!(ready, [1]);
        assert!(!group.status().unwrap().unwrap().success());
        // The one in the background held the pipe open, too.
        assert_eq!(reader.read(&mut byte).unwrap(), 0);
        group.end(true).unwrap();
    }
}
