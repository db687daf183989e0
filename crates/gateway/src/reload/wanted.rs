//! What the files say, resolved: certificates and keys read, every connection as the protocol wants it.
//!
//! Nothing here knows the daemon: it runs on whichever thread wants to know, and the protocol goes on meanwhile.

use std::fmt;
use std::sync::Arc;

use adit_conf::swanctl::{self, Authority, Pool};
use adit_conf::{Diagnostic, StrongswanConf};
use adit_ike as ike;

use crate::control::AuthoritySpec;
use crate::creds::{self, CredentialSet};
use crate::environment::Environment;
use crate::map;
use crate::pools::PoolSpec;

/// Everything that is to be configured.
#[derive(Default)]
pub(crate) struct Wanted {
    /// strongswan.conf.
    pub settings: StrongswanConf,
    /// Pools with addresses.
    pub pools: Vec<PoolSpec>,
    /// What lies in the folders, and the secrets.
    pub credentials: CredentialSet,
    /// Authorities.
    pub authorities: Vec<AuthoritySpec>,
    /// Connections in the order of the file, as written and as the protocol wants them.
    pub connections: Vec<(Arc<swanctl::Connection>, Arc<ike::Connection>)>,
}

/// One reading of the files.
#[derive(Default)]
pub(crate) struct Reading {
    /// What they want.
    pub wanted: Wanted,
    /// Everything that is wrong in the two files.
    pub errors: Vec<String>,
    /// What they lead to and could not be used: a certificate, a key, a connection without its certificate.
    pub unresolved: Vec<Unresolved>,
    /// There is no swanctl.conf: said so with its path.
    pub missing: Option<String>,
    /// Remarks on the way, with level.
    pub remarks: Vec<Diagnostic>,
}

/// Something that could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unresolved {
    /// Where it is written, `file:line: `, or nothing.
    pub place: String,
    /// What is wrong with it.
    pub text: String,
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.place, self.text)
    }
}

/// Reads and resolves everything.
pub(crate) fn read(environment: &Environment) -> Reading {
    let mut reading = Reading::default();
    let (settings, diagnostics) = environment.settings();
    reading.sort(diagnostics);
    let (conf, diagnostics) = environment.connections(&settings);
    reading.sort(diagnostics);
    let dir = &environment.swanctl_dir;
    let (credentials, problems) = CredentialSet::from_files(dir, &conf.secrets);
    reading.wanted.credentials = credentials;
    let nowhere = |text| Unresolved { place: String::new(), text };
    reading.unresolved.extend(problems.into_iter().map(nowhere));
    let path = &environment.swanctl_conf;
    reading.missing = (!path.exists()).then(|| format!("there is no {}", path.display()));
    reading.wanted.pools = conf.pools.iter().filter_map(pool_spec).collect();
    for from in &conf.authorities {
        match authority(from, environment) {
            Ok((spec, more)) => {
                reading.wanted.authorities.push(spec);
                more.into_iter().for_each(|cert| reading.wanted.credentials.add_certificate(cert, true));
            }
            Err(text) => {
                reading.unresolved.push(Unresolved { place: format!("{}: ", from.origin), text });
            }
        }
    }
    for from in conf.connections {
        match map::connection(&from, dir, settings.replay_window) {
            Ok(conn) => reading.wanted.connections.push((Arc::new(from), Arc::new(conn))),
            Err(text) => {
                reading.unresolved.push(Unresolved { place: format!("{}: ", from.origin), text });
            }
        }
    }
    reading.wanted.settings = settings;
    reading
}

impl Reading {
    fn sort(&mut self, diagnostics: Vec<Diagnostic>) {
        for diagnostic in diagnostics {
            if diagnostic.is_error() {
                self.errors.push(diagnostic.at());
            } else {
                self.remarks.push(diagnostic);
            }
        }
    }
}

/// An authority, and what else its file holds.
fn authority(
    from: &Authority,
    environment: &Environment,
) -> Result<(AuthoritySpec, Vec<adit_pki::Certificate>), String> {
    let mut certs = creds::referenced(&environment.swanctl_dir, "x509ca", &from.cacert)?.into_iter();
    let cacert = certs.next().ok_or_else(|| format!("there is no certificate in '{}'", from.cacert))?;
    let spec = AuthoritySpec {
        name: from.name.clone(),
        cacert,
        crl_uris: from.crl_uris.clone(),
        ocsp_uris: from.ocsp_uris.clone(),
        cert_uri_base: None,
    };
    Ok((spec, certs.collect()))
}

/// A pool with addresses; one with attributes only has no leases to keep.
pub(crate) fn pool_spec(pool: &Pool) -> Option<PoolSpec> {
    let range = pool.addrs?;
    Some(PoolSpec {
        name: pool.name.clone(),
        first: range.first,
        last: range.last,
        base: range.base,
        attributes: pool.attributes.clone(),
    })
}
