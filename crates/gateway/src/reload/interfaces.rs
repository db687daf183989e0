//! XFRM interfaces of connections (`adit.xfrm_interfaces`): children that name none have the one that the data plane has
//! for their connection. From here on its number is as if it had been configured, so that everybody shows it.

use std::sync::Arc;

use adit_ike::{ChildConfig, Connection};
use adit_ipsec::{Choice, Mode};

use super::wanted::Reading;
use crate::driver::Driver;

impl Driver {
    /// Gives all children of a reading their connections' interfaces.
    pub(crate) fn give_interfaces(&mut self, reading: &mut Reading) {
        for (_, conn) in &mut reading.wanted.connections {
            self.give_interface(conn);
        }
    }

    /// The same for one connection.
    pub(super) fn give_interface(&mut self, conn: &mut Arc<Connection>) {
        if conn.children.iter().any(|child| lacks_one(child)) {
            let number = self.dataplane.if_id(&conn.name);
            give(Arc::make_mut(conn), number);
        }
    }
}

/// Transport mode is for what is routed to the peer itself, where the sealed packets go, too: no route can lead it into an
/// interface.
fn lacks_one(child: &ChildConfig) -> bool {
    let (options, numbering) = (&child.options, child.numbering);
    let given = |id, choice| id != 0 || choice != Choice::Given;
    child.mode == Mode::Tunnel
        && options.policies
        && !given(options.if_id_in, numbering.if_id_in)
        && !given(options.if_id_out, numbering.if_id_out)
}

fn give(conn: &mut Connection, number: u32) {
    for child in conn.children.iter_mut().filter(|child| number != 0 && lacks_one(child)) {
        let options = &mut Arc::make_mut(child).options;
        let options = Arc::make_mut(options);
        (options.if_id_in, options.if_id_out) = (number, number);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use adit_conf::{swanctl::from_tree, tree};

    use super::*;
    use crate::map;

    /// The interfaces of a connection's children, whose own is number 9.
    fn given(conn: &str, children: &str) -> Vec<(u32, u32)> {
        let text = format!(
            "connections {{ a {{\n local {{ auth = psk }}\n remote {{ auth = psk }}\n {conn}\n children {{ {children} }}\n}} }}"
        );
        let tree = tree::parse("swanctl.conf", &text).unwrap();
        let (conf, diagnostics) = from_tree(&tree.root);
        assert!(!diagnostics.iter().any(adit_conf::Diagnostic::is_error), "{diagnostics:?}");
        let mut conn = map::connection(&conf.connections[0], Path::new("/nowhere"), 32).unwrap();
        give(&mut conn, 9);
        conn.children.iter().map(|child| (child.options.if_id_in, child.options.if_id_out)).collect()
    }

    #[test]
    fn who_names_an_interface_keeps_it_and_who_does_not_has_the_connections() {
        assert_eq!(given("", "x { }\n y { }"), [(9, 9), (9, 9)]);
        assert_eq!(given("", "x { if_id_out = 7\n }\n y { }"), [(0, 7), (9, 9)]);
        assert_eq!(given("if_id_in = 3\n if_id_out = 3", "x { }\n y { if_id_out = 4\n }"), [(3, 3), (3, 4)]);
        assert_eq!(given("if_id_in = %unique", "x { }"), [(0, 0)]);
        assert_eq!(given("", "x { if_id_in = %unique\n if_id_out = %unique\n }"), [(0, 0)]);
        assert_eq!(given("", "x { mode = transport\n }\n y { policies = no\n }"), [(0, 0), (0, 0)]);
    }
}
