//! Whatever the text, the answer is a tree or a list of complaints, and every complaint renders.

use adit_conf::{check, strongswan, swanctl, tree};
use proptest::prelude::*;

fn walk(text: &str) {
    match tree::parse("fuzz.conf", text) {
        Ok(tree) => {
            let (conf, mut diagnostics) = swanctl::from_tree(&tree.root);
            diagnostics.extend(strongswan::from_tree(&tree.root).1);
            diagnostics.extend(check::check(&conf, &tree.root));
            for diagnostic in diagnostics.iter().chain(&tree.diagnostics) {
                let _ = (diagnostic.render(), diagnostic.at(), diagnostic.vici_message());
            }
            for (name, section) in tree.root.sections() {
                let _ = swanctl::connection(name, section);
                let _ = swanctl::pool(name, section);
            }
        }
        Err(errors) => {
            assert!(errors.iter().any(|error| error.is_error()));
            errors.iter().for_each(|error| drop((error.render(), error.at())));
        }
    }
}

const WORDS: &[&str] = &[
    "{",
    "}",
    "{",
    "}",
    "=",
    ":",
    ",",
    ".",
    "#",
    "\"",
    "\\",
    "\n",
    " ",
    "\t",
    "\r\n",
    "include",
    "connections",
    "pools",
    "secrets",
    "authorities",
    "children",
    "local",
    "remote",
    "c",
    "ike-1",
    "private",
    "addrs",
    "10.0.0.0/24",
    "secret",
    "id",
    "auth",
    "psk",
    "eap-tls",
    "rsa-2048",
    "esp_proposals",
    "aes256gcm16-x25519",
    "remote_ts",
    "dynamic[tcp/80]",
    "rekey_time",
    "1h",
    "life_bytes",
    "99999999999999999999g",
    "0x",
    "0s",
    "é",
    "\u{0}",
    "charon",
    "plugins",
    "vici",
    "filelog",
    "default",
    "-1",
    "%any",
    "::/0",
    "fd00::-fd00::9",
    "adit",
    "mtu",
    "start_action",
    "trap|start",
    "*",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in any::<String>()) {
        walk(&text);
    }

    #[test]
    fn nearly_a_configuration(parts in prop::collection::vec(prop::sample::select(WORDS), 0..80), spaced in any::<bool>()) {
        walk(&parts.join(if spaced { " " } else { "" }));
    }
}
