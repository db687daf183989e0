//! Two hosts in network namespaces, joined by a veth pair, each with a data plane.

#![allow(dead_code)] // Each test binary uses its own part.

use std::net::{IpAddr, SocketAddr, UdpSocket as StdUdp};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use adit_dataplane::{
    Datagram, Dataplane, DataplaneEvent, DataplaneEvents, Kernel, RouteConfig, Userspace, UserspaceConfig,
};
use adit_ipsec::{ChildSa, HeaderRules, Limits, Mode, SaKeys, Selector};
use adit_linux::netns::{Namespace, veth};
use adit_linux::udp::UdpSocket;
use adit_linux::xfrm;

/// Longer than anything here takes; only a failure waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// One host: `192.0.2.n` and `2001:db8::n` outside, `10.n.0.1` and `fd00:n::1` inside (on loopback).
pub(crate) struct Host<P: Plane = Userspace> {
    pub(crate) plane: Option<P>,
    pub(crate) events: Receiver<DataplaneEvent>,
    pub(crate) ike: Receiver<Datagram>,
    pub(crate) sockets: Vec<Arc<UdpSocket>>,
    pub(crate) before: String,
    pub(crate) n: u8,
    pub(crate) namespace: Namespace,
}

/// A data plane that can be tried here.
pub(crate) trait Plane: Dataplane + Sized {
    /// What it is started with.
    type Config: Send;
    /// The mark of its sockets.
    const MARK: Option<u32>;

    /// Why it cannot be tried on this machine.
    fn unable() -> Option<String>;

    /// Starts it in the network namespace of the calling thread, beside these NAT-T sockets.
    fn begin(
        config: Self::Config,
        sockets: &[Arc<UdpSocket>],
        ike: Box<dyn Fn(Datagram) + Send>,
        events: DataplaneEvents,
    ) -> Self;

    /// As a gateway starts it that is not told otherwise.
    fn usual() -> Self::Config;
}

impl Plane for Userspace {
    type Config = UserspaceConfig;
    const MARK: Option<u32> = Some(adit_dataplane::userspace::MARK);

    fn unable() -> Option<String> {
        let tun = std::fs::File::options().read(true).write(true).open("/dev/net/tun");
        tun.err().map(|error| format!("/dev/net/tun: {error}"))
    }

    fn begin(
        config: UserspaceConfig,
        sockets: &[Arc<UdpSocket>],
        ike: Box<dyn Fn(Datagram) + Send>,
        events: DataplaneEvents,
    ) -> Self {
        Self::new(config, sockets.to_vec(), ike, events).unwrap()
    }

    fn usual() -> UserspaceConfig {
        UserspaceConfig::default()
    }
}

impl Plane for Kernel {
    type Config = RouteConfig;
    const MARK: Option<u32> = None;

    fn unable() -> Option<String> {
        let namespace = namespace("probe")?;
        let tried = namespace.run(|| Self::new(RouteConfig::default(), Arc::new(drop))).unwrap();
        tried.err().map(|error| error.to_string())
    }

    fn begin(
        config: RouteConfig,
        sockets: &[Arc<UdpSocket>],
        _ike: Box<dyn Fn(Datagram) + Send>,
        events: DataplaneEvents,
    ) -> Self {
        let plane = Self::new(config, events).unwrap();
        for socket in sockets {
            xfrm::bypass(socket, socket.local_addr().is_ipv4()).unwrap();
            socket.esp_in_udp().unwrap();
        }
        plane
    }

    fn usual() -> RouteConfig {
        RouteConfig::default()
    }
}

pub(crate) fn address(text: impl AsRef<str>) -> IpAddr {
    text.as_ref().parse().unwrap()
}

pub(crate) fn net(text: impl AsRef<str>) -> Selector {
    let (address, prefix) = text.as_ref().split_once('/').unwrap();
    Selector::from_cidr(address.parse().unwrap(), prefix.parse().unwrap()).unwrap()
}

fn namespace(what: &str) -> Option<Namespace> {
    let name = format!("adp{}-{}-{what}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    match Namespace::create(&name) {
        Ok(namespace) => Some(namespace),
        Err(error) => {
            println!("SKIPPED: {error}");
            None
        }
    }
}

