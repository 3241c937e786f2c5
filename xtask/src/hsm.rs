//! The tests of keys on tokens, on a real token.

mod kryoptic;
pub(crate) mod softhsm;

use clap::Args;

use crate::shell;

#[derive(Args)]
pub(crate) struct Options {
    /// On kryoptic, which has SLH-DSA; it is built first, which takes minutes once. Else on SoftHSM.
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
        shell::cargo("test")
            .args(["-p", "kc-keystore-hsm"])
            .env("KC_HSM_TEST_MODULE", &module),
    )?;
    println!("tokens: all tests passed on {}", module.display());
    Ok(())
}
