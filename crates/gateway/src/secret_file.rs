//! Secrets that must outlive the daemon, or they are of no use: of quick crash detection (RFC 6290 §5.1) and of session
//! tickets (RFC 5723 §6.2).
//!
//! The file has one secret a line, 64 hex digits, newest first; the first four count. It is made with the first start.
//! Gateways that stand in for each other have the same file.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use adit_crypto::{Random, Secret, SystemRandom};

/// Octets of a secret.
const LENGTH: usize = 32;
/// Secrets that are read.
const GENERATIONS: usize = 4;

/// Reads the secrets of that key of strongswan.conf, or makes the first one.
///
/// # Errors
/// A sentence: the file cannot be read or made, others may read it, or what is in it is no secret.
pub(crate) fn secrets(key: &str, path: &Path) -> Result<Vec<Secret>, String> {
    let told = |error: io::Error| format!("adit.{key} {}: {error}", path.display());
    match OpenOptions::new().read(true).open(path) {
        Ok(file) => {
            let mut text = String::new();
            file.take(4096).read_to_string(&mut text).map_err(told)?;
            let secrets: Option<Vec<Secret>> =
                text.lines().filter(|line| !line.trim().is_empty()).take(GENERATIONS).map(parse).collect();
            secrets.filter(|secrets| !secrets.is_empty()).ok_or_else(|| {
                format!(
                    "adit.{key} {}: expected {} hex digits a line; remove it to have a new one made",
                    path.display(),
                    2 * LENGTH
                )
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path).map_err(told),
        Err(error) => Err(told(error)),
    }
}

fn parse(line: &str) -> Option<Secret> {
    let digits = line.trim();
    if digits.len() != 2 * LENGTH || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let octets = (0..LENGTH).map(|n| u8::from_str_radix(digits.get(2 * n..2 * n + 2)?, 16).ok());
    octets.collect::<Option<Vec<u8>>>().map(Secret::from)
}

fn make(path: &Path) -> io::Result<Vec<Secret>> {
    let mut octets = vec![0; LENGTH];
    SystemRandom.fill(&mut octets);
    let line: String = octets.iter().map(|octet| format!("{octet:02x}")).chain(["\n".to_owned()]).collect();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(line.as_bytes())?;
    file.sync_all()?;
    Ok(vec![Secret::from(octets)])
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    //= rfc6290 9.1-5
    #[test]
    fn made_once_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let first = secrets("key", &path).unwrap();
        assert_eq!((first.len(), first[0].len()), (1, LENGTH));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(secrets("key", &path).unwrap(), first);
        let old = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{}\n{old}", "ab".repeat(LENGTH))).unwrap();
        assert_eq!(secrets("key", &path).unwrap(), [Secret::from(vec![0xab; LENGTH]), first[0].clone()]);
    }

    #[test]
    fn what_is_no_secret_is_told_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        for text in ["", "secret", &"ab".repeat(31), &"zz".repeat(LENGTH)] {
            std::fs::write(&path, text).unwrap();
            assert!(secrets("key", &path).unwrap_err().contains("hex digits"), "{text}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        assert!(secrets("key", Path::new("/nonexistent/secret")).is_err());
    }
}
