//! Proposals: sets of transforms, from text, to text, and the choice among them (RFC 7296 §2.7, §3.3).

use std::fmt;

use crate::names::{self, AES_CBC, AES_GCM_16, CHACHA20_POLY1305, Keyword};

/// Security protocol (RFC 7296 §3.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Protocol {
    /// IKE.
    Ike = 1,
    /// AH; recognised only to be refused.
    Ah = 2,
    /// ESP.
    Esp = 3,
}

impl Protocol {
    /// By its number.
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            1 => Some(Self::Ike),
            2 => Some(Self::Ah),
            3 => Some(Self::Esp),
            _ => None,
        }
    }
}

/// Transform type (RFC 7296 §3.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TransformType {
    /// ENCR.
    Encryption = 1,
    /// PRF.
    Prf = 2,
    /// INTEG.
    Integrity = 3,
    /// D-H, now called Key Exchange Method.
    KeyExchange = 4,
    /// ESN, now called Sequence Numbers.
    Esn = 5,
}

impl TransformType {
    /// All types, in the order proposals are written.
    pub const ALL: [Self; 5] = [Self::Encryption, Self::Integrity, Self::Prf, Self::KeyExchange, Self::Esn];

    /// By its number.
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            1 => Some(Self::Encryption),
            2 => Some(Self::Prf),
            3 => Some(Self::Integrity),
            4 => Some(Self::KeyExchange),
            5 => Some(Self::Esn),
            _ => None,
        }
    }
}

/// One algorithm on offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Transform {
    /// What it is for.
    pub kind: TransformType,
    /// IANA number.
    pub id: u16,
    /// Key length attribute in bits; 0 = none.
    pub key_bits: u16,
}

/// Transforms that may be combined freely, one of each type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Proposal {
    /// IKE or ESP.
    pub protocol: Protocol,
    /// In order of preference within each type.
    pub transforms: Vec<Transform>,
}

const fn transform(kind: TransformType, id: u16, key_bits: u16) -> Transform {
    Transform { kind, id, key_bits }
}

/// Key exchange methods that are offered by default, best first.
const DEFAULT_KE: [u16; 7] = [31, 19, 20, 21, 15, 16, 14];

const fn is_aead_id(id: u16) -> bool {
    matches!(id, 14..=16 | 18..=20 | 28)
}

impl Proposal {
    /// Reads `aes256gcm16-prfsha384-x25519`. (`default` stands for several proposals: see [`parse_list`].)
    ///
    /// # Errors
    /// A sentence that names the keyword and what to write instead.
    pub fn parse(protocol: Protocol, text: &str) -> Result<Self, String> {
        let mut transforms: Vec<Transform> = Vec::new();
        for word in text.trim().split('-').map(str::trim) {
            let new = match names::keyword(&word.to_ascii_lowercase()) {
                Some(Keyword::Transform(kind, id, bits)) => transform(kind, id, bits),
                Some(Keyword::NoKeyExchange) => transform(TransformType::KeyExchange, 0, 0),
                Some(Keyword::Refused(why)) => return Err(format!("'{word}' in '{text}': {why}")),
                None => return Err(format!("'{word}' in '{text}' is no algorithm")),
            };
            if !transforms.contains(&new) {
                transforms.push(new);
            }
        }
        let mut proposal = Self { protocol, transforms };
        proposal.complete(text)?;
        Ok(proposal)
    }

