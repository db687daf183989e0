//! A peer that plays the kernel.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

use super::super::bytes::messages;
use super::super::*;

pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A request as the peer sees it.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    pub(super) body: Vec<u8>,
}

/// Lets `talk` speak with a peer that answers the requests of each datagram by the datagrams `answer` makes.
pub(super) fn with_peer<T>(
    patience: Duration,
    answer: impl Fn(&[Asked]) -> Vec<Vec<u8>> + Send,
    talk: impl FnOnce(&mut Xfrm) -> T,
) -> T {
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || serve(&theirs, answer));
        let mut xfrm = Xfrm::on(Channel::on(ours, 77, patience).unwrap());
        talk(&mut xfrm)
    })
}

fn serve(socket: &OwnedFd, answer: impl Fn(&[Asked]) -> Vec<Vec<u8>>) {
    let mut room = vec![0; 1 << 20];
    loop {
        let length = recv(socket.as_raw_fd(), &mut room, MsgFlags::empty()).unwrap_or(0);
        if length == 0 {
            return; // The other end is gone.
        }
        let asked: Vec<_> = messages(&room[..length])
            .map(|message| message.unwrap())
            .map(|it| {
                let (kind, flags, sequence) = (it.kind, it.flags, it.sequence);
                Asked { kind, flags, sequence, body: it.body.to_vec() }
            })
            .collect();
        for datagram in answer(&asked) {
            if send(socket.as_raw_fd(), &datagram, MsgFlags::MSG_NOSIGNAL).is_err() {
                return; // It has heard enough.
            }
        }
    }
}

pub(super) fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = (16 + body.len() as u32).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(77u32.to_ne_bytes());
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// NLMSG_ERROR without the request's body, as `NETLINK_CAP_ACK` has it.
pub(super) fn error(sequence: u32, errno: i32) -> Vec<u8> {
    let mut body = (-errno).to_ne_bytes().to_vec();
    body.extend(message(0x10, 5, sequence, &[]));
    message(2, 0x100, sequence, &body)
}
