//! From nothing, or from what a killed predecessor left, to an empty book, and back to nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use adit_linux::route::{Netlink, Rule};

use super::journal::Journal;
use super::names::Numbers;
use super::patience::Patience;
use super::{Owner, Place, RouteBook, RouteConfig};

impl RouteBook {
    /// An empty book. A device must be ours already: a second daemon must not get here and tidy away what the first one
    /// uses.
    ///
    /// Removes what a killed predecessor left: the rule in any number of copies, `throw` routes that carry our
    /// mark, routes through and addresses of a device that had been persistent; on the path, XFRM interfaces and what it
    /// has written down. Then adds the rules.
    pub(crate) fn start(config: RouteConfig, place: Place) -> io::Result<Self> {
        let mut book = Self {
            netlink: Netlink::new()?.marked(config.socket_mark),
            config,
            place,
            owners: BTreeMap::new(),
            dests: BTreeMap::new(),
            peers: BTreeMap::new(),
            vips: BTreeMap::new(),
            rules: Vec::new(),
            detours: Vec::new(),
            kept_up: BTreeSet::new(),
            journal: Journal::default(),
            interfaces: BTreeMap::new(),
            numbers: Numbers::default(),
            patience: Patience::default(),
            notes: Vec::new(),
        };
        if let Place::Device(ifindex) = place {
            for address in book.netlink.addresses()? {
                if address.ifindex == ifindex {
                    book.netlink.del_address(ifindex, address.address, address.prefix)?;
                }
            }
        }
        if place == Place::Path {
            book.sweep_interfaces()?;
        }
        if let (Place::Path, Some(path)) = (place, book.config.journal.clone()) {
            match Journal::start(&path, &mut book.netlink) {
                Ok(journal) => book.journal = journal,
                Err(error) => book.note(format!(
                    "routes and virtual IPs are not written to {}: {error}; after a crash they stay",
                    path.display()
                )),
            }
        }
        if book.config.table != 0 {
            let device = book.device();
            book.netlink.flush_table(book.config.table, device)?;
            book.netlink.flush_detours()?;
            for rule in book.netlink.rules()? {
                if rule == book.rule(rule.v4) {
                    book.netlink.del_rule(&rule)?;
                }
            }
            if let Err(error) = book.add_rules() {
                book.clear();
                return Err(error);
            }
        }
        Ok(book)
    }

    fn rule(&self, v4: bool) -> Rule {
        let config = &self.config;
        Rule { priority: config.table_prio, table: config.table, v4, fwmark: config.fwmark }
    }

    fn add_rules(&mut self) -> io::Result<()> {
        for v4 in [true, false] {
            let rule = self.rule(v4);
            match self.netlink.add_rule(&rule) {
                Ok(_) => self.rules.push(rule),
                // A kernel without IPv6 has no IPv6 rules; tunnels for IPv4 work all the same.
                Err(_) if !v4 => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Removes everything that is in the tables.
    pub(crate) fn clear(&mut self) {
        let owners: Vec<Owner> = self.owners.keys().copied().collect();
        for owner in owners {
            self.remove(owner);
        }
        self.clear_vips();
        for (rule, _) in std::mem::take(&mut self.detours).iter().rev() {
            let _ = self.netlink.del_detour(rule);
        }
        for rule in std::mem::take(&mut self.rules) {
            let _ = self.netlink.del_rule(&rule);
        }
    }
}
