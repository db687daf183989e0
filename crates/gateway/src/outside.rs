//! The core's questions and orders, carried out on this host.

use std::net::IpAddr;

use adit_ike::{Action, ActionId, Completion, Group};
use adit_ipsec::ChildSa;
use adit_linux::route::{Way, Without};

use crate::driver::Driver;
use crate::settings;

impl Driver {
    /// Carries one out; what takes long is answered later by mail.
    pub(crate) fn perform(&mut self, id: ActionId, action: Action) -> Option<Completion> {
        match action {
            Action::Lease { pools, identity, wanted } => {
                let leased = self.pools.acquire(&pools, &identity, &wanted).map(|mut leased| {
                    leased.attributes.extend(self.attributes.iter().cloned());
                    leased
                });
                Some(Completion::Lease(leased))
            }
            Action::Release { identity, addresses, .. } => {
                self.pools.release(&addresses, &identity);
                None
            }
            Action::InstallChild(sa) => Some(Completion::Done(self.install_child(*sa))),
            Action::ActivateOutbound { id } => {
                self.dataplane.activate_outbound(id);
                None
            }
            Action::UpdateChild { id, path, udp_encap } => {
                self.dataplane.update_path(id, path.local, path.remote, udp_encap);
                None
            }
            Action::SkipSequence { id, by } => {
                self.dataplane.skip_sequence(id, by);
                None
            }
            Action::RemoveChild { id } => {
                self.dataplane.remove(id);
                if let Some(firewall) = &self.firewall {
                    firewall.child_down(id);
                }
                None
            }
            Action::QueryUsage { id } => Some(Completion::Usage(self.dataplane.usage(id))),
            Action::InstallVirtualIps { ike, local, addresses, dns } => {
                Some(Completion::Done(self.install_virtual_ips(ike, local, &addresses, dns)))
            }
            Action::RemoveVirtualIps { ike, addresses, .. } => {
                for address in addresses {
                    self.dataplane.remove_virtual_ip(address);
                }
                if let Some(Err(error)) = self.resolv.as_mut().map(|r| r.remove(ike)) {
                    self.logger.line(Group::Ike, 1, format!("removing DNS servers failed: {error}"));
                }
                None
            }
            Action::Resolve { name } => {
                self.resolver.ask(id, name);
                None
            }
            Action::SourceAddress { remote, among, current } => {
                Some(Completion::Source(self.source(remote, &among, current)))
            }
        }
    }

    fn install_child(&mut self, sa: ChildSa) -> Result<(), String> {
        let id = sa.id;
        if let Some(firewall) = &self.firewall {
            firewall.child_up(&sa);
        }
        self.dataplane.install(sa).map_err(|error| {
            if let Some(firewall) = &self.firewall {
                firewall.child_down(id);
            }
            error.sentence
        })
    }

    fn install_virtual_ips(
        &mut self,
        ike: u32,
        local: IpAddr,
        addresses: &[IpAddr],
        dns: Vec<IpAddr>,
    ) -> Result<(), String> {
        for (index, address) in addresses.iter().enumerate() {
            if let Err(error) = self.dataplane.add_virtual_ip(*address, local) {
                for added in addresses.iter().take(index) {
                    self.dataplane.remove_virtual_ip(*added);
                }
                return Err(error.sentence);
            }
        }
        if let Some(resolv) = &mut self.resolv {
            let path = resolv.path().display().to_string();
            let servers = dns.clone();
            match resolv.install(ike, dns) {
                Ok(()) => {
                    for server in servers {
                        self.logger.line(Group::Ike, 1, format!("installing DNS server {server} to {path}"));
                    }
                }
                // names resolve as before; the tunnel itself is fine
                Err(error) => {
                    self.logger.line(
                        Group::Ike,
                        0,
                        format!("installing DNS servers to {path} failed: {error}"),
                    );
                }
            }
        }
        Ok(())
    }

    /// Which of our addresses to talk to a peer from; the one in use as long as it will do.
    fn source(
        &mut self,
        remote: IpAddr,
        among: &[IpAddr],
        current: Option<IpAddr>,
    ) -> Result<IpAddr, String> {
        let way = self.way_to(remote);
        let routed = way.as_ref().ok().and_then(|way| way.source).filter(|a| !self.roam.is_closed(*a));
        let no_route = |why: String| format!("there is no route to {remote} ({why})");
        let chosen = routed.filter(|source| among.is_empty() || among.contains(source));
        if current.is_none_or(|current| chosen == Some(current))
            && let Some(source) = chosen
        {
            return Ok(source);
        }
        let mut here = self.netlink.addresses().map_err(|e| e.to_string())?;
        here.retain(|a| !self.roam.is_closed(a.address));
        let way = way.map_err(|e| no_route(e.to_string()))?;
        let is_here = |addr: IpAddr| here.iter().find(|h| h.address == addr);
        // An address that nobody asked for is good while it is one of the interface that packets leave by: the next hop
        // expects none of another. One that is configured is good wherever it is.
        let stays = current.filter(|current| match among {
            [] => is_here(*current).is_some_and(|address| Some(address.ifindex) == way.ifindex),
            among => among.contains(current) && is_here(*current).is_some(),
        });
        if let Some(source) = stays.or(chosen) {
            return Ok(source);
        }
        match among.iter().find(|addr| is_here(**addr).is_some()) {
            Some(source) => Ok(*source),
            None if among.is_empty() => Err(no_route("no source address".into())),
            None => {
                let list: Vec<String> = among.iter().map(ToString::to_string).collect();
                let closed = among.iter().any(|address| self.roam.is_closed(*address));
                let why = if closed {
                    "on an interface that charon.interfaces_use or interfaces_ignore leaves out"
                } else {
                    "not an address of this host"
                };
                Err(format!("{} is {why}", list.join(", ")))
            }
        }
    }

    /// The way to a peer, by the interfaces and tables that may be used.
    fn way_to(&mut self, remote: IpAddr) -> std::io::Result<Way> {
        let network = &self.roam.network;
        let hidden = self.dataplane.hidden_table();
        let tables: Vec<u32> = network.ignore_routing_tables.iter().copied().chain(hidden).collect();
        let interfaces = self.netlink.links_outside(&settings::interfaces(network))?;
        self.netlink.way_around(remote, Without { tables: &tables, interfaces: &interfaces })
    }
}
