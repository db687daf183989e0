//! Before the first message: which address to send to, and from which.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use adit_ipsec::GatewayId;

use crate::action::{Action, Path};
use crate::config::{Connection, HostSpec};
use crate::core::{Core, Wait, log};
use crate::reason::Reason;
use crate::sa::{IkeSa, Phase, Task, Wish};

/// The step that waits for the outside.
pub(crate) struct Preparing {
    /// Local addresses that the connection allows, of the peer's family.
    among: Vec<IpAddr>,
    /// `Core::turn` of the question for our address.
    turn: u32,
}

fn unspecified(port: u16) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)
}

impl IkeSa {
    /// A new IKE_SA as initiator; its first question is asked at once.
    pub(crate) fn initiate(core: &mut Core, conn: Arc<Connection>, wishes: Vec<Wish>) -> Box<Self> {
        Self::initiate_as(core, conn, |sa| sa.queue.extend(wishes.into_iter().map(Task::Child)))
    }

    /// The same for one that `prepare` makes what it is to be.
    pub(crate) fn initiate_as(
        core: &mut Core,
        conn: Arc<Connection>,
        prepare: impl FnOnce(&mut Self),
    ) -> Box<Self> {
        let path = Path { local: unspecified(conn.local_port), remote: unspecified(conn.remote_port) };
        let id = core.next_sa_id();
        let mut sa = Box::new(Self::new(id, conn, true, path, core.now));
        sa.spi_i = core.new_ike_spi();
        prepare(&mut sa);
        sa.restart(core);
        sa
    }

    /// Starts the initiation from the beginning: names are resolved again, too.
    pub(crate) fn restart(&mut self, core: &mut Core) {
        if let Phase::AuthI(auth) = &mut self.phase
            && let Some(offer) = auth.take_offer()
        {
            core.release_esp_spi(offer.spi_in);
            self.queue.push_front(Task::Child(offer.wish));
        }
        // A late answer to what was sent before must not be taken for one to what comes now.
        if core.by_spi.remove(&self.spi_i).is_some() {
            self.spi_i = core.new_ike_spi();
            core.by_spi.insert(self.spi_i, self.id);
        }
        self.window = crate::sa::Window::default();
        self.active = crate::sa::Active::None;
        self.reassembly = None;
        self.spi_r = 0;
        self.keys = None;
        self.nat = crate::sa::Nat::default();
        self.phase = Phase::Preparing(Box::new(Preparing { among: Vec::new(), turn: core.turn }));
        self.path.local = unspecified(self.conn.local_port);
        self.path.remote = SocketAddr::new(self.path.remote.ip(), self.conn.remote_port);
        match self.target() {
            Some(Ok(addr)) => self.on_remote(core, addr),
            Some(Err(name)) => core.ask(self.id, Wait::Resolve, Action::Resolve { name }),
            None => self.fail(core, Reason::NoRemoteAddress),
        }
    }

    /// The address to go to, or the name that has it.
    fn target(&self) -> Option<Result<IpAddr, String>> {
        match self.detour_target() {
            Some(GatewayId::Address(addr)) => Some(Ok(*addr)),
            Some(GatewayId::Name(name)) => Some(Err(name.clone())),
            None => self.conn.remote_addrs.iter().find_map(|spec| match spec {
                HostSpec::Addr(addr) => Some(Ok(*addr)),
                HostSpec::Name(name) => Some(Err(name.clone())),
                _ => None,
            }),
        }
    }

    pub(crate) fn on_resolved(&mut self, core: &mut Core, addresses: &[IpAddr]) {
        if !matches!(self.phase, Phase::Preparing(_)) {
            return;
        }
        // Families that the configured local addresses rule out are of no use.
        let usable = |addr: &&IpAddr| {
            self.conn.local_addrs.iter().all(|spec| !matches!(spec, HostSpec::Addr(_)))
                || self
                    .conn
                    .local_addrs
                    .iter()
                    .any(|spec| matches!(spec, HostSpec::Addr(own) if own.is_ipv4() == addr.is_ipv4()))
        };
        match addresses.iter().find(usable) {
            Some(addr) => self.on_remote(core, *addr),
            None => {
                let name = self.target().and_then(Result::err).unwrap_or_default();
                self.unprepared(core, Reason::NameUnresolved { name });
            }
        }
    }

    fn on_remote(&mut self, core: &mut Core, remote: IpAddr) {
        self.path.remote = SocketAddr::new(remote, self.conn.remote_port);
        let among = self.configured_sources(remote);
        self.phase = Phase::Preparing(Box::new(Preparing { among: among.clone(), turn: core.turn }));
        core.ask(self.id, Wait::Source, Action::SourceAddress { remote, among, current: None });
    }

    /// The addresses among `local_addrs` that `remote` can be reached from.
    pub(crate) fn configured_sources(&self, remote: IpAddr) -> Vec<IpAddr> {
        let specs = self.conn.local_addrs.iter();
        specs
            .filter_map(|spec| match spec {
                HostSpec::Addr(addr) if addr.is_ipv4() == remote.is_ipv4() => Some(*addr),
                _ => None,
            })
            .collect()
    }

    /// What the system answered, if `configured` allows it.
    pub(crate) fn allowed_source(
        configured: &[IpAddr],
        remote: IpAddr,
        source: Result<IpAddr, String>,
    ) -> Result<IpAddr, String> {
        match source {
            Ok(addr) if !configured.is_empty() && !configured.contains(&addr) => {
                Err(format!("the host sends to {remote} from {addr}"))
            }
            other => other,
        }
    }

    pub(crate) fn on_source(&mut self, core: &mut Core, source: Result<IpAddr, String>) {
        let Phase::Preparing(preparing) = &self.phase else { return };
        let configured = preparing.among.clone();
        let remote = self.path.remote.ip();
        if preparing.turn != core.turn {
            // Addresses have changed since the question was asked.
            return self.on_remote(core, remote);
        }
        match Self::allowed_source(&configured, remote, source) {
            Ok(addr) => {
                self.path.local = SocketAddr::new(addr, self.conn.local_port);
                self.start_init(core);
            }
            Err(detail) => self.unprepared(core, Reason::LocalAddrMissing { configured, remote, detail }),
        }
    }

    /// This host is not ready: names do not resolve, there is no address or route yet. Tried again after
    /// `charon.retry_initiate_interval`, or with growing pauses where `keyingtries` says for ever.
    fn unprepared(&mut self, core: &mut Core, reason: Reason) {
        let interval = core.settings.retry_initiate_interval;
        let configured = core.config.connections.iter().any(|conn| conn.name == self.conn.name);
        let wait = match (configured, interval.is_zero(), self.conn.keyingtries) {
            (true, false, _) => interval,
            (true, true, 0) => core.pause(self.tries, Duration::from_secs(4), Duration::from_secs(300)),
            _ => return self.fail(core, reason),
        };
        self.tries = self.tries.saturating_add(1);
        log!(core, Ike, 1, self, "{reason}, trying again in {} seconds", wait.as_secs());
        core.event(self.failure(&reason));
        self.phase = Phase::Preparing(Box::new(Preparing { among: Vec::new(), turn: core.turn }));
        self.retry_at = Some(core.now + wait);
    }
}
