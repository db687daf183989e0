//! How our entries are told from everybody else's, also by a later aditd.
//!
//! The kernel lets whoever makes a policy choose its index, and whoever makes an SA the number of the question that it
//! answers (`seq`). Nobody else chooses the former, and the latter only with small numbers, which the kernel counts up from
//! one: it chooses indexes from 8 on and would have to make half a billion policies to reach ours. `ip -s xfrm policy` and
//! `ip -s xfrm state` show both.

use adit_linux::xfrm::{Direction, ESP, PolicyId, Request, SaState};

/// The highest octet of our numbers.
const OURS: u32 = 0xad << 24;
const HIGHEST: u32 = 0xff << 24;

/// The index of a policy; its three low bits have to be the direction.
pub(super) const fn policy_index(number: u32, direction: Direction) -> u32 {
    let direction = match direction {
        Direction::In => 0,
        Direction::Out => 1,
        Direction::Forward => 2,
    };
    OURS | (number << 3 & !HIGHEST) | direction
}

/// Whether a policy of this index was made by an aditd.
pub(super) const fn is_our_policy(index: u32) -> bool {
    index & HIGHEST == OURS
}

/// Removes a policy by its index: the kernel finds it at once, and whatever else has its selector stays.
pub(super) const fn delete<'a>(id: PolicyId, index: u32) -> Request<'a> {
    Request::DeletePolicy(PolicyId { index, ..id })
}

/// The number of an SA. The kernel hashes by it: they differ.
pub(super) const fn sa_number(number: u32) -> u32 {
    OURS | (number & !HIGHEST)
}

/// Whether an SA was made by an aditd.
pub(super) fn is_our_sa(state: &SaState) -> bool {
    state.sa.protocol == ESP && state.sa.spi != 0 && state.sa.acquire & HIGHEST == OURS
}
