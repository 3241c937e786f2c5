//! Runs the protocol's test vectors: `cargo test --test vectors`.
//!
//! `KC_VECTORS` names another folder of vectors. See `kc_testkit::vectors`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    kc_testkit::vectors::main(Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/vectors"
    )))
}
