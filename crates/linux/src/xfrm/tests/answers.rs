//! Every errno, and answers that are cut, doubled, out of order, foreign, too large or missing.

use std::time::Duration;

use super::super::*;
use super::peer::{Asked, PATIENCE, error, message, with_peer};

fn policy(n: u8) -> Policy {
    let net = |octet| ([10, octet, n, 0].into(), 24);
    Policy::pass(Selector::between(net(3), net(2)), Direction::Out, 1)
}

/// The answer to "looking up" a policy.
fn policy_object(sequence: u32, policy: &Policy) -> Vec<u8> {
    let mut w = Writer::with_capacity(LARGEST);
    policy.write_info(&mut w);
    message(number::MSG_NEWPOLICY, 0, sequence, w.as_slice())
}

fn sa() -> Sa {
    super::requests::full_sa()
}

#[test]
fn every_number_becomes_a_sentence() {
    let table = [
        (libc::EEXIST, Cause::Exists, "there is one already (17)"),
        (libc::ESRCH, Cause::Gone, "there is none (3)"),
        (libc::ENOENT, Cause::NoAlgorithm, "the kernel does not have the algorithm"),
        (libc::ENOSYS, Cause::NoAlgorithm, "its module is missing, or not allowed"),
        (libc::EPROTONOSUPPORT, Cause::NoEsp, "esp4, esp6) is missing or blacklisted"),
        (libc::EOPNOTSUPP, Cause::Unsupported, "the network card cannot do this"),
        (libc::ENOPROTOOPT, Cause::Unsupported, "cannot do this"),
        (libc::EINVAL, Cause::Invalid, "the request is not valid (22)"),
        (libc::ERANGE, Cause::Invalid, "the request is not valid (34)"),
        (libc::EPERM, Cause::NotPermitted, "CAP_NET_ADMIN is missing (1)"),
        (libc::EACCES, Cause::NotPermitted, "CAP_NET_ADMIN is missing (13)"),
        (libc::ENOMEM, Cause::NoMemory, "no memory left (12)"),
        (libc::EMSGSIZE, Cause::TooLarge, "the request is too large (90)"),
        (libc::ENOBUFS, Cause::Overrun, "the socket's buffer was full"),
        (libc::EIO, Cause::Other, "the kernel refused (5)"),
    ];
    for (errno, cause, text) in table {
        let failed = with_peer(
            PATIENCE,
            |asked| asked.iter().map(|it| error(it.sequence, errno)).collect(),
            |xfrm| xfrm.add_sa(&sa()).unwrap_err(),
        );
        assert_eq!((failed.cause(), failed.errno()), (cause, errno));
        let sentence = failed.to_string();
        assert!(sentence.starts_with("adding ESP SA c0000002 to 192.0.2.2 mark 0x42/0xff: "), "{sentence}");
        assert!(sentence.contains(text), "{sentence}");
        assert!(io::Error::from(failed).to_string().contains(text));
    }
    // ENOENT is about an algorithm only where there is one.
    let gone = with_peer(
        PATIENCE,
        |asked| asked.iter().map(|it| error(it.sequence, libc::ENOENT)).collect(),
        |xfrm| xfrm.delete_policy(policy(1).id()).unwrap_err(),
    );
    assert_eq!(gone.cause(), Cause::Gone);
}

#[test]
fn the_kernels_own_words_are_passed_on() {
    for capped in [true, false] {
        let answer = |asked: &[Asked]| {
            let Asked { kind, sequence, body, .. } = &asked[0];
            let mut text = (-libc::EINVAL).to_ne_bytes().to_vec();
            let request = message(*kind, 5, *sequence, body);
            text.extend(if capped { &request[..16] } else { &request[..] });
            // NLMSGERR_ATTR_OFFS, NLMSGERR_ATTR_MSG
            text.extend([8, 0, 2, 0, 0, 0, 0, 0, 19, 0, 1, 0]);
            text.extend(b"Bad \x1b[2Jwindow\0");
            vec![message(2, if capped { 0x300 } else { 0x200 }, *sequence, &text)]
        };
        let failed = with_peer(PATIENCE, answer, |xfrm| xfrm.add_sa(&sa()).unwrap_err());
        assert_eq!(failed.text(), Some("Bad \\u{1b}[2Jwindow"));
        let sentence = failed.to_string();
        assert!(sentence.ends_with("the request is not valid: Bad \\u{1b}[2Jwindow (22)"), "{sentence}");
    }
}

