//! How many there are, and how the SPD is hashed.

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST};

use super::bytes::{Reader, Writer, attributes};
use super::channel::Reply;
use super::error::{Cause, Error, Failure};
use super::{Xfrm, number};

/// Attributes of `XFRM_MSG_NEWSADINFO` and `XFRM_MSG_NEWSPDINFO`.
const SAD_CNT: u16 = 1;
const SPD_INFO: u16 = 1;
const SPD_IPV4_HTHRESH: u16 = 3;
const SPD_IPV6_HTHRESH: u16 = 4;

/// How many policies there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpdInfo {
    /// For this host.
    pub inbound: u32,
    /// On their way out.
    pub outbound: u32,
    /// Forwarded.
    pub forward: u32,
    /// How IPv4 policies are hashed.
    pub v4: Threshold,
    /// How IPv6 policies are hashed.
    pub v6: Threshold,
}

/// Policies with prefixes at least this long are found by a hash; the others are a list that is walked by priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Threshold {
    /// Bits of the local prefix: source of what goes out, destination of what comes in.
    pub local: u8,
    /// Bits of the remote prefix.
    pub remote: u8,
}

impl Xfrm {
    /// How many SAs there are.
    ///
    /// # Errors
    /// As the kernel.
    pub fn sa_count(&mut self) -> Result<u32, Error> {
        let count = self.info(number::MSG_GETSADINFO, number::MSG_NEWSADINFO, |body| {
            let (_, count) = attributes(body.get(4..)?).find(|(kind, _)| *kind == SAD_CNT)?;
            Reader(count).u32()
        });
        count.map_err(|failure| failure.during("counting SAs"))
    }

    /// How many policies there are.
    ///
    /// # Errors
    /// As the kernel.
    pub fn spd_info(&mut self) -> Result<SpdInfo, Error> {
        self.info(number::MSG_GETSPDINFO, number::MSG_NEWSPDINFO, spd_info)
            .map_err(|failure| failure.during("counting policies"))
    }

    /// From which prefixes on policies are hashed. All that are there are sorted anew.
    ///
    /// # Errors
    /// [`Cause::Invalid`] when there are more bits than an address has.
    pub fn set_spd_thresholds(&mut self, v4: Option<Threshold>, v6: Option<Threshold>) -> Result<(), Error> {
        let mut result = Err(Failure::of(Cause::Garbled));
        self.ask(
            number::MSG_NEWSPDINFO,
            NLM_F_REQUEST | NLM_F_ACK,
            |w| {
                for (kind, threshold) in [(SPD_IPV4_HTHRESH, v4), (SPD_IPV6_HTHRESH, v6)] {
                    if let Some(threshold) = threshold {
                        w.attribute(kind, |w| {
                            w.u8(threshold.local);
                            w.u8(threshold.remote);
                        });
                    }
                }
            },
            |reply| {
                result = match reply {
                    Ok(Reply::Done) => Ok(()),
                    Ok(Reply::Object(_)) => Err(Failure::of(Cause::Garbled)),
                    Err(failure) => Err(failure),
                };
            },
        );
        result.map_err(|failure| failure.during("setting the SPD's hash thresholds"))
    }

    fn info<T>(
        &mut self,
        request: u16,
        answer: u16,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T, Failure> {
        let mut result = Err(Failure::of(Cause::Garbled));
        self.ask(
            request,
            NLM_F_REQUEST,
            |_| (),
            |reply| {
                result = match reply {
                    Ok(Reply::Object(message)) if message.kind == answer => {
                        read(message.body).ok_or(Failure::of(Cause::Garbled))
                    }
                    Ok(_) => Err(Failure::of(Cause::Garbled)),
                    Err(failure) => Err(failure),
                };
            },
        );
        result
    }

    /// A request whose body is one word, unused, and attributes.
    fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        attributes: impl FnOnce(&mut Writer),
        mut each: impl FnMut(Result<Reply<'_>, Failure>),
    ) {
        let sequence = self.channel.sequences(1);
        let w = &mut self.writer;
        w.message(kind, flags, sequence, |w| {
            w.u32(u32::MAX);
            attributes(w);
        });
        self.channel.exchange(w.as_slice(), sequence, 1, |_, reply| each(reply));
        w.clear();
    }
}

/// A word, then attributes.
fn spd_info(body: &[u8]) -> Option<SpdInfo> {
    let mut info = SpdInfo::default();
    for (kind, payload) in attributes(body.get(4..)?) {
        let mut r = Reader(payload);
        match kind {
            SPD_INFO => (info.inbound, info.outbound, info.forward) = (r.u32()?, r.u32()?, r.u32()?),
            SPD_IPV4_HTHRESH => info.v4 = Threshold { local: r.u8()?, remote: r.u8()? },
            SPD_IPV6_HTHRESH => info.v6 = Threshold { local: r.u8()?, remote: r.u8()? },
            _ => {}
        }
    }
    Some(info)
}
