//! The library between two nodes on an embedded broker.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::future::pending;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kc::core::backend::TopicSpec;
use kc::core::provision::{NewNode, Role, provision_node};
use kc::core::types::TopicScheme;
use kc::keystore_file::{create_node, system_rng};
use kc::{Clock, Node};
use kc_broker::Broker;
use kc_files::{
    CompleteFile, FileProcessor, FileReceiver, FileSender, FilesError, Processed, ReceiveEvent,
};

const DEADLINE: Duration = Duration::from_secs(30);

/// Processes files, and fails at the first attempt of each name that ends with `2`.
#[derive(Default)]
struct Stumbling {
    seen: Mutex<Vec<String>>,
}

impl FileProcessor for Stumbling {
    fn process<'a>(&'a self, file: &'a CompleteFile) -> Processed<'a> {
        Box::pin(async move {
            let name = file.file().to_string();
            assert_eq!(file.read()?, name.as_bytes());
            let mut seen = self.seen.lock().unwrap();
            let is_first = !seen.contains(&name);
            seen.push(name.clone());
            match name.ends_with('2') && is_first {
                true => Err("stumbled".into()),
                false => Ok(()),
            }
        })
    }
}

async fn node(folder: &Path, broker: &Broker, id: &str, role: Role) -> Node {
    let folder = folder.join(id);
    fs::create_dir_all(&folder).unwrap();
    let scheme = TopicScheme::default();
    let new = NewNode::new(id, role, &scheme);
    let (now, mut rng) = (Clock::system().now(), system_rng().unwrap());
    let made = provision_node(&new, b"root", b"provisioning", now, &mut rng).unwrap();
    let files = create_node(&folder, &made, false).unwrap();
    Node::builder(files.config().to_string_lossy())
        .kafka("bootstrap_servers", &broker.address().to_string())
        .kafka("security_protocol", "PLAINTEXT")
        .setting("crypto_sub_interval", "0.2")
        .open()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_file_is_processed_although_the_processor_fails_and_the_receiver_stops() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::builder().start().await.unwrap();
    let sender = node(folder.path(), &broker, "sender", Role::Producer).await;
    let receiver = node(folder.path(), &broker, "receiver", Role::Consumer).await;
    let admin = sender.backend().admin().await.unwrap();
    let topic = TopicSpec::data("t", 2);
    admin.create_topic(&topic, DEADLINE).await.unwrap();
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    fs::create_dir(&here).unwrap();
    let names: BTreeSet<_> = (0..20).map(|number| format!("f{number}")).collect();
    for name in &names {
        fs::write(here.join(name), name).unwrap();
    }
    let sent = FileSender::new(&here, "t").send_all(&sender, pending());
    assert_eq!(sent.await.unwrap().sent, 20);

    let processor = Arc::new(Stumbling::default());
    let complete = Arc::new(Mutex::new(Vec::new()));
    let mut failures = 0;
    loop {
        let complete = Arc::clone(&complete);
        let receiving = FileReceiver::new("t", &there)
            .process(Arc::clone(&processor))
            .on_event(move |event| {
                if let ReceiveEvent::Complete { file, .. } = event {
                    complete.lock().unwrap().push(file.to_string());
                }
            });
        let processed = || {
            let seen = processor.seen.lock().unwrap();
            BTreeSet::from_iter(seen.iter().cloned())
        };
        let all = async {
            while processed() != names {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let run = tokio::time::timeout(DEADLINE, receiving.run(&receiver, all));
        match run.await.unwrap() {
            Ok(_) => break,
            Err(FilesError::Processing { file, .. }) => {
                assert!(file.name().ends_with('2'));
                failures += 1;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(failures, 2);
    let arrived = complete.lock().unwrap().clone();
    assert_eq!(arrived.len(), 20);
    assert_eq!(BTreeSet::from_iter(arrived), names);
    for node in [sender, receiver] {
        node.close().await.unwrap();
    }
    broker.shutdown().await;
}
