//! Developer chores: `cargo xtask <chore>`.
//!
//! | chore | what it does |
//! |---|---|
//! | `interop` | runs our program against the Python peer's, over `kc broker` |
//! | `layering` | proves that crates import only what the architecture allows |

mod interop;
mod layering;

use clap::Parser;

#[derive(Parser)]
#[command(about = "Developer chores")]
enum Chore {
    /// Runs our program against the Python peer's, over `kc broker`.
    Interop,
    /// Proves that crates import only what the architecture allows.
    Layering,
}

fn main() -> anyhow::Result<()> {
    match Chore::parse() {
        Chore::Interop => interop::run(),
        Chore::Layering => layering::check(),
    }
}
