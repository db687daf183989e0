//! Source texts and places in them.

use std::fmt;
use std::ops::Range;
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

    /// The whole lines around a byte range with every secret value covered by `*`, byte positions unchanged; where they
    /// begin, and the number of the first. (Not the whole text: a file may have thousands of faults.)
    pub(crate) fn covered(&self, range: &Range<usize>) -> (String, usize, usize) {
        let line = self.lines.partition_point(|start| *start <= range.start).max(1);
        let first = self.lines.get(line - 1).copied().unwrap_or(0);
        let after = self.lines.partition_point(|start| *start < range.end).max(line);
        let last = self.lines.get(after).copied().unwrap_or(self.text.len());
        let mut bytes = self.text.as_bytes().get(first..last).unwrap_or_default().to_vec();
        for &(start, end) in self.secrets.get().map(Vec::as_slice).unwrap_or_default() {
            let (start, end) = (start.max(first) - first, end.min(last).saturating_sub(first));
            if let Some(range) = bytes.get_mut(start.min(end)..end) {
                range.iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b'*');
            }
        }
        // Ranges begin and end at token boundaries, so this stays UTF-8.
        (String::from_utf8(bytes).unwrap_or_default(), first, line)
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
    pub fn range(&self) -> Range<usize> {
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

#[cfg(test)]
mod tests {
    use super::Source;

    #[test]
    fn whole_lines_without_their_secrets() {
        let text = "one\ntwo = abc\nthree = def\nfour";
        let source = Source::new("x", text);
        source.set_secrets(vec![(10, 13), (22, 25)]);
        let at = |range| source.covered(&range);
        assert_eq!(at(0..3), ("one\n".into(), 0, 1));
        assert_eq!(at(10..13), ("two = ***\n".into(), 4, 2));
        assert_eq!(at(4..15), ("two = ***\nthree = ***\n".into(), 4, 2));
        assert_eq!(at(26..30), ("four".into(), 26, 4));
        // The end of a file, where what is missing would have been, and beyond.
        assert_eq!(at(text.len()..text.len()), ("four".into(), 26, 4));
        assert_eq!(at(99..120), ("four".into(), 26, 4));
        assert_eq!(Source::new("x", "").covered(&(0..0)), (String::new(), 0, 1));
    }

    #[test]
    fn a_secret_of_several_lines_is_covered_on_each() {
        let source = Source::new("x", "a = \"xy\nzw\" b\n");
        source.set_secrets(vec![(4, 11)]);
        assert_eq!(source.covered(&(8..9)), ("*** b\n".into(), 8, 2));
        assert_eq!(source.covered(&(0..1)), ("a = ***\n".into(), 0, 1));
    }
}
