//! From raw sections to the final tree: references expanded, cleared keys dropped.
//!
//! A section's own entries come first, then those of its references from left to right, each with its own references;
//! the first to name a key wins, sub-sections of the same name merge by the same rule. Expansion happens after all files
//! were read, so that a section may refer to one that is defined later or elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use super::parse::{Id, Raw};
use super::section::{Entry, Item, Section, Value};
use super::{MAX_DEPTH, MAX_INHERITED};
use crate::diag::Diagnostic;
use crate::nearest::nearest;
use crate::source::Span;

/// How many sections may be visited while expanding references, all told.
const MAX_VISITS: usize = 10_000_000;
/// How long a chain of references may be.
const MAX_CHAIN: usize = 64;

struct Resolver<'a> {
    raw: &'a Raw,
    diagnostics: &'a mut Vec<Diagnostic>,
    /// Paths looked up before.
    found: BTreeMap<&'a str, Vec<Id>>,
    /// Paths being looked up.
    looking: BTreeSet<&'a str>,
    referenced: BTreeSet<Id>,
    complained: BTreeSet<&'a str>,
    inherited: usize,
    inherited_limit: usize,
    visits: usize,
}

/// A raw section that contributes to a final one, and whether by inheritance.
type Part = (Id, bool);

pub(super) fn resolve(raw: &Raw, diagnostics: &mut Vec<Diagnostic>) -> Section {
    let written: usize = raw.sections.iter().map(|section| section.values.len() + 1).sum();
    let mut resolver = Resolver {
        raw,
        diagnostics,
        found: BTreeMap::new(),
        looking: BTreeSet::new(),
        referenced: BTreeSet::new(),
        complained: BTreeSet::new(),
        inherited: 0,
        inherited_limit: MAX_INHERITED.saturating_add(written.saturating_mul(100)),
        visits: 0,
    };
    // What is referenced must be known before the sections are built.
    for section in &raw.sections {
        for (path, span) in &section.refs {
            for id in resolver.look_up(path, span, 0) {
                resolver.referenced.insert(id);
            }
        }
    }
    let mut root = resolver.build(&[(0, false)], &mut Vec::new(), 0);
    root.span = None;
    root
}

impl<'a> Resolver<'a> {
    fn exhausted(&self) -> bool {
        self.inherited > self.inherited_limit || self.visits > MAX_VISITS
    }

    fn complain_too_large(&mut self, span: Option<&Span>) {
        if self.complained.insert("") {
            self.diagnostics
                .push(Diagnostic::error(span, "the references expand to too many sections and keys"));
        }
    }

    fn complain_cycle(&mut self, path: &'a str, span: &Span) {
        if self.complained.insert(path) {
            let message = format!("the reference to `{path}` leads back to the section it stands in");
            self.diagnostics.push(Diagnostic::error(Some(span), message));
        }
    }

    /// The raw sections that a dotted path names, not yet expanded.
    fn look_up(&mut self, path: &'a str, span: &Span, depth: usize) -> Vec<Id> {
        if let Some(known) = self.found.get(path) {
            return known.clone();
        }
        if depth > MAX_CHAIN {
            self.complain_too_large(Some(span));
            return Vec::new();
        }
        if !self.looking.insert(path) {
            self.complain_cycle(path, span);
            return Vec::new();
        }
        let mut ids = vec![0];
        for name in path.split('.') {
            // The path itself may run through inherited sections.
            let parts: Vec<Part> = ids.iter().map(|id| (*id, false)).collect();
            let expanded = self.expand(&parts, &[], depth + 1);
            let next: Vec<Id> = expanded
                .iter()
                .filter_map(|(id, _)| self.raw.sections.get(*id).and_then(|section| section.section(name)))
                .collect();
            if next.is_empty() && self.complained.insert(path) {
                let names: Vec<&str> = expanded
                    .iter()
                    .filter_map(|(id, _)| self.raw.sections.get(*id))
                    .flat_map(|section| section.sections.iter().map(|(name, _)| name.as_str()))
                    .collect();
                let help = nearest(name, names).map(|near| {
                    let meant: Vec<&str> =
                        path.split('.').map(|part| if part == name { near } else { part }).collect();
                    format!("did you mean `{}`?", meant.join("."))
                });
                let message = format!("the section `{path}` to inherit from is not defined");
                self.diagnostics.push(Diagnostic::error(Some(span), message).with_help_opt(help));
            }
            ids = next;
        }
        self.looking.remove(path);
        self.found.insert(path, ids.clone());
        ids
    }

