//! The text of rules: TOML with a table for each rule, and what the rules must fulfil together.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::rule_text::{RuleText, Wrong};
use super::{EngineRule, KeySource, MAX_RULES, Rule, Rules};
use crate::error::SetupError;
use crate::transit::TransitText;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesText {
    transit: Option<TransitText>,
    #[serde(default)]
    rule: Vec<Spanned<RuleText>>,
}
pub(super) fn parse(file: &Path, text: &str) -> Result<Rules, SetupError> {
    let failed = |at: usize, reason: String| SetupError::Rules {
        file: file.to_owned(),
        line: line(text, at),
        text: reason,
    };
    let parsed: RulesText = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        failed(at, error.message().to_owned())
    })?;
    if parsed.rule.is_empty() || parsed.rule.len() > MAX_RULES {
        let reason = format!("expected 1 to {MAX_RULES} rules: a rule begins with [[rule]]");
        return Err(failed(0, reason));
    }
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut rules: Vec<Rule> = Vec::new();
    for spanned in parsed.rule {
        let at = spanned.span().start;
        let rule = spanned.into_inner();
        let named = rule.path.get_ref().clone();
        let path_at = rule.path.span().start;
        let rule = rule
            .check(folder, line(text, at))
            .map_err(|Wrong(at, reason)| failed(at, format!("rule {named}: {reason}")))?;
        if let Some(other) = rules
            .iter()
            .find(|other| together(other, &rule) && other.path.overlaps(&rule.path))
        {
            let reason = format!(
                "rule {named}: the rule at line {} ({}) can select the same value",
                other.line, other.path
            );
            return Err(failed(path_at, reason));
        }
        rules.push(rule);
    }
    let transit = parsed.transit.map(|transit| transit.check(folder));
    let transit = transit
        .transpose()
        .map_err(|(at, text)| failed(at, format!("transit: {text}")))?;
    let needs = rules.iter().find(|rule| rule.engine.needs_transit());
    if let (Some(rule), None) = (needs, &transit) {
        return Err(SetupError::Rules {
            file: file.to_owned(),
            line: rule.line,
            text: format!(
                "rule {}: the rules need a table [transit] with the address of the server",
                rule.path
            ),
        });
    }
    let rules = Rules { rules, transit };
    check_together(&rules).map_err(|(line, text)| SetupError::Rules {
        file: file.to_owned(),
        line,
        text,
    })?;
    Ok(rules)
}

/// Returns whether a topic can exist to which both rules apply.
fn together(one: &Rule, other: &Rule) -> bool {
    let shared = || one.topics.iter().any(|topic| other.topics.contains(topic));
    one.topics.is_empty() || other.topics.is_empty() || shared()
}

/// Checks what concerns several rules: bound fields that stay readable, and key topics that are not data topics.
fn check_together(rules: &Rules) -> Result<(), (usize, String)> {
    let topics = rules.rules.iter().flat_map(|rule| &rule.topics);
    let roots: BTreeSet<&str> = topics.map(|topic| root_of(topic)).collect();
    for rule in &rules.rules {
        if let Some(bind) = &rule.bind {
            let mut others = rules.rules.iter().filter(|other| together(rule, other));
            if let Some(other) = others.find(|other| other.path.overlaps(bind)) {
                let text = format!(
                    "rule {}: bind = {bind} is encrypted itself, by the rule at line {}: bind a field that stays readable",
                    rule.path, other.line
                );
                return Err((rule.line, text));
            }
        }
        if let EngineRule::Kc { key_topic, .. }
        | EngineRule::Envelope {
            key: KeySource::Kc(key_topic),
            ..
        } = &rule.engine
            && roots.contains(key_topic.as_str())
        {
            let text = format!(
                "rule {}: key_topic {key_topic} is a data topic, so each of its consumers could read the field: \
                 give the field a topic name of its own",
                rule.path
            );
            return Err((rule.line, text));
        }
    }
    Ok(())
}

/// Returns the root topic of a topic: its name up to the first dot.
fn root_of(topic: &str) -> &str {
    topic.split_once('.').map_or(topic, |(root, _)| root)
}

