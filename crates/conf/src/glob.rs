//! Shell patterns for `include`: `*`, `?` and `[…]`, component by component.

use std::path::{Component, Path, PathBuf};

/// Most files one pattern may give.
const MAX_MATCHES: usize = 100_000;

/// Does the pattern contain a wildcard?
pub fn has_wildcard(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

/// Does a file name match one component of a pattern? A leading dot must be matched by a dot, as in the shell.
pub fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where to go on when a `*` has to take one character more.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let step = match (pattern.get(p), name.get(n)) {
            (None, None) => return true,
            (Some('*'), _) => {
                star = Some((p + 1, n));
                p += 1;
                continue;
            }
            (Some('?'), Some(_)) => Some(p + 1),
            (Some('['), Some(c)) => match class(&pattern, p, *c) {
                Some((true, next)) => Some(next),
                Some((false, _)) => None,
                // Not closed: an ordinary character.
                None => (*c == '[').then_some(p + 1),
            },
            (Some('\\'), Some(c)) if pattern.get(p + 1) == Some(c) => Some(p + 2),
            (Some(x), Some(c)) if x == c => Some(p + 1),
            _ => None,
        };
        match (step, &mut star) {
            (Some(next), _) => {
                p = next;
                n += 1;
            }
            (None, Some((after, taken))) if *taken < name.len() => {
                *taken += 1;
                n = *taken;
                p = *after;
            }
            _ => return false,
        }
    }
}

/// The class that opens at `at`: does `c` belong to it, and where does the pattern go on? `None` if it is not closed.
fn class(pattern: &[char], at: usize, c: char) -> Option<(bool, usize)> {
    let mut i = at + 1;
    let negated = matches!(pattern.get(i), Some('!' | '^'));
    i += usize::from(negated);
    let first = i;
    let mut inside = false;
    loop {
        let low = *pattern.get(i)?;
        if low == ']' && i > first {
            return Some((inside != negated, i + 1));
        }
        match (pattern.get(i + 1), pattern.get(i + 2)) {
            (Some('-'), Some(high)) if *high != ']' => {
                inside |= (low..=*high).contains(&c);
                i += 3;
            }
            _ => {
                inside |= low == c;
                i += 1;
            }
        }
    }
}

/// The files that match a pattern, sorted. Folders that cannot be read match nothing.
pub fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let Component::Normal(part) = component else {
            found.iter_mut().for_each(|path| path.push(component));
            continue;
        };
        let Some(part) = part.to_str().filter(|part| has_wildcard(part)) else {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        };
        let mut next = Vec::new();
        for folder in &found {
            let place = if folder.as_os_str().is_empty() { Path::new(".") } else { folder.as_path() };
            let Ok(entries) = std::fs::read_dir(place) else { continue };
            let names = entries.flatten().map(|entry| entry.file_name());
            next.extend(
                names
                    .filter(|name| name.to_str().is_some_and(|name| matches(part, name)))
                    .take(MAX_MATCHES)
                    .map(|name| folder.join(name)),
            );
        }
        next.sort();
        next.truncate(MAX_MATCHES);
        found = next;
    }
    found.retain(|path| path.exists());
    found
}

#[cfg(test)]
mod tests {
    use super::{has_wildcard, matches};

    #[test]
    fn components() {
        for (pattern, name, expected) in [
            ("*.conf", "a.conf", true),
            ("*.conf", ".hidden.conf", false),
            (".*.conf", ".hidden.conf", true),
            ("*.conf", "a.conf.bak", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]*", "bx", true),
            ("[!a-c]*", "bx", false),
            ("[]]x", "]x", true),
            ("[x", "[x", true),
            ("*a*b*c", "xxaxxbxxc", true),
            ("*a*b*c", "xxaxxbxx", false),
            ("", "", true),
            ("*", "", true),
            ("a\\*", "a*", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
        assert!(!matches(&"*a".repeat(500), &"a".repeat(400)));
        assert!(has_wildcard("conf.d/*.conf") && !has_wildcard("conf.d/x.conf"));
    }
}
