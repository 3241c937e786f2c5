//! Certificate chains: as they are, or signed from a root of trust by keys that the certificates name.

#![no_main]

use kc_core::chain::{
    Certificate, CertificateKeys, ChainError, Demand, TrustStore, UnverifiedChain, Usage,
    ValidatedChain, encode_chain, multimatch,
};
use kc_core::work::{Work, measure};
use kc_fuzz::bounds::assert_bounded;
use kc_fuzz::choices;
use kc_fuzz::world::{TOPIC, USAGES, WORLD, start};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choices, rest)) = choices(data) else {
        return;
    };
    let bytes = match choices & 3 {
        0 => Some(rest.to_vec()),
        1 => WORLD.issue(false, rest),
        2 => WORLD.issue(true, rest),
        _ => WORLD.issue_below_hybrid(rest),
    };
    let Some(bytes) = bytes else { return };
    let usage = USAGES[usize::from(choices >> 2) % USAGES.len()];
    let mut demand = Demand::at(start().wall).usage(usage);
    if choices & 0x80 == 0 {
        demand = demand.topic(TOPIC);
    }
    looked_at(&bytes);
    validated(&bytes, &demand, usage, choices & 3 == 3);
});

/// Checks that parsing a chain verifies no signatures of uncertified keys, and evaluates no expressions.
fn looked_at(bytes: &[u8]) {
    let (chain, work) = measure(|| {
        let chain = UnverifiedChain::parse(bytes);
        if let Ok(chain) = &chain {
            let _ = (
                chain.peek_key(),
                chain.peek_signer(),
                chain.self_revocation(),
            );
        }
        chain
    });
    assert_eq!(work, Work::default());
    let Ok(chain) = chain else { return };
    let again = encode_chain(chain.links());
    assert_eq!(UnverifiedChain::parse(&again).as_ref(), Ok(&chain));
    let (_, work) = measure(|| chain.claimed_key());
    assert!(work.ed25519 < chain.links().len() as u64 && work.regexes == 0);
}

fn validated(bytes: &[u8], demand: &Demand<'_>, usage: Usage, is_hybrid: bool) {
    let mut trust = WORLD.trust.clone();
    let (first, work) = measure(|| trust.validate(bytes, demand));
    assert_bounded(work, bytes, trust.lists(), 0);
    // Once with remembered signatures and once without, which takes milliseconds under a hybrid root.
    let (again, work) = measure(|| trust.validate(bytes, demand));
    assert_bounded(work, bytes, trust.lists(), 0);
    assert_eq!(again, first);
    if !is_hybrid {
        let parsed = UnverifiedChain::parse(bytes);
        let plain = parsed.and_then(|chain| chain.validate(WORLD.trust.lists(), demand));
        assert_eq!(plain, first);
    }
    match &first {
        Ok(valid) => assert_granted(bytes, valid, demand, usage),
        Err(ChainError::NoAllowlist) => panic!("there is one"),
        Err(_) => {}
    }
}

/// Checks that each certificate of a valid chain, verified separately, has a correct signature and grants the demand.
fn assert_granted(bytes: &[u8], valid: &ValidatedChain, demand: &Demand<'_>, usage: Usage) {
    let lists: &TrustStore = WORLD.trust.lists();
    let chain = UnverifiedChain::parse(bytes).expect("it is valid");
    let links = chain.links();
    assert!(lists.roots().any(|(root, _)| Some(root) == valid.root()));
    assert!(valid.path().len() >= links.len() && valid.path().len() <= links.len() + 1);
    assert!(!valid.max_age().is_over(demand.now));
    assert!(valid.grants(usage));
    if let CertificateKeys::Single(_) = valid.keys() {
        assert!(!lists.denies(valid.path()));
    }
    let mut named = (false, demand.topic.is_none());
    let root = lists.roots().find(|(root, _)| Some(*root) == valid.root());
    let (_, entry) = root.expect("it is a root");
    let mut allowed = vec![entry.constraints().clone()];
    for (index, (link, key)) in links.iter().zip(valid.path()).enumerate() {
        let body = key.verify(link).expect("a right signature");
        let certificate = Certificate::parse(body).expect("well-formed");
        assert!(!certificate.max_age.is_over(demand.now));
        let own = certificate
            .restrictions
            .evaluate()
            .expect("evaluated before");
        let follow = i64::try_from(links.len() - 1 - index).expect("few");
        assert!(own.path_length.is_none_or(|length| length >= follow));
        allowed.push(own);
    }
    for own in &allowed {
        // A list with an invalid expression may have been matched in another order.
        let grants = |wanted: &str, list: &Vec<String>| multimatch(wanted, list) != Ok(false);
        if let Some(usages) = &own.usages {
            assert!(grants(usage.as_str(), usages));
            named.0 = true;
        }
        if let (Some(topics), Some(topic)) = (&own.topics, demand.topic) {
            assert!(grants(topic, topics));
            named.1 = true;
        }
    }
    assert_eq!(named, (true, true), "what no list names is not granted");
}
