//! No traffic selector without a working SA pair while the connection is up.
//!
//! For every CHILD_SA that an end has announced, a packet of each pair of its selectors is looked up in that end's data
//! plane, as the data plane does it, and must find an SA that the other end's data plane receives on, with the same key
//! and with selectors that let the packet in. Only if the other end has given that tunnel up itself (it said so, or it
//! crashed), or has not announced it yet, may the packet be lost.

use std::collections::{BTreeMap, BTreeSet};

use adit_ike::{ChildState, Event};
use adit_ipsec::{PacketInfo, Selector};

use crate::host::{Installed, Told};
use crate::net::End;
use crate::pair::Pair;

#[derive(Default)]
pub struct Traffic {
    books: [Book; 2],
    seen: [u64; 2],
    dirty: bool,
    /// Packets that arrived, and packets whose loss was forced.
    pub carried: u64,
    pub excused: u64,
}

/// The tunnels of one end: a CHILD_SA and all that replaced it are one.
#[derive(Default)]
struct Book {
    /// CHILD_SA → tunnel.
    tunnels: BTreeMap<u32, u32>,
    /// SPI that the end receives on → tunnel. Of former lives as well.
    by_spi: BTreeMap<u32, Option<u32>>,
    /// CHILD_SA → SPI that it sends on, and what it replaced.
    sas: BTreeMap<u32, (u32, Option<u32>)>,
    /// Tunnels that have gone.
    gone: BTreeSet<u32>,
    next: u32,
}

impl Book {
    /// Whether packets sent to this SPI may find nobody: its tunnel has been given up.
    fn given_up(&self, spi: u32) -> bool {
        match self.by_spi.get(&spi) {
            Some(Some(tunnel)) => self.gone.contains(tunnel),
            Some(None) => true,
            None => false,
        }
    }
}

fn at(end: End) -> usize {
    usize::from(end == End::Gateway)
}

impl Traffic {
    pub fn turns(&self, end: End) -> u64 {
        self.seen[at(end)]
    }

    pub fn hear(&mut self, end: End, event: &Event) {
        let book = &mut self.books[at(end)];
        self.dirty = true;
        match event {
            Event::ChildUp { id, .. } => {
                // One that comes back, for its successor was withdrawn, is the same tunnel.
                let tunnel = *book.tunnels.entry(*id).or_insert_with(|| {
                    book.next += 1;
                    book.next
                });
                book.gone.remove(&tunnel);
            }
            Event::ChildRekeyed { old, new, .. } => {
                if let Some(tunnel) = book.tunnels.get(old).copied() {
                    book.tunnels.insert(*new, tunnel);
                }
            }
            Event::ChildDown { id, .. } => {
                if let Some(tunnel) = book.tunnels.get(id) {
                    book.gone.insert(*tunnel);
                }
            }
            _ => {}
        }
    }

    /// All tunnels of an end are gone, and its ids begin anew.
    pub fn crash(&mut self, end: End) {
        let book = &mut self.books[at(end)];
        for tunnel in book.by_spi.values_mut() {
            *tunnel = None;
        }
        book.tunnels.clear();
        book.sas.clear();
        book.gone.clear();
        self.dirty = true;
        self.seen[at(end)] = u64::MAX;
    }

    pub fn look(&mut self, pair: &Pair, told: [&Told; 2]) -> Result<(), String> {
        let turns = End::BOTH.map(|end| pair.host(end).turns);
        if !std::mem::take(&mut self.dirty) && turns == self.seen {
            return Ok(());
        }
        self.seen = turns;
        for end in End::BOTH {
            let book = &mut self.books[at(end)];
            for entry in pair.host(end).sad.values() {
                book.sas.insert(entry.sa.id, (entry.sa.spi_out, entry.sa.replaces));
                let tunnel = book.tunnels.get(&entry.sa.id).copied();
                if tunnel.is_some() || !book.by_spi.contains_key(&entry.sa.spi_in) {
                    book.by_spi.insert(entry.sa.spi_in, tunnel);
                }
            }
        }
        for end in End::BOTH {
            for id in &told[at(end)].children {
                self.check(pair, end, *id, false)
                    .map_err(|error| format!("{end:?}, CHILD_SA {id}: {error}"))?;
            }
        }
        Ok(())
    }

