//! Slots: the addresses of actors for messages of one type.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message, Recipient};
use arc_swap::ArcSwapOption;
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

/// Maximum number of messages in transit through one slot. A message is in transit from the time at which it is sent
/// until it is answered.
pub const DEFAULT_SLOT_CAPACITY: usize = 256;

/// The error of sending a message to an actor that has stopped, or through a slot without an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the actor has stopped")]
pub struct SlotClosed;

/// The address of an actor for messages of one type. The number of messages in transit is limited, and the actor can be
/// replaced.
///
/// A slot has two entries: the default actor, which the node starts, and an optional replacement. A message goes to the
/// replacement if the replacement is alive, and otherwise to the default actor. Clones share both entries. An actor can
/// therefore be replaced without a change to its callers.
///
/// A slot allows at most [`DEFAULT_SLOT_CAPACITY`] messages in transit. An actix address alone hardly limits them: each
/// clone of the address may add a message to a full mailbox, and `do_send` ignores the limit.
pub struct Slot<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    own: Arc<ArcSwapOption<Recipient<M>>>,
    replacement: Arc<ArcSwapOption<Recipient<M>>>,
    permits: Arc<Semaphore>,
}

impl<M> Slot<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    /// Returns a slot without an actor. With such slots, actors that need each other can be connected before any of
    /// them runs.
    #[must_use]
    pub fn unconnected() -> Self {
        Self::over(Arc::default())
    }

    /// Returns a slot whose default actor is the one at `address`.
    pub fn to<A>(address: &Addr<A>) -> Self
    where
        A: Actor + Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        let slot = Self::unconnected();
        slot.connect(address);
        slot
    }

    fn over(own: Arc<ArcSwapOption<Recipient<M>>>) -> Self {
        Self {
            own,
            replacement: Arc::default(),
            permits: Arc::new(Semaphore::new(DEFAULT_SLOT_CAPACITY)),
        }
    }

    /// Makes the actor at `address` the default actor of this slot and its clones, instead of the previous default
    /// actor.
    pub fn connect<A>(&self, address: &Addr<A>)
    where
        A: Actor + Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        self.own.store(Some(Arc::new(address.clone().recipient())));
    }

    /// Lets the actor at `address` receive the messages instead of the default actor, while the actor at `address` is
    /// alive. A previous replacement gets no more messages.
    pub fn replace<A>(&self, address: &Addr<A>)
    where
        A: Actor + Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        let replacement = Some(Arc::new(address.clone().recipient()));
        self.replacement.store(replacement);
    }

    /// Returns a slot that always leads to the default actor, even after a restart of that actor. An actor that
    /// replaces the default actor forwards messages through this slot.
    #[must_use]
    pub fn own(&self) -> Self {
        Self::over(Arc::clone(&self.own))
    }

    /// Waits until fewer than [`DEFAULT_SLOT_CAPACITY`] messages are in transit, then sends a message and waits for
    /// its result.
    ///
    /// Not cancel safe: if the future is dropped, the actor skips the message, unless it has already begun to handle
    /// the message.
    ///
    /// # Errors
    /// Returns [`SlotClosed`] if the slot has no actor, or if the actor stopped before it answered the message.
    pub async fn send(&self, message: M) -> Result<M::Result, SlotClosed> {
        let _permit = self.permits.acquire().await.map_err(|_| SlotClosed)?;
        let recipient = self.recipient().ok_or(SlotClosed)?;
        recipient.send(message).await.map_err(|_| SlotClosed)
    }

    /// Sends a message and waits at most `patience` for its result. If the result takes longer, returns [`Elapsed`]. A
    /// message that was sent counts as in transit until the actor has handled the message, even if `patience` has
    /// passed.
    pub(crate) async fn send_in_time(
        &self,
        message: M,
        patience: Duration,
    ) -> Result<Result<M::Result, SlotClosed>, Elapsed> {
        let answered = async {
            let permit = Arc::clone(&self.permits).acquire_owned().await;
            let permit = permit.map_err(|_| SlotClosed)?;
            let recipient = self.recipient().ok_or(SlotClosed)?;
            let sending = actix::spawn(async move {
                let answer = recipient.send(message).await;
                drop(permit);
                answer
            });
            sending
                .await
                .map_err(|_| SlotClosed)?
                .map_err(|_| SlotClosed)
        };
        timeout(patience, answered).await
    }

    /// Removes both actors. Sending fails until an actor is connected again.
    pub fn disconnect(&self) {
        self.replacement.store(None);
        self.own.store(None);
    }

    /// Returns whether an actor is alive in this slot.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.recipient()
            .is_some_and(|recipient| recipient.connected())
    }

    /// Returns whether the default actor is alive.
    pub(crate) fn is_connected(&self) -> bool {
        let own = self.own.load();
        own.as_ref().is_some_and(|own| own.connected())
    }

    fn recipient(&self) -> Option<Arc<Recipient<M>>> {
        let replacement = self.replacement.load_full();
        replacement
            .filter(|replacement| replacement.connected())
            .or_else(|| self.own.load_full())
    }
}

