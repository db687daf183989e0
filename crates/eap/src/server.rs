//! The gateway's side: asks for the identity, challenges, judges, proves itself.

use adit_crypto::{Random, Secret, ct_eq};

use crate::error::{EapError, printable};
use crate::mschapv2::{self, Transcript, user_part};
use crate::packet::{self, MsChap, Packet};
use crate::{MAX_ROUNDS, Method};

/// The name we give ourselves in a challenge. Clients only show it.
const SERVER_NAME: &[u8] = b"adit";
/// RFC 2759 §4: user names have at most 256 characters. Longer EAP identities could not match one.
const MAX_NAME: usize = 256;
/// RFC 2759 §6 error code ERROR_AUTHENTICATION_FAILURE. No retry is offered: IKE starts anew instead.
const AUTHENTICATION_FAILURE: u32 = 691;

/// Where the server finds passwords.
pub trait EapSecrets {
    /// The password (UTF-8) of the user that `identity` names, in the spelling of the wire.
    fn password(&self, identity: &[u8]) -> Option<Secret>;
}

/// What the server wants done next.
#[derive(Debug)]
pub enum ServerStep {
    /// Send this EAP packet and give the answer to [`EapServer::receive`].
    Request(Vec<u8>),
    /// The client is who it says.
    Success {
        /// The EAP-Success to send.
        packet: Vec<u8>,
        /// 64 bytes for AUTH (RFC 7296 §2.16); `None` for a method without keys.
        msk: Option<Secret>,
        /// The identity that was authenticated, spelled as its password is configured. Policy must be looked up with
        /// this, never with the bare IDi.
        identity: Vec<u8>,
    },
    /// The conversation is over without success.
    Failure {
        /// The EAP-Failure to send.
        packet: Vec<u8>,
        /// Why.
        reason: EapError,
    },
}

enum State {
    Idle,
    Identity,
    Response { challenge: [u8; 16] },
    SuccessAck { msk: Secret, identity: Vec<u8> },
    FailureAck { reason: EapError },
    Ended,
}

/// One conversation with one client, as authenticator and server in one.
pub struct EapServer {
    state: State,
    ask_identity: bool,
    /// What the client said in its EAP-Identity response.
    told: Option<Vec<u8>>,
    /// IDi, the identity when none is asked for.
    known: Option<Vec<u8>>,
    method: Method,
    /// Identifier of our last request.
    id: u8,
    rounds: u32,
}

impl EapServer {
    /// A new conversation. With `ask_identity` it opens with an Identity request; without, `known_identity` (IDi) is
    /// what the client's name is expected to be. A client that names itself differently inside the method then gets
    /// the identity it proved, see [`ServerStep::Success`].
    pub fn new(ask_identity: bool, known_identity: Option<Vec<u8>>, method: Method) -> Self {
        Self { state: State::Idle, ask_identity, told: None, known: known_identity, method, id: 0, rounds: 0 }
    }

    /// The EAP identity as far as known: that of the Identity response, else the one given to [`new`](Self::new).
    pub fn identity(&self) -> Option<&[u8]> {
        self.told.as_deref().or(self.known.as_deref())
    }

    /// Why the client is being refused, while its acknowledgement is awaited: many leave instead of sending it.
    pub fn refusing(&self) -> Option<&EapError> {
        match &self.state {
            State::FailureAck { reason } => Some(reason),
            _ => None,
        }
    }

    /// The method this server authenticates with.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The first request. A second call fails.
    pub fn start(&mut self, rng: &mut dyn Random, _secrets: &dyn EapSecrets) -> ServerStep {
        if !matches!(self.state, State::Idle) {
            return self.fail(EapError::Ended);
        }
        let mut first = [0];
        rng.fill(&mut first);
        [self.id] = first;
        if self.ask_identity {
            self.state = State::Identity;
            ServerStep::Request(packet::build(packet::REQUEST, self.id, packet::TYPE_IDENTITY, &[]))
        } else {
            self.challenge(rng)
        }
    }

