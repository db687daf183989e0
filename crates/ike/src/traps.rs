//! The reqids and unique numbers of traps. A kernel tells by the reqid which SA may serve a policy, so the CHILD_SA that a
//! trap brings up has the trap's. One whose selectors were narrowed serves less, and has its own reqid; marks and
//! interface ids it has from the trap all the same, since those are what the waiting packets carry.

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_ipsec::{EntryOptions, Selector};

/// By connection and child; as many as there are children configured.
#[derive(Debug, Default)]
pub(crate) struct Traps(BTreeMap<(Arc<str>, Arc<str>), Trap>);

#[derive(Debug)]
struct Trap {
    reqid: u32,
    options: Arc<EntryOptions>,
    local_ts: Vec<Selector>,
    remote_ts: Vec<Selector>,
}

impl Traps {
    /// Notes the trap of a child.
    pub(crate) fn set(
        &mut self,
        (conn, child): (&Arc<str>, &Arc<str>),
        reqid: u32,
        options: Arc<EntryOptions>,
        selectors: (&[Selector], &[Selector]),
    ) {
        let trap = Trap { reqid, options, local_ts: selectors.0.to_vec(), remote_ts: selectors.1.to_vec() };
        self.0.insert((Arc::clone(conn), Arc::clone(child)), trap);
    }

    /// Forgets it: the next CHILD_SA has a reqid of its own.
    pub(crate) fn unset(&mut self, conn: &Arc<str>, child: &Arc<str>) {
        self.0.remove(&(Arc::clone(conn), Arc::clone(child)));
    }

    /// The reqid for a CHILD_SA with just these selectors.
    pub(crate) fn reqid(
        &self,
        conn: &Arc<str>,
        child: &Arc<str>,
        local_ts: &[Selector],
        remote_ts: &[Selector],
    ) -> Option<u32> {
        let trap = self.0.get(&(Arc::clone(conn), Arc::clone(child)))?;
        (trap.local_ts == local_ts && trap.remote_ts == remote_ts).then_some(trap.reqid)
    }

    /// What the trap of a child says of its entries, numbers included.
    pub(crate) fn options(&self, conn: &Arc<str>, child: &Arc<str>) -> Option<&EntryOptions> {
        self.0.get(&(Arc::clone(conn), Arc::clone(child))).map(|trap| &*trap.options)
    }
}
