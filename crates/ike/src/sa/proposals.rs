//! Choice of algorithms: IKE suites and ESP suites out of proposals.

use adit_ipsec::{Proposal, Protocol, Transform, TransformType, select_proposal};
use adit_wire::ProposalPayload;

use crate::core::{Core, log};
use crate::reason::Reason;
use crate::sa::message::acceptable;
use crate::sa::{Fatal, IkeSa, Suite};

impl Suite {
    /// The suite of a chosen proposal; `None` if a mandatory type is missing (hostile row 8).
    pub(crate) fn of(proposal: &Proposal) -> Option<Self> {
        let integ = proposal.first(TransformType::Integrity).filter(|transform| transform.id != 0);
        Some(Self {
            encr: proposal.first(TransformType::Encryption)?,
            integ: integ.filter(|_| !proposal.is_aead()),
            prf: proposal.first(TransformType::Prf)?,
            ke: proposal.first(TransformType::KeyExchange).filter(|transform| transform.id != 0)?,
        })
    }

    /// As a proposal again, for logs and answers.
    pub(crate) fn proposal(&self) -> Proposal {
        let mut transforms = vec![self.encr];
        transforms.extend(self.integ);
        transforms.extend([self.prf, self.ke]);
        Proposal { protocol: Protocol::Ike, transforms }
    }
}

/// The algorithms of a CHILD_SA.
#[derive(Clone, Copy)]
pub(crate) struct ChildSuite {
    pub encr: Transform,
    pub integ: Option<Transform>,
    pub ke: Option<Transform>,
    pub esn: bool,
}

impl ChildSuite {
    pub(crate) fn of(proposal: &Proposal) -> Option<Self> {
        let some = |kind| proposal.first(kind).filter(|transform: &Transform| transform.id != 0);
        Some(Self {
            encr: proposal.first(TransformType::Encryption)?,
            integ: some(TransformType::Integrity).filter(|_| !proposal.is_aead()),
            ke: some(TransformType::KeyExchange),
            esn: some(TransformType::Esn).is_some(),
        })
    }
}

/// One proposal out of an offer, ours or theirs deciding the order.
pub(crate) fn choose(
    core: &Core,
    configured: &[Proposal],
    offered: &[ProposalPayload],
) -> Option<(u8, Proposal)> {
    let offered = acceptable(offered);
    if core.settings.prefer_configured_proposals {
        return select_proposal(configured, &offered);
    }
    offered.iter().find_map(|(num, theirs)| {
        configured.iter().find_map(|ours| theirs.select(ours)).map(|chosen| (*num, chosen))
    })
}

impl IkeSa {
    /// The responder's answer must be one of the proposals offered, narrowed to one transform of each type
    /// (RFC 7296 §2.7).
    pub(crate) fn accept_answer(
        &self,
        core: &mut Core,
        protocol: &'static str,
        configured: &[Proposal],
        answer: &[ProposalPayload],
    ) -> Fatal<Proposal> {
        let single = match answer {
            [one] if one.acceptable => Some(one.proposal.clone()),
            _ => None,
        };
        let chosen = single.as_ref().and_then(|answer| {
            let one_each = TransformType::ALL.into_iter().all(|kind| answer.of_kind(kind).count() <= 1);
            configured.iter().find_map(|ours| ours.select(answer)).filter(|_| one_each)
        });
        match chosen {
            Some(proposal) => {
                log!(core, Cfg, 1, self, "selected proposal: {proposal}");
                Ok(proposal)
            }
            None => {
                log!(core, Ike, 1, self, "received proposals unacceptable");
                Err(Reason::NoProposal {
                    protocol,
                    ours: configured.to_vec(),
                    theirs: answer.iter().map(|proposal| proposal.proposal.clone()).collect(),
                })
            }
        }
    }
}
