//! The core's questions and orders, carried out on this host.

use std::net::IpAddr;

use adit_dataplane::Limits;
use adit_ike::{Action, ActionId, Completion, Group};
use adit_ipsec::ChildSa;

use crate::driver::Driver;

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
                None
            }
            Action::QueryUsage { id } => Some(Completion::Usage(self.dataplane.usage(id))),
            Action::InstallVirtualIps { ike, addresses, dns } => {
                Some(Completion::Done(self.install_virtual_ips(ike, &addresses, dns)))
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
            Action::SourceAddress { remote, among } => Some(Completion::Source(self.source(remote, &among))),
        }
    }

    fn install_child(&mut self, sa: ChildSa) -> Result<(), String> {
        let id = sa.id;
        let limits = self.limits(&sa);
        self.dataplane.install(sa).map_err(|e| e.sentence)?;
        if let Some(limits) = limits {
            self.dataplane.set_limits(id, limits);
        }
        Ok(())
    }

    /// Volume limits of the configured child, if it has any.
    fn limits(&self, sa: &ChildSa) -> Option<Limits> {
        let child = self.store.ike(&sa.ike_name)?.child(&sa.name)?;
        let given = |value: u64| (value > 0).then_some(value);
        // The SPI is random: it serves as the jitter that keeps both ends from rekeying at once.
        let jitter = |soft: u64, rand: u64| {
            let part =
                rand.min(soft / 2).checked_mul(u64::from(sa.spi_in & 0xffff)).map_or(0, |n| n / 0x1_0000);
            soft - part
        };
        let limits = Limits {
            soft_bytes: given(child.rekey_bytes).map(|soft| jitter(soft, child.rand_bytes)),
            hard_bytes: given(child.life_bytes),
            soft_packets: given(child.rekey_packets).map(|soft| jitter(soft, child.rand_packets)),
            hard_packets: given(child.life_packets),
        };
        (limits != Limits::default()).then_some(limits)
    }

    fn install_virtual_ips(
        &mut self,
        ike: u32,
        addresses: &[IpAddr],
        dns: Vec<IpAddr>,
    ) -> Result<(), String> {
        for (index, address) in addresses.iter().enumerate() {
            if let Err(error) = self.dataplane.add_virtual_ip(*address) {
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

    /// Which of our addresses to talk to a peer from.
    fn source(&mut self, remote: IpAddr, among: &[IpAddr]) -> Result<IpAddr, String> {
        let routed = self.netlink.source_for(remote);
        if among.is_empty() {
            return routed.map_err(|e| format!("there is no route to {remote} ({e})"));
        }
        if let Ok(source) = &routed
            && among.contains(source)
        {
            return Ok(*source);
        }
        let here = self.netlink.addresses().map_err(|e| e.to_string())?;
        let found = among.iter().find(|a| here.iter().any(|h| h.address == **a));
        match (found, routed) {
            (Some(_), Err(error)) => Err(format!("there is no route to {remote} ({error})")),
            (Some(source), Ok(_)) => Ok(*source),
            (None, _) => {
                let list: Vec<String> = among.iter().map(ToString::to_string).collect();
                Err(format!("{} is not an address of this host", list.join(", ")))
            }
        }
    }
}
