//! Two hosts, and packets from one to the other.

use std::net::SocketAddr;
use std::time::Instant;

use adit_linux::netns::{Namespace, veth};
use adit_linux::poll::Poller;
use adit_linux::route::Netlink;
use adit_linux::udp::UdpSocket;
use adit_linux::xfrm::{Direction, ESP, Policy, Request, Sa, SaState, Selector, Template, Xfrm};

use crate::lab::namespace;
use crate::{PATIENCE, address};

/// Two hosts on one wire.
pub(crate) struct Hosts {
    pub(crate) a: Namespace,
    pub(crate) b: Namespace,
}

impl Hosts {
    pub(crate) fn new() -> Self {
        let hosts = Self { a: namespace("a").unwrap(), b: namespace("b").unwrap() };
        veth((&hosts.a, "v0"), (&hosts.b, "v1")).unwrap();
        for (inside, device, addresses) in [
            (&hosts.a, "v0", ["192.0.2.1", "192.0.2.11", "10.0.1.1", "fd00:1::1"]),
            (&hosts.b, "v1", ["192.0.2.2", "192.0.2.12", "10.0.2.1", "fd00:2::1"]),
        ] {
            inside
                .run(|| {
                    let mut netlink = Netlink::new().unwrap();
                    let index = netlink.link_index(device).unwrap();
                    for (text, prefix) in addresses.into_iter().zip([24, 24, 16, 32]) {
                        netlink.add_address(index, address(text), prefix).unwrap();
                    }
                })
                .unwrap();
        }
        hosts
    }

    /// ESP from `a` to `b`, with the policies for it at both, for what goes from `sender` to `receiver`.
    pub(crate) fn one_way(&self, out: &Sa, into: &Sa, sender: &str, receiver: &str) {
        let host = |text: &str| (address(text), if address(text).is_ipv4() { 32 } else { 128 });
        let selector = Selector::between(host(sender), host(receiver));
        for (inside, sa, direction) in [(&self.a, out, Direction::Out), (&self.b, into, Direction::In)] {
            let mut policy = Policy::pass(selector, direction, 1);
            policy.if_id = sa.if_id;
            policy.templates = vec![template(sa)];
            let mut xfrm = inside.run(|| Xfrm::new().unwrap()).unwrap();
            let done = xfrm.batch(&[Request::AddSa(sa), Request::AddPolicy(&policy)]);
            done.into_iter().for_each(|result| drop(result.unwrap()));
        }
    }
}

/// What asks for an SA.
pub(crate) fn template(sa: &Sa) -> Template {
    Template {
        src: sa.src,
        dst: sa.dst,
        spi: 0,
        protocol: ESP,
        mode: sa.mode,
        reqid: sa.reqid,
        optional: false,
    }
}

/// Sends datagrams until `b` has `count` of them.
pub(crate) fn carry(hosts: &Hosts, sender: &str, receiver: &str, count: usize) {
    let socket = |inside: &Namespace, at: &str| {
        let at = SocketAddr::new(address(at), 0);
        inside.run(|| UdpSocket::bind(at, None).unwrap()).unwrap()
    };
    let (sender, receiver) = (socket(&hosts.a, sender), socket(&hosts.b, receiver));
    let poller = Poller::new().unwrap();
    poller.add(&receiver, 0).unwrap();
    let end = Instant::now() + PATIENCE;
    for n in 0..count {
        let text = [b'a'; 100];
        sender.send(None, receiver.local_addr(), &text).unwrap();
        let mut buffer = [0; 200];
        while receiver.recv(&mut buffer).is_err() {
            let left = end.checked_duration_since(Instant::now());
            assert!(left.is_some(), "datagram {n} did not arrive");
            poller.wait(&mut Vec::new(), left).unwrap();
        }
    }
}

pub(crate) fn state(inside: &Namespace, sa: &Sa) -> SaState {
    inside.run(|| Xfrm::new().unwrap().get_sa(sa.id()).unwrap()).unwrap()
}