/// Two hosts, 1 and 2, without data planes yet.
pub(crate) fn hosts<P: Plane>() -> Option<(Host<P>, Host<P>)> {
    if let Some(reason) = P::unable() {
        println!("SKIPPED: {reason}");
        return None;
    }
    let (a, b) = (namespace("a")?, namespace("b")?);
    veth((&a, "eth0"), (&b, "eth0")).unwrap();
    Some((Host::new(a, 1), Host::new(b, 2)))
}

/// Two hosts with data planes running.
pub(crate) fn planes<P: Plane>() -> Option<(Host<P>, Host<P>)> {
    let (mut a, mut b) = hosts()?;
    a.start(P::usual());
    b.start(P::usual());
    Some((a, b))
}

impl Host<Userspace> {
    /// Waits until the counters satisfy a condition.
    pub(crate) fn until(&self, what: &str, condition: impl Fn(&adit_dataplane::Counters) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !condition(&self.plane.as_ref().unwrap().counters()) {
            assert!(Instant::now() < end, "{what}: {:?}", self.plane.as_ref().unwrap().counters());
            std::thread::yield_now();
        }
    }
}

impl<P: Plane> Host<P> {
    fn new(namespace: Namespace, n: u8) -> Self {
        let (_, events) = channel();
        let (_, ike) = channel();
        let mut host =
            Self { plane: None, events, ike, sockets: Vec::new(), before: String::new(), n, namespace };
        host.ip(&format!("addr add 192.0.2.{n}/24 dev eth0"));
        host.ip(&format!("addr add 2001:db8::{n}/64 dev eth0 nodad"));
        host.ip(&format!("addr add 10.{n}.0.1/32 dev lo"));
        host.ip(&format!("addr add fd00:{n}::1/128 dev lo nodad"));
        // Whatever the machine's default is, the tests are about the tunnel and not about filters.
        let _ = host.namespace.sysctl("net.ipv4.conf.all.rp_filter", "0");
        // The kernel makes an IPv6 address's own routes when it gets round to it.
        let own = [format!("local 2001:db8::{n} "), format!("local fd00:{n}::1 ")];
        let start = Instant::now();
        while !own.iter().all(|route| host.ip("-6 route show table local").contains(route)) {
            assert!(start.elapsed() < PATIENCE, "{}", host.ip("-6 route show table local"));
            std::thread::yield_now();
        }
        host.before = host.listing();
        host
    }

    pub(crate) fn outer(&self) -> IpAddr {
        address(format!("192.0.2.{}", self.n))
    }

    pub(crate) fn inner(&self) -> IpAddr {
        address(format!("10.{}.0.1", self.n))
    }

    pub(crate) fn inner6(&self) -> IpAddr {
        address(format!("fd00:{}::1", self.n))
    }

    pub(crate) fn start(&mut self, config: P::Config) {
        let (event_sink, events) = channel();
        let (ike_sink, ike) = channel();
        let (plane, sockets) = self
            .namespace
            .run(|| {
                let sockets = ["0.0.0.0:4500", "[::]:4500"]
                    .map(|a| Arc::new(UdpSocket::bind(a.parse().unwrap(), P::MARK).unwrap()));
                let plane = P::begin(
                    config,
                    &sockets,
                    Box::new(move |d| drop(ike_sink.send(d))),
                    Arc::new(move |e| drop(event_sink.send(e))),
                );
                (plane, sockets.to_vec())
            })
            .unwrap();
        (self.events, self.ike, self.sockets, self.plane) = (events, ike, sockets, Some(plane));
    }

    pub(crate) fn plane(&mut self) -> &mut P {
        self.plane.as_mut().unwrap()
    }

