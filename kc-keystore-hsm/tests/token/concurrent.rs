//! Processes that use one token at the same time, each with a node of its own.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use kc_core::keys::KeyType;
use kc_core::ratchet::{Seed, Step};
use kc_core::store::{KeyStore, RatchetStore};
use kc_keystore_hsm::{
    HsmError, HsmKeyStore, HsmRatchetStore, NodeLabels, generate_identity, generate_opaque_key,
};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::world::{CASE, Case, folder, init, only_on_softhsm, settings, token};

const NODE: &str = "KC_HSM_TEST_NODE";
const NODES: u64 = 4;
const STEPS: usize = 25;
const WORKER: &str = "concurrent::worker";

pub(crate) fn cases() -> Vec<Case> {
    let worker = Case {
        hidden: true,
        ..Case::new(WORKER, worker)
    };
    let mut cases = only_on_softhsm(vec![Case::new(
        "concurrent::processes_share_a_token",
        processes_share_a_token,
    )]);
    cases.push(worker);
    cases
}

fn seed(node: u64) -> Seed {
    Seed::generate(&mut StdRng::seed_from_u64(node))
}

fn place_of(node: u64) -> (NodeLabels, PathBuf) {
    let name = format!("n{node}");
    let path = folder().join(format!("{name}.ratchet"));
    let labels = NodeLabels::of_object(&format!("kc:{name}:id"));
    (labels.unwrap(), path)
}

fn shown(step: &Step) -> String {
    format!(
        "{} {:02x?}",
        step.index(),
        step.data_key(&"t".into()).expose()
    )
}

/// Waits for a line, makes a node on the token, uses all of its keys, prints its steps, and ends when its input ends.
fn worker() {
    let node: u64 = env::var(NODE).unwrap().parse().unwrap();
    let (labels, path) = place_of(node);
    let token = token();
    let mut out = std::io::stdout();
    writeln!(out, "ready").unwrap();
    std::io::stdin().read_line(&mut String::new()).unwrap();

    generate_opaque_key(&token, &labels).unwrap();
    let identity = generate_identity(&token, &labels, KeyType::Ed25519).unwrap();
    let mut ratchet = HsmRatchetStore::import(token.clone(), &labels, &path, &seed(node)).unwrap();
    let store = HsmKeyStore::open(token, labels, settings(&identity)).unwrap();
    for _ in 0..STEPS {
        let step = shown(&ratchet.step().unwrap());
        let signed = store
            .sign(&identity.verifying_key, step.as_bytes())
            .unwrap();
        assert_eq!(identity.verifying_key.verify(&signed), Ok(step.as_bytes()));
        let sealed = store.wrap_opaque(step.as_bytes()).unwrap();
        let opened = store.unwrap_opaque(&sealed).unwrap();
        assert_eq!(opened.expose(), step.as_bytes());
        writeln!(out, "{step}").unwrap();
    }
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

fn start(node: u64) -> Child {
    Command::new(env::current_exe().unwrap())
        .env(CASE, WORKER)
        .env(NODE, node.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn processes_share_a_token() {
    init();
    let mut workers: Vec<_> = (0..NODES).map(start).collect();
    let mut said: Vec<_> = workers
        .iter_mut()
        .map(|worker| {
            let lines = BufReader::new(worker.stdout.take().unwrap()).lines();
            lines.map(Result::unwrap)
        })
        .collect();
    for lines in &mut said {
        assert_eq!(lines.next().unwrap(), "ready");
    }
    // All are logged in; now they begin at once.
    for worker in &workers {
        writeln!(worker.stdin.as_ref().unwrap()).unwrap();
    }
    for (node, lines) in (0..).zip(&mut said) {
        let steps: Vec<String> = lines.take(STEPS).collect();
        let mut seed = seed(node);
        for said in &steps {
            let (step, next) = seed.advance().unwrap().stored();
            assert_eq!(*said, shown(&step), "node {node}");
            seed = next;
        }
        assert_eq!(steps.len(), STEPS, "node {node}");
    }
    // Only one process opens a node's ratchet.
    let token = token();
    for (node, mut worker) in (0..).zip(workers) {
        let (labels, path) = place_of(node);
        let open = || HsmRatchetStore::open(token.clone(), &labels, &path);
        let error = open().unwrap_err();
        assert!(matches!(error, HsmError::RatchetInUse { .. }), "{error:?}");
        drop(worker.stdin.take());
        assert!(worker.wait().unwrap().success(), "node {node}");
        let steps = u64::try_from(STEPS).unwrap();
        assert_eq!(open().unwrap().next_index().unwrap(), steps);
    }
}
