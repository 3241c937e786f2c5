//! Places inside a JSON value, and patterns that name many of them.

use std::fmt;

use serde_json::Value;

/// One step into a JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Key(String),
    Index(usize),
}

/// A place inside a JSON value, shown as `steps[2].salt_after`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Path(Vec<Segment>);

impl Path {
    pub(super) fn key(&self, key: &str) -> Self {
        self.with(Segment::Key(key.to_owned()))
    }

    pub(super) fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    /// The node of `root` at this place.
    pub(super) fn find_mut<'v>(&self, root: &'v mut Value) -> Option<&'v mut Value> {
        self.0.iter().try_fold(root, |node, segment| match segment {
            Segment::Key(key) => node.get_mut(key),
            Segment::Index(index) => node.get_mut(index),
        })
    }

    fn with(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) if position == 0 => write!(f, "{key}")?,
                Segment::Key(key) => write!(f, ".{key}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// One step of a [`Pattern`].
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    AnyKey,
    AnyIndex,
}

impl Step {
    fn admits(&self, segment: &Segment) -> bool {
        match (self, segment) {
            (Step::Key(wanted), Segment::Key(key)) => wanted == key,
            (Step::AnyKey, Segment::Key(_)) | (Step::AnyIndex, Segment::Index(_)) => true,
            _ => false,
        }
    }
}

/// Places named by text: `calls[].salt`, where `[]` is every element and `*` every name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Step>);

impl Pattern {
    /// Reads a pattern; every text is one.
    pub(super) fn new(text: &str) -> Self {
        let mut steps = Vec::new();
        for part in text.split('.') {
            let name = part.trim_end_matches("[]");
            let lists = (part.len() - name.len()) / "[]".len();
            match name {
                "" => {}
                "*" => steps.push(Step::AnyKey),
                name => steps.push(Step::Key(name.to_owned())),
            }
            steps.extend((0..lists).map(|_| Step::AnyIndex));
        }
        Self(steps)
    }

    /// `path` is the place named.
    pub(super) fn names(&self, path: &Path) -> bool {
        self.0.len() == path.0.len() && self.agrees(path)
    }

    /// `path` is the place named, or inside it.
    pub(super) fn covers(&self, path: &Path) -> bool {
        self.0.len() <= path.0.len() && self.agrees(path)
    }

    /// The place named is inside `path`.
    pub(super) fn is_inside(&self, path: &Path) -> bool {
        self.0.len() > path.0.len() && self.agrees(path)
    }

    fn agrees(&self, path: &Path) -> bool {
        self.0
            .iter()
            .zip(&path.0)
            .all(|(step, segment)| step.admits(segment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_cover_and_enclose() {
        let salt = Path::default().key("calls").index(3).key("salt");
        assert_eq!(salt.to_string(), "calls[3].salt");
        assert!(Pattern::new("calls[].salt").names(&salt));
        assert!(Pattern::new("*[].salt").names(&salt));
        assert!(!Pattern::new("calls[]").names(&salt));
        assert!(Pattern::new("calls[]").covers(&salt));
        assert!(Pattern::new("calls[].salt").is_inside(&Path::default().key("calls").index(0)));
        assert!(!Pattern::new("calls[].salt").is_inside(&salt));
        assert!(!Pattern::new("calls.salt").covers(&salt));
    }

    #[test]
    fn nested_lists_are_repeated_brackets() {
        let inner = Path::default().key("keys").index(0).index(1);
        assert!(Pattern::new("keys[][]").names(&inner));
        assert!(!Pattern::new("keys[]").names(&inner));
    }
}
