//! What the data plane that is asked for cannot do, as far as the files say so.

use adit_ipsec::{Choice, Pair};

use crate::diag::{Diagnostic, Subject};
use crate::strongswan::DataplaneKind;
use crate::swanctl::SwanctlConf;
use crate::tree::Section;

/// Looks for what takes a kernel where `adit.dataplane` asks for none. With `auto` it turns out when the daemon starts.
pub fn check(conf: &SwanctlConf, root: &Section, kind: DataplaneKind) -> Vec<Diagnostic> {
    let mut out = Vec::new();
    if kind != DataplaneKind::Userspace {
        return out;
    }
    let connections = root.section("connections");
    for conn in &conf.connections {
        let section = connections.and_then(|all| all.section(&conn.name));
        let ids = conn.if_ids;
        for (key, id, choice) in [
            ("if_id_in", ids.given.inbound, ids.choice_in),
            ("if_id_out", ids.given.outbound, ids.choice_out),
        ] {
            if id != 0 || choice != Choice::Given {
                out.push(refusal(&format!("the connection `{}`", conn.name), section, key));
            }
        }
        for child in &conn.children {
            let section =
                section.and_then(|it| it.section("children")).and_then(|it| it.section(&child.name));
            let some = Pair::both(1);
            for key in child.options.numbered(child.numbering, some, some).kernel_keys() {
                out.push(refusal(&format!("the child `{}`", child.name), section, key));
            }
        }
    }
    out
}

fn refusal(whose: &str, section: Option<&Section>, key: &str) -> Diagnostic {
    let span = section.and_then(|it| it.value(key).and_then(|value| value.span()).or(it.span()));
    let message = format!("`{key}` of {whose} is not served by the userspace data plane");
    Diagnostic::error(span, message)
        .with_help("`adit.dataplane = kernel` in strongswan.conf leaves ESP to the kernel, which does")
        .about(Subject::BadValue(key.to_owned()))
}
