//! swanctl.conf: connections, children, pools, secrets, authorities.
//!
//! [`from_tree`] reads a whole file; [`connection`], [`pool`] and [`authority`] read one section each, which is what
//! VICI's `load-conn`, `load-pool` and `load-authority` bring.

mod auth;
mod child;
mod connection;
mod credentials;
mod entries;
pub(crate) mod fields;
mod pool;
mod types;

pub(crate) use connection::is_concrete;
pub(crate) use pool::attribute;
pub use types::*;

use crate::check;
use crate::diag::{Diagnostic, dedup};
use crate::nearest;
use crate::schema::{self, SWANCTL, Scope};
use crate::tree::{Item, Section};

const TOP: [&str; 4] = ["connections", "pools", "secrets", "authorities"];

/// Reads a whole swanctl.conf. The configuration holds what could be read; it is to be applied only if no diagnostic
/// is an error.
pub fn from_tree(root: &Section) -> (SwanctlConf, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let mut conf = SwanctlConf::default();
    let scope = Scope::new(SWANCTL);
    for entry in root.entries() {
        let (name, span) = (entry.name.as_str(), entry.span.as_ref());
        match &entry.item {
            Item::Value(_) => diagnostics.push(Diagnostic::error(
                span,
                format!("the key `{name}` stands outside of every section"),
            )),
            Item::Section(section) if TOP.contains(&name) => {
                let scope = scope.enter(name);
                for (key, value) in section.values() {
                    let help = format!("write `{key} {{ … }}`");
                    diagnostics.push(
                        Diagnostic::error(value.span(), format!("`{name}` holds sections, but `{key}` is a key"))
                            .with_help(help),
                    );
                }
                for (item, section) in section.sections() {
                    read_item(name, item, section, &scope, &mut conf, &mut diagnostics);
                }
            }
            // Templates for `a : b` live at the top; their content is checked where it is inherited.
            Item::Section(section) if section.is_referenced() => {}
            Item::Section(_) => diagnostics.push(match nearest(name, TOP) {
                Some(near) => Diagnostic::error(span, format!("unknown section `{name}`"))
                    .with_help(format!("did you mean `{near}`?")),
                None => Diagnostic::warning(
                    span,
                    format!("the section `{name}` has no effect: it is not one of swanctl.conf's, and nothing refers to it"),
                ),
            }),
        }
    }
    diagnostics.extend(check::check(&conf, root));
    (conf, dedup(diagnostics))
}

fn read_item(
    top: &str,
    name: &str,
    section: &Section,
    scope: &Scope,
    conf: &mut SwanctlConf,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let inner = scope.enter(name);
    let place = format!("{top}.{name}");
    match top {
        "connections" => {
            schema::check(section, &place, &inner, SWANCTL, diagnostics);
            conf.connections.extend(connection::read(name, section, diagnostics));
        }
        "pools" => {
            schema::check(section, &place, &inner, SWANCTL, diagnostics);
            conf.pools.extend(pool::read(name, section, diagnostics));
        }
        "authorities" => {
            schema::check(section, &place, &inner, SWANCTL, diagnostics);
            conf.authorities.extend(credentials::authority(name, section, diagnostics));
        }
        _ => match credentials::prefix(name) {
            Some(_) => {
                schema::check(section, &place, &inner, SWANCTL, diagnostics);
                conf.secrets.extend(credentials::secret(name, section, diagnostics));
            }
            None => {
                let help = nearest(
                    name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-'),
                    scope.section_names(),
                )
                .map(|near| format!("did you mean `{near}`?"));
                let message = format!(
                    "unknown section `{name}` in `secrets`: its name must begin with {}",
                    fields::one_of(&credentials::SERVED_PREFIXES)
                );
                diagnostics.push(Diagnostic::error(section.span(), message).with_help_opt(help));
            }
        },
    }
}

/// The part that all single-section readers share.
fn single<T>(
    top: &str,
    name: &str,
    section: &Section,
    read: impl FnOnce(&str, &Section, &mut Vec<Diagnostic>) -> Option<T>,
) -> Result<T, Vec<Diagnostic>> {
    let mut diagnostics = Vec::new();
    let scope = Scope::new(SWANCTL).enter(top).enter(name);
    schema::check(section, &format!("{top}.{name}"), &scope, SWANCTL, &mut diagnostics);
    let item = read(name, section, &mut diagnostics);
    match item {
        Some(item) if !diagnostics.iter().any(Diagnostic::is_error) => Ok(item),
        _ => {
            diagnostics.retain(Diagnostic::is_error);
            Err(dedup(diagnostics))
        }
    }
}

/// Reads one connection, from a file or from a VICI `load-conn` message. [`Diagnostic::vici_message`] of the first
/// error is what strongSwan's clients expect to read.
pub fn connection(name: &str, section: &Section) -> Result<Connection, Vec<Diagnostic>> {
    single("connections", name, section, connection::read)
}

/// Reads one pool, from a file or from a VICI `load-pool` message.
pub fn pool(name: &str, section: &Section) -> Result<Pool, Vec<Diagnostic>> {
    single("pools", name, section, pool::read)
}

/// Reads one authority, from a file or from a VICI `load-authority` message.
pub fn authority(name: &str, section: &Section) -> Result<Authority, Vec<Diagnostic>> {
    single("authorities", name, section, credentials::authority)
}

/// Reads one secret, from a file.
pub fn secret(name: &str, section: &Section) -> Result<SecretEntry, Vec<Diagnostic>> {
    single("secrets", name, section, credentials::secret)
}
