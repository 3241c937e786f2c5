//! The configuration files of OpenMSIStream: settings of Kafka clients in sections, and the node.

use std::fmt;
use std::path::Path;

use super::{KafkaConfig, read_file};

/// The sections whose settings apply to all clients, to senders, and to receivers.
const CLIENTS: [(&str, For); 3] = [
    ("broker", For::All),
    ("producer", For::Senders),
    ("consumer", For::Receivers),
];
const NODE: &str = "kafkacrypto";
const GROUP: &str = "group.id";
/// The group that OpenMSIStream makes anew at each start.
const NEW_GROUP: &str = "create_new";
/// Settings that say what kc does anyway.
const DONE_ANYWAY: [(&str, &str); 6] = [
    ("key.serializer", "StringSerializer"),
    ("value.serializer", "DataFileChunkSerializer"),
    ("key.deserializer", "StringDeserializer"),
    ("value.deserializer", "DataFileChunkDeserializer"),
    ("enable.auto.commit", "False"),
    ("auto.offset.reset", "earliest"),
];
/// Settings of consumers that have no effect on a receiver of files, which chooses its positions itself.
const OWN_CHOICE: [&str; 2] = ["enable.auto.commit", "auto.offset.reset"];

/// The clients that a section applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    All,
    Senders,
    Receivers,
}

/// A configuration file of OpenMSIStream. `Debug` shows only the names of settings, because values may be passwords.
#[derive(Clone)]
pub(crate) struct OpenMsiConfig {
    path: String,
    settings: Vec<(For, String, String)>,
    node: Option<String>,
    ignored: Vec<String>,
}

impl fmt::Debug for OpenMsiConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.settings.iter().map(|(_, name, _)| name);
        f.debug_list().entries(names).finish()
    }
}

impl OpenMsiConfig {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// The text of an error names the file and the line.
    pub(crate) fn read(path: &str) -> Result<Self, String> {
        let bytes = read_file(path)?;
        let text = str::from_utf8(&bytes).map_err(|_| format!("{path}: not UTF-8"))?;
        let mut config = Self {
            path: path.to_owned(),
            settings: Vec::new(),
            node: None,
            ignored: Vec::new(),
        };
        let mut section = None;
        for (line, number) in text.trim_start_matches('\u{feff}').lines().zip(1..) {
            let line = line.trim();
            let wrong = |what| format!("{path} line {number}: {what}");
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(name) = line.strip_prefix('[') {
                section = Some(
                    name.strip_suffix(']')
                        .ok_or_else(|| wrong("] is missing"))?,
                );
                continue;
            }
            let (name, value) = line
                .split_once(['=', ':'])
                .ok_or_else(|| wrong("expected name = value"))?;
            let section = section.ok_or_else(|| wrong("a setting stands before all sections"))?;
            config.take(section, name.trim().to_lowercase(), value.trim());
        }
        Ok(config)
    }

    fn take(&mut self, section: &str, name: String, value: &str) {
        let clients = CLIENTS.iter().find(|(known, _)| *known == section);
        match (clients, name.as_str()) {
            (Some((_, clients)), _) => self.settings.push((*clients, name, value.to_owned())),
            // The file decides, as the more exact of the two.
            (None, "config_file") if section == NODE => self.node = Some(self.beside(value)),
            (None, "node_id") if section == NODE => {
                self.node.get_or_insert_with(|| value.to_owned());
            }
            _ => self.ignored.push(format!("{name} of [{section}]")),
        }
    }

    /// Returns a path as it is if there is a file, or else as one beside the configuration file.
    fn beside(&self, path: &str) -> String {
        let beside = Path::new(&self.path).with_file_name("").join(path);
        match beside.to_str() {
            Some(beside) if !Path::new(path).exists() => beside.to_owned(),
            _ => path.to_owned(),
        }
    }

    /// Returns the node that the file names.
    pub(crate) fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    /// Returns the path of the file.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Returns the group of receivers that the file names.
    pub(crate) fn group(&self) -> Option<&str> {
        let mut settings = self.settings.iter().rev();
        let group = settings.find(|(clients, name, _)| *clients != For::Senders && name == GROUP);
        group
            .map(|(_, _, group)| group.as_str())
            .filter(|group| *group != NEW_GROUP)
    }

