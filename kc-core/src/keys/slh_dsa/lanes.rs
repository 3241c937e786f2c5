//! SLH-DSA-SHAKE-128f (FIPS 205) with eight hashes at once. The results are those of `fips205`, to the byte.
//!
//! The names are those of FIPS 205. Values of *n* = 16 bytes are [`Node`]s; [`Nodes`] are eight of them, word by word, as the
//! hash takes and gives them. Lane `i` of a hash works for chain, leaf or tree `i` of eight. Sizes and the order of all operations are public; only the contents of nodes are secret.
#![expect(
    clippy::indexing_slicing,
    reason = "the numbers of lanes, chains, leaves and heights are below the constants that are the lengths"
)]

use std::{array, mem};

use kc_kernels::{Engine, KECCAK_LANES};
use zeroize::Zeroize;

use super::{HEDGE_LEN, PUBLIC_LEN, SECRET_LEN, SIGNATURE_LEN};

/// *n*: the length of a node, in bytes.
const N: usize = 16;
/// *d*: the number of layers of the hypertree.
const LAYERS: u32 = 22;
/// *h'*: the height of a tree of a layer.
const HEIGHT: u32 = 3;
/// The number of leaves of a tree of a layer: as many as there are lanes.
const LEAVES: usize = 1 << HEIGHT;
/// *len*: the number of chains of a one-time signature.
const CHAINS: usize = 35;
/// *w* − 1: the number of steps of a whole chain.
const STEPS: u32 = 15;
/// *k*: the number of trees of FORS.
const FORS_TREES: usize = 33;
/// *a*: the height of a tree of FORS.
const FORS_HEIGHT: u32 = 6;
/// The number of leaves of a tree of FORS.
const FORS_LEAVES: usize = 1 << FORS_HEIGHT;
/// *m*: the length of the digest of a message, in bytes.
const DIGEST: usize = 34;
/// The length of the part of the digest that selects the leaves of FORS, in bytes.
const FORS_DIGEST: usize = 25;

const _: () = assert!(LEAVES == KECCAK_LANES);

/// The words of 64 bits of a block of SHAKE256.
const RATE: usize = 17;
/// The number of the first word behind the public seed and the address.
const INPUT: usize = 6;

/// A value of [`N`] bytes, as little-endian words.
type Node = [u64; 2];
/// A word of each lane.
type Lanes = [u64; KECCAK_LANES];
/// The nodes of all lanes: their first words, and their second ones.
type Nodes = [Lanes; 2];
/// Eight states of Keccak, word by word.
type States = [Lanes; 25];

/// The types of addresses (FIPS 205, table 1).
#[derive(Clone, Copy)]
#[repr(u32)]
enum Kind {
    WotsHash = 0,
    WotsPk = 1,
    Tree = 2,
    ForsTree = 3,
    ForsRoots = 4,
    WotsPrf = 5,
    ForsPrf = 6,
}

/// The address of a hash (FIPS 205, section 4.2).
#[derive(Clone, Copy)]
struct Address {
    layer: u32,
    tree: u64,
    kind: Kind,
    key_pair: u32,
    /// The number of the chain, or the height in the tree.
    chain: u32,
    /// The step in the chain, or the index in the tree.
    step: u32,
}

impl Address {
    fn new(layer: u32, tree: u64, kind: Kind) -> Self {
        Self {
            layer,
            tree,
            kind,
            key_pair: 0,
            chain: 0,
            step: 0,
        }
    }

    /// Returns the 32 bytes as little-endian words.
    fn words(&self) -> [u64; 4] {
        let (high, low) = ((self.tree >> 32) as u32, self.tree as u32);
        [
            big_endian(self.layer, 0),
            big_endian(high, low),
            big_endian(self.kind as u32, self.key_pair),
            big_endian(self.chain, self.step),
        ]
    }
}

/// Returns two big-endian numbers as a little-endian word.
fn big_endian(first: u32, second: u32) -> u64 {
    u64::from(first.swap_bytes()) | u64::from(second.swap_bytes()) << 32
}

