//! A network that loses, duplicates and delays, from a seed. In the end both sides agree, and nothing is left.

use std::time::Duration;

use adit_crypto::{Random, SeededRandom};

use super::pair::*;
use crate::*;

struct Dice(SeededRandom);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_be_bytes(bytes) % bound
    }
}

struct Lossy {
    pair: Pair,
    dice: Dice,
    flying: Vec<(Instant, bool, Path, Vec<u8>)>,
    perfect: bool,
}

impl Lossy {
    fn collect(&mut self) {
        loop {
            let mut idle = true;
            for client in [true, false] {
                idle &= !self.pair.actions(client);
                let host = if client { &mut self.pair.client } else { &mut self.pair.server };
                while let Some(sent) = host.endpoint.poll_transmit() {
                    idle = false;
                    let path = Path { local: sent.path.remote, remote: sent.path.local };
                    let copies = match (self.perfect, self.dice.below(10)) {
                        (true, _) => 1,
                        (_, 0 | 1) => 0,
                        (_, 2) => 2,
                        _ => 1,
                    };
                    for _ in 0..copies {
                        let delay = if self.perfect { 10 } else { 1 + self.dice.below(800) };
                        let at = self.pair.now + Duration::from_millis(delay);
                        self.flying.push((at, client, path, sent.bytes.clone()));
                    }
                }
            }
            if idle {
                return;
            }
        }
    }

    fn pass(&mut self, duration: Duration) {
        let end = self.pair.now + duration;
        loop {
            self.collect();
            let timers = [&self.pair.client, &self.pair.server];
            let timers = timers.into_iter().filter_map(|host| host.endpoint.poll_timeout()).map(|(at, _)| at);
            let next = timers.chain(self.flying.iter().map(|(at, ..)| *at)).min();
            let Some(at) = next.filter(|at| *at <= end) else { break };
            self.pair.now = self.pair.now.max(at);
            let now = self.pair.now;
            if let Some(due) = self.flying.iter().position(|(at, ..)| *at <= now) {
                let (_, from_client, path, bytes) = self.flying.remove(due);
                let host = if from_client { &mut self.pair.server } else { &mut self.pair.client };
                host.endpoint.handle_datagram(now, path, &bytes);
                continue;
            }
            self.pair.client.endpoint.handle_timeout(now);
            self.pair.server.endpoint.handle_timeout(now);
        }
        self.pair.now = end;
    }

    fn command(&mut self, client: bool, command: Command) {
        let now = self.pair.now;
        let host = if client { &mut self.pair.client } else { &mut self.pair.server };
        host.endpoint.command(now, command);
    }
}

fn run(seed: u64) -> usize {
    let mut setup = Setup::psk();
    setup.client_settings.retransmit_tries = 10;
    setup.client_settings.retransmit_base = 1.3;
    setup.server_settings = setup.client_settings.clone();
    let mut net =
        Lossy { pair: setup.pair(), dice: Dice(SeededRandom::new(seed)), flying: Vec::new(), perfect: false };
    let up =
        |tag| Command::Initiate { conn: Some("home".into()), child: Some("net".into()), tag, trigger: None };
    net.command(true, up(1));
    for _ in 0..12 {
        let wait = net.dice.below(4000);
        net.pass(Duration::from_millis(wait));
        let by_client = net.dice.below(2) == 0;
        let what = net.dice.below(5);
        let host = if by_client { &net.pair.client } else { &net.pair.server };
        let sa = host.endpoint.ike_sas().find(|sa| sa.state == IkeState::Established).map(|sa| {
            (sa.id, sa.children.iter().find(|it| it.state == ChildState::Installed).map(|it| it.id))
        });
        match (sa, what) {
            (Some((_, Some(id))), 0 | 1) => net.command(by_client, Command::RekeyChild { id }),
            (Some((id, _)), 2) => net.command(by_client, Command::RekeyIke { id }),
            (Some((_, Some(id))), 3) => net.command(by_client, Command::TerminateChild { id, tag: 0 }),
            _ => net.command(true, up(0)),
        }
    }
    net.pass(Duration::from_secs(400));
    net.perfect = true;
    net.pass(Duration::from_secs(100));
    // Both sides have the same SAs.
    let (c, s) = (&net.pair.client, &net.pair.server);
    assert_eq!(c.established(), s.established(), "seed {seed}\n{}", net.pair.logs());
    assert_eq!(c.installed.len(), s.installed.len(), "seed {seed}\n{}", net.pair.logs());
    for sa in c.installed.values() {
        let other = s.installed.values().find(|it| it.spi_in == sa.spi_out);
        assert_fit(sa, other.unwrap_or_else(|| panic!("seed {seed}: no partner\n{}", net.pair.logs())));
        assert!(c.active.contains(&sa.id), "seed {seed}: silent child");
    }
    assert!(c.outcome(1).is_some(), "seed {seed}: no outcome");
    let ids: Vec<u32> = c.endpoint.ike_sas().map(|sa| sa.id).collect();
    for id in ids {
        net.command(true, Command::TerminateIke { id, force: false, tag: 0 });
    }
    net.pass(Duration::from_secs(400));
    net.pair.client.assert_empty();
    net.pair.server.assert_empty();
    net.pair.client.events.len()
}

#[test]
fn both_sides_agree_in_the_end() {
    for seed in 0..150 {
        run(seed);
    }
}

#[test]
fn the_same_seed_runs_the_same() {
    assert_eq!(run(4711), run(4711));
}