#[test]
fn answers_may_come_doubled_out_of_order_and_among_others() {
    let answer = |asked: &[Asked]| {
        let mut datagrams = Vec::new();
        for (n, it) in asked.iter().enumerate().rev() {
            datagrams.push(error(it.sequence.wrapping_add(1000), libc::EPERM));
            datagrams.push(message(1, 0, it.sequence, &[])); // NLMSG_NOOP
            let mut both = error(it.sequence, if n == 1 { libc::EEXIST } else { 0 });
            both.extend(error(it.sequence, libc::EIO));
            datagrams.push(both);
            datagrams.push(error(it.sequence.wrapping_sub(1000), 0));
        }
        datagrams
    };
    with_peer(PATIENCE, answer, |xfrm| {
        for _ in 0..3 {
            let policies = [policy(1), policy(2), policy(3)];
            let requests: Vec<_> = policies.iter().map(Request::AddPolicy).collect();
            let results = xfrm.batch(&requests);
            assert_eq!(results[0], Ok(Answer::Done));
            assert_eq!(results[1].as_ref().unwrap_err().cause(), Cause::Exists);
            assert_eq!(results[2], Ok(Answer::Done));
        }
    });
}

#[test]
fn what_is_checked_here_is_not_sent_and_keeps_its_place() {
    let answer = |asked: &[Asked]| {
        assert_eq!(asked.len(), 2);
        asked.iter().map(|it| error(it.sequence, 0)).collect()
    };
    let mut wide = sa();
    wide.replay.window = 4097;
    let mut mixed = policy(9);
    mixed.selector.src = ("fd00::".parse().unwrap(), 64);
    let mut long = policy(9);
    long.selector.dst.1 = 33;
    let mut deep = policy(9);
    let template = Template {
        src: [192, 0, 2, 1].into(),
        dst: [192, 0, 2, 2].into(),
        spi: 0,
        protocol: ESP,
        mode: Mode::Tunnel,
        reqid: 1,
        optional: false,
    };
    deep.templates = vec![template; 7];
    let heavy = Sa { algorithms: Algorithms::from_iana(20, &[1; 300], 0, &[]).unwrap(), ..sa() };
    let still = Migration { policy: policy(1).id(), moves: Vec::new(), encap: None };
    let (first, last) = (policy(1), policy(2));
    let results = with_peer(PATIENCE, answer, |xfrm| {
        xfrm.batch(&[
            Request::AddSa(&wide),
            Request::AddPolicy(&first),
            Request::AddPolicy(&mixed),
            Request::GetPolicy(long.id()),
            Request::AddPolicy(&deep),
            Request::AddSa(&heavy),
            Request::Migrate(&still),
            Request::AddPolicy(&last),
        ])
    });
    for (n, result) in results.into_iter().enumerate() {
        match n {
            1 | 7 => assert_eq!(result, Ok(Answer::Done)),
            _ => assert_eq!(result.unwrap_err().cause(), Cause::Invalid, "{n}"),
        }
    }
}

