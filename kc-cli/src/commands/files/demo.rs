//! `kc files demo`: a folder is sent through an embedded broker, which cannot read the files, and arrives.

use std::fs;
use std::path::Path;
use std::time::Duration;

use kc::core::backend::LogStart;
use kc::core::provision::Role;
use kc::core::text::counted;
use kc::{BackendChoice, ClientSettings};
use kc_broker::Broker;
use kc_files::{FileReceiver, FileSender, SendEvent};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::commands::demo::stage::{create_topic, provision};
use crate::error::CliError;
use crate::ui::Ui;

const TOPIC: &str = "demo.files";
const ROOT: &str = "our root password";
/// The text that fills the files. The broker must not have it.
const PHRASE: &str = "the quick brown fox jumps over the lazy dog\n";
/// The time limit of each step.
const DEADLINE: Duration = Duration::from_secs(60);
/// The file that is written while the sender watches the folder.
const LATER: &str = "later.txt";

/// The names and sizes of the files, in bytes.
const FILES: [(&str, usize); 5] = [
    ("empty.dat", 0),
    ("one byte.dat", 1),
    ("run 1/readings.csv", 300_000),
    ("run 1/größe/漢字.dat", 1 << 20),
    ("large.bin", 8 << 20),
];

/// Runs the demonstration.
///
/// # Errors
/// [`CliError`] if a step fails or takes too long, if a file did not arrive as it was sent, or if the broker could read
/// one.
pub(crate) async fn run(ui: Ui) -> Result<(), CliError> {
    let folder = tempfile::tempdir().map_err(CliError::from_error)?;
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    for (name, bytes) in FILES {
        write(&here, name, bytes)?;
    }
    let broker = Broker::builder().start().await?;
    let servers = broker.address().to_string();
    let plain = ClientSettings::parse([
        ("bootstrap_servers", servers.as_str()),
        ("security_protocol", "PLAINTEXT"),
    ])?;
    let plain = BackendChoice::default().backend(plain)?;
    create_topic(plain.as_ref(), TOPIC).await?;
    let sender = provision(
        folder.path(),
        &servers,
        "sender",
        (Role::Producer, &[]),
        ROOT,
    )?;
    let receiver = provision(
        folder.path(),
        &servers,
        "receiver",
        (Role::Consumer, &[]),
        ROOT,
    )?;
    let (sender, receiver) = (sender.open().await?, receiver.open().await?);
    ui.result(format!(
        "broker: {servers}; nodes: sender, receiver; topic: {TOPIC}"
    ))?;

    let begin = Instant::now();
    let (sent, mut events) = mpsc::unbounded_channel();
    let sending = FileSender::new(&here, TOPIC).on_event(move |event| {
        if let SendEvent::Sent { file, .. } = event {
            // The receiver is gone at the end of the demonstration.
            let _ = sent.send(file.to_string());
        }
    });
    let receiving = FileReceiver::new(TOPIC, &there).count(FILES.len() as u64 + 1);
    let story = async {
        for _ in FILES {
            events.recv().await;
        }
        ui.result(format!(
            "sent: {} of a folder with sub-folders",
            counted(FILES.len(), "file")
        ))?;
        write(&here, LATER, PHRASE.len())?;
        events.recv().await;
        ui.result(format!("sent: {LATER}, as soon as it was written"))
    };
    let work = async {
        let received = receiving.run(&receiver, std::future::pending());
        let (told, received) = tokio::join!(story, received);
        told?;
        Ok::<_, CliError>(received?)
    };
    let watching = sending.watch(&sender, std::future::pending());
    let summary = tokio::select! {
        done = timeout(DEADLINE, work) => {
            done.map_err(|_| CliError::unresolved("the files did not arrive in time"))??
        }
        ended = watching => {
            ended?;
            return Err(CliError::failure("the sender ended early"));
        }
    };
    let milliseconds = begin.elapsed().as_millis();
    let (files, bytes) = (
        counted(summary.complete, "file"),
        counted(summary.bytes, "byte"),
    );
    ui.result(format!(
        "received: {files}, {bytes}, after {milliseconds} ms, key exchange included"
    ))?;

    for (name, _) in FILES.into_iter().chain([(LATER, 0)]) {
        if read(&here.join(name))? != read(&there.join(name))? {
            return Err(CliError::failure(format!(
                "{name} did not arrive as it was sent"
            )));
        }
    }
    ui.result("checked: each file has arrived as it was sent, with its name and time of change")?;
    let mut log = plain.log_reader(None).await?;
    log.assign(&[(TOPIC.to_owned(), LogStart::Earliest)])
        .await?;
    let mut records = 0;
    loop {
        let next = log.poll(Duration::from_millis(300)).await?;
        if next.is_empty() {
            break;
        }
        for record in next {
            records += 1;
            let stored = record.value.map(Vec::from).unwrap_or_default();
            let phrase = PHRASE.as_bytes();
            if stored.windows(phrase.len()).any(|window| window == phrase) {
                return Err(CliError::failure("the broker could read a file"));
            }
        }
    }
    log.close().await;
    ui.result(format!(
        "broker: stores {}; none contains readable text",
        counted(records, "record")
    ))?;
    for node in [sender, receiver] {
        // The results are already printed, so an error is ignored.
        let _ = node.close_within(DEADLINE).await;
    }
    broker.shutdown().await;
    Ok(())
}

fn write(folder: &Path, name: &str, bytes: usize) -> Result<(), CliError> {
    let path = folder.join(name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(CliError::from_error)?;
    }
    let content: Vec<u8> = PHRASE.bytes().cycle().take(bytes).collect();
    fs::write(&path, content).map_err(CliError::from_error)
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    fs::read(path).map_err(CliError::from_error)
}