    /// Adds what is implied and refuses what cannot work.
    fn complete(&mut self, text: &str) -> Result<(), String> {
        let has = |p: &Self, kind| p.of_kind(kind).next().is_some();
        if !has(self, TransformType::Encryption) {
            return Err(format!("'{text}' names no encryption algorithm"));
        }
        let aead = self.of_kind(TransformType::Encryption).filter(|t| is_aead_id(t.id)).count();
        if aead > 0 && aead < self.of_kind(TransformType::Encryption).count() {
            return Err(format!(
                "'{text}' mixes AEAD and classic encryption; write two proposals, separated by a comma"
            ));
        }
        let aead = aead > 0;
        if aead && has(self, TransformType::Integrity) {
            // as written by habit: `aes256gcm16-sha384-x25519` means the PRF
            if self.protocol == Protocol::Ike && !has(self, TransformType::Prf) {
                self.derive_prf();
            }
            self.transforms.retain(|t| t.kind != TransformType::Integrity);
        }
        if !aead && !has(self, TransformType::Integrity) {
            return Err(format!("'{text}' names no integrity algorithm; add for example sha256"));
        }
        match self.protocol {
            Protocol::Ike => {
                if !has(self, TransformType::Prf) {
                    self.derive_prf();
                }
                if !has(self, TransformType::Prf) {
                    return Err(format!("'{text}' names no PRF; add for example prfsha256"));
                }
                if !has(self, TransformType::KeyExchange) {
                    return Err(format!("'{text}' names no key exchange; add for example x25519"));
                }
                if self.of_kind(TransformType::KeyExchange).any(|t| t.id == 0) {
                    return Err(format!("'none' in '{text}': an IKE_SA cannot do without a key exchange"));
                }
                self.transforms.retain(|t| t.kind != TransformType::Esn);
            }
            Protocol::Ah | Protocol::Esp => {
                self.transforms.retain(|t| t.kind != TransformType::Prf);
                if !has(self, TransformType::Esn) {
                    self.transforms.push(transform(TransformType::Esn, 0, 0));
                }
            }
        }
        self.transforms.sort_by_key(|t| TransformType::ALL.iter().position(|k| *k == t.kind));
        Ok(())
    }

    fn derive_prf(&mut self) {
        let prfs: Vec<Transform> = self
            .of_kind(TransformType::Integrity)
            .filter_map(|t| match t.id {
                12 => Some(5),
                13 => Some(6),
                14 => Some(7),
                _ => None,
            })
            .map(|id| transform(TransformType::Prf, id, 0))
            .collect();
        self.transforms.extend(prfs);
    }

    /// What is offered for an IKE_SA when nothing is configured: AEAD first, nothing weak.
    pub fn default_ike() -> Vec<Self> {
        let prfs = [5, 6, 7].map(|id| transform(TransformType::Prf, id, 0));
        let kes = DEFAULT_KE.map(|id| transform(TransformType::KeyExchange, id, 0));
        defaults(Protocol::Ike, &[&prfs[..], &kes].concat())
    }

    /// What is offered for a CHILD_SA when nothing is configured: a key exchange of its own when it is rekeyed (PFS) if
    /// the peer has one too, and none if it has not.
    pub fn default_esp() -> Vec<Self> {
        let kes = DEFAULT_KE.map(|id| transform(TransformType::KeyExchange, id, 0));
        let none = transform(TransformType::KeyExchange, 0, 0);
        let esn = [0, 1].map(|id| transform(TransformType::Esn, id, 0));
        defaults(Protocol::Esp, &[&kes[..], &[none], &esn].concat())
    }

    /// The transforms of one type.
    pub fn of_kind(&self, kind: TransformType) -> impl Iterator<Item = Transform> {
        self.transforms.iter().copied().filter(move |t| t.kind == kind)
    }

    /// The preferred transform of one type.
    pub fn first(&self, kind: TransformType) -> Option<Transform> {
        self.of_kind(kind).next()
    }

    /// The same without key exchange: the first CHILD_SA takes its keys from the IKE_SA (RFC 7296 §1.2).
    #[must_use]
    pub fn without_ke(&self) -> Self {
        let transforms =
            self.transforms.iter().copied().filter(|t| t.kind != TransformType::KeyExchange).collect();
        Self { protocol: self.protocol, transforms }
    }

    /// Does it encrypt with a combined mode?
    pub fn is_aead(&self) -> bool {
        self.first(TransformType::Encryption).is_some_and(|t| is_aead_id(t.id))
    }

