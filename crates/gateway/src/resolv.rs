//! DNS servers that a gateway assigned to us, in resolv.conf.
//!
//! Our lines stand first and carry a mark, so that they can be taken out again, also after a crash. The rest of the file
//! is the operator's and is kept byte for byte.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

const MARK: &str = "   # by adit";

/// The file and the servers that IKE_SAs brought.
pub(crate) struct ResolvConf {
    path: PathBuf,
    servers: BTreeMap<u32, Vec<IpAddr>>,
}

impl ResolvConf {
    /// Works on `path`; lines that a predecessor left are removed.
    pub(crate) fn new(path: PathBuf) -> Self {
        let this = Self { path, servers: BTreeMap::new() };
        if read(&this.path).is_ok_and(|text| text.lines().any(|l| l.ends_with(MARK))) {
            // a leftover that cannot be removed shows again at the first install, with its error
            let _ = this.write();
        }
        this
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds the servers that an IKE_SA was assigned.
    pub(crate) fn install(&mut self, ike: u32, servers: Vec<IpAddr>) -> io::Result<()> {
        if servers.is_empty() {
            return Ok(());
        }
        self.servers.insert(ike, servers);
        self.write()
    }

    /// Removes the servers of an IKE_SA.
    pub(crate) fn remove(&mut self, ike: u32) -> io::Result<()> {
        if self.servers.remove(&ike).is_some() { self.write() } else { Ok(()) }
    }

    /// Removes every line of ours.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        if self.servers.is_empty() {
            return Ok(());
        }
        self.servers.clear();
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        let old = read(&self.path)?;
        let mut new = String::with_capacity(old.len() + 64);
        let mut seen = Vec::new();
        for server in self.servers.values().flatten() {
            if !seen.contains(server) {
                seen.push(*server);
                new.push_str(&format!("nameserver {server}{MARK}\n"));
            }
        }
        for line in old.split_inclusive('\n').filter(|l| !l.trim_end_matches('\n').ends_with(MARK)) {
            new.push_str(line);
        }
        // In place: resolv.conf is often a bind mount or a link, which a rename would break.
        std::fs::write(&self.path, new)
    }
}

fn read(path: &Path) -> io::Result<String> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_come_first_and_leave_the_rest_alone() {
        let path = std::env::temp_dir().join(format!("adit-resolv-{}", std::process::id()));
        std::fs::write(&path, "nameserver 9.9.9.9   # by adit\n# mine\nnameserver 192.0.2.1\n").unwrap();
        let mut conf = ResolvConf::new(path.clone());
        let text = || std::fs::read_to_string(&path).unwrap();
        assert_eq!(text(), "# mine\nnameserver 192.0.2.1\n");
        conf.install(1, vec!["10.2.0.2".parse().unwrap()]).unwrap();
        conf.install(2, vec!["10.2.0.2".parse().unwrap(), "2001:db8::1".parse().unwrap()]).unwrap();
        assert_eq!(
            text(),
            "nameserver 10.2.0.2   # by adit\nnameserver 2001:db8::1   # by adit\n# mine\nnameserver 192.0.2.1\n"
        );
        conf.remove(2).unwrap();
        conf.clear().unwrap();
        assert_eq!(text(), "# mine\nnameserver 192.0.2.1\n");
        std::fs::remove_file(path).unwrap();
    }
}
