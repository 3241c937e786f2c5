use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::error::FilesError;

/// The maximum number of reports that wait. If there are more, the whole folder is scanned again.
const MAX_WAITING: usize = 8192;

/// A report about a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A file was closed after writing, or got its name: it is ready.
    Ready(PathBuf),
    /// A file or folder changed: it may change further.
    Changed(PathBuf),
    /// Reports were lost.
    Rescan,
}

/// Reports about a folder and its sub-folders, while it exists.
#[derive(Debug)]
pub(crate) struct Watch {
    notices: mpsc::Receiver<Notice>,
    /// Set if reports were lost.
    lost: Arc<AtomicBool>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    pub(crate) fn start(folder: &Path) -> Result<Self, FilesError> {
        let (send, notices) = mpsc::channel(MAX_WAITING);
        let lost = Arc::new(AtomicBool::new(false));
        let report = {
            let lost = Arc::clone(&lost);
            move |event: notify::Result<Event>| {
                for notice in read(event) {
                    if send.try_send(notice).is_err() {
                        lost.store(true, Ordering::Release);
                    }
                }
            }
        };
        let failed = |source| FilesError::Watch {
            path: folder.to_owned(),
            source,
        };
        let mut watcher = notify::recommended_watcher(report).map_err(failed)?;
        watcher
            .watch(folder, RecursiveMode::Recursive)
            .map_err(failed)?;
        Ok(Self {
            notices,
            lost,
            _watcher: watcher,
        })
    }

    /// Waits for the next report. Cancel safe.
    pub(crate) async fn next(&mut self) -> Notice {
        let notice = self.notices.recv().await;
        if self.lost.swap(false, Ordering::AcqRel) {
            return Notice::Rescan;
        }
        notice.unwrap_or(Notice::Rescan)
    }
}

fn read(event: notify::Result<Event>) -> Vec<Notice> {
    let Ok(event) = event else {
        return vec![Notice::Rescan];
    };
    if event.need_rescan() {
        return vec![Notice::Rescan];
    }
    let notice: fn(PathBuf) -> Notice = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Notice::Ready,
        EventKind::Create(_)
        | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Name(_) | ModifyKind::Any) => {
            Notice::Changed
        }
        _ => return Vec::new(),
    };
    event.paths.into_iter().map(notice).collect()
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, Flag};

    use super::*;

    #[test]
    fn closed_and_renamed_files_are_ready_and_an_overflow_asks_for_a_scan() {
        let notices = |kind| read(Ok(Event::new(kind).add_path("a".into())));
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        assert_eq!(notices(closed), [Notice::Ready("a".into())]);
        let renamed = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        assert_eq!(notices(renamed), [Notice::Ready("a".into())]);
        let created = EventKind::Create(CreateKind::File);
        assert_eq!(notices(created), [Notice::Changed("a".into())]);
        let read_only = EventKind::Access(AccessKind::Close(AccessMode::Read));
        assert!(notices(read_only).is_empty());
        let overflow = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        assert_eq!(read(Ok(overflow)), [Notice::Rescan]);
    }
}
