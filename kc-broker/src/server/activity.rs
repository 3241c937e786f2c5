//! Which connections are silent, and for how long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::AbortHandle;

/// Of a connection that is being served.
const BUSY: u64 = u64::MAX;

/// Counts the moments in which connections fell silent.
#[derive(Debug, Default)]
pub(super) struct Moments(Arc<AtomicU64>);

impl Moments {
    pub(super) fn activity(&self) -> Activity {
        let activity = Activity {
            moments: Arc::clone(&self.0),
            silent_since: Arc::new(AtomicU64::new(BUSY)),
        };
        activity.rests();
        activity
    }
}

/// What a connection does.
#[derive(Clone, Debug)]
pub(super) struct Activity {
    moments: Arc<AtomicU64>,
    silent_since: Arc<AtomicU64>,
}

impl Activity {
    /// A request is being served.
    pub(super) fn works(&self) {
        self.silent_since.store(BUSY, Ordering::Relaxed);
    }

    /// The next request is awaited.
    pub(super) fn rests(&self) {
        let moment = self.moments.fetch_add(1, Ordering::Relaxed);
        self.silent_since.store(moment, Ordering::Relaxed);
    }
}

/// The connections that are open.
#[derive(Debug, Default)]
pub(super) struct Open(Vec<(AbortHandle, Activity)>);

impl Open {
    pub(super) fn add(&mut self, task: AbortHandle, activity: Activity) {
        self.0.push((task, activity));
    }

    /// How many there are.
    pub(super) fn count(&mut self) -> usize {
        self.0.retain(|(task, _)| !task.is_finished());
        self.0.len()
    }

    /// Closes the one that has been silent longest; false if none is silent.
    pub(super) fn close_silent(&mut self) -> bool {
        let since = |activity: &Activity| activity.silent_since.load(Ordering::Relaxed);
        let silent = self.0.iter().enumerate();
        let silent = silent.map(|(place, (_, activity))| (since(activity), place));
        let longest = silent.filter(|(since, _)| *since != BUSY).min();
        let Some((_, place)) = longest else {
            return false;
        };
        self.0.swap_remove(place).0.abort();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_one_that_has_been_silent_longest_makes_room() {
        let (moments, mut open) = (Moments::default(), Open::default());
        let tasks: Vec<_> = (0..3)
            .map(|_| tokio::spawn(std::future::pending::<()>()))
            .collect();
        let [first, second, third] = [(); 3].map(|()| moments.activity());
        for (task, activity) in tasks.iter().zip([&first, &second, &third]) {
            open.add(task.abort_handle(), activity.clone());
        }
        first.works();
        second.works();
        second.rests();
        assert_eq!(open.count(), 3);
        assert!(open.close_silent());
        let mut tasks = tasks.into_iter();
        let (serving, silent, longest) = (tasks.next(), tasks.next(), tasks.next());
        assert!(longest.unwrap().await.unwrap_err().is_cancelled());
        assert!(open.close_silent());
        assert!(silent.unwrap().await.unwrap_err().is_cancelled());
        assert!(!open.close_silent(), "the last is being served");
        assert!(!serving.unwrap().is_finished());
        assert_eq!(open.count(), 1);
    }
}
