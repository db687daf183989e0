//! Credentials: what lies in the folders of `SWANCTL_DIR`, what swanctl.conf holds, and what VICI clients load.
//!
//! The two sources are kept apart, so that a reload of the files never takes away what a client loaded and the
//! reverse. A file that cannot be used is reported and skipped; the others are still loaded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use adit_conf::swanctl::{SecretEntry, SecretKind};
use adit_crypto::{PrivateKey, Secret, sha1};
use adit_ike::{Credentials, SharedSecret};
use adit_ipsec::Identity;
use adit_pki::{Certificate, load_private_key};

use crate::reload::{Change, CredentialPlan};

/// Largest certificate or key file that is read.
const MAX_FILE: u64 = 1 << 20;

/// What a shared secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SharedKind {
    /// IKE pre-shared key.
    Ike,
    /// EAP password.
    Eap,
}

#[derive(PartialEq, Eq)]
struct Shared {
    kind: SharedKind,
    owners: Vec<Identity>,
    secret: Secret,
}

/// A private key that is loaded.
struct Key {
    spki: Vec<u8>,
    key: Arc<PrivateKey>,
}

/// The credentials of one source.
#[derive(Default)]
pub(crate) struct CredentialSet {
    certs: Vec<Certificate>,
    authorities: Vec<Certificate>,
    /// By key id: SHA-1 of the public key, in hex, as swanctl lists it.
    keys: BTreeMap<String, Key>,
    shared: BTreeMap<String, Shared>,
}

impl CredentialSet {
    /// Reads the folders and the secrets of swanctl.conf.
    pub(crate) fn from_files(dir: &Path, secrets: &[SecretEntry]) -> (Self, Vec<String>) {
        let mut set = Self::default();
        let mut problems = Vec::new();
        for path in files(&dir.join("x509")) {
            match certificates(&path) {
                Ok(certs) => certs.into_iter().for_each(|c| set.add_certificate(c, false)),
                Err(problem) => problems.push(problem),
            }
        }
        for path in files(&dir.join("x509ca")) {
            match certificates(&path) {
                Ok(certs) => certs.into_iter().for_each(|c| set.add_certificate(c, true)),
                Err(problem) => problems.push(problem),
            }
        }
        for folder in ["private", "rsa", "ecdsa", "pkcs8"] {
            for path in files(&dir.join(folder)) {
                let result =
                    read(&path).and_then(|data| set.add_key(&data, passphrase(secrets, folder, &path)));
                if let Err(cause) = result {
                    problems.push(format!("loading '{}' failed: {cause}", path.display()));
                }
            }
        }
        for entry in secrets {
            if let Err(problem) = set.add_secret(entry) {
                problems.push(format!("{}: {problem}", entry.origin));
            }
        }
        (set, problems)
    }

    /// Adds a certificate, as a CA if told so or if it says so.
    pub(crate) fn add_certificate(&mut self, cert: Certificate, authority: bool) {
        let list = if authority { &mut self.authorities } else { &mut self.certs };
        if !list.iter().any(|c| c.der() == cert.der()) {
            list.push(cert);
        }
    }

    /// Adds a private key; answers its key id.
    pub(crate) fn add_key(&mut self, data: &[u8], passphrase: Option<&str>) -> Result<String, String> {
        let key = load_private_key(data, passphrase).map_err(|e| e.to_string())?;
        let spki = key.public_spki();
        let id = key_id(&spki);
        self.keys.insert(id.clone(), Key { spki, key: Arc::new(key) });
        Ok(id)
    }

    /// Adds a shared secret under a unique name; `false` if it is there as it is.
    pub(crate) fn add_shared(
        &mut self,
        name: String,
        kind: SharedKind,
        owners: Vec<Identity>,
        secret: Vec<u8>,
    ) -> bool {
        let shared = Shared { kind, owners, secret: Secret::from(secret) };
        if self.shared.get(&name) == Some(&shared) {
            return false;
        }
        self.shared.insert(name, shared);
        true
    }

    /// Is there a shared secret of that name?
    pub(crate) fn has_shared(&self, name: &str) -> bool {
        self.shared.contains_key(name)
    }

