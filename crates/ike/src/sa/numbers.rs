//! Marks and XFRM interface ids of an SA's own (`%unique`).
//!
//! Drawn once, when a CHILD_SA is made for the first time, and kept by those that replace it: firewall rules and
//! interfaces that were made for them stay good. Where nothing is unique, all CHILD_SAs share what is configured.

use std::sync::Arc;

use adit_ipsec::{EntryOptions, IfIds, Pair};

use crate::config::ChildConfig;
use crate::core::Core;
use crate::sa::IkeSa;
use crate::sa::child_install::NewChild;

impl Core {
    /// The options of a child with fresh numbers, `ike` being those of its IKE_SA.
    pub(crate) fn draw_options(&mut self, child: &ChildConfig, ike: Pair) -> Arc<EntryOptions> {
        let n = child.numbering;
        let marks = Pair::draw(n.mark_in, n.mark_out, Pair::default(), || self.next_mark());
        let if_ids = Pair::draw(n.if_id_in, n.if_id_out, ike, || self.next_if_id());
        Arc::new(child.options.numbered(n, marks, if_ids))
    }
}

impl IkeSa {
    /// Its interface ids, once they are known.
    pub(crate) fn if_ids(&self) -> Pair {
        self.conn.if_ids.of(self.drawn_if_ids)
    }

    /// Its interface ids, drawn if it has none yet.
    pub(crate) fn draw_if_ids(&mut self, core: &mut Core) -> Pair {
        let IfIds { choice_in, choice_out, .. } = self.conn.if_ids;
        if self.conn.if_ids.is_unique() && self.drawn_if_ids == Pair::default() {
            self.drawn_if_ids = Pair::draw(choice_in, choice_out, Pair::default(), || core.next_if_id());
        }
        self.if_ids()
    }

    /// How the entries of a new CHILD_SA are made.
    pub(crate) fn child_options(&mut self, core: &mut Core, new: &NewChild) -> Arc<EntryOptions> {
        let config = &new.config;
        if config.numbering.is_given() {
            return Arc::clone(&config.options);
        }
        let again = |from: &EntryOptions| {
            let (marks, if_ids) = from.numbers();
            Arc::new(config.options.numbered(config.numbering, marks, if_ids))
        };
        if let Some(old) = new.replaces.and_then(|old| self.child(old)) {
            // The same ones, unless the rest was configured anew.
            let (marks, if_ids) = old.options.numbers();
            let same = *old.options == config.options.numbered(config.numbering, marks, if_ids);
            return if same { Arc::clone(&old.options) } else { again(&old.options) };
        }
        let (conn, child) = (&self.conn.name, &config.name);
        let served = new.asked || core.traps.reqid(conn, child, &new.local_ts, &new.remote_ts).is_some();
        if let Some(trap) = core.traps.options(conn, child).filter(|_| served) {
            return again(trap);
        }
        let ike = self.draw_if_ids(core);
        core.draw_options(config, ike)
    }
}
