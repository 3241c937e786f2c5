//! A PKCS#11 module that fails on request; see the C code.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::tokens::Tokens;
use crate::world::World;

pub(crate) const ANY: i32 = -1;
pub(crate) const LOGIN: i32 = 18;
pub(crate) const CREATE_OBJECT: i32 = 20;
pub(crate) const ENCRYPT: i32 = 30;
pub(crate) const DECRYPT: i32 = 34;
pub(crate) const SIGN_INIT: i32 = 42;
pub(crate) const SIGN: i32 = 43;
pub(crate) const GENERATE_KEY: i32 = 58;

pub(crate) const GENERAL_ERROR: u64 = 0x05;
pub(crate) const DEVICE_ERROR: u64 = 0x30;
pub(crate) const DEVICE_REMOVED: u64 = 0x32;
pub(crate) const PIN_INCORRECT: u64 = 0xa0;
pub(crate) const PIN_LOCKED: u64 = 0xa4;

/// The code for a call that does not return.
pub(crate) const HANG: u64 = 0xffff_ffff;

const FOREVER: u32 = 1_000_000;

/// A fault of the module; calls fail until it is dropped.
pub(crate) struct Fault {
    file: PathBuf,
}

impl Fault {
    /// Lets all calls of a function fail after the first `skip`.
    pub(crate) fn of(tokens: &Tokens, function: i32, skip: u32, code: u64) -> Self {
        let file = tokens.world.path("fault");
        let fault = Self { file };
        fault.becomes(function, skip, code);
        fault
    }

    /// Lets a limited number of calls of a function fail after the first `skip`.
    pub(crate) fn times(tokens: &Tokens, function: i32, skip: u32, times: u32, code: u64) -> Self {
        let fault = Self::of(tokens, function, skip, code);
        fs::write(&fault.file, format!("{function} {skip} {times} {code}")).unwrap();
        fault
    }

    /// Lets all calls fail after the first `skip`.
    pub(crate) fn any(tokens: &Tokens, skip: u32, code: u64) -> Self {
        Self::of(tokens, ANY, skip, code)
    }

    /// Replaces the fault by another one; no call succeeds in between.
    pub(crate) fn becomes(&self, function: i32, skip: u32, code: u64) {
        let draft = self.file.with_extension("draft");
        fs::write(&draft, format!("{function} {skip} {FOREVER} {code}")).unwrap();
        fs::rename(draft, &self.file).unwrap();
    }

    /// Removes the token: all calls fail.
    pub(crate) fn gone(tokens: &Tokens) -> Self {
        Self::of(tokens, ANY, 0, DEVICE_REMOVED)
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        fs::remove_file(&self.file).unwrap();
    }
}

/// Returns a world whose token is behind the failing module.
pub(crate) fn faulty() -> Tokens {
    let world = World::new();
    let module = build(&world);
    Tokens::by(world, &module)
}

/// Builds the module.
pub(crate) fn build(world: &World) -> PathBuf {
    let module = world.path("faulty.so");
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../kc-keystore-hsm/tests/token/faulty.c"
    );
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&module)
        .args([source, "-ldl"])
        .status();
    assert!(built.expect("a C compiler").success());
    module
}
