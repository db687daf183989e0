//! What `swanctl --pretty` prints (the same VICI messages that `--raw` prints on one line, but unambiguous: a
//! distinguished name contains spaces and equal signs), read into a small tree.

/// A section of a VICI message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// Its name; of a top-level tree: `list-sa event`, `get-pools reply`, …
    pub name: String,
    values: Vec<(String, String)>,
    lists: Vec<(String, Vec<String>)>,
    sections: Vec<Self>,
}

impl Tree {
    /// All messages of an output.
    pub fn parse(text: &str) -> Vec<Self> {
        let mut lines = text.lines();
        let mut root = Self::default();
        root.fill(&mut lines);
        root.sections
    }

    fn fill<'a>(&mut self, lines: &mut impl Iterator<Item = &'a str>) {
        while let Some(line) = lines.next() {
            let line = line.trim();
            if line == "}" {
                return;
            } else if let Some(name) = line.strip_suffix('{') {
                let mut section = Self { name: name.trim().into(), ..Self::default() };
                section.fill(lines);
                self.sections.push(section);
            } else if let Some(name) = line.strip_suffix("= [") {
                let items = lines.by_ref().map(str::trim).take_while(|item| *item != "]");
                self.lists.push((name.trim().into(), items.map(Into::into).collect()));
            } else if let Some((name, value)) = line.split_once(" = ") {
                self.values.push((name.into(), value.into()));
            }
        }
    }

    /// A value; empty if absent.
    pub fn get(&self, name: &str) -> &str {
        self.values.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    /// A value as a number; 0 if absent.
    pub fn number(&self, name: &str) -> u64 {
        self.get(name).parse().unwrap_or(0)
    }

    /// A list; empty if absent.
    pub fn list(&self, name: &str) -> &[String] {
        self.lists.iter().find(|(n, _)| n == name).map_or(&[], |(_, items)| items)
    }

    /// A section.
    pub fn section(&self, name: &str) -> Option<&Self> {
        self.sections.iter().find(|s| s.name == name)
    }

    /// All sections.
    pub fn sections(&self) -> &[Self] {
        &self.sections
    }

    /// The CHILD_SAs of an IKE_SA.
    pub fn children(&self) -> &[Self] {
        self.section("child-sas").map_or(&[], |c| &c.sections)
    }
}

#[cfg(test)]
mod tests {
    use super::Tree;

    #[test]
    fn reads_sections_values_and_lists() {
        let text = "list-sa event {\n  psk {\n    uniqueid = 1\n    remote-id = C=CH, O=x\n    local-vips = [\n      \
                    10.3.0.1\n    ]\n    child-sas {\n      net-1 {\n        state = INSTALLED\n      }\n    }\n  }\n}\n\
                    list-sas reply {\n}\n";
        let trees = Tree::parse(text);
        assert_eq!(trees.len(), 2);
        let sa = trees[0].section("psk").expect("psk");
        assert_eq!(sa.get("remote-id"), "C=CH, O=x");
        assert_eq!(sa.number("uniqueid"), 1);
        assert_eq!(sa.list("local-vips"), ["10.3.0.1"]);
        assert_eq!(sa.children()[0].get("state"), "INSTALLED");
        assert_eq!(trees[1].name, "list-sas reply");
    }
}
