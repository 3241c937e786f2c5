//! Starts and stops a broker.

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

/// The reason why a broker did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// The broker cannot listen on the address: the address is in use, does not belong to this host, or is not
    /// permitted.
    #[error("cannot listen on {address}")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// The error of the operating system.
        source: io::Error,
    },
}

/// The settings of a broker that has not been started. [`Broker::builder`] returns the default settings.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is started"]
pub struct Builder {
    listen: SocketAddr,
    memory_limit: usize,
    settings: Settings,
}

impl Builder {
    /// Sets the address to listen on; port 0 selects a free port. Default: `127.0.0.1:0`.
    ///
    /// The broker has no authentication and no encryption. If the address is not a loopback address, every client that
    /// reaches it can read and delete everything. In this case the broker logs a warning (target `kc_broker::exposed`).
    ///
    /// In its responses, the broker gives each client the address at which this client reached the broker.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Sets whether a request for the metadata of an unknown topic creates the topic, if the client
    /// allows it. Default: true.
    pub fn auto_create(mut self, auto_create: bool) -> Self {
        self.settings.auto_create = auto_create;
        self
    }

    /// Sets the number of partitions of a new topic if the client requests no number. Default: 1.
    pub fn default_partitions(mut self, partitions: NonZeroU16) -> Self {
        self.settings.default_partitions = partitions.get();
        self
    }

    /// Sets the limit of the memory for stored records, in bytes. When the limit is reached, the broker logs a warning
    /// and refuses records with `POLICY_VIOLATION` (44). Clients do not retry after this error. Default:
    /// [`DEFAULT_MEMORY_LIMIT`].
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.memory_limit = bytes;
        self
    }

    /// Starts the broker on the current tokio runtime, which needs the I/O and time drivers. When this method returns,
    /// the broker accepts connections.
    ///
    /// Cancel safe: if the future is dropped before it completes, no broker is started.
    ///
    /// # Errors
    ///
    /// Returns [`BrokerError::Listen`] if the broker cannot listen on the address.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
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
                "every client that reaches this address can read and delete everything"
            );
        }
        tracing::info!(%address, "broker listening");
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

/// A running broker. Dropping this value stops the broker, too, but does not wait until its tasks have ended.
#[derive(Debug)]
#[must_use = "a broker stops when it is dropped"]
pub struct Broker {
    address: SocketAddr,
    faults: Faults,
    /// The broker's task ends when this sender is dropped.
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Broker {
    /// Returns the default settings: a broker on a free port of `127.0.0.1` that creates topics on
    /// demand.
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

    /// Returns the address that clients use as their bootstrap server.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns a handle that makes requests fail, for tests of clients.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// Stops the broker. When this method returns, all connections are closed, all tasks have ended,
    /// the port is free, and all records are lost.
    ///
    /// Cancel safe: if the future is dropped, the broker still stops.
    pub async fn shutdown(self) {
        drop(self.stop);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "broker task failed");
        }
    }
}
