//! Named network namespaces, compatible with `ip netns`, for the demo and the tests.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::route::Netlink;
use crate::sys::tried;

/// Where `ip netns` keeps its names.
const FOLDER: &str = "/run/netns";

/// A network namespace with a name; one made by [`Namespace::create`] is deleted when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
    owned: bool,
}

impl Namespace {
    /// Creates the namespace, as `ip netns add` does, with its loopback interface up.
    ///
    /// # Errors
    /// `AlreadyExists` when the name is taken; without privilege, or where `/run` is not ours to mount in (see
    /// [`private_run`]).
    pub fn create(name: &str) -> io::Result<Self> {
        let namespace = Self::create_inner(name)
            .map_err(|e| tried(format_args!("creating network namespace {name}"), &e))?;
        namespace.run(|| {
            let mut netlink = Netlink::new()?;
            let lo = netlink.link_index("lo")?;
            netlink.link_up(lo)
        })??;
        Ok(namespace)
    }

    fn create_inner(name: &str) -> io::Result<Self> {
        let path = path_of(name)?;
        fs::create_dir_all(FOLDER)?;
        share_folder()?;
        drop(File::options().write(true).create_new(true).open(&path)?);
        // A thread of its own enters the new namespace; the mount keeps the namespace when the thread ends.
        let made = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    unshare(CloneFlags::CLONE_NEWNET)?;
                    let none: Option<&str> = None;
                    mount(Some("/proc/thread-self/ns/net"), &path, none, MsFlags::MS_BIND, none)?;
                    Ok(())
                })
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the creating thread panicked")))
        });
        match made.and_then(|()| File::open(&path)) {
            Ok(file) => Ok(Self { name: name.to_owned(), file, owned: true }),
            Err(error) => {
                let _ = umount2(&path, MntFlags::MNT_DETACH);
                let _ = fs::remove_file(&path);
                Err(error)
            }
        }
    }

    /// Opens an existing one; dropping this does not delete it.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn open(name: &str) -> io::Result<Self> {
        let file = File::open(path_of(name)?)
            .map_err(|e| tried(format_args!("opening network namespace {name}"), &e))?;
        Ok(Self { name: name.to_owned(), file, owned: false })
    }

    /// Deletes the namespace of that name, if there is one, for example one left by a killed run.
    ///
    /// # Errors
    /// When it cannot be unmounted or its file not be removed.
    pub fn remove(name: &str) -> io::Result<()> {
        let path = path_of(name)?;
        if !path.exists() {
            return Ok(());
        }
        // EINVAL: a file without a mount, which a killed creation leaves.
        let _ = umount2(&path, MntFlags::MNT_DETACH);
        fs::remove_file(&path).map_err(|e| tried(format_args!("deleting network namespace {name}"), &e))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Moves the calling thread into the namespace, for good.
    ///
    /// # Errors
    /// Without privilege.
    pub fn enter_thread(&self) -> io::Result<()> {
        setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET)
            .map_err(|e| tried(format_args!("entering network namespace {}", self.name), &e.into()))
    }

    /// Runs a closure in a thread inside the namespace and waits for it. Sockets it makes stay inside.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or the closure panicked.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        std::thread::scope(|scope| {
            scope
                .spawn(|| self.enter_thread().map(|()| work()))
                .join()
                .unwrap_or_else(|_| Err(io::Error::other(format!("a thread inside {} panicked", self.name))))
        })
    }

    /// As [`Self::command`], for a process that must not outlive the thread that starts it: it gets SIGTERM when that
    /// thread ends, however it ends.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn bound_command(&self, program: impl AsRef<std::ffi::OsStr>) -> io::Result<Command> {
        let mut command = self.command(program)?;
        let parent = std::process::id();
        // SAFETY: between fork and exec only prctl(2) and getppid(2) run: bare system calls that neither allocate
        // nor lock.
        unsafe {
            command.pre_exec(move || {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) != 0 {
                    return Err(io::Error::last_os_error());
                }
                // it may have ended before the request was made
                match u32::try_from(libc::getppid()) == Ok(parent) {
                    true => Ok(()),
                    false => Err(io::ErrorKind::Interrupted.into()),
                }
            });
        }
        Ok(command)
    }

    /// A command that will run inside the namespace.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> io::Result<Command> {
        let file = self.file.try_clone()?;
        let mut command = Command::new(program);
        // SAFETY: between fork and exec only setns(2) runs, on a descriptor the closure owns; setns is
        // async-signal-safe in effect (a bare system call) and neither allocates nor locks.
        unsafe {
            command.pre_exec(move || match libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            });
        }
        Ok(command)
    }

    /// Writes a kernel parameter of the namespace: `sysctl("net.ipv4.ip_forward", "1")`.
    ///
    /// # Errors
    /// When there is no such parameter or it cannot be written.
    pub fn sysctl(&self, key: &str, value: &str) -> io::Result<()> {
        self.run(|| sysctl(key, value))?
    }

    /// Deletes the namespace (also happens on drop). Its interfaces go when its last socket and process do.
    ///
    /// # Errors
    /// As [`Self::remove`].
    pub fn delete(mut self) -> io::Result<()> {
        self.owned = false;
        Self::remove(&self.name)
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if self.owned {
            // Nothing more can be done here; a next run removes what is left by name.
            let _ = Self::remove(&self.name);
        }
    }
}

