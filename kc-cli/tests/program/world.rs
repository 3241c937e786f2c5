//! A folder with nodes, a broker, and processes that end with the test.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use kc::backend_pure::PureBackend;
use kc::core::backend::{LogStart, OutgoingRecord, TopicSpec};
use kc::keystore_file::NodeFiles;
use kc::{Backend, ClientSettings};
use serde_json::Value;
use tempfile::TempDir;

/// The time limit of each wait.
const DEADLINE: Duration = Duration::from_secs(60);

/// Sends the lines of `in.txt` to the topic `t` as alice, and ends.
pub(crate) const PRODUCE_ALL: [&str; 7] = [
    "produce",
    "t",
    "--node",
    "alice",
    "--exit-after",
    "0s",
    "in.txt",
];
/// Reads the first record of the topic `t` as bob.
pub(crate) const CONSUME_ONE: [&str; 7] = [
    "consume",
    "t",
    "--node",
    "bob",
    "--from-beginning",
    "--count",
    "1",
];

pub(crate) struct World {
    folder: TempDir,
    pub(crate) address: String,
    broker: Process,
}

/// A running `kc`, killed when dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    stderr: Receiver<String>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_broker(&[])
    }

    pub(crate) fn with_broker(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = command(folder.path());
        command
            .args(["broker", "--listen", "127.0.0.1:0"])
            .args(flags);
        let mut broker = Process::spawn(command.stdout(Stdio::piped()));
        let mut line = String::new();
        let stdout = broker.child.stdout.as_mut().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .unwrap()
            .to_owned();
        Self {
            folder,
            address,
            broker,
        }
    }

    pub(crate) fn kill_broker(&mut self) {
        self.broker.child.kill().unwrap();
        self.broker.child.wait().unwrap();
    }

    /// Sends a signal to the broker: after `STOP` it accepts connections and never answers, until `CONT`.
    pub(crate) fn signal_broker(&self, name: &str) {
        self.broker.signal(name);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn files(&self, node: &str) -> NodeFiles {
        NodeFiles::in_folder(self.folder.path(), node).unwrap()
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    /// Returns the command `kc` in the folder, with the passwords of the tests and a request interval of 200 ms.
    pub(crate) fn kc(&self, args: &[&str]) -> Command {
        let mut command = command(self.folder.path());
        command.args(args);
        command
    }

    /// Provisions a node whose configuration names the broker. Returns the fingerprint of its root.
    pub(crate) fn provision(&self, role: &str, node: &str, more: &[&str]) -> String {
        self.provision_under("root", role, node, more)
    }

    pub(crate) fn provision_under(
        &self,
        root_password: &str,
        role: &str,
        node: &str,
        more: &[&str],
    ) -> String {
        let args = [
            "provision",
            role,
            "--json",
            "-b",
            &self.address,
            "--node",
            node,
        ];
        let mut command = self.kc(&args);
        if root_password != "root" {
            command.arg("--new-root");
        }
        let made = command.args(more).env("KC_ROOT_PASSWORD", root_password);
        let made: Value = serde_json::from_slice(&succeed(made).stdout).unwrap();
        made["root"].as_str().unwrap().to_owned()
    }

    /// Runs `kc` with `--json`. Returns the printed value.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let printed = self.succeed(&[args, &["--json"]].concat());
        serde_json::from_str(&printed).unwrap()
    }

    /// Runs `kc` successfully. Returns its only line on stdout.
    pub(crate) fn line(&self, args: &[&str]) -> String {
        let printed = self.succeed(args);
        let line = printed.strip_suffix('\n').unwrap();
        assert!(!line.contains('\n'), "{printed}");
        line.to_owned()
    }

    /// Returns the first public key of a node, in base64.
    pub(crate) fn public_key(&self, node: &str) -> String {
        let keys = self.json(&["node", "keys", "--node", node]);
        keys["keys"][0]["public"].as_str().unwrap().to_owned()
    }

    /// Returns a file as stdin.
    pub(crate) fn open(&self, name: &str) -> Stdio {
        File::open(self.path(name)).unwrap().into()
    }

    pub(crate) fn start(&self, args: &[&str]) -> Process {
        Process::spawn(&mut self.kc(args))
    }

    pub(crate) fn succeed(&self, args: &[&str]) -> String {
        String::from_utf8(succeed(&mut self.kc(args)).stdout).unwrap()
    }

    /// Runs `kc` to a failure. Returns its stderr.
    pub(crate) fn fail(&self, args: &[&str], exit: i32) -> String {
        fail(&mut self.kc(args), exit)
    }

    /// Returns the number of records in a topic with one partition, from the end of its log.
    pub(crate) fn end_of(&self, topic: &str) -> usize {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let end = runtime.block_on(async {
            let mut reader = self.plain().log_reader(None).await.unwrap();
            let watermarks = reader.watermarks(topic, DEADLINE).await.unwrap().unwrap();
            reader.close().await;
            assert_eq!(watermarks[0].low, 0);
            watermarks[0].high
        });
        usize::try_from(end).unwrap()
    }

    /// Returns the number of records in all partitions of a topic, from the ends of its logs.
    pub(crate) fn end_of_partitions(&self, topic: &str) -> usize {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let end: i64 = runtime.block_on(async {
            let mut reader = self.plain().log_reader(None).await.unwrap();
            let watermarks = reader.watermarks(topic, DEADLINE).await.unwrap().unwrap();
            reader.close().await;
            watermarks.iter().map(|watermarks| watermarks.high).sum()
        });
        usize::try_from(end).unwrap()
    }

    /// Returns a Kafka client without encryption.
    fn plain(&self) -> PureBackend {
        let servers = [("bootstrap_servers", &self.address)];
        PureBackend::new(ClientSettings::parse(servers).unwrap()).unwrap()
    }

    pub(crate) fn create(&self, topic: &str, partitions: i32) {
        let spec = TopicSpec::data(topic, partitions);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let admin = self.plain().admin().await.unwrap();
            admin.create_topic(&spec, DEADLINE).await.unwrap();
        });
    }

    /// Copies the first record of a topic to another topic, unchanged.
    pub(crate) fn copy(&self, from: &str, to: &str) {
        self.create(to, 1);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let mut log = self.plain().log_reader(None).await.unwrap();
            let start = [(from.to_owned(), LogStart::Earliest)];
            log.assign(&start).await.unwrap();
            let record = log.poll(DEADLINE).await.unwrap().remove(0);
            let producer = self.plain().producer().await.unwrap();
            let copy = OutgoingRecord {
                topic: to.into(),
                value: record.value.map(Vec::from),
                ..OutgoingRecord::default()
            };
            producer.enqueue(copy).await.unwrap().await.unwrap();
            producer.close(DEADLINE).await.unwrap();
        });
    }

    /// Sends a record to a partition without sealing it.
    pub(crate) fn send_to(&self, topic: &str, partition: i32, value: &str) {
        let record = OutgoingRecord {
            topic: topic.into(),
            partition: Some(partition),
            value: Some(value.as_bytes().to_vec()),
            ..OutgoingRecord::default()
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let producer = self.plain().producer().await.unwrap();
            producer.enqueue(record).await.unwrap().await.unwrap();
            producer.close(DEADLINE).await.unwrap();
        });
    }

    /// Sends records without sealing them.
    pub(crate) fn send_plain(&self, topic: &str, partition: i32, values: &[&str]) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let producer = self.plain().producer().await.unwrap();
            for value in values {
                let record = OutgoingRecord {
                    topic: topic.into(),
                    partition: Some(partition),
                    value: Some(value.as_bytes().to_vec()),
                    ..OutgoingRecord::default()
                };
                producer.enqueue(record).await.unwrap().await.unwrap();
            }
            producer.close(DEADLINE).await.unwrap();
        });
    }
}

