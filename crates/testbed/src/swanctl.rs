//! Debian's `swanctl`, which drives either daemon.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::process::text;

/// What a call of it gave.
#[derive(Debug)]
pub struct Outcome {
    /// Exit code 0.
    pub success: bool,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Outcome {
    /// Both streams.
    pub fn all(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

/// The folders swanctl expects.
pub const FOLDERS: [&str; 13] = [
    "x509", "x509ca", "x509aa", "x509ac", "x509ocsp", "x509crl", "pubkey", "private", "rsa", "ecdsa",
    "pkcs8", "pkcs12", "bliss",
];

/// Its own strongswan.conf: without the plugins that complain (tpm).
pub const TOOL_CONF: &str = "swanctl { load = random nonce openssl pem pkcs1 pkcs8 x509 pubkey sha1 sha2 }\n";

/// The same for calls that read no keys: libcrypto is half of what such a call costs.
pub const LIGHT_CONF: &str = "swanctl { load = random nonce }\n";

/// Calls it with the configuration in `folder` and the daemon at `socket`.
pub fn call(folder: &Path, socket: &Path, args: &[&str]) -> Outcome {
    let reads_keys = args.iter().any(|arg| arg.starts_with("--load"));
    let conf = if reads_keys { "tool.conf" } else { "light.conf" };
    let output = Command::new("/usr/sbin/swanctl")
        .args(args)
        .arg("--uri")
        .arg(format!("unix://{}", socket.display()))
        .env("SWANCTL_DIR", folder)
        .env("STRONGSWAN_CONF", folder.join(conf))
        .stdin(Stdio::null())
        .output()
        .expect("starting swanctl");
    Outcome { success: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) }
}
