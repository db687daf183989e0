//! IPsec in the kernel: SAs, policies and what the kernel tells about them, over XFRM netlink, synchronously.
//!
//! In: what there should be, as plain structures ([`Sa`], [`Policy`]). Out: what there is ([`SaState`],
//! [`PolicyState`]), [`Event`]s, and [`Error`]s that are a sentence with its cause. Several requests go in one
//! [`Xfrm::batch`], each with its own result. Every call is bounded in time; keys are wiped and never printed.
//!
//! Nothing is decided here, and nothing is touched that was not named: there is no way to flush. The encoding is our own
//! and not `netlink-packet-xfrm`'s, which neither wipes keys nor keeps them out of `Debug`, and ends before the
//! attributes of Linux 6.10 and later.

mod algorithm;
mod bytes;
mod channel;
mod error;
mod event;
mod info;
mod lifetime;
mod migrate;
mod monitor;
mod number;
mod parts;
mod policy;
mod replay;
mod request;
mod sa;
mod sa_state;
mod selector;
mod socket;
mod template;
#[cfg(test)]
mod tests;

use std::io;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST};

pub use algorithm::{Algorithm, Algorithms, Key};
pub use error::{Cause, Error};
pub use event::{Acquire, Event, Mapping};
pub use info::{SpdInfo, Threshold};
pub use lifetime::{Limit, Limits, Usage};
pub use migrate::{Ends, Migration, Move};
pub use monitor::Monitor;
pub use parts::{Encap, Mode, Offload};
pub use policy::{Direction, Policy, PolicyAction, PolicyId, PolicyState};
pub use replay::{LARGEST_WINDOW, Position, Replay};
pub use request::{Answer, Request, Reservation};
pub use sa::{ESP, Sa, SaDirection, SaFlags, SaId};
pub use sa_state::SaState;
pub use selector::{Mark, Port, Selector};
pub use socket::bypass;
pub use template::Template;

use bytes::Writer;
use channel::{Channel, Reply};
use error::Failure;
use request::LARGEST;

use crate::sys::tried;

/// Requests sent at a time: their answers have to fit into the socket's buffer, even one of the default size.
const AT_A_TIME: usize = 64;

/// A conversation with the XFRM of the network namespace it was made in.
pub struct Xfrm {
    channel: Channel,
    /// Requests, which hold keys.
    writer: Writer,
}

impl std::fmt::Debug for Xfrm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Xfrm").field("port", &self.channel.port).finish_non_exhaustive()
    }
}

impl Xfrm {
    /// Opens a socket in the calling thread's network namespace; it stays with that namespace.
    ///
    /// # Errors
    /// When the kernel has no XFRM (`xfrm_user` missing or blacklisted).
    pub fn new() -> io::Result<Self> {
        Channel::open(&[]).map(Self::on).map_err(|e| match e.raw_os_error() {
            Some(libc::EPROTONOSUPPORT) => io::Error::new(
                io::ErrorKind::Unsupported,
                "the kernel has no XFRM: its module xfrm_user is missing or blacklisted",
            ),
            _ => tried("opening an XFRM netlink socket", &e),
        })
    }

    fn on(channel: Channel) -> Self {
        let mut writer = Writer::with_capacity(AT_A_TIME * LARGEST);
        writer.port = channel.port;
        Self { channel, writer }
    }

    /// The netlink port, by which events tell that we asked.
    #[must_use]
    pub const fn port(&self) -> u32 {
        self.channel.port
    }

