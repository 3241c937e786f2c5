use std::borrow::Cow;

use bytes::Bytes;
use kc_core::backend::Header;

/// A record to be sent.
///
/// ```
/// use kc_actors::Record;
///
/// let record = Record::to("readings").key("a").value(vec![1, 2]).header("unit", "celsius");
/// # let _ = record;
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Record<'a> {
    pub(super) topic: Cow<'a, str>,
    pub(super) partition: Option<i32>,
    pub(super) key: Option<Payload<'a>>,
    pub(super) value: Option<Payload<'a>>,
    pub(super) headers: Vec<Header>,
}

/// The bytes of a Kafka key or value: borrowed, owned, or shared.
#[derive(Clone, Debug)]
pub struct Payload<'a>(Source<'a>);

#[derive(Clone, Debug)]
enum Source<'a> {
    Borrowed(&'a [u8]),
    Owned(Vec<u8>),
    Shared(Bytes),
}

impl<'a> Record<'a> {
    /// Creates a record for `topic` with a null key and a null value.
    pub fn to(topic: impl Into<Cow<'a, str>>) -> Self {
        Self {
            topic: topic.into(),
            partition: None,
            key: None,
            value: None,
            headers: Vec::new(),
        }
    }

    /// Sets the Kafka key. Records with equal keys go to the same partition, unless
    /// [`partition`](method@Self::partition) sets another one or the number of partitions changes.
    pub fn key(mut self, key: impl Into<Payload<'a>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets the Kafka value.
    pub fn value(mut self, value: impl Into<Payload<'a>>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// Sets the partition. Without this call, the producer chooses the partition by the hash of the plaintext key, as
    /// Kafka's own clients do. A record without a key may go to any partition.
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Adds a header. Headers are not sealed: brokers see them.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Payload<'a>>) -> Self {
        self.headers.push(Header {
            name: name.into(),
            value: Some(value.into().into_vec()),
        });
        self
    }

    /// Replaces all headers, for example with the headers of a record that is forwarded.
    pub fn headers(mut self, headers: Vec<Header>) -> Self {
        self.headers = headers;
        self
    }
}

impl Payload<'_> {
    pub(super) fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Source::Borrowed(bytes) => bytes,
            Source::Owned(bytes) => bytes,
            Source::Shared(bytes) => bytes,
        }
    }

    pub(super) fn into_vec(self) -> Vec<u8> {
        match self.0 {
            Source::Borrowed(bytes) => bytes.to_vec(),
            Source::Owned(bytes) => bytes,
            Source::Shared(bytes) => bytes.into(),
        }
    }
}

impl<'a> From<&'a [u8]> for Payload<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self(Source::Borrowed(bytes))
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Payload<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self(Source::Borrowed(bytes))
    }
}

impl<'a> From<&'a Vec<u8>> for Payload<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self(Source::Borrowed(bytes))
    }
}

impl<'a> From<&'a str> for Payload<'a> {
    fn from(text: &'a str) -> Self {
        Self(Source::Borrowed(text.as_bytes()))
    }
}

impl<'a> From<&'a String> for Payload<'a> {
    fn from(text: &'a String) -> Self {
        Self(Source::Borrowed(text.as_bytes()))
    }
}

impl From<Vec<u8>> for Payload<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Source::Owned(bytes))
    }
}

impl From<String> for Payload<'_> {
    fn from(text: String) -> Self {
        Self(Source::Owned(text.into_bytes()))
    }
}

impl From<Bytes> for Payload<'_> {
    fn from(bytes: Bytes) -> Self {
        Self(Source::Shared(bytes))
    }
}
