use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use super::{BackendError, BackendErrorKind};

/// The interval at which backends check whether missing subscribed topics have been created.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// The interval at which backends list all topics, for subscriptions with regular expressions.
pub const LIST_INTERVAL: Duration = Duration::from_secs(2);

/// The topics that a member of a consumer group reads, given by name and by regular expressions. A regular expression
/// also selects matching topics that are created later.
///
/// ```
/// use kc_core::backend::Subscription;
///
/// let subscription = Subscription::parse(["orders", r"^sensors\."])?;
/// assert!(subscription.wants("orders") && subscription.wants("sensors.north"));
/// assert!(!subscription.wants("sensorsnorth"));
///
/// let data = subscription.except(|topic| topic.ends_with(".keys"));
/// assert!(!data.wants("sensors.keys"));
/// # Ok::<_, kc_core::backend::BackendError>(())
/// ```
#[derive(Clone, Default)]
pub struct Subscription {
    names: BTreeSet<String>,
    /// The regular expressions, each with its text.
    patterns: Vec<(String, Regex)>,
    excepted: Vec<Arc<Selects>>,
    /// Further topics, whatever `excepted` says. They are always read from their first record.
    added: BTreeSet<String>,
    /// Select such topics.
    selected: Vec<Arc<Selects>>,
}

type Selects = dyn Fn(&str) -> bool + Send + Sync;

impl Subscription {
    /// Creates a subscription to topics by name only.
    pub fn to(topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            names: topics.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// Creates a subscription to topics by name and by regular expressions.
    ///
    /// A text that begins with `^` is a regular expression, because no topic name begins with `^`. The expression must
    /// match from the start of a name, but need not match to its end. To match whole names only, end it with `$`.
    ///
    /// # Errors
    /// Returns an error of the kind `Configuration` if a regular expression is invalid.
    pub fn parse(
        topics: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, BackendError> {
        let mut subscription = Self::default();
        for topic in topics.into_iter().map(Into::into) {
            if topic.starts_with('^') {
                // Without the group, `^` would bind only the first of several alternatives.
                let pattern = Regex::new(&format!("^(?:{topic})")).map_err(|error| {
                    let context = format!("{topic:?} is not a valid regular expression");
                    BackendError::new(BackendErrorKind::Configuration, context).with_source(error)
                })?;
                subscription.patterns.push((topic, pattern));
            } else {
                subscription.names.insert(topic);
            }
        }
        Ok(subscription)
    }

    /// Excludes the topics for which `except` returns true, even if a regular expression matches them. Topics that
    /// are subscribed by name remain.
    #[must_use]
    pub fn except(mut self, except: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.excepted.push(Arc::new(except));
        self
    }

    /// Adds topics by name. A group without a committed position reads them from their first record, also if its start is
    /// [`Latest`](super::GroupStart::Latest).
    #[must_use]
    pub fn and(mut self, topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        for topic in topics.into_iter().map(Into::into) {
            if self.names.insert(topic.clone()) {
                self.added.insert(topic);
            }
        }
        self
    }

    /// Adds the topics for which `select` returns true, now or later, to a subscription with regular expressions, as
    /// [`and`](Self::and) does. Has no effect on a subscription [without](Self::is_open) them.
    #[must_use]
    pub fn and_if(mut self, select: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.selected.push(Arc::new(select));
        self
    }

    /// Returns whether a group without a committed position may start at the end of a topic.
    #[must_use]
    pub fn may_start_at_end(&self, topic: &str) -> bool {
        !self.added.contains(topic) && !self.selects(topic)
    }

    fn selects(&self, topic: &str) -> bool {
        self.is_open() && self.selected.iter().any(|select| select(topic))
    }

    /// Returns the topics that are subscribed by name.
    #[must_use]
    pub fn names(&self) -> &BTreeSet<String> {
        &self.names
    }

    /// Returns whether the subscription contains regular expressions. Topics that are created later may match them.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.patterns.is_empty()
    }

    /// Returns the time after which a backend must look for further topics, or `None` if the subscription cannot gain
    /// further topics. `exists` returns whether a topic is known to exist.
    #[must_use]
    pub fn look_interval(&self, exists: impl Fn(&str) -> bool) -> Option<Duration> {
        if !self.names.iter().all(|name| exists(name)) {
            Some(LOOK_INTERVAL)
        } else {
            self.is_open().then_some(LIST_INTERVAL)
        }
    }

    /// Returns whether the subscription includes a topic.
    #[must_use]
    pub fn wants(&self, topic: &str) -> bool {
        let excepted = || self.excepted.iter().any(|except| except(topic));
        let mut patterns = self.patterns.iter();
        let mut matched = || patterns.any(|(_, pattern)| pattern.is_match(topic));
        self.names.contains(topic) || (matched() && !excepted()) || self.selects(topic)
    }
}

/// Lists the names and the regular expressions, separated by commas. Each text has the form that
/// [`Subscription::parse`] takes.
impl fmt::Display for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns = self.patterns.iter().map(|(text, _)| text.as_str());
        let all: Vec<&str> = self
            .names
            .iter()
            .map(String::as_str)
            .chain(patterns)
            .collect();
        f.write_str(&all.join(", "))
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subscription({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_matches_from_the_beginning_and_may_end_early() {
        let open = Subscription::parse(["^a.c"]).unwrap();
        assert!(open.is_open());
        assert!(open.wants("abc") && open.wants("abcd"));
        assert!(!open.wants("xabc"));
        let exact = Subscription::parse(["^a.c$"]).unwrap();
        assert!(!exact.wants("abcd"));
    }

    #[test]
    fn each_alternative_begins_at_the_start_of_a_name() {
        let either = Subscription::parse(["^a|b"]).unwrap();
        assert!(either.wants("a") && either.wants("b"));
        assert!(!either.wants("xb"));
        assert_eq!(either.to_string(), "^a|b");
    }

    #[test]
    fn a_name_is_no_expression_and_is_never_excepted() {
        let named = Subscription::parse(["a.c"]).unwrap().except(|_| true);
        assert!(!named.is_open());
        assert!(named.wants("a.c") && !named.wants("abc"));
    }

    #[test]
    fn added_topics_are_wanted_although_they_are_excepted() {
        let open = Subscription::parse(["^a"]).unwrap();
        let open = open.except(|topic| topic.ends_with(".x")).and(["z"]);
        let open = open.and_if(|topic| topic == "b.x");
        assert!(open.wants("b.x") && open.wants("z") && open.wants("a"));
        assert!(!open.wants("a.x") && !open.wants("b"));
        assert!(open.may_start_at_end("a") && !open.may_start_at_end("b.x"));
        let named = Subscription::to(["a"]).and(["a", "z"]);
        assert!(named.may_start_at_end("a") && !named.may_start_at_end("z"));
        assert!(!Subscription::to(["a"]).and_if(|_| true).wants("b"));
    }

    #[test]
    fn topics_are_looked_for_as_long_as_they_can_come() {
        let named = Subscription::to(["a", "b"]);
        assert_eq!(named.look_interval(|name| name == "a"), Some(LOOK_INTERVAL));
        assert_eq!(named.look_interval(|_| true), None);
        let open = Subscription::parse(["a", "^b"]).unwrap();
        assert_eq!(open.look_interval(|_| false), Some(LOOK_INTERVAL));
        assert_eq!(open.look_interval(|_| true), Some(LIST_INTERVAL));
    }

    #[test]
    fn what_is_no_expression_is_told() {
        let error = Subscription::parse(["^(a"]).unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::Configuration);
        assert!(error.to_string().contains("^(a"), "{error}");
    }
}
