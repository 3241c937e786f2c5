//! The data folder, which must be formatted once.

use std::fs;
use std::path::Path;

use super::cluster::Member;
use super::error::{printed, tail};
use super::java::Java;
use super::{KafkaError, PASSWORD, USER};

/// Formats the data folder unless it is formatted; returns the cluster's id.
pub(super) fn prepare(
    java: &Java,
    data: &Path,
    properties: &Path,
    member: Option<&Member>,
) -> Result<String, KafkaError> {
    let about = data.join("meta.properties");
    if !about.exists() {
        format(java, properties, member)?;
    }
    let text = fs::read_to_string(&about).map_err(KafkaError::file(&about))?;
    let id = text
        .lines()
        .find_map(|line| line.strip_prefix("cluster.id="));
    Ok(id.unwrap_or_default().to_owned())
}

fn format(java: &Java, properties: &Path, member: Option<&Member>) -> Result<(), KafkaError> {
    let mut command = java.command("kafka.tools.StorageTool");
    command.arg("format");
    match member {
        Some(member) => command.args(["-t", &member.cluster_id]),
        None => command.args(["--standalone", "-t", &cluster_id()]),
    };
    command.arg("-c").arg(properties);
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let credential = format!("{mechanism}=[name={USER},password={PASSWORD}]");
        command.args(["--add-scram", &credential]);
    }
    let output = command.output().map_err(KafkaError::program("java"))?;
    if !output.status.success() {
        return Err(KafkaError::Format(tail(&printed(&output))));
    }
    Ok(())
}

/// Returns 16 bytes in base64url, which must not begin with `-`: hexadecimal digits are valid base64url.
pub(super) fn cluster_id() -> String {
    format!("{:020x}AA", rand::random::<u128>() >> 48)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_ids_have_22_characters_and_differ() {
        let ids = [cluster_id(), cluster_id()];
        assert!(ids.iter().all(|id| id.len() == 22), "{ids:?}");
        assert_ne!(ids[0], ids[1]);
    }
}