#[test]
fn an_answer_that_is_cut_or_too_large_or_of_another_kind_is_told_as_such() {
    type Answers = fn(&Asked) -> Vec<u8>;
    let bad: [(&str, Answers); 7] = [
        ("a cut header", |it| error(it.sequence, 0)[..10].to_vec()),
        ("a length beyond the end", |it| {
            let mut bytes = error(it.sequence, 0);
            bytes[0] = 200;
            bytes
        }),
        ("a length of nothing", |it| {
            let mut bytes = error(it.sequence, 0);
            bytes[0] = 0;
            bytes
        }),
        ("an error without a number", |it| message(2, 0, it.sequence, &[1])),
        ("a datagram that no kernel sends", |it| message(2, 0, it.sequence, &[0; 100_000])),
        ("an object of another kind", |it| message(number::MSG_NEWSPDINFO, 0, it.sequence, &[0; 4])),
        ("half an object", |it| policy_object(it.sequence, &policy(1))[..100].to_vec()),
    ];
    for (what, answer) in bad {
        let answer = move |asked: &[Asked]| vec![answer(&asked[0])];
        with_peer(PATIENCE, answer, |xfrm| {
            let failed = xfrm.get_policy(policy(1).id()).unwrap_err();
            assert_eq!(failed.cause(), Cause::Garbled, "{what}");
        });
    }
    // Only acknowledged, where an object was asked for; an object, where an order was given.
    with_peer(
        PATIENCE,
        |asked| vec![error(asked[0].sequence, 0)],
        |xfrm| assert_eq!(xfrm.get_sa(sa().id()).unwrap_err().cause(), Cause::Garbled),
    );
    with_peer(
        PATIENCE,
        |asked| vec![policy_object(asked[0].sequence, &policy(1))],
        |xfrm| assert_eq!(xfrm.add_policy(&policy(1)).unwrap_err().cause(), Cause::Garbled),
    );
}

#[test]
fn a_silent_kernel_is_given_up_and_what_it_says_late_is_not_believed() {
    // What the first request did comes with the answer to the second, and is an error.
    let first = std::sync::OnceLock::new();
    let answer = |asked: &[Asked]| {
        let now = asked[0].sequence;
        match *first.get_or_init(|| now) {
            first if first == now => Vec::new(),
            first => vec![error(first, libc::EPERM), error(now, 0)],
        }
    };
    with_peer(Duration::from_millis(50), answer, |xfrm| {
        assert_eq!(xfrm.add_policy(&policy(1)).unwrap_err().cause(), Cause::Unanswered);
        // The peer is a thread, and may be slow.
        while let Err(e) = xfrm.add_policy(&policy(1)) {
            assert_eq!(e.cause(), Cause::Unanswered);
        }
    });
    // One that only ever says what was not asked is given up too.
    with_peer(
        Duration::from_millis(50),
        |asked| vec![error(asked[0].sequence.wrapping_add(9), 0); 20],
        |xfrm| assert_eq!(xfrm.sa_count().unwrap_err().cause(), Cause::Unanswered),
    );
}

#[test]
fn a_listing_goes_on_past_what_cannot_be_read_and_says_so() {
    let part = |it: &Asked, n: u8| policy_object(it.sequence, &policy(n));
    let done = |it: &Asked, code: i32| message(3, 2, it.sequence, &code.to_ne_bytes());
    let listed = |answer: &(dyn Fn(&Asked) -> Vec<Vec<u8>> + Sync)| {
        with_peer(
            PATIENCE,
            |asked| {
                assert_eq!((asked[0].kind, asked[0].body.len()), (number::MSG_GETPOLICY, 0));
                answer(&asked[0])
            },
            |xfrm| {
                let mut found = Vec::new();
                let result = xfrm.each_policy(|state| found.push(state.policy));
                (found, result.map_err(|e| e.cause()))
            },
        )
    };
    let whole = listed(&|it| vec![[part(it, 1), part(it, 2)].concat(), [part(it, 3), done(it, 0)].concat()]);
    assert_eq!(whole, (vec![policy(1), policy(2), policy(3)], Ok(())));
    let foreign = listed(&|it| {
        let other = Asked { sequence: it.sequence.wrapping_sub(1), ..it.clone() };
        vec![part(&other, 9), done(&other, 0), part(it, 1), message(3, 2, it.sequence, &[])]
    });
    assert_eq!(foreign, (vec![policy(1)], Ok(())));
    let short = listed(&|it| {
        vec![message(number::MSG_NEWPOLICY, 2, it.sequence, &[0; 40]), part(it, 1), done(it, 0)]
    });
    assert_eq!(short, (vec![policy(1)], Ok(())), "one that is unknown does not hide the others");
    let cut = listed(&|it| vec![part(it, 1)[..90].to_vec(), part(it, 2), done(it, 0)]);
    assert_eq!(cut, (vec![policy(2)], Err(Cause::Garbled)));
    let huge = listed(&|it| vec![message(9, 0, it.sequence, &[0; 80_000]), part(it, 2), done(it, 0)]);
    assert_eq!(huge, (vec![policy(2)], Err(Cause::Garbled)));
    let refused = listed(&|it| vec![error(it.sequence, libc::EPERM)]);
    assert_eq!(refused, (vec![], Err(Cause::NotPermitted)));
    let broken = listed(&|it| vec![part(it, 1), done(it, -libc::ENOMEM)]);
    assert_eq!(broken, (vec![policy(1)], Err(Cause::NoMemory)));
}

