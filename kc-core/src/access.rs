//! The access to topics and groups of a Kafka cluster that nodes need (Kafka's ACLs).

use crate::backend::Operation;
use crate::chain::Usage;
use crate::provision::Role;
use crate::types::{ManagementTopics, SideTopic, TopicScheme};

/// The kind of a resource of a Kafka cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceKind {
    /// A topic.
    Topic,
    /// A consumer group.
    Group,
}

/// The purpose of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Messages. Without the access, the node cannot send or open messages.
    Messages,
    /// Requests to controllers. Without the access, nodes that are behind a controller do not get the requests.
    Controllers,
    /// Updates of chains and lists. Without the access, the node does not learn of them.
    Updates,
    /// Positions in the control topics. Without the access, the node reads the control topics from their beginning at
    /// each start.
    Positions,
    /// Creation of side topics. Without the access, the side topics must exist.
    Creation,
    /// Parked records. Without the access, the node cannot park records that it cannot open.
    Parking,
}

impl Purpose {
    /// Returns the consequence if the access is missing.
    #[must_use]
    pub fn without(self) -> &'static str {
        match self {
            Self::Messages => "the node cannot send or open messages",
            Self::Controllers => "controllers do not get the node's requests",
            Self::Updates => "the node does not learn of new chains and list entries",
            Self::Positions => {
                "the node reads the control topics from their beginning at each start"
            }
            Self::Creation => "the side topics must exist before the node runs",
            Self::Parking => "the node cannot park records that it cannot open",
        }
    }
}

/// An access that a node needs: an operation on a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Access {
    /// The kind of the resource.
    pub kind: ResourceKind,
    /// The name of the resource.
    pub name: String,
    /// The operation.
    pub operation: Operation,
    /// The purpose.
    pub purpose: Purpose,
}

/// The tasks of a node, and the names that its accesses depend on.
#[derive(Clone, Debug)]
pub struct Tasks<'a> {
    /// The role of the node.
    pub role: Role,
    /// True if the node may create missing side topics. Otherwise they must exist, for example made by
    /// `kc topics create`.
    pub creates_topics: bool,
    /// True if the node parks records that it cannot open.
    pub parks: bool,
    /// The data topics.
    pub topics: &'a [String],
    /// The names of side topics, and the root topics of copies.
    pub scheme: &'a TopicScheme,
    /// The names of management topics.
    pub management: &'a ManagementTopics,
    /// The consumer group of messages.
    pub group: &'a str,
    /// The consumer group of the control topics.
    pub control_group: &'a str,
}

