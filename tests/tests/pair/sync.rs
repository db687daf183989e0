//! A member of a cluster takes over (RFC 6311): the gateway is replaced by a copy of itself as it was some time ago, and
//! what has happened since is known to the peer only.

use adit_ike::{Command, Reason};
use adit_wire::{ExchangeType, Header};

use crate::net::{Captured, End};
use crate::pair::{Pair, SECOND, settle, shut_down};
use crate::setup::{Auth, Setup};

/// Requests that a copy may lag behind by.
const LAG: u32 = 16;

/// A pair that is up and idle, and whose every input is written down.
fn pair(auth: Auth, turn: impl Fn(&mut Setup)) -> Pair {
    let mut setup = Setup::new(auth);
    turn(&mut setup);
    let mut pair = Pair::recorded(setup, 41);
    pair.up(End::Client).unwrap_or_else(|reason| panic!("{reason}\n{}", pair.story()));
    settle(&mut pair);
    pair
}

/// Liveness checks of both ends: their Message IDs go on, nothing else does.
fn go_on(pair: &mut Pair, seconds: u64) {
    pair.run_for(seconds * SECOND);
    settle(pair);
}

fn order(end: End, pair: &mut Pair, message_ids: Option<u32>, replay: u64) -> u64 {
    let tag = pair.tag();
    let id = pair.ikes(end)[0];
    pair.command(end, Command::TakeOver { id, message_ids, replay, tag });
    tag
}

/// The copy at `end` takes over and synchronizes Message IDs.
fn take_over(pair: &mut Pair, end: End, mark: usize) {
    pair.fail_over(end, mark);
    let tag = order(end, pair, Some(LAG), 0);
    pair.outcome(end, tag).unwrap_or_else(|reason| panic!("{reason}\n{}", pair.story()));
}

/// Both ends can still do everything.
fn works(pair: &mut Pair) {
    settle(pair);
    for end in End::BOTH {
        let before = pair.children(end);
        pair.command(end, Command::RekeyChild { id: before[0] });
        pair.run_for(20 * SECOND);
        settle(pair);
        assert_ne!(pair.children(end), before, "{}", pair.story());
    }
    go_on(pair, 100);
    for end in End::BOTH {
        let before = pair.ikes(end);
        pair.command(end, Command::RekeyIke { id: before[0] });
        pair.run_for(20 * SECOND);
        settle(pair);
        assert_ne!(pair.ikes(end), before, "{}", pair.story());
    }
}

/// Synchronizations on the wire: datagrams from that end with Message ID 0, by whether they are answers. Only those after
/// the first `skip` datagrams count.
fn syncs(pair: &Pair, from: End, response: bool, skip: usize) -> Vec<Captured> {
    let is = |c: &&Captured| {
        let bytes = c.bytes.strip_prefix(&[0; 4]).unwrap_or(&c.bytes);
        Header::parse(bytes).is_ok_and(|header| {
            header.exchange == ExchangeType::INFORMATIONAL
                && header.message_id == 0
                && header.flags.response == response
        })
    };
    pair.net.capture[skip..].iter().filter(|c| c.from == from).filter(is).cloned().collect()
}

fn again(pair: &mut Pair, datagram: &Captured) {
    let now = pair.now;
    pair.net.fly(now, datagram.from.other(), datagram.src, datagram.dst, datagram.bytes.clone());
    pair.run_for(SECOND / 10);
}

/// Nothing at all is sent in answer, and both ends list what they listed.
fn ignored(pair: &mut Pair, end: End, datagram: &Captured) {
    let (sent, dropped) = (pair.net.capture.len(), pair.host(end).endpoint.stats().out_of_window);
    let before = End::BOTH.map(|end| format!("{:?}", pair.views(end)));
    again(pair, datagram);
    assert_eq!(pair.net.capture.len(), sent, "{}", pair.story());
    assert_eq!(pair.host(end).endpoint.stats().out_of_window, dropped + 1);
    assert_eq!(End::BOTH.map(|end| format!("{:?}", pair.views(end))), before);
}