/// The addresses of all lanes, word by word.
struct Addresses([Lanes; 4]);

impl Addresses {
    /// Returns the address of each lane.
    fn of(address: impl Fn(usize) -> Address) -> Self {
        let words: [[u64; 4]; KECCAK_LANES] = array::from_fn(|lane| address(lane).words());
        Self(array::from_fn(|word| words.map(|of_lane| of_lane[word])))
    }

    /// Returns the same address for all lanes.
    fn all(address: Address) -> Self {
        Self(address.words().map(|word| [word; KECCAK_LANES]))
    }

    /// Changes the chains and steps.
    fn set(&mut self, chain: impl Fn(usize) -> u32, step: u32) {
        self.0[3] = array::from_fn(|lane| big_endian(chain(lane), step));
    }
}

/// The tweakable hashes F, H, T and PRF, eight at once: all of them are SHAKE256 of the public seed, an address and nodes.
struct Hasher {
    engine: Engine,
    public_seed: Node,
    /// The states, which are wiped when the hasher is dropped.
    words: States,
}

impl Drop for Hasher {
    fn drop(&mut self) {
        self.words.zeroize();
    }
}

impl Hasher {
    /// Hashes `count` nodes in each lane. `words_of` returns a word of each node, by the number of the nodes and that of the word.
    fn hash(
        &mut self,
        addresses: &Addresses,
        count: usize,
        words_of: impl Fn(usize, usize) -> Lanes,
    ) -> Nodes {
        let words = &mut self.words;
        *words = [[0; KECCAK_LANES]; 25];
        for (word, value) in words.iter_mut().zip(self.public_seed) {
            *word = [value; KECCAK_LANES];
        }
        words[2..INPUT].copy_from_slice(&addresses.0);
        let mut at = INPUT;
        for number in 0..count {
            for half in 0..2 {
                for (word, node) in words[at].iter_mut().zip(words_of(number, half)) {
                    *word ^= node;
                }
                at += 1;
                if at == RATE {
                    self.engine.keccak_f(words);
                    at = 0;
                }
            }
        }
        // The domain of SHAKE and the padding.
        words[at].iter_mut().for_each(|word| *word ^= 0x1f);
        words[RATE - 1].iter_mut().for_each(|word| *word ^= 1 << 63);
        self.engine.keccak_f(words);
        [words[0], words[1]]
    }

    /// Derives a secret node in each lane: PRF.
    fn secrets(&mut self, addresses: &Addresses, secret_seed: &Node) -> Nodes {
        self.hash(addresses, 1, |_, half| [secret_seed[half]; KECCAK_LANES])
    }

    /// Hashes one node in each lane: F.
    fn one(&mut self, addresses: &Addresses, nodes: &Nodes) -> Nodes {
        self.hash(addresses, 1, |_, half| nodes[half])
    }

    /// Hashes pairs of nodes to their parents: H. `address` returns the address of a parent.
    fn parents(&mut self, nodes: &mut Vec<Node>, address: impl Fn(usize) -> Address) {
        let count = nodes.len() / 2;
        for from in (0..count).step_by(KECCAK_LANES) {
            let parent = |lane: usize| (from + lane).min(count - 1);
            let addresses = Addresses::of(|lane| address(parent(lane)));
            let hashed = self.hash(&addresses, 2, |child, half| {
                array::from_fn(|lane| nodes[2 * parent(lane) + child][half])
            });
            // The parents of this round stand before the children that are still needed.
            for (lane, node) in each(&hashed).enumerate().take(count - from) {
                nodes[from + lane] = node;
            }
        }
        nodes.truncate(count);
    }
}

fn nodes_of(node: impl Fn(usize) -> Node) -> Nodes {
    let nodes: [Node; KECCAK_LANES] = array::from_fn(node);
    array::from_fn(|half| nodes.map(|node| node[half]))
}

fn node(nodes: &Nodes, lane: usize) -> Node {
    nodes.map(|words| words[lane])
}

