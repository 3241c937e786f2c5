use std::time::Duration;

use super::*;

fn request() -> JoinRequest {
    JoinRequest {
        member_id: String::new(),
        new_id: "m".into(),
        id_required: false,
        instance_id: None,
        client_id: String::new(),
        client_host: String::new(),
        session_timeout: Duration::from_secs(10),
        rebalance_timeout: Duration::from_secs(60),
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), bytes::Bytes::new())],
    }
}

fn committed() -> Committed {
    Committed {
        offset: 1,
        leader_epoch: -1,
        metadata: String::new(),
    }
}

#[test]
fn an_answer_reaches_who_waits_for_it() {
    let mut groups = Groups::default();
    let now = Instant::now();
    let mut waiting = groups.join(now, "g", request()).unwrap();
    assert!(waiting.try_recv().is_err());
    let due = groups.next_deadline().unwrap();
    groups.expire(due);
    assert!(matches!(waiting.try_recv(), Ok(Ok(Joined::Member { .. }))));
}

#[test]
fn a_group_without_members_and_offsets_is_forgotten() {
    let mut groups = Groups::default();
    let now = Instant::now();
    drop(groups.join(now, "g", request()).unwrap());
    assert_eq!(groups.leave(now, "g", "m", None), Ok(()));
    assert!(groups.get("g").is_none());
    groups.commit("g", "t", 0, committed()).unwrap();
    groups.topic_deleted("t");
    assert!(groups.get("g").is_none());
    let mut invalid = request();
    invalid.protocols.clear();
    drop(groups.join(now, "g", invalid).unwrap());
    assert!(groups.get("g").is_none());
}

#[test]
fn members_are_bounded_over_all_groups() {
    let mut groups = Groups::default();
    let now = Instant::now();
    for i in 0..MAX_MEMBERS {
        let mut request = request();
        request.new_id = i.to_string();
        drop(groups.join(now, &format!("g{}", i % 10), request).unwrap());
    }
    let refused = groups.join(now, "g0", request()).map(drop);
    assert_eq!(refused, Err(ResponseError::GroupMaxSizeReached));
    let mut known = request();
    known.member_id = "0".into();
    assert!(groups.join(now, "g0", known).is_ok());
}

#[test]
fn groups_are_bounded() {
    let mut groups = Groups::default();
    let now = Instant::now();
    for i in 0..MAX_GROUPS {
        groups.commit(&i.to_string(), "t", 0, committed()).unwrap();
    }
    let refused = Err(ResponseError::PolicyViolation);
    assert_eq!(groups.join(now, "g", request()).map(drop), refused);
    assert_eq!(groups.may_commit(now, "g", "", -1), refused);
    assert_eq!(groups.may_commit(now, "0", "", -1), Ok(()));
}

#[test]
fn committed_offsets_are_bounded_but_can_move() {
    let mut groups = Groups::default();
    for partition in 0..i32::try_from(MAX_COMMITTED_OFFSETS).unwrap() {
        groups.commit("g", "t", partition, committed()).unwrap();
    }
    let refused = groups.commit("g", "t", -1, committed());
    assert_eq!(refused, Err(ResponseError::PolicyViolation));
    assert_eq!(groups.commit("g", "t", 0, committed()), Ok(()));
}