/// No initial vector of an IKE_SA is used twice by whoever plays that end.
fn vectors_are_fresh(pair: &Pair, from: End) {
    let mut seen = std::collections::BTreeMap::new();
    for datagram in pair.net.capture.iter().filter(|c| c.from == from) {
        let bytes = datagram.bytes.strip_prefix(&[0; 4]).unwrap_or(&datagram.bytes);
        let Ok(header) = Header::parse(bytes) else { continue };
        if header.next.0 != 46 {
            continue;
        }
        let key = (header.spi_i, header.spi_r, bytes[32..40].to_vec());
        let other = seen.insert(key, bytes.to_vec());
        assert!(other.is_none_or(|other| other == bytes), "one vector for two messages at {}", datagram.at);
    }
}

/// ike_mid_sync: responder. The copy sends its request with Message ID 0, the peer answers it, both go on. By whichever
/// end, and over a NAT.
//= rfc6311 3.4-1, 5-3, 5.1-1, 5.1-3, 5.1-4, 5.1-5, 5.1-7, 5.1-8
#[test]
fn ike_mid_sync_responder() {
    for (end, auth) in [(End::Gateway, Auth::Psk), (End::Client, Auth::Psk), (End::Gateway, Auth::EapAndPsk)]
    {
        for nat in [false, true] {
            let mut pair = pair(auth, |s| {
                if nat {
                    s.behind_nat();
                }
            });
            let mark = pair.mark(end);
            go_on(&mut pair, 200);
            let skip = pair.net.capture.len();
            take_over(&mut pair, end, mark);
            let (asked, answered) = (syncs(&pair, end, false, skip), syncs(&pair, end.other(), true, skip));
            assert_eq!((asked.len(), answered.len()), (1, 1), "{}", pair.story());
            let read = |end: End, what: &str| {
                let lines = pair.host(end).read().into_iter().filter(|line| line.starts_with(what));
                lines.filter(|line| line.contains("MSG_ID_SYN")).collect::<Vec<_>>()
            };
            assert_eq!(
                read(end.other(), "INFORMATIONAL request 0"),
                ["INFORMATIONAL request 0 [ N(MSG_ID_SYN) ]"]
            );
            assert_eq!(read(end, "INFORMATIONAL response 0"), ["INFORMATIONAL response 0 [ N(MSG_ID_SYN) ]"]);
            works(&mut pair);
            vectors_are_fresh(&pair, end);
            for end in End::BOTH {
                assert_eq!(pair.host(end).endpoint.stats().synchronized, 1);
            }
            shut_down(pair);
        }
    }
}

/// Without a synchronization a copy is lost: what the other tests show is not for nothing.
#[test]
fn a_copy_without_synchronization_is_lost() {
    let mut pair = pair(Auth::Psk, |_| {});
    let mark = pair.mark(End::Gateway);
    go_on(&mut pair, 200);
    pair.fail_over(End::Gateway, mark);
    pair.run_for(600 * SECOND);
    assert!(pair.client.failures().contains(&"peer-unreachable"), "{}", pair.story());
    shut_down(pair);
}

/// ike_mid_sync: retransmit. The same request has the same answer.
//= rfc6311 11-1
#[test]
fn ike_mid_sync_retransmit() {
    let mut pair = pair(Auth::Psk, |_| {});
    let mark = pair.mark(End::Gateway);
    go_on(&mut pair, 100);
    pair.fail_over(End::Gateway, mark);
    let skip = pair.net.capture.len();
    // The answers are lost three times.
    pair.net.links[0].loss = 100;
    let tag = order(End::Gateway, &mut pair, Some(LAG), 0);
    pair.run_for(20 * SECOND);
    pair.net.links[0].loss = 0;
    pair.outcome(End::Gateway, tag).unwrap_or_else(|reason| panic!("{reason}\n{}", pair.story()));
    let (asked, answered) = (syncs(&pair, End::Gateway, false, skip), syncs(&pair, End::Client, true, skip));
    assert!(asked.len() >= 3 && asked.len() == answered.len(), "{} {}", asked.len(), answered.len());
    assert!(asked.iter().all(|it| it.bytes == asked[0].bytes));
    assert!(answered.iter().all(|it| it.bytes == answered[0].bytes), "{}", pair.story());
    assert_eq!(pair.client.endpoint.stats().synchronized, 1);
    // An answer that comes again, or late, is not awaited any more.
    ignored(&mut pair, End::Gateway, &answered[0]);
    works(&mut pair);
    shut_down(pair);
}

