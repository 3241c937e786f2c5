//! `kc chain inspect`.

use kc::Clock;
use kc::core::chain::{
    Certificate, ChainError, Demand, TrustList, UnverifiedChain, ValidatedChain, encode_chain,
};
use kc::core::keys::VerifyingKey;
use serde::Serialize;

use crate::args::Given;
use crate::certificate::Described;
use crate::error::{CliError, Exit};
use crate::stored::StoredNode;
use crate::ui::Ui;
use crate::ui::until;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The chain, certificate, request or list entry; - is stdin
    #[arg(value_name = "FILE|BASE64|-", default_value = "-")]
    what: Given,

    /// Show whether this node accepts the chain or certificate; the exit code is 5 if the node refuses it
    #[arg(long, value_name = "ID|PATH", help_heading = "Node")]
    node: Option<String>,

    /// Print the content as JSON
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// The JSON of `kc chain inspect`.
#[derive(Debug, Serialize)]
struct Report {
    kind: &'static str,
    certificates: Vec<Described>,
    /// The verdict of the node; null if no node was given.
    verdict: Option<Verdict>,
}

/// The verdict of a node about a chain.
#[derive(Debug, Serialize)]
struct Verdict {
    node: String,
    valid: bool,
    /// The fingerprint of the root of trust under which the chain is valid, or of the key that revokes itself; null if
    /// the chain is not valid.
    root: Option<String>,
    /// The check that refused the chain; null if the chain is valid.
    check: Option<String>,
    reason: Option<String>,
    /// The lists of the node that have an entry for the last key of the chain.
    lists: Vec<&'static str>,
    #[serde(skip)]
    line: String,
}

pub(super) fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
    let bytes = args.what.bytes("the chain or certificate")?;
    let unreadable = |error: ChainError| {
        CliError::refused("the input cannot be read as a chain or certificate", &error)
            .advise("give the whole chain or certificate, as it was printed or stored")
    };
    let (kind, certificates) = read(&bytes).map_err(unreadable)?;
    let key = certificates.last().and_then(|(last, _)| last.keys.signer());
    let node = args.node.as_deref().map(StoredNode::read).transpose()?;
    let verdict = node.map(|node| judge(&node, kind, &bytes, key));
    let refusal = verdict.as_ref().and_then(|(_, refusal)| refusal.clone());
    let report = Report {
        kind,
        certificates: certificates
            .iter()
            .map(|(certificate, signed)| Described::new(certificate, *signed))
            .collect::<Result<_, _>>()
            .map_err(unreadable)?,
        verdict: verdict.map(|(verdict, _)| verdict),
    };
    report.print(args.json, ui)?;
    match refusal {
        Some(error) => {
            let check = error.check();
            let message = format!("refused by check {check}: {error}");
            let advice = format!("`kc explain {check}` shows the party at fault and what to do");
            Err(CliError::new(Exit::Refused, message).advise(advice))
        }
        None => Ok(()),
    }
}

const CHAIN: &str = "chain";
const SIGNED: &str = "signed certificate";
/// A request or a list entry: both have the same form.
const UNSIGNED: &str = "unsigned certificate";

/// The certificates of an input, each with whether it has a signature.
type Certificates<'a> = Vec<(Certificate<'a>, bool)>;

fn read(bytes: &[u8]) -> Result<(&'static str, Certificates<'_>), ChainError> {
    match UnverifiedChain::parse(bytes) {
        Ok(chain) => {
            let links = chain.links().iter();
            let certificates = links.map(|link| {
                // The first certificate of a self-revocation is not signed.
                Certificate::parse_signed(link)
                    .map(|signed| (signed, true))
                    .or_else(|error| match Certificate::parse(link) {
                        Ok(unsigned) => Ok((unsigned, false)),
                        Err(_) => Err(error),
                    })
            });
            Ok((CHAIN, certificates.collect::<Result<_, _>>()?))
        }
        Err(of_chain) => match Certificate::parse(bytes) {
            Ok(certificate) => Ok((UNSIGNED, vec![(certificate, false)])),
            // A signature may begin with the same bytes as a list, even a list of a forbidden length.
            Err(of_certificate) => match (Certificate::parse_signed(bytes), of_chain) {
                (Ok(signed), _) => Ok((SIGNED, vec![(signed, true)])),
                (Err(_), of_chain @ ChainError::Length(_)) => Err(of_chain),
                (Err(_), _) => Err(of_certificate),
            },
        },
    }
}

/// Returns a chain unchanged. For a certificate, returns the chain that consists of this one certificate.
///
/// # Errors
/// [`ChainError`] of the check C02, C06, C07 or C08 if the bytes are neither a chain nor a certificate.
pub(super) fn as_chain(bytes: Vec<u8>) -> Result<Vec<u8>, ChainError> {
    Ok(match read(&bytes)?.0 {
        CHAIN => bytes,
        _ => encode_chain(&[&bytes]),
    })
}

