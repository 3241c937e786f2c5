//! Makes the seeds of the fuzz targets from the protocol's vectors: `cargo run --example seeds`, in this folder.
//!
//! Certificates lose their signatures, and name keys of the fuzz targets' world, which signs them again.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kc_core::chain::{Certificate, UnverifiedChain, encode_chain};
use kc_core::exchange::encode_key_ids;
use kc_core::keys::{Signer, VerifyingKey};
use kc_core::provision::self_revocation;
use kc_core::types::{KeyId, SideTopic};
use kc_core::wire::Writer;
use kc_fuzz::node::{Node, RANDOM0};
use kc_fuzz::world::{WORLD, node_certificate, rng};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The maximum length of a seed, in bytes: fuzzers get further with short ones.
const MAX_LEN: usize = 3000;

/// The seeds of one target, by their hash.
#[derive(Default)]
struct Seeds(BTreeMap<String, Vec<u8>>);

impl Seeds {
    fn add(&mut self, choices: u8, parts: &[&[u8]]) {
        let seed = [&[choices], parts.concat().as_slice()].concat();
        self.add_as_is(seed);
    }

    fn add_as_is(&mut self, seed: Vec<u8>) {
        if seed.len() <= MAX_LEN {
            let hash = Sha256::digest(&seed);
            let name: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
            self.0.insert(name, seed);
        }
    }

    fn write(&self, target: &str) {
        let folder = Path::new("seeds").join(target);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        for (name, seed) in &self.0 {
            fs::write(folder.join(name), seed).expect("a file");
        }
        let bytes: usize = self.0.values().map(Vec::len).sum();
        println!("{target}: {} seeds, {bytes} bytes", self.0.len());
    }
}

fn main() {
    batch().write("batch");
    chain().write("chain");
    request().write("request");
    reply().write("reply");
    list_update().write("list_update");
    envelope().write("envelope");
    config().write("config");
    seed().write("seed");
    secrets().write("secrets");
}

// The vectors.

fn cases(family: &str) -> Vec<Value> {
    let file = format!("../tests/vectors/{family}.json");
    let text = fs::read_to_string(&file).expect("the vectors");
    let mut family: Value = serde_json::from_str(&text).expect("JSON");
    serde_json::from_value(family["cases"].take()).expect("cases")
}

fn of(op: &'static str) -> impl FnMut(&Value) -> bool {
    move |case| case["op"] == op
}

fn steps(call: &'static str) -> Vec<Value> {
    let cases = cases("exchange");
    let steps = cases.iter().flat_map(|case| array(&case["in"]["steps"]));
    let steps = steps.filter(|step| step["call"] == call && step["args"]["topic"] == "t");
    steps.collect()
}

