//! What a predecessor that was killed has left in the kernel.

use std::collections::HashSet;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use adit_linux::xfrm::{self, Direction, Request, Reservation, Xfrm};

use super::larval::drop_larval;
use super::marker;

/// Names are per network namespace, and go with the process whatever ends it.
const NAME: &[u8] = b"adit-xfrm";

/// Makes sure that no other aditd uses the kernel's ESP here: it would take our entries for its predecessor's.
///
/// # Errors
/// A sentence, when one does.
pub(super) fn only_one() -> io::Result<UnixListener> {
    let claim = || UnixListener::bind_addr(&SocketAddr::from_abstract_name(NAME)?);
    claim().map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => io::Error::new(
            error.kind(),
            "another aditd uses the kernel's ESP in this network namespace; stop it first",
        ),
        _ => error,
    })
}

/// Removes SAs and policies that carry our mark; how many there were. Who calls has made sure that nobody uses them.
///
/// # Errors
/// As the kernel.
pub(super) fn sweep(xfrm: &mut Xfrm) -> io::Result<usize> {
    let mut policies = Vec::new();
    let mut asked = HashSet::new();
    xfrm.each_policy(|state| {
        let policy = state.policy;
        if !marker::is_our_policy(policy.index) {
            return;
        }
        if policy.direction == Direction::Out {
            asked.extend(policy.templates.iter().map(|template| (template.reqid, template.dst)));
        }
        policies.push(marker::delete(policy.id(), policy.index));
    })?;
    let (mut sas, mut larvals) = (Vec::new(), Vec::new());
    xfrm.each_sa(|state| {
        if marker::is_our_sa(&state) {
            sas.push(state.sa.id());
        } else if state.sa.spi == 0 && asked.contains(&(state.sa.reqid, state.sa.dst)) {
            // The kernel waits for the answer to a question that nobody remembers, and would not ask again before it has
            // waited long enough.
            larvals.push(larval_of(&state.sa));
        }
    })?;
    let found = policies.len() + sas.len();
    let sas: Vec<Request<'_>> = sas.into_iter().map(Request::DeleteSa).collect();
    // Policies first: with nothing to ask for, no packet asks.
    for result in xfrm.batch(&policies).into_iter().chain(xfrm.batch(&sas)) {
        match result {
            Err(error) if error.cause() != xfrm::Cause::Gone => return Err(error.into()),
            _ => {}
        }
    }
    larvals.into_iter().for_each(|larval| drop_larval(xfrm, larval));
    Ok(found)
}

fn larval_of(sa: &xfrm::Sa) -> Reservation {
    super::larval::larval(sa.src, sa.dst, sa.mode, sa.reqid, sa.mark, sa.if_id)
}
