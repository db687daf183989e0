//! What a child says about its entries in the SPD and SAD beyond selectors and keys. Only a kernel has a use for most.

use std::fmt;
use std::sync::Arc;

/// A firewall mark and the bits of it that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mark {
    /// The value.
    pub value: u32,
    /// Bits that count; 0 = there is no mark.
    pub mask: u32,
}

impl Mark {
    /// No mark.
    pub const NONE: Self = Self { value: 0, mask: 0 };

    /// Whether there is no mark.
    pub const fn is_none(self) -> bool {
        self.value == 0 && self.mask == 0
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}/{:#010x}", self.value, self.mask)
    }
}

/// A mark that packets get when an SA has processed them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum SetMark {
    /// None.
    #[default]
    Unset,
    /// This one.
    Fixed(Mark),
    /// The one the SA itself has (`%same`), in these bits.
    Same {
        /// Bits that are set.
        mask: u32,
    },
}

/// Whether a network card takes part in ESP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum HwOffload {
    /// No.
    #[default]
    No,
    /// It encrypts and decrypts.
    Crypto,
    /// It does all of ESP.
    Packet,
    /// As much as it can.
    Auto,
}

/// SAs of one CPU each (RFC 9611).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum PerCpu {
    /// One SA for all.
    #[default]
    No,
    /// One for each.
    Yes,
    /// One for each, told apart by the source port of its UDP encapsulation.
    Encap,
}

/// Which XFRM interfaces the kernel's data plane makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum XfrmInterfaces {
    /// None: those that tunnels are bound to are the operator's.
    #[default]
    No,
    /// One for each connection that names none itself, and those that are named and not there.
    Connection,
    /// One for all connections that name none themselves, and those that are named and not there.
    Shared,
}

/// How the entries of a child are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryOptions {
    /// Mark of the policies for what comes in.
    pub mark_in: Mark,
    /// Mark of the policy and SA for what goes out.
    pub mark_out: Mark,
    /// Whether [`Self::mark_in`] is also that of the inbound SA.
    pub mark_in_sa: bool,
    /// What decrypted packets are marked with.
    pub set_mark_in: SetMark,
    /// What encrypted packets are marked with.
    pub set_mark_out: SetMark,
    /// XFRM interface that packets come in by; 0 = none.
    pub if_id_in: u32,
    /// XFRM interface that packets go out by; 0 = none.
    pub if_id_out: u32,
    /// Priority of the policies, the smaller the sooner; 0 = from the size of the selectors.
    pub priority: u32,
    /// Interface that outbound packets must be about to leave by.
    pub interface: Option<Arc<str>>,
    /// Whether there are policies (and routes) at all.
    pub policies: bool,
    /// Whether outbound traffic that is forwarded has a policy of its own.
    pub policies_fwd_out: bool,
    /// What a network card does.
    pub hw_offload: HwOffload,
    /// SAs of one CPU each.
    pub per_cpu: PerCpu,
    /// Whether ICMP errors pass when they are about traffic of the reverse selectors.
    pub icmp: bool,
}

impl Default for EntryOptions {
    fn default() -> Self {
        Self {
            mark_in: Mark::NONE,
            mark_out: Mark::NONE,
            mark_in_sa: false,
            set_mark_in: SetMark::Unset,
            set_mark_out: SetMark::Unset,
            if_id_in: 0,
            if_id_out: 0,
            priority: 0,
            interface: None,
            policies: true,
            policies_fwd_out: false,
            hw_offload: HwOffload::No,
            per_cpu: PerCpu::No,
            icmp: false,
        }
    }
}

impl EntryOptions {
    /// The keys of swanctl.conf behind those of these options that only a kernel's SPD and SAD can do. An ESP of our own
    /// between a TUN device and sockets has no marks, no XFRM interfaces, and one order of policies.
    pub fn kernel_keys(&self) -> impl Iterator<Item = &'static str> {
        let sets = |mark: SetMark| match mark {
            SetMark::Unset => false,
            SetMark::Fixed(mark) => mark.value != 0,
            SetMark::Same { .. } => true,
        };
        [
            ("priority", self.priority != 0),
            ("interface", self.interface.is_some()),
            // A mark of 0 is what packets have anyway.
            ("mark_in", self.mark_in.value != 0),
            ("mark_out", self.mark_out.value != 0),
            ("set_mark_in", sets(self.set_mark_in)),
            ("set_mark_out", sets(self.set_mark_out)),
            ("if_id_in", self.if_id_in != 0),
            ("if_id_out", self.if_id_out != 0),
            ("per_cpu_sas", self.per_cpu != PerCpu::No),
            ("hw_offload", matches!(self.hw_offload, HwOffload::Crypto | HwOffload::Packet)),
            ("icmp", self.icmp),
        ]
        .into_iter()
        .filter_map(|(key, asked)| asked.then_some(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_asks_for_something_needs_a_kernel() {
        let harmless = EntryOptions {
            mark_in: Mark { value: 0, mask: u32::MAX },
            hw_offload: HwOffload::Auto,
            policies: false,
            policies_fwd_out: true,
            ..EntryOptions::default()
        };
        assert_eq!(harmless.kernel_keys().count(), 0);
        let all = EntryOptions {
            mark_out: Mark { value: 7, mask: u32::MAX },
            set_mark_in: SetMark::Same { mask: 1 },
            if_id_in: 3,
            interface: Some("eth0".into()),
            hw_offload: HwOffload::Packet,
            icmp: true,
            ..EntryOptions::default()
        };
        let keys: Vec<&str> = all.kernel_keys().collect();
        assert_eq!(keys, ["interface", "mark_out", "set_mark_in", "if_id_in", "hw_offload", "icmp"]);
    }
}
