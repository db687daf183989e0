//! What is configured now, from the files and from VICI clients, in one place.
//!
//! What a file has brought belongs to the file, also when a client loads it again, changed or not: the next reload makes
//! it what the file says, or takes it away. Everything else belongs to the clients, and no reload touches it. What is
//! loaded again unchanged is left alone, whoever loads it: `swanctl --load-all` after the daemon read the same file
//! touches nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use adit_conf::swanctl;
use adit_ike as ike;
use adit_ipsec::Identity;
use adit_pki::Certificate;

use crate::control::AuthoritySpec;
use crate::creds::{self, CredentialSet, SharedKind};
use crate::environment::Environment;
use crate::reload::{Change, CredentialPlan, Wanted};

/// Who loaded something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The daemon, from swanctl.conf.
    File,
    /// A client.
    Vici,
}

impl Source {
    /// Whose it is when `self` loads what was `before`'s.
    pub(crate) fn after(self, before: Option<Self>) -> Self {
        if before == Some(Self::File) { Self::File } else { self }
    }
}

struct Loaded {
    source: Source,
    conf: Arc<swanctl::Connection>,
    ike: Arc<ike::Connection>,
}

/// Connections, credentials and authorities.
pub(crate) struct Store {
    environment: Environment,
    /// `charon.replay_window`, for children that say nothing of it.
    pub replay_window: u32,
    /// It decides between equally good matches: as in the file, then as loaded.
    order: Vec<String>,
    connections: BTreeMap<String, Loaded>,
    /// Loaded from the files.
    pub files: CredentialSet,
    /// Loaded by clients.
    pub clients: CredentialSet,
    /// Cleared by a client that may be about to load them again: not shown, still good (see [`Self::clear`]).
    leaving: CredentialSet,
    authorities: BTreeMap<String, (Source, AuthoritySpec)>,
}

impl Store {
    /// An empty store.
    pub(crate) fn new(environment: Environment, replay_window: u32) -> Self {
        Self {
            environment,
            replay_window,
            order: Vec::new(),
            connections: BTreeMap::new(),
            files: CredentialSet::default(),
            clients: CredentialSet::default(),
            leaving: CredentialSet::default(),
            authorities: BTreeMap::new(),
        }
    }

    /// Puts a connection in, or in the place of the one of its name.
    pub(crate) fn put(&mut self, conf: Arc<swanctl::Connection>, ike: Arc<ike::Connection>, source: Source) {
        let name = conf.name.clone();
        match self.connections.get_mut(&name) {
            Some(old) => {
                old.source = source.after(Some(old.source));
                old.conf = conf;
                // SAs compare by address first: the same one stays
                if old.ike != ike {
                    old.ike = ike;
                }
            }
            None => {
                self.connections.insert(name.clone(), Loaded { source, conf, ike });
                self.order.push(name);
            }
        }
    }

    /// Has the connections of the file in the file's order, before all others.
    pub(crate) fn order(&mut self, names: Vec<String>) {
        let first: BTreeSet<&String> = names.iter().collect();
        let others: Vec<String> = self.order.drain(..).filter(|name| !first.contains(name)).collect();
        self.order = names;
        self.order.extend(others);
    }

    /// Takes a connection out.
    pub(crate) fn unload(&mut self, name: &str) -> Option<Arc<ike::Connection>> {
        self.order.retain(|n| n != name);
        self.connections.remove(name).map(|loaded| loaded.ike)
    }

    /// Connections that came from the file.
    pub(crate) fn loaded_from_file(&self) -> impl Iterator<Item = &ike::Connection> {
        self.connections.values().filter(|c| c.source == Source::File).map(|c| &*c.ike)
    }

    /// A connection as it was written.
    pub(crate) fn conf(&self, name: &str) -> Option<&Arc<swanctl::Connection>> {
        self.connections.get(name).map(|c| &c.conf)
    }

