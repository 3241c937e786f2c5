use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::{printed, tail};
use super::{KafkaError, Version};

/// Where jars are kept: `target/kafka` of the workspace.
#[must_use]
pub fn cache_folder() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).join("target/kafka")
}

/// The folder with the jars of a version, fetched unless they are there; one process at a time.
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
    Ok(())
}

fn pom(version: Version) -> String {
    // Without a binding of slf4j, Kafka writes no log.
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
    fn pom_names_version_and_binding() {
        assert!(pom(Version::V4).contains("<version>4.4.0</version>"));
        assert!(pom(Version::V4).contains("log4j-slf4j-impl"));
        assert!(pom(Version::V3_9).contains("<version>3.9.2</version>"));
        assert!(pom(Version::V3_9).contains("slf4j-reload4j"));
    }
}