fn line(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        parse(Path::new("r.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn refusals_name_line_and_path() {
        for (text, expected) in [
            ("", "r.toml:1: expected 1 to 256 rules"),
            (
                "[[rule]]\npath = \"$.a\"\nengine = \"kc\"\n",
                "r.toml:2: rule $.a: engine kc needs key_topic",
            ),
            (
                "[[rule]]\npath = \"$..a\"\nengine = \"kc\"",
                "r.toml:2: rule $..a: \"..a\" at character 2",
            ),
            (
                "[[rule]]\n\npath = \"$.a\"\nengine = \"ff3\"",
                "r.toml:4: rule $.a: FF3 is broken",
            ),
            (
                "[[rule]]\npath = \"$.a\"\nengine = \"kcx\"",
                "r.toml:3: rule $.a: no engine \"kcx\"",
            ),
            (
                "[[rule]]\npath = \"$.a\"\nengin = \"kc\"",
                "r.toml:3: unknown field `engin`",
            ),
            (
                "[[rule]]\npath = \"$.a\"\nengine = \"kc\"\nkey_topic = \"a.b\"",
                "r.toml:4: rule $.a: key_topic has 1 to 244 letters",
            ),
            (
                "[[rule]]\npath = \"$.a\"\nengine = \"kc\"\nkey_topic = \"k\"\nluhn = true",
                "r.toml:5: rule $.a: luhn is no option of engine kc",
            ),
            (
                "[[rule]]\npath = \"$.a\"\nengine = \"kc\"\nkey_topic = \"k\"\nkey = \"file:k\"",
                "r.toml:5: rule $.a: engine kc takes no key",
            ),
            (
                "[[rule]]\npath = \"$.a\"\nengine = \"fpe\"\nkey = \"file:k\"\nalphabet = \"aa\"",
                "r.toml:5: rule $.a: an alphabet is",
            ),
            (
                "[[rule]]\npath = \"$.a\"\nengine = \"fpe\"\nkey = \"file:k\"\nformat = \"card\"\nkeep_last = 15",
                "r.toml:6: rule $.a: keep_last is 0 or 4",
            ),
            (
                "[[rule]]\npath = \"$.a\"\nengine = \"fpe\"\nkey = \"kc:k\"\nformat = \"card\"",
                "r.toml:4: rule $.a: the data keys of nodes change",
            ),
            (
                "[[rule]]\npath = \"$.a\"\nengine = \"envelope\"\nkey = \"file:k\"\nmax_age = \"5\"",
                "r.toml:5: rule $.a: max_age: ",
            ),
            (
                "[[rule]]\npath = \"$.a\"\nengine = \"kc\"\nkey_topic = \"k\"\nbind = \"$.i[*]\"",
                "r.toml:5: rule $.a: bind must select one value",
            ),
        ] {
            let refusal = refusal(text);
            assert!(refusal.starts_with(expected), "{refusal}\n{expected}");
        }
    }

    #[test]
    fn rules_that_disturb_each_other_are_refused() {
        let rule = |topics: &str, path: &str, more: &str| {
            format!("[[rule]]\ntopics = [{topics}]\npath = \"{path}\"\nengine = \"kc\"\n{more}\n")
        };
        let key = "key_topic = \"k\"";
        let refused = refusal(&(rule("", "$.a", key) + &rule("\"t\"", "$.a.b", key)));
        assert!(
            refused.starts_with("r.toml:8: rule $.a.b: the rule at line 1 ($.a)"),
            "{refused}"
        );
        let apart = rule("\"s\"", "$.a", key) + &rule("\"t\"", "$.a.b", key);
        assert_eq!(Rules::parse(&apart).unwrap().rules().len(), 2);
        let refused = refusal(&rule("\"k.eu\"", "$.a", key));
        assert!(refused.contains("key_topic k is a data topic"), "{refused}");
        let bound = format!("{key}\nbind = \"$.b\"");
        let refused = refusal(&(rule("", "$.a", &bound) + &rule("", "$.b", key)));
        assert!(
            refused.contains("bind = $.b is encrypted itself"),
            "{refused}"
        );
    }

    #[test]
    fn the_only_topic_is_known() {
        let rules = |topics: &str| {
            let text = format!(
                "[[rule]]\ntopics = [{topics}]\npath = \"$.a\"\nengine = \"kc\"\nkey_topic = \"k\""
            );
            Rules::parse(&text).unwrap()
        };
        assert_eq!(rules("\"t\"").only_topic(), Some("t"));
        assert_eq!(rules("\"t\", \"u\"").only_topic(), None);
        assert_eq!(rules("").only_topic(), None);
    }
}
