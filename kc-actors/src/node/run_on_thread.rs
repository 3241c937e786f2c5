use std::convert::Infallible;
use std::panic::resume_unwind;
use std::{io, thread};

use tokio::sync::oneshot;

/// Does what may wait for a disk or a token on a thread of its own, and awaits it by whatever runtime there is. Its panic is
/// the caller's.
///
/// # Errors
/// The thread does not start.
pub(super) async fn run_on_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (ends, end) = oneshot::channel::<Infallible>();
    let work = move || {
        // Dropped when the work has ended, however it does.
        let _ends = ends;
        work()
    };
    let thread = thread::Builder::new().name("kc-open".into()).spawn(work)?;
    // Nothing is ever sent.
    let _ = end.await;
    thread.join().or_else(|panic| resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::thread::current;

    use super::*;

    #[test]
    fn work_is_done_elsewhere_without_any_runtime() {
        let worker = pollster::block_on(run_on_thread(|| current().id())).unwrap();
        assert_ne!(worker, current().id());
    }

    #[test]
    fn a_panic_is_the_callers() {
        let failing = || pollster::block_on(run_on_thread(|| -> () { panic!("of the work") }));
        let panic = catch_unwind(AssertUnwindSafe(failing)).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"of the work"));
    }
}