fn each(nodes: &Nodes) -> impl Iterator<Item = Node> {
    (0..KECCAK_LANES).map(|lane| node(nodes, lane))
}

fn node_of(bytes: &[u8; N]) -> Node {
    let (words, _) = bytes.as_chunks();
    array::from_fn(|at| words.get(at).map_or(0, |word| u64::from_le_bytes(*word)))
}

fn bytes_of(node: &Node) -> [u8; N] {
    let mut bytes = [0; N];
    for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(node) {
        *bytes = word.to_le_bytes();
    }
    bytes
}

/// Returns part `at` of a key or signature.
fn part(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.as_chunks().0.get(at).copied().unwrap_or_default()
}

/// Returns up to 136 bytes of SHAKE256 of the concatenated `parts`. Works in one lane, and wipes its state.
fn shake<const LEN: usize>(engine: Engine, parts: &[&[u8]]) -> [u8; LEN] {
    const { assert!(LEN <= 8 * RATE) };
    let mut words: States = [[0; KECCAK_LANES]; 25];
    let mut at = 0;
    for byte in parts.iter().copied().flatten() {
        words[at / 8][0] ^= u64::from(*byte) << (8 * (at % 8));
        at += 1;
        if at == 8 * RATE {
            engine.keccak_f(&mut words);
            at = 0;
        }
    }
    words[at / 8][0] ^= 0x1f << (8 * (at % 8));
    words[RATE - 1][0] ^= 1 << 63;
    engine.keccak_f(&mut words);
    let output = array::from_fn(|at| (words[at / 8][0] >> (8 * (at % 8))) as u8);
    words.zeroize();
    output
}

/// What the digest of a message selects.
struct Selected {
    /// A leaf of each tree of FORS.
    leaves: [u32; FORS_TREES],
    /// The tree of layer 0.
    tree: u64,
    /// The leaf of this tree.
    leaf: u32,
}

impl Selected {
    /// Hashes the message, with the prefix of pure signatures and an empty context (FIPS 205, section 10.2.1).
    fn by(engine: Engine, randomizer: &[u8; N], public: &[u8; PUBLIC_LEN], message: &[u8]) -> Self {
        let digest: [u8; DIGEST] = shake(engine, &[randomizer, public, &[0, 0], message]);
        let bits = |from: usize| {
            let two = |at: usize| u32::from(digest.get(at).copied().unwrap_or_default());
            let both = two(from / 8) << 8 | two(from / 8 + 1);
            both >> (16 - FORS_HEIGHT as usize - from % 8) & (FORS_LEAVES as u32 - 1)
        };
        let mut tree = [0; 8];
        tree.copy_from_slice(&digest[FORS_DIGEST..FORS_DIGEST + 8]);
        Self {
            leaves: array::from_fn(|number| bits(number * FORS_HEIGHT as usize)),
            tree: u64::from_be_bytes(tree) & (u64::MAX >> 1),
            leaf: u32::from(digest[DIGEST - 1]) & (LEAVES as u32 - 1),
        }
    }
}

/// Returns the steps to which a one-time signature reveals the chains (FIPS 205, algorithm 7).
fn steps_of(node: &Node) -> [u32; CHAINS] {
    let bytes = bytes_of(node);
    let mut steps = [0; CHAINS];
    let mut sum = 0;
    for (number, step) in steps.iter_mut().enumerate().take(2 * N) {
        let byte = u32::from(bytes[number / 2]);
        *step = if number % 2 == 0 {
            byte >> 4
        } else {
            byte & 15
        };
        sum += STEPS - *step;
    }
    for (place, step) in steps[2 * N..].iter_mut().enumerate() {
        *step = sum >> (4 * (2 - place)) & 15;
    }
    steps
}

