//! The table as text for `nft`: the whole of it, or what has changed since it was last written.

use std::fmt::Write as _;

use super::changes::{Changes, Element};
use super::rules;
use super::table::{NAME, Table};

/// The sets of leased addresses, of each family.
const POOLS: [&str; 2] = ["pool4", "pool6"];
/// The maps from the address at the peer's side to the child's chain: for what comes from there, and what goes there.
const MAPS: [[&str; 2]; 2] = [["from4", "to4"], ["from6", "to6"]];
const KINDS: [&str; 2] = ["ipv4_addr", "ipv6_addr"];
/// What the names of chains begin with.
const WAYS: [&str; 2] = ["in", "out"];

impl Table {
    /// The whole of it, in one transaction, in the place of whatever has its name.
    pub(crate) fn whole(&mut self) -> String {
        self.forget();
        let mut text = format!("add table inet {NAME}\ndelete table inet {NAME}\ntable inet {NAME} {{\n");
        let _ = writeln!(text, "\tcomment \"kept by aditd, which puts it back\"");
        let _ = writeln!(text, "\tcounter spoofed {{ }}");
        let changes: Changes = self.next();
        for counter in &changes.counters {
            let _ = writeln!(text, "\tcounter in-{counter} {{ }}\n\tcounter out-{counter} {{ }}");
        }
        for (family, kind) in KINDS.into_iter().enumerate() {
            let pool = self.pool_elements(family);
            let _ = writeln!(text, "\tset {} {{ type {kind}; flags interval;{pool} }}", POOLS[family]);
            for (map, way) in MAPS[family].into_iter().zip(WAYS) {
                let elements: Vec<String> =
                    changes.added[family].iter().map(|it| it.text(family, way)).collect();
                let elements = element_list(&elements);
                let _ = writeln!(text, "\tmap {map} {{ type {kind} : verdict; flags interval;{elements} }}");
            }
        }
        let own = self.style.frame();
        let passed = [("passed", self.passed_rules())];
        let named = |(name, lines): (&str, Vec<String>)| (name.to_owned(), lines);
        for (name, lines) in own.into_iter().chain(passed).map(named).chain(changes.chains) {
            let _ = writeln!(text, "\tchain {name} {{");
            for line in lines {
                let _ = writeln!(text, "\t\t{line}");
            }
            text.push_str("\t}\n");
        }
        text.push_str("}\n");
        text
    }

    /// What has changed since [`Self::whole`] or this was last called; `None` = nothing.
    pub(crate) fn changes(&mut self) -> Option<String> {
        let fixed = std::mem::take(&mut self.fixed_changed);
        let changes: Changes = self.next();
        let mut text = String::new();
        for counter in &changes.counters {
            let _ =
                writeln!(text, "add counter inet {NAME} in-{counter}\nadd counter inet {NAME} out-{counter}");
        }
        for (name, _) in &changes.chains {
            let _ = writeln!(text, "add chain inet {NAME} {name}");
        }
        for (name, lines) in &changes.chains {
            for line in lines {
                let _ = writeln!(text, "add rule inet {NAME} {name} {line}");
            }
        }
        elements(&mut text, "delete", &changes.removed);
        elements(&mut text, "add", &changes.added);
        for chain in &changes.gone {
            let _ = writeln!(text, "delete chain inet {NAME} {chain}");
        }
        for counter in &changes.spare {
            let _ = writeln!(
                text,
                "delete counter inet {NAME} in-{counter}\ndelete counter inet {NAME} out-{counter}"
            );
        }
        if fixed {
            for (family, set) in POOLS.into_iter().enumerate() {
                let _ = writeln!(text, "flush set inet {NAME} {set}");
                let list = self.pool_ranges(family);
                if !list.is_empty() {
                    let _ = writeln!(text, "add element inet {NAME} {set} {{ {} }}", list.join(", "));
                }
            }
            let _ = writeln!(text, "flush chain inet {NAME} passed");
            for line in self.passed_rules() {
                let _ = writeln!(text, "add rule inet {NAME} passed {line}");
            }
        }
        (!text.is_empty()).then_some(text)
    }

    fn pool_ranges(&self, family: usize) -> Vec<String> {
        let ours = self.pools.iter().filter(|(first, _)| first.is_ipv4() == (family == 0));
        ours.map(|(first, last)| format!("{first}-{last}")).collect()
    }

    fn pool_elements(&self, family: usize) -> String {
        element_list(&self.pool_ranges(family))
    }

    fn passed_rules(&self) -> Vec<String> {
        let mut rules: Vec<String> =
            self.passed.iter().flat_map(|(remote, local)| rules::passed(remote, local)).collect();
        rules.dedup();
        rules
    }
}

fn element_list(elements: &[String]) -> String {
    if elements.is_empty() { String::new() } else { format!(" elements = {{ {} }};", elements.join(", ")) }
}

/// The commands that bring elements in or take them out.
fn elements(text: &mut String, verb: &str, changes: &[Vec<Element>; 2]) {
    for (family, (maps, changed)) in MAPS.into_iter().zip(changes).enumerate() {
        if changed.is_empty() {
            continue;
        }
        for (map, way) in maps.into_iter().zip(WAYS) {
            let list: Vec<String> = changed.iter().map(|it| it.text(family, way)).collect();
            let _ = writeln!(text, "{verb} element inet {NAME} {map} {{ {} }}", list.join(", "));
        }
    }
}