    /// One transform of each type that both have; ours decides the order (RFC 7296 §2.7, §3.3).
    ///
    /// A type that one side leaves out matches if the other leaves it out too or offers NONE for it; integrity is
    /// never needed beside an AEAD (RFC 5282 §8).
    pub fn select(&self, offered: &Self) -> Option<Self> {
        if self.protocol != offered.protocol {
            return None;
        }
        let mut transforms = Vec::new();
        let mut aead = false;
        for kind in TransformType::ALL {
            if kind == TransformType::Integrity && aead {
                let refuses_none =
                    offered.of_kind(kind).next().is_some() && !offered.of_kind(kind).any(|t| t.id == 0);
                if refuses_none {
                    return None;
                }
                continue;
            }
            let chosen = self.choose(offered, kind)?;
            if kind == TransformType::Encryption {
                aead = chosen.is_some_and(|t| is_aead_id(t.id));
            }
            transforms.extend(chosen);
        }
        Some(Self { protocol: self.protocol, transforms })
    }

    /// `None` = no match; `Some(None)` = both do without.
    fn choose(&self, offered: &Self, kind: TransformType) -> Option<Option<Transform>> {
        let optional = |p: &Self| p.of_kind(kind).next().is_none() || p.of_kind(kind).any(|t| t.id == 0);
        let zero_means_none = matches!(kind, TransformType::Integrity | TransformType::KeyExchange);
        let common = self.of_kind(kind).find(|t| offered.of_kind(kind).any(|o| o == *t));
        match common {
            Some(t) if t.id == 0 && zero_means_none => Some(None),
            Some(t) => Some(Some(t)),
            None if kind == TransformType::Esn => {
                // a peer that leaves the type out means no ESN
                let none = transform(kind, 0, 0);
                let allows =
                    |p: &Self| p.of_kind(kind).next().is_none() || p.of_kind(kind).any(|t| t == none);
                (allows(self) && allows(offered)).then_some(None)
            }
            None => (zero_means_none || kind == TransformType::Prf)
                .then(|| optional(self) && optional(offered))
                .filter(|both| *both)
                .map(|_| None),
        }
    }
}

/// One proposal with combined modes, one with AES-CBC and HMAC; `rest` ends both.
fn defaults(protocol: Protocol, rest: &[Transform]) -> Vec<Proposal> {
    let aead = [(AES_GCM_16, 256), (AES_GCM_16, 128), (CHACHA20_POLY1305, 0)]
        .map(|(id, bits)| transform(TransformType::Encryption, id, bits));
    let cbc = [256, 192, 128].map(|bits| transform(TransformType::Encryption, AES_CBC, bits));
    let hmac = [12, 13, 14].map(|id| transform(TransformType::Integrity, id, 0));
    let proposal = |parts: &[&[Transform]]| Proposal { protocol, transforms: parts.concat() };
    vec![proposal(&[&aead, rest]), proposal(&[&cbc, &hmac, rest])]
}

/// Reads a comma-separated list; `default` stands for the defaults.
///
/// # Errors
/// As [`Proposal::parse`].
pub fn parse_list(protocol: Protocol, text: &str) -> Result<Vec<Proposal>, String> {
    let mut list = Vec::new();
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        match (part, protocol) {
            ("default", Protocol::Ike) => list.extend(Proposal::default_ike()),
            ("default", _) => list.extend(Proposal::default_esp()),
            _ => list.push(Proposal::parse(protocol, part)?),
        }
    }
    if list.is_empty() { Err("no proposal is given".into()) } else { Ok(list) }
}