fn array(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn bytes(value: &Value) -> Vec<u8> {
    let digits = value.as_str().unwrap_or_default().as_bytes();
    let pairs = digits.chunks(2);
    let byte = |pair: &[u8]| {
        str::from_utf8(pair)
            .ok()
            .and_then(|pair| u8::from_str_radix(pair, 16).ok())
    };
    pairs.filter_map(byte).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

// Certificates.

/// Returns a signed certificate without its signature, for any type of the key that signed it.
fn unsigned(link: &[u8]) -> Vec<u8> {
    let behind = |signature: usize| {
        link.get(signature..)
            .filter(|body| Certificate::parse(body).is_ok())
    };
    behind(64)
        .or_else(|| behind(17_152))
        .unwrap_or(link)
        .to_vec()
}

fn replace(bytes: &mut [u8], old: &[u8; 32], new: &VerifyingKey) {
    let places = bytes.windows(32).enumerate();
    let places = places.filter(|(_, window)| window == old);
    for place in places.map(|(place, _)| place).collect::<Vec<_>>() {
        bytes[place..place + 32].copy_from_slice(new.ed25519());
    }
}

/// Returns the certificates of a chain without their signatures. Keys that sign the next certificate are replaced by
/// members of the world.
fn certificates(chain: &[u8], denied: &[VerifyingKey]) -> Option<Vec<Vec<u8>>> {
    let chain = UnverifiedChain::parse(chain).ok()?;
    let mut bodies: Vec<_> = chain.links().iter().map(|link| unsigned(link)).collect();
    for index in 0..bodies.len() {
        let certificate = Certificate::parse(&bodies[index]).ok();
        let named = certificate.and_then(|certificate| certificate.keys.signer().cloned());
        let Some(VerifyingKey::Ed25519(old)) = named else {
            continue;
        };
        let new = match denied.contains(&VerifyingKey::Ed25519(old)) {
            true => &WORLD.denied,
            false => &WORLD.members[index % WORLD.members.len()],
        };
        let bodies = bodies.iter_mut();
        bodies.for_each(|body| replace(body, &old, new.verifying_key()));
    }
    Some(bodies)
}

fn encoded(links: &[Vec<u8>]) -> Vec<u8> {
    encode_chain(&links.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

fn leaf(message: &Value) -> Option<Vec<u8>> {
    let message = bytes(message);
    let chain = UnverifiedChain::parse(&message).ok()?;
    chain.links().last().map(|leaf| unsigned(leaf))
}

// The targets.

fn chain() -> Seeds {
    let mut seeds = Seeds::default();
    for case in cases("chains").into_iter().filter(of("process_chain")) {
        let chain = bytes(&case["in"]["chain"]);
        let denylist = array(&case["in"]["denylist"]);
        let denied = denylist.iter().filter_map(|entry| {
            let entry = bytes(entry);
            Certificate::parse(&entry).ok()?.keys.signer().cloned()
        });
        let Some(bodies) = certificates(&chain, &denied.collect::<Vec<_>>()) else {
            seeds.add(0, &[&chain]);
            continue;
        };
        let number = u8::try_from(seeds.0.len() % 5).expect("small");
        let usage = match text(&case["in"]["usage"]) {
            "key-encrypt" => 0,
            "key-denylist" => 4,
            _ => number,
        };
        let choices = usage << 2
            | if case["in"]["topic"].is_null() {
                0x80
            } else {
                0
            };
        let bodies = encoded(&bodies);
        seeds.add(choices | 1, &[&bodies]);
        if seeds.0.len() % 8 == 0 {
            let chain = WORLD.issue(false, &bodies).expect("few certificates");
            seeds.add(choices, &[&chain]);
            seeds.add(choices | 2, &[&bodies]);
            seeds.add(choices | 3, &[&bodies]);
        }
    }
    seeds
}

fn request() -> Seeds {
    let mut seeds = Seeds::default();
    let mut requests = Vec::new();
    for step in steps("encrypt_keys") {
        let ids = array(&step["args"]["keys"]);
        let ids: Vec<_> = ids.iter().filter_map(|key| key_id(&key[0])).collect();
        requests.push((
            0,
            encode_key_ids(ids.iter()),
            step["args"]["message"].clone(),
        ));
    }
    for step in steps("reencrypt_request") {
        requests.push((
            2,
            bytes(&step["args"]["msgkey"]),
            step["args"]["message"].clone(),
        ));
    }
    for (side, kafka_key, message) in requests {
        let length = [u8::try_from(kafka_key.len()).unwrap_or(u8::MAX)];
        let Some(leaf) = leaf(&message) else { continue };
        seeds.add(side | 1, &[&length, &kafka_key, &leaf]);
        if seeds.0.len() % 8 == 1 {
            seeds.add(side, &[&length, &kafka_key, &bytes(&message)]);
            seeds.add(side, &[&length, &kafka_key, &WORLD.from_peer(&leaf)]);
        }
    }
    seeds
}

fn key_id(value: &Value) -> Option<KeyId> {
    match value["t"].as_str()? {
        "int" => value["v"].as_u64().map(KeyId::Short),
        _ => bytes(&value["hex"]).try_into().ok().map(KeyId::Long),
    }
}

fn reply() -> Seeds {
    let mut seeds = Seeds::default();
    for step in steps("decrypt_keys") {
        let Some(mut leaf) = leaf(&step["args"]["message"]) else {
            continue;
        };
        let random0 =
            Certificate::peek_extra(&[&[0; 64], leaf.as_slice()].concat()).and_then(|randoms| {
                <[u8; 32]>::try_from(randoms.array().ok()?.first()?.bytes().ok()?).ok()
            });
        if let Some(random0) = random0 {
            replace(&mut leaf, &random0, &VerifyingKey::Ed25519(RANDOM0));
        }
        seeds.add(1, &[&leaf]);
    }
    // A request and a reply of the node under test itself.
    let mut consumer = Node::default();
    consumer.want([KeyId::Short(0), KeyId::Short(2)]);
    let request = consumer.sent.remove(0);
    let mut producer = Node::default();
    producer.take(SideTopic::Requests, &request.kafka_key, &request.value);
    let reply = producer.sent.remove(0).value;
    seeds.add(0, &[&reply]);
    let chain = UnverifiedChain::parse(&reply).expect("a chain");
    seeds.add(1, &[&unsigned(chain.links().last().expect("a link"))]);
    for ids in [
        &[KeyId::Short(1)][..],
        &[KeyId::Long([7; 32]), KeyId::Short(u64::MAX)],
    ] {
        let mut writer = Writer::new();
        writer.array(ids.len() * 2);
        for id in ids {
            match id {
                KeyId::Short(id) => writer.uint(*id),
                KeyId::Long(id) => writer.bytes(id),
            };
            writer.bytes(&[9; 32]);
        }
        seeds.add(2, &[&writer.into_vec()]);
    }
    seeds
}

fn list_update() -> Seeds {
    let mut seeds = Seeds::default();
    for case in cases("management") {
        let list = match text(&case["in"]["list"]) {
            "allowlist" => 0,
            "denylist" => 8,
            _ => 16,
        };
        let mut messages = array(&case["in"]["messages"]);
        messages.extend(case["in"].get("message").cloned());
        for message in messages {
            let message = bytes(&message);
            let Some(bodies) = certificates(&message, &[]) else {
                continue;
            };
            seeds.add(list | 1, &[&encoded(&bodies)]);
            if let [leaf] = bodies.as_slice() {
                seeds.add(list | 3, &[leaf]);
            }
            if seeds.0.len() % 8 == 0 {
                seeds.add(list | 5, &[&encoded(&bodies)]);
                seeds.add(list, &[&message]);
            }
        }
    }
    // A new chain of the node under test.
    let chain = encode_chain(&[&node_certificate(WORLD.node.verifying_key())]);
    seeds.add(16 | 1, &[&chain]);
    let revocation = self_revocation(&WORLD.members[0], &mut rng()).expect("a signature");
    seeds.add(8, &[&revocation]);
    let bodies = certificates(&revocation, &[]).expect("a chain");
    seeds.add(8 | 2, &[&encoded(&bodies)]);
    seeds
}

/// Batches of messages of equal and of different lengths, none or some of them altered.
fn batch() -> Seeds {
    let mut seeds = Seeds::default();
    for count in [1, 3, 4, 16, 17, 40] {
        for step in [0, 5] {
            let part = |number: usize| {
                let length = u8::try_from(20 + step * number).expect("a short message");
                [&[length], vec![length; length.into()].as_slice()].concat()
            };
            let parts: Vec<u8> = (0..count).flat_map(part).collect();
            for choices in [0, 1, 3, 6] {
                seeds.add(choices, &[&parts]);
            }
        }
    }
    seeds
}

fn envelope() -> Seeds {
    let mut seeds = Seeds::default();
    for case in cases("message") {
        let mut messages = vec![case["in"]["message"].clone()];
        let written = array(&case["out"]["messages"]);
        messages.extend(
            written
                .into_iter()
                .map(|message| message["message"].clone()),
        );
        for message in messages {
            let component = if case["in"]["kv"] == "key" { 0 } else { 2 };
            seeds.add(component, &[&bytes(&message)]);
        }
    }
    for choices in [1, 3, 5, 7] {
        seeds.add(choices, &[b"hello"]);
    }
    seeds
}

fn config() -> Seeds {
    let mut seeds = Seeds::default();
    for case in cases("stores") {
        let file = text(&case["in"]["file"]);
        if !file.contains('[') {
            continue;
        }
        let mut seed = file.as_bytes().to_vec();
        for action in array(&case["in"]["actions"]) {
            let section = action["section"]
                .as_str()
                .map_or_else(|| "n1".to_owned(), |section| format!("n1-{section}"));
            let value = match &action["value"]["v"] {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            for part in [section.as_str(), text(&action["name"]["v"]), &value] {
                seed.push(0xff);
                seed.extend(part.as_bytes());
            }
        }
        seeds.add_as_is(seed);
    }
    seeds
}

fn seed() -> Seeds {
    let mut seeds = Seeds::default();
    for case in cases("ratchet") {
        seeds.add_as_is(bytes(&case["in"]["file"]));
    }
    seeds.add_as_is(b"KCR1\0\0\0\0\0\0\0\x07sealed".to_vec());
    seeds
}

fn secrets() -> Seeds {
    let mut seeds = Seeds::default();
    for case in cases("stores") {
        match text(&case["op"]) {
            "crypto_open" => seeds.add(0, &[&bytes(&case["in"]["file"])]),
            "oldkeys_load" => seeds.add(1, &[&bytes(&case["in"]["plain"])]),
            _ => {}
        }
    }
    seeds
}
