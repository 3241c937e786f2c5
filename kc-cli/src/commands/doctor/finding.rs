//! The checks of `kc doctor`, and their results.

use kc::core::text::counted;
use serde::Serialize;

use crate::error::{CliError, Exit};
use crate::ui::Ui;

macro_rules! checks {
    ($($name:ident = $id:literal, $page:literal;)*) => {
        /// A check. `docs/doctor.md` explains each of them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Check { $($name,)* }

        impl Check {
            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the stable name of the check.
            pub(super) const fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }

            /// Returns the page of the documentation that explains the subject of the check.
            const fn page(self) -> &'static str {
                match self { $(Self::$name => $page,)* }
            }
        }
    };
}

checks! {
    FilesContent = "files.content", "docs/protocol.md#files-of-a-node";
    FilesExist = "files.exist", "docs/protocol.md#files-of-a-node";
    FilesPermissions = "files.permissions", "docs/security.md#files";
    FilesFolder = "files.folder", "docs/kafka.md#read-only-folders-kubernetes-and-other-orchestrators";
    FilesDisk = "files.disk", "docs/doctor.md#files";
    FilesLock = "files.lock", "docs/observability.md#status";
    ConfigKafka = "config.kafka", "docs/kafka.md#settings";
    ConfigUnknown = "config.unknown", "docs/doctor.md#configuration";
    ConfigIdle = "config.idle", "docs/kafka.md#settings";
    ConfigRisk = "config.risk", "docs/doctor.md#configuration";
    TrustRoots = "trust.roots", "docs/security.md#trust";
    TrustPassword = "trust.password", "docs/security.md#quantum-computers";
    TrustClassical = "trust.classical", "docs/security.md#quantum-computers";
    ChainValid = "chain.valid", "docs/checks.md#certificate-chains";
    ChainEnd = "chain.end", "docs/observability.md#events";
    ChainLength = "chain.length", "docs/checks.md#certificate-chains";
    ChainUsages = "chain.usages", "docs/checks.md#certificate-chains";
    ChainTopics = "chain.topics", "docs/commands.md#topics-in-certificates";
    RatchetState = "ratchet.state", "docs/protocol.md#the-ratchet";
    RatchetCopy = "ratchet.copy", "docs/security.md#forward-secrecy";
    TokenKeys = "token.keys", "docs/hsm.md";
    BrokerResolve = "broker.resolve", "docs/kafka.md#checking-a-connection";
    BrokerConnect = "broker.connect", "docs/kafka.md#checking-a-connection";
    BrokerTls = "broker.tls", "docs/kafka.md#tls-and-sasl";
    BrokerSasl = "broker.sasl", "docs/kafka.md#tls-and-sasl";
    BrokerVersions = "broker.versions", "docs/kafka.md#backends";
    BrokerAdvertised = "broker.advertised", "docs/kafka.md#brokers-behind-another-address";
    BrokerAnswers = "broker.answers", "docs/kafka.md#checking-a-connection";
    BrokerTopics = "broker.topics", "docs/kafka.md#access-control-lists";
    TopicsExist = "topics.exist", "docs/protocol.md#topics";
    TopicsPartitions = "topics.partitions", "docs/kafka.md#control-topics-with-several-partitions";
    TopicsRetention = "topics.retention", "docs/doctor.md#topics";
    TopicsAccess = "topics.access", "docs/kafka.md#access-control-lists";
    ClockRecords = "clock.records", "docs/doctor.md#clock-and-answers";
    ClockAnswers = "clock.answers", "docs/doctor.md#clock-and-answers";
    ExchangeAnswers = "exchange.answers", "docs/protocol.md#key-exchange";
    ExchangeCustody = "exchange.custody", "docs/custody.md#how-it-works";
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Ok,
    Warn,
    Fail,
    Skip,
}

/// The result of a check on one target, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Finding<'a> {
    check: &'static str,
    result: Outcome,
    /// The file, setting, key, topic or server that was checked.
    target: &'a str,
    detail: &'a str,
    /// True if `--fix` has just corrected what was wrong.
    fixed: bool,
    /// What to do; null if the result is ok.
    advice: Option<&'a str>,
    /// The page of the documentation; null if the result is ok.
    page: Option<&'static str>,
}

/// Prints findings, and remembers which checks failed.
#[derive(Debug)]
pub(super) struct Findings {
    ui: Ui,
    json: bool,
    failed: Vec<Check>,
}

impl Outcome {
    fn mark(self) -> &'static str {
        match self {
            Self::Ok => "ok  ",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
            Self::Skip => "skip",
        }
    }
}

impl Findings {
    pub(super) fn new(ui: Ui, json: bool) -> Self {
        Self {
            ui,
            json,
            failed: Vec::new(),
        }
    }

    /// Reports that a target passes a check.
    pub(super) fn ok(
        &mut self,
        check: Check,
        target: impl AsRef<str>,
        detail: impl AsRef<str>,
    ) -> Result<(), CliError> {
        self.add(check, Outcome::Ok, target.as_ref(), detail.as_ref(), None)
    }