fn path_of(name: &str) -> io::Result<PathBuf> {
    if name.is_empty() || name.len() > 200 || name.starts_with('.') || name.contains(['/', '\0']) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} cannot name a namespace")));
    }
    Ok(Path::new(FOLDER).join(name))
}

/// Makes the folder a shared mount point as `ip netns` does, so that mount namespaces made later see (and on
/// deletion let go of) the names.
fn share_folder() -> io::Result<()> {
    let none: Option<&str> = None;
    let share = || mount(none, FOLDER, none, MsFlags::MS_SHARED | MsFlags::MS_REC, none);
    if share().is_err() {
        mount(Some(FOLDER), FOLDER, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)?;
        share()?;
    }
    Ok(())
}

/// Creates a veth pair with one end in each of two namespaces, both ends up.
///
/// # Errors
/// As rtnetlink.
pub fn veth(a: (&Namespace, &str), b: (&Namespace, &str)) -> io::Result<()> {
    a.0.run(|| {
        let mut netlink = Netlink::new()?;
        netlink.add_veth(a.1, b.1, b.0.as_fd())?;
        let index = netlink.link_index(a.1)?;
        netlink.link_up(index)
    })??;
    b.0.run(|| {
        let mut netlink = Netlink::new()?;
        let index = netlink.link_index(b.1)?;
        netlink.link_up(index)
    })?
}

/// Writes a kernel parameter of the calling thread's network namespace.
///
/// # Errors
/// When there is no such parameter or it cannot be written.
pub fn sysctl(key: &str, value: &str) -> io::Result<()> {
    // An interface name in a key may itself contain dots; `/` separates then, as sysctl(8) has it.
    let path = if key.contains('/') { key.to_owned() } else { key.replace('.', "/") };
    fs::write(Path::new("/proc/sys").join(path), value)
        .map_err(|e| tried(format_args!("setting {key} = {value}"), &e))
}

/// Gives this process its own empty `/run`, for runs in a user namespace of their own (`unshare -Urnm`), where the
/// host's `/run` cannot be written. Call it before any thread is started.
///
/// # Errors
/// Without the privilege to mount.
pub fn private_run() -> io::Result<()> {
    let none: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS).map_err(|e| tried("making a mount namespace", &e.into()))?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(|e| tried("making the mounts private", &e.into()))?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, none)
        .map_err(|e| tried("mounting a tmpfs on /run", &e.into()))?;
    fs::create_dir_all(FOLDER).map_err(|e| tried("creating /run/netns", &e))
}
