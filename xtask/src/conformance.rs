//! The page that says which requirements of the RFCs are tested, which are excepted, and why.
//!
//! `tests/tests/conformance/requirements/rfcN.txt` lists the sentences of an RFC that demand something, each with an
//! id; one that no test can judge has a line `except: why` below it, one that is not kept yet a line `open: what is
//! missing`. A test says what it judges in a comment right
//! above its `#[test]`, wherever in the workspace it lives:
//!
//! ```text
//! //= rfc7296 2.1-1, 2.1-5
//! #[test]
//! fn a_response_is_sent_again_only_when_asked() {
//! ```
//!
//! `cargo xtask conformance` writes `docs/conformance.md`; the step of `cargo xtask test` fails where the page is not
//! what would be written, a citation names nothing, or a requirement has neither test nor exception.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::report::Outcome;

const REQUIREMENTS: &str = "tests/tests/conformance/requirements";
const PAGE: &str = "docs/conformance.md";
const CASES: &str = "tests/interop";
const CITATION: &str = "//= ";

/// One sentence that demands something.
struct Requirement {
    id: String,
    text: String,
    except: Option<String>,
    open: Option<String>,
}

/// One section of an RFC.
struct Section {
    title: String,
    requirements: Vec<Requirement>,
}

struct Rfc {
    /// `rfc7296`.
    name: String,
    title: String,
    sections: Vec<Section>,
}

/// What is cited where: (RFC, id) → tests.
type Citations = BTreeMap<(String, String), Vec<String>>;

/// Writes the page.
pub(crate) fn write() -> Outcome {
    let (page, problems) = page();
    print_all(&problems);
    let written = fs::write(PAGE, page);
    Outcome::check(written.is_ok() && problems.is_empty())
}

/// Judges the page and what it stands on.
pub(crate) fn check() -> Outcome {
    let (page, mut problems) = page();
    if fs::read_to_string(PAGE).ok().as_deref() != Some(&page) {
        problems.push(format!("{PAGE} is not up to date: cargo xtask conformance"));
    }
    print_all(&problems);
    Outcome::check(problems.is_empty())
}

fn print_all(problems: &[String]) {
    for problem in problems {
        eprintln!("{problem}");
    }
}

fn page() -> (String, Vec<String>) {
    let mut problems = Vec::new();
    let rfcs = rfcs(&mut problems);
    let mut citations = Citations::new();
    for file in rust_files() {
        cite(&file, &mut citations, &mut problems);
    }
    let page = render(&rfcs, &citations, &mut problems);
    let known = |rfc: &str, id: &str| {
        let all = rfcs.iter().filter(|it| it.name == rfc).flat_map(|it| &it.sections);
        all.flat_map(|section| &section.requirements).any(|it| it.id == id)
    };
    for ((rfc, id), tests) in citations.iter().filter(|((rfc, id), _)| !known(rfc, id)) {
        problems.push(format!("{}: there is no requirement {rfc} {id}", tests.join(", ")));
    }
    (page, problems)
}

fn rfcs(problems: &mut Vec<String>) -> Vec<Rfc> {
    let mut files: Vec<PathBuf> = entries(Path::new(REQUIREMENTS));
    files.sort();
    files.iter().filter_map(|path| Some(rfc(path, &fs::read_to_string(path).ok()?, problems))).collect()
}

fn rfc(path: &Path, text: &str, problems: &mut Vec<String>) -> Rfc {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut rfc = Rfc { name, title: String::new(), sections: Vec::new() };
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let last = rfc.sections.last_mut();
        if let Some(title) = line.strip_prefix("# ") {
            title.clone_into(&mut rfc.title);
        } else if let Some(title) = line.strip_prefix("## ") {
            rfc.sections.push(Section { title: title.into(), requirements: Vec::new() });
        } else if let Some(why) = line.trim_start().strip_prefix("except: ") {
            match last.and_then(|section| section.requirements.last_mut()) {
                Some(requirement) => requirement.except = Some(why.into()),
                None => problems.push(format!("{}: an exception from nothing: {line}", rfc.name)),
            }
        } else if let Some(why) = line.trim_start().strip_prefix("open: ") {
            match last.and_then(|section| section.requirements.last_mut()) {
                Some(requirement) => requirement.open = Some(why.into()),
                None => problems.push(format!("{}: open, but what? {line}", rfc.name)),
            }
        } else if let (Some((id, text)), Some(section)) = (line.split_once(' '), last) {
            let (id, text) = (id.into(), text.into());
            section.requirements.push(Requirement { id, text, except: None, open: None });
        } else {
            problems.push(format!("{}: what is this? {line}", rfc.name));
        }
    }
    rfc
}

