//! swanctl.conf and strongswan.conf, typed, with diagnostics.
//!
//! What flows in is the text of the two configuration files (which share one grammar), or the sections a VICI
//! client sends; what flows out is a typed configuration and every complaint about it at once, each with file, line,
//! column, a sentence, and where possible the key that was probably meant.
//!
//! The way through it: [`tree`] turns files into one resolved [`tree::Section`] (includes read, repeated sections
//! merged, cleared keys dropped, `a : b` references expanded); [`schema`] knows every key by name and whether it is
//! served; [`swanctl`] and [`strongswan`] read the tree into plain structs with defaults filled in; [`check`] looks
//! at the whole for things that parse well but cannot work. A [`Diagnostic`] carries its source along, so it renders
//! itself, and never shows the value of a secret.
//!
//! This crate reads files only in [`tree::load`]; everything else is a function of its arguments. It never looks at
//! the environment, never resolves a name, never reads a certificate or key, and never guesses: a key it knows but does
//! not serve is refused by name instead of being ignored in silence.

pub mod check;
pub mod dataplane;
pub mod diag;
pub mod glob;
mod lexer;
pub mod nearest;
mod pfs;
pub mod schema;
pub mod source;
pub mod strongswan;
pub mod swanctl;
pub mod tree;
pub mod value;

pub use diag::{Diagnostic, Severity};
pub use nearest::nearest;
pub use source::{Source, Span};
pub use strongswan::StrongswanConf;
pub use swanctl::SwanctlConf;
pub use tree::{Section, Tree};

use std::path::PathBuf;

/// Where the files are found when neither the command line nor the environment says otherwise.
///
/// `STRONGSWAN_CONF` and `SWANCTL_DIR` replace these; reading the environment is the caller's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultPaths {
    /// The settings of the daemon: `/etc/strongswan.conf`.
    pub strongswan_conf: PathBuf,
    /// The folder of connections and credentials: `/etc/swanctl`.
    pub swanctl_dir: PathBuf,
    /// The connections: `swanctl.conf` inside [`DefaultPaths::swanctl_dir`].
    pub swanctl_conf: PathBuf,
}

/// The default paths, with either of them replaced by what the environment named.
pub fn default_paths(strongswan_conf: Option<PathBuf>, swanctl_dir: Option<PathBuf>) -> DefaultPaths {
    let swanctl_dir = swanctl_dir.unwrap_or_else(|| PathBuf::from("/etc/swanctl"));
    DefaultPaths {
        strongswan_conf: strongswan_conf.unwrap_or_else(|| PathBuf::from("/etc/strongswan.conf")),
        swanctl_conf: swanctl_dir.join("swanctl.conf"),
        swanctl_dir,
    }
}
