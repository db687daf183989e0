//! Reading typed values out of a section, collecting complaints.

use std::time::Duration;

use crate::diag::{Diagnostic, Subject};
use crate::source::Span;
use crate::swanctl::Origin;
use crate::tree::{Section, Value};
use crate::value;

/// A section being read.
pub(crate) struct Fields<'a> {
    pub(crate) section: &'a Section,
    pub(crate) diagnostics: &'a mut Vec<Diagnostic>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(section: &'a Section, diagnostics: &'a mut Vec<Diagnostic>) -> Self {
        Self { section, diagnostics }
    }

    /// Complains about the value of a key.
    pub(crate) fn complain(&mut self, key: &str, span: Option<&Span>, message: impl Into<String>) {
        let about = Subject::BadValue(key.to_owned());
        self.diagnostics.push(Diagnostic::error(span, message).about(about));
    }

    /// The value of a key through `parse`; `expected` completes the sentence "expected …".
    pub(crate) fn parsed<T>(
        &mut self,
        key: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let value = self.section.value(key)?;
        let Some(text) = value.as_str() else {
            self.complain(key, value.span(), format!("`{key}` takes one value, not a list"));
            return None;
        };
        let parsed = parse(text);
        if parsed.is_none() {
            let message = format!("`{}` is no value for `{key}`: expected {expected}", shown(text));
            self.complain(key, value.span(), message);
        }
        parsed
    }

    pub(crate) fn bool(&mut self, key: &str, default: bool) -> bool {
        self.parsed(key, "yes or no", value::boolean).unwrap_or(default)
    }

    pub(crate) fn time_opt(&mut self, key: &str) -> Option<Duration> {
        self.parsed(key, "a time such as 30, 30s, 5m, 4h or 1d", value::time)
    }

    pub(crate) fn time(&mut self, key: &str, default: Duration) -> Duration {
        self.time_opt(key).unwrap_or(default)
    }

    pub(crate) fn bytes_opt(&mut self, key: &str) -> Option<u64> {
        self.parsed(key, "a volume in bytes such as 500000, 64k, 100m or 4g", value::bytes)
    }

    pub(crate) fn number<T: TryFrom<u64>>(&mut self, key: &str, expected: &str) -> Option<T> {
        self.parsed(key, expected, |text| value::integer(text).and_then(|n| T::try_from(n).ok()))
    }

    /// One of several words.
    pub(crate) fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)], default: T) -> T {
        let Some(value) = self.section.value(key) else { return default };
        let text = value.as_str().unwrap_or("").trim();
        if let Some((_, found)) = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)) {
            return *found;
        }
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let near = crate::nearest(text, names.iter().copied()).map(|near| format!("did you mean `{near}`?"));
        let message = format!("`{}` is no value for `{key}`: expected {}", shown(text), one_of(&names));
        let about = Subject::BadValue(key.to_owned());
        self.diagnostics.push(Diagnostic::error(value.span(), message).with_help_opt(near).about(about));
        default
    }

    /// The items of a list key, with the place of the whole value.
    pub(crate) fn list(&self, key: &str) -> Option<(Vec<&'a str>, Option<&'a Span>)> {
        let value: &'a Value = self.section.value(key)?;
        Some((value.items(), value.span()))
    }

    pub(crate) fn strings(&self, key: &str) -> Vec<String> {
        self.list(key).map(|(items, _)| items.into_iter().map(str::to_owned).collect()).unwrap_or_default()
    }

    /// The items of a list key, each through `parse`, whose errors are sentences.
    pub(crate) fn parsed_list<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let (items, span) = self.list(key)?;
        let mut out = Vec::with_capacity(items.len());
        for item in items {
            match parse(item) {
                Ok(parsed) => out.push(parsed),
                Err(sentence) => self.complain(key, span, sentence),
            }
        }
        Some(out)
    }

    pub(crate) fn origin(&self) -> Origin {
        origin(self.section)
    }
}

pub(crate) fn origin(section: &Section) -> Origin {
    match section.span() {
        Some(span) => Origin { file: span.source().name().to_owned(), line: span.line_column().0 },
        None => Origin::default(),
    }
}

/// A value as it may appear in a sentence: short, and on one line.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut out: String =
        text.chars().take(LONGEST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().count() > LONGEST {
        out.push('…');
    }
    out
}

/// `a, b or c`
pub(crate) fn one_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => (*word).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