    /// Does several things with few system calls, in this order; one that fails does not keep the rest from being done.
    /// As many results as requests.
    pub fn batch(&mut self, requests: &[Request<'_>]) -> Vec<Result<Answer, Error>> {
        let mut results = Vec::with_capacity(requests.len());
        for chunk in requests.chunks(AT_A_TIME) {
            self.some(chunk, &mut results);
        }
        results
    }

    /// Sends a few requests and collects their answers.
    fn some(&mut self, requests: &[Request<'_>], results: &mut Vec<Result<Answer, Error>>) {
        let start = results.len();
        let first = self.channel.sequences(u32::try_from(requests.len()).unwrap_or(u32::MAX));
        // Those that are sent, by their place among all.
        let mut sent = Vec::with_capacity(requests.len());
        for (place, request) in requests.iter().enumerate() {
            let checked = request.check().map_err(|text| Failure::invalid(text).during(request));
            if checked.is_ok() {
                let sequence = first.wrapping_add(u32::try_from(sent.len()).unwrap_or(u32::MAX));
                request.write(&mut self.writer, sequence);
                sent.push(place);
            }
            results.push(checked.map(|()| Answer::Done));
        }
        if !sent.is_empty() {
            self.channel.exchange(self.writer.as_slice(), first, sent.len(), |index, reply| {
                let Some(place) = sent.get(index) else { return };
                if let (Some(request), Some(result)) = (requests.get(*place), results.get_mut(start + place))
                {
                    *result = conclude(request, reply);
                }
            });
        }
        self.writer.clear();
    }

    fn one(&mut self, request: Request<'_>) -> Result<Answer, Error> {
        let mut results = Vec::with_capacity(1);
        self.some(&[request], &mut results);
        results.pop().unwrap_or_else(|| Err(Failure::of(Cause::Garbled).during(request)))
    }

    fn sa_of(&mut self, request: Request<'_>) -> Result<SaState, Error> {
        match self.one(request)? {
            Answer::Sa(sa) => Ok(*sa),
            _ => Err(Failure::of(Cause::Garbled).during(request)),
        }
    }

    /// Adds an SA.
    ///
    /// # Errors
    /// [`Cause::Exists`] when there is one of its id, a reserved SPI included; [`Cause::NoEsp`],
    /// [`Cause::NoAlgorithm`] when the kernel cannot carry it.
    pub fn add_sa(&mut self, sa: &Sa) -> Result<(), Error> {
        self.one(Request::AddSa(sa)).map(drop)
    }

    /// Fills in a reserved SPI, or changes lifetimes, encapsulation and marks of an SA.
    ///
    /// # Errors
    /// [`Cause::Gone`] when there is none of its id.
    pub fn update_sa(&mut self, sa: &Sa) -> Result<(), Error> {
        self.one(Request::UpdateSa(sa)).map(drop)
    }

    /// Removes an SA.
    ///
    /// # Errors
    /// [`Cause::Gone`] when there is none.
    pub fn delete_sa(&mut self, id: SaId) -> Result<(), Error> {
        self.one(Request::DeleteSa(id)).map(drop)
    }

    /// An SA with its keys, sequence numbers and what it has done.
    ///
    /// # Errors
    /// [`Cause::Gone`] when there is none.
    pub fn get_sa(&mut self, id: SaId) -> Result<SaState, Error> {
        self.sa_of(Request::GetSa(id))
    }

    /// Reserves an SPI and returns it.
    ///
    /// # Errors
    /// [`Cause::Gone`] when the kernel found none in the range; it draws at random, as often as there are numbers.
    pub fn reserve_spi(&mut self, wanted: Reservation) -> Result<u32, Error> {
        self.sa_of(Request::ReserveSpi(wanted)).map(|state| state.sa.spi)
    }

    /// Gives `each` every SA of the namespace, others' included. One that cannot be read is left out.
    ///
    /// # Errors
    /// As the kernel.
    pub fn each_sa(&mut self, mut each: impl FnMut(SaState)) -> Result<(), Error> {
        self.listing(number::MSG_GETSA, |kind, body| {
            if kind == number::MSG_NEWSA {
                SaState::read(body).into_iter().for_each(&mut each);
            }
        })
        .map_err(|failure| failure.during("listing SAs"))
    }

    /// Adds a policy.
    ///
    /// # Errors
    /// [`Cause::Exists`] when there is one of its id, whatever its priority.
    pub fn add_policy(&mut self, policy: &Policy) -> Result<(), Error> {
        self.one(Request::AddPolicy(policy)).map(drop)
    }

    /// Adds a policy or puts it in the place of the one with its id, without a moment in between.
    ///
    /// # Errors
    /// As the kernel.
    pub fn update_policy(&mut self, policy: &Policy) -> Result<(), Error> {
        self.one(Request::UpdatePolicy(policy)).map(drop)
    }

    /// Removes a policy.
    ///
    /// # Errors
    /// [`Cause::Gone`] when there is none.
    pub fn delete_policy(&mut self, id: PolicyId) -> Result<(), Error> {
        self.one(Request::DeletePolicy(id)).map(drop)
    }

    /// A policy with the time of its last use.
    ///
    /// # Errors
    /// [`Cause::Gone`] when there is none.
    pub fn get_policy(&mut self, id: PolicyId) -> Result<PolicyState, Error> {
        let request = Request::GetPolicy(id);
        match self.one(request)? {
            Answer::Policy(policy) => Ok(*policy),
            _ => Err(Failure::of(Cause::Garbled).during(request)),
        }
    }

    /// Gives `each` every policy of the namespace, others' included, those of sockets not.
    ///
    /// # Errors
    /// As the kernel.
    pub fn each_policy(&mut self, mut each: impl FnMut(PolicyState)) -> Result<(), Error> {
        self.listing(number::MSG_GETPOLICY, |kind, body| {
            if kind == number::MSG_NEWPOLICY {
                PolicyState::read(body).flatten().into_iter().for_each(&mut each);
            }
        })
        .map_err(|failure| failure.during("listing policies"))
    }

    /// Moves a policy's templates and their SAs to other addresses.
    ///
    /// # Errors
    /// [`Cause::Gone`] when there is no such policy or SA; [`Cause::Unsupported`] when the kernel was built without
    /// (`CONFIG_XFRM_MIGRATE`).
    pub fn migrate(&mut self, migration: &Migration) -> Result<(), Error> {
        self.one(Request::Migrate(migration)).map(drop)
    }

    fn listing(&mut self, kind: u16, mut each: impl FnMut(u16, &[u8])) -> Result<(), Failure> {
        let sequence = self.channel.sequences(1);
        // No body: the kernel would read it as attributes.
        self.writer.message(kind, NLM_F_REQUEST | NLM_F_DUMP, sequence, |_| ());
        let result = self
            .channel
            .listing(self.writer.as_slice(), sequence, |message| each(message.kind, message.body));
        self.writer.clear();
        result
    }
}

/// What a reply means to a request.
fn conclude(request: &Request<'_>, reply: Result<Reply<'_>, Failure>) -> Result<Answer, Error> {
    let result = match reply {
        Ok(Reply::Done) if request.is_order() => Ok(Answer::Done),
        Ok(Reply::Done) => Err(Failure::of(Cause::Garbled)),
        Ok(Reply::Object(message)) => {
            request.answer(message.kind, message.body).ok_or(Failure::of(Cause::Garbled))
        }
        Err(failure) => Err(failure.about(request.about())),
    };
    result.map_err(|failure| failure.during(request))
}