    /// Is there this certificate, as what it is to be loaded?
    pub(crate) fn has_certificate(&self, cert: &Certificate, authority: bool) -> bool {
        let list = if authority { &self.authorities } else { &self.certs };
        list.iter().any(|c| c.der() == cert.der())
    }

    /// Is there a private key of that id?
    pub(crate) fn has_key(&self, id: &str) -> bool {
        self.keys.contains_key(id)
    }

    /// Takes out what `other` brings.
    pub(crate) fn give_way_to(&mut self, other: &Self) {
        self.certs.retain(|cert| !other.has_certificate(cert, false));
        self.authorities.retain(|cert| !other.has_certificate(cert, true));
        self.keys.retain(|id, _| !other.has_key(id));
        self.shared.retain(|name, _| !other.has_shared(name));
    }

    /// Takes in everything of `other`; of two secrets of one name, the first stays.
    pub(crate) fn absorb(&mut self, mut other: Self) {
        other.give_way_to(self);
        self.certs.append(&mut other.certs);
        self.authorities.append(&mut other.authorities);
        self.keys.append(&mut other.keys);
        self.shared.append(&mut other.shared);
    }

    /// What becomes of this, which the files brought, and of `clients`, when the files bring `wanted`.
    pub(crate) fn plan(&self, clients: &Self, wanted: &Self) -> Vec<CredentialPlan> {
        let mut out = Vec::new();
        let mut tell = |kind, name: &str, change| {
            out.push(CredentialPlan { kind, name: name.to_owned(), change });
        };
        for (name, shared) in &wanted.shared {
            let change = match self.shared.get(name).or_else(|| clients.shared.get(name)) {
                None => Change::Added,
                Some(old) if old == shared => Change::Unchanged,
                Some(_) => Change::Changed(Vec::new()),
            };
            tell("secret", name, change);
        }
        let there = |before: bool| if before { Change::Unchanged } else { Change::Added };
        for id in wanted.keys.keys() {
            tell("key", id, there(self.has_key(id) || clients.has_key(id)));
        }
        for (cert, ca) in wanted.certificates() {
            let before = self.has_certificate(cert, ca) || clients.has_certificate(cert, ca);
            tell("certificate", &cert.subject().to_string(), there(before));
        }
        for name in self.shared.keys().filter(|name| !wanted.has_shared(name)) {
            tell("secret", name, Change::Removed);
        }
        for id in self.keys.keys().filter(|id| !wanted.has_key(id)) {
            tell("key", id, Change::Removed);
        }
        for (cert, _) in self.certificates().filter(|(cert, ca)| !wanted.has_certificate(cert, *ca)) {
            tell("certificate", &cert.subject().to_string(), Change::Removed);
        }
        out
    }

    fn add_secret(&mut self, entry: &SecretEntry) -> Result<(), String> {
        let kind = match &entry.kind {
            SecretKind::Ike => SharedKind::Ike,
            SecretKind::Eap => SharedKind::Eap,
            // the key was loaded from its folder, with this passphrase
            SecretKind::Private { .. } => return Ok(()),
            SecretKind::Ntlm => {
                return Err(format!(
                    "secrets.{}: NT hashes are not served yet; put the password into an eap section",
                    entry.name
                ));
            }
        };
        self.add_shared(entry.name.clone(), kind, entry.ids.clone(), entry.secret.to_vec());
        Ok(())
    }

    /// Takes a private key out again.
    pub(crate) fn remove_key(&mut self, id: &str) -> bool {
        self.keys.remove(id).is_some()
    }

    /// Takes a shared secret out again.
    pub(crate) fn remove_shared(&mut self, name: &str) -> bool {
        self.shared.remove(name).is_some()
    }

    /// Key ids of the private keys.
    pub(crate) fn key_ids(&self) -> impl Iterator<Item = &String> {
        self.keys.keys()
    }

    /// Names of the shared secrets.
    pub(crate) fn shared_names(&self) -> impl Iterator<Item = &String> {
        self.shared.keys()
    }

