//! Archives of the format that the kernel unpacks as its first file system (`cpio -H newc`). Several in a row count as one.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// An archive that is being written.
pub(crate) struct Archive<W: Write> {
    sink: W,
    number: u32,
    folders: BTreeSet<PathBuf>,
}

impl<W: Write> Archive<W> {
    pub(crate) fn new(sink: W) -> Self {
        Self { sink, number: 0, folders: BTreeSet::new() }
    }

    /// A folder, and those above it; where older packages use `/bin`, `/sbin`, `/lib`, they mean those of `/usr`.
    pub(crate) fn folder(&mut self, path: &Path) -> io::Result<()> {
        let path = merged(path);
        let missing: Vec<PathBuf> = path
            .ancestors()
            .filter(|p| p.file_name().is_some() && !self.folders.contains(*p))
            .map(Into::into)
            .collect();
        for folder in missing.into_iter().rev() {
            self.entry(&folder, FOLDER | 0o755, &[])?;
            self.folders.insert(folder);
        }
        Ok(())
    }

    /// A link at the top, where the folders of a merged `/usr` are otherwise taken for what they stand for.
    pub(crate) fn top_link(&mut self, name: &str, target: &Path) -> io::Result<()> {
        self.entry(Path::new(name), LINK | 0o777, target.as_os_str().as_encoded_bytes())
    }

    /// A file with these permissions.
    pub(crate) fn file(&mut self, path: &Path, permissions: u32, content: &[u8]) -> io::Result<()> {
        self.place(path, FILE | (permissions & 0o7777), content)
    }

    /// A symbolic link.
    pub(crate) fn link(&mut self, path: &Path, target: &Path) -> io::Result<()> {
        self.place(path, LINK | 0o777, target.as_os_str().as_encoded_bytes())
    }

    fn place(&mut self, path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
        if let Some(parent) = path.parent() {
            self.folder(parent)?;
        }
        self.entry(&merged(path), mode, content)
    }

    /// Everything below `source`, as `at`.
    pub(crate) fn tree(&mut self, source: &Path, at: &Path) -> io::Result<()> {
        let mut entries = fs::read_dir(source)?.collect::<io::Result<Vec<_>>>()?;
        // so that the same content makes the same archive
        entries.sort_by_key(fs::DirEntry::file_name);
        self.folder(at)?;
        for entry in entries {
            let (path, at, kind) = (entry.path(), at.join(entry.file_name()), entry.file_type()?);
            if kind.is_symlink() {
                self.link(&at, &fs::read_link(path)?)?;
            } else if kind.is_dir() {
                self.tree(&path, &at)?;
            } else if kind.is_file() {
                self.file(&at, entry.metadata()?.permissions().mode(), &fs::read(path)?)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
        self.number += 1;
        let name = path.strip_prefix("/").unwrap_or(path).as_os_str().as_encoded_bytes();
        let too_large = |_| io::Error::other(format!("{} is too large for an archive", path.display()));
        let size = u32::try_from(content.len()).map_err(too_large)?;
        let length = u32::try_from(name.len() + 1).map_err(too_large)?;
        let links = if mode & FOLDER == FOLDER { 2 } else { 1 };
        // inode, mode, owner, group, links, time, size, four numbers of devices, length of the name, checksum
        let fields = [self.number, mode, 0, 0, links, 0, size, 0, 0, 0, 0, length, 0];
        let mut header = b"070701".to_vec();
        for field in fields {
            write!(header, "{field:08x}")?;
        }
        header.extend_from_slice(name);
        header.push(0);
        pad(&mut header);
        self.sink.write_all(&header)?;
        self.sink.write_all(content)?;
        self.sink.write_all(&[0; 3][..content.len().next_multiple_of(4) - content.len()])
    }

    /// Writes the end.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.entry(Path::new("TRAILER!!!"), 0, &[])?;
        self.sink.flush()
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// Where a path is in a system with a merged `/usr`.
fn merged(path: &Path) -> PathBuf {
    let path = path.strip_prefix("/").unwrap_or(path);
    match path.components().next() {
        Some(Component::Normal(first))
            if ["bin", "sbin", "lib", "lib32", "lib64", "libx32"].iter().any(|top| first == *top) =>
        {
            Path::new("usr").join(path)
        }
        _ => path.into(),
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn writes_what_cpio_reads() {
        let mut bytes = Vec::new();
        let mut archive = Archive::new(&mut bytes);
        archive.file(Path::new("/bin/x"), 0o755, b"hello").unwrap();
        archive.link(Path::new("etc/y"), Path::new("../z")).unwrap();
        archive.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let names: Vec<&str> =
            ["usr\0", "usr/bin\0", "usr/bin/x\0", "etc\0", "etc/y\0", "TRAILER!!!\0"].into();
        let mut from = 0;
        for name in names {
            from += text[from..].find(name).unwrap_or_else(|| panic!("no {name:?} after {from}"));
        }
        assert!(text.starts_with("07070100000001000041ed"), "{text}");
        // header and name together, and the content, end at multiples of four
        // a header of 110 bytes and its name end at a multiple of four, and so does the content
        let placed = ["usr/bin/x", "hello", "070701"].join("\0\0\0").replacen("x\0\0\0", "x\0", 1);
        assert!(text.contains(&placed), "{text:?}");
    }
}
