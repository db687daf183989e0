//! Sections, keys and values after everything was merged and expanded.

use std::fmt;

use zeroize::Zeroizing;

use crate::source::Span;

/// A section: keys and sub-sections in order.
#[derive(Clone, Default)]
pub struct Section {
    pub(crate) entries: Vec<Entry>,
    pub(crate) span: Option<Span>,
    pub(crate) referenced: bool,
}

/// One key or sub-section.
#[derive(Clone)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// Where the name stands; `None` when it came from code.
    pub span: Option<Span>,
    /// What it names.
    pub item: Item,
}

/// What an [`Entry`] names.
#[derive(Clone)]
pub enum Item {
    /// `name = value`
    Value(Value),
    /// `name { … }`
    Section(Section),
}

/// A value: one text, or (from VICI) a list of them.
#[derive(Clone)]
pub struct Value {
    data: Data,
    span: Option<Span>,
}

#[derive(Clone)]
enum Data {
    Text(Zeroizing<String>),
    List(Vec<Zeroizing<String>>),
}

impl Value {
    /// A text without a place.
    pub fn text(text: impl Into<String>) -> Self {
        Self { data: Data::Text(Zeroizing::new(text.into())), span: None }
    }

    /// A list without a place.
    pub fn list<T: Into<String>>(items: impl IntoIterator<Item = T>) -> Self {
        let items = items.into_iter().map(|item| Zeroizing::new(item.into())).collect();
        Self { data: Data::List(items), span: None }
    }

    pub(crate) fn spanned(text: Zeroizing<String>, span: Span) -> Self {
        Self { data: Data::Text(text), span: Some(span) }
    }

    /// The text; for a list its only item (`None` if it has none or several).
    pub fn as_str(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text) => Some(text),
            Data::List(items) => match items.as_slice() {
                [item] => Some(item),
                _ => None,
            },
        }
    }

    /// The items of a list: those of a VICI list, or the text split at commas, trimmed, empty ones left out.
    pub fn items(&self) -> Vec<&str> {
        match &self.data {
            Data::Text(text) => text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect(),
            Data::List(items) => {
                items.iter().map(|item| item.trim()).filter(|item| !item.is_empty()).collect()
            }
        }
    }

    /// Where it stands.
    pub fn span(&self) -> Option<&Span> {
        self.span.as_ref()
    }
}

impl Section {
    /// An empty section.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key. (The last of several equal keys counts.)
    pub fn push(&mut self, key: impl Into<String>, value: impl Into<String>) -> &mut Self {
        self.push_value(key, Value::text(value))
    }

    /// Adds a key with a list.
    pub fn push_list<T: Into<String>>(
        &mut self,
        key: impl Into<String>,
        items: impl IntoIterator<Item = T>,
    ) -> &mut Self {
        self.push_value(key, Value::list(items))
    }

    /// Adds a key with a list of binary objects (certificates over VICI), each kept in its `0x…` form.
    pub fn push_objects<'a>(
        &mut self,
        key: impl Into<String>,
        objects: impl IntoIterator<Item = &'a [u8]>,
    ) -> &mut Self {
        self.push_value(key, Value::list(objects.into_iter().map(crate::value::object_to_inline)))
    }

    /// Adds a key with a value.
    pub fn push_value(&mut self, key: impl Into<String>, value: Value) -> &mut Self {
        self.entries.push(Entry { name: key.into(), span: None, item: Item::Value(value) });
        self
    }

    /// Adds a sub-section.
    pub fn push_section(&mut self, name: impl Into<String>, section: Self) -> &mut Self {
        self.entries.push(Entry { name: name.into(), span: None, item: Item::Section(section) });
        self
    }

    /// The value at a dotted path, e.g. `charon.plugins.vici.socket`.
    pub fn get(&self, path: &str) -> Option<&str> {
        match path.rsplit_once('.') {
            Some((sections, key)) => self.section_at(sections)?.value(key)?.as_str(),
            None => self.value(path)?.as_str(),
        }
    }

    /// The section at a dotted path.
    pub fn section_at(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |section, name| section.section(name))
    }

    /// A key of this section.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.entries.iter().rev().find_map(|entry| match &entry.item {
            Item::Value(value) if entry.name == key => Some(value),
            _ => None,
        })
    }

    /// A sub-section of this section.
    pub fn section(&self, name: &str) -> Option<&Self> {
        self.entries.iter().find_map(|entry| match &entry.item {
            Item::Section(section) if entry.name == name => Some(section),
            _ => None,
        })
    }

    pub(crate) fn section_mut(&mut self, name: &str) -> Option<&mut Self> {
        self.entries.iter_mut().find_map(|entry| match &mut entry.item {
            Item::Section(section) if entry.name == name => Some(section),
            _ => None,
        })
    }

    /// Takes over what `other` has and this section has not, level by level.
    pub(crate) fn fill_from(&mut self, other: &Self) {
        for entry in &other.entries {
            match &entry.item {
                Item::Value(_) if self.value(&entry.name).is_some() => {}
                Item::Section(theirs) => match self.section_mut(&entry.name) {
                    Some(ours) => ours.fill_from(theirs),
                    None => self.entries.push(entry.clone()),
                },
                Item::Value(_) => self.entries.push(entry.clone()),
            }
        }
    }

    /// Drops sub-sections that set nothing.
    pub(crate) fn prune(&mut self) {
        self.entries.retain_mut(|entry| match &mut entry.item {
            Item::Value(_) => true,
            Item::Section(section) => {
                section.prune();
                !section.is_empty()
            }
        });
    }

    /// Keys and sub-sections in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The keys, in order.
    pub fn values(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().filter_map(|entry| match &entry.item {
            Item::Value(value) => Some((entry.name.as_str(), value)),
            Item::Section(_) => None,
        })
    }

    /// The sub-sections, in order.
    pub fn sections(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.entries.iter().filter_map(|entry| match &entry.item {
            Item::Section(section) => Some((entry.name.as_str(), section)),
            Item::Value(_) => None,
        })
    }

    /// Where the section's name stands first.
    pub fn span(&self) -> Option<&Span> {
        self.span.as_ref()
    }

    /// Does some other section inherit from this one?
    pub fn is_referenced(&self) -> bool {
        self.referenced
    }

    /// Does it set no key, at any depth?
    pub fn sets_nothing(&self) -> bool {
        self.entries.iter().all(|entry| match &entry.item {
            Item::Value(_) => false,
            Item::Section(section) => section.sets_nothing(),
        })
    }

    /// Has it neither keys nor sub-sections?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Prints names only: a value may be a secret.
impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut set = f.debug_set();
        for entry in &self.entries {
            match &entry.item {
                Item::Value(_) => set.entry(&format_args!("{}", entry.name)),
                Item::Section(section) => set.entry(&format_args!("{} {section:?}", entry.name)),
            };
        }
        set.finish()
    }
}
