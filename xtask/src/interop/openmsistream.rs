//! Files between kc and OpenMSIStream, each in a process of its own: both directions, plain and encrypted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::peers::environment;
use super::process::Process;
use crate::shell;

const PEER: &str = "openmsistream";
const UPLOAD: &str = "DataFileUploadDirectory";
const DOWNLOAD: &str = "DataFileDownloadDirectory";
const CHUNK: usize = 512 << 10;
/// The maximum time for all files of a direction to arrive.
const PATIENCE: Duration = Duration::from_secs(90);
/// The size of the large file, in bytes.
const LARGE: usize = 200_000_000;

/// The settings of the peer, without the broker and the node.
const SETTINGS: &str = "
[producer]
batch.size = 200000
linger.ms = 100
compression.type = lz4
key.serializer = StringSerializer
value.serializer = DataFileChunkSerializer
[consumer]
group.id = create_new
auto.offset.reset = earliest
enable.auto.commit = False
fetch.min.bytes = 100000
key.deserializer = StringDeserializer
value.deserializer = DataFileChunkDeserializer
";

/// The programs, and a folder for the nodes and files.
struct Programs {
    /// The folder of the peer's programs.
    peer: PathBuf,
    kc: PathBuf,
    folder: PathBuf,
}

/// A broker of its own for a direction: it keeps all records in memory.
struct Stage<'p> {
    programs: &'p Programs,
    servers: String,
    _broker: Process,
}

/// The topic, folders and nodes of a direction.
struct Way {
    topic: String,
    kind: &'static str,
    from: PathBuf,
    to: PathBuf,
    up: String,
    down: String,
    began: Instant,
}

impl Way {
    fn passed(&self, direction: &str) {
        let seconds = self.began.elapsed().as_secs_f64();
        println!("{direction}, {}: in {seconds:.1} s", self.kind);
    }
}

/// Sends files in both directions, plain and encrypted. With `large`, a file of 200 MB is among them.
pub(super) fn run(folder: &Path, large: bool) -> anyhow::Result<()> {
    shell::install(&["libsodium23", "python3-venv"])?;
    let python = environment(folder, PEER)?;
    shell::run(shell::cargo("build").args(["-p", "kc-cli", "--bin", "kc"]))?;
    let folder = folder.join("files");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let programs = Programs {
        peer: python.parent().context("no folder")?.canonicalize()?,
        kc: shell::target_folder().join("debug/kc").canonicalize()?,
        folder: folder.canonicalize()?,
    };
    programs.write_files(large)?;
    for plain in [true, false] {
        Stage::set(&programs)?.receive_from_peer(plain)?;
        Stage::set(&programs)?.send_to_peer(plain)?;
    }
    Ok(())
}

impl Programs {
    fn kc(&self, arguments: &[&str]) -> Command {
        let mut kc = Command::new(&self.kc);
        kc.current_dir(&self.folder)
            .args(arguments)
            .env("KC_ROOT_PASSWORD", "interop")
            .env("KC_PROVISIONING_PASSWORD", "interop");
        kc
    }

