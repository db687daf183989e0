//! Clients others wrote, against our server with a small made-up daemon: Debian's swanctl (C) and the Python package
//! `vici`. Each is skipped, with the reason said, where it is not installed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use adit_vici::{EventSink, Handler, Message, Server};

struct Fake;

impl Handler for Fake {
    fn command(&self, name: &str, message: &Message, stream: &mut dyn EventSink) -> Option<Message> {
        Some(match name {
            "version" => Message::new()
                .kv("daemon", "aditd")
                .kv("version", "5.9.8")
                .kv("sysname", "Linux")
                .kv("release", "6.1")
                .kv("machine", "x86_64"),
            "stats" => Message::new()
                .section(
                    "uptime",
                    Message::new().kv("running", "2 hours").kv("since", "Nov 23 08:01:12 2026"),
                )
                .section(
                    "workers",
                    Message::new().kv("total", "16").kv("idle", "11").section(
                        "active",
                        Message::new().kv("critical", "4").kv("high", "0").kv("medium", "1").kv("low", "0"),
                    ),
                )
                .section(
                    "queues",
                    Message::new().kv("critical", "0").kv("high", "0").kv("medium", "0").kv("low", "0"),
                )
                .kv("scheduled", "3")
                .section("ikesas", Message::new().kv("total", "1").kv("half-open", "0"))
                .list("plugins", ["vici"]),
            "list-sas" => {
                let child =
                    Message::new().kv("name", "net").kv("uniqueid", "12").list("local-ts", ["10.1.0.0/16"]);
                let sa = Message::new()
                    .kv("uniqueid", "7")
                    .kv("version", "2")
                    .kv("state", "ESTABLISHED")
                    .section("child-sas", Message::new().section("net-12", child));
                for name in ["one", "two"] {
                    if stream.event("list-sa", &Message::new().section(name, sa.clone())).is_err() {
                        break;
                    }
                }
                Message::new()
            }
            "load-conn" => match message.sections().next() {
                Some((name, section)) if section.get_strings("local_addrs") == ["192.0.2.1", "::1"] => {
                    Message::success().kv("got", name)
                }
                _ => Message::failure("parsing request failed"),
            },
            "unload-conn" => Message::failure("unload: connection not found"),
            _ => return None,
        })
    }

    fn knows_event(&self, name: &str) -> bool {
        matches!(name, "list-sa" | "log")
    }
}

fn serve() -> (tempfile::TempDir, PathBuf, Server) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vici");
    let server = Server::bind(&path, Arc::new(Fake)).unwrap();
    (folder, path, server)
}

fn swanctl(folder: &Path, socket: &Path, args: &[&str]) -> Option<Output> {
    let program = ["/usr/sbin/swanctl", "/usr/bin/swanctl"].into_iter().find(|p| Path::new(p).exists())?;
    let conf = folder.join("tool.conf");
    std::fs::write(&conf, "swanctl { load = random nonce openssl pem pkcs1 pkcs8 x509 pubkey }\n").unwrap();
    let uri = format!("unix://{}", socket.display());
    let mut command = Command::new(program);
    command.args(args).args(["--uri", &uri]).env("SWANCTL_DIR", folder).env("STRONGSWAN_CONF", conf);
    Some(command.output().unwrap())
}

#[test]
fn debian_swanctl() {
    let (folder, path, _server) = serve();
    let run = |args: &[&str]| {
        swanctl(folder.path(), &path, args).map(|output| {
            assert!(output.status.success(), "{args:?}: {output:?}");
            String::from_utf8(output.stdout).unwrap()
        })
    };
    let Some(version) = run(&["--version", "--daemon"]) else {
        eprintln!("SKIPPED: swanctl is not installed (package strongswan-swanctl)");
        return;
    };
    assert_eq!(version.trim(), "strongSwan 5.9.8 aditd (Linux, 6.1, x86_64)");
    let stats = run(&["--stats"]).unwrap();
    assert!(stats.contains("uptime: 2 hours, since Nov 23 08:01:12 2026"), "{stats}");
    assert!(stats.contains("worker threads: 16 total, 11 idle, working: 4/0/1/0"), "{stats}");
    assert!(stats.contains("IKE_SAs: 1 total, 0 half-open"), "{stats}");
    let raw = run(&["--list-sas", "--raw"]).unwrap();
    let expected = "list-sa event {one {uniqueid=7 version=2 state=ESTABLISHED child-sas {net-12 {name=net uniqueid=12 \
                    local-ts=[10.1.0.0/16]}}}}";
    assert_eq!(raw.lines().next(), Some(expected));
}

#[test]
fn python_vici() {
    let (folder, path, _server) = serve();
    let installed = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../vici-venv/bin/python3");
    let python = if installed.exists() { installed } else { "python3".into() };
    let probe = Command::new(&python).args(["-c", "import vici"]).output();
    if !probe.is_ok_and(|p| p.status.success()) {
        eprintln!("SKIPPED: the Python package vici is not importable (pip install vici==6.0.3)");
        return;
    }
    let script = folder.path().join("judge.py");
    std::fs::write(
        &script,
        r#"
import socket, sys, vici
from collections import OrderedDict
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
s.connect(sys.argv[1])
v = vici.Session(s)
assert v.version()["daemon"] == b"aditd"
sas = list(v.list_sas())
assert [list(sa)[0] for sa in sas] == ["one", "two"], sas
assert sas[0]["one"]["child-sas"]["net-12"]["local-ts"] == [b"10.1.0.0/16"], sas
v.load_conn({"office": OrderedDict(local_addrs=["192.0.2.1", "::1"], version="2")})
try:
    v.unload_conn({"name": "x"})
    sys.exit("unload_conn should have failed")
except vici.exception.CommandException as e:
    assert "connection not found" in str(e), e
try:
    v.get_pools()
    sys.exit("get_pools should be unknown")
except vici.exception.SessionException as e:
    assert "response type 2" in str(e), e
print("agreed")
"#,
    )
    .unwrap();
    let output = Command::new(&python).arg(&script).arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, b"agreed\n");
}
