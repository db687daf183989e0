//! From the records of the SAD and SPD to what the kernel is asked for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use adit_ipsec::{
    ChildSa, EntryOptions, HwOffload, Mark, Mode, PerCpu, SaKeys, SetMark, Shunt, ShuntPolicy, TrapPolicy,
};
use adit_linux::xfrm::{
    self, Algorithms, Direction, Encap, LARGEST_WINDOW, Limit, Limits, Policy, PolicyAction, Replay, Sa,
    SaFlags, Selector, Template,
};

use super::pairs::{pairs, reversed};
use super::priority::{Class, priority};

/// The window that ESN needs even where replay protection is switched off (RFC 4303 §3.4.3; the kernel refuses 0).
const LEAST_ESN_WINDOW: u32 = 32;

/// A sixteenth of the sequence numbers without ESN is left then.
const LATE_IN_32_BITS: u64 = 0xf000_0000;

/// What a CHILD_SA is in the kernel.
pub(super) struct Entries {
    /// What we receive.
    pub(super) inbound: Sa,
    /// What we send.
    pub(super) outbound: Sa,
    /// Policies for what is received.
    pub(super) policies_in: Vec<Policy>,
    /// Policies for what is sent.
    pub(super) policies_out: Vec<Policy>,
}

impl Entries {
    /// # Errors
    /// What the kernel cannot be asked for.
    pub(super) fn of(child: &ChildSa, ifindex: u32) -> Result<Self, String> {
        let options = &*child.options;
        if options.per_cpu != PerCpu::No {
            return Err("SAs of one CPU each (per_cpu_sas) are not served yet".into());
        }
        let (mut policies_in, mut policies_out) = (Vec::new(), Vec::new());
        let pairs = if options.policies { pairs(&child.local_ts, &child.remote_ts)? } else { Vec::new() };
        for pair in &pairs {
            let ends = |from: SocketAddr, to: SocketAddr| (Some(from.ip()), Some(to.ip()));
            let made = Made { class: Class::Sa, mode: child.mode, reqid: child.reqid, options, ifindex };
            policies_in.extend(made.inbound(*pair, ends(child.remote, child.local)));
            policies_out.extend(made.outbound(*pair, ends(child.local, child.remote)));
        }
        Ok(Self {
            inbound: sa(child, true, &pairs)?,
            outbound: sa(child, false, &pairs)?,
            policies_in,
            policies_out,
        })
    }
}

fn sa(child: &ChildSa, inbound: bool, pairs: &[Selector]) -> Result<Sa, String> {
    let options = &*child.options;
    let (from, to, spi, keys) = if inbound {
        (child.remote, child.local, child.spi_in, &child.keys_in)
    } else {
        (child.local, child.remote, child.spi_out, &child.keys_out)
    };
    let mut sa = Sa::esp(from.ip(), to.ip(), spi, mode(child.mode), algorithms(keys)?);
    sa.reqid = child.reqid;
    sa.replay = Replay { window: window(child, inbound), esn: child.esn, ..Replay::default() };
    sa.encap = child.udp_encap.then(|| Encap { src_port: from.port(), dst_port: to.port() });
    sa.limits = limits(child);
    if !inbound && !child.esn {
        // RFC 4303 §3.3.3: the sequence number must never cycle. The kernel stops without a word when it would.
        let soft = &mut sa.limits.packets.soft;
        *soft = Some(soft.unwrap_or(u64::MAX).min(LATE_IN_32_BITS));
    }
    sa.flags = SaFlags {
        no_ecn: !child.headers.copy_ecn,
        decap_dscp: inbound && child.headers.copy_dscp.into(),
        no_encap_dscp: !inbound && !child.headers.copy_dscp.out(),
        no_pmtu_discovery: !child.headers.copy_df,
        icmp: options.icmp,
        af_unspec: child.mode == Mode::Tunnel,
        ..SaFlags::default()
    };
    let (own_mark, set) = if inbound {
        sa.if_id = options.if_id_in;
        sa.mark = if options.mark_in_sa { mark(options.mark_in) } else { xfrm::Mark::default() };
        (options.mark_in, options.set_mark_in)
    } else {
        sa.if_id = options.if_id_out;
        sa.mark = mark(options.mark_out);
        sa.tfc_pad = child.tfc_padding.into();
        (options.mark_out, options.set_mark_out)
    };
    sa.set_mark = match set {
        SetMark::Unset => xfrm::Mark::default(),
        SetMark::Fixed(it) => mark(it),
        SetMark::Same { mask } => xfrm::Mark { value: own_mark.value, mask },
    };
    if child.mode == Mode::Transport {
        sa.selector = only_networks(pairs).map(|pair| if inbound { reversed(pair) } else { pair });
    }
    Ok(sa)
}

