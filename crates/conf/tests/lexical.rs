//! The grammar that both files share, rule by rule.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use adit_conf::tree::{self, Loader, Tree};

fn tree(text: &str) -> Tree {
    tree::parse("t.conf", text).unwrap_or_else(|errors| panic!("{}", errors[0].render()))
}

fn errors(text: &str) -> Vec<String> {
    match tree::parse("t.conf", text) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(|error| error.at()).collect(),
    }
}

/// Files in memory.
struct Files(BTreeMap<PathBuf, String>);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect())
    }
}

impl Loader for Files {
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path).map(|text| text.clone().into_bytes()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn glob(&mut self, pattern: &Path) -> Vec<PathBuf> {
        let folder = pattern.parent();
        let name = pattern.file_name().unwrap().to_str().unwrap();
        let found = self.0.keys().filter(|path| {
            path.parent() == folder
                && adit_conf::glob::matches(name, path.file_name().unwrap().to_str().unwrap())
        });
        found.cloned().collect()
    }
}

#[test]
fn values() {
    for (line, expected) in [
        ("k = v", Some("v")),
        ("k=v", Some("v")),
        ("k =   two \t words  ", Some("two words")),
        ("k = \"two   words\"", Some("two   words")),
        ("k = bare \"quoted  part\" bare", Some("bare quoted  part bare")),
        ("k = v # comment", Some("v")),
        ("k = v#comment", Some("v")),
        ("k = a;b", Some("a;b")),
        ("k = { , . = :", Some("{ , . = :")),
        ("k = a = b", Some("a = b")),
        (r#"k = "a\nb\tc\rd\"e\\f\q""#, Some("a\nb\tc\rd\"e\\fq")),
        ("k = \"one\\\ntwo\"", Some("onetwo")),
        ("k = \"one\ntwo\"", Some("one\ntwo")),
        ("k = \"# no comment }\"", Some("# no comment }")),
        ("k = \"\"", Some("")),
        ("k = v\nk = w", Some("w")),
        ("k = v\nk =", None),
        ("k =", None),
        ("k = # only a comment", None),
        ("k = v\r\n", Some("v")),
        ("\u{feff}k = v", Some("v")),
        ("k = größe", Some("größe")),
        ("k = back\\slash", Some("back\\slash")),
    ] {
        assert_eq!(
            tree(&format!("s {{\n{}\n}}", line.trim_start_matches('\u{feff}'))).root.get("s.k"),
            expected,
            "{line:?}"
        );
        assert_eq!(tree(line).root.get("k"), expected, "{line:?}");
    }
}

#[test]
fn sections() {
    let t = tree("a { b = c } a { d = e\n f { g = h } } x\n# between\n{ y=z } e {}");
    assert_eq!(t.root.get("a.b"), Some("c"));
    assert_eq!(t.root.get("a.d"), Some("e"));
    assert_eq!(t.root.get("a.f.g"), Some("h"));
    assert_eq!(t.root.get("x.y"), Some("z"));
    assert!(t.root.section("e").is_some_and(|section| section.is_empty()));
    assert_eq!(t.root.sections().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "x", "e"]);
    // A key and a section of one name live side by side; so does everything printable in a name.
    let t = tree("a = 1\na { b-c_d/e@f!* = 2 }");
    assert_eq!(t.root.get("a"), Some("1"));
    assert_eq!(t.root.get("a.b-c_d/e@f!*"), Some("2"));
}

#[test]
fn references() {
    let t = tree(
        "base { k = base\n only = base\n gone = base\n sub { x = base\n y = base } }
         more { k = more\n extra = more\n sub { z = more } }
         late : deep.er { }
         a : base, more { k = own\n gone =\n sub { x = own } own { q = 1 } }
         b : a { }
         deep { er { far = away } }",
    );
    for (path, expected) in [
        ("a.k", Some("own")),
        ("a.only", Some("base")),
        ("a.extra", Some("more")),
        ("a.gone", None),
        ("a.sub.x", Some("own")),
        ("a.sub.y", Some("base")),
        ("a.sub.z", Some("more")),
        ("b.k", Some("own")),
        ("b.extra", Some("more")),
        ("b.gone", None),
        ("b.own.q", Some("1")),
        ("late.far", Some("away")),
    ] {
        assert_eq!(t.root.get(path), expected, "{path}");
    }
    assert!(t.root.section("base").unwrap().is_referenced());
    assert!(!t.root.section("b").unwrap().is_referenced());
    // A path may run through what its sections inherit.
    let t = tree("base { sub { k = v } } a : base { } c : a.sub { }");
    assert_eq!(t.root.get("c.k"), Some("v"));
    // References of both halves of a section given twice.
    let t = tree("x { a = 1 } y { b = 2 } s : x { } s : y { }");
    assert_eq!((t.root.get("s.a"), t.root.get("s.b")), (Some("1"), Some("2")));
}

#[test]
fn reference_errors() {
    assert_eq!(
        errors("base { }\na : bsae { }"),
        ["t.conf:2:5: error: the section `bsae` to inherit from is not defined; did you mean `base`?"]
    );
    assert_eq!(
        errors("a : b { }\nb : a { }").first().map(String::as_str),
        Some("t.conf:2:5: error: the reference to `a` leads back to the section it stands in")
    );
    for text in ["a : a { }", "a { x : a { } }", "a : a.b { b { } }", "a : b.c { } b { c : a { } }"] {
        assert!(errors(text).iter().any(|error| error.contains("leads back")), "{text}");
    }
    assert_eq!(
        errors("a : { }"),
        ["t.conf:1:5: error: expected the name of a section to inherit from, as in `a : b, c.d { … }`"]
    );
    assert_eq!(
        errors("b { }\na : b\nc = d"),
        ["t.conf:2:1: error: the section `a` has references but no `{ … }` behind them"]
    );
}

