//! Perfect forward secrecy that cannot work out. The first CHILD_SA takes its keys from the IKE_SA (RFC 7296 §1.2), so a
//! disagreement about key exchange groups shows at the first rekeying, an hour after everything seemed well. What the
//! files give away of it is said here.

use std::collections::BTreeSet;

use adit_ipsec::names::ke_name;
use adit_ipsec::{Proposal, TransformType};

use crate::diag::Diagnostic;
use crate::source::Span;
use crate::swanctl::{Child, Connection, SwanctlConf};
use crate::tree::Section;

/// Looks at every child, and at connections that are the two ends of one.
pub(crate) fn check(conf: &SwanctlConf, root: &Section, out: &mut Vec<Diagnostic>) {
    for (at, conn) in conf.connections.iter().enumerate() {
        for child in &conn.children {
            unusual_groups(conn, child, root, out);
        }
        for other in conf.connections.iter().skip(at + 1).filter(|other| are_ends(conn, other)) {
            ends(conn, other, root, out);
        }
    }
}

/// Groups that proposals allow; 0 = may be without.
fn groups<'a>(proposals: impl IntoIterator<Item = &'a Proposal>) -> BTreeSet<u16> {
    let mut ids = BTreeSet::new();
    for proposal in proposals {
        let before = ids.len();
        let of_this: Vec<u16> = proposal.of_kind(TransformType::KeyExchange).map(|it| it.id).collect();
        ids.extend(&of_this);
        if of_this.is_empty() && ids.len() == before {
            ids.insert(0);
        }
    }
    ids
}

fn list(ids: &BTreeSet<u16>) -> String {
    let name = |id: &u16| if *id == 0 { "none" } else { ke_name(*id) };
    ids.iter().map(name).collect::<Vec<_>>().join(", ")
}

fn place<'a>(root: &'a Section, conn: &str, child: &str) -> Option<&'a Span> {
    let section = root.section("connections")?.section(conn)?.section("children")?.section(child)?;
    section.value("esp_proposals").and_then(|value| value.span()).or(section.span())
}

/// A peer that has the IKE groups need not have those of the children.
fn unusual_groups(conn: &Connection, child: &Child, root: &Section, out: &mut Vec<Diagnostic>) {
    let (ike, esp) = (groups(&conn.proposals), groups(&child.esp_proposals));
    if esp.contains(&0) || ike.is_empty() || !esp.is_disjoint(&ike) {
        return;
    }
    let message = format!(
        "the child `{}` demands a key exchange by {} when it is rekeyed, the IKE proposals of `{}` name only {}: a peer \
         without the former connects, and fails at the first rekeying",
        child.name,
        list(&esp),
        conn.name,
        list(&ike)
    );
    out.push(
        Diagnostic::warning(place(root, &conn.name, &child.name), message)
            .with_help("use a group of `proposals` in `esp_proposals`, too"),
    );
}

/// Whether two connections are with each other: each one's address is the other's peer.
fn are_ends(a: &Connection, b: &Connection) -> bool {
    let meets = |own: &[String], peer: &[String]| {
        own.iter().any(|address| !address.starts_with('%') && peer.contains(address))
    };
    meets(&a.local_addrs, &b.remote_addrs) && meets(&b.local_addrs, &a.remote_addrs)
}

/// The two ends of a connection are in one file (a lab, a template for both sites).
fn ends(a: &Connection, b: &Connection, root: &Section, out: &mut Vec<Diagnostic>) {
    for ours in &a.children {
        for theirs in &b.children {
            if ours.local_ts != theirs.remote_ts || ours.remote_ts != theirs.local_ts {
                continue;
            }
            let (left, right) = (groups(&ours.esp_proposals), groups(&theirs.esp_proposals));
            if !left.is_disjoint(&right) {
                continue;
            }
            let message = format!(
                "`{}` and `{}` are the two ends of a child and share no key exchange group ({} and {}): it comes up, and \
                 no rekeying of it will succeed",
                ours.name,
                theirs.name,
                list(&left),
                list(&right)
            );
            out.push(Diagnostic::warning(place(root, &b.name, &theirs.name), message));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::diag::Severity;
    use crate::{swanctl, tree};

    fn warnings(text: &str) -> Vec<String> {
        let tree = tree::parse("swanctl.conf", text).expect("a tree");
        let (_, diagnostics) = swanctl::from_tree(&tree.root);
        assert!(!diagnostics.iter().any(|it| it.is_error()), "{diagnostics:?}");
        let found = diagnostics.into_iter().filter(|it| it.severity == Severity::Warning);
        found.map(|it| it.message).filter(|message| message.contains("rekey")).collect()
    }

    fn end(name: &str, own: &str, peer: &str, ike: &str, esp: &str, ts: [&str; 2]) -> String {
        format!(
            "{name} {{\n local_addrs = {own}\n remote_addrs = {peer}\n proposals = {ike}\n local {{\n auth = psk\n }}\n \
             remote {{\n auth = psk\n }}\n children {{\n net {{\n local_ts = {}\n remote_ts = {}\n esp_proposals = {esp}\n \
             }}\n }}\n}}\n",
            ts[0], ts[1]
        )
    }

    #[test]
    fn what_fails_an_hour_later_is_said_at_once() {
        let nets = ["10.1.0.0/16", "10.2.0.0/16"];
        let swapped = ["10.2.0.0/16", "10.1.0.0/16"];
        let ike = "aes256gcm16-prfsha384-ecp384";
        let file = |a: &str, b: &str| {
            let a = end("a", "192.0.2.1", "192.0.2.2", ike, a, nets);
            let b = end("b", "192.0.2.2", "192.0.2.1", ike, b, swapped);
            warnings(&format!("connections {{\n{a}{b}}}\n"))
        };
        assert!(file("aes256gcm16-ecp384", "aes256gcm16-ecp384").is_empty());
        assert!(file("aes256gcm16", "aes256gcm16").is_empty());
        let found = file("aes256gcm16-ecp384", "aes256gcm16");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("share no key exchange group (ECP_384 and none)"), "{found:?}");
        let found = file("aes256gcm16-x25519", "aes256gcm16-x25519");
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("demands a key exchange by CURVE_25519"), "{found:?}");
    }
}
