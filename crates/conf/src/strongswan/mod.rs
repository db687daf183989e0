//! strongswan.conf: the daemon's settings.

mod types;

pub use types::*;

use crate::diag::Diagnostic;
use crate::tree::Section;

/// Reads the daemon's settings. The configuration holds what could be read; it is to be applied only if no diagnostic
/// is an error.
pub fn from_tree(root: &Section) -> (StrongswanConf, Vec<Diagnostic>) {
    let _ = root;
    (StrongswanConf::default(), Vec::new())
}
