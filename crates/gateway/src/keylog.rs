//! Keys for an independent decoder: Wireshark's `ikev2_decryption_table` and `esp_sa`.
//!
//! Off unless `charon.plugins.save-keys` asks for it. What is written opens every captured packet: the files are
//! readable by their owner alone, and starting the export is logged.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes the two tables.
pub(crate) struct KeyLog {
    ike: Option<File>,
    esp: Option<File>,
}

/// Keys of an IKE_SA.
pub(crate) struct IkeKeys<'a> {
    /// SPIs of initiator and responder.
    pub spis: (u64, u64),
    /// IANA number and key bits of the encryption transform.
    pub encryption: (u16, u16),
    /// IANA number of the integrity transform, 0 with AEAD.
    pub integrity: u16,
    /// SK_ei and SK_er.
    pub encr: (&'a [u8], &'a [u8]),
    /// SK_ai and SK_ar.
    pub integ: (&'a [u8], &'a [u8]),
}

/// Keys of one direction of a CHILD_SA.
pub(crate) struct EspKeys<'a> {
    /// Outer source and destination.
    pub path: (IpAddr, IpAddr),
    /// SPI on the wire.
    pub spi: u32,
    /// IANA number of the encryption transform.
    pub encryption: u16,
    /// Encryption key, with salt.
    pub encr: &'a [u8],
    /// IANA number of the integrity transform, 0 with AEAD.
    pub integrity: u16,
    /// Integrity key.
    pub integ: &'a [u8],
}

impl KeyLog {
    /// Opens (and keeps adding to) the tables in `folder`.
    pub(crate) fn open(folder: &Path, ike: bool, esp: bool) -> io::Result<Self> {
        let open = |name: &str, wanted: bool| -> io::Result<Option<File>> {
            wanted
                .then(|| OpenOptions::new().create(true).append(true).mode(0o600).open(folder.join(name)))
                .transpose()
        };
        Ok(Self { ike: open("ikev2_decryption_table", ike)?, esp: open("esp_sa", esp)? })
    }

    /// Adds an IKE_SA.
    pub(crate) fn ike(&mut self, keys: &IkeKeys<'_>) -> io::Result<()> {
        let Some(file) = &mut self.ike else { return Ok(()) };
        let line = format!(
            "{:016x},{:016x},{},{},\"{}\",{},{},\"{}\"\n",
            keys.spis.0,
            keys.spis.1,
            hex(keys.encr.0),
            hex(keys.encr.1),
            ike_encryption(keys.encryption),
            hex(keys.integ.0),
            hex(keys.integ.1),
            ike_integrity(keys.integrity),
        );
        file.write_all(line.as_bytes())
    }

    /// Adds one direction of a CHILD_SA.
    pub(crate) fn esp(&mut self, keys: &EspKeys<'_>) -> io::Result<()> {
        let Some(file) = &mut self.esp else { return Ok(()) };
        let family = if keys.path.0.is_ipv4() { "IPv4" } else { "IPv6" };
        let prefixed =
            |bytes: &[u8]| if bytes.is_empty() { String::new() } else { format!("0x{}", hex(bytes)) };
        let line = format!(
            "\"{family}\",\"{}\",\"{}\",\"0x{:08x}\",\"{}\",\"{}\",\"{}\",\"{}\"\n",
            keys.path.0,
            keys.path.1,
            keys.spi,
            esp_encryption(keys.encryption),
            prefixed(keys.encr),
            esp_integrity(keys.integrity),
            prefixed(keys.integ),
        );
        file.write_all(line.as_bytes())
    }
}

/// Names as Wireshark's IKEv2 decryption table has them.
fn ike_encryption((id, bits): (u16, u16)) -> String {
    match id {
        12 => format!("AES-CBC-{bits} [RFC3602]"),
        20 => format!("AES-GCM-{bits} with 16 octet ICV [RFC5282]"),
        28 => "ChaCha20-Poly1305 with 16 octet ICV [RFC7634]".into(),
        other => format!("{other}"),
    }
}

fn ike_integrity(id: u16) -> &'static str {
    match id {
        12 => "HMAC_SHA2_256_128 [RFC4868]",
        13 => "HMAC_SHA2_384_192 [RFC4868]",
        14 => "HMAC_SHA2_512_256 [RFC4868]",
        _ => "NONE [RFC4306]",
    }
}

/// Names as Wireshark's ESP table has them.
fn esp_encryption(id: u16) -> &'static str {
    match id {
        12 => "AES-CBC [RFC3602]",
        20 => "AES-GCM with 16 octet ICV [RFC4106]",
        28 => "ChaCha20 with Poly1305 [RFC7634]",
        _ => "NULL",
    }
}

fn esp_integrity(id: u16) -> &'static str {
    match id {
        12 => "HMAC-SHA-256-128 [RFC4868]",
        13 => "HMAC-SHA-384-192 [RFC4868]",
        14 => "HMAC-SHA-512-256 [RFC4868]",
        _ => "NULL",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_wiresharks_shape() {
        let dir = std::env::temp_dir().join(format!("adit-keys-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let mut log = KeyLog::open(&dir, true, true).unwrap();
        log.ike(&IkeKeys {
            spis: (1, 2),
            encryption: (20, 256),
            integrity: 0,
            encr: (&[0xaa], &[0xbb]),
            integ: (&[], &[]),
        })
        .unwrap();
        log.esp(&EspKeys {
            path: ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()),
            spi: 0xc000_0001,
            encryption: 20,
            encr: &[1, 2],
            integrity: 0,
            integ: &[],
        })
        .unwrap();
        let read = |name| std::fs::read_to_string(dir.join(name)).unwrap();
        assert_eq!(
            read("ikev2_decryption_table"),
            "0000000000000001,0000000000000002,aa,bb,\"AES-GCM-256 with 16 octet ICV [RFC5282]\",,,\"NONE [RFC4306]\"\n"
        );
        assert_eq!(
            read("esp_sa"),
            "\"IPv4\",\"192.0.2.1\",\"192.0.2.2\",\"0xc0000001\",\"AES-GCM with 16 octet ICV [RFC4106]\",\"0x0102\",\"NULL\",\"\"\n"
        );
        std::fs::remove_dir_all(dir).unwrap();
    }
}