    /// Certificates with their CA mark.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = (&Certificate, bool)> {
        self.certs.iter().map(|c| (c, false)).chain(self.authorities.iter().map(|c| (c, true)))
    }

    /// Is there a private key for this certificate?
    pub(crate) fn has_key_for(&self, cert: &Certificate) -> bool {
        self.keys.values().any(|k| k.spki == cert.spki())
    }
}

/// All sources as the protocol wants them, the first first. `pinned` are certificates that connections name.
pub(crate) fn merge<'a>(
    sets: [&CredentialSet; 3],
    pinned: impl Iterator<Item = &'a Certificate>,
) -> Credentials {
    let mut all = Credentials::default();
    for set in sets {
        all.certs.extend(set.certs.iter().cloned());
        all.authorities.extend(set.authorities.iter().cloned());
        all.keys.extend(set.keys.values().map(|k| (k.spki.clone(), Arc::clone(&k.key))));
        for shared in set.shared.values() {
            let entry = SharedSecret { owners: shared.owners.clone(), secret: shared.secret.clone() };
            match shared.kind {
                SharedKind::Ike => all.shared.push(entry),
                SharedKind::Eap => all.eap.push(entry),
            }
        }
    }
    for cert in pinned {
        if !all.certs.iter().any(|c| c.der() == cert.der()) {
            all.certs.push(cert.clone());
        }
    }
    all
}

/// Certificates that a connection names: a file in `folder`, an absolute path, or the object itself.
pub(crate) fn referenced(dir: &Path, folder: &str, reference: &str) -> Result<Vec<Certificate>, String> {
    if let Some(object) = adit_conf::value::inline_object(reference) {
        let object = object.ok_or("certificate given in place is neither hex nor base64")?;
        return Certificate::from_pem_or_der(&object).map_err(|e| format!("certificate given in place: {e}"));
    }
    let path = Path::new(reference);
    let path = if path.is_absolute() { path.to_owned() } else { dir.join(folder).join(path) };
    certificates(&path)
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, String> {
    read(path)
        .and_then(|data| Certificate::from_pem_or_der(&data).map_err(|e| e.to_string()))
        .map_err(|cause| format!("loading '{}' failed: {cause}", path.display()))
}

/// SHA-1 of the subjectPublicKey bits, as strongSwan's key ids are made.
fn key_id(spki: &[u8]) -> String {
    sha1(&[public_bits(spki).unwrap_or(spki)]).iter().map(|b| format!("{b:02x}")).collect()
}

/// The content of the BIT STRING of a SubjectPublicKeyInfo (RFC 5280 §4.1): the last element of its sequence.
fn public_bits(spki: &[u8]) -> Option<&[u8]> {
    let (_, inside, _) = element(spki)?;
    let (_, _, rest) = element(inside)?;
    let (_, bits, _) = element(rest)?;
    // the first octet counts unused bits
    bits.get(1..)
}

/// Tag, content and what follows of one DER element.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [tag, first, rest @ ..] = der else { return None };
    let octets = usize::from(first.checked_sub(0x80).unwrap_or(0));
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let (length, rest) = rest.split_at_checked(octets)?;
        (length.iter().try_fold(0usize, |n, b| n.checked_mul(256)?.checked_add(usize::from(*b)))?, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

fn passphrase<'a>(secrets: &'a [SecretEntry], folder: &str, path: &Path) -> Option<&'a str> {
    secrets.iter().find_map(|entry| match &entry.kind {
        SecretKind::Private { file, folder: of } if *of == folder => {
            let same = Path::new(file) == path || path.file_name().is_some_and(|n| n == file.as_str());
            same.then(|| std::str::from_utf8(&entry.secret).ok()).flatten()
        }
        _ => None,
    })
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|p| p.is_file()).collect();
    files.sort();
    files
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let meta = std::fs::metadata(path).map_err(|e| e.to_string())?;
    if meta.len() > MAX_FILE {
        return Err(format!("{} bytes is too large for a certificate or key", meta.len()));
    }
    std::fs::read(path).map_err(|e| e.to_string())
}
