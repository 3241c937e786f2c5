//! New leaders of partitions after a broker is lost.

use std::time::Duration;

use kc_core::text::with_sources;
use krafka::Kafka;
use krafka::admin::AdminClient;
use tokio::time::Instant;

use crate::lookup::{self, LOOK_TIMEOUT};

/// The minimum time between two requests for the leaders.
const INTERVAL: Duration = Duration::from_secs(1);

/// Finds the new leaders of the partitions of a lost broker. krafka itself asks for leaders only if a broker answers that it
/// is not the leader; a lost broker does not answer.
pub(crate) struct Leaders {
    kafka: Kafka,
    /// The number of failed fetches when the leaders were last found.
    failures: u64,
    /// True if a broker has not answered since the leaders were last found.
    suspect: bool,
    next: Instant,
}

impl Leaders {
    /// Watches the fetches of the consumers of `kafka`.
    pub(crate) fn new(kafka: Kafka) -> Self {
        Self {
            kafka,
            failures: 0,
            suspect: false,
            next: Instant::now(),
        }
    }

    /// Takes the records of a poll. `None` means that a broker did not answer; krafka does not count this as a failure,
    /// because its poll was dropped.
    pub(crate) fn polled<T>(&mut self, records: Option<Vec<T>>) -> Vec<T> {
        self.suspect |= records.is_none();
        records.unwrap_or_default()
    }

    /// Asks a broker for the present leaders if fetches have failed since the last answer.
    pub(crate) async fn follow(&mut self, admin: &AdminClient) {
        if Instant::now() < self.next {
            return;
        }
        let failures = self.kafka.metrics().consumer.errors;
        if failures == self.failures && !self.suspect {
            return;
        }
        match lookup::all(admin, LOOK_TIMEOUT).await {
            Ok(_) => (self.failures, self.suspect) = (failures, false),
            Err(error) => {
                tracing::debug!(error = %with_sources(&error), "lookup of new leaders failed");
            }
        }
        self.next = Instant::now() + INTERVAL;
    }
}

#[cfg(test)]
mod tests {
    use krafka::testing::{ApiKey, FakeBroker};

    use super::*;

    #[tokio::test]
    async fn a_poll_without_an_answer_leads_to_one_lookup() {
        let broker = FakeBroker::start().await.unwrap();
        let kafka = broker.kafka().connect().await.unwrap();
        let admin = kafka.admin();
        let mut leaders = Leaders::new(kafka);
        let lookups = || broker.request_count(ApiKey::Metadata);
        let before = lookups();
        assert!(leaders.polled(Some(vec!["a"])).len() == 1);
        leaders.follow(&admin).await;
        assert_eq!(lookups(), before);
        assert!(leaders.polled(None::<Vec<&str>>).is_empty());
        leaders.follow(&admin).await;
        let after = lookups();
        assert!(after > before);
        leaders.next = Instant::now();
        leaders.follow(&admin).await;
        assert_eq!(lookups(), after);
    }
}
