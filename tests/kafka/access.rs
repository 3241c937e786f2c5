//! The accesses that nodes need on Kafka with its StandardAuthorizer: all of them together are enough, and none of them
//! can be left out.

use std::sync::LazyLock;
use std::time::Duration;

use kc::core::access::{Access, Purpose, ResourceKind, Tasks};
use kc::core::backend::{Backend, Operation};
use kc::core::provision::Role;
use kc::core::types::{ManagementTopics, TopicScheme};
use kc::{BackendChoice, NodeRoles, Policy, Reason};
use kc_testkit::kafka::{Kafka, Listener, Version};
use krafka::admin::{
    AclBinding, AclOperation, AclPatternType, AclPermissionType, AclResourceType, CreateAclsOptions,
};
use libtest_mimic::Trial;
use tokio::task::JoinSet;

use crate::backends::FULL;
use crate::clients::{DEADLINE, record};
use crate::fleet::{Fleet, create_root};
use crate::trial;

/// The time in which a message must not arrive if an access is missing.
const SILENCE: Duration = Duration::from_secs(8);
const PASSWORD: &str = "acl-secret";
/// The number of groups of users on the broker, one for each test.
const GROUPS: usize = 40;

/// The roles of the nodes in a group.
type Cast = &'static [Role];
const PAIR: Cast = &[Role::Producer, Role::Consumer];
/// The consumer gets data keys only through the controller.
const CONTROLLED: Cast = &[Role::Producer, Role::ConsumerLimited, Role::Controller];

