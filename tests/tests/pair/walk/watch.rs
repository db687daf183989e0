//! What has to hold after every step.

use std::collections::BTreeMap;

use adit_ike::{ChildState, Event};

use super::traffic::Traffic;
use super::wire::Wire;
use crate::host::Told;
use crate::net::End;
use crate::pair::Pair;

/// IKE_SAs of one end: a few that come and go at once, and half-open ones of replayed first messages.
const MAX_IKE_SAS: usize = 40;
/// CHILD_SAs of one IKE_SA.
const MAX_CHILDREN: usize = 24;
const MAX_TASKS: usize = 24;

#[derive(Default)]
pub struct Watch {
    ends: [Ear; 2],
    wire: Wire,
    pub traffic: Traffic,
    /// A shutdown is under way: whoever goes, goes.
    pub closing: bool,
}

/// What was heard of one end.
#[derive(Default)]
struct Ear {
    heard: usize,
    told: Told,
    outcomes: BTreeMap<u64, u32>,
}

impl Watch {
    /// Everything that is cheap.
    pub fn look(&mut self, pair: &Pair) -> Result<(), String> {
        for end in End::BOTH {
            let news = self.listen(pair, end).map_err(|error| format!("{end:?}: {error}"))?;
            if let Some(objection) = pair.host(end).objections.first() {
                return Err(format!("{end:?}: {objection}"));
            }
            if news || pair.host(end).turns != self.traffic.turns(end) {
                lists(pair, end, &self.ends[usize::from(end == End::Gateway)].told)
                    .map_err(|error| format!("{end:?}: {error}"))?;
            }
        }
        self.wire.look(&pair.net.capture)?;
        if self.closing {
            return Ok(());
        }
        self.traffic.look(pair, [&self.ends[0].told, &self.ends[1].told])
    }

    /// Hears what an end has told since; whether that was anything.
    fn listen(&mut self, pair: &Pair, end: End) -> Result<bool, String> {
        let ear = &mut self.ends[usize::from(end == End::Gateway)];
        let events = &pair.host(end).events;
        let news = ear.heard < events.len();
        for (_, event) in &events[ear.heard..] {
            ear.told.hear(event)?;
            if let Event::Outcome { tag, .. } = event {
                let count = ear.outcomes.entry(*tag).or_default();
                *count += 1;
                if *count > 1 {
                    return Err(format!("command {tag} has {count} outcomes"));
                }
            }
            self.traffic.hear(end, event);
        }
        ear.heard = events.len();
        Ok(news)
    }

    /// An end forgets everything.
    pub fn crash(&mut self, end: End) {
        self.ends[usize::from(end == End::Gateway)] = Ear::default();
        self.traffic.crash(end);
    }

    /// What has to hold besides, once it is quiet: every command has had its outcome, every packet finds its way, and
    /// nothing is larger than two quiet ends need.
    pub fn quiet(&mut self, pair: &Pair) -> Result<(), String> {
        self.look(pair)?;
        for end in End::BOTH {
            let ear = &self.ends[usize::from(end == End::Gateway)];
            let host = pair.host(end);
            if let Some(tag) = host.tags.iter().find(|tag| !ear.outcomes.contains_key(tag)) {
                return Err(format!("{end:?}: command {tag} has no outcome, and all is quiet"));
            }
            let sizes = host.endpoint.leftovers();
            if let Some((what, count)) = sizes.iter().find(|(what, count)| {
                let (ikes, children) = (ear.told.ikes.len(), ear.told.children.len());
                let most = match *what {
                    "CHILD_SAs" | "ESP SPIs" => children,
                    "half-open IKE_SAs" | "half-open addresses" | "first messages" => 0,
                    _ => ikes,
                };
                *count > most
            }) {
                return Err(format!("{end:?}: {count} {what} when all is quiet: {sizes:?}"));
            }
        }
        self.traffic.quiet(pair, [&self.ends[0].told, &self.ends[1].told])
    }
}

/// The lists of an end, its events and its data plane, while things are under way.
fn lists(pair: &Pair, end: End, told: &Told) -> Result<(), String> {
    let host = pair.host(end);
    let (mut ikes, mut listed) = (0, Vec::new());
    for sa in host.endpoint.ike_sas() {
        ikes += 1;
        if sa.children.len() > MAX_CHILDREN || sa.tasks_queued.len() > MAX_TASKS {
            return Err(format!("{} children, tasks {:?}", sa.children.len(), sa.tasks_queued));
        }
        for child in &sa.children {
            if child.state != ChildState::Installing && !host.sad.contains_key(&child.id) {
                return Err(format!("CHILD_SA {} is {:?} and not installed", child.id, child.state));
            }
            listed.push(child.id);
        }
        for address in sa.remote_vips.iter() {
            if !host.leases.contains_key(address) {
                return Err(format!("{address} is listed and not leased"));
            }
        }
    }
    if ikes > MAX_IKE_SAS {
        return Err(format!("{ikes} IKE_SAs"));
    }
    if let Some(id) = host.sad.keys().find(|id| !listed.contains(id)) {
        return Err(format!("CHILD_SA {id} is installed and not listed"));
    }
    if let Some(id) = told.children.iter().find(|id| !listed.contains(id)) {
        return Err(format!("CHILD_SA {id} is up by the events and not listed"));
    }
    if let Some(id) = told.ikes.iter().find(|id| host.endpoint.ike_sa(**id).is_none()) {
        return Err(format!("IKE_SA {id} is up by the events and not listed"));
    }
    Ok(())
}
