//! The output of `kc provision`.

use kc::core::keys::VerifyingKey;
use kc::core::provision::{ProvisionedNode, RequestedNode};
use kc::core::ratchet::Seed;
use kc::core::store::config::NodeConfig;
use kc::keystore_file::NodeFiles;
use serde_json::json;

use super::Args;
use crate::args::base64;
use crate::error::CliError;
use crate::ui::Ui;
use crate::ui::until;

/// A node that was made.
pub(super) enum Made {
    Complete(ProvisionedNode),
    /// A node that waits for its certificate.
    Requested {
        node: RequestedNode,
        root: VerifyingKey,
    },
}

impl Made {
    pub(super) fn config_and_seed(&mut self) -> (&mut NodeConfig, Option<&Seed>) {
        match self {
            Self::Complete(node) => (&mut node.config, node.seed.as_ref()),
            Self::Requested { node, .. } => (&mut node.config, node.seed.as_ref()),
        }
    }

    pub(super) fn root(&self) -> &VerifyingKey {
        match self {
            Self::Complete(node) => &node.root,
            Self::Requested { root, .. } => root,
        }
    }

    pub(super) fn report(&self, args: &Args, files: &NodeFiles, ui: Ui) -> Result<(), CliError> {
        if args.json {
            return self.report_json(args, files, ui);
        }
        let (root, config) = (self.root().fingerprint(), files.config());
        let made = format!("{} {} in {}", args.role, args.node, config.display());
        let trust =
            format!("root of trust {root}: nodes exchange data keys only if they share this root");
        match self {
            Self::Complete(node) => {
                ui.result(made)?;
                ui.result(trust)?;
                ui.result(format!("valid {}", until(node.expires)))?;
            }
            Self::Requested { node, .. } => {
                ui.note(made);
                ui.note(trust);
                ui.note(format!(
                    "stdout has the request of the node: sign it with `kc chain sign` on a computer where the root \
                     password can be typed, and store the result with `kc chain install --node {}`",
                    args.node
                ));
                ui.result(base64(&node.to_sign))?;
            }
        }
        if let Some(sealed) = self.escrow() {
            ui.note(
                "the value after `escrow` is the first secret of the ratchet, encrypted for the escrow key; kc does \
                 not store this value, so keep it in a safe place",
            );
            ui.result(format!("escrow {}", base64(sealed)))?;
        }
        if !args.connection.names_broker() {
            ui.note("the configuration names no broker: give -b HOST:PORT with each command");
        }
        Ok(())
    }

    fn report_json(&self, args: &Args, files: &NodeFiles, ui: Ui) -> Result<(), CliError> {
        let (expires, request) = match self {
            Self::Complete(node) => (node.expires.map(|end| end.to_string()), None),
            Self::Requested { node, .. } => (None, Some(base64(&node.to_sign))),
        };
        let result = json!({
            "node": args.node,
            "role": args.role.name(),
            "config": files.config(),
            "root": self.root().fingerprint(),
            "expires": expires,
            "request": request,
            "escrow": self.escrow().map(base64),
        });
        ui.result(result.to_string())
    }

    fn escrow(&self) -> Option<&[u8]> {
        match self {
            Self::Complete(node) => node.escrow.as_deref(),
            Self::Requested { node, .. } => node.escrow.as_deref(),
        }
    }
}
