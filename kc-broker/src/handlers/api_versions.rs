//! ApiVersions: what the broker can do.

use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};

use crate::protocol::{Context, SUPPORTED};

pub(crate) fn handle(_: &Context<'_>, _: ApiVersionsRequest) -> ApiVersionsResponse {
    response()
}

pub(crate) fn response() -> ApiVersionsResponse {
    let apis = SUPPORTED.iter().map(|api| {
        ApiVersion::default()
            .with_api_key(api.key as i16)
            .with_min_version(api.min)
            .with_max_version(api.max)
    });
    ApiVersionsResponse::default().with_api_keys(apis.collect())
}
