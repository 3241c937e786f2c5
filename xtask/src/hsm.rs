//! Runs the tests of keys on tokens with a PKCS#11 module.

mod kryoptic;
pub(crate) mod softhsm;

use clap::Args;

use crate::shell;

#[derive(Args)]
pub(crate) struct Options {
    /// Use kryoptic, which has SLH-DSA, instead of SoftHSM; the first build of kryoptic takes minutes
    #[arg(long)]
    kryoptic: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let module = if options.kryoptic {
        kryoptic::build()?
    } else {
        softhsm::install()?
    };
    shell::run(
        shell::cargo("full-test")
            .args(["--test", "token"])
            .env("KC_HSM_TEST_MODULE", &module),
    )?;
    println!("tokens: all tests passed on {}", module.display());
    Ok(())
}
