//! Where the files are, and what they say.

use std::path::PathBuf;

use adit_conf::{Diagnostic, Section, StrongswanConf, SwanctlConf, dataplane, strongswan, swanctl, tree};

/// Paths and overrides that the environment and the command line give, as charon and swanctl take them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// `STRONGSWAN_CONF`, else `/etc/strongswan.conf`.
    pub strongswan_conf: PathBuf,
    /// `SWANCTL_DIR`, else `/etc/swanctl`.
    pub swanctl_dir: PathBuf,
    /// `swanctl.conf` in that folder, or the file asked for.
    pub swanctl_conf: PathBuf,
}

/// Where VICI clients look when nothing is configured.
const DEFAULT_SOCKET: &str = "/var/run/charon.vici";

impl Environment {
    /// From the process's environment.
    pub fn from_process() -> Self {
        let path = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let paths = adit_conf::default_paths(path("STRONGSWAN_CONF"), path("SWANCTL_DIR"));
        Self {
            strongswan_conf: paths.strongswan_conf,
            swanctl_dir: paths.swanctl_dir,
            swanctl_conf: paths.swanctl_conf,
        }
    }

    /// Reads strongswan.conf; a file that is not there means defaults.
    pub fn settings(&self) -> (StrongswanConf, Vec<Diagnostic>) {
        if !self.strongswan_conf.exists() {
            return (StrongswanConf::default(), Vec::new());
        }
        match tree::load(&self.strongswan_conf) {
            Ok(tree) => strongswan::from_tree(&tree.root),
            Err(diagnostics) => (StrongswanConf::default(), diagnostics),
        }
    }

    /// Reads swanctl.conf, for a daemon with these settings; a file that is not there means no connections.
    pub fn connections(&self, settings: &StrongswanConf) -> (SwanctlConf, Vec<Diagnostic>) {
        if !self.swanctl_conf.exists() {
            let (conf, _) = swanctl::from_tree(&Section::new());
            let path = self.swanctl_conf.display();
            let help = "connections can still be loaded over VICI; SWANCTL_DIR names another folder";
            return (conf, vec![Diagnostic::warning(None, format!("there is no {path}")).with_help(help)]);
        }
        match tree::load(&self.swanctl_conf) {
            Ok(tree) => {
                let (conf, mut diagnostics) = swanctl::from_tree(&tree.root);
                diagnostics.extend(dataplane::check(&conf, &tree.root, settings.adit.dataplane));
                (conf, diagnostics)
            }
            Err(diagnostics) => (SwanctlConf::default(), diagnostics),
        }
    }
}

/// Path of the VICI socket.
///
/// # Errors
/// A sentence when it is something other than a unix socket.
pub fn vici_socket(conf: &StrongswanConf) -> Result<PathBuf, String> {
    match conf.vici_socket.as_deref() {
        None => Ok(DEFAULT_SOCKET.into()),
        Some(uri) => match uri.strip_prefix("unix://") {
            Some(path) => Ok(path.into()),
            None => {
                Err(format!("charon.plugins.vici.socket = {uri} is not served; write unix:// and a path"))
            }
        },
    }
}