impl<M> Default for Slot<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn default() -> Self {
        Self::unconnected()
    }
}

impl<M> Clone for Slot<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn clone(&self) -> Self {
        Self {
            own: Arc::clone(&self.own),
            replacement: Arc::clone(&self.replacement),
            permits: Arc::clone(&self.permits),
        }
    }
}

impl<M> fmt::Debug for Slot<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("open", &self.is_open())
            .field("free", &self.permits.available_permits())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use actix::{ActorContext, Context, ResponseFuture};

    use super::*;

    #[derive(Message)]
    #[rtype(result = "String")]
    struct Ask;

    /// An actor that never answers.
    struct Silent;

    impl Actor for Silent {
        type Context = Context<Self>;
    }

    impl Handler<Ask> for Silent {
        type Result = ResponseFuture<String>;

        fn handle(&mut self, _: Ask, _: &mut Self::Context) -> Self::Result {
            Box::pin(std::future::pending())
        }
    }

    /// An actor that answers with its name, and stops on request.
    struct Named(&'static str);

    #[derive(Message)]
    #[rtype(result = "()")]
    struct Stop;

    impl Actor for Named {
        type Context = Context<Self>;
    }

    impl Handler<Ask> for Named {
        type Result = String;

        fn handle(&mut self, _: Ask, _: &mut Self::Context) -> Self::Result {
            self.0.into()
        }
    }

    impl Handler<Stop> for Named {
        type Result = ();

        fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
            ctx.terminate();
        }
    }

    async fn stop(address: &Addr<Named>) {
        while address.connected() {
            let _ = address.send(Stop).await;
        }
    }

    #[actix::test]
    async fn a_message_goes_to_the_replacement_while_it_lives_and_else_to_the_nodes_own() {
        let own = Named("own").start();
        let slot = Slot::to(&own);
        let (used, passed_on) = (slot.clone(), slot.own());
        let replacement = Named("replacement").start();
        slot.replace(&replacement);
        assert_eq!(used.send(Ask).await.unwrap(), "replacement");
        assert_eq!(passed_on.send(Ask).await.unwrap(), "own");

        stop(&own).await;
        assert!(used.is_open() && !used.is_connected());
        assert_eq!(passed_on.send(Ask).await, Err(SlotClosed));
        slot.connect(&Named("restarted").start());
        assert_eq!(used.send(Ask).await.unwrap(), "replacement");
        assert_eq!(passed_on.send(Ask).await.unwrap(), "restarted");

        stop(&replacement).await;
        assert_eq!(used.send(Ask).await.unwrap(), "restarted");
        slot.disconnect();
        assert_eq!(used.send(Ask).await, Err(SlotClosed));
        assert_eq!(passed_on.send(Ask).await, Err(SlotClosed));
    }

    #[actix::test]
    async fn a_message_that_is_not_awaited_any_more_still_counts() {
        tokio::time::pause();
        let slot = Slot::to(&Silent.start());
        for sent in 1..=3 {
            let patience = Duration::from_secs(1);
            slot.send_in_time(Ask, patience).await.unwrap_err();
            let free = slot.permits.available_permits();
            assert_eq!(free, DEFAULT_SLOT_CAPACITY - sent);
        }
    }
}