/// Returns the verdict of a node, and the error if the node refuses the chain.
fn judge(
    node: &StoredNode,
    kind: &str,
    bytes: &[u8],
    key: Option<&VerifyingKey>,
) -> (Verdict, Option<ChainError>) {
    let result = match kind {
        CHAIN => validate(node, kind, bytes),
        _ => validate(node, kind, &encode_chain(&[bytes])),
    };
    let id = node.config.node_id();
    let line = match &result {
        Ok(Accepted { proven, by }) => format!(
            "{id} accepts this {by} {}, valid {}",
            proven
                .root()
                .map(VerifyingKey::fingerprint)
                .unwrap_or_default(),
            until(proven.max_age().timestamp())
        ),
        Err(error) => format!("{id} REFUSES this {kind}: {error} ({})", error.check()),
    };
    let lists = [TrustList::Allow, TrustList::Deny].into_iter();
    let lists = lists.filter(|list| key.is_some_and(|key| node.trust.lists(*list, key)));
    let verdict = Verdict {
        node: id.to_owned(),
        valid: result.is_ok(),
        root: result
            .as_ref()
            .ok()
            .and_then(|accepted| accepted.proven.root())
            .map(VerifyingKey::fingerprint),
        check: result.as_ref().err().map(|error| error.check().to_string()),
        reason: result.as_ref().err().map(ToString::to_string),
        lists: lists.map(TrustList::name).collect(),
        line,
    };
    (verdict, result.err())
}

/// Validates a chain without regard to topics and usages. If the chain is not valid but is a self-revocation, validates
/// it as an update of the denylist.
fn validate(node: &StoredNode, kind: &str, bytes: &[u8]) -> Result<Accepted, ChainError> {
    let chain = UnverifiedChain::parse(bytes)?;
    let demand = Demand::at(Clock::system().now());
    let refusal = match chain.validate(&node.trust, &demand) {
        Ok(proven) => {
            let by = format!("{kind} under root of trust");
            return Ok(Accepted { proven, by });
        }
        Err(refusal) => refusal,
    };
    let proven = chain.self_revocation().ok_or(refusal)?.verify()?;
    let by = "self-revocation of key".to_owned();
    Ok(Accepted { proven, by })
}

/// A chain that a node accepts.
struct Accepted {
    proven: ValidatedChain,
    /// The words for people between "accepts this" and the fingerprint of the key that the acceptance relies on.
    by: String,
}

impl Report {
    fn print(&self, as_json: bool, ui: Ui) -> Result<(), CliError> {
        if as_json {
            let json = serde_json::to_string(self).map_err(CliError::from_error)?;
            return ui.result(json);
        }
        ui.result(self.kind)?;
        for (number, certificate) in self.certificates.iter().enumerate() {
            ui.result(format!("certificate {number}"))?;
            for line in certificate.lines() {
                ui.result(format!("  {line}"))?;
            }
        }
        if let Some(verdict) = &self.verdict {
            ui.result(&verdict.line)?;
            for list in &verdict.lists {
                ui.result(format!(
                    "the {list} of {} has an entry for the last key",
                    verdict.node
                ))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD as BASE64;

    use super::*;

    /// A certificate that a root signed. Its signature begins with dc 92, like a list of 37,600 elements.
    const LOOKS_LIKE_A_LIST: &str = "3JLgYyw9fs6nfMNwrTBb1kYwmlQQIjKYXZLVg2Jc/7aDoFnkUOqOe+RuATfa9xQFzowIyl7CChYlMg3Htfs9D5PLQds7Z9S4NuPEQZOSpnVzYWdlc5Kra2V5LWVuY3J5cHS1a2V5LWVuY3J5cHQtc3Vic2NyaWJlkqZ0b3BpY3ORoXSSp3BhdGhsZW4CxCAr48QouuJB4WrW85K0G8jtutjSnK63AtGUJ9xTjVs5dA==";

    #[test]
    fn a_signature_may_begin_as_any_list_does() {
        let mut signed = BASE64.decode(LOOKS_LIKE_A_LIST).unwrap();
        assert_eq!(as_chain(signed.clone()).unwrap(), encode_chain(&[&signed]));
        for head in 0..=u8::MAX {
            signed[0] = head;
            let (kind, certificates) = read(&signed).unwrap();
            assert_eq!((kind, certificates.len()), (SIGNED, 1), "{head:#x}");
        }
    }

    #[test]
    fn too_long_a_chain_is_called_so() {
        let chain = encode_chain(&[&[0; 4][..]; 40]);
        assert_eq!(as_chain(chain), Err(ChainError::Length(40)));
    }
}
