//! Data planes: what carries packets through the CHILD_SAs that IKE has negotiated.
//!
//! In: [`ChildSa`] records, traps, virtual IPs. Out: encrypted and decrypted packets, [`DataplaneEvent`]s, usage.
//! [`Kernel`] has the kernel do ESP, [`Userspace`] does it itself between a TUN device and UDP or raw sockets, [`Null`]
//! only keeps the books (load tests).
//!
//! A data plane never negotiates: it says that traffic waits, that an SA is used up, that a peer seems to have
//! moved, and leaves the decision to IKE. It never leaves an address, route, rule or device behind after
//! [`Dataplane::shutdown`], and at start removes what a killed predecessor left.

mod event;
pub mod kernel;
mod null;
mod routes;
mod state;
pub mod userspace;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use adit_ipsec::{ChildSa, EntryOptions, ShuntPolicy, TrapPolicy, Usage};

pub use adit_linux::route::Own;
pub use event::{Counters, Datagram, DataplaneEvent, DataplaneEvents, InstallError};
pub use kernel::Kernel;
pub use null::Null;
pub use routes::RouteConfig;
pub use userspace::{Userspace, UserspaceConfig};

/// What IKE and the gateway ask of a data plane. Calls are brief and come from one thread at a time.
pub trait Dataplane: Send {
    /// The backend's name, for logs and status.
    fn name(&self) -> &'static str;

    /// Whether SAs and policies can be made with these options: asked when a configuration is loaded, long before
    /// anything is to be installed, so that it is refused where the operator sees it. `%unique` is asked as a number.
    ///
    /// # Errors
    /// A sentence that names the keys.
    fn serves(&self, options: &EntryOptions) -> Result<(), InstallError> {
        let _ = options;
        Ok(())
    }

    /// The number of the XFRM interface that is there for a connection's children unless they name one themselves, always
    /// the same; 0 = they have none. It is made with the first trap or CHILD_SA that is bound to it.
    fn if_id(&mut self, connection: &str) -> u32 {
        let _ = connection;
        0
    }

    /// Installs both directions of a CHILD_SA, with its routes.
    ///
    /// Inbound works at once. Outbound does when `outbound_ready`, else from [`Self::activate_outbound`] on
    /// (RFC 7296 §2.8: the responder of a rekey sends on the old SA until it knows the initiator has the new one).
    /// The SA it `replaces` no longer sends from then on, but receives until removed. Reaching a limit of volume (both
    /// directions counted by themselves) is reported as [`DataplaneEvent::Expired`].
    ///
    /// # Errors
    /// A sentence; nothing is left installed then.
    fn install(&mut self, sa: ChildSa) -> Result<(), InstallError>;

    /// Lets a CHILD_SA that was installed inbound only send.
    fn activate_outbound(&mut self, id: u32);

    /// Changes the outer addresses of a CHILD_SA.
    fn update_path(&mut self, id: u32, local: SocketAddr, remote: SocketAddr, udp_encap: bool);

    /// The packets that a CHILD_SA sends skip so many sequence numbers, or all that are left (RFC 6311 §5.2).
    fn skip_sequence(&mut self, id: u32, by: u64) {
        let _ = (id, by);
    }

    /// Removes a CHILD_SA and the routes nobody else needs.
    fn remove(&mut self, id: u32);

    /// What a CHILD_SA has carried; `None` if there is none of that id.
    fn usage(&self, id: u32) -> Option<Usage>;

    /// Installs a trap: the first packet that matches it and no SA is reported, and kept where the backend has room for
    /// it (the kernel has none).
    ///
    /// # Errors
    /// A sentence; nothing is left installed then.
    fn add_trap(&mut self, trap: TrapPolicy) -> Result<(), InstallError>;

    /// Removes a trap and its routes.
    fn remove_trap(&mut self, id: u32);

    /// Installs a policy without an SA: traffic in the clear, or none (RFC 4301 §4.4.1). Passing goes before all SAs,
    /// dropping after them and all traps.
    ///
    /// # Errors
    /// A sentence; nothing is left installed then.
    fn add_shunt(&mut self, policy: ShuntPolicy) -> Result<(), InstallError>;

    /// Removes such a policy.
    fn remove_shunt(&mut self, id: u32);

    /// Adds a virtual IP to this host, for tunnels that begin at `local`. Counted: it stays until removed as often.
    ///
    /// # Errors
    /// A sentence.
    fn add_virtual_ip(&mut self, address: IpAddr, local: IpAddr) -> Result<(), InstallError>;

    /// Removes a virtual IP.
    fn remove_virtual_ip(&mut self, address: IpAddr);

    /// What of this host's addresses, interfaces and routes is the tunnels' own.
    fn own(&self) -> Own {
        Own::default()
    }

    /// The table of the tunnels' routes, where ways to peers are to be looked up as if it were not there: what is sealed
    /// does not follow it.
    fn hidden_table(&self) -> Option<u32> {
        None
    }

    /// Addresses or routes of this host have changed: what was made with regard to them is brought up to date. Mends what
    /// is missing, too, and returns as [`Self::mend`].
    fn addresses_changed(&mut self) -> Option<Duration> {
        None
    }

    /// Something of [`Self::own`] has changed by another's hand: what is missing is put back. Returns when to look again,
    /// if not only at the next change: whoever keeps removing things is not answered without bound.
    fn mend(&mut self) -> Option<Duration> {
        None
    }

    /// What the operator should read in the log, since the last time this was asked: things put back, things that could
    /// not be had and are not vital.
    fn notes(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Removes everything: SAs, addresses, routes, rules, the device. Nothing works afterwards.
    fn shutdown(&mut self);
}
