//! Roots of trust and nodes with fixed keys.

use std::sync::LazyLock;
use std::time::Duration;

use kc_core::chain::{
    Certificate, Constraints, Demand, Identity, MaxAge, Trust, TrustEntry, TrustStore,
    UnverifiedChain, Usage, encode_certificate, encode_chain,
};
use kc_core::keys::{Signer, SigningKey, VerifyingKey};
use kc_core::secret::Secret;
use kc_core::types::{Now, RootTopic, Timestamp};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// The only root topic.
pub const TOPIC: &str = "t";
/// The time, as in most of the protocol's vectors.
const WALL: f64 = 1_700_000_000.25;

/// All usages.
pub const USAGES: [Usage; 5] = [
    Usage::Encrypt,
    Usage::EncryptRequest,
    Usage::EncryptSubscribe,
    Usage::Allowlist,
    Usage::Denylist,
];

/// Roots of trust, and the keys that they certify.
pub struct World {
    /// A root without constraints, a root with some, and a hybrid root.
    pub roots: [SigningKey; 3],
    /// Keys that fuzzed certificates may name so that the next certificate is signed.
    pub members: [SigningKey; 3],
    /// A key on the denylist.
    pub denied: SigningKey,
    /// The node under test.
    pub node: SigningKey,
    /// A certificate of the first member, signed by the hybrid root.
    pub hybrid_link: Vec<u8>,
    /// An authorised node, and its chain.
    pub peer: (SigningKey, Vec<u8>),
    /// The lists of the node under test, and its own chain. Its own chain and that of the first member are validated.
    pub trust: Trust,
}

/// The only world.
pub static WORLD: LazyLock<World> = LazyLock::new(World::new);

/// Returns a generator that always produces the same values.
#[must_use]
pub fn rng() -> StdRng {
    StdRng::seed_from_u64(1)
}

/// Returns the time at the beginning.
#[must_use]
pub fn start() -> Now {
    Now {
        wall: Timestamp::from_secs(WALL).expect("finite"),
        mono: Duration::from_secs(100),
    }
}

/// Returns the only root topic.
#[must_use]
pub fn topic() -> RootTopic {
    TOPIC.into()
}

/// Returns the certificate of a node, without its signature.
#[must_use]
pub fn node_certificate(key: &VerifyingKey) -> Vec<u8> {
    let constraints = Constraints {
        topics: Some(vec!["^.*$".into()]),
        usages: Some(USAGES.map(|usage| usage.as_str().into()).to_vec()),
        path_length: Some(1),
    };
    let until = MaxAge::until(start().wall.plus(Duration::from_secs(1_000_000)));
    certificate(until, &constraints, key)
}

fn certificate(until: MaxAge, constraints: &Constraints, key: &VerifyingKey) -> Vec<u8> {
    let write_key = |writer: &mut _| key.write_to(writer);
    encode_certificate(until, &constraints.encode(), write_key, (0, |_| {}))
}

/// Signs with a classical key, which needs no randomness.
#[must_use]
pub fn sign(key: &SigningKey, certificate: &[u8]) -> Vec<u8> {
    key.sign(certificate, &mut rng())
        .expect("a key in memory signs")
}

fn encoded(links: &[Vec<u8>]) -> Vec<u8> {
    encode_chain(&links.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_ed25519_seed(&seed(number))
}

fn seed<const N: usize>(number: u8) -> Secret<N> {
    Secret::fill_with(|secret| secret.fill(number))
}

impl World {
    fn new() -> Self {
        let roots = [
            key(1),
            key(2),
            SigningKey::from_hybrid_seeds(&seed(3), &seed(3)),
        ];
        let (node, peer, denied) = (key(20), key(21), key(30));
        let chain_of = |key: &SigningKey| {
            encode_chain(&[&sign(&roots[0], &node_certificate(key.verifying_key()))])
        };
        let restricted = Constraints {
            topics: Some(vec!["^[a-t]".into(), "^t.".into()]),
            usages: Some(vec!["^key-encrypt".into(), "key-denylist".into()]),
            path_length: Some(3),
        };
        let unrestricted = TrustEntry::unrestricted;
        let narrow = certificate(MaxAge::UNLIMITED, &restricted, roots[1].verifying_key());
        let allowlist = vec![
            unrestricted(roots[0].verifying_key()),
            TrustEntry::parse(&narrow).expect("a certificate"),
            unrestricted(roots[2].verifying_key()),
        ];
        let denylist = vec![unrestricted(denied.verifying_key())];
        let own = Identity::new(node.verifying_key().clone(), Some(chain_of(&node)));
        let mut trust = Trust::new(TrustStore::new(Some(allowlist), denylist), vec![own]);
        while trust.poll_effect(start()).is_some() {}
        let members = [key(10), key(11), key(12)];
        let certificate = node_certificate(members[0].verifying_key());
        let hybrid_link = roots[2].sign(&certificate, &mut rng());
        let hybrid_link = hybrid_link.expect("a key in memory signs");
        let member = encode_chain(&[&hybrid_link]);
        let valid = trust.validate(&member, &Demand::at(start().wall));
        valid.expect("the first member's chain");
        let chain = chain_of(&peer);
        Self {
            peer: (peer, chain),
            hybrid_link,
            members,
            roots,
            denied,
            node,
            trust,
        }
    }

    /// Signs certificates as a chain: the first by `signer`, each other by the key in the certificate before it, if
    /// this world has that key.
    fn links<'a>(&'a self, mut signer: &'a SigningKey, certificates: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut links = Vec::new();
        for certificate in certificates {
            links.push(sign(signer, certificate));
            let named = Certificate::parse(certificate).ok();
            let named = named.and_then(|certificate| certificate.keys.signer().cloned());
            signer = named.and_then(|key| self.secret_of(&key)).unwrap_or(signer);
        }
        links
    }

    /// Returns a chain of certificates without signatures, signed from a root of trust: the restricted one if `narrow`.
    #[must_use]
    pub fn issue(&self, narrow: bool, certificates: &[u8]) -> Option<Vec<u8>> {
        let certificates = UnverifiedChain::parse(certificates).ok()?;
        let root = &self.roots[usize::from(narrow)];
        Some(encoded(&self.links(root, certificates.links())))
    }

    /// Returns a chain of certificates without signatures, signed from the hybrid root, which certifies the first
    /// member.
    #[must_use]
    pub fn issue_below_hybrid(&self, certificates: &[u8]) -> Option<Vec<u8>> {
        let certificates = UnverifiedChain::parse(certificates).ok()?;
        let mut links = vec![self.hybrid_link.clone()];
        links.extend(self.links(&self.members[0], certificates.links()));
        Some(encoded(&links))
    }

    /// Returns the message of the authorised node with this last certificate: a request, a reply or an update.
    #[must_use]
    pub fn from_peer(&self, leaf: &[u8]) -> Vec<u8> {
        let (key, chain) = &self.peer;
        let chain = UnverifiedChain::parse(chain).expect("a chain");
        chain.extended(&sign(key, leaf))
    }

    fn secret_of(&self, key: &VerifyingKey) -> Option<&SigningKey> {
        let others = [&self.denied, &self.node, &self.peer.0];
        let mut known = self.roots[..2].iter().chain(&self.members).chain(others);
        known.find(|known| known.verifying_key() == key)
    }
}
