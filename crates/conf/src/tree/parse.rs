//! From text to raw sections: statements, includes, merging, error recovery.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::{Loader, MAX_DEPTH, MAX_ERRORS, MAX_FILE, MAX_INCLUDE_DEPTH, MAX_TOTAL};
use crate::diag::Diagnostic;
use crate::lexer::{Cursor, LexedValue};
use crate::source::{Source, Span};

/// Index of a raw section.
pub(super) type Id = usize;

/// A section as written: merged, but with its references still names.
#[derive(Default)]
pub(super) struct RawSection {
    pub(super) span: Option<Span>,
    pub(super) refs: Vec<(String, Span)>,
    pub(super) values: Vec<RawValue>,
    pub(super) sections: Vec<(String, Id)>,
    value_index: BTreeMap<String, usize>,
    section_index: BTreeMap<String, Id>,
}

impl RawSection {
    pub(super) fn section(&self, name: &str) -> Option<Id> {
        self.section_index.get(name).copied()
    }
}

/// A key as written; without a value it was cleared, which also hides what is inherited.
pub(super) struct RawValue {
    pub(super) name: String,
    pub(super) span: Span,
    pub(super) value: Option<(Zeroizing<String>, Span)>,
}

/// All raw sections; the first is the root.
pub(super) struct Raw {
    pub(super) sections: Vec<RawSection>,
}

/// A section that is open while its content is read.
struct Open {
    id: Id,
    /// The name, for deciding what is a secret.
    name: String,
    /// Where it was opened, for complaining that it is not closed.
    span: Option<Span>,
}

pub(super) struct Parser<'l> {
    loader: &'l mut dyn Loader,
    raw: Raw,
    stack: Vec<Open>,
    files: Vec<PathBuf>,
    including: Vec<PathBuf>,
    total: usize,
    diagnostics: Vec<Diagnostic>,
    errors: usize,
}

impl<'l> Parser<'l> {
    pub(super) fn new(loader: &'l mut dyn Loader) -> Self {
        Self {
            loader,
            raw: Raw { sections: vec![RawSection::default()] },
            stack: vec![Open { id: 0, name: String::new(), span: None }],
            files: Vec::new(),
            including: Vec::new(),
            total: 0,
            diagnostics: Vec::new(),
            errors: 0,
        }
    }