/// Makes the one-time keys of a tree of a layer. Returns its leaves, and the one-time signature of `leaf` that reveals the
/// chains at `steps`.
fn tree_leaves(
    hasher: &mut Hasher,
    secret_seed: &Node,
    (layer, tree): (u32, u64),
    leaf: u32,
    steps: &[u32; CHAINS],
) -> (Nodes, [Node; CHAINS]) {
    let addresses = |kind| {
        Addresses::of(|lane| Address {
            key_pair: lane as u32,
            ..Address::new(layer, tree, kind)
        })
    };
    let mut of_secrets = addresses(Kind::WotsPrf);
    let mut of_steps = addresses(Kind::WotsHash);
    let mut signature = [[0; 2]; CHAINS];
    let mut ends = [[[0; KECCAK_LANES]; 2]; CHAINS];
    for (chain, end) in ends.iter_mut().enumerate() {
        let number = chain as u32;
        of_secrets.set(|_| number, 0);
        let mut nodes = hasher.secrets(&of_secrets, secret_seed);
        for step in 0..=STEPS {
            if step == steps[chain] {
                signature[chain] = node(&nodes, leaf as usize);
            }
            if step < STEPS {
                of_steps.set(|_| number, step);
                let mut next = hasher.one(&of_steps, &nodes);
                mem::swap(&mut nodes, &mut next);
                next.zeroize();
            }
        }
        *end = nodes;
    }
    let leaves = hasher.hash(&addresses(Kind::WotsPk), CHAINS, |chain, half| {
        ends[chain][half]
    });
    (leaves, signature)
}

/// Returns the root of a tree of a layer, and the siblings on the way to it from `leaf`.
fn tree_root(
    hasher: &mut Hasher,
    leaves: &Nodes,
    (layer, tree): (u32, u64),
    leaf: u32,
) -> (Node, [Node; HEIGHT as usize]) {
    let mut nodes: Vec<_> = each(leaves).collect();
    let siblings = array::from_fn(|height| {
        let sibling = nodes[(leaf as usize >> height) ^ 1];
        hasher.parents(&mut nodes, |index| Address {
            chain: height as u32 + 1,
            step: index as u32,
            ..Address::new(layer, tree, Kind::Tree)
        });
        sibling
    });
    (nodes[0], siblings)
}

fn hasher(engine: Engine, public_seed: [u8; N]) -> Hasher {
    Hasher {
        engine,
        public_seed: node_of(&public_seed),
        words: [[0; KECCAK_LANES]; 25],
    }
}

/// Returns the root of the hypertree for the secret seed and the public seed (FIPS 205, algorithm 18).
pub(super) fn root(engine: Engine, secret_seed: &[u8; N], public_seed: &[u8; N]) -> [u8; N] {
    let mut hasher = hasher(engine, *public_seed);
    let mut secret_seed = node_of(secret_seed);
    let place = (LAYERS - 1, 0);
    let (leaves, _) = tree_leaves(&mut hasher, &secret_seed, place, 0, &[0; CHAINS]);
    secret_seed.zeroize();
    bytes_of(&tree_root(&mut hasher, &leaves, place, 0).0)
}

/// Returns the signature of a message (FIPS 205, algorithms 19 and 22).
pub(super) fn sign(
    engine: Engine,
    secret: &[u8; SECRET_LEN],
    message: &[u8],
    hedge: &[u8; HEDGE_LEN],
) -> Vec<u8> {
    let randomizer: [u8; N] = shake(engine, &[&secret[N..2 * N], hedge, &[0, 0], message]);
    let public = secret.last_chunk().copied().unwrap_or([0; PUBLIC_LEN]);
    let selected = Selected::by(engine, &randomizer, &public, message);
    let mut hasher = hasher(engine, part(&public, 0));
    let mut secret_seed = secret.first_chunk().map(node_of).unwrap_or_default();
    let mut signature = Vec::with_capacity(SIGNATURE_LEN);
    signature.extend_from_slice(&randomizer);

    let mut signed = fors_sign(&mut hasher, &secret_seed, &selected, &mut signature);
    let (mut tree, mut leaf) = (selected.tree, selected.leaf);
    for layer in 0..LAYERS {
        let place = (layer, tree);
        let steps = steps_of(&signed);
        let (leaves, chains) = tree_leaves(&mut hasher, &secret_seed, place, leaf, &steps);
        let (root, siblings) = tree_root(&mut hasher, &leaves, place, leaf);
        for node in chains.iter().chain(&siblings) {
            signature.extend_from_slice(&bytes_of(node));
        }
        signed = root;
        (tree, leaf) = (tree >> HEIGHT, tree as u32 & (LEAVES as u32 - 1));
    }
    secret_seed.zeroize();
    signature
}

