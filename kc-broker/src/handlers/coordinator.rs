//! FindCoordinator: it is always this broker.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Refusal, code_and_message, text};
use crate::faults::CoordinatorRequest;
use crate::protocol::Context;
use crate::state::NODE_ID;

/// The first version that asks for several coordinators at once.
const SEVERAL: i16 = 4;
/// The first version with words for people.
const HAS_MESSAGES: i16 = 1;
/// Key type of consumer groups.
const GROUP: i8 = 0;
/// Key type of transactions.
const TRANSACTION: i8 = 1;

pub(crate) fn handle(
    context: &Context<'_>,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let (error_code, message) = code_and_message(check(context, request.key_type));
    let found = error_code == 0;
    let node = BrokerId(if found { NODE_ID } else { -1 });
    let (host, port) = if found {
        let broker = context.broker;
        (text(broker.ip().to_string()), broker.port().into())
    } else {
        (StrBytes::new(), -1)
    };
    if context.version < SEVERAL {
        return FindCoordinatorResponse::default()
            .with_error_code(error_code)
            .with_error_message(message.filter(|_| context.version >= HAS_MESSAGES))
            .with_node_id(node)
            .with_host(host)
            .with_port(port);
    }
    let one = |key: StrBytes| {
        Coordinator::default()
            .with_key(key)
            .with_error_code(error_code)
            .with_error_message(message.clone())
            .with_node_id(node)
            .with_host(host.clone())
            .with_port(port)
    };
    let coordinators = request.coordinator_keys.into_iter().map(one).collect();
    FindCoordinatorResponse::default().with_coordinators(coordinators)
}

fn check(context: &Context<'_>, key_type: i8) -> Result<(), Refusal> {
    match key_type {
        GROUP => {
            let fault = context
                .shared
                .faults
                .take(CoordinatorRequest::FindCoordinator);
            fault.map_or(Ok(()), |error| Err((error, None)))
        }
        TRANSACTION => Err((
            ResponseError::TransactionalIdAuthorizationFailed,
            Some("this broker has no transactions".to_owned()),
        )),
        _ => Err((ResponseError::InvalidRequest, None)),
    }
}
