//! swanctl.conf: connections, children, pools, secrets, authorities.

mod types;

pub use types::*;

use crate::diag::Diagnostic;
use crate::tree::Section;

/// Reads a whole swanctl.conf. The configuration holds what could be read; it is to be applied only if no diagnostic
/// is an error.
pub fn from_tree(root: &Section) -> (SwanctlConf, Vec<Diagnostic>) {
    let _ = root;
    (SwanctlConf::default(), Vec::new())
}

/// Reads one connection, from a file or from a VICI `load-conn` message.
pub fn connection(name: &str, section: &Section) -> Result<Connection, Vec<Diagnostic>> {
    let _ = (name, section);
    Err(Vec::new())
}

/// Reads one pool, from a file or from a VICI `load-pool` message.
pub fn pool(name: &str, section: &Section) -> Result<Pool, Vec<Diagnostic>> {
    let _ = (name, section);
    Err(Vec::new())
}