/// Appends the signature of FORS, and returns its public key (FIPS 205, algorithms 16 and 17).
fn fors_sign(
    hasher: &mut Hasher,
    secret_seed: &Node,
    selected: &Selected,
    signature: &mut Vec<u8>,
) -> Node {
    let at = |kind, height, index| Address {
        key_pair: selected.leaf,
        chain: height,
        step: index,
        ..Address::new(0, selected.tree, kind)
    };
    let mut roots = [[0; 2]; FORS_TREES];
    for (number, root) in roots.iter_mut().enumerate() {
        let selected = selected.leaves[number] as usize;
        let mut nodes = Vec::with_capacity(FORS_LEAVES);
        for from in (0..FORS_LEAVES).step_by(KECCAK_LANES) {
            let lanes = |kind| {
                Addresses::of(|lane| at(kind, 0, (number * FORS_LEAVES + from + lane) as u32))
            };
            let mut secrets = hasher.secrets(&lanes(Kind::ForsPrf), secret_seed);
            if let Some(lane) = selected
                .checked_sub(from)
                .filter(|lane| *lane < KECCAK_LANES)
            {
                signature.extend_from_slice(&bytes_of(&node(&secrets, lane)));
            }
            nodes.extend(each(&hasher.one(&lanes(Kind::ForsTree), &secrets)));
            secrets.zeroize();
        }
        for height in 0..FORS_HEIGHT {
            signature.extend_from_slice(&bytes_of(&nodes[(selected >> height) ^ 1]));
            let first = (number * FORS_LEAVES) >> (height + 1);
            hasher.parents(&mut nodes, |index| {
                at(Kind::ForsTree, height + 1, (first + index) as u32)
            });
        }
        *root = nodes[0];
    }
    fors_key(hasher, selected, &roots)
}

fn fors_key(hasher: &mut Hasher, selected: &Selected, roots: &[Node; FORS_TREES]) -> Node {
    let address = Address {
        key_pair: selected.leaf,
        ..Address::new(0, selected.tree, Kind::ForsRoots)
    };
    let same = |tree: usize, half: usize| [roots[tree][half]; KECCAK_LANES];
    let hashed = hasher.hash(&Addresses::all(address), FORS_TREES, same);
    node(&hashed, 0)
}

/// Returns whether a signature is that of the message (FIPS 205, algorithms 20 and 24).
pub(super) fn verify(
    engine: Engine,
    public: &[u8; PUBLIC_LEN],
    message: &[u8],
    signature: &[u8; SIGNATURE_LEN],
) -> bool {
    let selected = Selected::by(engine, &part(signature, 0), public, message);
    let mut hasher = hasher(engine, part(public, 0));
    let part_of = |at: usize| node_of(&part(signature, at));

    let mut signed = fors_recover(&mut hasher, &selected, &part_of);
    let mut at = 1 + FORS_TREES * (FORS_HEIGHT as usize + 1);
    let (mut tree, mut leaf) = (selected.tree, selected.leaf);
    for layer in 0..LAYERS {
        let place = (layer, tree);
        signed = leaf_recover(&mut hasher, &signed, place, leaf, |chain| {
            part_of(at + chain)
        });
        at += CHAINS;
        for height in 0..HEIGHT {
            let address = Address {
                chain: height + 1,
                step: leaf >> (height + 1),
                ..Address::new(layer, tree, Kind::Tree)
            };
            let pair = pair(leaf >> height, signed, part_of(at));
            let same = |child: usize, half: usize| [pair[child][half]; KECCAK_LANES];
            signed = node(&hasher.hash(&Addresses::all(address), 2, same), 0);
            at += 1;
        }
        (tree, leaf) = (tree >> HEIGHT, tree as u32 & (LEAVES as u32 - 1));
    }
    bytes_of(&signed) == part(public, 1)
}

