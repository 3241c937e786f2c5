//! Starting and stopping a broker.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::faults::Faults;
use crate::limits::DEFAULT_MEMORY_LIMIT;
use crate::server;
use crate::state::{Settings, Shared};

/// Why a broker did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// The address cannot be listened on: taken, not of this host, or not allowed.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
}

/// How a broker is to be. See [`Broker::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is started"]
pub struct Builder {
    listen: SocketAddr,
    memory_limit: usize,
    settings: Settings,
}

impl Builder {
    /// Listens on this address; port 0 takes a free one. Default: `127.0.0.1:0`.
    ///
    /// The broker has no authentication and no encryption: on any other address than loopback,
    /// whoever reaches it can read and delete everything. It warns then (target
    /// `kc_broker::exposed`).
    ///
    /// Clients are referred to the address by which they reached the broker.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Whether a topic comes to be when a client that allows it asks for its metadata. Default:
    /// true.
    pub fn auto_create(mut self, auto_create: bool) -> Self {
        self.settings.auto_create = auto_create;
        self
    }

    /// Partitions of a topic for which no number is given. Default: 1.
    pub fn default_partitions(mut self, partitions: NonZeroU16) -> Self {
        self.settings.default_partitions = partitions.get();
        self
    }

    /// Bytes of records to keep; beyond it the broker warns and refuses records by
    /// `POLICY_VIOLATION` (44), which clients do not retry. Default: [`DEFAULT_MEMORY_LIMIT`].
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.memory_limit = bytes;
        self
    }

    /// Starts the broker on the current tokio runtime, which needs its I/O and time drivers. It
    /// accepts connections when this returns.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Listen`] if the address cannot be listened on.
    pub async fn start(self) -> Result<Broker, BrokerError> {
        let failed = |source| BrokerError::Listen {
            address: self.listen,
            source,
        };
        let listener = TcpListener::bind(self.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        if !address.ip().is_loopback() {
            tracing::warn!(
                target: "kc_broker::exposed",
                %address,
                "anyone who reaches this address can read and delete everything"
            );
        }
        tracing::info!(%address, "broker listens");
        let faults = Faults::default();
        let shared = Shared::new(self.settings, self.memory_limit, faults.clone());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server::run(listener, Arc::new(shared), stopped));
        Ok(Broker {
            address,
            faults,
            stop,
            task,
        })
    }
}

/// A running broker. Dropping it stops it too, without waiting for the end.
#[derive(Debug)]
#[must_use = "a broker stops when it is dropped"]
pub struct Broker {
    address: SocketAddr,
    faults: Faults,
    /// Dropped, it stops the task.
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Broker {
    /// A broker on a free port of `127.0.0.1` that creates topics on demand, unless told
    /// otherwise.
    pub fn builder() -> Builder {
        Builder {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            memory_limit: DEFAULT_MEMORY_LIMIT,
            settings: Settings {
                auto_create: true,
                default_partitions: 1,
            },
        }
    }

    /// The address to give to clients as bootstrap server.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The switches for misbehaviour.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// Stops: no more connections are accepted, all are closed, all tasks have ended and the port
    /// is free when this returns. All records are gone.
    pub async fn shutdown(self) {
        drop(self.stop);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the broker's task failed");
        }
    }
}
