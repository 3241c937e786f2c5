use std::cell::RefCell;
use std::panic::resume_unwind;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::HsmError;

/// The maximum time that a token may take to answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// The time for which a pending answer is still awaited after [`Patience::end`]. Some tokens are damaged if a process
/// ends during a call.
const GRACE: Duration = Duration::from_secs(1);
/// The stack size of the thread that [`Patience::run`] starts, in bytes. It is the usual stack size of a main thread.
const STACK: usize = 8 << 20;

thread_local! {
    /// The state that this thread shares with the thread that waits for it.
    static WAITING: RefCell<Option<Arc<Waiting>>> = const { RefCell::new(None) };
}

/// Waits for work that calls tokens. Each answer of a token may take at most 15 s. Other parts of the work, such as a
/// prompt for a PIN, have no time limit.
#[derive(Clone, Debug, Default)]
pub struct Patience {
    waiting: Arc<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The time at which the token was called; `None` if no answer is pending.
    asked: Option<Instant>,
    /// The time at which [`Patience::end`] was called.
    ended: Option<Instant>,
    done: bool,
}

impl Patience {
    /// Runs `work` on a thread of its own, and waits for its result. If a token does not answer, this method returns an
    /// error, and the thread continues in the background, because a library that hangs cannot be stopped. A panic of
    /// `work` is passed on to the caller.
    ///
    /// # Errors
    /// Returns [`HsmError::Silent`] if a token does not answer within 15 s; [`HsmError::Ended`] if [`end`](Self::end)
    /// was called and the token did not answer within one more second; and [`HsmError::Thread`] if the thread does not
    /// start.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HsmError> {
        let waiting = Arc::clone(&self.waiting);
        waiting.begin();
        let work = move || {
            WAITING.set(Some(Arc::clone(&waiting)));
            let _done = Done(waiting);
            work()
        };
        let thread = thread::Builder::new().name("kc-token".into());
        let thread = thread.stack_size(STACK).spawn(work);
        let thread = thread.map_err(HsmError::Thread)?;
        self.waiting.wait()?;
        thread.join().or_else(|panic| resume_unwind(panic))
    }

    /// Shortens the wait of [`run`](Self::run). From now on, a pending answer may take at most one more second, and
    /// each later answer at most one second.
    pub fn end(&self) {
        self.waiting.state().ended = Some(Instant::now());
        self.waiting.changed.notify_all();
    }
}

impl Waiting {
    fn begin(&self) {
        let mut state = self.state();
        (state.asked, state.done) = (None, false);
    }

    fn wait(&self) -> Result<(), HsmError> {
        let mut state = self.state();
        while !state.done {
            let Some(asked) = state.asked else {
                let changed = self.changed.wait(state);
                state = changed.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = PATIENCE.checked_sub(asked.elapsed());
            let left = left.ok_or(HsmError::Silent)?;
            let ended = state.ended.map(|ended| ended.max(asked).elapsed());
            let left = match ended {
                Some(since) => left.min(GRACE.checked_sub(since).ok_or(HsmError::Ended)?),
                None => left,
            };
            let changed = self.changed.wait_timeout(state, left);
            (state, _) = changed.unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self, since: Option<Instant>) {
        self.state().asked = since;
        self.changed.notify_all();
    }
}

/// Marks the work as done when it returns or panics.
struct Done(Arc<Waiting>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.state().done = true;
        self.0.changed.notify_all();
    }
}

/// A pending answer of a token, with its time limit.
pub(crate) struct Asking(Option<Arc<Waiting>>);

impl Asking {
    /// Starts the time limit of an answer. The limit no longer applies when the returned value is dropped. If the time
    /// limit of another answer is already running, no further limit is started.
    pub(crate) fn start() -> Self {
        let waiting = WAITING.with_borrow(Clone::clone);
        let waiting = waiting.filter(|waiting| waiting.state().asked.is_none());
        if let Some(waiting) = &waiting {
            waiting.asked(Some(Instant::now()));
        }
        Self(waiting)
    }

    /// Restarts the time limit, because the token has answered and is called again.
    pub(crate) fn again() {
        let waiting = WAITING.with_borrow(Clone::clone);
        if let Some(waiting) = waiting.filter(|waiting| waiting.state().asked.is_some()) {
            waiting.asked(Some(Instant::now()));
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if let Some(waiting) = &self.0 {
            waiting.asked(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn only_a_token_is_not_waited_for_once_nobody_wants_to() {
        let patience = Patience::default();
        patience.end();
        // A prompt is not limited.
        assert_eq!(patience.run(|| 7).unwrap(), 7);
        let (_answer, never) = mpsc::channel::<()>();
        let silent = patience.run(move || {
            let _asking = Asking::start();
            never.recv()
        });
        assert!(matches!(silent, Err(HsmError::Ended)), "{silent:?}");
    }

    #[test]
    fn an_answer_within_another_ends_nothing() {
        let asked = Patience::default().run(|| {
            let outer = Asking::start();
            drop(Asking::start());
            Asking::again();
            let asked = |of: &Asking| of.0.as_ref().unwrap().state().asked;
            let meanwhile = asked(&outer);
            let waiting = outer.0.clone().unwrap();
            drop(outer);
            (meanwhile, waiting.state().asked)
        });
        assert!(matches!(asked.unwrap(), (Some(_), None)));
    }

    #[test]
    fn a_panic_is_the_callers() {
        let failing = || Patience::default().run(|| -> () { panic!("of the work") });
        let panic = catch_unwind(AssertUnwindSafe(failing)).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"of the work"));
    }
}
