//! The road-warrior's side: answers, and believes a server only after its proof.

use adit_crypto::{Random, Secret, ct_eq};

use crate::error::{EapError, printable};
use crate::mschapv2::{self, Transcript};
use crate::packet::{self, MsChap, Packet};
use crate::{MAX_ROUNDS, Method};

/// What the client wants done next.
#[derive(Debug)]
pub enum ClientStep {
    /// Send this EAP packet.
    Response(Vec<u8>),
    /// Both ends are authenticated.
    Success {
        /// 64 bytes for AUTH (RFC 7296 §2.16); `None` for a method without keys.
        msk: Option<Secret>,
    },
    /// The conversation is over without success; nothing is to be sent.
    Failure(EapError),
}

enum State {
    /// Nothing of the method has happened.
    Idle,
    /// The challenge is answered; `proof` is what the server must show.
    Answered {
        proof: [u8; 20],
        msk: Secret,
    },
    /// The server's proof was right; only EAP-Success is missing.
    Proven {
        msk: Secret,
    },
    /// The server told why it will fail us.
    Refused {
        reason: EapError,
    },
    Ended,
}

/// One conversation with one server.
pub struct EapClient {
    state: State,
    identity: Vec<u8>,
    password: Secret,
    allowed: Option<Method>,
    /// The last request and what we answered: RFC 3748 §4.1 has a repeated request answered by the same response.
    last: Option<(Vec<u8>, Vec<u8>)>,
    /// Method that the server began.
    method: Option<Method>,
    rounds: u32,
}

impl EapClient {
    /// A client named `identity` (with or without `DOMAIN\`) with a UTF-8 password. `allowed` restricts it to one
    /// method; `None` takes any we serve.
    pub fn new(identity: Vec<u8>, password: Secret, allowed: Option<Method>) -> Self {
        Self { state: State::Idle, identity, password, allowed, last: None, method: None, rounds: 0 }
    }

    /// The method in use, once the server has named it.
    pub fn method(&self) -> Option<Method> {
        self.method
    }

    /// A packet of the server.
    pub fn receive(&mut self, packet: &[u8], rng: &mut dyn Random) -> ClientStep {
        self.rounds = self.rounds.saturating_add(1);
        if self.rounds > MAX_ROUNDS {
            self.state = State::Ended;
            return ClientStep::Failure(EapError::TooManyRounds);
        }
        match self.step(packet, rng) {
            Ok(step) => step,
            Err(reason) => {
                self.state = State::Ended;
                ClientStep::Failure(reason)
            }
        }
    }

    fn step(&mut self, packet: &[u8], rng: &mut dyn Random) -> Result<ClientStep, EapError> {
        if matches!(self.state, State::Ended) {
            return Err(EapError::Ended);
        }
        match Packet::parse(packet)? {
            Packet::Request { id, kind, data } => {
                if let Some((request, response)) = &self.last
                    && request == packet
                {
                    return Ok(ClientStep::Response(response.clone()));
                }
                let response = self.answer(id, kind, data, rng)?;
                self.last = Some((packet.to_vec(), response.clone()));
                Ok(ClientStep::Response(response))
            }
            // RFC 3748 §4.2 wants the identifier of our response here. Servers are known to count one further, and
            // inside IKE the packet is authenticated anyway: what counts is that the method is complete.
            Packet::Success { .. } => match std::mem::replace(&mut self.state, State::Ended) {
                State::Proven { msk } => Ok(ClientStep::Success { msk: Some(msk) }),
                State::Refused { .. } => Err(EapError::OutOfOrder("EAP success after a failure request")),
                _ => Err(EapError::EarlySuccess),
            },
            Packet::Failure { .. } => match std::mem::replace(&mut self.state, State::Ended) {
                State::Refused { reason } => Err(reason),
                _ => Err(EapError::FailedByServer),
            },
            Packet::Response { .. } => Err(EapError::OutOfOrder("EAP response of a server")),
        }
    }

    fn answer(&mut self, id: u8, kind: u8, data: &[u8], rng: &mut dyn Random) -> Result<Vec<u8>, EapError> {
        match (kind, &self.state) {
            (packet::TYPE_IDENTITY, State::Idle) => {
                Ok(packet::build(packet::RESPONSE, id, packet::TYPE_IDENTITY, &self.identity))
            }
            (packet::TYPE_IDENTITY, _) => Err(EapError::OutOfOrder("identity request")),
            // RFC 3748 §5.2: acknowledged, whatever it says.
            (packet::TYPE_NOTIFICATION, _) => {
                Ok(packet::build(packet::RESPONSE, id, packet::TYPE_NOTIFICATION, &[]))
            }
            (packet::TYPE_NAK | 0, _) => {
                Err(EapError::Malformed("request of a type that is for responses only"))
            }
            (packet::TYPE_MSCHAPV2, _) if self.allows(Method::MsChapV2) => self.mschapv2(id, data, rng),
            // RFC 3748 §5.3.1: a Nak is for the first packet of a method only. To an expanded type (254) a legacy Nak
            // is an allowed answer of a peer that does not know expanded types.
            (_, State::Idle) => {
                let wanted = if self.allows(Method::MsChapV2) { Method::MsChapV2.eap_type() } else { 0 };
                Ok(packet::build(packet::RESPONSE, id, packet::TYPE_NAK, &[wanted]))
            }
            _ => Err(EapError::MethodNotAllowed { requested: kind }),
        }
    }