    /// The client's answer to the last request.
    pub fn receive(&mut self, packet: &[u8], rng: &mut dyn Random, secrets: &dyn EapSecrets) -> ServerStep {
        self.rounds = self.rounds.saturating_add(1);
        if self.rounds > MAX_ROUNDS {
            return self.fail(EapError::TooManyRounds);
        }
        match self.step(packet, rng, secrets) {
            Ok(step) => step,
            Err(reason) => self.fail(reason),
        }
    }

    fn step(
        &mut self,
        packet: &[u8],
        rng: &mut dyn Random,
        secrets: &dyn EapSecrets,
    ) -> Result<ServerStep, EapError> {
        let state = std::mem::replace(&mut self.state, State::Ended);
        if matches!(state, State::Idle | State::Ended) {
            return Err(EapError::Ended);
        }
        let (kind, data) = match Packet::parse(packet)? {
            Packet::Response { id, kind, data } if id == self.id => (kind, data),
            Packet::Response { id, .. } => {
                return Err(EapError::WrongIdentifier { expected: self.id, received: id });
            }
            Packet::Request { .. } => return Err(EapError::OutOfOrder("EAP request of a client")),
            Packet::Success { .. } => return Err(EapError::OutOfOrder("EAP success of a client")),
            Packet::Failure { .. } => return Err(EapError::OutOfOrder("EAP failure of a client")),
        };
        match state {
            State::Identity => match kind {
                packet::TYPE_IDENTITY if data.len() > MAX_NAME => {
                    Err(EapError::Malformed("EAP identity is longer than 256 bytes"))
                }
                packet::TYPE_IDENTITY => {
                    self.told = Some(data.to_vec());
                    Ok(self.challenge(rng))
                }
                _ => Err(EapError::OutOfOrder("response of another type than Identity")),
            },
            State::Response { challenge } => match kind {
                packet::TYPE_MSCHAPV2 => self.judge(&challenge, data, rng, secrets),
                // RFC 3748 §5.3.1: each byte is a type the peer would rather use, 0 if there is none.
                packet::TYPE_NAK => Err(EapError::MethodRefused {
                    wanted: data.iter().copied().filter(|kind| *kind != 0).take(8).collect(),
                }),
                _ => Err(EapError::OutOfOrder("response of another type than MSCHAPv2")),
            },
            State::SuccessAck { msk, identity } => match (kind, data.first()) {
                (packet::TYPE_MSCHAPV2, Some(&packet::OP_SUCCESS)) => Ok(ServerStep::Success {
                    packet: packet::build_end(packet::SUCCESS, self.id),
                    msk: Some(msk),
                    identity,
                }),
                (packet::TYPE_MSCHAPV2, Some(&packet::OP_FAILURE)) => Err(EapError::ProofRefused),
                _ => Err(EapError::OutOfOrder("response other than an MSCHAPv2 success response")),
            },
            // Whatever it says to its failure, the reason stands.
            State::FailureAck { reason } => Err(reason),
            State::Idle | State::Ended => Err(EapError::Ended),
        }
    }

    fn challenge(&mut self, rng: &mut dyn Random) -> ServerStep {
        let mut challenge = [0; 16];
        rng.fill(&mut challenge);
        let mut body = vec![16];
        body.extend_from_slice(&challenge);
        body.extend_from_slice(SERVER_NAME);
        if self.told.is_some() {
            self.id = self.id.wrapping_add(1);
        }
        self.state = State::Response { challenge };
        ServerStep::Request(MsChap::build(packet::REQUEST, self.id, packet::OP_CHALLENGE, self.id, &body))
    }

