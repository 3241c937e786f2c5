//! Faults of a node's trust.

use kc::NodeEvent;
use kc::actors::{NodeError, NodeSettings};
use kc::core::chain::{
    Constraints, Demand, MaxAge, TEMPORARY_ROOT, TrustEntry, TrustList, TrustStore,
    UnverifiedChain, UpdateCheck, Usage, accept_chain,
};
use kc::core::keys::{KeyType, Signer};
use kc::core::provision::{Role, compose_update};
use kc::core::store::config::{ConfigStore, NodeConfig, Section, Value};
use kc::keystore_file::{FileConfigStore, NodeFiles, NodeLock, system_rng};

use crate::fleet::{DEADLINE, Fleet};
use crate::wire::Wire;
use crate::world::{
    Party, chain_of, granting, in_secs, issue, new_key, now, provisioned, root_key, trust_in,
};

#[tokio::test(flavor = "multi_thread")]
async fn fault_01_list_updates_received_at_run_time_are_kept() {
    let fleet = Fleet::start().await;
    fleet.provision("reader", Role::Consumer, "root");
    let root = root_key(KeyType::Ed25519);
    let wire = Wire::to(&fleet.broker).await;
    let reader = fleet.open("reader").await;
    let mut events = reader.events();

    // Both sections exist from the start, and after the first update.
    for list in [
        TrustList::Deny,
        TrustList::Deny,
        TrustList::Allow,
        TrustList::Allow,
    ] {
        let key = new_key().verifying_key().clone();
        let entry = TrustEntry::unrestricted(&key);
        let rng = &mut system_rng().unwrap();
        let update = compose_update(list, &entry, in_secs(3600), (&root, None), rng).unwrap();
        wire.send(list.name(), &key.to_bytes(), &update).await;
        let listed = tokio::time::timeout(DEADLINE, events.next()).await.unwrap();
        assert_eq!(
            listed,
            Some(NodeEvent::Listed {
                list,
                key,
                in_use: false
            })
        );
    }

    let trust = reader.status().await.unwrap().trust;
    assert_eq!((trust.roots.len(), trust.denied), (3, 2));
    reader.close_within(DEADLINE).await.unwrap();
    let restarted = fleet.open("reader").await;
    let after = restarted.status().await.unwrap().trust;
    assert_eq!((after.roots, after.denied), (trust.roots, trust.denied));
}

#[test]
fn fault_02_of_two_chains_the_one_that_ends_later_wins_however_long_they_are() {
    let root = root_key(KeyType::Ed25519);
    let (between, node) = (new_key(), new_key());
    let key = node.verifying_key();
    let grant = granting(&[Usage::Encrypt], &["^.*$"]);
    let short = |until| chain_of(&[&issue(&root, key, until, &grant)]);
    let long = |until| {
        chain_of(&[
            &issue(&root, between.verifying_key(), MaxAge::UNLIMITED, &grant),
            &issue(&between, key, until, &grant),
        ])
    };
    let trust = trust_in(root.verifying_key());
    let (early, late) = (in_secs(1000), in_secs(2000));
    let refused = |in_use: &[u8], new: &[u8]| {
        let taken = accept_chain(key, Some(in_use), new, &trust, now());
        taken.err().map(|error| error.check())
    };
    let ends_earlier = Some(Some(UpdateCheck::EndsEarlier));
    assert_eq!(refused(&long(late), &short(early)), ends_earlier);
    assert_eq!(refused(&short(late), &long(early)), ends_earlier);
    assert_eq!(refused(&long(early), &short(late)), None);
    assert_eq!(refused(&short(early), &long(late)), None);
    // 0 means no end, and is therefore the latest of all ends.
    assert_eq!(
        refused(&short(MaxAge::UNLIMITED), &long(late)),
        ends_earlier
    );
    assert_eq!(refused(&long(late), &short(MaxAge::UNLIMITED)), None);
}

