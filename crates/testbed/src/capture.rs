//! What crossed the wire, and `tshark` as its judge.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::net::Namespace;
use crate::process::{Process, text};
use crate::wait::{eventually, wait_for};

/// A running capture.
pub struct Capture {
    process: Process,
    file: PathBuf,
}

impl Capture {
    /// Captures `device` in `namespace` to `file`; returns when the capture runs.
    pub fn start(namespace: &Namespace, device: &str, file: &Path) -> Self {
        let messages = file.with_extension("err");
        let mut command = namespace.command("tcpdump");
        command
            .args(["-Z", "root", "--immediate-mode", "-U", "-n", "-s", "0", "-i", device, "-w"])
            .arg(file)
            .stdout(std::process::Stdio::null())
            .stderr(File::create(&messages).expect("messages of tcpdump"));
        let process = Process::spawn("tcpdump", command);
        wait_for("tcpdump listening", Duration::from_secs(10), || {
            std::fs::read_to_string(&messages).ok()?.contains("listening on").then_some(())
        });
        Self { process, file: file.into() }
    }

    /// Waits until the file stops growing past `bytes`, ends the capture and gives the file.
    pub fn stop(mut self) -> PathBuf {
        let mut size = 0;
        eventually(Duration::from_secs(2), || {
            let before = std::mem::replace(&mut size, std::fs::metadata(&self.file).map_or(0, |m| m.len()));
            size > 24 && before == size
        });
        self.process.signal(Signal::SIGINT);
        self.process.wait(Duration::from_secs(5)).expect("tcpdump ends");
        self.file.clone()
    }
}

/// What tshark decodes of a capture: `fields` of the packets that match `filter`, a line per packet, separated by tabs
/// (several occurrences of a field by commas). `keys` is a folder with `ikev2_decryption_table` and `esp_sa`.
pub fn decode(capture: &Path, keys: Option<&Path>, filter: &str, fields: &[&str]) -> Vec<String> {
    let mut command = std::process::Command::new("tshark");
    command.arg("-n").arg("-r").arg(capture).args(["-Y", filter]);
    if let Some(keys) = keys {
        command.env("WIRESHARK_CONFIG_DIR", keys);
        command.args(["-o", "esp.enable_encryption_decode:TRUE"]);
    }
    if fields.is_empty() {
        command.arg("-V");
    } else {
        command.args(["-T", "fields"]);
        for field in fields {
            command.args(["-e", field]);
        }
    }
    let output = command.output().expect("starting tshark");
    assert!(output.status.success(), "tshark: {}", text(&output.stderr));
    text(&output.stdout).lines().map(Into::into).collect()
}
