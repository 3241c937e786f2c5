//! Bounded, replaceable addresses.

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

/// How many messages may be on their way through one slot, unless told otherwise.
pub const DEFAULT_SLOT_CAPACITY: usize = 256;

/// The actor behind a slot has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the actor has stopped")]
pub struct SlotClosed;

/// Where messages of one type go.
///
/// An actix address alone bounds almost nothing: each clone owns a slot in the mailbox, and `do_send`
/// never refuses. A slot lets only so many messages be under way at once, and whoever supervises can put
/// a new actor behind it without its users noticing.
pub struct Slot<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    target: Arc<ArcSwapOption<Target<M>>>,
    /// The actor whose place this is, whoever has it now.
    own: Arc<ArcSwapOption<Recipient<M>>>,
    permits: Arc<Semaphore>,
}

/// Who is behind a slot.
enum Target<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    Actor(Arc<Recipient<M>>),
    /// The actor whose place another slot is, made anew or not.
    OwnOf(Arc<ArcSwapOption<Recipient<M>>>),
}

impl<M> Slot<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    /// A slot with nobody behind it yet, for [`DEFAULT_SLOT_CAPACITY`] messages at once. It lets actors
    /// that need each other be wired before any of them runs.
    #[must_use]
    pub fn unconnected() -> Self {
        Self {
            target: Arc::default(),
            own: Arc::default(),
            permits: Arc::new(Semaphore::new(DEFAULT_SLOT_CAPACITY)),
        }
    }

    /// A slot to an actor.
    pub fn to<A>(address: &Addr<A>) -> Self
    where
        A: Actor + Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        let slot = Self::unconnected();
        slot.connect(address);
        slot
    }

    /// Puts an actor behind this slot and all its clones, in place of whoever was there.
    pub fn connect<A>(&self, address: &Addr<A>)
    where
        A: Actor + Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        let recipient = Arc::new(address.clone().recipient());
        self.target.store(Some(Arc::new(Target::Actor(recipient))));
    }

    /// Says whose place this is, and puts that actor there unless another is running.
    pub(crate) fn give_to<A>(&self, address: &Addr<A>)
    where
        A: Actor + Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        let recipient: Arc<Recipient<M>> = Arc::new(address.clone().recipient());
        self.own.store(Some(Arc::clone(&recipient)));
        let before = self.target.load();
        if !is_running(&resolved(&before)) {
            // Somebody may connect another at the same time, who stays.
            let own = Some(Arc::new(Target::Actor(recipient)));
            self.target.compare_and_swap(&before, own);
        }
    }

    /// A slot of its own to the actor that is behind this one now: for an actor that is put in its place
    /// and passes on to it. If that is a node's, it leads to the one that the node makes anew, too.
    #[must_use]
    pub fn fork(&self) -> Self {
        let slot = Self::unconnected();
        let own = self.own.load_full();
        if own.is_some() && self.recipient() == own {
            let own = Target::OwnOf(Arc::clone(&self.own));
            slot.target.store(Some(Arc::new(own)));
        } else {
            slot.target.store(self.target.load_full());
        }
        slot
    }

    /// Sends a message and waits for its result; waits for its turn before that.
    ///
    /// # Errors
    /// [`SlotClosed`] if the actor has stopped, before or while it handled the message.
    pub async fn send(&self, message: M) -> Result<M::Result, SlotClosed> {
        let _permit = self.permits.acquire().await.map_err(|_| SlotClosed)?;
        let target = self.recipient().ok_or(SlotClosed)?;
        target.send(message).await.map_err(|_| SlotClosed)
    }

    /// As [`send`](Self::send), but waits only for so long. What was sent by then is still under way, and counts, until the
    /// actor is done with it.
    pub(crate) async fn send_in_time(
        &self,
        message: M,
        patience: Duration,
    ) -> Result<Result<M::Result, SlotClosed>, Elapsed> {
        let answered = async {
            let permit = Arc::clone(&self.permits).acquire_owned().await;
            let permit = permit.map_err(|_| SlotClosed)?;
            let target = self.recipient().ok_or(SlotClosed)?;
            let sending = actix::spawn(async move {
                let answer = target.send(message).await;
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

    /// Takes the actor away from this slot and all its clones: sending says that it has stopped.
    pub fn disconnect(&self) {
        self.target.store(None);
    }

    /// As [`disconnect`](Self::disconnect), for the actor whose place this is, too.
    pub(crate) fn abandon(&self) {
        self.disconnect();
        self.own.store(None);
    }

    /// Whether the actor is running.
    #[must_use]
    pub fn is_open(&self) -> bool {
        is_running(&self.recipient())
    }

    fn recipient(&self) -> Option<Arc<Recipient<M>>> {
        resolved(&self.target.load())
    }

    /// Whether the actor whose place this is is running, and another, if one is put there.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_open() && is_running(&self.own.load())
    }
}

fn resolved<M>(target: &Option<Arc<Target<M>>>) -> Option<Arc<Recipient<M>>>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    match target.as_deref()? {
        Target::Actor(recipient) => Some(Arc::clone(recipient)),
        Target::OwnOf(own) => own.load_full(),
    }
}

fn is_running<M>(target: &Option<Arc<Recipient<M>>>) -> bool
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    target.as_ref().is_some_and(|target| target.connected())
}

impl<M> Clone for Slot<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn clone(&self) -> Self {
        Self {
            target: Arc::clone(&self.target),
            own: Arc::clone(&self.own),
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
    use actix::{Context, ResponseFuture};

    use super::*;

    #[derive(Message)]
    #[rtype(result = "()")]
    struct Ask;

    /// Never answers.
    struct Silent;

    impl Actor for Silent {
        type Context = Context<Self>;
    }

    impl Handler<Ask> for Silent {
        type Result = ResponseFuture<()>;

        fn handle(&mut self, _: Ask, _: &mut Self::Context) -> Self::Result {
            Box::pin(std::future::pending())
        }
    }

    #[actix::test]
    async fn what_nobody_waits_for_any_more_still_counts() {
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
