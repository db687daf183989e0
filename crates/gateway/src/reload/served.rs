//! What the data plane that runs says about a configuration. With `adit.dataplane = auto` nobody else knows: whether there
//! is a kernel to do ESP turns out when the daemon starts.

use adit_conf::swanctl;
use adit_dataplane::InstallError;
use adit_ike::Connection;
use adit_ipsec::{EntryOptions, Pair};

use super::wanted::{Reading, Unresolved};
use crate::driver::Driver;

impl Driver {
    /// Leaves out the connections that the data plane cannot do, as those whose certificates cannot be read.
    pub(crate) fn leave_out_unserved(&self, reading: &mut Reading) {
        let unresolved = &mut reading.unresolved;
        reading.wanted.connections.retain(|(conf, conn)| {
            match unserved(|options| self.dataplane.serves(options), conf, conn) {
                None => true,
                Some(problem) => {
                    unresolved.push(problem);
                    false
                }
            }
        });
    }

    /// The same for a connection that a client loads.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn is_served(&self, conf: &swanctl::Connection, conn: &Connection) -> Result<(), String> {
        unserved(|options| self.dataplane.serves(options), conf, conn)
            .map_or(Ok(()), |problem| Err(problem.text))
    }
}

/// The first child of a connection that is not served.
fn unserved(
    serves: impl Fn(&EntryOptions) -> Result<(), InstallError>,
    conf: &swanctl::Connection,
    conn: &Connection,
) -> Option<Unresolved> {
    // What is to be unique is asked as some number.
    let some = Pair::both(1);
    let children = conn.children.iter().map(|it| (&it.name, it.options.numbered(it.numbering, some, some)));
    let shunts = conn.shunts.iter().map(|it| (&it.name, (*it.options).clone()));
    children.chain(shunts).find_map(|(name, options)| {
        let error = serves(&options).err()?;
        let origin = conf.children.iter().find(|child| *child.name == **name).map(|child| &child.origin);
        let place = origin.filter(|it| !it.file.is_empty()).map_or_else(String::new, |it| format!("{it}: "));
        let text = format!("connection '{}', child '{name}': {error}", conn.name);
        Some(Unresolved { place, text })
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use adit_conf::{swanctl::from_tree, tree};

    use super::*;
    use crate::map;

    /// What a data plane that serves none of it says about a connection with these keys, and its child with those.
    fn verdict(conn: &str, child: &str) -> Option<String> {
        let text = format!(
            "connections {{ a {{\n local {{ auth = psk }}\n remote {{ auth = psk }}\n {conn}\n children {{\n net {{ {child} }}\n}} }} }}"
        );
        let tree = tree::parse("swanctl.conf", &text).unwrap();
        let (conf, diagnostics) = from_tree(&tree.root);
        assert!(!diagnostics.iter().any(adit_conf::Diagnostic::is_error), "{diagnostics:?}");
        let conf = &conf.connections[0];
        let conn = map::connection(conf, Path::new("/nowhere"), 32).unwrap();
        let serves = |options: &EntryOptions| match options.kernel_keys().next() {
            Some(key) => Err(InstallError::new(format!("no {key} here"))),
            None => Ok(()),
        };
        unserved(serves, conf, &conn).map(|it| it.to_string())
    }

    #[test]
    fn a_child_that_is_not_served_is_named_with_its_place() {
        assert_eq!(verdict("", "policies_fwd_out = yes"), None);
        let at = "swanctl.conf:6: connection 'a', child 'net': ";
        for (conn, child, key) in [
            ("", "mark_in = %unique/0xff", "mark_in"),
            ("", "if_id_out = 7", "if_id_out"),
            ("if_id_in = %unique-dir", "", "if_id_in"),
            ("if_id_out = 3", "", "if_id_out"),
            ("", "mode = drop\n interface = eth0", "interface"),
        ] {
            let expected = format!("{at}no {key} here");
            assert_eq!(verdict(conn, child), Some(expected), "{conn} {child}");
        }
    }
}