    /// Runs `ip` inside.
    pub(crate) fn ip(&self, arguments: &str) -> String {
        let output = self.namespace.command("ip").unwrap().args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Entries of the kernel's IPsec; none where it has none.
    pub(crate) fn xfrm(&self, what: &str) -> String {
        let output = self.namespace.command("ip").unwrap().args(what.split(' ')).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// IPv4 routes of table 220.
    pub(crate) fn table(&self) -> String {
        // `show table 220` fails while nobody has used that table.
        let all = self.ip("-4 route show table all");
        all.lines().filter(|l| l.contains(" table 220")).map(|l| l.replace(" table 220", "") + "\n").collect()
    }

    /// Everything a data plane could leave behind.
    pub(crate) fn listing(&self) -> String {
        [
            "rule",
            "-6 rule",
            "route show table all",
            "-6 route show table all",
            "-brief link",
            "-brief addr",
            "xfrm state",
            "xfrm policy list nosock",
        ]
        .map(|what| {
            // Neighbour discovery makes the order and state of link-local entries vary.
            let text = if what.starts_with("xfrm") { self.xfrm(what) } else { self.ip(what) };
            let lines = text.lines().filter(|l| !l.contains("fe80") && !l.contains("ff00"));
            lines.map(|l| l.split("expires").next().unwrap().trim_end().to_owned() + "\n").collect::<String>()
        })
        .concat()
    }

    pub(crate) fn event(&self) -> DataplaneEvent {
        self.events.recv_timeout(PATIENCE).expect("an event")
    }

    /// A socket of an application on this host.
    pub(crate) fn socket(&self, local: SocketAddr) -> StdUdp {
        let socket = self.namespace.run(|| StdUdp::bind(local)).unwrap().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    pub(crate) fn shutdown(&mut self) {
        self.plane.take().unwrap().shutdown();
        self.sockets.clear();
        assert_eq!(self.listing(), self.before);
    }
}

/// AES-GCM-16-256 keys that depend on the SPI alone, so that both ends agree.
pub(crate) fn keys(spi: u32) -> SaKeys {
    SaKeys { encr: 20, encr_key_bits: 256, integ: 0, encr_key: vec![spi as u8; 36], integ_key: Vec::new() }
}

/// The SA of `here` towards `there`; `series` makes SPIs and id. Both inner networks of both families.
pub(crate) fn sa<P: Plane>(here: &Host<P>, there: &Host<P>, series: u32) -> ChildSa {
    sa_of(here.n, there.n, series)
}

/// The same by the hosts' numbers.
pub(crate) fn sa_of(here: u8, there: u8, series: u32) -> ChildSa {
    let outer = |n: u8| address(format!("192.0.2.{n}"));
    let spi = |n: u8| 0x1000 * u32::from(n) + series;
    let networks = |n: u8| vec![net(format!("10.{n}.0.0/16")), net(format!("fd00:{n}::/64"))];
    ChildSa {
        id: series,
        reqid: 1,
        name: "net".into(),
        ike_name: "lab".into(),
        mode: Mode::Tunnel,
        spi_in: spi(here),
        spi_out: spi(there),
        keys_in: keys(spi(here)),
        keys_out: keys(spi(there)),
        local_ts: networks(here),
        remote_ts: networks(there),
        local: SocketAddr::new(outer(here), 4500),
        remote: SocketAddr::new(outer(there), 4500),
        udp_encap: true,
        esn: true,
        replay_window: 64,
        headers: HeaderRules::default(),
        tfc_padding: 0,
        virtual_ips: Vec::new(),
        limits: Limits::default(),
        options: Arc::default(),
        outbound_ready: true,
        replaces: None,
    }
}

/// Installs the same SA at both ends, changed for each by `change`.
pub(crate) fn both<P: Plane>(a: &mut Host<P>, b: &mut Host<P>, change: impl Fn(&mut ChildSa)) {
    let (mut one, mut two) = (sa(a, b, 1), sa(b, a, 1));
    change(&mut one);
    change(&mut two);
    a.plane().install(one).unwrap();
    b.plane().install(two).unwrap();
}

/// Sends `text` from `from` to `to` and expects it.
pub(crate) fn crosses(from: &StdUdp, to: &StdUdp, text: &str) {
    from.send_to(text.as_bytes(), to.local_addr().unwrap()).unwrap();
    let mut buffer = [0; 65536];
    let (n, source) = to.recv_from(&mut buffer).unwrap_or_else(|e| panic!("{text:.20} did not arrive: {e}"));
    assert_eq!(String::from_utf8_lossy(&buffer[..n]), text);
    assert_eq!(source, from.local_addr().unwrap());
}

/// Expects that nothing arrives for a moment.
pub(crate) fn silent(socket: &StdUdp) {
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv_from(&mut [0; 100]).is_err());
    socket.set_nonblocking(false).unwrap();
}
