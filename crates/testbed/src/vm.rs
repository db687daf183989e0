//! The virtual machine of `cargo xtask kernel`: the one place where the kernel is known to do ESP.

use crate::process::{text, try_run};

/// Does this run in it? Then strongSwan leaves ESP to the kernel; elsewhere it does it itself.
pub fn inside() -> bool {
    std::env::var_os("ADIT_VM").is_some()
}

/// By how much a limit is longer there: emulation is slow, and the machine around it may be busy.
pub fn patience() -> u32 {
    if inside() { 5 } else { 1 }
}

/// What ours is told to let carry its packets: `$ADIT_DATAPLANE`, or itself, which works wherever tests run.
pub fn dataplane() -> String {
    std::env::var("ADIT_DATAPLANE").unwrap_or_else(|_| "userspace".into())
}

/// What the kernel holds of IPsec in a namespace, and what it dropped for its sake; to look at after a failure.
pub(crate) fn xfrm(namespace: &str) -> String {
    let script = "ip -s xfrm state; ip xfrm policy; awk '$2 > 0' /proc/net/xfrm_stat";
    text(&try_run("ip", &["netns", "exec", namespace, "sh", "-c", script]).stdout)
}
