//! Client and server against each other, and each against what a peer should not send.
#![allow(clippy::unwrap_used, clippy::panic)]

use adit_crypto::{Secret, SeededRandom};
use adit_eap::{ClientStep, EapClient, EapError, EapSecrets, EapServer, Method, ServerStep, describe};

struct Users(&'static [(&'static str, &'static str)]);

impl EapSecrets for Users {
    fn password(&self, identity: &[u8]) -> Option<Secret> {
        let (_, password) = self.0.iter().find(|(name, _)| name.as_bytes() == identity)?;
        Some(Secret::from(password.as_bytes().to_vec()))
    }
}

const USERS: Users = Users(&[("alice", "Grüße, Jürgen"), ("bob", "")]);

struct Ends {
    server: EapServer,
    client: EapClient,
    rng: SeededRandom,
    /// What crossed the wire, as log lines show it.
    seen: Vec<String>,
}

#[derive(Debug)]
struct Outcome {
    server: Result<(Secret, Vec<u8>), EapError>,
    client: Result<Secret, EapError>,
}

impl Ends {
    fn new(ask: bool, known: Option<&str>, user: &str, password: &str) -> Self {
        Self {
            server: EapServer::new(ask, known.map(|name| name.as_bytes().to_vec()), Method::MsChapV2),
            client: EapClient::new(
                user.as_bytes().to_vec(),
                Secret::from(password.as_bytes().to_vec()),
                Some(Method::MsChapV2),
            ),
            rng: SeededRandom::new(7),
            seen: Vec::new(),
        }
    }

    fn run(&mut self) -> Outcome {
        let mut step = self.server.start(&mut self.rng, &USERS);
        loop {
            match step {
                ServerStep::Request(packet) => {
                    self.seen.push(describe(&packet));
                    match self.client.receive(&packet, &mut self.rng) {
                        ClientStep::Response(answer) => {
                            self.seen.push(describe(&answer));
                            assert_eq!(answer[1], packet[1], "a response has its request's identifier");
                            step = self.server.receive(&answer, &mut self.rng, &USERS);
                        }
                        other => panic!("{other:?}"),
                    }
                }
                ServerStep::Success { packet, msk, identity } => {
                    self.seen.push(describe(&packet));
                    let client = match self.client.receive(&packet, &mut self.rng) {
                        ClientStep::Success { msk } => Ok(msk.unwrap()),
                        ClientStep::Failure(reason) => Err(reason),
                        ClientStep::Response(_) => panic!(),
                    };
                    return Outcome { server: Ok((msk.unwrap(), identity)), client };
                }
                ServerStep::Failure { packet, reason } => {
                    self.seen.push(describe(&packet));
                    let client = match self.client.receive(&packet, &mut self.rng) {
                        ClientStep::Failure(reason) => Err(reason),
                        other => panic!("{other:?}"),
                    };
                    return Outcome { server: Err(reason), client };
                }
            }
        }
    }
}

#[test]
fn both_ends_agree_on_keys_and_identity() {
    let mut ends = Ends::new(true, None, "alice", "Grüße, Jürgen");
    let outcome = ends.run();
    let (msk, identity) = outcome.server.unwrap();
    assert_eq!(identity, b"alice");
    assert_eq!(msk.as_bytes().len(), 64);
    assert_eq!(msk, outcome.client.unwrap());
    assert_eq!(
        ends.seen,
        [
            "EAP/REQ/ID",
            "EAP/RES/ID",
            "EAP/REQ/MSCHAPV2",
            "EAP/RES/MSCHAPV2",
            "EAP/REQ/MSCHAPV2",
            "EAP/RES/MSCHAPV2",
            "EAP/SUCC"
        ]
    );
    assert_eq!(ends.server.identity(), Some(&b"alice"[..]));
    assert_eq!(ends.client.method(), Some(Method::MsChapV2));
}

#[test]
fn keys_differ_from_run_to_run() {
    let mut rng = SeededRandom::new(7);
    let mut msks = Vec::new();
    for _ in 0..2 {
        let mut ends = Ends::new(true, None, "alice", "Grüße, Jürgen");
        std::mem::swap(&mut ends.rng, &mut rng);
        msks.push(ends.run().client.unwrap());
        std::mem::swap(&mut ends.rng, &mut rng);
    }
    assert_ne!(msks[0], msks[1]);
}

#[test]
fn the_identity_request_can_be_left_out() {
    let mut ends = Ends::new(false, Some("alice"), "alice", "Grüße, Jürgen");
    let (_, identity) = ends.run().server.unwrap();
    assert_eq!(identity, b"alice");
    assert_eq!(ends.seen[0], "EAP/REQ/MSCHAPV2");
}

#[test]
fn an_empty_password_is_a_password() {
    assert!(Ends::new(true, None, "bob", "").run().client.is_ok());
    assert!(Ends::new(true, None, "bob", "x").run().client.is_err());
}

#[test]
fn a_domain_is_no_part_of_the_user() {
    let outcome = Ends::new(true, None, "EXAMPLE\\alice", "Grüße, Jürgen").run();
    assert_eq!(outcome.server.unwrap().1, b"alice");
    assert!(outcome.client.is_ok());
}

#[test]
fn the_identity_is_spelled_as_configured() {
    let mut ends = Ends::new(true, None, "alice", "Grüße, Jürgen");
    let packet = request(ends.server.start(&mut ends.rng, &USERS));
    let identity = eap(2, packet[1], b"\x01ALICE");
    let mut packet = request(ends.server.receive(&identity, &mut ends.rng, &USERS));
    for _ in 0..2 {
        let answer = response(ends.client.receive(&packet, &mut ends.rng));
        match ends.server.receive(&answer, &mut ends.rng, &USERS) {
            ServerStep::Request(next) => packet = next,
            ServerStep::Success { identity, .. } => return assert_eq!(identity, b"alice"),
            other => panic!("{other:?}"),
        }
    }
    panic!("no end");
}

#[test]
fn a_proof_counts_for_who_gave_it() {
    // IDi says alice, the method's user is bob, with bob's password: it is bob who is there.
    let (_, identity) = Ends::new(false, Some("alice"), "bob", "").run().server.unwrap();
    assert_eq!(identity, b"bob");
}

#[test]
fn a_wrong_password_fails_with_the_reason_on_both_ends() {
    let mut ends = Ends::new(true, None, "alice", "wrong");
    let outcome = ends.run();
    assert_eq!(outcome.server.unwrap_err(), EapError::WrongPassword { user: "alice".into() });
    assert_eq!(
        outcome.client.unwrap_err(),
        EapError::Rejected { code: 691, message: "Authentication failed".into() }
    );
    assert_eq!(ends.seen.last().unwrap(), "EAP/FAIL");
}

#[test]
fn an_unknown_user_looks_like_a_wrong_password() {
    let mut unknown = Ends::new(true, None, "mallory", "wrong");
    let outcome = unknown.run();
    assert_eq!(outcome.server.unwrap_err(), EapError::UnknownUser { user: "mallory".into() });
    assert!(matches!(outcome.client, Err(EapError::Rejected { code: 691, .. })));
    let mut wrong = Ends::new(true, None, "alice", "wrong");
    wrong.run();
    assert_eq!(unknown.seen, wrong.seen);
}

fn request(server: ServerStep) -> Vec<u8> {
    match server {
        ServerStep::Request(packet) => packet,
        other => panic!("{other:?}"),
    }
}

fn response(client: ClientStep) -> Vec<u8> {
    match client {
        ClientStep::Response(packet) => packet,
        other => panic!("{other:?}"),
    }
}

fn refused(client: ClientStep) -> EapError {
    match client {
        ClientStep::Failure(reason) => reason,
        other => panic!("{other:?}"),
    }
}

fn failed(server: ServerStep) -> EapError {
    match server {
        ServerStep::Failure { packet, reason } => {
            assert_eq!(describe(&packet), "EAP/FAIL");
            reason
        }
        other => panic!("{other:?}"),
    }
}

/// Server and client up to and including the request and answer number `steps`; the last answer is returned.
fn advance(steps: usize) -> (Ends, Vec<u8>) {
    let mut ends = Ends::new(true, None, "alice", "Grüße, Jürgen");
    let mut packet = request(ends.server.start(&mut ends.rng, &USERS));
    let mut answer = Vec::new();
    for step in 0..steps {
        answer = response(ends.client.receive(&packet, &mut ends.rng));
        if step + 1 < steps {
            packet = request(ends.server.receive(&answer, &mut ends.rng, &USERS));
        }
    }
    (ends, answer)
}

fn eap(code: u8, id: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = vec![code, id];
    packet.extend(u16::try_from(rest.len() + 4).unwrap().to_be_bytes());
    packet.extend(rest);
    packet
}

fn mschap(id: u8, op: u8, body: &[u8]) -> Vec<u8> {
    let mut data = vec![26, op, id];
    data.extend(u16::try_from(body.len() + 4).unwrap().to_be_bytes());
    data.extend(body);
    eap(1, id, &data)
}

#[test]
fn early_success_is_a_failure() {
    // CVE-2021-45079: before the identity, after it, after the response to the challenge.
    for steps in 0..3 {
        let (mut ends, _) = advance(steps);
        assert_eq!(refused(ends.client.receive(&eap(3, 1, &[]), &mut ends.rng)), EapError::EarlySuccess);
        // And stays one.
        assert_eq!(refused(ends.client.receive(&eap(3, 1, &[]), &mut ends.rng)), EapError::Ended);
    }
    let (mut ends, _) = advance(3);
    assert!(matches!(
        ends.client.receive(&eap(3, 1, &[]), &mut ends.rng),
        ClientStep::Success { msk: Some(_) }
    ));
}

#[test]
fn mschapv2_messages_out_of_order_are_refused() {
    // CVE-2015-8023 from the client's side: a success request before the challenge.
    let proof = [b"S=".to_vec(), vec![b'0'; 40]].concat();
    for steps in 0..2 {
        for op in [3, 4] {
            let (mut ends, _) = advance(steps);
            let reason = refused(ends.client.receive(&mschap(9, op, &proof), &mut ends.rng));
            assert!(matches!(reason, EapError::OutOfOrder(_)), "{reason:?}");
        }
    }
    // A second challenge, when the first is answered and when the server is proven.
    for steps in 2..4 {
        let (mut ends, _) = advance(steps);
        let challenge = [vec![16], vec![0; 16]].concat();
        let reason = refused(ends.client.receive(&mschap(99, 1, &challenge), &mut ends.rng));
        assert!(matches!(reason, EapError::OutOfOrder(_)), "{reason:?}");
    }
    // Another identity request inside the method.
    let (mut ends, _) = advance(2);
    assert!(matches!(
        refused(ends.client.receive(&eap(1, 99, &[1]), &mut ends.rng)),
        EapError::OutOfOrder(_)
    ));
}

#[test]
fn a_server_without_the_password_is_refused() {
    let (mut ends, _) = advance(2);
    let wrong = [b"S=".to_vec(), vec![b'0'; 40], b" M=hello".to_vec()].concat();
    let reason = refused(ends.client.receive(&mschap(9, 3, &wrong), &mut ends.rng));
    assert_eq!(reason, EapError::ServerNotAuthenticated);
    let short = [b"S=".to_vec(), vec![b'0'; 39]].concat();
    let long = [b"S=".to_vec(), vec![b'0'; 41]].concat();
    let odd = [b"S=".to_vec(), vec![b'g'; 40]].concat();
    for body in [&b""[..], b"S", b"S=", b"M=x", &short, &long, &odd] {
        let (mut ends, _) = advance(2);
        let reason = refused(ends.client.receive(&mschap(9, 3, body), &mut ends.rng));
        assert!(matches!(reason, EapError::Malformed(_)), "{body:?}: {reason:?}");
    }
}

#[test]
fn success_after_a_failure_request_is_refused() {
    let (mut ends, _) = advance(2);
    response(ends.client.receive(&mschap(9, 4, b"E=691 R=0 M=no"), &mut ends.rng));
    assert!(matches!(refused(ends.client.receive(&eap(3, 9, &[]), &mut ends.rng)), EapError::OutOfOrder(_)));
}

#[test]
fn every_sub_message_at_every_short_length() {
    // CVE-2025-62291 and its kin: each op code with EAP lengths from 4 to past its header, and MS-Length lying.
    for op in 0..=7 {
        for length in 0usize..=64 {
            for ms_length in [0, 1, 3, 4, 5, length, 0xffff] {
                for steps in 0..4 {
                    let mut data = vec![26, op, 9];
                    data.extend(u16::try_from(ms_length).unwrap().to_be_bytes());
                    data.resize(data.len().max(length), b'E');
                    data.truncate(length);
                    let (mut ends, _) = advance(steps);
                    // Nothing but a failure may follow from a message as short as this, but for Failure itself,
                    // which is acknowledged whatever its text.
                    match ends.client.receive(&eap(1, 9, &data), &mut ends.rng) {
                        ClientStep::Failure(_) => {}
                        ClientStep::Response(answer) => {
                            assert!(
                                op == 4 && steps == 2 && length >= 5 && ms_length == length - 1,
                                "{answer:?}"
                            );
                        }
                        ClientStep::Success { .. } => panic!(),
                    }
                    if steps > 0 {
                        let (mut ends, answer) = advance(steps);
                        let step = ends.server.receive(&eap(2, answer[1], &data), &mut ends.rng, &USERS);
                        let acknowledged = steps == 3 && length >= 2 && op == 3;
                        assert_eq!(matches!(step, ServerStep::Success { .. }), acknowledged);
                    }
                }
            }
        }
    }
}

#[test]
fn a_response_value_of_another_size_is_refused() {
    for size in [0, 1, 16, 48, 50, 255] {
        for have in [0, 48, 49, 50] {
            let (mut ends, answer) = advance(2);
            let mut data = vec![26, 2, answer[1]];
            data.extend(u16::try_from(5 + have).unwrap().to_be_bytes());
            data.push(size);
            data.resize(data.len() + have, 0);
            let reason = failed(ends.server.receive(&eap(2, answer[1], &data), &mut ends.rng, &USERS));
            assert!(matches!(reason, EapError::Malformed(_)), "{reason:?}");
        }
    }
}

#[test]
fn wrong_identifiers_and_codes_fail_the_server() {
    let (mut ends, mut answer) = advance(1);
    let expected = answer[1];
    answer[1] = expected.wrapping_add(1);
    assert_eq!(
        failed(ends.server.receive(&answer, &mut ends.rng, &USERS)),
        EapError::WrongIdentifier { expected, received: expected.wrapping_add(1) }
    );
    assert_eq!(failed(ends.server.receive(&answer, &mut ends.rng, &USERS)), EapError::Ended);
    for code in [1, 3, 4] {
        let (mut ends, answer) = advance(1);
        let rest: &[u8] = if code == 1 { &[1] } else { &[] };
        let reason = failed(ends.server.receive(&eap(code, answer[1], rest), &mut ends.rng, &USERS));
        assert!(matches!(reason, EapError::OutOfOrder(_)), "{reason:?}");
    }
}

#[test]
fn a_nak_ends_it_with_the_wishes() {
    let (mut ends, answer) = advance(2);
    let reason = failed(ends.server.receive(&eap(2, answer[1], &[3, 13, 21, 0]), &mut ends.rng, &USERS));
    assert_eq!(reason, EapError::MethodRefused { wanted: vec![13, 21] });
    assert_eq!(reason.to_string(), "the client refuses EAP_MSCHAPV2 and asks for TLS, TTLS");
}

#[test]
fn the_client_naks_other_methods_and_then_goes_on() {
    for kind in [4, 6, 13, 43, 254] {
        let (mut ends, _) = advance(1);
        let answer = response(ends.client.receive(&eap(1, 50, &[kind, 0, 0]), &mut ends.rng));
        assert_eq!(answer, eap(2, 50, &[3, 26]));
        let challenge = [vec![16], vec![0; 16], b"srv".to_vec()].concat();
        let answer = response(ends.client.receive(&mschap(51, 1, &challenge), &mut ends.rng));
        assert_eq!(describe(&answer), "EAP/RES/MSCHAPV2");
        assert_eq!(answer.len(), 4 + 5 + 50 + 5);
        // Once the method runs, no other one may come between.
        let reason = refused(ends.client.receive(&eap(1, 52, &[kind, 0, 0]), &mut ends.rng));
        assert_eq!(reason, EapError::MethodNotAllowed { requested: kind });
    }
}

#[test]
fn a_different_name_inside_the_method_is_refused() {
    // EAP identity alice, then bob's name and bob's right password.
    let mut ends = Ends::new(true, None, "bob", "");
    let packet = request(ends.server.start(&mut ends.rng, &USERS));
    let identity = eap(2, packet[1], b"\x01alice");
    let packet = request(ends.server.receive(&identity, &mut ends.rng, &USERS));
    let answer = response(ends.client.receive(&packet, &mut ends.rng));
    let packet = request(ends.server.receive(&answer, &mut ends.rng, &USERS));
    let answer = response(ends.client.receive(&packet, &mut ends.rng));
    let reason = failed(ends.server.receive(&answer, &mut ends.rng, &USERS));
    assert_eq!(reason, EapError::NameMismatch { identity: "alice".into(), name: "bob".into() });
}

#[test]
fn a_repeated_request_gets_the_same_answer() {
    let mut ends = Ends::new(false, None, "alice", "Grüße, Jürgen");
    let packet = request(ends.server.start(&mut ends.rng, &USERS));
    let first = response(ends.client.receive(&packet, &mut ends.rng));
    assert_eq!(first, response(ends.client.receive(&packet, &mut ends.rng)));
}

#[test]
fn loops_end() {
    let (mut ends, _) = advance(1);
    for round in 0u8..40 {
        match ends.client.receive(&eap(1, round, &[2, b'h', b'i']), &mut ends.rng) {
            ClientStep::Response(answer) => assert_eq!(answer, eap(2, round, &[2])),
            ClientStep::Failure(reason) => {
                assert_eq!(reason, EapError::TooManyRounds);
                return;
            }
            ClientStep::Success { .. } => panic!(),
        }
    }
    panic!("no limit");
}

#[test]
fn over_long_names_and_packets_are_refused() {
    let (mut ends, answer) = advance(1);
    let long = [&[1][..], &[b'a'; 257]].concat();
    assert!(matches!(
        failed(ends.server.receive(&eap(2, answer[1], &long), &mut ends.rng, &USERS)),
        EapError::Malformed(_)
    ));
    let (mut ends, answer) = advance(1);
    let huge = [&[1][..], &[b'a'; 5000]].concat();
    assert!(matches!(
        failed(ends.server.receive(&eap(2, answer[1], &huge), &mut ends.rng, &USERS)),
        EapError::Malformed(_)
    ));
}

#[test]
fn peer_bytes_are_escaped_in_reasons() {
    let (mut ends, _) = advance(2);
    response(ends.client.receive(&mschap(9, 4, b"E=646 R=0 V=3 M=a\x1b[31m\r\nb"), &mut ends.rng));
    let reason = refused(ends.client.receive(&eap(4, 9, &[]), &mut ends.rng));
    let EapError::Rejected { code: 646, message } = reason else { panic!("{reason:?}") };
    assert!(message.chars().all(|c| !c.is_control()), "{message}");
}
