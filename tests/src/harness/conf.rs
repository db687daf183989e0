//! swanctl.conf and strongswan.conf: any text gives a configuration, or diagnostics that can be shown. No file is touched.

use adit_conf::{strongswan, swanctl, tree};

pub(super) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let tree = match tree::parse("fuzz.conf", text) {
        Ok(tree) => tree,
        Err(diagnostics) => {
            assert!(!diagnostics.is_empty());
            return show(&diagnostics);
        }
    };
    show(&tree.diagnostics);
    show(&swanctl::from_tree(&tree.root).1);
    show(&strongswan::from_tree(&tree.root).1);
}

fn show(diagnostics: &[adit_conf::Diagnostic]) {
    for diagnostic in diagnostics {
        drop(diagnostic.render());
        drop((diagnostic.at(), diagnostic.vici_message()));
    }
}
