//! Files through Kafka, end-to-end encrypted: a folder here becomes a folder there, complete, once, and without anyone
//! watching. The messages are those of OpenMSIStream, with its chunks of 512 KiB.
//!
//! | start with | to |
//! |---|---|
//! | [`FileSender`] | send the files of a folder, once or as they are written |
//! | [`FileReceiver`] | receive files into a folder, and process each |
//! | [`Reproducer`] | send records again that could not be opened |
//! | [`FolderStatus`] | see what was sent, and which chunks are missing |
//! | [`wire`] | read and write chunks with any Kafka client |
//!
//! ```no_run
//! use kc_files::{FileReceiver, FileSender};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), kc_files::FilesError> {
//!     let (microscope, archive) = (kc::Node::open("microscope").await?, kc::Node::open("archive").await?);
//!     let sent = FileSender::new("scans", "images").send_all(&microscope, std::future::pending()).await?;
//!     let receiver = FileReceiver::new("images", "incoming").count(sent.sent);
//!     let received = receiver.run(&archive, std::future::pending()).await?;
//!     assert_eq!(received.complete, sent.sent);
//!     Ok(())
//! }
//! ```
//!
//! | module | concern |
//! |---|---|
//! | `path` | names of files, which are never trusted |
//! | `wire` | chunks in records |
//! | `sender`, `scan`, `watch`, `selection` | which files are sent, and when |
//! | `registry` | what was sent |
//! | `receiver` | from records to durable chunks |
//! | `ledger` | which chunks are there |
//! | `folder` | temporary files and names on disk |
//! | `undecryptable`, `reproduce` | records that could not be opened, in files |

mod database;
mod digest;
mod error;
mod event;
mod folder;
mod ledger;
mod path;
mod processor;
mod receiver;
mod registry;
mod reproduce;
mod scan;
mod selection;
mod sender;
mod status;
mod undecryptable;
mod watch;
pub mod wire;

pub use error::FilesError;
pub use event::{ReceiveEvent, ReproduceEvent, SendEvent};
pub use folder::OnConflict;
pub use path::{FilePath, PathError, STATE_FOLDER};
pub use processor::{CompleteFile, FileProcessor, Processed};
pub use receiver::{FileReceiver, ReceiveSummary};
pub use reproduce::{ReproduceSummary, Reproducer};
pub use sender::{FileSender, SendSummary};
pub use status::{FailedFile, FolderStatus, IncompleteFile, MAX_LISTED, ReceiveStatus, SendStatus};