#[test]
fn a_thousand_requests_go_in_few_datagrams_that_fit() {
    let datagrams = std::sync::atomic::AtomicUsize::new(0);
    let answer = |asked: &[Asked]| {
        datagrams.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        vec![asked.iter().flat_map(|it| error(it.sequence, 0)).collect()]
    };
    let sas: Vec<_> = (0..1000).map(|spi| Sa { spi, ..sa() }).collect();
    let requests: Vec<_> = sas.iter().map(Request::AddSa).collect();
    let results = with_peer(PATIENCE, answer, |xfrm| xfrm.batch(&requests));
    assert!(results.len() == 1000 && results.iter().all(Result::is_ok));
    assert_eq!(datagrams.into_inner(), 16);
}

#[test]
fn counts_and_thresholds_are_asked_for_as_by_ip_xfrm() {
    let answer = |asked: &[Asked]| {
        let Asked { kind, flags, sequence, body } = &asked[0];
        let name = match *kind {
            number::MSG_NEWSPDINFO => "spd_set",
            number::MSG_GETSPDINFO => "spd_count",
            _ => "sa_count",
        };
        super::requests::compare(name, &message(*kind, *flags, 1, body), &[]);
        // A word, then the number of SAs or of policies.
        let (kind, attribute) = match *kind {
            number::MSG_NEWSPDINFO => return vec![error(*sequence, 0)],
            number::MSG_GETSPDINFO => (number::MSG_NEWSPDINFO, [16u16, 1]),
            _ => (number::MSG_NEWSADINFO, [16, 1]),
        };
        let numbers = [1u32, 2, 3].iter().flat_map(|n| n.to_ne_bytes());
        let start = [0; 4].into_iter().chain(attribute.iter().flat_map(|n| n.to_ne_bytes()));
        vec![message(kind, 0, *sequence, &start.chain(numbers).collect::<Vec<_>>())]
    };
    with_peer(PATIENCE, answer, |xfrm| {
        let (v4, v6) = (Threshold { local: 16, remote: 24 }, Threshold { local: 64, remote: 56 });
        xfrm.set_spd_thresholds(Some(v4), Some(v6)).unwrap();
        let info = xfrm.spd_info().unwrap();
        assert_eq!((info.inbound, info.outbound, info.forward), (1, 2, 3));
        assert_eq!(xfrm.sa_count().unwrap(), 1);
    });
}

#[test]
fn keys_are_not_printed() {
    let text = format!("{:?} {:?}", sa(), Request::AddSa(&sa()));
    assert!(text.contains("Key(32 octets)") && text.contains("hmac(sha256)"), "{text}");
    assert!(!text.contains("15, 14, 13") && !text.contains("0, 1, 2"), "{text}");
}
