//! The vocabulary that every other module shares: topics, key ids and times.

mod key_id;
mod management;
mod now;
mod timestamp;
mod topic;

pub use key_id::{KEY_ID_LEN, KeyId};
pub use management::{ManagementTopic, ManagementTopics};
pub use now::Now;
pub use timestamp::Timestamp;
pub use topic::{RootTopic, SideTopic, TopicScheme, is_topic_name};
