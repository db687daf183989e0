//! AUTH payloads: made and checked (RFC 7296 §2.15, RFC 7427, RFC 4754).

use adit_crypto::{HashAlg, PrivateKey, PublicKey, Secret, SignatureScheme, ct_eq, kdf};
use adit_ipsec::{Identity, MatchQuality};
use adit_wire::{IdPayload, Payload};

use crate::config::{Credentials, SharedSecret};
use crate::core::{Core, log};
use crate::reason::Reason;
use crate::sa::init_i::Transcript;
use crate::sa::seal::crypto;
use crate::sa::{Fatal, IkeSa};

/// Shared Key Message Integrity Code.
pub(crate) const METHOD_PSK: u8 = 2;
/// RFC 7427.
pub(crate) const METHOD_SIGNATURE: u8 = 14;

/// Which end an AUTH payload is of. They never verify for each other: message, nonce and key differ.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    Initiator,
    Responder,
}

/// Most secrets tried for one pair.
const MAX_TRIED: usize = 16;

/// The quality of a match is above this if an owner is the peer, be it by a wildcard. (An owner `%any` names nobody.)
const NAMES_REMOTE: u8 = 8;

pub(crate) fn id_payload(id: &Identity) -> IdPayload {
    IdPayload { kind: id.wire_kind(), data: id.wire_data() }
}

pub(crate) fn identity(payload: &IdPayload) -> Fatal<Identity> {
    Identity::from_wire(payload.kind, &payload.data)
        .map_err(|error| Reason::Syntax { detail: format!("identity: {error}") })
}

/// Secrets for a pair of identities, best match first.
///
/// A secret that names our identity only is for any peer. But a peer that has a secret of its own has to prove that one:
/// whoever shares another with us must not get in by the name of somebody else.
pub(crate) fn shared_secrets(list: &[SharedSecret], local: &Identity, remote: &Identity) -> Vec<Secret> {
    let mut found: Vec<(u8, &SharedSecret)> = list
        .iter()
        .filter_map(|entry| {
            if entry.owners.is_empty() {
                return Some((0, entry));
            }
            let quality = |id: &Identity| {
                entry
                    .owners
                    .iter()
                    .map(|owner| match owner.matches(id) {
                        MatchQuality::None => 0,
                        MatchQuality::Any => 1,
                        MatchQuality::Wildcard => 2,
                        MatchQuality::Exact => 3,
                    })
                    .max()
                    .unwrap_or(0)
            };
            let (local, remote) = (quality(local), quality(remote));
            (local > 0 || remote > 0).then_some((1 + remote * 4 + local, entry))
        })
        .collect();
    if found.iter().any(|(quality, _)| *quality > NAMES_REMOTE) {
        found.retain(|(quality, _)| *quality > NAMES_REMOTE);
    }
    found.sort_by_key(|(quality, _)| std::cmp::Reverse(*quality));
    found.into_iter().take(MAX_TRIED).map(|(_, entry)| entry.secret.clone()).collect()
}

/// EAP passwords out of the credentials.
pub(crate) struct Passwords<'a>(pub &'a Credentials);

impl adit_eap::EapSecrets for Passwords<'_> {
    fn password(&self, identity: &[u8]) -> Option<Secret> {
        let parsed = std::str::from_utf8(identity).ok().and_then(|text| Identity::parse(text).ok());
        let owns = |owner: &Identity| {
            owner.wire_data() == identity
                || parsed
                    .as_ref()
                    .is_some_and(|id| !id.is_any() && owner.matches(id) >= MatchQuality::Wildcard)
        };
        let exact = self.0.eap.iter().find(|entry| entry.owners.iter().any(owns));
        exact
            .or_else(|| self.0.eap.iter().find(|entry| entry.owners.is_empty()))
            .map(|entry| entry.secret.clone())
    }
}

impl IkeSa {
    /// Runs `work` on the octets that `whose` AUTH covers.
    pub(crate) fn with_octets<R>(
        &self,
        t: &Transcript,
        whose: Whose,
        id: &IdPayload,
        work: impl FnOnce(adit_crypto::Prf, &[&[u8]], &Secret) -> R,
    ) -> Fatal<R> {
        let prf = self.keys.as_ref().ok_or_else(|| crypto("no keys"))?.prf;
        let (message, nonce, sk_p) = match whose {
            Whose::Initiator => (&t.init_request, &t.nr, &t.sk_pi),
            Whose::Responder => (&t.init_response, &t.ni, &t.sk_pr),
        };
        let maced = prf.compute(sk_p.as_bytes(), &[&id.body()]);
        Ok(work(prf, &[message, nonce, &maced], sk_p))
    }

    /// AUTH by shared secret; without one (an EAP method without keys) by SK_p (RFC 7296 §2.16).
    pub(crate) fn auth_by_secret(
        &self,
        t: &Transcript,
        whose: Whose,
        id: &IdPayload,
        secret: Option<&Secret>,
    ) -> Fatal<Vec<u8>> {
        self.with_octets(t, whose, id, |prf, octets, sk_p| {
            kdf::auth_psk(prf, secret.unwrap_or(sk_p).as_bytes(), octets)
        })
    }

