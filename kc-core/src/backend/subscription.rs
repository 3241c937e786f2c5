use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use super::{BackendError, BackendErrorKind};

/// How often backends look for topics that do not exist yet.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// How often backends list all topics, for subscriptions by regular expressions.
pub const LIST_INTERVAL: Duration = Duration::from_secs(2);

/// Which topics a group's member reads: by their names, and by regular expressions, which topics that appear
/// later may match, too.
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
    patterns: Vec<Regex>,
    excepted: Vec<Arc<Except>>,
}

type Except = dyn Fn(&str) -> bool + Send + Sync;

impl Subscription {
    /// Topics by their names alone.
    pub fn to(topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            names: topics.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// Topics by their names, and by regular expressions: what begins with `^`, which no name does. An expression
    /// that has no `$` matches whatever follows.
    ///
    /// # Errors
    /// `Configuration` if an expression is none.
    pub fn parse(
        topics: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, BackendError> {
        let mut subscription = Self::default();
        for topic in topics.into_iter().map(Into::into) {
            if topic.starts_with('^') {
                let pattern = Regex::new(&topic).map_err(|error| {
                    let context = format!("{topic:?} is no regular expression");
                    BackendError::new(BackendErrorKind::Configuration, context).with_source(error)
                })?;
                subscription.patterns.push(pattern);
            } else {
                subscription.names.insert(topic);
            }
        }
        Ok(subscription)
    }

    /// Leaves out what an expression matches by accident; a topic that is named stays.
    #[must_use]
    pub fn except(mut self, except: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.excepted.push(Arc::new(except));
        self
    }

    /// The topics that are named.
    #[must_use]
    pub fn names(&self) -> &BTreeSet<String> {
        &self.names
    }

    /// Whether there are expressions, so that any topic that appears may belong to it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.patterns.is_empty()
    }

    /// How soon to look for further topics of it; `None` if none can come. `exists` says which are known to exist.
    #[must_use]
    pub fn look_interval(&self, exists: impl Fn(&str) -> bool) -> Option<Duration> {
        if !self.names.iter().all(|name| exists(name)) {
            Some(LOOK_INTERVAL)
        } else {
            self.is_open().then_some(LIST_INTERVAL)
        }
    }

    /// Whether a topic belongs to it.
    #[must_use]
    pub fn wants(&self, topic: &str) -> bool {
        let excepted = || self.excepted.iter().any(|except| except(topic));
        let matched = || self.patterns.iter().any(|pattern| pattern.is_match(topic));
        self.names.contains(topic) || (matched() && !excepted())
    }
}

/// Names and expressions, as they are given to [`Subscription::parse`].
impl fmt::Display for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns = self.patterns.iter().map(Regex::as_str);
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
    fn a_name_is_no_expression_and_is_never_excepted() {
        let named = Subscription::parse(["a.c"]).unwrap().except(|_| true);
        assert!(!named.is_open());
        assert!(named.wants("a.c") && !named.wants("abc"));
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