    /// Once all is quiet there are no excuses.
    pub fn quiet(&mut self, pair: &Pair, told: [&Told; 2]) -> Result<(), String> {
        for end in End::BOTH {
            for id in &told[at(end)].children {
                self.check(pair, end, *id, true)
                    .map_err(|error| format!("{end:?}, CHILD_SA {id}, all is quiet: {error}"))?;
            }
        }
        Ok(())
    }

    fn check(&mut self, pair: &Pair, end: End, id: u32, strict: bool) -> Result<(), String> {
        let (ours, theirs) = (pair.host(end), pair.host(end.other()));
        let Some(entry) = ours.sad.get(&id) else { return Err("not installed".to_owned()) };
        for local in &entry.sa.local_ts {
            for remote in &entry.sa.remote_ts {
                let Some(packet) = sample(local, remote) else { continue };
                let Some(way) = ours.outbound(&packet) else {
                    return Err(format!("a packet {local} → {remote} finds no SA"));
                };
                match received(way, theirs.sad.values(), &packet) {
                    Ok(()) => self.carried += 1,
                    Err(_) if !strict && self.is_excused(pair, end, id, way) => self.excused += 1,
                    Err(error) => return Err(format!("a packet {local} → {remote}: {error}")),
                }
            }
        }
        Ok(())
    }

    /// Whether the other end has given the tunnel up or is about to, or does not have it yet.
    fn is_excused(&self, pair: &Pair, end: End, id: u32, way: &Installed) -> bool {
        let (ours, theirs) = (&self.books[at(end)], &self.books[at(end.other())]);
        if leaving(pair, end).contains(&id) {
            return true; // the other end may have heard of it, and its answer be on the way
        }
        if way.sa.replaces.is_none() && !theirs.by_spi.contains_key(&way.sa.spi_out) {
            return true; // new, and it waits for our answer; a successor it would have before us
        }
        let leaving: BTreeSet<u32> =
            leaving(pair, end.other()).iter().filter_map(|id| theirs.tunnels.get(id).copied()).collect();
        // By this SA or one that it has come from, as the other end may not know it by this.
        let mut next = Some(way.sa.id);
        while let Some((spi, replaced)) = next.and_then(|id| ours.sas.get(&id)).copied() {
            if theirs.given_up(spi)
                || theirs.by_spi.get(&spi).is_some_and(|it| it.is_some_and(|it| leaving.contains(&it)))
            {
                return true;
            }
            next = replaced;
        }
        false
    }
}

/// CHILD_SAs that are being deleted.
fn leaving(pair: &Pair, end: End) -> Vec<u32> {
    let children = pair.host(end).endpoint.ike_sas().flat_map(|sa| sa.children);
    children.filter(|child| child.state == ChildState::Deleting).map(|child| child.id).collect()
}

/// A packet that both selectors let through.
fn sample(local: &Selector, remote: &Selector) -> Option<PacketInfo> {
    (local.is_v4() == remote.is_v4()).then(|| PacketInfo {
        src: local.start(),
        dst: remote.start(),
        protocol: if local.protocol() == 0 { 17 } else { local.protocol() },
        src_port: local.start_port(),
        dst_port: remote.start_port(),
        total_len: 100,
    })
}

/// Whether a packet that left on an SA gets into the other end.
fn received<'a>(
    way: &Installed,
    mut sad: impl Iterator<Item = &'a Installed>,
    packet: &PacketInfo,
) -> Result<(), String> {
    let Some(entry) = sad.find(|entry| entry.sa.spi_in == way.sa.spi_out) else {
        return Err(format!("sent on {:08x}, where nobody listens", way.sa.spi_out));
    };
    if entry.sa.keys_in != way.sa.keys_out {
        return Err(format!("sent on {:08x}, which has another key there", way.sa.spi_out));
    }
    // RFC 4301 §5.2: against the selectors of the SA that carried it.
    let fits = |list: &[Selector], addr, port| {
        list.iter().any(|selector| selector.matches(addr, packet.protocol, port))
    };
    if !fits(&entry.sa.remote_ts, packet.src, packet.src_port)
        || !fits(&entry.sa.local_ts, packet.dst, packet.dst_port)
    {
        return Err(format!("sent on {:08x}, which does not let it in", way.sa.spi_out));
    }
    Ok(())
}
