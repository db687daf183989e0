//! The key that was probably meant.

/// The candidate closest to `word` by edit distance, transpositions counting one, if it is close enough to be a
/// slip of the finger: at most a third of the longer word, and at least one edit is always granted from three letters on.
/// Ties go to the candidate named first.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut best: Option<(usize, &'a str)> = None;
    let word = normal(word);
    for candidate in candidates {
        let candidate_len = candidate.chars().count();
        let longer = word.len().max(candidate_len);
        let allowed = (longer / 3).max(1);
        // A name of 255 bytes cannot be a slip of one of 20, nor anything of what differs more in length than it may at
        // all; do not spend the quadratic time.
        if !(3..=64).contains(&longer) || word.len().abs_diff(candidate_len) > allowed {
            continue;
        }
        let d = distance(&word, &normal(candidate));
        if d <= allowed && best.is_none_or(|(least, _)| d < least) {
            best = Some((d, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// `-` and `_`, upper and lower case are told apart by the parser but not by fingers.
fn normal(word: &str) -> Vec<char> {
    word.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

/// Optimal string alignment distance: insert, delete, replace, swap two neighbours.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let at = |r: &[usize], k: usize| r.get(k).copied().unwrap_or(usize::MAX / 2);
            let mut least =
                (at(&last, j + 1) + 1).min(at(&row, j) + 1).min(at(&last, j) + usize::from(x != y));
            if i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x) {
                least = least.min(at(&before, j - 1) + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_slips() {
        let keys = ["remote_addrs", "local_addrs", "local_ts", "remote_ts", "dpd_delay", "version", "id"];
        assert_eq!(nearest("remote_addr", keys), Some("remote_addrs"));
        assert_eq!(nearest("dpddelay", keys), Some("dpd_delay"));
        assert_eq!(nearest("vresion", keys), Some("version"));
        assert_eq!(nearest("local-ts", keys), Some("local_ts"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest("", keys), None);
        assert_eq!(nearest(&"x".repeat(100_000), keys), None);
    }

    #[test]
    fn a_transposition_is_one_edit() {
        assert_eq!(nearest("sha265", ["sha1_160", "sha256"]), Some("sha256"));
    }
}