    /// Judges a Response. Unknown user, mismatched name and wrong password take the same way and time, so that nobody
    /// can probe for names.
    fn judge(
        &mut self,
        challenge: &[u8; 16],
        data: &[u8],
        rng: &mut dyn Random,
        secrets: &dyn EapSecrets,
    ) -> Result<ServerStep, EapError> {
        let message = MsChap::parse(data)?;
        if message.op != packet::OP_RESPONSE {
            return Err(EapError::OutOfOrder("MSCHAPv2 message other than a response"));
        }
        // RFC 2759 §4: 16 bytes of peer challenge, 8 reserved, 24 of NT response, 1 of flags.
        let (value, name) = packet::value_and_name::<49>(message.body)?;
        if name.len() > MAX_NAME {
            return Err(EapError::Malformed("MSCHAPv2 user name is longer than 256 bytes"));
        }
        let cut = EapError::Malformed("MSCHAPv2 value is cut short");
        let (peer, rest) = value.split_first_chunk::<16>().ok_or_else(|| cut.clone())?;
        let (_reserved, rest) = rest.split_first_chunk::<8>().ok_or_else(|| cut.clone())?;
        let (response, _flags) = rest.split_first_chunk::<24>().ok_or(cut)?;

        let (claimed, mismatch) = self.who(name);
        let found = if mismatch { None } else { find(secrets, &claimed, name) };
        let known = found.is_some();
        let (identity, password) = found.unwrap_or_else(|| {
            let mut nobody = vec![0; 16];
            rng.fill(&mut nobody);
            (claimed, Secret::from(nobody))
        });
        let nt_hash = mschapv2::nt_hash(password.as_bytes());
        let transcript = Transcript { authenticator: challenge, peer, name };
        let right = ct_eq(&transcript.nt_response(&nt_hash), response) && known;

        // Success and failure requests are new requests with new identifiers; the MS-CHAPv2-ID stays that of the
        // challenge (RFC 2759 §5).
        let ms_id = self.id;
        self.id = self.id.wrapping_add(1);
        if right {
            let mut text = String::from("S=");
            for byte in transcript.authenticator_response(&nt_hash, response) {
                text.push_str(&format!("{byte:02X}"));
            }
            text.push_str(" M=Welcome");
            self.state = State::SuccessAck { msk: mschapv2::msk(&nt_hash, response), identity };
            let request = MsChap::build(packet::REQUEST, self.id, packet::OP_SUCCESS, ms_id, text.as_bytes());
            return Ok(ServerStep::Request(request));
        }
        let user = printable(name);
        let reason = if mismatch {
            EapError::NameMismatch { identity: printable(&identity), name: user }
        } else if known {
            EapError::WrongPassword { user }
        } else {
            EapError::UnknownUser { user }
        };
        self.state = State::FailureAck { reason };
        // RFC 2759 §6; the challenge would be for a retry, which is not offered.
        let text = format!("E={AUTHENTICATION_FAILURE} R=0 C={} V=3 M=Authentication failed", "0".repeat(32));
        let request = MsChap::build(packet::REQUEST, self.id, packet::OP_FAILURE, ms_id, text.as_bytes());
        Ok(ServerStep::Request(request))
    }

    /// The identity that a proof under `name` would prove, and whether it contradicts what the client said before.
    fn who(&self, name: &[u8]) -> (Vec<u8>, bool) {
        match (&self.told, &self.known) {
            // Somebody else's password must not open the door under a told identity.
            (Some(told), _) => (told.clone(), !same_user(told, name)),
            (None, Some(known)) if same_user(known, name) => (known.clone(), false),
            (None, _) => (name.to_vec(), false),
        }
    }

    fn fail(&mut self, reason: EapError) -> ServerStep {
        self.state = State::Ended;
        ServerStep::Failure { packet: packet::build_end(packet::FAILURE, self.id), reason }
    }
}

/// Windows sends `DOMAIN\user` in one place and `user` in the other, and does not care for case.
fn same_user(a: &[u8], b: &[u8]) -> bool {
    user_part(a).eq_ignore_ascii_case(user_part(b))
}

/// The password and the spelling under which it is configured. That spelling is the identity: else one user could
/// hold leases as `alice`, `Alice` and `X\alice`.
fn find(secrets: &dyn EapSecrets, identity: &[u8], name: &[u8]) -> Option<(Vec<u8>, Secret)> {
    [identity, name, user_part(identity)]
        .into_iter()
        .find_map(|who| secrets.password(who).map(|password| (who.to_vec(), password)))
}
