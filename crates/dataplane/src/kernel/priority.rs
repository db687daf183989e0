//! Priorities of policies, computed as strongSwan does, so that its policies and ours go by one order; the smallest wins.

use adit_linux::xfrm::Selector;

use super::pairs::prefix_bits;

/// What a policy is for: the coarse order of them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Goes in the clear.
    Pass,
    /// A CHILD_SA's.
    Sa,
    /// Waits for a CHILD_SA.
    Trap,
    /// Is dropped.
    Drop,
}

impl Class {
    const fn base(self) -> u32 {
        match self {
            Self::Pass => 200_000,
            Self::Sa | Self::Trap => 400_000,
            Self::Drop => 600_000,
        }
    }
}

/// The priority of a policy, unless the operator has chosen one (0 = he has not).
pub(super) fn priority(chosen: u32, class: Class, selector: &Selector) -> u32 {
    if chosen != 0 {
        return chosen;
    }
    let ports = selector.src_port.mask.count_ones() + selector.dst_port.mask.count_ones();
    let narrower = prefix_bits(selector) * 512
        + u32::from(selector.protocol != 0) * 256
        + ports * 4
        + u32::from(selector.ifindex != 0) * 2
        + u32::from(class != Class::Trap);
    class.base() - narrower
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_linux::xfrm::Port;

    #[test]
    fn the_numbers_are_charons() {
        let net = Selector::between(("10.1.0.0".parse().unwrap(), 24), ("10.2.0.0".parse().unwrap(), 24));
        assert_eq!(priority(0, Class::Sa, &net), 375_423);
        assert_eq!(priority(0, Class::Trap, &net), 375_424);
        assert_eq!(priority(0, Class::Pass, &net), 175_423);
        assert_eq!(priority(0, Class::Drop, &net), 575_423);
        let web = Selector { protocol: 6, dst_port: Port::one(80), ifindex: 3, ..net };
        assert_eq!(priority(0, Class::Sa, &web), 375_423 - 256 - 64 - 2);
        assert_eq!(priority(7, Class::Sa, &web), 7);
        // The narrowest there is stays above zero, and every class before the next.
        let host = "2001:db8::1".parse().unwrap();
        let least =
            Selector { src_port: Port::one(1), ..Selector { src: (host, 128), dst: (host, 128), ..web } };
        assert!(priority(0, Class::Pass, &least) > 0);
        assert!(priority(0, Class::Sa, &least) > priority(0, Class::Pass, &Selector::all(false)));
    }
}