    fn allows(&self, method: Method) -> bool {
        self.allowed.is_none_or(|allowed| allowed == method)
    }

    fn mschapv2(&mut self, id: u8, data: &[u8], rng: &mut dyn Random) -> Result<Vec<u8>, EapError> {
        let message = MsChap::parse(data)?;
        match (message.op, std::mem::replace(&mut self.state, State::Ended)) {
            (packet::OP_CHALLENGE, State::Idle) => self.respond(id, message, rng),
            (packet::OP_SUCCESS, State::Answered { proof, msk }) => {
                let shown = authenticator_response(message.body)?;
                if !ct_eq(&shown, &proof) {
                    return Err(EapError::ServerNotAuthenticated);
                }
                self.state = State::Proven { msk };
                Ok(packet::build(packet::RESPONSE, id, packet::TYPE_MSCHAPV2, &[packet::OP_SUCCESS]))
            }
            (packet::OP_FAILURE, State::Answered { .. }) => {
                self.state = State::Refused { reason: rejection(message.body) };
                Ok(packet::build(packet::RESPONSE, id, packet::TYPE_MSCHAPV2, &[packet::OP_FAILURE]))
            }
            (packet::OP_CHALLENGE, _) => Err(EapError::OutOfOrder("second MSCHAPv2 challenge")),
            (packet::OP_SUCCESS, _) => Err(EapError::OutOfOrder("MSCHAPv2 success request")),
            (packet::OP_FAILURE, _) => Err(EapError::OutOfOrder("MSCHAPv2 failure request")),
            _ => Err(EapError::Malformed("unknown MSCHAPv2 op code")),
        }
    }

    fn respond(&mut self, id: u8, message: MsChap<'_>, rng: &mut dyn Random) -> Result<Vec<u8>, EapError> {
        let (authenticator, _server) = packet::value_and_name::<16>(message.body)?;
        let mut peer = [0; 16];
        rng.fill(&mut peer);
        let nt_hash = mschapv2::nt_hash(self.password.as_bytes());
        let transcript = Transcript { authenticator, peer: &peer, name: &self.identity };
        let response = transcript.nt_response(&nt_hash);

        let mut body = vec![49];
        body.extend_from_slice(&peer);
        body.extend_from_slice(&[0; 8]);
        body.extend_from_slice(&response);
        body.push(0);
        body.extend_from_slice(&self.identity);

        let proof = transcript.authenticator_response(&nt_hash, &response);
        self.state = State::Answered { proof, msk: mschapv2::msk(&nt_hash, &response) };
        self.method = Some(Method::MsChapV2);
        Ok(MsChap::build(packet::RESPONSE, id, packet::OP_RESPONSE, message.id, &body))
    }
}

/// The 20 bytes of `S=<40 hexadecimal digits> M=<text>` (RFC 2759 §5).
fn authenticator_response(body: &[u8]) -> Result<[u8; 20], EapError> {
    const WRONG: EapError = EapError::Malformed("MSCHAPv2 success request without an authenticator response");
    let digits = body.strip_prefix(b"S=").and_then(|rest| rest.split_first_chunk::<40>()).ok_or(WRONG)?;
    if !matches!(digits.1.first(), None | Some(b' ' | 0)) {
        return Err(WRONG);
    }
    let mut out = [0; 20];
    let (pairs, _) = digits.0.as_chunks::<2>();
    for (slot, [high, low]) in out.iter_mut().zip(pairs) {
        let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
        let (Some(high), Some(low)) = (nibble(*high), nibble(*low)) else { return Err(WRONG) };
        *slot = high << 4 | low;
    }
    Ok(out)
}

/// `E=691 R=1 C=… V=3 M=<text>` (RFC 2759 §6). All of it is for the operator: we never retry, so an unreadable one
/// is a rejection as well.
fn rejection(body: &[u8]) -> EapError {
    let text = String::from_utf8_lossy(body);
    let (fields, message) = match text.split_once("M=") {
        Some((fields, message)) => (fields, message),
        None => (&*text, ""),
    };
    let code = fields
        .split_ascii_whitespace()
        .find_map(|field| field.strip_prefix("E="))
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0);
    EapError::Rejected { code, message: printable(message.as_bytes()) }
}
