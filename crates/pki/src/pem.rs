//! PEM blocks in text as people keep it: several to a file, with comments between, any line width.

use pem_rfc7468 as pem;
use zeroize::Zeroizing;

/// One block of a PEM file.
pub(crate) struct Block<'a> {
    pub label: &'a str,
    /// Has RFC 1421 headers: the legacy encryption of OpenSSL.
    pub has_headers: bool,
    /// `None` when the base64 is damaged.
    pub der: Option<Zeroizing<Vec<u8>>>,
}

/// Most blocks looked at in one file.
const MAX_BLOCKS: usize = 1024;

/// Whether the bytes look like PEM rather than DER.
pub(crate) fn is_pem(data: &[u8]) -> bool {
    data.windows(11).any(|window| window == b"-----BEGIN ")
}

/// The blocks of `text` in their order. A block without its end line is left out.
pub(crate) fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut out = Vec::new();
    let mut rest = text;
    while out.len() < MAX_BLOCKS
        && let Some((_, after)) = rest.split_once("-----BEGIN ")
        && let Some((label, body)) = after.split_once("-----")
    {
        rest = body;
        let end = format!("-----END {label}-----");
        if let Some((content, after)) = body.split_once(&*end) {
            // An end line further on must not swallow another block.
            if !content.contains("-----BEGIN ") {
                rest = after;
                out.push(Block { label, has_headers: content.contains(':'), der: decode(label, content) });
            }
        }
    }
    out
}

/// The strict decoder wants lines of 64; files have what their makers liked.
fn decode(label: &str, content: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut text = Zeroizing::new(String::with_capacity(content.len().saturating_mul(2).saturating_add(128)));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    let mut column = 0;
    for c in content.chars().filter(|c| !c.is_ascii_whitespace()) {
        if column == 64 {
            text.push('\n');
            column = 0;
        }
        text.push(c);
        column += 1;
    }
    text.push_str("\n-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    pem::decode_vec(text.as_bytes()).ok().map(|(_, der)| Zeroizing::new(der))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_blocks_between_text_at_any_width() {
        let text = "a comment\n-----BEGIN A-----\nAAEC\nAwQF\n-----END A-----\nmore\r\n-----BEGIN B C-----\r\n\
                    AAECAwQFAAECAwQFAAECAwQFAAECAwQFAAECAwQFAAECAwQFAAECAwQFAAECAwQFAAECAwQF\r\n-----END B C-----\r\n";
        let found = blocks(text);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].label, "A");
        assert_eq!(found[0].der.as_ref().unwrap()[..], [0, 1, 2, 3, 4, 5]);
        assert_eq!(found[1].label, "B C");
        assert_eq!(found[1].der.as_ref().unwrap().len(), 54);
        assert!(is_pem(text.as_bytes()));
    }

    #[test]
    fn damage_is_contained() {
        assert!(blocks("-----BEGIN A-----\nAAEC").is_empty());
        assert!(blocks("-----BEGIN A").is_empty());
        assert!(blocks("").is_empty());
        assert!(blocks("-----BEGIN A-----\n!!!!\n-----END A-----")[0].der.is_none());
        let nested = blocks("-----BEGIN A-----\n-----BEGIN A-----\nAAEC\n-----END A-----");
        assert_eq!(nested.len(), 1);
        assert_eq!(nested[0].der.as_ref().unwrap()[..], [0, 1, 2]);
        assert!(blocks("-----BEGIN A-----\nDEK-Info: x\n\nAAEC\n-----END A-----")[0].has_headers);
    }
}