static BROKER: LazyLock<Kafka> = LazyLock::new(|| {
    let roles = [
        Role::Producer,
        Role::Consumer,
        Role::ConsumerLimited,
        Role::Controller,
    ];
    let users = (0..GROUPS).flat_map(|group| roles.map(|role| user(role, group)));
    let users: String = users
        .map(|user| format!(" user_{user}=\"{PASSWORD}\""))
        .collect();
    Kafka::builder(Version::V4)
        .sasl()
        .auto_create_topics(false)
        .property(
            "authorizer.class.name",
            "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        )
        .property("super.users", "User:ANONYMOUS")
        .property(
            "listener.name.sasl_plaintext.plain.sasl.jaas.config",
            format!("org.apache.kafka.common.security.plain.PlainLoginModule required{users};"),
        )
        .start()
        .unwrap()
});

/// Returns the accesses of a node in a group.
fn accesses(role: Role, group: usize) -> Vec<Access> {
    let user = user(role, group);
    let topics = [format!("acl{group}.a")];
    let tasks = Tasks {
        role,
        creates_topics: false,
        parks: true,
        topics: &topics,
        scheme: &TopicScheme::default(),
        management: &ManagementTopics::default(),
        group: &user,
        control_group: &format!("{user}.kafkacrypto"),
    };
    tasks.accesses()
}

fn user(role: Role, group: usize) -> String {
    format!("{role}{group}")
}

pub(crate) fn trials() -> Vec<Trial> {
    let mut groups = 0..GROUPS;
    let mut next = || groups.next().unwrap();
    let mut trials: Vec<Trial> = Vec::new();
    for (name, cast) in [("pair", PAIR), ("controlled", CONTROLLED)] {
        for choice in FULL {
            let group = next();
            let name = format!("access::{choice}::all_accesses_are_enough::{name}");
            trials.push(trial(name, move || exchange(choice, cast, group, None)));
        }
    }
    for (role, cast) in [
        (Role::Producer, PAIR),
        (Role::Consumer, PAIR),
        (Role::ConsumerLimited, CONTROLLED),
        (Role::Controller, CONTROLLED),
    ] {
        let all = accesses(role, 0).into_iter().enumerate();
        for (number, access) in all.filter(|(_, access)| access.purpose == Purpose::Messages) {
            let group = next();
            let (operation, topic) = (access.operation.name(), access.name);
            let name = format!("access::needed::{role}::{operation}_{topic}");
            let missing = Some((role, number));
            trials.push(trial(name, move || {
                exchange(BackendChoice::Pure, cast, group, missing)
            }));
        }
    }
    trials
}

/// Asks the broker which accesses of a node it refuses. Returns their numbers.
async fn refused(backend: &dyn Backend, role: Role, group: usize) -> Vec<usize> {
    let admin = backend.admin().await.unwrap();
    let mut refused = Vec::new();
    for (number, access) in accesses(role, group).into_iter().enumerate() {
        let allowed = match access.kind {
            ResourceKind::Topic => admin.allowed_on_topic(&access.name, DEADLINE).await,
            ResourceKind::Group => admin.allowed_on_group(&access.name, DEADLINE).await,
        };
        // The management topics do not exist.
        if let Some(allowed) = allowed.unwrap()
            && !allowed.contains(&access.operation)
        {
            refused.push(number);
        }
    }
    admin.close().await;
    refused
}

fn binding(user: &str, access: Access) -> AclBinding {
    let resource = match access.kind {
        ResourceKind::Topic => AclResourceType::Topic,
        ResourceKind::Group => AclResourceType::Group,
    };
    let operation = match access.operation {
        Operation::Read => AclOperation::Read,
        Operation::Write => AclOperation::Write,
        Operation::Create => AclOperation::Create,
    };
    let principal = format!("User:{user}");
    let allow = AclPermissionType::Allow;
    AclBinding::new(resource, access.name, principal, "*", operation, allow)
        // krafka 0.28.1 sends 3 for this, which is LITERAL in Kafka's protocol.
        .with_pattern_type(AclPatternType::Prefixed)
}

/// Sends a message from the first node of a group to the second. If an access is missing, the message must not arrive.
async fn exchange(choice: BackendChoice, cast: Cast, group: usize, missing: Option<(Role, usize)>) {
    let address = BROKER.address(Listener::Plaintext);
    let admin = krafka::Kafka::builder(&address)
        .connect()
        .await
        .unwrap()
        .admin();
    for role in cast.iter().copied() {
        let granted = accesses(role, group).into_iter().enumerate();
        let granted = granted.filter(|(number, _)| missing != Some((role, *number)));
        let bindings = granted.map(|(_, access)| binding(&user(role, group), access));
        let created = admin.create_acls(bindings.collect(), CreateAclsOptions::default());
        for (binding, created) in created.await.unwrap() {
            created.unwrap_or_else(|error| panic!("{binding:?}: {error}"));
        }
    }
    let fleet = Fleet::on(BROKER.address(Listener::SaslPlaintext));
    let open = |role: Role| {
        let user = user(role, group);
        let options = fleet.options(&user, role, choice).roles(NodeRoles {
            controller: role == Role::Controller,
            ..NodeRoles::default()
        });
        let options = options
            .setting("mgmt_subscribe_interval", "0.5")
            .kafka("security_protocol", "SASL_PLAINTEXT")
            .kafka("sasl_mechanism", "PLAIN")
            .kafka("sasl_plain_username", &user)
            .kafka("sasl_plain_password", PASSWORD);
        async move { options.open().await.unwrap() }
    };
    let superuser = Fleet::on(address);
    let by = superuser.open("admin", Role::Producer, choice).await;
    create_root(&by, &format!("acl{group}")).await;
    by.close_within(DEADLINE).await.unwrap();

    let topic = format!("acl{group}.a");
    let mut nodes = Vec::new();
    for role in cast {
        nodes.push(open(*role).await);
    }
    let [sender, reader, ..] = nodes.as_slice() else {
        panic!("a cast has a producer and a consumer");
    };
    let meeting = async {
        let producer = sender.producer().await.ok()?;
        producer
            .enqueue(record(&topic, "hello"))
            .await
            .ok()?
            .await
            .ok()?;
        let consumer = reader.consumer([&topic]).from_beginning();
        let consumer = consumer.undecryptable(Reason::Unanswered, Policy::Park);
        consumer.join().await.ok()?.next().await?.ok()
    };
    let wait = if missing.is_some() { SILENCE } else { DEADLINE };
    let met = tokio::time::timeout(wait, meeting).await.ok().flatten();
    if choice == BackendChoice::Pure {
        for (node, role) in nodes.iter().zip(cast.iter().copied()) {
            let missing = missing
                .filter(|(of, _)| *of == role)
                .map(|(_, number)| number);
            assert_eq!(
                refused(node.backend().as_ref(), role, group).await,
                Vec::from_iter(missing)
            );
        }
    }
    assert_eq!(met.is_some(), missing.is_none(), "{met:?}");
    let mut closing = JoinSet::new();
    for node in nodes {
        closing.spawn(async move { node.close_within(SILENCE).await });
    }
    closing.join_all().await;
}
