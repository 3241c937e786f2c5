use std::collections::{BTreeSet, HashMap};

use tokio::time::Instant;

use crate::path::FilePath;
use crate::scan::Stamp;

/// The files that wait or are on their way. No file is on its way twice.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// Files that wait, by the time at which they are due.
    due: BTreeSet<(Instant, FilePath)>,
    waiting: HashMap<FilePath, Waiting>,
    /// Files on their way, and whether they have changed since.
    active: HashMap<FilePath, bool>,
}

#[derive(Debug)]
struct Waiting {
    due: Instant,
    seen: Seen,
}

/// What is known of a file that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing.
    Nothing,
    /// Its writer has closed it.
    Closed,
    /// The file as it was when it was last looked at.
    As(Stamp),
}

impl Schedule {
    /// Lets a file wait until `due`.
    pub(super) fn at(&mut self, path: FilePath, due: Instant, seen: Seen) {
        if let Some(changed) = self.active.get_mut(&path) {
            *changed = true;
            return;
        }
        let before = self.waiting.insert(path.clone(), Waiting { due, seen });
        if let Some(before) = before {
            self.due.remove(&(before.due, path.clone()));
        }
        self.due.insert((due, path));
    }

    /// Returns whether a file waits or is on its way.
    pub(super) fn has(&self, path: &FilePath) -> bool {
        self.waiting.contains_key(path) || self.active.contains_key(path)
    }

    /// Returns the time at which the next file is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Returns at most `room` files that are due. They wait until [`begin`](Self::begin).
    pub(super) fn take_due(&self, room: usize) -> Vec<FilePath> {
        let now = Instant::now();
        let due = self.due.iter().take_while(|(due, _)| *due <= now);
        due.take(room).map(|(_, path)| path.clone()).collect()
    }

    /// Begins to send a file. Returns what is known of it, or `None` if it is on its way already.
    pub(super) fn begin(&mut self, path: &FilePath) -> Option<Seen> {
        if self.active.contains_key(path) {
            return None;
        }
        let waiting = self.waiting.remove(path);
        if let Some(waiting) = &waiting {
            self.due.remove(&(waiting.due, path.clone()));
        }
        self.active.insert(path.clone(), false);
        Some(waiting.map_or(Seen::Nothing, |waiting| waiting.seen))
    }

    /// Ends the sending of a file. Returns whether it has changed since it began.
    pub(super) fn end(&mut self, path: &FilePath) -> bool {
        self.active.remove(path).unwrap_or_default()
    }

    /// Returns the files on their way.
    pub(super) fn active(&self) -> impl Iterator<Item = &FilePath> {
        self.active.keys()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_file_is_on_its_way_once_and_its_changes_are_not_forgotten() {
        let mut schedule = Schedule::default();
        let (now, path): (_, FilePath) = (Instant::now(), "a".parse().unwrap());
        schedule.at(path.clone(), now + Duration::from_secs(60), Seen::Nothing);
        assert!(schedule.take_due(1).is_empty());
        schedule.at(path.clone(), now, Seen::Closed);
        assert_eq!((schedule.len(), schedule.next()), (1, Some(now)));
        assert_eq!(schedule.take_due(1), std::slice::from_ref(&path));
        assert_eq!(schedule.begin(&path), Some(Seen::Closed));
        assert_eq!(schedule.begin(&path), None);
        schedule.at(path.clone(), now, Seen::Closed);
        assert!(schedule.is_empty() && schedule.has(&path));
        assert!(schedule.end(&path));
        assert_eq!(schedule.begin(&path), Some(Seen::Nothing));
        assert!(!schedule.end(&path));
    }
}