    /// A connection as the protocol knows it.
    pub(crate) fn ike(&self, name: &str) -> Option<&Arc<ike::Connection>> {
        self.connections.get(name).map(|c| &c.ike)
    }

    /// All connections as configured, in order.
    pub(crate) fn configured(&self) -> impl Iterator<Item = &Arc<swanctl::Connection>> {
        self.order.iter().filter_map(|name| self.connections.get(name)).map(|c| &c.conf)
    }

    /// What a reload would do to credentials and authorities.
    pub(crate) fn credential_plan(&self, wanted: &Wanted) -> Vec<CredentialPlan> {
        let mut plan = self.files.plan(&self.clients, &wanted.credentials);
        let mut tell = |name: &str, change| {
            plan.push(CredentialPlan { kind: "authority", name: name.to_owned(), change });
        };
        for spec in &wanted.authorities {
            let change = match self.authorities.get(&spec.name) {
                None => Change::Added,
                Some((_, old)) if old == spec => Change::Unchanged,
                Some(_) => Change::Changed(Vec::new()),
            };
            tell(&spec.name, change);
        }
        for (name, (source, _)) in &self.authorities {
            if *source == Source::File && !wanted.authorities.iter().any(|a| a.name == *name) {
                tell(name, Change::Removed);
            }
        }
        plan
    }

    /// Has the files' credentials and authorities be these.
    pub(crate) fn replace_credentials(&mut self, files: CredentialSet, authorities: Vec<AuthoritySpec>) {
        self.clients.give_way_to(&files);
        self.files = files;
        self.authorities.retain(|_, (source, _)| *source == Source::Vici);
        for spec in authorities {
            self.authorities.insert(spec.name.clone(), (Source::File, spec));
        }
    }

    /// A client loads a certificate; `false` if it is there.
    pub(crate) fn load_certificate(&mut self, cert: Certificate, authority: bool) -> bool {
        if [&self.files, &self.clients].iter().any(|set| set.has_certificate(&cert, authority)) {
            return false;
        }
        self.clients.add_certificate(cert, authority);
        true
    }

    /// A client loads a private key: its id, and whether it is new.
    ///
    /// # Errors
    /// Why it is none.
    pub(crate) fn load_key(&mut self, data: &[u8]) -> Result<(String, bool), String> {
        let mut set = CredentialSet::default();
        let id = set.add_key(data, None)?;
        let new = !self.files.has_key(&id) && !self.clients.has_key(&id);
        if new {
            self.clients.absorb(set);
        }
        Ok((id, new))
    }

    /// A client loads a shared secret, or the one of that name anew; `false` if it is there as it is.
    pub(crate) fn load_shared(
        &mut self,
        name: String,
        kind: SharedKind,
        owners: Vec<Identity>,
        secret: Vec<u8>,
    ) -> bool {
        let set = if self.files.has_shared(&name) { &mut self.files } else { &mut self.clients };
        set.add_shared(name, kind, owners, secret)
    }

    /// A client clears all credentials. They are good until [`Self::sweep`]: it may be about to load them again, and
    /// whoever authenticates in between is as honest as before.
    pub(crate) fn clear(&mut self) {
        self.leaving.absorb(std::mem::take(&mut self.files));
        self.leaving.absorb(std::mem::take(&mut self.clients));
    }

    /// Takes out what was cleared.
    pub(crate) fn sweep(&mut self) {
        self.leaving = CredentialSet::default();
    }

    /// All authorities, by name.
    pub(crate) fn authorities(&self) -> impl Iterator<Item = &AuthoritySpec> {
        self.authorities.values().map(|(_, spec)| spec)
    }

    /// A client loads an authority; `false` if it is there as it is.
    pub(crate) fn load_authority(&mut self, spec: AuthoritySpec) -> bool {
        let before = self.authorities.get(&spec.name);
        if before.is_some_and(|(_, old)| *old == spec) {
            return false;
        }
        let source = Source::Vici.after(before.map(|(source, _)| *source));
        self.authorities.insert(spec.name.clone(), (source, spec));
        true
    }

