//! What was put into the host's tables, in a file, so that it is recognised after a crash.
//!
//! On the path nothing tells our routes and virtual IPs from what an operator may have put beside them: charon's are
//! `proto static` too, and routing daemons learn just those. So each is written down before it is made, and struck out
//! when it is gone: a line `+ …` or `- …` at the end of the file. The next start removes what stands there and is still
//! exactly as it was made; anything else is another's. The file is of use for one boot, in one network namespace.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::IpAddr;
use std::path::Path;

use adit_linux::route::{Netlink, Route, RouteKind, STATIC};

use super::nets::full;

/// Most that is read of a file.
const LONGEST: u64 = 64 << 20;
/// Lines beyond twice those that count, before the file is written anew.
const SLACK: usize = 4096;

/// One thing of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thing {
    Route(Route),
    /// An address with full prefix, and the interface it is on.
    Address(IpAddr, u32),
}

impl std::fmt::Display for Thing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        match self {
            Self::Address(address, ifindex) => write!(f, "address {address} {ifindex}"),
            Self::Route(route) => write!(
                f,
                "{} {} {} {} {} {} {}",
                if route.kind == RouteKind::Throw { "throw" } else { "route" },
                route.dest.0,
                route.dest.1,
                route.table,
                or_dash(route.ifindex.map(|i| i.to_string())),
                or_dash(route.gateway.map(|a| a.to_string())),
                or_dash(route.src.map(|a| a.to_string())),
            ),
        }
    }
}

impl Thing {
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split(' ').collect();
        let optional = |text: &str| -> Option<Option<IpAddr>> {
            if text == "-" { Some(None) } else { text.parse().ok().map(Some) }
        };
        match fields.as_slice() {
            ["address", address, ifindex] => {
                Some(Self::Address(address.parse().ok()?, ifindex.parse().ok()?))
            }
            [kind @ ("route" | "throw"), dest, prefix, table, ifindex, gateway, source] => {
                let (dest, table) = ((dest.parse().ok()?, prefix.parse().ok()?), table.parse().ok()?);
                let mut route = Route { protocol: STATIC, ..Route::throw(dest, table) };
                if *kind == "route" {
                    route.kind = RouteKind::Unicast;
                    route.ifindex = Some(ifindex.parse().ok()?);
                }
                (route.gateway, route.src) = (optional(gateway)?, optional(source)?);
                Some(Self::Route(route))
            }
            _ => None,
        }
    }

    /// Removes it if it is there as it was made.
    fn remove(self, netlink: &mut Netlink, there: &There) -> io::Result<()> {
        match self {
            Self::Route(route) if there.routes.iter().any(|other| super::mend::is_same(&route, other)) => {
                netlink.del_route(&route)
            }
            Self::Address(address, ifindex)
                if there.addresses.contains(&(address, full(address), ifindex)) =>
            {
                netlink.del_address(ifindex, address, full(address))
            }
            _ => Ok(()),
        }
    }
}

/// What is in the host's tables.
struct There {
    routes: Vec<Route>,
    addresses: BTreeSet<(IpAddr, u8, u32)>,
}

/// The file, and what counts of it. Without a file it remembers nothing.
#[derive(Debug, Default)]
pub(super) struct Journal {
    file: Option<File>,
    live: BTreeSet<String>,
    lines: usize,
}

impl Journal {
    /// Opens the file, removes what a killed predecessor left, and begins anew.
    ///
    /// # Errors
    /// When the file cannot be had, or another daemon has it.
    pub(super) fn start(path: &Path, netlink: &mut Netlink) -> io::Result<Self> {
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        file.try_lock().map_err(|_| io::Error::other("another daemon uses it"))?;
        let mut text = Vec::new();
        (&mut file).take(LONGEST).read_to_end(&mut text)?;
        let left = read(&String::from_utf8_lossy(&text));
        if !left.is_empty() {
            let tables: BTreeSet<u32> = left
                .iter()
                .filter_map(|thing| match thing {
                    Thing::Route(route) => Some(route.table),
                    Thing::Address(..) => None,
                })
                .collect();
            let mut there = There { routes: Vec::new(), addresses: BTreeSet::new() };
            for table in tables {
                there.routes.extend(netlink.list_routes(table)?);
            }
            there.addresses = netlink.addresses()?.iter().map(|a| (a.address, a.prefix, a.ifindex)).collect();
            for thing in left {
                thing.remove(netlink, &there)?;
            }
        }
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(Self { file: Some(file), ..Self::default() })
    }

    /// Before it is made.
    pub(super) fn remember(&mut self, thing: Thing) {
        if self.file.is_some() && self.live.insert(thing.to_string()) {
            self.write(&format!("+ {thing}\n"));
        }
    }

    /// When it is gone.
    pub(super) fn forget(&mut self, thing: Thing) {
        if self.live.remove(&thing.to_string()) {
            self.write(&format!("- {thing}\n"));
        }
    }

    fn write(&mut self, line: &str) {
        self.lines += 1;
        let Some(file) = &mut self.file else { return };
        let result = if self.lines > 2 * self.live.len() + SLACK {
            let all: String = self.live.iter().map(|thing| format!("+ {thing}\n")).collect();
            self.lines = self.live.len();
            let rewrite = |file: &mut File| {
                file.seek(SeekFrom::Start(0))?;
                file.write_all(all.as_bytes())?;
                file.set_len(all.len() as u64)
            };
            rewrite(file)
        } else {
            file.write_all(line.as_bytes())
        };
        if result.is_err() {
            // A full disk: what follows is not remembered, what was written still holds.
            self.file = None;
        }
    }
}

/// What counts of a file; the last line may be torn.
fn read(text: &str) -> Vec<Thing> {
    let mut live: Vec<Thing> = Vec::new();
    let mut gone: BTreeSet<String> = BTreeSet::new();
    // From the end: what was struck out later does not count.
    for line in text.lines().rev() {
        if let Some(thing) = line.strip_prefix("- ") {
            gone.insert(thing.to_owned());
        } else if let Some(thing) = line.strip_prefix("+ ")
            && gone.insert(thing.to_owned())
        {
            live.extend(Thing::parse(thing));
        }
    }
    live
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_struck_out_is_not() {
        let mut route = Route::through(("10.2.0.0".parse().unwrap(), 16), 220, 7, None);
        route.gateway = "192.0.2.254".parse().ok();
        let throw = Route { protocol: STATIC, ..Route::throw(("fd02::".parse().unwrap(), 64), 220) };
        let things =
            [Thing::Route(route), Thing::Route(throw), Thing::Address("fd09::1".parse().unwrap(), 3)];
        for thing in things {
            assert_eq!(Thing::parse(&thing.to_string()), Some(thing), "{thing}");
        }
        let [a, b, c] = things.map(|thing| thing.to_string());
        let text = format!("+ {a}\n+ {b}\n- {a}\n+ {c}\n- {b}\n+ {b}\n+ address 10.0.");
        assert_eq!(read(&text), [things[1], things[2]]);
        assert!(read("+ route\n- \n+ address x 3\nnonsense\n+ throw 10.0.0.0 8 220 - - x\n").is_empty());
    }
}