/// ike_mid_sync: replay. What was synchronized before is not news; also not after a further failover.
//= rfc6311 5.1-2
#[test]
fn ike_mid_sync_replay() {
    let mut pair = pair(Auth::Psk, |_| {});
    let mark = pair.mark(End::Gateway);
    go_on(&mut pair, 100);
    let skip = pair.net.capture.len();
    take_over(&mut pair, End::Gateway, mark);
    settle(&mut pair);
    let first = syncs(&pair, End::Gateway, false, skip)[0].clone();
    // As long as the copy has not spoken it may be without the answer; from then on it is a replay.
    go_on(&mut pair, 100);
    ignored(&mut pair, End::Client, &first);
    let skip = pair.net.capture.len();
    let tag = order(End::Gateway, &mut pair, Some(LAG), 0);
    pair.outcome(End::Gateway, tag).unwrap();
    let second = syncs(&pair, End::Gateway, false, skip)[0].clone();
    ignored(&mut pair, End::Client, &first);
    go_on(&mut pair, 100);
    ignored(&mut pair, End::Client, &first);
    ignored(&mut pair, End::Client, &second);
    works(&mut pair);
    shut_down(pair);
}

/// ike_mid_sync: disabled. Who does not announce it is not asked; the responder announces nothing that the initiator has
/// not.
//= rfc6311 5-1, 6.1-1, 6.1-2, 6.2-1, 6.2-2
#[test]
fn ike_mid_sync_disabled() {
    for off in End::BOTH {
        let mut pair = pair(Auth::Psk, |s| {
            let side = if off == End::Client { &mut s.client } else { &mut s.gateway };
            side.settings.message_id_sync = false;
        });
        let asserted = |pair: &Pair, end: End| {
            pair.host(end).read().iter().filter(|line| line.contains("SYN_SUP")).count()
        };
        assert_eq!(asserted(&pair, End::Gateway), usize::from(off == End::Gateway), "{}", pair.story());
        assert_eq!(asserted(&pair, End::Client), 0);
        let mark = pair.mark(End::Gateway);
        go_on(&mut pair, 10);
        pair.fail_over(End::Gateway, mark);
        let sent = pair.net.capture.len();
        let tag = order(End::Gateway, &mut pair, Some(LAG), 0);
        let id = pair.ikes(End::Gateway)[0];
        assert_eq!(pair.outcome(End::Gateway, tag), Err(Reason::SyncUnsupported { id }));
        assert_eq!(pair.net.capture.len(), sent);
        // It goes on by itself, for nothing had happened in between.
        settle(&mut pair);
        shut_down(pair);
    }
    let mut on = pair(Auth::Psk, |_| {});
    for end in End::BOTH {
        let auth: Vec<_> =
            on.host(end).read().into_iter().filter(|line| line.starts_with("IKE_AUTH")).collect();
        assert!(auth[0].contains("N(MSG_ID_SYN_SUP)") && auth[0].contains("N(RPL_CTR_SYN_SUP)"), "{auth:?}");
    }
    // What has been agreed on outlives a rekeying.
    let id = on.ikes(End::Client)[0];
    on.command(End::Client, Command::RekeyIke { id });
    go_on(&mut on, 20);
    let mark = on.mark(End::Gateway);
    go_on(&mut on, 100);
    take_over(&mut on, End::Gateway, mark);
    works(&mut on);
    shut_down(on);
}

/// ike_mid_sync: sender_too_low. The next request that the copy would send is one that the peer has seen: the whole is
/// ignored, the replay counters as well, until a request comes that is high enough.
//= rfc6311 5.1-2, 5.2-2
#[test]
fn ike_mid_sync_sender_too_low() {
    let mut pair = pair(Auth::Psk, |_| {});
    let mark = pair.mark(End::Gateway);
    // More requests of the gateway than the window allows to be unknown.
    go_on(&mut pair, 300);
    pair.fail_over(End::Gateway, mark);
    let (sent, dropped) = (pair.net.capture.len(), pair.client.endpoint.stats().out_of_window);
    let low = order(End::Gateway, &mut pair, Some(1), 1000);
    pair.run_for(10 * SECOND);
    assert!(syncs(&pair, End::Gateway, false, sent).len() >= 2, "it is sent again");
    assert!(syncs(&pair, End::Client, true, sent).is_empty(), "{}", pair.story());
    assert!(pair.client.endpoint.stats().out_of_window >= dropped + 2);
    assert!(pair.client.sad.values().all(|entry| entry.skipped == 0));
    let high = order(End::Gateway, &mut pair, Some(LAG), 1000);
    pair.outcome(End::Gateway, high).unwrap_or_else(|reason| panic!("{reason}\n{}", pair.story()));
    assert_eq!(pair.outcome(End::Gateway, low), Err(Reason::TemporaryFailure));
    assert!(pair.client.sad.values().all(|entry| entry.skipped == 1000));
    works(&mut pair);
    shut_down(pair);
}