    /// A client unloads an authority; `false` if there is none of that name.
    pub(crate) fn unload_authority(&mut self, name: &str) -> bool {
        self.authorities.remove(name).is_some()
    }

    /// Everything, as the protocol wants it.
    pub(crate) fn config(&self) -> ike::Config {
        let connections: Vec<Arc<ike::Connection>> = self
            .order
            .iter()
            .filter_map(|name| self.connections.get(name))
            .map(|c| Arc::clone(&c.ike))
            // What only passes and drops is nobody's to connect to.
            .filter(|c| !c.children.is_empty() || c.shunts.is_empty())
            .collect();
        let pinned = connections.iter().flat_map(|c| c.local.certs.iter().chain(&c.remote.certs));
        let mut credentials = creds::merge([&self.files, &self.clients, &self.leaving], pinned);
        credentials.authorities.extend(self.authorities().map(|a| a.cacert.clone()));
        ike::Config { credentials: Arc::new(credentials), connections }
    }

    /// The folder that names of certificates refer to.
    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> Store {
        let nowhere = || "/nonexistent".into();
        let environment =
            Environment { strongswan_conf: nowhere(), swanctl_dir: nowhere(), swanctl_conf: nowhere() };
        Store::new(environment, 32)
    }

    fn secret(set: &mut CredentialSet, name: &str, text: &str) {
        set.add_shared(name.into(), SharedKind::Ike, Vec::new(), text.into());
    }

    fn wanted(secrets: &[(&str, &str)]) -> CredentialSet {
        let mut set = CredentialSet::default();
        secrets.iter().for_each(|(name, text)| secret(&mut set, name, text));
        set
    }

    fn load(store: &mut Store, name: &str, text: &str) -> bool {
        store.load_shared(name.into(), SharedKind::Ike, Vec::new(), text.into())
    }

    /// What authenticates now, in the order in which it is tried.
    fn good(store: &Store) -> Vec<String> {
        let text = |s: &ike::SharedSecret| String::from_utf8(s.secret.as_ref().to_vec()).unwrap();
        store.config().credentials.shared.iter().map(text).collect()
    }

    #[test]
    fn what_a_file_brought_stays_the_files_whoever_loads_it() {
        let mut store = store();
        store.replace_credentials(wanted(&[("a", "one"), ("b", "two")]), Vec::new());
        assert!(!load(&mut store, "a", "one"), "unchanged is left alone");
        assert!(load(&mut store, "b", "new"));
        assert!(load(&mut store, "c", "theirs"));
        assert_eq!(good(&store), ["one", "new", "theirs"], "the old secret of b is good no more");
        let next = Wanted { credentials: wanted(&[("b", "three")]), ..Wanted::default() };
        let plan = store.credential_plan(&next);
        let told: Vec<(&str, &Change)> = plan.iter().map(|it| (it.name.as_str(), &it.change)).collect();
        assert_eq!(told, [("b", &Change::Changed(Vec::new())), ("a", &Change::Removed)]);
        store.replace_credentials(next.credentials, Vec::new());
        assert_eq!(good(&store), ["three", "theirs"]);
        // the file takes over what a client had
        store.replace_credentials(wanted(&[("c", "the file's")]), Vec::new());
        assert_eq!(good(&store), ["the file's"]);
    }

    #[test]
    fn what_is_cleared_is_good_until_it_is_swept_and_what_replaces_it_comes_first() {
        let mut store = store();
        store.replace_credentials(wanted(&[("a", "old"), ("b", "gone")]), Vec::new());
        store.clear();
        assert_eq!(store.files.shared_names().chain(store.clients.shared_names()).count(), 0, "out of sight");
        assert_eq!(good(&store), ["old", "gone"]);
        load(&mut store, "a", "new");
        assert_eq!(good(&store), ["new", "old", "gone"]);
        store.sweep();
        assert_eq!(good(&store), ["new"]);
    }
}