    fn write_files(&self, large: bool) -> anyhow::Result<()> {
        let mut files = vec![
            ("one byte.bin", 1),
            ("a.bin", CHUNK),
            ("sub/deep/b c.bin", 2 * CHUNK),
            ("größe/漢字.dat", 3 * CHUNK + 7),
        ];
        if large {
            files.push(("large.bin", LARGE));
        }
        for (name, bytes) in files {
            let path = self.folder.join("files").join(name);
            fs::create_dir_all(path.parent().context("no folder")?)?;
            let mut state = bytes as u64;
            let content = std::iter::repeat_with(|| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                state.to_be_bytes()[0]
            });
            fs::write(path, content.take(bytes).collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

impl<'p> Stage<'p> {
    /// Starts a broker, and lets it know groups: the peer ends if it is the first that asks for one.
    fn set(programs: &'p Programs) -> anyhow::Result<Self> {
        let mut broker = programs.kc(&["--quiet", "broker", "--listen", "127.0.0.1:0"]);
        let broker = Process::start("kc broker", &mut broker)?;
        let line = broker.line()?;
        let servers = line.strip_prefix("listening on ").context(line.clone())?;
        let stage = Self {
            programs,
            servers: servers.to_owned(),
            _broker: broker,
        };
        stage.prepare_groups()?;
        Ok(stage)
    }

    fn kc(&self, arguments: &[&str]) -> Command {
        self.programs.kc(arguments)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.programs.folder.join(name)
    }

    fn prepare_groups(&self) -> anyhow::Result<()> {
        if !self.path("first.config").exists() {
            self.provision("first", "consumer")?;
        }
        self.create("first")?;
        shell::run(
            self.kc(&["--quiet", "consume", "first", "--node", "first"])
                .args(["--from-beginning", "--until-end", "-b", &self.servers]),
        )
    }

    fn provision(&self, id: &str, role: &str) -> anyhow::Result<()> {
        let connection = ["-b", &self.servers];
        let mut kc = self.kc(&["--quiet", "provision", role, "--node", id]);
        shell::run(kc.args(connection).stdout(Stdio::null()))
    }

    fn create(&self, topic: &str) -> anyhow::Result<()> {
        let connection = ["-b", &self.servers];
        let mut kc = self.kc(&["--quiet", "topics", "create", topic]);
        shell::run(kc.args(connection).stdout(Stdio::null()))
    }

    /// Starts a program of the peer, which works for a node, or without encryption.
    fn peer(
        &self,
        program: &str,
        folder: &Path,
        topic: &str,
        node: Option<&str>,
    ) -> anyhow::Result<Process> {
        let mut config = String::new();
        if let Some(node) = node {
            let node = self.path(&format!("{node}.config"));
            config.push_str(&format!(
                "[kafkacrypto]\nconfig_file = {}\n",
                node.display()
            ));
        }
        config.push_str(&format!("[broker]\nbootstrap.servers = {}", self.servers));
        config.push_str(SETTINGS);
        let path = self.path(&format!("{topic}.{program}.config"));
        fs::write(&path, config)?;
        let mut peer = Command::new(self.programs.peer.join(program));
        peer.arg(folder)
            .arg("--config")
            .arg(path)
            .args(["--topic_name", topic]);
        if program == UPLOAD {
            peer.arg("--upload_existing");
        }
        Process::start(program, peer.stderr(Stdio::null()))
    }

    /// Copies the files, and provisions a sender and a receiver.
    fn prepare(&self, direction: &str, plain: bool) -> anyhow::Result<Way> {
        let kind = if plain { "plain" } else { "encrypted" };
        let topic = format!("{direction}-{kind}");
        let [from, to] = ["src", "out"].map(|end| self.path(&format!("{topic}.{end}")));
        shell::run(
            Command::new("cp")
                .arg("-r")
                .arg(self.path("files"))
                .arg(&from),
        )?;
        fs::create_dir(&to)?;
        let [up, down] = ["up", "down"].map(|end| format!("{topic}-{end}"));
        self.provision(&up, "producer")?;
        self.provision(&down, "consumer")?;
        self.create(&topic)?;
        Ok(Way {
            topic,
            kind,
            from,
            to,
            up,
            down,
            began: Instant::now(),
        })
    }

    fn receive_from_peer(&self, plain: bool) -> anyhow::Result<()> {
        let way = self.prepare("from-peer", plain)?;
        let node = (!plain).then_some(way.up.as_str());
        let peer = self.peer(UPLOAD, &way.from, &way.topic, node)?;
        let count = files(&self.path("files"))?.len().to_string();
        let mut kc = self.kc(&["--quiet", "files", "receive", &way.topic]);
        kc.arg(&way.to)
            .args(["--node", &way.down, "--count", &count]);
        kc.args(["--timeout", "90s"]).stdout(Stdio::null());
        if plain {
            kc.arg("--plain");
        }
        shell::run(&mut kc)?;
        self.compare(&way.to)?;
        drop(peer);
        way.passed("openmsistream to kc");
        Ok(())
    }

    fn send_to_peer(&self, plain: bool) -> anyhow::Result<()> {
        let way = self.prepare("to-peer", plain)?;
        let node = (!plain).then_some(way.down.as_str());
        let peer = self.peer(DOWNLOAD, &way.to, &way.topic, node)?;
        let mut kc = self.kc(&["--quiet", "files", "send"]);
        kc.arg(&way.from).args([&way.topic, "--node", &way.up]);
        if plain {
            kc.arg("--plain");
        }
        let sender = Process::start("kc files send", &mut kc)?;
        let end = Instant::now() + PATIENCE;
        while let Err(missing) = self.compare(&way.to) {
            ensure!(Instant::now() < end, missing);
            thread::sleep(Duration::from_millis(100));
        }
        ensure!(sender.end_by("TERM")?.success(), "kc files send has failed");
        drop(peer);
        way.passed("kc to openmsistream");
        Ok(())
    }

    /// Fails unless the files of a folder are those that were sent.
    fn compare(&self, folder: &Path) -> anyhow::Result<()> {
        let (sent, arrived) = (files(&self.path("files"))?, files(folder)?);
        for (name, content) in &sent {
            match arrived.get(name) {
                None => bail!("{} did not arrive", name.display()),
                Some(other) => ensure!(content == other, "{} differs", name.display()),
            }
        }
        Ok(())
    }
}

/// Returns the files below a folder by their paths.
fn files(folder: &Path) -> anyhow::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for file in shell::files_below(folder)? {
        let path = file.strip_prefix(folder)?.to_owned();
        found.insert(path, fs::read(&file)?);
    }
    Ok(found)
}
