//! DescribeGroups, ListGroups, DeleteGroups: consumer groups seen from outside.

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    GroupId, ListGroupsRequest, ListGroupsResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::{GROUP_OPERATIONS, OPERATIONS_NOT_ASKED, text};
use crate::groups::{DeleteError, Group, Member};
use crate::protocol::Context;

/// What is said of a group that does not exist.
const DEAD: &str = "Dead";
/// The type of all groups here, in the words of ListGroups.
const CLASSIC: &str = "classic";

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
