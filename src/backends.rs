use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use kc_core::backend::{Backend, BackendError, BackendErrorKind, ClientSettings};
#[cfg(feature = "file")]
use kc_core::store::config::Section;
#[cfg(feature = "file")]
use kc_keystore_file::{Settings, SettingsError};
use serde::Deserialize;

#[cfg(feature = "file")]
pub(crate) use by_role::ByRole;

/// The choice of a Kafka client. Features of this crate build in the clients.
///
/// ```
/// use kc::BackendChoice;
///
/// let choice: BackendChoice = "pure".parse()?;
/// assert_eq!(choice.to_string(), "pure");
/// assert!("java".parse::<BackendChoice>().is_err());
/// # Ok::<_, kc::BackendError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
#[non_exhaustive]
pub enum BackendChoice {
    /// Kafka in pure Rust, for brokers from 3.9 on. The default, even if other clients are built in.
    #[default]
    Pure,
    /// librdkafka.
    Rdkafka,
    /// The crate `kafka`, for brokers older than 4.0.
    Legacy,
}

impl BackendChoice {
    /// All Kafka clients, including clients that are not built in.
    pub const ALL: [Self; 3] = [Self::Pure, Self::Rdkafka, Self::Legacy];

    /// Returns the name of the choice in configurations.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pure => "pure",
            Self::Rdkafka => "rdkafka",
            Self::Legacy => "legacy",
        }
    }

    /// Returns the feature of this crate that builds in the client.
    #[must_use]
    pub const fn feature(self) -> &'static str {
        match self {
            Self::Pure => "pure",
            Self::Rdkafka => "rdkafka",
            Self::Legacy => "legacy-kafka",
        }
    }

    /// Returns whether the client is built in.
    #[must_use]
    pub const fn is_built_in(self) -> bool {
        match self {
            Self::Pure => cfg!(feature = "pure"),
            Self::Rdkafka => cfg!(feature = "rdkafka"),
            Self::Legacy => cfg!(feature = "legacy-kafka"),
        }
    }

    /// Returns the choice that the settings of a node make: the entry `backend` of the node's own section, or the
    /// default if there is no such entry.
    ///
    /// # Errors
    /// Returns [`SettingsError::Value`] if the entry does not name a backend. The error names the entry and its origin.
    #[cfg(feature = "file")]
    pub fn of(settings: &Settings<'_>) -> Result<Self, SettingsError> {
        #[derive(Deserialize)]
        struct Own {
            #[serde(default)]
            backend: BackendChoice,
        }
        let own: Own = settings.extract(Section::NODE)?;
        Ok(own.backend)
    }

    /// Returns the choices that are built in.
    pub fn built_in() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|choice| choice.is_built_in())
    }

    /// Returns a backend with these settings. The backend connects when a client is requested from it.
    ///
    /// # Errors
    /// Returns a [`BackendError`] of kind `Unsupported` if the client is not built in or does not support a setting, and
    /// of kind `Configuration` if the client does not accept the value of a setting.
    pub fn backend(self, settings: ClientSettings) -> Result<Arc<dyn Backend>, BackendError> {
        match self {
            #[cfg(feature = "pure")]
            Self::Pure => Ok(Arc::new(kc_backend_pure::PureBackend::new(settings)?)),
            #[cfg(feature = "rdkafka")]
            Self::Rdkafka => Ok(Arc::new(kc_backend_rdkafka::RdkafkaBackend::new(settings)?)),
            #[cfg(feature = "legacy-kafka")]
            Self::Legacy => Ok(Arc::new(kc_backend_pure::LegacyBackend::new(settings)?)),
            #[cfg(not(all(feature = "pure", feature = "rdkafka", feature = "legacy-kafka")))]
            _ => {
                drop(settings);
                Err(self.not_built_in())
            }
        }
    }

    #[cfg(not(all(feature = "pure", feature = "rdkafka", feature = "legacy-kafka")))]
    fn not_built_in(self) -> BackendError {
        let there: Vec<_> = Self::built_in().map(Self::name).collect();
        let there = match there.as_slice() {
            [] => "none".to_owned(),
            names => names.join(", "),
        };
        BackendError::new(
            BackendErrorKind::Unsupported,
            format!("this build of kc has no backend {self} (it has: {there})"),
        )
        .with_advice(match self {
            Self::Pure => "build kc with the feature `pure`",
            Self::Rdkafka => "build kc with the feature `rdkafka`",
            Self::Legacy => "build kc with the feature `legacy-kafka`",
        })
    }
}

impl fmt::Display for BackendChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for BackendChoice {
    type Err = BackendError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL
            .into_iter()
            .find(|choice| choice.name().eq_ignore_ascii_case(text));
        named.ok_or_else(|| {
            BackendError::new(
                BackendErrorKind::Configuration,
                format!("unknown backend {text:?}: the backends are pure, rdkafka and legacy"),
            )
        })
    }
}

impl TryFrom<String> for BackendChoice {
    type Error = BackendError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(feature = "file")]
mod by_role {
    use std::sync::Arc;

    use async_trait::async_trait;
    use kc_core::backend::{
        Admin, Backend, BackendError, Capabilities, GroupConsumer, GroupStart, LogReader, Producer,
        Subscription,
    };

    /// A backend that uses one backend to send records and to manage topics, and another backend to read records. Two
    /// backends are needed because producers and consumers have separate settings in the configuration of a node.
    #[derive(Debug)]
    pub(crate) struct ByRole {
        pub(crate) sending: Arc<dyn Backend>,
        pub(crate) reading: Arc<dyn Backend>,
    }

    #[async_trait]
    impl Backend for ByRole {
        fn name(&self) -> &'static str {
            self.sending.name()
        }

        fn capabilities(&self) -> Capabilities {
            self.sending.capabilities()
        }

        async fn admin(&self) -> Result<Box<dyn Admin>, BackendError> {
            self.sending.admin().await
        }

        async fn producer(&self) -> Result<Box<dyn Producer>, BackendError> {
            self.sending.producer().await
        }

        async fn log_reader(
            &self,
            group: Option<&str>,
        ) -> Result<Box<dyn LogReader>, BackendError> {
            self.reading.log_reader(group).await
        }

        async fn group_consumer(
            &self,
            group: &str,
            topics: &Subscription,
            start: GroupStart,
        ) -> Result<Box<dyn GroupConsumer>, BackendError> {
            self.reading.group_consumer(group, topics, start).await
        }
    }
}
