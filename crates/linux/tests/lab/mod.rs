//! Namespaces for tests.

use std::sync::atomic::{AtomicU32, Ordering};

use adit_linux::netns::Namespace;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A namespace with a name nobody else uses; `None`, with the reason printed, where that is not permitted.
pub(crate) fn namespace(what: &str) -> Option<Namespace> {
    let name = format!("al{}-{}-{what}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    match Namespace::create(&name) {
        Ok(namespace) => Some(namespace),
        Err(error) => {
            println!("SKIPPED: {error}");
            None
        }
    }
}

/// What `ip` says inside a namespace.
pub(crate) fn ip(namespace: &Namespace, arguments: &str) -> String {
    let output = namespace.command("ip").unwrap().args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
