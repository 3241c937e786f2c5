use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kc_core::keys::VerifyingKey;
use kc_core::types::Timestamp;

use crate::clock::Clock;
use crate::events::{Events, NodeEvent};
use crate::messages::{AskTrust, IdentityStatus};
use crate::port::Port;

/// The earliest that the end of a chain is warned of.
const EARLIEST: Duration = Duration::from_secs(7 * 86_400);
/// Which part of the time that was left when a chain was first seen is left when it is warned of. Less than
/// what chain servers leave, so that a chain which is kept fresh is never warned of.
const PART: f64 = 0.1;

/// Warns once of each chain of the node's that ends soon.
#[derive(Clone, Debug, Default)]
pub(super) struct ExpiryWatch(Arc<Mutex<HashMap<VerifyingKey, Seen>>>);

/// A chain, by its end.
#[derive(Clone, Copy, Debug)]
struct Seen {
    end: Timestamp,
    warn_at: Timestamp,
    warned: bool,
}

impl ExpiryWatch {
    /// Looks at all chains.
    pub(super) async fn look(self, ask: Port<AskTrust>, clock: Clock, events: Events) {
        let Ok(status) = ask.send(AskTrust).await else {
            return;
        };
        for (key, expires) in self.due(&status.identities, clock.now()) {
            let fingerprint = key.fingerprint();
            tracing::warn!(target: "kc::chain", key = fingerprint, ?expires, "a chain ends soon");
            events.tell(NodeEvent::ChainExpires { key, expires });
        }
    }

    /// The chains to be warned of now.
    fn due(&self, identities: &[IdentityStatus], now: Timestamp) -> Vec<(VerifyingKey, Timestamp)> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        for IdentityStatus { key, chain } in identities {
            let Ok(Some(end)) = *chain else {
                continue;
            };
            let chain = seen
                .entry(key.clone())
                .or_insert_with(|| Seen::at(now, end));
            if chain.end != end {
                *chain = Seen::at(now, end);
            }
            if !chain.warned && chain.warn_at <= now {
                chain.warned = true;
                due.push((key.clone(), end));
            }
        }
        due
    }
}

impl Seen {
    fn at(now: Timestamp, end: Timestamp) -> Self {
        let early = end.since(now).mul_f64(PART).min(EARLIEST);
        let warn_at = Timestamp::from_secs(end.as_secs() - early.as_secs_f64());
        Self {
            end,
            warn_at: warn_at.unwrap_or(end),
            warned: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: f64) -> Timestamp {
        Timestamp::from_secs(secs).unwrap()
    }

    fn until(end: f64) -> [IdentityStatus; 1] {
        [IdentityStatus {
            key: VerifyingKey::Ed25519([1; 32]),
            chain: Ok(Some(at(end))),
        }]
    }

    #[test]
    fn the_end_of_a_chain_is_warned_of_once_and_in_time() {
        let watch = ExpiryWatch::default();
        assert!(watch.due(&until(1000.0), at(0.0)).is_empty());
        assert!(watch.due(&until(1000.0), at(899.0)).is_empty());
        assert_eq!(watch.due(&until(1000.0), at(900.0)).len(), 1);
        assert!(watch.due(&until(1000.0), at(950.0)).is_empty());
        // Renewed, and near its end again.
        assert!(watch.due(&until(2000.0), at(960.0)).is_empty());
        assert_eq!(watch.due(&until(2000.0), at(1990.0)).len(), 1);
    }

    #[test]
    fn a_chain_of_years_is_warned_of_a_week_before_its_end() {
        const DAY: f64 = 86_400.0;
        let watch = ExpiryWatch::default();
        assert!(watch.due(&until(3650.0 * DAY), at(0.0)).is_empty());
        assert!(watch.due(&until(3650.0 * DAY), at(3642.0 * DAY)).is_empty());
        assert_eq!(watch.due(&until(3650.0 * DAY), at(3643.0 * DAY)).len(), 1);
    }
}
