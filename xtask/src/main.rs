//! Developer chores: `cargo xtask <chore>`.
//!
//! | chore | purpose |
//! |---|---|
//! | `bench` | measures kc beside libsodium and beside unencrypted clients |
//! | `claims` | proves that each claim of `docs/security.md` names tests that exist |
//! | `fuzz` | runs the fuzz targets, each for some seconds |
//! | `hsm` | runs the tests of keys on tokens on SoftHSM, or with `--kryoptic` on kryoptic |
//! | `interop` | runs kc against the peers, over `kc broker` and Apache Kafka |
//! | `kafka start 4\|3.9` | runs a real Kafka in the background, and prints the settings to connect to it |
//! | `kafka stop` | stops this Kafka |
//! | `kafka test` | runs the tests that need a real Kafka |
//! | `layering` | proves that crates import only what the architecture allows, and actors no step of a machine |
//! | `mutants` | alters the code of chains and of the ratchet, and shows alterations that no test notices |
//! | `prose` | draws doc comments and messages by a seed, for a reader with fresh eyes, and prints figures of them |
//! | `semver` | compares the public APIs with those of the last tag |
//! | `sim` | simulates nodes on a hostile network, each world from a seed |

mod bench;
mod claims;
mod fuzz;
mod hsm;
mod interop;
mod kafka;
mod layering;
mod mutants;
mod prose;
mod semver;
mod shell;
mod sim;

use clap::Parser;

#[derive(Parser)]
#[command(about = "Developer chores")]
enum Chore {
    /// Measures kc beside libsodium and beside unencrypted clients; see docs/performance.md.
    #[command(disable_help_flag = true)]
    Bench {
        /// Arguments for the program that measures: --help, --quick, --json, ...
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Proves that each claim of docs/security.md names tests that exist.
    Claims,
    /// Runs the fuzz targets, each for some seconds.
    Fuzz(fuzz::Options),
    /// Runs the tests of keys on tokens with a PKCS#11 module.
    Hsm(hsm::Options),
    /// Runs kc against the Python peer and, if KC_JAVA_PEER names its folder, the Java peer; see docs/interop.md.
    Interop(interop::Options),
    /// Runs a real Kafka in the background, or tests on it.
    #[command(subcommand)]
    Kafka(kafka::Action),
    /// Proves that crates import only what the architecture allows.
    Layering,
    /// Alters the code of chains and of the ratchet, one place at a time, and shows alterations that no test notices.
    Mutants(mutants::Options),
    /// Draws doc comments and messages by a seed, and prints figures of them and of the files.
    Prose(prose::Options),
    /// Compares the public APIs with those of the last tag.
    Semver,
    /// Simulates nodes on a hostile network.
    Sim(sim::Options),
}

fn main() -> anyhow::Result<()> {
    match Chore::parse() {
        Chore::Bench { arguments } => bench::run(&arguments),
        Chore::Claims => claims::check(),
        Chore::Fuzz(options) => fuzz::run(&options),
        Chore::Hsm(options) => hsm::run(&options),
        Chore::Interop(options) => interop::run(&options),
        Chore::Kafka(action) => kafka::run(action),
        Chore::Layering => layering::check(),
        Chore::Mutants(options) => mutants::run(&options),
        Chore::Prose(options) => prose::run(&options),
        Chore::Semver => semver::check(),
        Chore::Sim(options) => sim::run(&options),
    }
}