    /// Returns the settings for senders or receivers, and which of them have no effect.
    pub(crate) fn settings(&self, role: For) -> KafkaConfig {
        let mut config = KafkaConfig {
            path: self.path.clone(),
            settings: Vec::new(),
            ignored: self.ignored.clone(),
        };
        for (clients, name, value) in &self.settings {
            let has_value =
                |(known, done): &(&str, &str)| name == known && value.eq_ignore_ascii_case(done);
            if (*clients != For::All && *clients != role) || DONE_ANYWAY.iter().any(has_value) {
                continue;
            }
            match name.as_str() {
                GROUP if value == NEW_GROUP => config
                    .ignored
                    .push(format!("{GROUP} = {NEW_GROUP} (the group stays: --group)")),
                GROUP => {}
                name if OWN_CHOICE.contains(&name) => config.ignored.push(name.to_owned()),
                name => config.take(name, value.clone()),
            }
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn parse(text: &str) -> Result<OpenMsiConfig, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, text).unwrap();
        OpenMsiConfig::read(file.path().to_str().unwrap())
    }

    const FILE: &str = "# Of the microscope\n\
        [kafkacrypto]\nnode_id = microscope\nconfig_file = /etc/kc/microscope.config\n\
        [broker]\nbootstrap.servers = 127.0.0.1:29092\nsasl.password: a:b=c\\d\n\
        [producer]\nbatch.size = 200000\nLinger.ms=100\ncompression.type = lz4\n\
        key.serializer = StringSerializer\nvalue.serializer = StringSerializer\n\
        [consumer]\ngroup.id = create_new\nauto.offset.reset = latest\nenable.auto.commit = False\n\
        fetch.min.bytes = 100000\nvalue.deserializer = DataFileChunkDeserializer\n\
        [plots]\nsize = 3\n";

    #[test]
    fn each_program_gets_its_settings_and_what_has_no_effect_is_named() {
        let config = parse(FILE).unwrap();
        assert_eq!(config.node(), Some("/etc/kc/microscope.config"));
        assert_eq!(config.group(), None);
        let names = |config: &KafkaConfig| {
            let names = config.settings.iter().map(|(name, _)| name.clone());
            names.collect::<Vec<_>>().join(" ")
        };
        let senders = config.settings(For::Senders);
        assert_eq!(
            names(&senders),
            "bootstrap_servers sasl_plain_password batch_size linger_ms compression_type"
        );
        assert_eq!(senders.settings[1].1, "a:b=c\\d");
        assert_eq!(senders.ignored, ["size of [plots]", "value.serializer"]);
        let receivers = config.settings(For::Receivers);
        assert_eq!(
            names(&receivers),
            "bootstrap_servers sasl_plain_password fetch.min.bytes"
        );
        let remark = receivers.remark().unwrap();
        assert!(
            remark.contains("group.id = create_new") && remark.contains("auto.offset.reset"),
            "{remark}"
        );
        assert!(!format!("{config:?}").contains("a:b"));
    }

    #[test]
    fn a_group_and_a_node_are_taken() {
        let config = parse("[kafkacrypto]\nnode_id=n\n[consumer]\ngroup.id = lab\n").unwrap();
        assert_eq!((config.node(), config.group()), (Some("n"), Some("lab")));
        assert!(config.settings(For::Receivers).remark().is_none());
        let plain = parse("[broker]\nbootstrap.servers = a:1\n").unwrap();
        assert_eq!((plain.node(), plain.group()), (None, None));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, reason) in [
            ("[broker\n", "line 1: ]"),
            ("\n[broker]\nhush\n", "line 3: expected"),
            ("hush = 1\n", "line 1: a setting"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(reason) && !error.contains("hush"), "{error}");
        }
        assert!(
            OpenMsiConfig::read("/no/such")
                .unwrap_err()
                .contains("/no/such")
        );
    }
}