    /// The given sections, each followed by what it refers to, left to right, nothing twice.
    fn expand(&mut self, parts: &[Part], ancestors: &[Id], depth: usize) -> Vec<Part> {
        let mut out = Vec::with_capacity(parts.len());
        let mut seen = BTreeSet::new();
        for (id, inherited) in parts {
            self.expand_one(*id, *inherited, ancestors, &mut Vec::new(), &mut seen, &mut out, depth);
        }
        out
    }

    #[expect(clippy::too_many_arguments, reason = "one recursive walk with its bookkeeping")]
    fn expand_one(
        &mut self,
        id: Id,
        inherited: bool,
        ancestors: &[Id],
        chain: &mut Vec<Id>,
        seen: &mut BTreeSet<Id>,
        out: &mut Vec<Part>,
        depth: usize,
    ) {
        self.visits += 1;
        if self.exhausted() || !seen.insert(id) {
            return;
        }
        out.push((id, inherited));
        let raw = self.raw;
        let Some(section) = raw.sections.get(id) else { return };
        chain.push(id);
        for (path, span) in &section.refs {
            if chain.len() > MAX_CHAIN {
                self.complain_too_large(Some(span));
                break;
            }
            for target in self.look_up(path, span, depth + 1) {
                if chain.contains(&target) || ancestors.contains(&target) {
                    self.complain_cycle(path, span);
                } else {
                    self.expand_one(target, true, ancestors, chain, seen, out, depth + 1);
                }
            }
        }
        chain.pop();
    }

    fn build(&mut self, parts: &[Part], ancestors: &mut Vec<Id>, depth: usize) -> Section {
        let raw = self.raw;
        let parts = self.expand(parts, ancestors, 0);
        let mut out = Section {
            entries: Vec::new(),
            span: parts.first().and_then(|(id, _)| raw.sections.get(*id)).and_then(|s| s.span.clone()),
            referenced: parts.iter().any(|(id, inherited)| !inherited && self.referenced.contains(id)),
        };
        if depth > MAX_DEPTH || self.exhausted() {
            self.complain_too_large(out.span.clone().as_ref());
            return out;
        }
        let mut taken: BTreeSet<&str> = BTreeSet::new();
        let mut order: Vec<(&str, Vec<Part>)> = Vec::new();
        let mut index: BTreeMap<&str, usize> = BTreeMap::new();
        for (id, inherited) in &parts {
            let Some(section) = raw.sections.get(*id) else { continue };
            for value in &section.values {
                if !taken.insert(&value.name) {
                    continue;
                }
                self.inherited += usize::from(*inherited);
                let Some((text, span)) = &value.value else { continue };
                out.entries.push(Entry {
                    name: value.name.clone(),
                    span: Some(value.span.clone()),
                    item: Item::Value(Value::spanned(text.clone(), span.clone())),
                });
            }
            for (name, sub) in &section.sections {
                self.inherited += usize::from(*inherited);
                let slot = *index.entry(name).or_insert(order.len());
                match order.get_mut(slot) {
                    Some((_, parts)) => parts.push((*sub, *inherited)),
                    None => order.push((name, vec![(*sub, *inherited)])),
                }
            }
        }
        let above = ancestors.len();
        ancestors.extend(parts.iter().map(|(id, _)| *id));
        for (name, parts) in order {
            let section = self.build(&parts, ancestors, depth + 1);
            out.entries.push(Entry {
                name: name.to_owned(),
                span: section.span.clone(),
                item: Item::Section(section),
            });
        }
        ancestors.truncate(above);
        out
    }
}