/// ike_mid_sync: recv_update. The copy expects a request that the peer has long sent: the peer corrects it.
//= rfc6311 5.1-4, 8.1-1
#[test]
fn ike_mid_sync_recv_update() {
    let mut pair = pair(Auth::Psk, |s| s.gateway.conn.dpd_delay = std::time::Duration::ZERO);
    let mark = pair.mark(End::Gateway);
    // Only the client sends requests.
    go_on(&mut pair, 200);
    let late: Vec<Captured> = pair.net.capture.iter().filter(|c| c.from == End::Client).cloned().collect();
    let before = next(&pair, End::Client);
    assert!(before > 4);
    take_over(&mut pair, End::Gateway, mark);
    assert_eq!(peer_goes_on_with(&pair, End::Gateway), Some(before), "{}", pair.story());
    // What the other copy has answered is outside of the window and has no answer.
    let sent = pair.net.capture.len();
    for datagram in late.iter().rev().take(3) {
        again(&mut pair, datagram);
    }
    assert!(pair.net.capture[sent..].iter().all(|c| c.from == End::Client), "{}", pair.story());
    works(&mut pair);
    shut_down(pair);
}

/// The Message ID of the next request of that end, as the wire has it.
fn next(pair: &Pair, from: End) -> u32 {
    let of = pair.net.capture.iter().filter(|c| c.from == from).filter_map(|c| {
        let header = Header::parse(c.bytes.strip_prefix(&[0; 4]).unwrap_or(&c.bytes)).ok()?;
        (!header.flags.response).then_some(header.message_id + 1)
    });
    of.max().unwrap_or(0)
}

