//! Consumer groups: JoinGroup, SyncGroup, Heartbeat, LeaveGroup, DescribeGroups, ListGroups,
//! DeleteGroups.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    GroupId, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse, SyncGroupRequest,
    SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::{GROUP_OPERATIONS, OPERATIONS_NOT_ASKED, code, text};
use crate::faults::CoordinatorRequest;
use crate::groups::{
    Assignment, DeleteError, Group, JoinRequest, Joined, Member, SyncRequest, Synced,
};
use crate::limits::{MAX_GROUP_NAME_BYTES, MAX_GROUP_TIMEOUT, MAX_MEMBER_BYTES};
use crate::protocol::Context;

/// The first JoinGroup version with a rebalance time-out.
const JOIN_HAS_REBALANCE_TIMEOUT: i16 = 1;
/// The first JoinGroup version whose clients understand MEMBER_ID_REQUIRED.
const JOIN_KNOWS_ID_REQUIRED: i16 = 4;
/// The first JoinGroup version where the protocol may be null.
const JOIN_PROTOCOL_MAY_BE_NULL: i16 = 7;
/// The first LeaveGroup version with several members.
const LEAVE_SEVERAL: i16 = 3;
/// The name that DescribeGroups uses for the state of a group that does not exist.
const DEAD: &str = "Dead";
/// The name that ListGroups uses for the type of all groups of this broker.
const CLASSIC: &str = "classic";

pub(crate) async fn join(context: &Context<'_>, request: JoinGroupRequest) -> JoinGroupResponse {
    let member_id = request.member_id.clone();
    match try_join(context, request).await {
        Ok(Joined::Member {
            generation,
            protocol_type,
            protocol,
            leader,
            member_id,
            members,
        }) => {
            let members = members.into_iter().map(|(id, instance, metadata)| {
                JoinGroupResponseMember::default()
                    .with_member_id(text(id))
                    .with_group_instance_id(instance.map(text))
                    .with_metadata(metadata)
            });
            JoinGroupResponse::default()
                .with_generation_id(generation)
                .with_protocol_type(Some(text(protocol_type)))
                .with_protocol_name(Some(text(protocol)))
                .with_leader(text(leader))
                .with_member_id(text(member_id))
                .with_members(members.collect())
        }
        Ok(Joined::IdRequired(id)) => {
            refuse_join(context, ResponseError::MemberIdRequired).with_member_id(text(id))
        }
        Err(error) => refuse_join(context, error).with_member_id(member_id),
    }
}

fn refuse_join(context: &Context<'_>, error: ResponseError) -> JoinGroupResponse {
    let no_protocol = (context.version < JOIN_PROTOCOL_MAY_BE_NULL).then(|| text(""));
    JoinGroupResponse::default()
        .with_error_code(error.code())
        .with_generation_id(-1)
        .with_protocol_name(no_protocol)
}

async fn try_join(
    context: &Context<'_>,
    request: JoinGroupRequest,
) -> Result<Joined, ResponseError> {
    if let Some(error) = context.shared.faults.take(CoordinatorRequest::JoinGroup) {
        return Err(error);
    }
    let group = group_name(&request.group_id)?.to_owned();
    let session_timeout = timeout(request.session_timeout_ms)?;
    let rebalance_timeout = if context.version >= JOIN_HAS_REBALANCE_TIMEOUT {
        timeout(request.rebalance_timeout_ms)?
    } else {
        session_timeout
    };
    let protocols = request.protocols.iter();
    let protocols = protocols.map(|p| (p.name.to_string(), own(&p.metadata)));
    let protocols: Vec<(String, Bytes)> = protocols.collect();
    let size: usize = protocols
        .iter()
        .map(|(name, bytes)| name.len() + bytes.len())
        .sum();
    if size > MAX_MEMBER_BYTES {
        return Err(ResponseError::PolicyViolation);
    }
    let request = JoinRequest {
        member_id: request.member_id.to_string(),
        new_id: format!("{}-{}", context.client_id, Uuid::new_v4()),
        id_required: context.version >= JOIN_KNOWS_ID_REQUIRED
            && context.shared.faults.member_id_required(),
        instance_id: request.group_instance_id.map(|id| id.to_string()),
        client_id: context.client_id.clone(),
        client_host: format!("/{}", context.client.ip()),
        session_timeout,
        rebalance_timeout,
        protocol_type: request.protocol_type.to_string(),
        protocols,
    };
    let joined = {
        let groups = &mut context.shared.state().groups;
        groups.join(Instant::now(), &group, request)?
    };
    context.shared.groups_changed.notify_one();
    joined.await.unwrap_or(Err(ResponseError::UnknownMemberId))
}

pub(crate) async fn sync(context: &Context<'_>, request: SyncGroupRequest) -> SyncGroupResponse {
    match try_sync(context, request).await {
        Ok(synced) => SyncGroupResponse::default()
            .with_protocol_type(Some(text(synced.protocol_type)))
            .with_protocol_name(Some(text(synced.protocol)))
            .with_assignment(synced.assignment),
        Err(error) => SyncGroupResponse::default().with_error_code(error.code()),
    }
}