/// The first configured proposal that one of the offered ones meets, with the number of the offered one.
pub fn select_proposal(configured: &[Proposal], offered: &[(u8, Proposal)]) -> Option<(u8, Proposal)> {
    configured.iter().find_map(|ours| {
        offered.iter().find_map(|(number, theirs)| ours.select(theirs).map(|chosen| (*number, chosen)))
    })
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.kind {
            TransformType::Encryption => names::encryption_name(self.id),
            TransformType::Prf => names::prf_name(self.id),
            TransformType::Integrity => names::integrity_name(self.id),
            TransformType::KeyExchange => names::ke_name(self.id),
            TransformType::Esn => match self.id {
                0 => "NO_EXT_SEQ",
                1 => "EXT_SEQ",
                _ => names::UNKNOWN,
            },
        };
        if name == names::UNKNOWN {
            let kind = match self.kind {
                TransformType::Encryption => "ENCR",
                TransformType::Prf => "PRF",
                TransformType::Integrity => "INTEG",
                TransformType::KeyExchange => "KE",
                TransformType::Esn => "ESN",
            };
            write!(f, "{kind}_{}", self.id)?;
        } else {
            f.write_str(name)?;
        }
        if self.key_bits != 0 { write!(f, "_{}", self.key_bits) } else { Ok(()) }
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.protocol {
            Protocol::Ike => "IKE:",
            Protocol::Ah => "AH:",
            Protocol::Esp => "ESP:",
        })?;
        for (i, transform) in self.transforms.iter().enumerate() {
            write!(f, "{}{transform}", if i > 0 { "/" } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ike(text: &str) -> Proposal {
        Proposal::parse(Protocol::Ike, text).unwrap()
    }

    fn esp(text: &str) -> Proposal {
        Proposal::parse(Protocol::Esp, text).unwrap()
    }

    #[test]
    fn keywords_become_transforms() {
        assert_eq!(
            ike("aes256gcm16-prfsha384-x25519").to_string(),
            "IKE:AES_GCM_16_256/PRF_HMAC_SHA2_384/CURVE_25519"
        );
        assert_eq!(
            ike("aes256-sha256-modp2048").to_string(),
            "IKE:AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048"
        );
        assert_eq!(esp("aes128gcm16").to_string(), "ESP:AES_GCM_16_128/NO_EXT_SEQ");
        assert_eq!(
            esp("chacha20poly1305-x25519-esn").to_string(),
            "ESP:CHACHA20_POLY1305/CURVE_25519/EXT_SEQ"
        );
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_cure() {
        for (text, part) in [
            ("aes256gcm16-x25519", "prfsha256"),
            ("aes256-x25519", "sha256"),
            ("aes256-sha256", "x25519"),
            ("aes256-sha256-x25519-none", "cannot do without"),
            ("aes256-sha255-x25519", "no algorithm"),
            ("aes256gcm16-aes256-prfsha256-x25519", "two proposals"),
            ("3des-sha1-modp1024", "too weak"),
            ("aes256-sha1-modp2048", "too weak"),
            ("aes256gcm16-prfsha256-x25519-ke1_mlkem768", "RFC 9370"),
            ("aes256gcm8-prfsha256-x25519", "16 octet"),
            ("aes257", "no algorithm"),
        ] {
            let error = Proposal::parse(Protocol::Ike, text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn selection_takes_one_of_each_type_in_our_order() {
        let ours = ike("aes256gcm16-aes128gcm16-prfsha384-prfsha256-x25519-ecp256");
        let theirs = ike("aes128gcm16-prfsha256-ecp256-x25519");
        assert_eq!(
            ours.select(&theirs).unwrap().to_string(),
            "IKE:AES_GCM_16_128/PRF_HMAC_SHA2_256/CURVE_25519"
        );
        assert!(ours.select(&ike("aes256gcm16-prfsha512-x25519")).is_none());
        assert!(ours.select(&ike("aes256-sha256-x25519")).is_none());
    }

    #[test]
    fn a_missing_ke_meets_none_and_a_missing_esn_means_no() {
        let plain = esp("aes256gcm16");
        assert!(plain.select(&esp("aes256gcm16-x25519")).is_none());
        assert!(plain.select(&esp("aes256gcm16-x25519-none")).is_some());
        let mut silent = plain.clone();
        silent.transforms.retain(|t| t.kind != TransformType::Esn);
        assert!(plain.select(&silent).is_some());
        assert!(esp("aes256gcm16-esn").select(&silent).is_none());
        assert!(esp("aes256gcm16-esn").select(&plain).is_none());
    }

    #[test]
    fn an_ike_proposal_lacking_a_mandatory_type_is_not_chosen() {
        // hostile-input case: each type left out in turn
        for ours in [ike("aes256-sha256-x25519"), ike("aes256gcm16-prfsha256-x25519")] {
            assert!(ours.select(&ours).is_some());
            for kind in TransformType::ALL {
                let mut offered = ours.clone();
                offered.transforms.retain(|t| t.kind != kind);
                if offered != ours {
                    assert_eq!(ours.select(&offered), None, "{offered}");
                    offered.transforms.push(transform(kind, 0, 0));
                    assert_eq!(ours.select(&offered), None, "{offered}");
                }
            }
        }
        // and an ESP one without encryption or integrity
        let ours = esp("aes256-sha256");
        for kind in [TransformType::Encryption, TransformType::Integrity] {
            let mut offered = ours.clone();
            offered.transforms.retain(|t| t.kind != kind);
            assert_eq!(ours.select(&offered), None, "{offered}");
        }
    }

    #[test]
    fn a_key_length_that_is_missing_or_where_none_belongs_does_not_match() {
        let mut offered = esp("aes256gcm16");
        offered.transforms[0].key_bits = 0;
        assert_eq!(esp("aes256gcm16").select(&offered), None);
        let mut offered = esp("chacha20poly1305");
        offered.transforms[0].key_bits = 256;
        assert_eq!(esp("chacha20poly1305").select(&offered), None);
    }

    #[test]
    fn unknown_numbers_print_as_numbers() {
        let odd = |kind| transform(kind, 1025, 0);
        let transforms = TransformType::ALL.map(odd).to_vec();
        let text = Proposal { protocol: Protocol::Ike, transforms }.to_string();
        assert_eq!(text, "IKE:ENCR_1025/INTEG_1025/PRF_1025/KE_1025/ESN_1025");
    }

    #[test]
    fn an_offered_integrity_of_none_goes_with_aead() {
        let mut offered = esp("aes256gcm16");
        offered.transforms.push(Transform { kind: TransformType::Integrity, id: 0, key_bits: 0 });
        assert!(esp("aes256gcm16").select(&offered).is_some());
    }

    #[test]
    fn default_children_meet_peers_with_and_without_pfs() {
        let (default, with, without) =
            (Proposal::default_esp(), esp("aes256gcm16-x25519"), esp("aes256gcm16"));
        let ke = |other: &Proposal| {
            let (_, chosen) = select_proposal(&default, &[(1, other.clone())]).unwrap();
            chosen.first(TransformType::KeyExchange).map(|t| t.id)
        };
        assert_eq!((ke(&with), ke(&without), ke(&default[0])), (Some(31), None, Some(31)));
        let back = select_proposal(&[without], &[(1, default[0].clone())]);
        assert_eq!(back.unwrap().1.first(TransformType::KeyExchange), None);
    }

    #[test]
    fn defaults_hold_nothing_weak() {
        for proposal in Proposal::default_ike().iter().chain(&Proposal::default_esp()) {
            assert!(proposal.is_aead() || proposal.first(TransformType::Integrity).is_some());
            for t in &proposal.transforms {
                assert!(!matches!(
                    (t.kind, t.id),
                    (TransformType::KeyExchange, 1..=13) | (TransformType::Integrity, 0..=11)
                ));
            }
        }
        assert!(
            Proposal::default_ike().iter().all(|p| p.of_kind(TransformType::KeyExchange).all(|t| t.id != 0))
        );
        assert_eq!(parse_list(Protocol::Ike, "aes128-sha256-ecp256, default").unwrap().len(), 3);
    }
}