/// Returns a node and its sibling in their order. `index` is the index of the node.
fn pair(index: u32, node: Node, sibling: Node) -> [Node; 2] {
    if index.is_multiple_of(2) {
        [node, sibling]
    } else {
        [sibling, node]
    }
}

/// Returns the public key of FORS for the signature of which `part_of` returns the parts.
fn fors_recover(
    hasher: &mut Hasher,
    selected: &Selected,
    part_of: &impl Fn(usize) -> Node,
) -> Node {
    let mut roots = [[0; 2]; FORS_TREES];
    for from in (0..FORS_TREES).step_by(KECCAK_LANES) {
        let number = |lane: usize| (from + lane).min(FORS_TREES - 1);
        let leaf = |lane: usize| selected.leaves[number(lane)];
        let part =
            |lane: usize, at: usize| part_of(1 + number(lane) * (FORS_HEIGHT as usize + 1) + at);
        let lanes = |height: u32| {
            Addresses::of(|lane| Address {
                key_pair: selected.leaf,
                chain: height,
                step: ((number(lane) * FORS_LEAVES) as u32 + leaf(lane)) >> height,
                ..Address::new(0, selected.tree, Kind::ForsTree)
            })
        };
        let mut nodes = hasher.one(&lanes(0), &nodes_of(|lane| part(lane, 0)));
        for height in 0..FORS_HEIGHT {
            let pairs: [[Node; 2]; KECCAK_LANES] = array::from_fn(|lane| {
                let sibling = part(lane, height as usize + 1);
                pair(leaf(lane) >> height, node(&nodes, lane), sibling)
            });
            nodes = hasher.hash(&lanes(height + 1), 2, |child, half| {
                pairs.map(|pair| pair[child][half])
            });
        }
        for (root, node) in roots[from..].iter_mut().zip(each(&nodes)) {
            *root = node;
        }
    }
    fors_key(hasher, selected, &roots)
}

/// Returns the leaf for the one-time signature of a node, of which `revealed` returns the parts.
fn leaf_recover(
    hasher: &mut Hasher,
    signed: &Node,
    (layer, tree): (u32, u64),
    leaf: u32,
    revealed: impl Fn(usize) -> Node,
) -> Node {
    let address = |kind| Address {
        key_pair: leaf,
        ..Address::new(layer, tree, kind)
    };
    let steps = steps_of(signed);
    // Chains that need about as many steps go together. The steps are public.
    let mut order: [usize; CHAINS] = array::from_fn(|chain| chain);
    order.sort_by_key(|chain| steps[*chain]);
    let mut ends = [[0; 2]; CHAINS];
    for group in order.chunks(KECCAK_LANES) {
        let chain = |lane: usize| group[lane.min(group.len() - 1)];
        let mut nodes = nodes_of(|lane| revealed(chain(lane)));
        let mut addresses = Addresses::all(address(Kind::WotsHash));
        for step in steps[chain(0)]..STEPS {
            addresses.set(|lane| chain(lane) as u32, step);
            let hashed = hasher.one(&addresses, &nodes);
            for (words, hashed) in nodes.iter_mut().zip(hashed) {
                for (lane, word) in words.iter_mut().enumerate() {
                    if steps[chain(lane)] <= step {
                        *word = hashed[lane];
                    }
                }
            }
        }
        for (chain, node) in group.iter().zip(each(&nodes)) {
            ends[*chain] = node;
        }
    }
    let same = |chain: usize, half: usize| [ends[chain][half]; KECCAK_LANES];
    let addresses = Addresses::all(address(Kind::WotsPk));
    node(&hasher.hash(&addresses, CHAINS, same), 0)
}