impl Process {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let (send, stderr) = channel();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, stderr }
    }

    /// Waits for a line on stderr that contains `text`. Returns the line.
    pub(crate) fn says(&self, text: &str) -> String {
        self.hear(text).pop().unwrap()
    }

    /// Waits for a line on stderr that contains `text`. Returns all lines up to it.
    pub(crate) fn hear(&self, text: &str) -> Vec<String> {
        let mut said = Vec::new();
        let end = Instant::now() + DEADLINE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.stderr.recv_timeout(left) {
                Ok(line) => said.push(line),
                Err(error) => panic!("never said {text:?} ({error}); said {said:#?}"),
            }
            if said.last().is_some_and(|line| line.contains(text)) {
                return said;
            }
        }
    }

    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for the end of the process. Returns the exit code.
    pub(crate) fn end(&mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap()
    }

    /// Returns the remaining lines on stderr, up to its end.
    pub(crate) fn rest(&self) -> Vec<String> {
        self.stderr.iter().collect()
    }

    /// Reads stdout up to its end.
    pub(crate) fn output(&mut self) -> String {
        let mut output = String::new();
        let stdout = self.child.stdout.as_mut().unwrap();
        stdout.read_to_string(&mut output).unwrap();
        output
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kc"));
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .env_remove("RUST_LOG")
        .env_remove("KC_HOME")
        .env_remove("KC_NODE")
        .env("KC_ROOT_PASSWORD", "root")
        .env("KC_PROVISIONING_PASSWORD", "provisioning")
        .env("KC_CONFIG__NODE__CRYPTO_SUB_INTERVAL", "0.2");
    command
}

/// Polls until a condition holds that no event reports.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < end, "never: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{command:?}: {stderr}");
    output
}

pub(crate) fn fail(command: &mut Command, exit: i32) -> String {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(exit), "{command:?}: {stderr}");
    stderr
}

/// Returns the seconds since the epoch of a time in ISO 8601.
pub(crate) fn seconds(time: &Value) -> f64 {
    let time = humantime::parse_rfc3339(time.as_str().unwrap()).unwrap();
    time.duration_since(std::time::SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}

/// Returns the last error on stderr with its advice.
pub(crate) fn complaint(stderr: &str) -> &str {
    let start = stderr.rfind("kc: error: ").unwrap();
    let complaint = &stderr[start..];
    assert!(complaint.contains("\nadvice: "), "{complaint}");
    complaint
}