impl Tasks<'_> {
    /// Returns the accesses that the node needs, each once, in order. A node that produces or consumes nothing has no
    /// data topics.
    #[must_use]
    pub fn accesses(&self) -> Vec<Access> {
        let mut needed = Vec::new();
        let access = |kind, name: &str, operation, purpose| Access {
            kind,
            name: name.to_owned(),
            operation,
            purpose,
        };
        let mut need = |topic: &str, operation, purpose| {
            needed.push(access(ResourceKind::Topic, topic, operation, purpose));
        };
        let is_controller = self.role == Role::Controller;
        let has_messages = !matches!(self.role, Role::Controller | Role::ChainServer);
        let grants = |usage| has_messages && self.role.usages().contains(&usage);
        let produces = grants(Usage::Encrypt);
        let requests = grants(Usage::EncryptRequest);
        let consumes = requests || grants(Usage::EncryptSubscribe);
        for topic in self.topics {
            if produces {
                need(topic, Operation::Write, Purpose::Messages);
            }
            if consumes {
                need(topic, Operation::Read, Purpose::Messages);
            }
            let root = self.scheme.root_of(topic);
            let mut side = |side, operation, purpose| {
                let name = self.scheme.side_topic(&root, side);
                need(&name, operation, purpose);
            };
            if produces {
                side(SideTopic::Requests, Operation::Read, Purpose::Messages);
                side(SideTopic::Keys, Operation::Write, Purpose::Messages);
            }
            if consumes {
                side(SideTopic::Keys, Operation::Read, Purpose::Messages);
                let only_way = if requests {
                    Purpose::Controllers
                } else {
                    Purpose::Messages
                };
                side(SideTopic::Subscriptions, Operation::Write, only_way);
            }
            if requests || is_controller {
                side(SideTopic::Requests, Operation::Write, Purpose::Messages);
            }
            if is_controller {
                side(SideTopic::Subscriptions, Operation::Read, Purpose::Messages);
            }
            if self.creates_topics && (produces || consumes || is_controller) {
                for each in [
                    SideTopic::Requests,
                    SideTopic::Subscriptions,
                    SideTopic::Keys,
                ] {
                    side(each, Operation::Create, Purpose::Creation);
                }
            }
        }
        if self.parks && consumes {
            let roots = self.topics.iter().map(|topic| self.scheme.root_of(topic));
            for parked in roots.filter_map(|root| self.scheme.parked_topic(&root)) {
                for operation in [Operation::Read, Operation::Write, Operation::Create] {
                    need(&parked, operation, Purpose::Parking);
                }
            }
        }
        for name in self.management.names() {
            need(name, Operation::Read, Purpose::Updates);
        }
        let [chains, lists @ ..] = self.management.names();
        let published: &[&str] = match self.role {
            Role::ChainServer => &[chains],
            Role::Administrator => &lists,
            _ => &[],
        };
        for name in published {
            need(name, Operation::Write, Purpose::Updates);
        }
        let group = |name, purpose| access(ResourceKind::Group, name, Operation::Read, purpose);
        needed.push(group(self.control_group, Purpose::Positions));
        if consumes {
            needed.push(group(self.group, Purpose::Messages));
        }
        needed.sort();
        needed.dedup();
        needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accesses(role: Role, creates_topics: bool) -> Vec<String> {
        let topics = ["t.a".to_owned(), "t.b".to_owned()];
        let tasks = Tasks {
            role,
            creates_topics,
            parks: role == Role::Consumer && creates_topics,
            topics: &topics,
            scheme: &TopicScheme::default(),
            management: &ManagementTopics::default(),
            group: "g",
            control_group: "g.kafkacrypto",
        };
        let accesses = tasks.accesses().into_iter();
        let text = |access: Access| format!("{} {}", access.operation.name(), access.name);
        accesses.map(text).collect()
    }

    const ALWAYS: [&str; 3] = ["Read allowlist", "Read chains", "Read denylist"];

    #[test]
    fn a_producer_answers_requests_and_a_consumer_sends_them() {
        let producer = accesses(Role::Producer, false);
        let mut expected = ALWAYS.to_vec();
        expected.extend(["Write t.a", "Write t.b", "Write t.keys", "Read t.reqs"]);
        expected.push("Read g.kafkacrypto");
        assert_eq!(producer, expected);

        let consumer = accesses(Role::Consumer, false);
        let mut expected = ALWAYS.to_vec();
        expected.extend([
            "Read t.a",
            "Read t.b",
            "Read t.keys",
            "Write t.reqs",
            "Write t.subs",
        ]);
        expected.extend(["Read g", "Read g.kafkacrypto"]);
        assert_eq!(consumer, expected);
    }

    #[test]
    fn a_consumer_that_parks_may_create_the_topic() {
        let consumer = accesses(Role::Consumer, true);
        for operation in ["Read", "Write", "Create"] {
            assert!(
                consumer.contains(&format!("{operation} t.parked")),
                "{consumer:?}"
            );
        }
        let producer = accesses(Role::Producer, true);
        assert!(!producer.iter().any(|access| access.ends_with("t.parked")));
    }

    #[test]
    fn other_roles_reach_no_messages() {
        for role in [Role::Controller, Role::ChainServer, Role::Administrator] {
            let accesses = accesses(role, true);
            assert!(
                !accesses.iter().any(|it| it.ends_with("t.a")),
                "{accesses:?}"
            );
            let creates = accesses.contains(&"Create t.keys".to_owned());
            assert_eq!(creates, role == Role::Controller);
        }
        let controller = accesses(Role::Controller, false);
        assert!(
            controller.contains(&"Read t.subs".to_owned()),
            "{controller:?}"
        );
        let server = accesses(Role::ChainServer, false);
        assert!(server.contains(&"Write chains".to_owned()), "{server:?}");
        let administrator = accesses(Role::Administrator, false);
        assert!(
            administrator.contains(&"Write denylist".to_owned()),
            "{administrator:?}"
        );
    }
}
