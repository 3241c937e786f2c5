//! A token that does not answer at the start.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::faults::{Fault, HANG, LOGIN, faulty};
use crate::tokens::Tokens;
use crate::world::complaint;

/// Far longer than the program waits for a token.
const DEADLINE: Duration = Duration::from_secs(90);

/// A running `kc`.
struct Running {
    id: u32,
    output: Receiver<Output>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let (tell, output) = channel();
        let id = child.id();
        thread::spawn(move || tell.send(child.wait_with_output().unwrap()));
        Self { id, output }
    }

    fn interrupt(&self) {
        let kill = Command::new("kill")
            .args(["-INT", &self.id.to_string()])
            .status();
        assert!(kill.unwrap().success());
    }

    /// Returns the exit code, and the output on stderr.
    fn end(&self) -> (i32, String) {
        let output = self.output.recv_timeout(DEADLINE);
        let output = output.expect("the program ends");
        let stderr = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), stderr)
    }
}

/// Returns a world in which alice's keys are on a token whose logins hang.
fn with_alice() -> (Tokens, Fault) {
    let tokens = faulty();
    tokens.provision("prodcon", "alice", &[]);
    fs::remove_file(tokens.world.path("logins")).unwrap();
    let fault = Fault::of(&tokens, LOGIN, 0, HANG);
    (tokens, fault)
}

const PRODUCE: &[&str] = &["produce", "t", "--node", "alice"];
const CONSUME: &[&str] = &["consume", "t", "--node", "alice"];
const RENEW: &[&str] = &["hsm", "renew-ratchet", "--node", "alice"];
const REVOKE: &[&str] = &["trust", "revoke", "--node", "alice"];
const ADD: &[&str] = &["node", "keys", "--node", "alice", "--add-key-type", "4"];

/// Each command opens the node for itself, but reading from a token takes no lock.
#[test]
fn a_token_that_hangs_at_the_start_ends_the_command_with_advice() {
    let at_once = [PRODUCE, RENEW, REVOKE, ADD].map(|command| {
        let (tokens, fault) = with_alice();
        let list = ["hsm", "list", &tokens.uri];
        let both = [command, &list].map(|command| Running::start(&mut tokens.kc(command)));
        (both, fault, tokens)
    });
    for running in at_once.iter().flat_map(|(both, ..)| both) {
        let (code, stderr) = running.end();
        assert_eq!(code, 1, "{stderr}");
        let complaint = complaint(&stderr);
        assert!(complaint.contains("the token does not answer"), "{stderr}");
        assert!(complaint.contains("the network"), "{stderr}");
    }
}

#[test]
fn one_signal_ends_a_command_whose_token_hangs() {
    for (command, code) in [(PRODUCE, 0), (CONSUME, 0), (RENEW, 1)] {
        let (tokens, _fault) = with_alice();
        let running = Running::start(&mut tokens.kc(command));
        let deadline = Instant::now() + DEADLINE;
        while !tokens.world.path("logins").exists() {
            assert!(Instant::now() < deadline, "no login");
            thread::sleep(Duration::from_millis(10));
        }
        running.interrupt();
        let (ended, stderr) = running.end();
        assert_eq!(ended, code, "{stderr}");
        assert!(!stderr.contains("does not answer"), "{stderr}");
    }
}
