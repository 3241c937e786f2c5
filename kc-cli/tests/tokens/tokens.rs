//! A world with a token.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::world::{Process, World, succeed};

pub(crate) const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
/// A text that occurs in no path and no address.
pub(crate) const PIN: &str = "pin-of-the-test";

pub(crate) struct Tokens {
    pub(crate) world: World,
    pub(crate) uri: String,
}

impl Tokens {
    pub(crate) fn new() -> Self {
        Self::by(World::new(), Path::new(MODULE))
    }

    /// Returns a world with a token behind this module.
    pub(crate) fn by(world: World, module: &Path) -> Self {
        fs::create_dir(world.path("tokens")).unwrap();
        let settings = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            world.path("tokens").display()
        );
        world.write("softhsm.conf", settings);
        let uri = format!("pkcs11:token=kc?module-path={}", module.display());
        let tokens = Self { world, uri };
        tokens.succeed(&["hsm", "init", &tokens.uri]);
        tokens
    }

    /// Returns the command `kc` with the token and its PINs.
    pub(crate) fn kc(&self, args: &[&str]) -> Command {
        let mut command = self.world.kc(args);
        command
            .env("SOFTHSM2_CONF", self.world.path("softhsm.conf"))
            .env("KC_HSM_TEST_FOLDER", self.world.path(""))
            .env("KC_HSM_TEST_REAL_MODULE", MODULE)
            .env("KC_HSM_SO_PIN", "87654321")
            .env("KC_HSM_PIN", PIN);
        command
    }

    pub(crate) fn succeed(&self, args: &[&str]) -> String {
        String::from_utf8(succeed(&mut self.kc(args)).stdout).unwrap()
    }

    pub(crate) fn import(&self, node: &str) {
        self.succeed(&["hsm", "import", &self.uri, "--node", node, "--shred"]);
    }

    /// Replaces a text in alice's configuration.
    pub(crate) fn reconfigure(&self, from: &str, to: &str) {
        let config = self.configuration();
        assert!(config.contains(from), "{config}");
        self.world.write("alice.config", config.replace(from, to));
    }

    /// Returns the line of an entry in alice's configuration.
    pub(crate) fn entry(&self, name: &str) -> String {
        let config = self.configuration();
        let mut lines = config.lines();
        let line = lines.find(|line| line.starts_with(&format!("{name} :")));
        format!("{}\n", line.unwrap())
    }

    /// Returns the label of one of alice's objects by its role.
    pub(crate) fn label(&self, role: &str) -> String {
        let entry = self.entry("cryptokey");
        let (_, object) = entry.split_once(";object=").unwrap();
        let (label, _) = object.split_once(":id?").unwrap();
        format!("{label}:{role}")
    }

    pub(crate) fn configuration(&self) -> String {
        String::from_utf8(self.world.read("alice.config")).unwrap()
    }

    /// Sends a line as alice, who continues to run.
    pub(crate) fn produce(&self, line: &str) -> Process {
        self.world.write("line", format!("{line}\n"));
        let mut command = self.kc(&["produce", "t", "line", "--node", "alice"]);
        let producer = Process::spawn(&mut command);
        producer.says("the input has ended");
        producer
    }

    /// Reads `count` lines as bob. He requests data keys only every few seconds: on a busy machine an answer with
    /// hybrid keys takes longer than requests every 200 ms wait.
    pub(crate) fn read(&self, count: &str) -> String {
        let consume = ["consume", "t", "--node", "bob", "--from-beginning"];
        let mut bob = self.kc(&[&consume[..], &["--count", count, "--timeout", "60s"]].concat());
        bob.env("KC_CONFIG__NODE__CRYPTO_SUB_INTERVAL", "5");
        String::from_utf8(succeed(&mut bob).stdout).unwrap()
    }
}