    /// Reports that a target passes a check because `--fix` has just corrected it.
    pub(super) fn fixed(
        &mut self,
        check: Check,
        target: impl AsRef<str>,
        detail: impl AsRef<str>,
    ) -> Result<(), CliError> {
        self.print(&Finding {
            check: check.id(),
            result: Outcome::Ok,
            target: target.as_ref(),
            detail: detail.as_ref(),
            fixed: true,
            advice: None,
            page: None,
        })
    }

    /// Reports something that works, but that the operator should know or change.
    pub(super) fn warn(
        &mut self,
        check: Check,
        target: impl AsRef<str>,
        detail: impl AsRef<str>,
        advice: impl AsRef<str>,
    ) -> Result<(), CliError> {
        let (target, detail) = (target.as_ref(), detail.as_ref());
        self.add(check, Outcome::Warn, target, detail, Some(advice.as_ref()))
    }

    /// Reports that a target fails a check.
    pub(super) fn fail(
        &mut self,
        check: Check,
        target: impl AsRef<str>,
        detail: impl AsRef<str>,
        advice: impl AsRef<str>,
    ) -> Result<(), CliError> {
        let (target, detail) = (target.as_ref(), detail.as_ref());
        self.failed.push(check);
        self.add(check, Outcome::Fail, target, detail, Some(advice.as_ref()))
    }

    /// Reports that a check is not possible.
    pub(super) fn skip(
        &mut self,
        check: Check,
        target: impl AsRef<str>,
        detail: impl AsRef<str>,
        advice: impl AsRef<str>,
    ) -> Result<(), CliError> {
        let (target, detail) = (target.as_ref(), detail.as_ref());
        self.add(check, Outcome::Skip, target, detail, Some(advice.as_ref()))
    }

    /// Reports that checks are not possible because a target did not pass the check `failed`.
    pub(super) fn skip_all(
        &mut self,
        checks: &[Check],
        target: &str,
        failed: Check,
    ) -> Result<(), CliError> {
        let detail = format!("depends on {}, which did not pass", failed.id());
        let advice = format!("correct {} first", failed.id());
        for check in checks {
            self.skip(*check, target, &detail, &advice)?;
        }
        Ok(())
    }

    /// Returns whether a target failed this check.
    pub(super) fn has_failed(&self, check: Check) -> bool {
        self.failed.contains(&check)
    }

    /// Ends the examination.
    ///
    /// # Errors
    /// [`Exit::Refused`] if a check failed.
    pub(super) fn end(self) -> Result<(), CliError> {
        match self.failed.len() {
            0 => Ok(()),
            failed => Err(CliError::new(
                Exit::Refused,
                format!("{} failed", counted(failed, "check")),
            )
            .advise("follow the advice beside each FAIL, from the first to the last")),
        }
    }

    fn add(
        &mut self,
        check: Check,
        result: Outcome,
        target: &str,
        detail: &str,
        advice: Option<&str>,
    ) -> Result<(), CliError> {
        self.print(&Finding {
            check: check.id(),
            result,
            target,
            detail,
            fixed: false,
            advice,
            page: advice.map(|_| check.page()),
        })
    }

    fn print(&self, finding: &Finding<'_>) -> Result<(), CliError> {
        if self.json {
            let line = serde_json::to_string(finding).map_err(CliError::from_error)?;
            return self.ui.result(line);
        }
        let fixed = if finding.fixed { "fixed: " } else { "" };
        self.ui.result(format!(
            "{}  {:<18} {}: {fixed}{}",
            finding.result.mark(),
            finding.check,
            finding.target,
            finding.detail
        ))?;
        if let (Some(advice), Some(page)) = (finding.advice, finding.page) {
            self.ui.result(format!("      advice: {advice} ({page})"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../../docs/doctor.md");

    /// Returns the ids in the first column of the tables. All ids have a dot, unlike the results.
    fn documented() -> Vec<&'static str> {
        let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `"));
        let names = rows.filter_map(|row| Some(row.split_once('`')?.0));
        names.filter(|name| name.contains('.')).collect()
    }

    #[test]
    fn each_check_is_documented_once_and_no_other() {
        let mut ids: Vec<_> = Check::ALL.iter().map(|check| check.id()).collect();
        let mut documented = documented();
        ids.sort_unstable();
        documented.sort_unstable();
        assert_eq!(ids, documented);
    }

    /// Returns the anchor that a heading gets on the usual web pages for Markdown.
    fn anchor(heading: &str) -> String {
        let kept = heading.trim_start_matches('#').trim().chars();
        let kept = kept.filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-'));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    }

    #[test]
    fn each_page_exists_and_has_the_heading() {
        for check in Check::ALL {
            let page = check.page();
            let (path, heading) = page.split_once('#').unwrap_or((page, ""));
            let text = std::fs::read_to_string(format!("{}/../{path}", env!("CARGO_MANIFEST_DIR")));
            let text = text.unwrap_or_else(|error| panic!("{page}: {error}"));
            let mut headings = text.lines().filter(|line| line.starts_with('#'));
            assert!(
                heading.is_empty() || headings.any(|line| anchor(line) == heading),
                "{page}"
            );
        }
    }
}