#[test]
fn include_merge_and_clear() {
    let mut files = Files::new(&[
        (
            "/etc/x/main.conf",
            "s { k = 1\n gone = 1\n include conf.d/*.conf }\n include missing.conf\n include = key\n t { include \"sp ace.conf\" }",
        ),
        ("/etc/x/conf.d/a.conf", "k = 2\n sub { a = 1 }"),
        ("/etc/x/conf.d/b.conf", "gone =\n sub { b = 2 }\n include more/c.conf"),
        ("/etc/x/conf.d/more/c.conf", "c = 3"),
        ("/etc/x/conf.d/.hidden.conf", "k = 9"),
        ("/etc/x/sp ace.conf", "u = 1"),
    ]);
    let t = tree::load_with("/etc/x/main.conf", &mut files).unwrap();
    for (path, expected) in [
        ("s.k", Some("2")),
        ("s.gone", None),
        ("s.sub.a", Some("1")),
        ("s.sub.b", Some("2")),
        ("s.c", Some("3")),
        ("include", Some("key")),
        ("t.u", Some("1")),
    ] {
        assert_eq!(t.root.get(path), expected, "{path}");
    }
    assert_eq!(t.files.len(), 5);
    assert_eq!(t.diagnostics.len(), 1, "a file named without wildcard is missing: {:?}", t.diagnostics);

    let mut files = Files::new(&[("/a.conf", "include b*.conf"), ("/b1.conf", "\n include a.conf")]);
    let errors = tree::load_with("/a.conf", &mut files).unwrap_err();
    assert_eq!(errors[0].at(), "/b1.conf:2:10: error: /a.conf includes itself");

    let mut files = Files::new(&[("/a.conf", "s { include b.conf }"), ("/b.conf", "x { y = 1")]);
    let errors = tree::load_with("/a.conf", &mut files).unwrap_err();
    assert_eq!(errors[0].at(), "/b.conf:1:1: error: the section `x` opened here is never closed");
}

#[test]
fn includes_from_disk() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("conf.d")).unwrap();
    std::fs::write(folder.path().join("m.conf"), "include conf.d/*.conf\ninclude nothing/*").unwrap();
    std::fs::write(folder.path().join("conf.d/b.conf"), "k = b").unwrap();
    std::fs::write(folder.path().join("conf.d/a.conf"), "k = a\nl = a").unwrap();
    std::fs::write(folder.path().join("conf.d/a.txt"), "k = t").unwrap();
    let t = tree::load(folder.path().join("m.conf")).unwrap();
    assert_eq!((t.root.get("k"), t.root.get("l")), (Some("b"), Some("a")));

    std::fs::write(folder.path().join("conf.d/c.conf"), b"ok = 1\nk = \xff").unwrap();
    let errors = tree::load(folder.path().join("m.conf")).unwrap_err();
    assert!(errors[0].message.ends_with("c.conf is not UTF-8: line 2 (byte 11)"), "{}", errors[0]);
    let errors = tree::load(folder.path().join("absent.conf")).unwrap_err();
    assert!(errors[0].message.starts_with("cannot read "), "{}", errors[0]);
}

#[test]
fn syntax_errors_come_all_at_once() {
    let text = "a {\n  b\n  \"c\" = d\n  e = f\n}\n= g\nh.i = j\nk { l = m\n";
    assert_eq!(
        errors(text),
        [
            "t.conf:2:3: error: `b` is neither a setting (`b = …`) nor a section (`b { … }`)",
            "t.conf:3:3: error: expected the name of a key or section, found a quoted string",
            "t.conf:6:1: error: expected the name of a key or section, found `=`",
            "t.conf:7:1: error: a name cannot contain `.`; write it as nested sections: `h { … }`",
            "t.conf:8:1: error: the section `k` opened here is never closed",
        ]
    );
    assert_eq!(errors("a { }\n}"), ["t.conf:2:1: error: this `}` closes nothing: no section is open here"]);
    assert_eq!(
        errors("k = \"open\nl = m"),
        [
            "t.conf:1:5: error: the string that begins here, in the value of `k`, is never closed; add the closing `\"`; a `\"` inside a string is written `\\\"`"
        ]
    );
    // The braces of a mistaken line do not confuse what follows.
    assert_eq!(errors("\"a\" {\n b = c\n}\nd { e = f }").len(), 1);
    assert_eq!(errors("é\u{1}x = 1").len(), 1);
}

#[test]
fn limits() {
    let deep = "a {".repeat(100) + &"}".repeat(100);
    assert!(errors(&deep).iter().any(|error| error.ends_with("sections nest deeper than 64")));
    let many = "} ".repeat(1000);
    assert_eq!(errors(&many).len(), tree::MAX_ERRORS);
    let chain: String =
        (0..5000).map(|i| format!("s{i} : s{} {{ }}\n", i + 1)).collect::<String>() + "s5000 { k = v }";
    assert!(errors(&chain).iter().any(|error| error.contains("expand to too many")));
    // Each level doubles: 2^30 keys if nobody stopped it.
    let bomb: String = (0..30)
        .map(|i| format!("b{i} {{ l : b{} {{ }} r : b{} {{ }} }}\n", i + 1, i + 1))
        .collect::<String>()
        + "b30 { k = v }";
    assert!(errors(&bomb).iter().any(|error| error.contains("expand to too many")));
}
