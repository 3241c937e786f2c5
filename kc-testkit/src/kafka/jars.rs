use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use super::error::{printed, tail};
use super::{KafkaError, Version};

/// Returns the folder of the jars: `target/kafka` of the workspace.
#[must_use]
pub fn cache_folder() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).join("target/kafka")
}

/// Returns the folder with the jars of a version, fetched unless they exist; one process at a time.
pub(super) fn fetch(version: Version) -> Result<PathBuf, KafkaError> {
    let cache = cache_folder();
    fs::create_dir_all(&cache).map_err(KafkaError::file(&cache))?;
    let lock = cache.join(format!("jars-{version}.lock"));
    let _locked = File::create(&lock)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(KafkaError::file(&lock))?;
    let folder = cache.join(format!("jars-{version}"));
    let finished = folder.join("finished");
    if !finished.exists() {
        download(version, &folder)?;
        File::create(&finished).map_err(KafkaError::file(&finished))?;
    }
    Ok(folder.join("jars"))
}

fn download(version: Version, folder: &Path) -> Result<(), KafkaError> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(KafkaError::file(folder))?;
    }
    fs::create_dir_all(folder).map_err(KafkaError::file(folder))?;
    let project = folder.join("pom.xml");
    fs::write(&project, pom(version)).map_err(KafkaError::file(&project))?;
    let output = Command::new("mvn")
        .args(["-B", "-q", "dependency:copy-dependencies"])
        .args(["-DincludeScope=runtime", "-DoutputDirectory=jars"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(KafkaError::program("mvn"))?;
    if !output.status.success() {
        return Err(KafkaError::Jars(tail(&printed(&output))));
    }
    verify(sums(version), &folder.join("jars"))
}

/// Returns the jars of a version with their SHA-256, in the format of `sha256sum`.
fn sums(version: Version) -> &'static str {
    match version {
        Version::V4 => include_str!("jars/4.4.0.sha256"),
        Version::V3_9 => include_str!("jars/3.9.2.sha256"),
    }
}

/// Checks that exactly these jars exist.
fn verify(sums: &str, jars: &Path) -> Result<(), KafkaError> {
    let failed = KafkaError::file(jars);
    let mut expected: BTreeMap<&str, &str> = sums
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(sum, name)| (name, sum))
        .collect();
    for jar in fs::read_dir(jars).map_err(failed)? {
        let jar = jar.map_err(KafkaError::file(jars))?;
        let name = jar.file_name().to_string_lossy().into_owned();
        let bytes = fs::read(jar.path()).map_err(KafkaError::file(&jar.path()))?;
        if expected.remove(&*name) != Some(&hex::encode(Sha256::digest(bytes))) {
            return Err(KafkaError::UnknownJar(name));
        }
    }
    match expected.into_keys().next() {
        Some(missing) => Err(KafkaError::UnknownJar(missing.to_owned())),
        None => Ok(()),
    }
}

fn pom(version: Version) -> String {
    // Kafka writes no log without a binding of slf4j.
    let (group, artifact, binding) = match version {
        Version::V4 => ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.25.5"),
        Version::V3_9 => ("org.slf4j", "slf4j-reload4j", "1.7.36"),
    };
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">
  <modelVersion>4.0.0</modelVersion>
  <groupId>kc</groupId>
  <artifactId>kafka-jars</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{version}</version>
      <exclusions>
        <exclusion>
          <groupId>org.apache.kafka</groupId>
          <artifactId>kafka-tools-api</artifactId>
        </exclusion>
      </exclusions>
    </dependency>
    <dependency>
      <groupId>{group}</groupId>
      <artifactId>{artifact}</artifactId>
      <version>{binding}</version>
    </dependency>
  </dependencies>
</project>
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_jars_that_are_known_by_their_hash_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let jar = folder.path().join("a.jar");
        fs::write(&jar, b"a").unwrap();
        let sum = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
        let sums = format!("{sum}  a.jar\n");
        verify(&sums, folder.path()).unwrap();
        let refused = |sums: &str| verify(sums, folder.path()).unwrap_err().to_string();
        assert!(refused(&format!("{sums}{sum}  b.jar\n")).contains("b.jar"));
        assert!(refused("").contains("a.jar"));
        fs::write(&jar, b"b").unwrap();
        assert!(refused(&sums).contains("a.jar"));
    }

    #[test]
    fn pom_names_version_and_binding() {
        assert!(pom(Version::V4).contains("<version>4.4.0</version>"));
        assert!(pom(Version::V4).contains("log4j-slf4j-impl"));
        assert!(pom(Version::V3_9).contains("<version>3.9.2</version>"));
        assert!(pom(Version::V3_9).contains("slf4j-reload4j"));
    }
}
