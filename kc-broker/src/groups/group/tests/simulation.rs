//! Simulates members that act at random. Each request must get exactly one answer, and time must always advance.

use std::collections::BTreeSet;

use super::*;

/// Pseudo-random numbers, the same in each run (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

struct Simulation {
    world: World,
    chance: Chance,
    unanswered: BTreeSet<Ticket>,
    /// Ids that members received. Some of them may no longer be valid.
    ids: Vec<String>,
    generation: i32,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        Self {
            world: World::new(),
            chance: Chance(seed),
            unanswered: BTreeSet::new(),
            ids: vec!["nobody".into()],
            generation: 0,
        }
    }

    fn some_id(&mut self) -> String {
        let recent = self.ids.len().min(6) as u64;
        let back = self.chance.below(recent) as usize;
        self.ids[self.ids.len() - 1 - back].clone()
    }

    fn step(&mut self) {
        let id = self.some_id();
        let generation = self.generation - i32::from(self.chance.below(8) == 0);
        match self.chance.below(16) {
            0 | 1 => {
                let id_required = self.chance.below(2) == 0;
                let new_id = format!("m{}", self.world.tickets);
                let request = JoinRequest {
                    id_required,
                    ..World::request("", &new_id)
                };
                self.ids.push(new_id);
                let ticket = self.world.join_as(request);
                self.unanswered.insert(ticket);
            }
            2..6 => {
                let ticket = self.world.rejoin(&id);
                self.unanswered.insert(ticket);
            }
            6..10 => {
                let ticket = self.world.sync(&id, generation, &[("m0", "x")]);
                self.unanswered.insert(ticket);
            }
            10..13 => drop(self.world.heartbeat(&id, generation)),
            13 => drop(self.world.leave(&id)),
            _ => {
                let part = self.chance.below(100) as u32;
                self.world.pass(SESSION * part / 100);
                self.expect_future();
            }
        }
        self.check_answers();
    }

    /// Checks that the group has done everything that was due.
    fn expect_future(&self) {
        let deadline = self.world.group.next_deadline();
        assert!(deadline.is_none_or(|deadline| deadline > self.world.now));
    }

    fn check_answers(&mut self) {
        for reply in self.world.replies.drain(..) {
            let ticket = match reply {
                Reply::Join(ticket, joined) => {
                    if let Ok(Joined::Member { generation, .. }) = joined {
                        self.generation = generation;
                    }
                    ticket
                }
                Reply::Sync(ticket, _) => ticket,
            };
            assert!(self.unanswered.remove(&ticket), "answered twice");
        }
    }

    /// Stops all requests and lets time pass.
    fn end(mut self) {
        while let Some(deadline) = self.world.group.next_deadline() {
            self.world.pass(deadline - self.world.now);
            self.expect_future();
        }
        self.check_answers();
        assert_eq!(self.unanswered, BTreeSet::new());
        assert_eq!(self.world.group.size(), 0);
        assert_eq!(self.world.group.state(), State::Empty);
    }
}

#[test]
fn every_question_gets_one_answer() {
    let mut generations = 0;
    for seed in 0..200 {
        let mut simulation = Simulation::new(seed);
        for _ in 0..300 {
            simulation.step();
        }
        generations += simulation.generation;
        simulation.end();
    }
    assert!(generations > 2_000, "only {generations} rebalances");
}