    /// Our AUTH by pre-shared key.
    pub(crate) fn make_psk(
        &self,
        core: &mut Core,
        t: &Transcript,
        whose: Whose,
        local: &Identity,
        remote: &Identity,
    ) -> Fatal<Payload> {
        let secrets = shared_secrets(&core.config.credentials.shared, local, remote);
        let Some(secret) = secrets.first() else {
            log!(core, Ike, 1, self, "no shared key found for '{local}' - '{remote}'");
            return Err(Reason::NoSharedKey { local: local.clone(), remote: remote.clone() });
        };
        let data = self.auth_by_secret(t, whose, &id_payload(local), Some(secret))?;
        log!(core, Ike, 1, self, "authentication of '{local}' (myself) with pre-shared key");
        Ok(Payload::Auth { method: METHOD_PSK, data })
    }

    /// The peer's AUTH by pre-shared key.
    pub(crate) fn check_psk(
        &self,
        core: &mut Core,
        t: &Transcript,
        whose: Whose,
        (remote, id): (&Identity, &IdPayload),
        local: &Identity,
        data: &[u8],
    ) -> Fatal<()> {
        let secrets = shared_secrets(&core.config.credentials.shared, local, remote);
        if secrets.is_empty() {
            log!(core, Ike, 1, self, "no shared key found for '{local}' - '{remote}'");
            return Err(Reason::NoSharedKey { local: local.clone(), remote: remote.clone() });
        }
        for secret in &secrets {
            if ct_eq(&self.auth_by_secret(t, whose, id, Some(secret))?, data) {
                log!(core, Ike, 1, self, "authentication of '{remote}' with pre-shared key successful");
                return Ok(());
            }
        }
        let tried = secrets.len();
        log!(
            core,
            Ike,
            1,
            self,
            "tried {tried} shared key{} for '{local}' - '{remote}', but MAC mismatched",
            if tried == 1 { "" } else { "s" }
        );
        Err(Reason::PskMismatch { local: local.clone(), remote: remote.clone(), tried })
    }

    /// Our AUTH by signature: RFC 7427 if the peer does that, else what RFC 4754 had.
    pub(crate) fn make_signature(
        &self,
        core: &mut Core,
        t: &Transcript,
        whose: Whose,
        local: &Identity,
        key: &PrivateKey,
    ) -> Fatal<Payload> {
        let octets = self.with_octets(t, whose, &id_payload(local), |_, parts, _| parts.concat())?;
        let hashes: Vec<HashAlg> =
            t.peer_hashes.iter().flatten().filter_map(|id| HashAlg::from_id(*id)).collect();
        let schemes = key.schemes(&hashes, core.settings.rsa_pss);
        let (payload, name) = if let Some(scheme) = schemes.first() {
            let signature = key.sign(*scheme, &octets).map_err(crypto)?;
            let identifier = scheme.algorithm_identifier();
            let mut data = vec![u8::try_from(identifier.len()).map_err(crypto)?];
            data.extend_from_slice(identifier);
            data.extend(signature);
            (Payload::Auth { method: METHOD_SIGNATURE, data }, scheme.display_name())
        } else if let Some(method) = key.kind().legacy_method() {
            let data = key.sign_legacy(method, &octets).map_err(crypto)?;
            (Payload::Auth { method, data }, legacy_name(method))
        } else {
            return Err(Reason::NoCommonSignature {
                key: key.kind().to_string(),
                peer: t.peer_hashes.clone().unwrap_or_default(),
            });
        };
        log!(core, Ike, 1, self, "authentication of '{local}' (myself) with {name} successful");
        Ok(payload)
    }

    /// The peer's AUTH by signature, with a key that its certificate has been found good for.
    pub(crate) fn check_signature(
        &self,
        core: &mut Core,
        t: &Transcript,
        whose: Whose,
        (remote, id): (&Identity, &IdPayload),
        key: &PublicKey,
        (method, data): (u8, &[u8]),
    ) -> Fatal<()> {
        let octets = self.with_octets(t, whose, id, |_, parts, _| parts.concat())?;
        let bad = |detail: String| Reason::BadSignature { id: remote.clone(), detail };
        let name = if method == METHOD_SIGNATURE {
            let malformed = || bad("its AlgorithmIdentifier is cut short".to_owned());
            let (len, rest) = data.split_first().ok_or_else(malformed)?;
            let (identifier, signature) = rest.split_at_checked(usize::from(*len)).ok_or_else(malformed)?;
            let scheme = SignatureScheme::from_algorithm_identifier(identifier).ok_or_else(|| {
                Reason::UnsupportedSignature {
                    detail: "a signature algorithm that is unknown or weak".to_owned(),
                }
            })?;
            key.verify(scheme, &octets, signature).map_err(|error| bad(error.to_string()))?;
            scheme.display_name()
        } else if matches!(method, 9..=11) {
            key.verify_legacy(method, &octets, data).map_err(|error| bad(error.to_string()))?;
            legacy_name(method)
        } else {
            return Err(Reason::UnsupportedSignature { detail: format!("authentication method {method}") });
        };
        log!(core, Ike, 1, self, "authentication of '{remote}' with {name} successful");
        Ok(())
    }
}

fn legacy_name(method: u8) -> &'static str {
    match method {
        9 => "ECDSA-256 signature",
        10 => "ECDSA-384 signature",
        11 => "ECDSA-521 signature",
        _ => "RSA signature",
    }
}
