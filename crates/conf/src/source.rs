//! Source texts and places in them.

use std::fmt;
use std::sync::{Arc, OnceLock};

use zeroize::Zeroizing;

/// One configuration file (or a text given a name), kept as long as a [`Span`] points into it.
///
/// The text may hold pre-shared keys: it is zeroized on drop, and `Debug` prints only the name.
pub struct Source {
    name: Box<str>,
    text: Zeroizing<String>,
    /// Byte ranges of secret values, found by the parser.
    secrets: OnceLock<Vec<(usize, usize)>>,
    /// Byte offsets of the beginnings of lines: thousands of connections ask for their line.
    lines: Vec<usize>,
}

impl Source {
    /// Wraps a text under the name that diagnostics shall show.
    pub fn new(name: &str, text: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            text: Zeroizing::new(text.to_owned()),
            secrets: OnceLock::new(),
            lines: std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect(),
        })
    }

    /// The name shown in diagnostics, usually a path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text itself, secrets included.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn set_secrets(&self, ranges: Vec<(usize, usize)>) {
        // A source is parsed once; a second call keeps the first answer.
        let _ = self.secrets.set(ranges);
    }

    /// The text with every secret value covered by `*`, byte positions unchanged.
    pub(crate) fn covered(&self) -> String {
        let mut bytes = self.text.as_bytes().to_vec();
        for &(start, end) in self.secrets.get().map(Vec::as_slice).unwrap_or_default() {
            let end = end.min(bytes.len());
            if let Some(range) = bytes.get_mut(start.min(end)..end) {
                range.iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b'*');
            }
        }
        // Ranges begin and end at token boundaries, so this stays UTF-8.
        String::from_utf8(bytes).unwrap_or_default()
    }

    /// Line and column of a byte offset, both from 1; columns count characters.
    pub fn line_column(&self, offset: usize) -> (u32, u32) {
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count()) + 1;
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({})", self.name)
    }
}

/// A byte range of a source.
#[derive(Clone)]
pub struct Span {
    source: Arc<Source>,
    start: u32,
    end: u32,
}

impl Span {
    /// The bytes `start..end` of a source (which is at most 16 MiB, so `u32` is ample).
    pub fn new(source: &Arc<Source>, start: usize, end: usize) -> Self {
        // Out to whole characters: a renderer slices at these places.
        let text = source.text();
        let start = text.floor_char_boundary(start);
        let end = text.ceil_char_boundary(end.max(start));
        let clip = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Self { source: Arc::clone(source), start: clip(start), end: clip(end) }
    }

    /// The source it points into.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// The byte range.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Line and column where it begins, both from 1.
    pub fn line_column(&self) -> (u32, u32) {
        self.source.line_column(self.start as usize)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.line_column();
        write!(f, "{}:{line}:{column}", self.source.name)
    }
}