#[test]
fn fault_09_an_allowlist_entry_is_limited_to_the_topics_of_the_chain_that_brought_it() {
    let (root, delegate, newcomer) = (root_key(KeyType::Ed25519), new_key(), new_key());
    let mut trust = trust_in(root.verifying_key());
    let grant = granting(&[Usage::Allowlist], &["a", "b"]);
    let delegate_chain = issue(&root, delegate.verifying_key(), in_secs(3600), &grant);
    let delegate_chain = chain_of(&[&delegate_chain]);

    // The entry asks for all rights.
    let entry = TrustEntry::unrestricted(newcomer.verifying_key());
    let signer = (&delegate as &dyn Signer, Some(delegate_chain.as_slice()));
    let rng = &mut system_rng().unwrap();
    let update = compose_update(TrustList::Allow, &entry, in_secs(3600), signer, rng).unwrap();
    let accepted = TrustList::Allow.accept(&update, &trust, now()).unwrap();
    let granted = accepted.constraints().topics.clone();
    assert_eq!(granted, Some(vec!["a".to_owned(), "b".to_owned()]));

    trust.add(TrustList::Allow, accepted);
    let everything = granting(&[Usage::Encrypt], &["^.*$", "a", "c"]);
    let chain = issue(
        &newcomer,
        new_key().verifying_key(),
        in_secs(3600),
        &everything,
    );
    let chain = chain_of(&[&chain]);
    let chain = UnverifiedChain::parse(&chain).unwrap();
    let validate = |topic| {
        let demand = Demand::at(now()).topic(topic).usage(Usage::Encrypt);
        chain.validate(&trust, &demand).map(drop)
    };
    assert_eq!(validate("a"), Ok(()));
    assert_eq!(validate("c").unwrap_err().check().to_string(), "C13");
}

