//! InitProducerId: ids for idempotent producers.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use crate::protocol::Context;

/// Every idempotent producer gets a new id, also one that has an id. Transactional ids are
/// refused by an error that no client retries.
pub(crate) fn handle(
    context: &Context<'_>,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    if request.transactional_id.is_some() {
        tracing::warn!("a producer asks for transactions, which this broker does not have");
        return InitProducerIdResponse::default()
            .with_error_code(ResponseError::TransactionalIdAuthorizationFailed.code())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
    }
    let mut state = context.shared.state();
    state.last_producer_id += 1;
    InitProducerIdResponse::default()
        .with_producer_id(ProducerId(state.last_producer_id))
        .with_producer_epoch(0)
}