/// Every Rust file of the workspace's crates and tests, in a fixed order.
fn rust_files() -> Vec<PathBuf> {
    let mut folders = vec![PathBuf::from("crates"), PathBuf::from("tests")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in entries(&folder) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Notes the citations of a file with the test that follows each.
fn cite(path: &Path, citations: &mut Citations, problems: &mut Vec<String>) {
    let Ok(text) = fs::read_to_string(path) else { return };
    let place = path.display();
    let mut open: Vec<(String, String)> = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if let Some(what) = line.strip_prefix(CITATION) {
            match what.split_once(' ') {
                Some((rfc, ids)) => {
                    open.extend(ids.split(',').map(|id| (rfc.to_owned(), id.trim().to_owned())));
                }
                None => problems.push(format!("{place}: a citation of nothing: {line}")),
            }
            is_test = false;
        } else if line == "#[test]" {
            is_test = true;
        } else if let Some(name) = declared(path, line).filter(|_| !open.is_empty()) {
            // a case of the interop tests becomes one for each pairing
            if !is_test && !path.starts_with(CASES) {
                problems.push(format!("{place}: {name} cites a requirement and is no test"));
            }
            for key in open.drain(..) {
                citations.entry(key).or_default().push(format!("{place}: {name}"));
            }
        }
    }
    if !open.is_empty() {
        problems.push(format!("{place}: a citation without a test"));
    }
}

/// The name of a function, or of a case of the interop tests (`name = what_it_does;`).
fn declared<'a>(path: &Path, line: &'a str) -> Option<&'a str> {
    if path.starts_with(CASES) && !line.starts_with("//") {
        return line.split_once(" = ").map(|(name, _)| name);
    }
    line.strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next())
}

fn render(rfcs: &[Rfc], citations: &Citations, problems: &mut Vec<String>) -> String {
    let mut table = String::new();
    let mut body = String::new();
    for rfc in rfcs {
        let number = rfc.name.trim_start_matches("rfc");
        let (mut tested, mut excepted, mut open) = (0, 0, 0);
        let _ = write!(body, "\n## RFC {number}: {}\n", rfc.title);
        for section in &rfc.sections {
            let _ = write!(body, "\n### {}\n\n| | requirement | judged by |\n|---|---|---|\n", section.title);
            for requirement in &section.requirements {
                let tests = citations.get(&(rfc.name.clone(), requirement.id.clone()));
                let verdict = match (tests, &requirement.except) {
                    (Some(tests), None) => {
                        tested += 1;
                        tests.iter().map(|test| format!("`{test}`")).collect::<Vec<_>>().join("<br>")
                    }
                    (None, Some(why)) => {
                        excepted += 1;
                        format!("excepted: {why}")
                    }
                    (Some(_), Some(_)) => {
                        problems.push(format!("{} {}: both tested and excepted", rfc.name, requirement.id));
                        String::new()
                    }
                    (None, None) if requirement.open.is_some() => {
                        open += 1;
                        format!("**open**: {}", requirement.open.as_deref().unwrap_or_default())
                    }
                    (None, None) => {
                        open += 1;
                        problems
                            .push(format!("{} {}: neither tested nor excepted", rfc.name, requirement.id));
                        "**open**".into()
                    }
                };
                let text = requirement.text.replace('|', "\\|");
                let _ = writeln!(body, "| {} | {text} | {verdict} |", requirement.id);
            }
        }
        let all = tested + excepted + open;
        let _ = writeln!(table, "| RFC {number} | {} | {all} | {tested} | {excepted} | {open} |", rfc.title);
    }
    format!("{PREFACE}{table}{body}")
}

const PREFACE: &str = "\
# Conformance

Written by `cargo xtask conformance`; do not edit. Every sentence of the RFC that demands something (MUST, SHALL,
REQUIRED), with the tests that judge it or the reason why none does.

| | | requirements | tested | excepted | open |
|---|---|---|---|---|---|
";