#[test]
fn fault_11_the_post_quantum_half_of_a_signature_cannot_be_stripped() {
    const SLH_DSA_SIGNATURE_LEN: usize = 17_088;
    let (hybrid, classical) = (root_key(KeyType::Hybrid), root_key(KeyType::Ed25519));
    let (hybrid_root, classical_root) = (hybrid.verifying_key(), classical.verifying_key());
    assert_eq!(hybrid_root.ed25519(), classical_root.ed25519());

    let grant = granting(&[Usage::Encrypt], &["^.*$"]);
    let link = issue(&hybrid, new_key().verifying_key(), in_secs(3600), &grant);
    let (whole, stripped) = (
        chain_of(&[&link]),
        chain_of(&[&link[SLH_DSA_SIGNATURE_LEN..]]),
    );
    let validate = |chain: &[u8], trust: &TrustStore| {
        let chain = UnverifiedChain::parse(chain).unwrap();
        let proven = chain.validate(trust, &Demand::at(now()));
        proven.map(drop).map_err(|error| error.check().to_string())
    };
    let both = TrustStore::new(
        Some(vec![
            TrustEntry::unrestricted(classical_root),
            TrustEntry::unrestricted(hybrid_root),
        ]),
        vec![],
    );
    assert_eq!(validate(&whole, &both), Ok(()));
    assert_eq!(validate(&stripped, &both), Err("C04".into()));
    // The operator may allow it; then the attack works.
    let allowed = both.allow_classical_root(true);
    assert_eq!(validate(&stripped, &allowed), Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_11_a_nodes_status_shows_that_the_classical_root_stands_back() {
    let fleet = Fleet::start().await;
    fleet.provision("reader", Role::Consumer, "root");
    let hybrid = root_key(KeyType::Hybrid).verifying_key().clone();
    list(
        &fleet,
        "reader",
        Section::ALLOWLIST,
        &TrustEntry::unrestricted(&hybrid),
    );
    let reader = fleet.open("reader").await;
    let roots = reader.status().await.unwrap().trust.roots;
    assert_eq!(roots, [hybrid]);
    reader.close_within(DEADLINE).await.unwrap();

    let options = fleet
        .options("reader")
        .setting("allow_classical_root", "true");
    let reader = options.open().await.unwrap();
    assert_eq!(reader.status().await.unwrap().trust.roots.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_11_a_hybrid_root_denied_at_run_time_takes_its_classical_half_along() {
    let fleet = Fleet::start().await;
    fleet.provision("reader", Role::Consumer, "root");
    let hybrid = root_key(KeyType::Hybrid);
    let entry = TrustEntry::unrestricted(hybrid.verifying_key());
    list(&fleet, "reader", Section::ALLOWLIST, &entry);
    let options = fleet
        .options("reader")
        .setting("allow_classical_root", "true");
    let reader = options.open().await.unwrap();
    let granted = async || {
        let granted = reader
            .actors()
            .authorize("t", &[Usage::EncryptRequest])
            .await;
        granted.map_err(refused_by)
    };
    assert_eq!(granted().await, Ok(()));

    let wire = Wire::to(&fleet.broker).await;
    let mut events = reader.events();
    let rng = &mut system_rng().unwrap();
    let (list, key) = (TrustList::Deny, hybrid.verifying_key().clone());
    let update = compose_update(list, &entry, in_secs(3600), (&hybrid, None), rng).unwrap();
    wire.send(list.name(), &key.to_bytes(), &update).await;
    let listed = tokio::time::timeout(DEADLINE, events.next()).await.unwrap();
    assert_eq!(
        listed,
        Some(NodeEvent::Listed {
            list,
            key,
            in_use: true
        })
    );

    assert_eq!(granted().await, Err("C04".into()));
    let trust = reader.status().await.unwrap().trust;
    let classical = root_key(KeyType::Ed25519).verifying_key().clone();
    assert!(!trust.roots.contains(&classical));
}

#[test]
fn fault_12_a_fresh_configuration_trusts_nobody_and_escrows_nothing() {
    let fresh = NodeConfig::create("n").unwrap();
    let trust = kc::actors::stored_trust(&fresh, &NodeSettings::default()).unwrap();
    assert_eq!(trust.allowlist(), Some(&[][..]));
    assert_eq!(trust.roots().count(), 0);

    let node = provisioned(Role::Prodcon, &[], KeyType::Ed25519);
    let trust = kc::actors::stored_trust(&node.config, &NodeSettings::default()).unwrap();
    let roots: Vec<_> = trust.roots().map(|(root, _)| root.clone()).collect();
    assert_eq!(roots, [root_key(KeyType::Ed25519).verifying_key().clone()]);
    assert!(node.seed.is_some() && node.escrow.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_12_the_temporary_root_is_never_trusted_even_if_it_is_listed() {
    let fleet = Fleet::start().await;
    fleet.provision("reader", Role::Consumer, "root");
    let temporary = TrustEntry::unrestricted(&TEMPORARY_ROOT);
    list(&fleet, "reader", Section::ALLOWLIST, &temporary);
    let reader = fleet.open("reader").await;
    let roots = reader.status().await.unwrap().trust.roots;
    assert_eq!(roots, [root_key(KeyType::Ed25519).verifying_key().clone()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_16_a_regular_expression_among_a_chains_topics_works() {
    let fleet = Fleet::start().await;
    fleet.provision_for("reader", Role::Consumer, "root", &["^sens".to_owned()]);
    let reader = fleet.open("reader").await;
    let granted = async |topic| {
        let usages = [Usage::EncryptRequest];
        let granted = reader.actors().authorize(topic, &usages).await;
        granted.map_err(refused_by)
    };
    // No certificate follows, so the expression is the remaining constraint of the chain.
    assert_eq!(granted("sensors.berlin").await, Ok(()));
    // The expression is anchored at the start.
    assert_eq!(granted("essens").await, Err("C13".into()));
}

#[test]
fn fault_16_an_expression_that_needs_backtracking_matches_nothing_and_stalls_nobody() {
    let node = |topics: &[&str]| Party::limited_to(Role::Producer, topics);
    let grants = |party: &Party, topic| {
        let demand = Demand::at(now()).topic(topic).usage(Usage::Encrypt);
        party.identity().validate(&party.trust(), &demand).is_ok()
    };
    assert!(grants(&node(&["^(a+)+$"]), "aaa"));
    let evil = format!("{}b", "a".repeat(50_000));
    assert!(!grants(&node(&["^(a+)+$"]), &evil));
    assert!(!grants(&node(&["^(a)\\1"]), "aa"));
    assert!(grants(&node(&["^(a)\\1", "aa"]), "aa"));
}

/// Adds an entry to a list in a node's configuration.
fn list(fleet: &Fleet, node: &str, section: Section<'_>, entry: &TrustEntry) {
    let files = NodeFiles::in_folder(fleet.folder.path(), node).unwrap();
    let store = FileConfigStore::new(NodeLock::acquire(&files).unwrap().into());
    let value = Value::from(entry.as_bytes());
    let added = store.update(&mut |config| config.set(section, "rot1", &value).map(drop));
    added.unwrap();
    assert_eq!(entry.constraints(), &Constraints::default());
}

/// Returns the check that refused a usage.
fn refused_by(error: NodeError) -> String {
    match error {
        NodeError::NotGranted(refusal) => refusal.check().to_string(),
        error => panic!("{error}"),
    }
}
