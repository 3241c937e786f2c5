mod simulation;

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::limits::INITIAL_REBALANCE_DELAY;

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(60);

/// A group, a clock that tests advance, and the answers so far.
struct World {
    group: Group,
    now: Instant,
    tickets: u64,
    replies: Vec<Reply>,
}

impl World {
    fn new() -> Self {
        Self {
            group: Group::new(),
            now: Instant::now(),
            tickets: 0,
            replies: Vec::new(),
        }
    }

    fn request(member_id: &str, new_id: &str) -> JoinRequest {
        JoinRequest {
            member_id: member_id.into(),
            new_id: new_id.into(),
            id_required: false,
            instance_id: None,
            client_id: "client".into(),
            client_host: "/127.0.0.1".into(),
            session_timeout: SESSION,
            rebalance_timeout: REBALANCE,
            protocol_type: "consumer".into(),
            protocols: vec![
                ("range".into(), Bytes::from(new_id.to_owned())),
                ("roundrobin".into(), Bytes::new()),
            ],
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    fn collect(&mut self) {
        self.replies.extend(self.group.take_replies());
    }

    fn join_as(&mut self, request: JoinRequest) -> Ticket {
        let ticket = self.ticket();
        self.group.join(self.now, ticket, request);
        self.collect();
        ticket
    }

    fn join_new(&mut self, id: &str) -> Ticket {
        self.join_as(Self::request("", id))
    }

    fn rejoin(&mut self, id: &str) -> Ticket {
        self.join_as(Self::request(id, id))
    }

    fn sync(&mut self, id: &str, generation: i32, assignments: &[(&str, &'static str)]) -> Ticket {
        let ticket = self.ticket();
        let assign = |a: &(&str, &'static str)| (a.0.to_owned(), Bytes::from(a.1));
        let request = SyncRequest {
            member_id: id.into(),
            generation,
            protocol_type: None,
            protocol: None,
            assignments: assignments.iter().map(assign).collect(),
        };
        self.group.sync(self.now, ticket, request);
        self.collect();
        ticket
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.group.expire(self.now);
        self.collect();
    }

    fn heartbeat(&mut self, id: &str, generation: i32) -> Result<(), ResponseError> {
        let result = self.group.heartbeat(self.now, id, generation);
        self.collect();
        result
    }

    fn leave(&mut self, id: &str) -> Result<(), ResponseError> {
        let result = self.group.leave(self.now, id);
        self.collect();
        result
    }

    fn joined(&mut self, ticket: Ticket) -> Option<Result<Joined, ResponseError>> {
        let found = |r: &Reply| matches!(r, Reply::Join(t, _) if *t == ticket);
        let at = self.replies.iter().position(found)?;
        match self.replies.remove(at) {
            Reply::Join(_, result) => Some(result),
            Reply::Sync(..) => None,
        }
    }

    fn synced(&mut self, ticket: Ticket) -> Option<Result<Bytes, ResponseError>> {
        let found = |r: &Reply| matches!(r, Reply::Sync(t, _) if *t == ticket);
        let at = self.replies.iter().position(found)?;
        match self.replies.remove(at) {
            Reply::Sync(_, result) => Some(result.map(|s| s.assignment)),
            Reply::Join(..) => None,
        }
    }

    /// Returns the generation, leader and members of an answered join.
    fn generation(&mut self, ticket: Ticket) -> (i32, String, Vec<String>) {
        match self.joined(ticket).unwrap().unwrap() {
            Joined::Member {
                generation,
                leader,
                members,
                ..
            } => {
                let ids = members.into_iter().map(|(id, _, _)| id);
                (generation, leader, ids.collect())
            }
            Joined::IdRequired(id) => panic!("told to join as {id}"),
        }
    }

    /// A group in generation 1 with the members "a" (the leader) and "b", which have the assignments "A" and "B".
    fn stable_pair() -> Self {
        let mut world = Self::new();
        world.join_new("a");
        world.join_new("b");
        world.pass(INITIAL_REBALANCE_DELAY);
        world.sync("a", 1, &[("a", "A"), ("b", "B")]);
        world.sync("b", 1, &[]);
        assert_eq!(world.group.state(), State::Stable);
        world.replies.clear();
        world
    }
}

#[test]
fn members_that_come_together_share_the_first_generation() {
    let mut world = World::new();
    let (a, b) = (world.join_new("a"), world.join_new("b"));
    assert_eq!(world.replies, []);
    let delay = world.now + INITIAL_REBALANCE_DELAY;
    assert_eq!(world.group.next_deadline(), Some(delay));
    world.pass(INITIAL_REBALANCE_DELAY);
    let members = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(world.generation(a), (1, "a".into(), members));
    assert_eq!(world.generation(b), (1, "a".into(), vec![]));
}

#[test]
fn the_leader_assigns_and_all_who_wait_are_answered() {
    let mut world = World::new();
    world.join_new("a");
    world.join_new("b");
    world.pass(INITIAL_REBALANCE_DELAY);
    let b = world.sync("b", 1, &[]);
    assert_eq!(world.synced(b), None);
    let a = world.sync("a", 1, &[("a", "A"), ("b", "B")]);
    assert_eq!(world.synced(a), Some(Ok("A".into())));
    assert_eq!(world.synced(b), Some(Ok("B".into())));
    assert_eq!(world.group.state(), State::Stable);
    let again = world.sync("b", 1, &[]);
    assert_eq!(world.synced(again), Some(Ok("B".into())));
}

#[test]
fn a_newcomer_makes_all_join_again() {
    let mut world = World::stable_pair();
    let c = world.join_new("c");
    assert_eq!(
        world.heartbeat("a", 1),
        Err(ResponseError::RebalanceInProgress)
    );
    let a = world.rejoin("a");
    assert_eq!(world.replies, []);
    let b = world.rejoin("b");
    let members = ["a", "b", "c"].map(str::to_owned).to_vec();
    assert_eq!(world.generation(a), (2, "a".into(), members));
    assert_eq!(world.generation(b).0, 2);
    assert_eq!(world.generation(c).0, 2);
    assert_eq!(
        world.heartbeat("a", 1),
        Err(ResponseError::IllegalGeneration)
    );
    assert_eq!(world.heartbeat("a", 2), Ok(()));
}

#[test]
fn who_does_not_join_again_in_time_is_out() {
    let mut world = World::stable_pair();
    let c = world.join_new("c");
    let a = world.rejoin("a");
    for _ in 0..11 {
        world.pass(SESSION / 2);
        let alive = world.heartbeat("b", 1);
        assert_eq!(alive, Err(ResponseError::RebalanceInProgress));
    }
    assert_eq!(world.replies, []);
    world.pass(SESSION / 2);
    assert_eq!(world.generation(a).2, ["a", "c"]);
    assert_eq!(world.generation(c).0, 2);
    assert_eq!(world.heartbeat("b", 1), Err(ResponseError::UnknownMemberId));
}

#[test]
fn a_silent_member_is_dead_after_its_session() {
    let mut world = World::stable_pair();
    world.pass(SESSION / 2);
    assert_eq!(world.heartbeat("a", 1), Ok(()));
    assert_eq!(world.group.next_deadline(), Some(world.now + SESSION / 2));
    world.pass(SESSION / 2);
    assert_eq!(
        world.heartbeat("a", 1),
        Err(ResponseError::RebalanceInProgress)
    );
    let a = world.rejoin("a");
    assert_eq!(world.generation(a), (2, "a".into(), vec!["a".into()]));
}

#[test]
fn a_group_whose_members_all_died_is_empty_and_has_nothing_to_wait_for() {
    let mut world = World::stable_pair();
    world.pass(SESSION);
    assert_eq!(world.group.state(), State::Empty);
    assert_eq!(world.group.size(), 0);
    assert_eq!(world.group.next_deadline(), None);
}

#[test]
fn a_leader_that_never_assigns_is_replaced() {
    let mut world = World::new();
    world.join_new("a");
    world.join_new("b");
    world.pass(INITIAL_REBALANCE_DELAY);
    let b = world.sync("b", 1, &[]);
    for _ in 0..11 {
        world.pass(SESSION / 2);
        assert_eq!(world.heartbeat("a", 1), Ok(()));
    }
    world.pass(SESSION / 2);
    assert_eq!(
        world.synced(b),
        Some(Err(ResponseError::RebalanceInProgress))
    );
    let b = world.rejoin("b");
    assert_eq!(world.generation(b), (2, "b".into(), vec!["b".into()]));
}

#[test]
fn a_leaver_hands_its_share_over_at_once() {
    let mut world = World::stable_pair();
    assert_eq!(world.leave("a"), Ok(()));
    assert_eq!(world.leave("a"), Err(ResponseError::UnknownMemberId));
    let b = world.rejoin("b");
    assert_eq!(world.generation(b), (2, "b".into(), vec!["b".into()]));
}

#[test]
fn the_last_to_be_waited_for_may_also_leave() {
    let mut world = World::stable_pair();
    let c = world.join_new("c");
    let a = world.rejoin("a");
    assert_eq!(world.leave("b"), Ok(()));
    assert_eq!(world.generation(a).0, 2);
    assert_eq!(world.generation(c).0, 2);
}

#[test]
fn a_new_member_may_be_told_its_id_first() {
    let mut world = World::new();
    let first = world.join_as(JoinRequest {
        id_required: true,
        ..World::request("", "a")
    });
    assert_eq!(
        world.joined(first),
        Some(Ok(Joined::IdRequired("a".into())))
    );
    let second = world.rejoin("a");
    world.pass(INITIAL_REBALANCE_DELAY);
    assert_eq!(world.generation(second).0, 1);
}

#[test]
fn a_rebalance_waits_for_an_id_that_was_told_until_it_lapses() {
    let mut world = World::stable_pair();
    world.join_as(JoinRequest {
        id_required: true,
        session_timeout: SESSION / 2,
        ..World::request("", "c")
    });
    let d = world.join_new("d");
    world.rejoin("a");
    world.rejoin("b");
    assert_eq!(world.joined(d), None);
    world.pass(SESSION / 2);
    assert_eq!(world.generation(d).0, 2);
    let late = world.rejoin("c");
    assert_eq!(
        world.joined(late),
        Some(Err(ResponseError::UnknownMemberId))
    );
}

#[test]
fn an_unknown_member_is_refused() {
    let mut world = World::stable_pair();
    let x = world.rejoin("x");
    assert_eq!(world.joined(x), Some(Err(ResponseError::UnknownMemberId)));
    let x = world.sync("x", 1, &[]);
    assert_eq!(world.synced(x), Some(Err(ResponseError::UnknownMemberId)));
    let old = world.sync("a", 0, &[]);
    assert_eq!(
        world.synced(old),
        Some(Err(ResponseError::IllegalGeneration))
    );
}

#[test]
fn a_follower_that_missed_its_answer_gets_it_again() {
    let mut world = World::stable_pair();
    let b = world.rejoin("b");
    assert_eq!(world.generation(b), (1, "a".into(), vec![]));
    assert_eq!(world.group.state(), State::Stable);
}

#[test]
fn a_changed_subscription_is_a_rebalance() {
    let mut world = World::stable_pair();
    let mut request = World::request("b", "b");
    request.protocols[0].1 = Bytes::from_static(b"other topics");
    let b = world.join_as(request);
    assert_eq!(world.joined(b), None);
    let a = world.rejoin("a");
    assert_eq!(world.generation(a).0, 2);
    assert_eq!(world.generation(b).0, 2);
}

#[test]
fn members_must_have_a_protocol_in_common() {
    let mut world = World::stable_pair();
    let error = Some(Err(ResponseError::InconsistentGroupProtocol));
    let mut request = World::request("", "c");
    request.protocols = vec![("sticky".into(), Bytes::new())];
    let c = world.join_as(request.clone());
    assert_eq!(world.joined(c), error);
    request.protocols.clear();
    let c = world.join_as(request);
    assert_eq!(world.joined(c), error);
    let mut request = World::request("", "c");
    request.protocol_type = "connect".into();
    let c = world.join_as(request);
    assert_eq!(world.joined(c), error);
    assert_eq!(world.group.state(), State::Stable);
}

#[test]
fn the_protocol_is_one_that_all_know() {
    let mut world = World::new();
    world.join_new("a");
    let mut request = World::request("", "b");
    request.protocols.remove(0);
    world.join_as(request);
    world.pass(INITIAL_REBALANCE_DELAY);
    assert_eq!(world.group.protocol(), "roundrobin");
}

#[test]
fn commits_belong_to_members_of_the_generation() {
    let mut world = World::stable_pair();
    let now = world.now;
    let mut commit = |id: &str, generation| world.group.may_commit(now, id, generation);
    assert_eq!(commit("a", 1), Ok(()));
    assert_eq!(commit("a", 0), Err(ResponseError::IllegalGeneration));
    assert_eq!(commit("x", 1), Err(ResponseError::UnknownMemberId));
    assert_eq!(commit("", -1), Err(ResponseError::UnknownMemberId));
    assert_eq!(Group::new().may_commit(now, "", -1), Ok(()));
}

#[test]
fn a_static_member_replaces_its_former_self() {
    let mut world = World::new();
    let fixed = |id| JoinRequest {
        instance_id: Some("i".into()),
        ..World::request("", id)
    };
    let before = world.join_as(fixed("a1"));
    let after = world.join_as(fixed("a2"));
    assert_eq!(
        world.joined(before),
        Some(Err(ResponseError::FencedInstanceId))
    );
    world.pass(INITIAL_REBALANCE_DELAY);
    assert_eq!(world.generation(after), (1, "a2".into(), vec!["a2".into()]));
    assert_eq!(world.group.instance("i"), Some("a2"));
}
