//! Sealing beside the Python peer, and signing beside liboqs. Each of them is a process of its own.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use kc::core::keys::{KeyType, Signer, SigningKey, SlhDsaHalf};
use kc::core::message::{self, ToSeal};
use kc::core::provision::Role;
use kc::core::ratchet::Component;
use kc::core::secret::Secret;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::clients::Brokers;
use crate::keys::sealing_key;
use crate::nodes;
use crate::report::Report;
use crate::rounds::{Plan, Work};

/// The variable that names the Python that has the peer and liboqs.
const PYTHON: &str = "KC_PEER_PYTHON";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers.py");
const MESSAGE: &[u8] = b"a certificate";
const LENGTH: usize = 100;
const BATCH: usize = 64;

pub fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let broker = Brokers::embedded()?;
    let folder = tempfile::tempdir()?;
    let config = python_node(folder.path(), &broker.address)?;
    let key = sealing_key();
    let plaintext = [b'x'; LENGTH];
    let ours = Work::of(BATCH as u32, || {
        let mut sealed = vec![Vec::new(); BATCH];
        let to_seal = |sealed| ToSeal {
            plaintext: &plaintext,
            sealed,
        };
        let mut batch: Vec<_> = sealed.iter_mut().map(to_seal).collect();
        message::seal_batch(&key, Component::Value, &mut batch).map(|()| sealed)
    });
    let length = LENGTH.to_string();
    let theirs = Peer::start(&["seal", &config, "readings", &length])?.work();
    report.add(plan.compare("seal/100B/batch/python", ours, "the Python peer", theirs))?;

    let mut rng = StdRng::seed_from_u64(1);
    let half = SlhDsaHalf::from_seed(&Secret::fill_with(|seed: &mut [u8; 48]| seed.fill(3)));
    let ours = Work::once(|| half.complete(MESSAGE, &mut rng));
    let theirs = Peer::start(&["sign"])?.work();
    report.add(plan.compare("sign/slh-dsa/liboqs", ours, "liboqs", theirs))?;

    let mut rng = StdRng::seed_from_u64(2);
    let key = SigningKey::generate(KeyType::Hybrid, &mut rng);
    let signed = key.sign(MESSAGE, &mut rng)?;
    let hybrid = key.verifying_key();
    let ours = Work::once(|| assert!(hybrid.verify(&signed).is_ok()));
    let theirs = Peer::start(&["verify"])?.work();
    report.add(plan.compare("verify/hybrid/liboqs", ours, "liboqs", theirs))
}

/// Creates a node for the peer. Returns its configuration file.
fn python_node(folder: &Path, servers: &str) -> anyhow::Result<String> {
    nodes::create(folder, "python", Role::Producer)?;
    let config = folder.join("python.config");
    let text = std::fs::read_to_string(&config)?;
    let brokers = format!("bootstrap_servers : {servers}");
    let text = text
        .replace("bootstrap_servers : ", &brokers)
        .replace("security_protocol : SSL", "security_protocol : PLAINTEXT");
    std::fs::write(&config, text)?;
    Ok(config.to_str().context("the path is not UTF-8")?.to_owned())
}

/// A process that works when it is told to, and measures itself.
struct Peer {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        let python = env::var_os(PYTHON)
            .context("run `cargo xtask bench --peers`, which installs the peers")?;
        let mut process = Command::new(python)
            .args(["-W", "ignore", SCRIPT])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = process.stdin.take().context("no input")?;
        let answers = process.stdout.take().context("no output")?;
        let mut peer = Self {
            process,
            orders,
            answers: BufReader::new(answers),
        };
        let answer = peer.answer()?;
        ensure!(answer == "ready", "the peer says {answer:?}");
        Ok(peer)
    }

    fn answer(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    fn rate(&mut self, slice: Duration) -> anyhow::Result<f64> {
        writeln!(self.orders, "{}", slice.as_secs_f64())?;
        Ok(self.answer()?.parse()?)
    }

    fn work<'w>(mut self) -> Work<'w> {
        Work::measured_by(move |slice| self.rate(slice).expect("the peer works"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