/// With which requests the peer goes on, as the log of that end has it.
fn peer_goes_on_with(pair: &Pair, end: End) -> Option<u32> {
    let story = pair.host(end).story();
    let line = story.lines().rfind(|line| line.contains("synchronized Message IDs:"))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// ike_mid_sync: active. The peer waits for an answer of the copy that is gone: it sends its request again under its new
/// Message ID.
#[test]
fn ike_mid_sync_active() {
    for rekey_ike in [false, true] {
        let mut pair = pair(Auth::Psk, |_| {});
        let mark = pair.mark(End::Gateway);
        go_on(&mut pair, 100);
        pair.net.cut = true;
        let command = if rekey_ike {
            Command::RekeyIke { id: pair.ikes(End::Client)[0] }
        } else {
            Command::RekeyChild { id: pair.children(End::Client)[0] }
        };
        let before = (pair.ikes(End::Client), pair.children(End::Client));
        pair.command(End::Client, command);
        pair.run_for(SECOND);
        pair.net.cut = false;
        let retransmits = pair.client.endpoint.stats().retransmits;
        take_over(&mut pair, End::Gateway, mark);
        pair.run_for(SECOND);
        assert_eq!(pair.client.endpoint.stats().retransmits, retransmits, "a new request, no retransmission");
        settle(&mut pair);
        let after = (pair.ikes(End::Client), pair.children(End::Client));
        assert_eq!((after.0 != before.0, after.1 != before.1), (rekey_ike, !rekey_ike), "{}", pair.story());
        works(&mut pair);
        shut_down(pair);
    }
}

/// RFC 6311 appendix A.4: both ends are clusters, and both fail over at once.
#[test]
fn both_at_once() {
    let mut pair = pair(Auth::Psk, |_| {});
    let marks = End::BOTH.map(|end| pair.mark(end));
    go_on(&mut pair, 200);
    for (end, mark) in End::BOTH.into_iter().zip(marks) {
        pair.fail_over(end, mark);
    }
    let tags = End::BOTH.map(|end| order(end, &mut pair, Some(LAG), 0));
    for (end, tag) in End::BOTH.into_iter().zip(tags) {
        pair.outcome(end, tag).unwrap_or_else(|reason| panic!("{reason}\n{}", pair.story()));
    }
    works(&mut pair);
    for end in End::BOTH {
        vectors_are_fresh(&pair, end);
    }
    shut_down(pair);
}

/// A copy of a copy, twice in a row: each is believed, none repeats the other.
#[test]
fn one_after_the_other() {
    let mut pair = pair(Auth::Psk, |_| {});
    let mark = pair.mark(End::Gateway);
    go_on(&mut pair, 100);
    take_over(&mut pair, End::Gateway, mark);
    settle(&mut pair);
    let mark = pair.mark(End::Gateway);
    go_on(&mut pair, 100);
    take_over(&mut pair, End::Gateway, mark);
    works(&mut pair);
    vectors_are_fresh(&pair, End::Gateway);
    shut_down(pair);
}

/// RFC 6311 §5.2: both ends skip sequence numbers, together with the Message IDs or alone; a counter of 32 bits that
/// loses much of what it has is followed by a rekeying.
//= rfc6311 5.2-1, 5.2-2, 5.2-3
#[test]
fn replay_counters() {
    for esn in [false, true] {
        for with_ids in [true, false] {
            let mut pair = pair(Auth::Psk, |s| {
                let proposal: &[&str] = if esn { &["aes256gcm16-esn"] } else { &["aes256gcm16-noesn"] };
                s.both(|side| side.esp(proposal));
                s.add_child("other", "10.7.0.0/16", "10.8.0.0/16");
                s.both(|side| {
                    let one = side.conn.children[0].esp_proposals.clone();
                    std::sync::Arc::make_mut(&mut side.conn.children[1]).esp_proposals = one;
                });
            });
            let mark = pair.mark(End::Gateway);
            if with_ids {
                go_on(&mut pair, 100);
            }
            pair.fail_over(End::Gateway, mark);
            let tag = order(End::Gateway, &mut pair, with_ids.then_some(LAG), 5000);
            pair.outcome(End::Gateway, tag).unwrap_or_else(|reason| panic!("{reason}\n{}", pair.story()));
            settle(&mut pair);
            for end in End::BOTH {
                let skipped: Vec<u64> = pair.host(end).sad.values().map(|entry| entry.skipped).collect();
                assert_eq!(skipped, [5000, 5000], "{end:?}\n{}", pair.story());
            }
            let before = pair.children(End::Client);
            let tag = order(End::Gateway, &mut pair, None, 1 << 31);
            pair.outcome(End::Gateway, tag).unwrap();
            pair.run_for(30 * SECOND);
            settle(&mut pair);
            assert_eq!(pair.children(End::Client) == before, esn, "{}", pair.story());
            shut_down(pair);
        }
    }
    // A peer that knows nothing of it drops what it has seen: our own numbers skip all the same.
    let mut alone = pair(Auth::Psk, |s| s.client.settings.message_id_sync = false);
    let tag = order(End::Gateway, &mut alone, None, 5000);
    alone.outcome(End::Gateway, tag).unwrap();
    settle(&mut alone);
    let skipped = End::BOTH.map(|end| alone.host(end).sad.values().map(|entry| entry.skipped).sum::<u64>());
    assert_eq!(skipped, [0, 5000]);
    shut_down(alone);
}

/// Nobody begins by himself, whatever comes out of the window (RFC 6311 §7); and a peer that cannot be reached any more
/// is dead like any other.
//= rfc6311 7-1
#[test]
fn only_on_command() {
    let mut pair = pair(Auth::Psk, |_| {});
    go_on(&mut pair, 100);
    let capture = pair.net.capture.clone();
    let sent = capture.len();
    for datagram in &capture {
        again(&mut pair, datagram);
    }
    for end in End::BOTH {
        let asked = pair.host(end.other()).read().into_iter().filter(|line| line.contains("MSG_ID_SYN)"));
        assert_eq!(asked.count(), 0, "{sent}");
    }
    settle(&mut pair);
    pair.net.cut = true;
    let tag = order(End::Gateway, &mut pair, Some(LAG), 0);
    let outcome = pair.outcome(End::Gateway, tag);
    assert!(matches!(outcome, Err(Reason::PeerUnreachable { established: true, .. })), "{outcome:?}");
    pair.net.cut = false;
    shut_down(pair);
}
