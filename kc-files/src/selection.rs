use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::error::FilesError;
use crate::path::STATE_FOLDER;

/// Which files of a folder are sent: by default all but hidden ones, whose name or whose folder's name begins with a dot.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    include: Option<GlobSet>,
    exclude: GlobSet,
    hidden: bool,
}

impl Selection {
    /// Creates a selection of the files that match one of `include` and none of `exclude`. An empty `include` matches
    /// all files. A pattern without `/` applies to names, one with `/` to paths.
    pub(crate) fn new(
        include: &[String],
        exclude: &[String],
        hidden: bool,
    ) -> Result<Self, FilesError> {
        Ok(Self {
            include: match include {
                [] => None,
                patterns => Some(set(patterns)?),
            },
            exclude: set(exclude)?,
            hidden,
        })
    }

    /// Returns whether a file is sent. `path` is relative to the folder.
    pub(crate) fn selects(&self, path: &str) -> bool {
        let is_hidden = || path.split('/').any(|name| name.starts_with('.'));
        !path.split('/').any(|name| name == STATE_FOLDER)
            && (self.hidden || !is_hidden())
            && self.include.as_ref().is_none_or(|set| set.is_match(path))
            && !self.exclude.is_match(path)
    }

    /// Returns whether files in a folder can be selected.
    pub(crate) fn enters(&self, name: &str) -> bool {
        name != STATE_FOLDER && (self.hidden || !name.starts_with('.'))
    }
}

fn set(patterns: &[String]) -> Result<GlobSet, FilesError> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let pattern = match pattern.contains('/') {
            true => pattern.trim_start_matches('/').to_owned(),
            false => format!("**/{pattern}"),
        };
        set.add(GlobBuilder::new(&pattern).literal_separator(true).build()?);
    }
    Ok(set.build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_without_slash_apply_to_names() {
        let text = |patterns: &[&str]| Vec::from_iter(patterns.iter().map(|&it| it.to_owned()));
        let some = Selection::new(&text(&["*.csv", "raw/**"]), &text(&["tmp*"]), false).unwrap();
        for (path, expected) in [
            ("a.csv", true),
            ("deep/down/a.csv", true),
            ("a.txt", false),
            ("raw/x/a.txt", true),
            ("tmp.csv", false),
            ("raw/x/tmp1", false),
            (".a.csv", false),
            (".git/a.csv", false),
        ] {
            assert_eq!(some.selects(path), expected, "{path}");
        }
        let all = Selection::new(&[], &[], true).unwrap();
        assert!(all.selects(".a") && !all.selects(".kc-files/send.redb"));
        assert!(Selection::new(&text(&["a["]), &[], false).is_err());
    }
}
