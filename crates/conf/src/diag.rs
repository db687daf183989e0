//! Diagnostics: what is wrong, where, and what was probably meant.

use std::fmt;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::source::Span;

/// How bad it is. Ordered: `Info < Warning < Error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing to do; something was accepted that has no effect.
    Info,
    /// It works, but probably not as intended.
    Warning,
    /// The configuration is not applied.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One complaint about a configuration.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file, or empty if the configuration did not come from one (VICI).
    pub file: String,
    /// Line, from 1; 0 without a place.
    pub line: u32,
    /// Column in characters, from 1; 0 without a place.
    pub column: u32,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// What was probably meant, or what to do.
    pub help: Option<String>,
    /// The key or section concerned, as strongSwan's VICI error texts name it.
    pub subject: Option<Subject>,
    /// The place, with its source, for [`Diagnostic::render`].
    pub span: Option<Span>,
    /// The message names the section it was found in; where others inherit the line, it is still one complaint.
    pub(crate) once_per_place: bool,
}

/// What kind of thing a VICI client got wrong: the three messages that strongSwan's clients know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A key nobody knows.
    UnknownKey(String),
    /// A known key with a value that cannot be used (or that is not served).
    BadValue(String),
    /// A sub-section nobody knows.
    UnknownSection(String),
}

impl Diagnostic {
    /// A complaint at a place (or at none, for configurations that did not come from a file).
    pub fn new(severity: Severity, span: Option<&Span>, message: impl Into<String>) -> Self {
        let (line, column) = span.map_or((0, 0), Span::line_column);
        Self {
            severity,
            file: span.map(|span| span.source().name().to_owned()).unwrap_or_default(),
            line,
            column,
            message: message.into(),
            help: None,
            subject: None,
            span: span.cloned(),
            once_per_place: false,
        }
    }

    /// An error.
    pub fn error(span: Option<&Span>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, span, message)
    }

    /// A warning.
    pub fn warning(span: Option<&Span>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, span, message)
    }

    /// A piece of information.
    pub fn info(span: Option<&Span>, message: impl Into<String>) -> Self {
        Self::new(Severity::Info, span, message)
    }

    /// Adds what was probably meant, or what to do.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds help if there is any.
    #[must_use]
    pub fn with_help_opt(mut self, help: Option<String>) -> Self {
        if help.is_some() {
            self.help = help;
        }
        self
    }

    /// Adds what VICI error texts call the thing.
    #[must_use]
    pub fn about(mut self, subject: Subject) -> Self {
        self.subject = Some(subject);
        self
    }

    pub(crate) fn once_per_place(mut self) -> Self {
        self.once_per_place = true;
        self
    }

    /// Is this an error?
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The one-line form for logs: `file:line:col: error: message; help`.
    pub fn at(&self) -> String {
        let mut line = String::new();
        if !self.file.is_empty() {
            line.push_str(&self.file);
            if self.line > 0 {
                line.push_str(&format!(":{}:{}", self.line, self.column));
            }
            line.push_str(": ");
        }
        line.push_str(&format!("{}: {}", self.severity, self.message));
        if let Some(help) = &self.help {
            line.push_str("; ");
            line.push_str(help);
        }
        line
    }

    /// The form for people: the source line with the place underlined. Values of secrets are covered.
    pub fn render(&self) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Info => Level::INFO,
        };
        let Some(span) = &self.span else { return self.at() };
        let source = span.source();
        let range = span.range();
        let (covered, first, line) = source.covered(&range);
        let within = |offset: usize| offset.saturating_sub(first).min(covered.len());
        let mut group = level.primary_title(self.message.as_str()).element(
            Snippet::source(covered.as_str())
                .path(source.name())
                .line_start(line)
                .annotation(AnnotationKind::Primary.span(within(range.start)..within(range.end))),
        );
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        Renderer::plain().render(&[group])
    }

    /// What strongSwan's VICI clients expect to read when a connection is refused, followed by our own sentence.
    pub fn vici_message(&self) -> String {
        match &self.subject {
            Some(Subject::UnknownKey(key)) => match &self.help {
                Some(help) => format!("unknown option: {key}, config discarded ({help})"),
                None => format!("unknown option: {key}, config discarded"),
            },
            Some(Subject::BadValue(key)) => {
                format!("invalid value for: {key}, config discarded ({})", self.message)
            }
            Some(Subject::UnknownSection(name)) => format!("invalid section: {name}"),
            None => self.message.clone(),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.at())
    }
}

/// Removes repetitions (one bad line in a section that five others inherit is one complaint), keeping the order.
pub(crate) fn dedup(diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut seen = std::collections::BTreeSet::new();
    diagnostics
        .into_iter()
        .filter(|d| {
            let message = if d.once_per_place { String::new() } else { d.message.clone() };
            d.line == 0 || seen.insert((d.file.clone(), d.line, d.column, d.severity, message))
        })
        .collect()
}
