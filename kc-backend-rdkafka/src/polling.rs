//! How polls wait.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, ConsumerContext};

/// How long a thread waits in librdkafka before it looks up: for topics that have appeared, and whether it is still
/// waited for.
pub(crate) const SLICE: Duration = Duration::from_millis(100);

/// How long serving events waits for one more. (A poll that does not wait at all takes only one, and does not say
/// whether it did.)
const SERVING: Duration = Duration::from_millis(1);

/// Serves the events of a consumer that reads nothing.
pub(crate) fn serve<C: ConsumerContext>(consumer: &BaseConsumer<C>) {
    while consumer.poll(SERVING).is_some() {}
}