async fn try_sync(
    context: &Context<'_>,
    request: SyncGroupRequest,
) -> Result<Synced, ResponseError> {
    let assignments = request.assignments.iter();
    let assignments = assignments.map(|a| (a.member_id.to_string(), own(&a.assignment)));
    let assignments: Vec<Assignment> = assignments.collect();
    if assignments
        .iter()
        .any(|(_, bytes)| bytes.len() > MAX_MEMBER_BYTES)
    {
        return Err(ResponseError::PolicyViolation);
    }
    let group = request.group_id;
    let request = SyncRequest {
        member_id: request.member_id.to_string(),
        generation: request.generation_id,
        protocol_type: request.protocol_type.map(|t| t.to_string()),
        protocol: request.protocol_name.map(|n| n.to_string()),
        assignments,
    };
    let synced = {
        let groups = &mut context.shared.state().groups;
        groups.sync(Instant::now(), &group, request)?
    };
    context.shared.groups_changed.notify_one();
    synced.await.unwrap_or(Err(ResponseError::UnknownMemberId))
}

pub(crate) fn heartbeat(context: &Context<'_>, request: HeartbeatRequest) -> HeartbeatResponse {
    let groups = &mut context.shared.state().groups;
    let (id, generation) = (&request.member_id, request.generation_id);
    let result = groups.heartbeat(Instant::now(), &request.group_id, id, generation);
    HeartbeatResponse::default().with_error_code(code(&result))
}

pub(crate) fn leave(context: &Context<'_>, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let leave_one = |member: &MemberIdentity| {
        let groups = &mut context.shared.state().groups;
        let (id, instance) = (&member.member_id, member.group_instance_id.as_deref());
        groups.leave(Instant::now(), &request.group_id, id, instance)
    };
    let response = if context.version < LEAVE_SEVERAL {
        let member = MemberIdentity::default().with_member_id(request.member_id.clone());
        LeaveGroupResponse::default().with_error_code(code(&leave_one(&member)))
    } else {
        let members = request.members.iter().map(|member| {
            MemberResponse::default()
                .with_error_code(code(&leave_one(member)))
                .with_member_id(member.member_id.clone())
                .with_group_instance_id(member.group_instance_id.clone())
        });
        LeaveGroupResponse::default().with_members(members.collect())
    };
    context.shared.groups_changed.notify_one();
    response
}

/// Checks that a group name is not empty and has at most [`MAX_GROUP_NAME_BYTES`] bytes.
pub(super) fn group_name(name: &str) -> Result<&str, ResponseError> {
    if name.is_empty() || name.len() > MAX_GROUP_NAME_BYTES {
        Err(ResponseError::InvalidGroupId)
    } else {
        Ok(name)
    }
}

fn timeout(milliseconds: i32) -> Result<Duration, ResponseError> {
    let milliseconds = u64::try_from(milliseconds).ok().filter(|ms| *ms > 0);
    milliseconds
        .map(Duration::from_millis)
        .filter(|t| *t <= MAX_GROUP_TIMEOUT)
        .ok_or(ResponseError::InvalidSessionTimeout)
}

/// Copies a part of a request. The part itself would keep the whole request in memory.
fn own(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

pub(crate) fn describe(
    context: &Context<'_>,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let operations = if request.include_authorized_operations {
        GROUP_OPERATIONS
    } else {
        OPERATIONS_NOT_ASKED
    };
    let state = context.shared.state();
    let groups = request.groups.into_iter().map(|id| {
        let described = match state.groups.get(&id) {
            Some(entry) => describe_group(&entry.group),
            None => DescribedGroup::default().with_group_state(text(DEAD)),
        };
        described
            .with_group_id(id)
            .with_authorized_operations(operations)
    });
    let groups = groups.collect();
    DescribeGroupsResponse::default().with_groups(groups)
}

fn describe_group(group: &Group) -> DescribedGroup {
    let protocol = group.protocol();
    let members = group
        .members()
        .map(|(id, m)| describe_member(id, m, protocol));
    DescribedGroup::default()
        .with_group_state(text(group.state().name()))
        .with_protocol_type(text(group.protocol_type()))
        .with_protocol_data(text(protocol))
        .with_members(members.collect())
}

fn describe_member(id: &str, member: &Member, protocol: &str) -> DescribedGroupMember {
    DescribedGroupMember::default()
        .with_member_id(text(id))
        .with_group_instance_id(member.instance_id.clone().map(text))
        .with_client_id(text(member.client_id.as_str()))
        .with_client_host(text(member.client_host.as_str()))
        .with_member_metadata(member.metadata(protocol))
        .with_member_assignment(Bytes::clone(&member.assignment))
}

pub(crate) fn list(context: &Context<'_>, request: ListGroupsRequest) -> ListGroupsResponse {
    let wanted = |filter: &[StrBytes], value: &str| {
        filter.is_empty() || filter.iter().any(|f| f.eq_ignore_ascii_case(value))
    };
    let state = context.shared.state();
    let listed = state.groups.iter().filter_map(|(name, entry)| {
        let state = entry.group.state().name();
        let listed =
            wanted(&request.states_filter, state) && wanted(&request.types_filter, CLASSIC);
        listed.then(|| {
            ListedGroup::default()
                .with_group_id(GroupId(text(name)))
                .with_protocol_type(text(entry.group.protocol_type()))
                .with_group_state(text(state))
                .with_group_type(text(CLASSIC))
        })
    });
    let listed = listed.collect();
    ListGroupsResponse::default().with_groups(listed)
}

pub(crate) fn delete(context: &Context<'_>, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut state = context.shared.state();
    let results = request.groups_names.into_iter().map(|id| {
        let error_code = match state.groups.delete(&id) {
            Ok(()) => 0,
            Err(DeleteError::NotFound) => ResponseError::GroupIdNotFound.code(),
            Err(DeleteError::NotEmpty) => ResponseError::NonEmptyGroup.code(),
        };
        DeletableGroupResult::default()
            .with_group_id(id)
            .with_error_code(error_code)
    });
    let results = results.collect();
    DeleteGroupsResponse::default().with_results(results)
}
