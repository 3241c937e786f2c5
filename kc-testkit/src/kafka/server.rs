use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use super::cluster::{self, Member};
use super::error::tail;
use super::folder::Folder;
use super::java::{self, Java};
use super::listeners::Ports;
use super::process::Process;
use super::properties::Server;
use super::{
    Builder, Certificates, KafkaError, Listener, PASSWORD, USER, Version, jars, readiness, storage,
};

/// The time that Kafka has to serve.
const START: Duration = Duration::from_mins(1);
/// The time between two readiness requests.
const ASK: Duration = Duration::from_millis(50);
/// The number of attempts to find free ports that other processes do not take in the meantime.
const TRIES: usize = 3;

/// A running Apache Kafka: one broker that is its own controller. Dropping it kills it.
#[derive(Debug)]
pub struct Kafka {
    /// The process. Declared before the folder: it must have ended when the folder is removed.
    process: Option<Process>,
    java: Java,
    ports: Ports,
    listeners: Vec<Listener>,
    certificates: Certificates,
    member: Option<Member>,
    folder: Folder,
}

impl Kafka {
    /// Returns a builder for this version, with a [`Plaintext`](Listener::Plaintext) listener.
    pub fn builder(version: Version) -> Builder {
        Builder::new(version)
    }

    pub(super) fn start(builder: Builder) -> Result<Self, KafkaError> {
        let jars = jars::fetch(builder.version)?;
        let folder = Folder::make(builder.folder)?;
        let heap = match builder.member {
            Some(_) => cluster::HEAP,
            None => java::HEAP,
        };
        let mut kafka = Self {
            process: None,
            java: Java::new(builder.version, &jars, &folder.log_settings(), heap)?,
            ports: ports(builder.first_port)?,
            listeners: builder.listeners,
            certificates: Certificates::in_folder(&folder.certificates())?,
            member: builder.member,
            folder,
        };
        let mut retries = 1..TRIES;
        loop {
            kafka.write_properties(&builder.properties)?;
            match kafka.launch() {
                Err(KafkaError::PortsTaken { .. }) if retries.next().is_some() => {
                    kafka.ports = ports(builder.first_port)?;
                }
                other => return other.map(|()| kafka),
            }
        }
    }

    fn write_properties(&self, more: &[(String, String)]) -> Result<(), KafkaError> {
        let server = Server {
            listeners: &self.listeners,
            ports: self.ports,
            data: &self.folder.data(),
            certificates: &self.certificates,
            in_cluster: self.member.is_some(),
            more,
        };
        let file = self.folder.properties();
        fs::write(&file, server.properties()).map_err(KafkaError::file(&file))
    }

    fn launch(&mut self) -> Result<(), KafkaError> {
        let cluster_id = storage::prepare(
            &self.java,
            &self.folder.data(),
            &self.folder.properties(),
            self.member.as_ref(),
        )?;
        let mut command = self.java.command("kafka.Kafka");
        command.arg(self.folder.properties());
        let earlier = fs::read(self.log()).map_or(0, |log| log.len());
        let mut process = Process::start(command, &self.log(), self.folder.temporary())?;
        let deadline = Instant::now() + START;
        while !readiness::serves(self.ports.plaintext(), &cluster_id) {
            if let Some(status) = process.ended()? {
                return Err(self.why_ended(status, &self.log_since(earlier)));
            }
            if Instant::now() > deadline {
                let (seconds, log) = (START.as_secs(), tail(&self.log_since(earlier)));
                return Err(KafkaError::NotServing { seconds, log });
            }
            thread::sleep(ASK);
        }
        self.process = Some(process);
        Ok(())
    }

    fn why_ended(&self, status: ExitStatus, log: &str) -> KafkaError {
        if log.contains("Address already in use") {
            return self.ports.taken();
        }
        let log = tail(log);
        KafkaError::Ended { status, log }
    }

    /// Returns the address of a listener, `host:port`, for `bootstrap_servers`. Listeners that were not requested do
    /// not answer.
    #[must_use]
    pub fn address(&self, listener: Listener) -> String {
        format!("{}:{}", listener.host(), self.port(listener))
    }

    /// Returns the port of a listener.
    #[must_use]
    pub fn port(&self, listener: Listener) -> u16 {
        self.ports.of(listener)
    }

    /// Returns the listeners of the server.
    #[must_use]
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// Returns the names and values that a node's `.config` needs to connect to a listener; SASL with SCRAM-SHA-512.
    #[must_use]
    pub fn client_settings(&self, listener: Listener) -> Vec<(&'static str, String)> {
        let file = |path: &Path| path.to_string_lossy().into_owned();
        let mut settings = vec![
            ("bootstrap_servers", self.address(listener)),
            ("security_protocol", listener.security_protocol().to_owned()),
        ];
        if listener.has_tls() {
            settings.push(("ssl_cafile", file(&self.certificates.ca)));
        }
        if listener == Listener::Mtls {
            settings.extend([
                ("ssl_certfile", file(&self.certificates.client_certificate)),
                ("ssl_keyfile", file(&self.certificates.client_key)),
            ]);
        }
        if listener.has_sasl() {
            settings.extend([
                ("sasl_mechanism", "SCRAM-SHA-512".to_owned()),
                ("sasl_plain_username", USER.to_owned()),
                ("sasl_plain_password", PASSWORD.to_owned()),
            ]);
        }
        settings
    }

    /// Returns the files for TLS, which exist even if no listener uses them.
    #[must_use]
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// Returns the log file.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.log()
    }

    /// Stops the server in order: SIGTERM, and SIGKILL after 20 s. Does nothing if it does not run.
    ///
    /// # Errors
    /// [`KafkaError::Process`] if the process cannot be signalled or waited for.
    pub fn stop(&mut self) -> Result<(), KafkaError> {
        self.process.take().map_or(Ok(()), Process::stop)
    }

    /// Kills the server by SIGKILL. Does nothing if it does not run.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts the server again on the same ports and data; stops it first if it runs. After a kill this takes ten
    /// seconds longer, until the broker's session has ended.
    ///
    /// # Errors
    /// The same as [`Builder::start`].
    pub fn restart(&mut self) -> Result<(), KafkaError> {
        self.stop()?;
        self.launch()
    }

    /// Lets the server run when this process ends, and keeps its folder. Returns the id of its process, if it runs.
    pub fn detach(mut self) -> Option<u32> {
        let process = self.process.take();
        self.folder.keep();
        process.map(Process::detach)
    }

    /// Returns the log without its first bytes.
    fn log_since(&self, earlier: usize) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = log.get(earlier..).unwrap_or_default();
        String::from_utf8_lossy(log).into_owned()
    }
}

fn ports(first: Option<u16>) -> Result<Ports, KafkaError> {
    let Some(first) = first else {
        return Ports::free();
    };
    let ports = Ports::from(first);
    ports.check()?;
    Ok(ports)
}
