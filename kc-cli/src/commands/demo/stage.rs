//! The broker, the nodes and the messages of the demonstration.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kc::core::backend::{Admin, Backend, LogReader, LogStart, TopicSpec};
use kc::core::keys::VerifyingKey;
use kc::core::provision::{NewNode, Role, provision_node};
use kc::core::types::TopicScheme;
use kc::keystore_file::{create_node, system_rng};
use kc::{BackendChoice, ClientSettings, Clock, Custodian, Node, NodeBuilder};
use kc_broker::{Broker, DEFAULT_MEMORY_LIMIT};
use tempfile::TempDir;

use super::DEADLINE;
use crate::error::CliError;

/// The topic of the demonstration.
pub(super) const TOPIC: &str = "demo.messages";

/// The root password of all nodes but the stranger.
const OUR_ROOT: &str = "our root password";

/// The time between two requests for a data key, in seconds. It is short, so that the demonstration soon shows that the
/// third node gets no answer.
const REQUEST_INTERVAL: &str = "0.7";

/// The messages of the demonstration: readable texts that differ in their numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Messages {
    pub(super) count: usize,
    pub(super) size: usize,
}

/// The phrase that fills the messages. The demonstration searches the records of the broker for this phrase.
pub(super) const PHRASE: &[u8] = b"the quick brown fox";

impl Messages {
    /// Returns the message with this number. The first message has the number 0.
    pub(super) fn nth(&self, number: usize) -> Vec<u8> {
        let mut message = Vec::with_capacity(self.size + 64);
        // A write to memory cannot fail.
        let _ = write!(message, "message {} of {}: ", number + 1, self.count);
        while message.len() < self.size {
            message.extend_from_slice(PHRASE);
            message.push(b' ');
        }
        message.truncate(self.size);
        message
    }

    /// Returns the size of all messages together, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.count * self.size
    }
}

/// Returns whether a record contains readable text: the phrase, or the first word of every message.
pub(super) fn is_readable(record: &[u8]) -> bool {
    let contains = |text: &[u8]| record.windows(text.len()).any(|window| window == text);
    contains(PHRASE) || contains(b"message ")
}

/// A broker and three nodes. Each node has a folder of its own, and the nodes are connected only by TCP, through the
/// broker.
pub(super) struct Stage {
    pub(super) sender: Node,
    pub(super) reader: Node,
    pub(super) stranger: Node,
    /// A Kafka client without encryption.
    pub(super) plain: Arc<dyn Backend>,
    broker: Broker,
    folders: Folders,
}

/// The folder that contains the folders of the nodes.
enum Folders {
    Temporary(TempDir),
    Kept(PathBuf),
}

impl Stage {
    pub(super) async fn set(messages: &Messages, keep: Option<PathBuf>) -> Result<Self, CliError> {
        let room = messages
            .bytes()
            .saturating_add(messages.count * 512)
            .saturating_mul(2);
        let broker = Broker::builder().memory_limit(room.max(DEFAULT_MEMORY_LIMIT));
        let broker = broker.start().await?;
        let servers = broker.address().to_string();
        let plain = ClientSettings::parse([
            ("bootstrap_servers", servers.as_str()),
            ("security_protocol", "PLAINTEXT"),
        ])?;
        let plain = BackendChoice::default().backend(plain)?;
        create_topic(plain.as_ref(), TOPIC).await?;

        let folders = match keep {
            Some(folder) => Folders::Kept(folder),
            None => Folders::Temporary(tempfile::tempdir().map_err(CliError::from_error)?),
        };
        let open = async |id, role, root| {
            let options = provision(folders.path(), &servers, id, (role, &[]), root)?;
            Ok::<_, CliError>(options.open().await?)
        };
        Ok(Self {
            sender: open("sender", Role::Producer, OUR_ROOT).await?,
            reader: open("reader", Role::Consumer, OUR_ROOT).await?,
            stranger: open("stranger", Role::Consumer, "another root password").await?,
            plain,
            broker,
            folders,
        })
    }

    pub(super) fn servers(&self) -> String {
        self.broker.address().to_string()
    }

    pub(super) fn folder(&self) -> &Path {
        self.folders.path()
    }

    /// Opens a custodian.
    pub(super) async fn custodian(&self) -> Result<Node, CliError> {
        let options = self.provision("custodian", Role::Prodcon)?;
        Ok(options.custodian(Custodian::new()).open().await?)
    }

    /// Opens a consumer that was not there when the messages were sent.
    pub(super) async fn late_reader(&self) -> Result<Node, CliError> {
        Ok(self.provision("late", Role::Consumer)?.open().await?)
    }

    fn provision(&self, id: &str, role: Role) -> Result<NodeBuilder, CliError> {
        provision(self.folder(), &self.servers(), id, (role, &[]), OUR_ROOT)
    }

    /// Returns a reader that fetches all records of the topic from the first offset on. It belongs to a Kafka client
    /// without encryption.
    pub(super) async fn stored(&self) -> Result<Box<dyn LogReader>, CliError> {
        let mut reader = self.plain.log_reader(None).await?;
        reader
            .assign(&[(TOPIC.to_owned(), LogStart::Earliest)])
            .await?;
        Ok(reader)
    }

    /// Closes the nodes, then the broker.
    pub(super) async fn clear(self) {
        for node in [self.sender, self.reader, self.stranger] {
            // The results are already printed, so an error is ignored.
            let _ = node.close_within(DEADLINE).await;
        }
        self.broker.shutdown().await;
    }
}

impl Folders {
    fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Kept(folder) => folder,
        }
    }
}

/// Returns the fingerprint of a node's root of trust, for people to compare.
pub(super) fn root_of(node: &Node) -> String {
    let root = node.actors().roots().next();
    root.map(VerifyingKey::fingerprint).unwrap_or_default()
}

/// Makes a node whose chain grants these topics, or all topics if there are none. Returns the options that open it.
pub(in crate::commands) fn provision(
    folder: &Path,
    servers: &str,
    id: &str,
    (role, topics): (Role, &[String]),
    root_password: &str,
) -> Result<NodeBuilder, CliError> {
    let folder = folder.join(id);
    fs::create_dir_all(&folder).map_err(CliError::from_error)?;
    let scheme = TopicScheme::default();
    let node = NewNode {
        topics,
        ..NewNode::new(id, role, &scheme)
    };
    let (root, provisioning) = (root_password.as_bytes(), b"provisioning password");
    let (now, mut rng) = (Clock::system().now(), system_rng()?);
    let node = provision_node(&node, root, provisioning, now, &mut rng)?;
    let files = create_node(&folder, &node, false)?;
    Ok(Node::builder(files.config().to_string_lossy())
        .kafka("bootstrap_servers", servers)
        .kafka("security_protocol", "PLAINTEXT")
        .setting("crypto_sub_interval", REQUEST_INTERVAL))
}

/// Creates a topic with one partition.
pub(in crate::commands) async fn create_topic(
    plain: &dyn Backend,
    topic: &str,
) -> Result<(), CliError> {
    let spec = TopicSpec::data(topic, 1);
    let admin = plain.admin().await?;
    let created = Admin::create_topic(&*admin, &spec, DEADLINE).await;
    admin.close().await;
    Ok(created?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_their_size_differ_and_are_readable() {
        for size in [16, 100, 1024] {
            let messages = Messages { count: 3, size };
            assert_eq!(messages.nth(0).len(), size);
            assert_ne!(messages.nth(0), messages.nth(1));
            assert!(is_readable(&messages.nth(2)));
        }
        assert!(!is_readable(&[0x93; 100]));
    }
}
