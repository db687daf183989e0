//! Every key by name, and what becomes of it.
//!
//! A key is served, or accepted without effect (one informational line), or refused with a reason. Setting a refused key
//! to what it would be anyway is fine, so that files which spell out defaults load. A key that is in no table is an
//! error that names the nearest known one.

mod strongswan;
mod swanctl;

use crate::diag::{Diagnostic, Subject};
use crate::nearest::nearest;
use crate::tree::{Item, Section};

pub use strongswan::STRONGSWAN;
pub use swanctl::SWANCTL;

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It does what it says.
    Served,
    /// Accepted; has no effect here, for the reason given. An empty reason is not worth a line.
    Ignored(&'static str),
    /// Refused, for the reason given.
    NotServed(&'static str),
}

/// One key of a table.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Dotted path; a part `*` stands for any name, a part `local*` for any name beginning with `local`,
    /// a part `#` for a number.
    pub path: &'static str,
    /// What becomes of it.
    pub status: Status,
    /// For a refused key: values that ask for nothing.
    pub harmless: &'static [&'static str],
}

const fn served(path: &'static str) -> Key {
    Key { path, status: Status::Served, harmless: &[] }
}

const fn ignored(path: &'static str, reason: &'static str) -> Key {
    Key { path, status: Status::Ignored(reason), harmless: &[] }
}

const fn refused(path: &'static str, reason: &'static str, harmless: &'static [&'static str]) -> Key {
    Key { path, status: Status::NotServed(reason), harmless }
}

const NO: &[&str] = &["no", "false", "disabled", "0"];
const YES: &[&str] = &["yes", "true", "enabled", "1"];

/// The keys that are still possible at some depth, with the rest of their paths.
#[derive(Clone)]
pub(crate) struct Scope {
    keys: Vec<(&'static str, &'static Key)>,
}

fn part_matches(pattern: &str, name: &str) -> bool {
    if pattern == "#" {
        return !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    }
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}

impl Scope {
    pub(crate) fn new(table: &'static [Key]) -> Self {
        Self { keys: table.iter().map(|key| (key.path, key)).collect() }
    }

    /// The scope inside a section.
    pub(crate) fn enter(&self, name: &str) -> Self {
        let keys = self.keys.iter().filter_map(|(path, key)| {
            let (first, rest) = path.split_once('.')?;
            part_matches(first, name).then_some((rest, *key))
        });
        Self { keys: keys.collect() }
    }

    fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    fn key(&self, name: &str) -> Option<&'static Key> {
        // Exact names before `id*`, so that the table's order does not matter.
        let mut found = None;
        for (path, key) in &self.keys {
            if path == &name {
                return Some(key);
            }
            if found.is_none()
                && !path.contains('.')
                && path.ends_with(['*', '#'])
                && part_matches(path, name)
            {
                found = Some(*key);
            }
        }
        found
    }

    fn key_names(&self) -> impl Iterator<Item = &'static str> {
        self.keys
            .iter()
            .filter(|(path, _)| !path.contains('.'))
            .map(|(path, _)| path.trim_end_matches(['*', '#']))
    }

    pub(crate) fn section_names(&self) -> impl Iterator<Item = &'static str> {
        self.keys
            .iter()
            .filter_map(|(path, _)| path.split_once('.'))
            .map(|(first, _)| first.trim_end_matches('*'))
            .filter(|name| !name.is_empty())
    }
}

/// Where else a key of this name lives.
fn home(table: &'static [Key], name: &str) -> Option<String> {
    let key = table.iter().find(|key| {
        key.status == Status::Served && key.path.rsplit_once('.').is_some_and(|(_, last)| last == name)
    })?;
    let (sections, _) = key.path.rsplit_once('.')?;
    let shown: Vec<String> = sections
        .split('.')
        .map(|part| match part {
            "*" => "<name>".to_owned(),
            part => part.trim_end_matches('*').to_owned(),
        })
        .collect();
    Some(format!("`{name}` belongs into `{}`", shown.join(".")))
}

/// Checks every name inside a section (called `place` in messages) against a scope of `table`.
pub(crate) fn check(
    section: &Section,
    place: &str,
    scope: &Scope,
    table: &'static [Key],
    diagnostics: &mut Vec<Diagnostic>,
) {
    for entry in section.entries() {
        let (name, span) = (entry.name.as_str(), entry.span.as_ref());
        match &entry.item {
            Item::Value(value) => match scope.key(name) {
                None => {
                    // A key that exists elsewhere was not misspelt but misplaced.
                    let help = home(table, name)
                        .or_else(|| {
                            nearest(name, scope.key_names()).map(|near| format!("did you mean `{near}`?"))
                        })
                        .or_else(|| {
                            scope
                                .section_names()
                                .any(|known| known == name)
                                .then(|| format!("`{name}` is a section: `{name} {{ … }}`"))
                        });
                    diagnostics.push(
                        Diagnostic::error(span, format!("unknown key `{name}` in {}", at(place)))
                            .with_help_opt(help)
                            .about(Subject::UnknownKey(name.to_owned()))
                            .once_per_place(),
                    );
                }
                Some(Key { status: Status::Served | Status::Ignored(""), .. }) => {}
                Some(Key { status: Status::Ignored(reason), .. }) => diagnostics.push(
                    Diagnostic::info(span, format!("`{name}` in {} has no effect: {reason}", at(place)))
                        .once_per_place(),
                ),
                Some(Key { status: Status::NotServed(reason), harmless, .. }) => {
                    let text = value.as_str().unwrap_or("…").trim();
                    if !harmless.iter().any(|value| value.eq_ignore_ascii_case(text)) {
                        diagnostics.push(
                            Diagnostic::error(
                                span,
                                format!("`{name}` in {} is not served: {reason}", at(place)),
                            )
                            .about(Subject::BadValue(name.to_owned()))
                            .once_per_place(),
                        );
                    }
                }
            },
            Item::Section(sub) => {
                let inner = scope.enter(name);
                if inner.is_empty() {
                    let help = nearest(name, scope.section_names())
                        .map(|near| format!("did you mean `{near}`?"))
                        .or_else(|| {
                            scope
                                .key_names()
                                .any(|known| known == name)
                                .then(|| format!("`{name}` is a key: `{name} = …`"))
                        });
                    diagnostics.push(
                        Diagnostic::error(span, format!("unknown section `{name}` in {}", at(place)))
                            .with_help_opt(help)
                            .about(Subject::UnknownSection(name.to_owned()))
                            .once_per_place(),
                    );
                } else {
                    let place = if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
                    check(sub, &place, &inner, table, diagnostics);
                }
            }
        }
    }
}

fn at(place: &str) -> String {
    if place.is_empty() { "the outermost section".to_owned() } else { format!("`{place}`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sound() {
        for table in [SWANCTL, STRONGSWAN] {
            for (i, key) in table.iter().enumerate() {
                assert!(
                    !key.path.is_empty() && key.path.split('.').all(|part| !part.is_empty()),
                    "{}",
                    key.path
                );
                assert!(!table.iter().skip(i + 1).any(|other| other.path == key.path), "{} twice", key.path);
                if let Status::NotServed(reason) = key.status {
                    assert!(!reason.is_empty() && !reason.ends_with('.'), "{}", key.path);
                }
            }
        }
    }

    #[test]
    fn names_other_homes() {
        assert_eq!(
            home(SWANCTL, "esp_proposals").as_deref(),
            Some("`esp_proposals` belongs into `connections.<name>.children.<name>`")
        );
        assert_eq!(home(SWANCTL, "nonsense"), None);
    }
}