    pub(super) fn into_parts(self) -> (Raw, Vec<PathBuf>, Vec<Diagnostic>) {
        (self.raw, self.files, self.diagnostics)
    }

    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        if diagnostic.is_error() {
            self.errors += 1;
            if self.errors > MAX_ERRORS {
                return;
            }
        }
        self.diagnostics.push(diagnostic);
    }

    /// Reads one file into the section that is open.
    pub(super) fn file(&mut self, path: &Path, depth: usize, from: Option<&Span>) {
        let name = path.display().to_string();
        let bytes = match self.loader.read(path) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) => {
                self.report(Diagnostic::error(from, format!("cannot read {name}: {error}")));
                return;
            }
        };
        self.total = self.total.saturating_add(bytes.len());
        if bytes.len() > MAX_FILE {
            self.report(Diagnostic::error(from, format!("{name} is larger than 16 MiB")));
            return;
        }
        if self.total > MAX_TOTAL {
            self.report(Diagnostic::error(
                from,
                format!("with {name} the files are larger than 64 MiB in total"),
            ));
            return;
        }
        let text = match std::str::from_utf8(&bytes) {
            Ok(text) => text,
            Err(error) => {
                let at = error.valid_up_to();
                let line =
                    bytes.get(..at).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count() + 1;
                self.report(Diagnostic::error(from, format!("{name} is not UTF-8: line {line} (byte {at})")));
                return;
            }
        };
        let source = Source::new(&name, text);
        self.files.push(path.to_owned());
        self.including.push(path.to_owned());
        self.source(&source, path, depth);
        self.including.pop();
    }

    /// Parses one text into the section that is open.
    pub(super) fn source(&mut self, source: &Arc<Source>, path: &Path, depth: usize) {
        let text = source.text();
        let mut cursor = Cursor::new(text);
        let mut secrets = Vec::new();
        let base = self.stack.len();
        loop {
            cursor.skip_all();
            let start = cursor.pos();
            let Some(c) = cursor.peek() else { break };
            let span = |from: usize, to: usize| Span::new(source, from, to);
            if c == '}' {
                cursor.bump();
                if self.stack.len() > base {
                    self.stack.pop();
                } else {
                    self.report(Diagnostic::error(
                        Some(&span(start, start + 1)),
                        "this `}` closes nothing: no section is open here",
                    ));
                }
                continue;
            }
            let name = cursor.name();
            if name.is_empty() {
                let what = match c {
                    '"' => "a quoted string".to_owned(),
                    c if c.is_control() => format!("the control character U+{:04X}", u32::from(c)),
                    c => format!("`{c}`"),
                };
                self.report(Diagnostic::error(
                    Some(&span(start, start + c.len_utf8())),
                    format!("expected the name of a key or section, found {what}"),
                ));
                self.skip_line(&mut cursor, source, start, "", &mut secrets);
                continue;
            }
            let name_span = span(start, cursor.pos());
            if name == "include" && cursor.include_follows() {
                self.include(&mut cursor, source, path, depth);
                continue;
            }
            let after = cursor.pos();
            cursor.skip_blank();
            if cursor.peek() == Some('=') {
                cursor.bump();
                let from = cursor.pos();
                let value = cursor.value();
                if self.is_secret(name) {
                    secrets.push((from, cursor.pos()));
                }
                match value {
                    LexedValue::Text(text, from, to) => {
                        self.set(name, name_span, Some((text, span(from, to))))
                    }
                    LexedValue::Empty => self.set(name, name_span, None),
                    LexedValue::Unclosed { quote } => self.report(
                        Diagnostic::error(
                            Some(&span(quote, quote + 1)),
                            format!("the string that begins here, in the value of `{name}`, is never closed"),
                        )
                        .with_help("add the closing `\"`; a `\"` inside a string is written `\\\"`"),
                    ),
                }
                continue;
            }
            cursor.skip_all();
            let refs = if cursor.peek() == Some(':') {
                cursor.bump();
                match Self::references(&mut cursor, source) {
                    Ok(refs) => refs,
                    Err(diagnostic) => {
                        self.report(*diagnostic);
                        self.skip_line(&mut cursor, source, start, name, &mut secrets);
                        continue;
                    }
                }
            } else {
                Vec::new()
            };
            cursor.skip_all();
            if cursor.peek() == Some('{') {
                cursor.bump();
                self.open(name, name_span, refs);
                continue;
            }
            let diagnostic = if !refs.is_empty() {
                Diagnostic::error(
                    Some(&name_span),
                    format!("the section `{name}` has references but no `{{ … }}` behind them"),
                )
            } else if text.get(after..).is_some_and(|rest| rest.starts_with('.')) {
                Diagnostic::error(Some(&name_span), "a name cannot contain `.`")
                    .with_help(format!("write it as nested sections: `{name} {{ … }}`"))
            } else {
                Diagnostic::error(
                    Some(&name_span),
                    format!("`{name}` is neither a setting (`{name} = …`) nor a section (`{name} {{ … }}`)"),
                )
            };
            self.report(diagnostic);
            // What was skipped in search of a brace belongs to the next statement, if it was on another line.
            if !text.get(after..cursor.pos()).is_some_and(|skipped| skipped.contains('\n')) {
                self.skip_line(&mut cursor, source, start, name, &mut secrets);
            }
        }
        let unclosed: Vec<Open> = self.stack.drain(base.min(self.stack.len())..).collect();
        for open in unclosed.into_iter().rev() {
            if let Some(span) = open.span {
                self.report(Diagnostic::error(
                    Some(&span),
                    format!("the section `{}` opened here is never closed", open.name),
                ));
            }
        }
        source.set_secrets(secrets);
    }

    /// `ref[, ref]*` with dotted refs.
    fn references(
        cursor: &mut Cursor<'_>,
        source: &Arc<Source>,
    ) -> Result<Vec<(String, Span)>, Box<Diagnostic>> {
        let mut refs = Vec::new();
        loop {
            cursor.skip_all();
            let start = cursor.pos();
            let mut path = String::new();
            loop {
                let name = cursor.name();
                if name.is_empty() {
                    let here = cursor.pos();
                    let message = "expected the name of a section to inherit from, as in `a : b, c.d { … }`";
                    return Err(Box::new(Diagnostic::error(
                        Some(&Span::new(source, here, here + 1)),
                        message,
                    )));
                }
                path.push_str(name);
                if cursor.peek() != Some('.') {
                    break;
                }
                cursor.bump();
                path.push('.');
            }
            refs.push((path, Span::new(source, start, cursor.pos())));
            cursor.skip_all();
            if cursor.peek() != Some(',') {
                return Ok(refs);
            }
            cursor.bump();
        }
    }

    fn include(&mut self, cursor: &mut Cursor<'_>, source: &Arc<Source>, path: &Path, depth: usize) {
        let start = cursor.pos();
        let Some((pattern, from, to)) = cursor.include_pattern() else {
            let span = Span::new(source, start, start + 1);
            self.report(Diagnostic::error(Some(&span), "the quoted pattern of this include is never closed"));
            cursor.recover();
            return;
        };
        let span = Span::new(source, from, to);
        if depth + 1 > MAX_INCLUDE_DEPTH {
            self.report(Diagnostic::error(
                Some(&span),
                format!("includes nest deeper than {MAX_INCLUDE_DEPTH}"),
            ));
            return;
        }
        // Relative patterns are relative to the folder of the including file.
        let folder = path.parent().unwrap_or(Path::new(""));
        let pattern = folder.join(pattern.as_str());
        let found = self.loader.glob(&pattern);
        if found.is_empty() && !crate::glob::has_wildcard(&pattern.to_string_lossy()) {
            self.report(Diagnostic::info(Some(&span), format!("{} does not exist", pattern.display())));
        }
        for file in found {
            if self.including.contains(&file) || file == path {
                self.report(Diagnostic::error(Some(&span), format!("{} includes itself", file.display())));
                continue;
            }
            self.file(&file, depth + 1, Some(&span));
            if self.total > MAX_TOTAL || self.errors > MAX_ERRORS {
                break;
            }
        }
    }

    fn current(&mut self) -> Option<&mut RawSection> {
        let id = self.stack.last()?.id;
        self.raw.sections.get_mut(id)
    }

    fn set(&mut self, name: &str, span: Span, value: Option<(Zeroizing<String>, Span)>) {
        let Some(section) = self.current() else { return };
        let raw = RawValue { name: name.to_owned(), span, value };
        match section.value_index.get(name).and_then(|index| section.values.get_mut(*index)) {
            Some(old) => *old = raw,
            None => {
                section.value_index.insert(name.to_owned(), section.values.len());
                section.values.push(raw);
            }
        }
    }

    fn open(&mut self, name: &str, span: Span, refs: Vec<(String, Span)>) {
        let fresh = self.raw.sections.len();
        let id = if self.stack.len() > MAX_DEPTH {
            self.report(Diagnostic::error(Some(&span), format!("sections nest deeper than {MAX_DEPTH}")));
            None
        } else {
            self.current().map(|section| {
                *section.section_index.entry(name.to_owned()).or_insert_with(|| {
                    section.sections.push((name.to_owned(), fresh));
                    fresh
                })
            })
        };
        // Too deep: its content goes to a section that hangs nowhere.
        let id = id.unwrap_or(fresh);
        if id == fresh {
            self.raw.sections.push(RawSection { span: Some(span.clone()), ..RawSection::default() });
        }
        if let Some(section) = self.raw.sections.get_mut(id) {
            for (path, at) in refs {
                if !section.refs.iter().any(|(known, _)| *known == path) {
                    section.refs.push((path, at));
                }
            }
        }
        self.stack.push(Open { id, name: name.to_owned(), span: Some(span) });
    }

    /// Goes on behind a mistake; sections opened on that line get a place that hangs nowhere.
    fn skip_line(
        &mut self,
        cursor: &mut Cursor<'_>,
        source: &Arc<Source>,
        start: usize,
        name: &str,
        secrets: &mut Vec<(usize, usize)>,
    ) {
        let opened = cursor.recover();
        if self.is_secret(name) || name.is_empty() && self.in_secrets() {
            secrets.push((start + name.len(), cursor.pos()));
        }
        for _ in 0..opened {
            let id = self.raw.sections.len();
            self.raw.sections.push(RawSection::default());
            let span = Span::new(source, start, start + 1);
            self.stack.push(Open { id, name: name.to_owned(), span: Some(span) });
        }
    }

    fn in_secrets(&self) -> bool {
        self.stack.get(1).is_some_and(|open| open.name == "secrets")
    }

    /// Must the value of this key be covered in diagnostics? Inside `secrets` everything is, even under a misspelt
    /// key, but for the keys that are known to be harmless.
    fn is_secret(&self, name: &str) -> bool {
        let harmless = name.starts_with("id") || matches!(name, "file" | "handle" | "slot" | "module");
        name.starts_with("secret") || name == "pin" || self.in_secrets() && !harmless
    }
}
