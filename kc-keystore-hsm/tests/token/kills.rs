//! A process that is killed at random points of its steps: no step is used twice, none is lost.

use std::collections::HashMap;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use kc_core::ratchet::Seed;
use kc_core::store::RatchetStore;
use kc_keystore_hsm::HsmRatchetStore;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::world::{CASE, Case, folder, fresh_token, labels, token};

const KILLS: usize = 200;
/// The maximum number of steps of a process before it is killed.
const STEPS: usize = 3;
const READY: &str = "ready";
const STEPPER: &str = "kills::stepper";

pub(crate) fn cases() -> Vec<Case> {
    let stepper = Case {
        hidden: true,
        ..Case::new(STEPPER, stepper)
    };
    vec![Case::new("kills::two_hundred", two_hundred), stepper]
}

fn path() -> PathBuf {
    folder().join("n1.ratchet")
}

/// Takes steps until it is killed, and prints each.
fn stepper() {
    let mut ratchet = HsmRatchetStore::open(token(), &labels(), &path()).unwrap();
    let mut out = std::io::stdout();
    writeln!(out, "{READY}").unwrap();
    loop {
        let step = ratchet.step().unwrap();
        let secret = step.data_key(&"t".into());
        // One call, so that a line is written whole or not at all.
        let line = format!("{} {:02x?}\n", step.index(), secret.expose());
        out.write_all(line.as_bytes()).unwrap();
    }
}

fn start() -> Child {
    Command::new(env::current_exe().unwrap())
        .env(CASE, STEPPER)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn two_hundred() {
    // All steps of the ratchet are known beforehand.
    let seed = || Seed::generate(&mut StdRng::seed_from_u64(11));
    HsmRatchetStore::import(fresh_token(), &labels(), &path(), &seed()).unwrap();
    let mut rng: StdRng = rand::make_rng();
    let mut taken: HashMap<u64, String> = HashMap::new();
    let (mut next, mut lost) = (0, 0);
    // A process that dies after storing a step and before printing it loses that step.
    let mut may_be_lost = 0;
    let mut of_a_step = Duration::ZERO;
    let begin = Instant::now();
    for kill in 0..KILLS {
        let mut child = start();
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        // Killed only after the login, during which SoftHSM writes its token file.
        assert_eq!(lines.next().unwrap(), READY, "after {kill} kills");
        let wanted = rng.random_range(0..=STEPS);
        let since = Instant::now();
        let mut said: Vec<String> = lines.by_ref().take(wanted).collect();
        assert_eq!(said.len(), wanted, "kill {kill}: it ended by itself");
        if wanted > 0 {
            of_a_step = since.elapsed() / u32::try_from(wanted).unwrap();
        }
        // At a random point of the next step.
        thread::sleep(rng.random_range(Duration::ZERO..=of_a_step));
        child.kill().unwrap();
        child.wait().unwrap();
        said.extend(lines);
        for line in said {
            let (index, secret) = line.split_once(' ').unwrap();
            let index: u64 = index.parse().unwrap();
            let skipped = index.checked_sub(next).expect("an index is used twice");
            assert!(
                skipped <= may_be_lost,
                "kill {kill}: {next} to {index} are lost"
            );
            lost += skipped;
            may_be_lost = 0;
            next = index + 1;
            let again = taken.insert(index, secret.to_owned());
            assert!(again.is_none(), "{index} is used twice");
        }
        may_be_lost += 1;
    }
    let took = begin.elapsed();
    let mut seed = seed();
    while !taken.is_empty() {
        let (step, next) = seed.advance().unwrap().stored();
        if let Some(secret) = taken.remove(&step.index()) {
            let expected = format!("{:02x?}", step.data_key(&"t".into()).expose());
            assert_eq!(secret, expected, "step {}", step.index());
        }
        seed = next;
    }
    let ratchet = HsmRatchetStore::open(token(), &labels(), &path()).unwrap();
    let steps = ratchet.next_index().unwrap();
    assert!(steps - next <= may_be_lost, "{next} to {steps} are lost");
    println!("{KILLS} kills in {took:?}: {steps} steps, {lost} stored and not used");
}
