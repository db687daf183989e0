//! A topology with both ends running.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::net::{NODE, Network};
use crate::peer::Peer;
use crate::scenario::{Roles, Scenario};
use crate::tree::Tree;
use crate::wait::{eventually, wait_for};

/// Everything of one case. Dropping it stops the daemons, then deletes the namespaces.
pub struct World {
    /// The gateway's daemon.
    pub gw: Peer,
    /// The road-warrior's daemon.
    pub rw: Peer,
    /// The name of the connection at both ends.
    pub name: String,
    /// The namespaces.
    pub net: Network,
    folder: TempDir,
}

impl World {
    /// Builds the network and starts both ends with `scenario`.
    pub fn start(roles: Roles, scenario: &Scenario) -> Self {
        let net = Network::build();
        let folder = tempfile::Builder::new().prefix("adit-test-").tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let gw = Peer::start(roles.gw, &net.gw, &at("gw"), &scenario.gw);
        let rw = Peer::start(roles.rw, &net.rw, &at("rw"), &scenario.rw);
        Self { gw, rw, name: scenario.rw.name.clone(), net, folder }
    }

    /// The case's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The node is not reachable without the tunnel: what makes a later "reachable" say something.
    pub fn unreachable_first(&self) {
        assert!(!self.net.rw.ping(NODE), "the node is reachable without a tunnel");
    }

    /// Brings up `net` from the road-warrior, after showing that the node was out of reach before.
    pub fn up(&self) -> Tree {
        self.up_within(20)
    }

    /// The same with so many seconds for it.
    pub fn up_within(&self, seconds: u32) -> Tree {
        self.unreachable_first();
        if let Err(output) = self.rw.initiate(&self.name, "net", seconds) {
            panic!("initiating {} failed:\n{output}", self.name);
        }
        let sa = self.rw.established(&self.name).expect("the road-warrior's IKE_SA");
        // the gateway installs while its response travels
        wait_for("the gateway's IKE_SA", Duration::from_secs(5), || self.gw.established(&self.name));
        sa
    }

    /// The node answers, with small and with full-size packets.
    pub fn reachable(&self) {
        assert!(self.net.rw.pings(NODE, 3, 56), "no ping through the tunnel");
        assert!(self.net.rw.pings(NODE, 2, 1300), "no large ping through the tunnel");
    }

    /// Takes the tunnel down from `by_gateway`'s side and checks that both ends forget everything.
    pub fn down(&self, by_gateway: bool) {
        let (peer, side) = if by_gateway { (&self.gw, "gateway") } else { (&self.rw, "road-warrior") };
        let outcome = peer.terminate(&self.name);
        assert!(outcome.success, "terminating by the {side}: {}", outcome.all());
        self.nothing_left();
    }

    /// No SA, address, route or lease of a tunnel is left at either end.
    pub fn nothing_left(&self) {
        let limit = Duration::from_secs(5);
        self.rw.wait_until_empty(limit);
        self.gw.wait_until_empty(limit);
        let check = |what: &str, condition: &dyn Fn() -> bool| {
            assert!(eventually(limit, condition), "left behind: {what}");
        };
        check("a lease", &|| self.gw.leases_online() == 0);
        check("a virtual address", &|| !self.net.rw.has_virtual_ip());
        check("a route of the road-warrior", &|| self.net.rw.tunnel_routes().is_empty());
        check("a route of the gateway", &|| self.net.gw.tunnel_routes().is_empty());
    }
}