/// The networks of all pairs, if they are the same. Their ports are left to the policies: another CHILD_SA of this reqid
/// may be for others.
fn only_networks(pairs: &[Selector]) -> Option<Selector> {
    let networks = |pair: &Selector| Selector::between(pair.src, pair.dst);
    let first = pairs.first().map(networks)?;
    pairs.iter().all(|pair| networks(pair) == first).then_some(first)
}

const fn window(child: &ChildSa, inbound: bool) -> u32 {
    match (inbound, child.esn) {
        (true, true) if child.replay_window < LEAST_ESN_WINDOW => LEAST_ESN_WINDOW,
        (true, _) if child.replay_window > LARGEST_WINDOW => LARGEST_WINDOW,
        (true, _) => child.replay_window,
        // Nothing is received, but before Linux 6.10 extended sequence numbers come with a window.
        (false, true) => 1,
        (false, false) => 0,
    }
}

fn limits(child: &ChildSa) -> Limits {
    let limits = &child.limits;
    // Up to the next second: IKE, which is exact, goes first.
    let seconds = |time: Duration| time.as_secs() + u64::from(time.subsec_nanos() > 0);
    Limits {
        bytes: Limit { soft: limits.soft_bytes, hard: limits.hard_bytes },
        packets: Limit { soft: limits.soft_packets, hard: limits.hard_packets },
        seconds: Limit { soft: None, hard: limits.hard_time.map(seconds) },
        seconds_used: Limit::default(),
    }
}

fn algorithms(keys: &SaKeys) -> Result<Algorithms, String> {
    Algorithms::from_iana(keys.encr, &keys.encr_key, keys.integ, &keys.integ_key).ok_or_else(|| {
        format!(
            "the kernel's ESP has no transforms {} with {}; propose others, or choose the userspace data plane",
            keys.encr, keys.integ
        )
    })
}

pub(super) const fn mark(mark: Mark) -> xfrm::Mark {
    xfrm::Mark { value: mark.value, mask: mark.mask }
}

pub(super) const fn mode(mode: Mode) -> xfrm::Mode {
    match mode {
        Mode::Tunnel => xfrm::Mode::Tunnel,
        Mode::Transport => xfrm::Mode::Transport,
    }
}

/// Outer source and destination, as far as they are known.
type Ends = (Option<IpAddr>, Option<IpAddr>);

/// What policies have in common.
struct Made<'a> {
    class: Class,
    mode: Mode,
    reqid: u32,
    options: &'a EntryOptions,
    /// [`EntryOptions::interface`].
    ifindex: u32,
}

