//! Developer chores: `cargo xtask <chore>`.
//!
//! | chore | what it does |
//! |---|---|
//! | `interop` | runs our program against the Python peer's, over `kc broker` |
//! | `kafka start 4\|3.9` | runs a real Kafka in the background, and says how to connect |
//! | `kafka stop` | stops it |
//! | `kafka test` | runs the tests that need a real Kafka |
//! | `layering` | proves that crates import only what the architecture allows |

mod interop;
mod kafka;
mod layering;

use clap::Parser;

#[derive(Parser)]
#[command(about = "Developer chores")]
enum Chore {
    /// Runs our program against the Python peer's, over `kc broker`.
    Interop,
    /// Runs a real Kafka in the background, or tests on it.
    #[command(subcommand)]
    Kafka(kafka::Action),
    /// Proves that crates import only what the architecture allows.
    Layering,
}

fn main() -> anyhow::Result<()> {
    match Chore::parse() {
        Chore::Interop => interop::run(),
        Chore::Kafka(action) => kafka::run(action),
        Chore::Layering => layering::check(),
    }
}
