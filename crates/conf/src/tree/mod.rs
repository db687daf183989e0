//! The tree both files become: sections, keys and values, with the place of each.
//!
//! [`load`] reads a file with everything it includes; [`parse`] does the same for a text at hand, without touching the
//! file system (that is what a fuzzer feeds). Both give a tree in which repeated sections are merged, cleared keys are
//! gone, and references (`a : b`) are expanded. A VICI message becomes the same [`Section`] through [`Section::push`].

mod parse;
mod resolve;
mod section;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

pub use section::{Entry, Item, Section, Value};

use crate::diag::{Diagnostic, dedup};
use crate::glob;
use crate::source::Source;

/// The largest file that is read.
pub const MAX_FILE: usize = 16 << 20;
/// The largest sum of all files of a tree.
pub const MAX_TOTAL: usize = 64 << 20;
/// How deep sections nest.
pub const MAX_DEPTH: usize = 64;
/// How deep includes nest.
pub const MAX_INCLUDE_DEPTH: usize = 16;
/// How many nodes references may add to a small tree; large trees get proportionally more.
pub const MAX_INHERITED: usize = 100_000;
/// How many errors of one load are kept.
pub const MAX_ERRORS: usize = 100;

/// A parsed configuration.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// The unnamed outermost section.
    pub root: Section,
    /// Every file that was read, in order of reading.
    pub files: Vec<PathBuf>,
    /// Warnings and informational remarks.
    pub diagnostics: Vec<Diagnostic>,
}

/// Where included files come from.
pub trait Loader {
    /// The bytes of a file.
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>>;
    /// The files a pattern matches, sorted.
    fn glob(&mut self, pattern: &Path) -> Vec<PathBuf>;
}

/// The file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Loader for Disk {
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        use std::io::Read as _;
        let mut bytes = Vec::new();
        // One byte more than allowed, to tell "just fits" from "too large".
        std::fs::File::open(path)?.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn glob(&mut self, pattern: &Path) -> Vec<PathBuf> {
        glob::expand(pattern)
    }
}

/// No files at all: every include matches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFiles;

impl Loader for NoFiles {
    fn read(&mut self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn glob(&mut self, _: &Path) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// Reads a file and everything it includes. All errors of all files come at once.
pub fn load(path: impl AsRef<Path>) -> Result<Tree, Vec<Diagnostic>> {
    load_with(path, &mut Disk)
}

/// [`load`], with the files coming from somewhere else.
pub fn load_with(path: impl AsRef<Path>, loader: &mut dyn Loader) -> Result<Tree, Vec<Diagnostic>> {
    let mut parser = parse::Parser::new(loader);
    parser.file(path.as_ref(), 0, None);
    finish(parser)
}

/// Parses a text under the given name; includes match nothing.
pub fn parse(name: &str, text: &str) -> Result<Tree, Vec<Diagnostic>> {
    parse_with(name, text, &mut NoFiles)
}

/// Parses a text under the given name, with includes served by a loader (relative to the name's folder).
pub fn parse_with(name: &str, text: &str, loader: &mut dyn Loader) -> Result<Tree, Vec<Diagnostic>> {
    let mut parser = parse::Parser::new(loader);
    if text.len() > MAX_FILE {
        parser.report(Diagnostic::error(None, format!("{name} is larger than 16 MiB")));
    } else {
        parser.source(&Source::new(name, text), Path::new(name), 0);
    }
    finish(parser)
}

fn finish(parser: parse::Parser<'_>) -> Result<Tree, Vec<Diagnostic>> {
    let (raw, files, mut diagnostics) = parser.into_parts();
    let root = resolve::resolve(&raw, &mut diagnostics);
    let diagnostics = dedup(diagnostics);
    if diagnostics.iter().any(Diagnostic::is_error) {
        return Err(diagnostics);
    }
    let mut seen = BTreeSet::new();
    let files = files.into_iter().filter(|file| seen.insert(file.clone())).collect();
    Ok(Tree { root, files, diagnostics })
}