impl Made<'_> {
    fn policy(&self, selector: Selector, direction: Direction, template: Option<Template>) -> Policy {
        let priority = priority(self.options.priority, self.class, &selector);
        let mut policy = Policy::pass(selector, direction, priority);
        let inbound = direction != Direction::Out;
        (policy.mark, policy.if_id) = if inbound {
            (mark(self.options.mark_in), self.options.if_id_in)
        } else {
            (mark(self.options.mark_out), self.options.if_id_out)
        };
        policy.icmp = self.options.icmp;
        policy.templates = template.into_iter().collect();
        if self.class == Class::Drop {
            policy.action = PolicyAction::Block;
        }
        policy
    }

    fn template(&self, (src, dst): Ends, v4: bool) -> Template {
        // The outer family: of either end that is known, else that of the inside.
        let v4 = src.or(dst).map_or(v4, |known| known.is_ipv4());
        let any = if v4 { Ipv4Addr::UNSPECIFIED.into() } else { IpAddr::from(Ipv6Addr::UNSPECIFIED) };
        let end = |end: Option<IpAddr>| match self.mode {
            Mode::Tunnel => end.unwrap_or(any),
            Mode::Transport => any,
        };
        Template {
            src: end(src),
            dst: end(dst),
            spi: 0,
            protocol: xfrm::ESP,
            mode: mode(self.mode),
            reqid: self.reqid,
            optional: false,
        }
    }

    /// What lets in what comes out of the tunnel, and nothing that only says it does.
    fn inbound(&self, pair: Selector, ends: Ends) -> Vec<Policy> {
        let selector = reversed(pair);
        let template = self.template(ends, pair.is_v4());
        let mut found = vec![self.policy(selector, Direction::In, Some(template))];
        if self.mode == Mode::Tunnel {
            found.push(self.policy(selector, Direction::Forward, Some(template)));
        }
        found
    }

    /// What sends into the tunnel.
    fn outbound(&self, pair: Selector, ends: Ends) -> Vec<Policy> {
        let selector = Selector { ifindex: self.ifindex, ..pair };
        let template = self.template(ends, pair.is_v4());
        let mut found = vec![self.policy(selector, Direction::Out, Some(template))];
        if self.mode == Mode::Tunnel && self.options.policies_fwd_out {
            // Forwarded packets on their way into the tunnel: where somebody drops by policy, these say they may pass. As a
            // trap's, so that a CHILD_SA for the same networks the other way round goes first.
            let through = Made { class: Class::Trap, ..*self };
            let mut leaving = through.policy(pair, Direction::Forward, None);
            (leaving.mark, leaving.if_id) = (mark(self.options.mark_out), self.options.if_id_out);
            found.push(leaving);
        }
        found
    }
}

/// What a trap is in the kernel: as a CHILD_SA's policies, a little less urgent.
///
/// # Errors
/// What the kernel cannot be asked for.
pub(super) fn trap_policies(trap: &TrapPolicy, ifindex: u32) -> Result<Vec<Policy>, String> {
    let options = &*trap.options;
    if !options.policies {
        return Err("it shall have no policies (policies = no), and a trap is nothing else".into());
    }
    let made = Made { class: Class::Trap, mode: trap.mode, reqid: trap.reqid, options, ifindex };
    let mut found = Vec::new();
    for pair in pairs(&trap.local_ts, &trap.remote_ts)? {
        found.extend(made.inbound(pair, (trap.remote, trap.local)));
        found.extend(made.outbound(pair, (trap.local, trap.remote)));
    }
    Ok(found)
}

/// What a policy without an SA is in the kernel: one for each way.
///
/// # Errors
/// What the kernel cannot be asked for.
pub(super) fn shunt_policies(shunt: &ShuntPolicy, ifindex: u32) -> Result<Vec<Policy>, String> {
    let class = match shunt.kind {
        Shunt::Pass => Class::Pass,
        Shunt::Drop => Class::Drop,
    };
    let made = Made { class, mode: Mode::Tunnel, reqid: 0, options: &shunt.options, ifindex };
    let mut found = Vec::new();
    for pair in pairs(&shunt.local_ts, &shunt.remote_ts)? {
        found.push(made.policy(reversed(pair), Direction::In, None));
        found.push(made.policy(reversed(pair), Direction::Forward, None));
        found.push(made.policy(Selector { ifindex, ..pair }, Direction::Out, None));
    }
    Ok(found)
}

/// The ways in which a network card may be asked to take part, the most it could do first; `None` = not at all.
pub(super) const fn offloads(wanted: HwOffload) -> &'static [Option<bool>] {
    match wanted {
        HwOffload::No => &[None],
        HwOffload::Crypto => &[Some(false)],
        HwOffload::Packet => &[Some(true)],
        HwOffload::Auto => &[Some(true), Some(false), None],
    }
}
