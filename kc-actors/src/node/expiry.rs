use std::collections::HashMap;
use std::time::Duration;

use kc_core::keys::VerifyingKey;
use kc_core::types::Timestamp;
use tokio::time::{sleep, timeout};

use crate::clock::Clock;
use crate::events::{Events, NodeEvent};
use crate::messages::{AskTrust, IdentityStatus};
use crate::port::Port;

/// The earliest that the end of a chain is warned of.
const EARLIEST: Duration = Duration::from_secs(7 * 86_400);
/// Which part of the time that was left when a chain was first seen is left when it is warned of. Less than
/// what chain servers leave, so that a chain which is kept fresh is never warned of.
const PART: f64 = 0.1;
/// How often chains are looked at, which means that they are verified.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// How often to see what time it is.
const TICK: Duration = Duration::from_secs(1);

/// Warns once of each chain of the node's that ends soon.
#[derive(Debug)]
pub(super) struct ExpiryWatch {
    ask: Port<AskTrust>,
    clock: Clock,
    events: Events,
    seen: HashMap<VerifyingKey, Seen>,
}

/// A chain, by its end.
#[derive(Clone, Copy, Debug)]
struct Seen {
    end: Timestamp,
    warn_at: Timestamp,
    warned: bool,
}

impl ExpiryWatch {
    pub(super) fn new(ask: Port<AskTrust>, clock: Clock, events: Events) -> Self {
        Self {
            ask,
            clock,
            events,
            seen: HashMap::new(),
        }
    }

    /// Looks at all chains once a minute and whenever one is new, and warns in between.
    pub(super) async fn watch(mut self) {
        let mut events = self.events.listen();
        loop {
            if let Ok(status) = self.ask.send(AskTrust).await {
                self.see(&status.identities, self.clock.now());
            }
            let warn = async {
                loop {
                    self.warn();
                    sleep(TICK).await;
                }
            };
            tokio::select! {
                _ = timeout(LOOK_INTERVAL, events.new_chain()) => {}
                () = warn => {}
            }
        }
    }

    fn warn(&mut self) {
        for (key, expires) in self.due(self.clock.now()) {
            let fingerprint = key.fingerprint();
            tracing::warn!(target: "kc::chain", key = fingerprint, ?expires, "a chain ends soon");
            self.events.tell(NodeEvent::ChainExpires { key, expires });
        }
    }

    /// Notes the chains that the node has now.
    fn see(&mut self, identities: &[IdentityStatus], now: Timestamp) {
        for IdentityStatus { key, chain } in identities {
            let Ok(Some(end)) = *chain else {
                continue;
            };
            let seen = self.seen.get(key);
            if seen.is_none_or(|seen| seen.end != end) {
                self.seen.insert(key.clone(), Seen::at(now, end));
            }
        }
    }

    /// The chains to be warned of now.
    fn due(&mut self, now: Timestamp) -> Vec<(VerifyingKey, Timestamp)> {
        let mut due = Vec::new();
        for (key, chain) in &mut self.seen {
            if !chain.warned && chain.warn_at <= now {
                chain.warned = true;
                due.push((key.clone(), chain.end));
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use actix::{Actor, Context, Handler, MessageResult};

    use super::*;
    use crate::messages::TrustStatus;

    fn at(secs: f64) -> Timestamp {
        Timestamp::from_secs(secs).unwrap()
    }

    fn key() -> VerifyingKey {
        VerifyingKey::Ed25519([1; 32])
    }

    fn watch() -> ExpiryWatch {
        ExpiryWatch::new(Port::unconnected(), Clock::system(), Events::default())
    }

    /// The chains to be warned of at a time, if there is one that ends then.
    fn due(watch: &mut ExpiryWatch, end: f64, now: f64) -> usize {
        let status = IdentityStatus {
            key: key(),
            chain: Ok(Some(at(end))),
        };
        watch.see(&[status], at(now));
        watch.due(at(now)).len()
    }

    #[test]
    fn the_end_of_a_chain_is_warned_of_once_and_in_time() {
        let mut watch = watch();
        assert_eq!(due(&mut watch, 1000.0, 0.0), 0);
        assert_eq!(due(&mut watch, 1000.0, 899.0), 0);
        assert_eq!(due(&mut watch, 1000.0, 900.0), 1);
        assert_eq!(due(&mut watch, 1000.0, 950.0), 0);
        // Renewed, and near its end again.
        assert_eq!(due(&mut watch, 2000.0, 960.0), 0);
        assert_eq!(due(&mut watch, 2000.0, 1990.0), 1);
    }

    #[test]
    fn a_chain_of_years_is_warned_of_a_week_before_its_end() {
        const DAY: f64 = 86_400.0;
        let mut watch = watch();
        assert_eq!(due(&mut watch, 3650.0 * DAY, 0.0), 0);
        assert_eq!(due(&mut watch, 3650.0 * DAY, 3642.0 * DAY), 0);
        assert_eq!(due(&mut watch, 3650.0 * DAY, 3643.0 * DAY), 1);
    }

    /// Trusts nobody, and counts how often it is asked.
    struct Trust(Arc<AtomicUsize>);

    impl Actor for Trust {
        type Context = Context<Self>;
    }

    impl Handler<AskTrust> for Trust {
        type Result = MessageResult<AskTrust>;

        fn handle(&mut self, _: AskTrust, _: &mut Self::Context) -> Self::Result {
            self.0.fetch_add(1, Ordering::Relaxed);
            MessageResult(TrustStatus::default())
        }
    }

    #[actix::test]
    async fn chains_are_looked_at_once_a_minute_and_when_one_is_new() {
        tokio::time::pause();
        let asked = Arc::new(AtomicUsize::new(0));
        let ask = Port::to(&Trust(Arc::clone(&asked)).start());
        let events = Events::default();
        let watch = ExpiryWatch::new(ask, Clock::system(), events.clone());
        actix::spawn(watch.watch());
        sleep(Duration::from_secs(590)).await;
        assert_eq!(asked.load(Ordering::Relaxed), 10);
        let (key, expires) = (key(), None);
        events.tell(NodeEvent::ChainAdopted { key, expires });
        sleep(Duration::from_millis(10)).await;
        assert_eq!(asked.load(Ordering::Relaxed), 11);
    }
}
