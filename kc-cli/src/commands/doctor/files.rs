//! The files of the node, the folder and the disk that hold them, and the process that has the node open.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use kc::core::store::config::NodeConfig;
use kc::core::text::counted;
use kc::keystore_file::{NodeFiles, crypto_path, ratchet_path, read_config};
use rustix::fs::{Access, access, statvfs};
use rustix::process::geteuid;

use super::finding::{Check, Findings};
use crate::error::CliError;
use crate::status::{Report, look};
use crate::stored::StoredNode;

/// The free space below which a node is about to fail, in bytes: a configuration has at most 16 MiB, and is written twice
/// when it is replaced.
const TOO_LITTLE: u64 = 32 << 20;
/// The free space below which the operator should act, in bytes.
const LITTLE: u64 = 256 << 20;
/// The bits of a mode that let other users read, write or execute.
const OTHERS: u32 = 0o077;
/// The bit of a mode that lets the members of the group read.
const GROUP_READABLE: u32 = 0o040;
/// The bits of a mode that let other users write.
const WRITABLE: u32 = 0o022;
/// In a folder with this bit, only the owner of a file can replace it.
const STICKY: u32 = 0o1000;

/// Checks the files. Returns their content, or `None` if it cannot be used.
pub(super) fn check(
    files: &NodeFiles,
    fix: bool,
    findings: &mut Findings,
) -> Result<Option<StoredNode>, CliError> {
    let config = read_config(files).ok();
    permissions(&files.config(), Kind::Config, fix, findings)?;
    for (path, needed) in secrets(files, config.as_ref()) {
        let name = shown(&path);
        match path.try_exists() {
            Ok(true) => {
                findings.ok(Check::FilesExist, &name, "exists")?;
                permissions(&path, Kind::Secret, fix, findings)?;
            }
            Ok(false) if needed => findings.fail(
                Check::FilesExist,
                &name,
                "does not exist",
                "restore the file from a backup; without one, `kc provision --force` makes a new node of this id",
            )?,
            Ok(false) => {}
            Err(error) => findings.fail(
                Check::FilesExist,
                &name,
                format!("cannot be looked up: {error}"),
                "give the user of the node access to the folders on the way to the file",
            )?,
        }
    }
    folder(files, findings)?;
    content(files, findings)
}

/// Returns the secret files, each with whether the node needs it. A ratchet may be missing here: the checks of the
/// ratchet judge it.
fn secrets(files: &NodeFiles, config: Option<&NodeConfig>) -> Vec<(PathBuf, bool)> {
    let (crypto, ratchet) = match config {
        Some(config) => (
            // The keys of a node on a token are not in a file.
            crypto_path(config, files).ok(),
            ratchet_path(config, files).ok().flatten(),
        ),
        None => (Some(files.crypto()), Some(files.seed())),
    };
    let crypto = crypto.map(|path| (path, true));
    let others = [Some(files.sealed_ratchet()), Some(files.refused_pins())];
    let others = [ratchet].into_iter().chain(others).flatten();
    crypto
        .into_iter()
        .chain(others.map(|path| (path, false)))
        .collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The configuration: its owner may let others read it.
    Config,
    Secret,
}

fn permissions(
    path: &Path,
    kind: Kind,
    fix: bool,
    findings: &mut Findings,
) -> Result<(), CliError> {
    let check = Check::FilesPermissions;
    let name = shown(path);
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) => {
            let advice = "give the user of the node access to the file";
            return findings.fail(check, name, format!("cannot be looked up: {error}"), advice);
        }
    };
    let (mode, owner, user) = (found.mode() & 0o7777, found.uid(), geteuid().as_raw());
    if owner != user && user != 0 && access(path, Access::READ_OK).is_err() {
        let detail = format!("belongs to user {owner}, and user {user} cannot read it");
        let advice = format!(
            "run kc as the owner of the file, or: chown {user} {}",
            path.display()
        );
        return findings.fail(check, name, detail, advice);
    }
    // An orchestrator mounts secrets of another owner, which the node reads as a member of their group.
    let reads_as_member = owner != user && user != 0;
    let harmful = match kind {
        Kind::Config => mode & WRITABLE,
        Kind::Secret if reads_as_member => mode & OTHERS & !GROUP_READABLE,
        Kind::Secret => mode & OTHERS,
    };
    let detail = format!("mode {mode:04o}, owner {owner}");
    if harmful == 0 && mode & OTHERS != 0 {
        let (consequence, advice) = match kind {
            Kind::Config => (
                "other users can read passwords that are in it",
                format!(
                    "chmod 600 {}, unless its passwords are elsewhere (file#PATH, environment)",
                    path.display()
                ),
            ),
            Kind::Secret => (
                "the members of its group can read the keys of the node",
                "let no other user be a member of this group".to_owned(),
            ),
        };
        return findings.warn(check, &name, format!("{detail}: {consequence}"), advice);
    }
    if harmful == 0 {
        return findings.ok(check, name, detail);
    }
    let private = match kind {
        Kind::Config => mode & !WRITABLE,
        Kind::Secret => 0o600,
    };
    if fix {
        match fs::set_permissions(path, Permissions::from_mode(private)) {
            Ok(()) => {
                let detail = format!("mode {private:04o}, was {mode:04o}");
                return findings.fixed(check, name, detail);
            }
            Err(error) => {
                let detail = format!("{detail}, cannot be changed: {error}");
                let advice =
                    "make the file private as its owner, on a file system that can be written";
                return findings.fail(check, name, detail, advice);
            }
        }
    }
    let consequence = match kind {
        Kind::Config => "other users can change whom the node trusts, and run programs as the node",
        Kind::Secret => "other users can read the keys of the node",
    };
    findings.fail(
        check,
        &name,
        format!("{detail}: {consequence}"),
        format!(
            "chmod {private:o} {}, or `kc doctor --fix`; if others had access, give the node new keys (`kc \
             provision --force`)",
            path.display()
        ),
    )
}

/// Checks the folder to which the node writes, and the free space there.
fn folder(files: &NodeFiles, findings: &mut Findings) -> Result<(), CliError> {
    let check = Check::FilesFolder;
    let lock = files.lock();
    let folder = lock.parent().unwrap_or(files.folder());
    let name = folder.display().to_string();
    let mode = match fs::metadata(folder) {
        Ok(found) => found.mode() & 0o7777,
        // The node creates the folder that `state_dir` names.
        Err(error) if error.kind() == ErrorKind::NotFound && files.state().is_some() => {
            findings.ok(check, &name, "does not exist yet: the node creates it")?;
            return findings.skip(
                Check::FilesDisk,
                &name,
                "the folder does not exist yet",
                "run kc doctor again after the first start of the node",
            );
        }
        Err(error) => {
            let advice = "give the user of the node access to the folder";
            findings.fail(
                check,
                &name,
                format!("cannot be looked up: {error}"),
                advice,
            )?;
            return findings.skip_all(&[Check::FilesDisk], &name, check);
        }
    };
    if mode & WRITABLE != 0 && mode & STICKY == 0 {
        findings.warn(
            check,
            &name,
            format!("mode {mode:04o}: other users can replace the files of the node"),
            format!("chmod go-w {name}"),
        )?;
    } else if let Err(error) = access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        findings.fail(
            check,
            &name,
            format!("cannot be written: {error}"),
            "make the folder writable for the user of the node, or set state_dir to a folder that is",
        )?;
    } else {
        findings.ok(check, &name, format!("mode {mode:04o}, can be written"))?;
    }
    disk(folder, &name, findings)
}

fn disk(folder: &Path, name: &str, findings: &mut Findings) -> Result<(), CliError> {
    let check = Check::FilesDisk;
    let advice =
        "free space on this disk: a node that cannot write takes no further step of its ratchet";
    let found = match statvfs(folder) {
        Ok(found) => found,
        Err(error) => {
            return findings.skip(check, name, format!("not known: {error}"), "look with df");
        }
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let detail = format!("{} MiB free", free >> 20);
    if found.f_files > 0 && found.f_favail == 0 {
        findings.fail(
            check,
            name,
            format!("{detail}, but no inode is free"),
            advice,
        )
    } else if free < TOO_LITTLE {
        findings.fail(check, name, detail, advice)
    } else if free < LITTLE {
        findings.warn(check, name, detail, advice)
    } else {
        findings.ok(check, name, detail)
    }
}

/// Reads all files.
fn content(files: &NodeFiles, findings: &mut Findings) -> Result<Option<StoredNode>, CliError> {
    let name = shown(&files.config());
    let read = StoredNode::of_files(files.clone()).and_then(|node| Ok((node.keys()?.len(), node)));
    let error = match read {
        Ok((0, _)) => CliError::failure("the node has no signing key that it uses")
            .advise("correct `keytypes` in the node's own section, or provision the node again"),
        Ok((keys, node)) => {
            let detail = format!("can be read; {} in use", counted(keys, "signing key"));
            findings.ok(Check::FilesContent, name, detail)?;
            return Ok(Some(node));
        }
        Err(error) => error,
    };
    let advice = error
        .advice()
        .unwrap_or("correct the file, or restore it from a backup");
    findings.fail(Check::FilesContent, name, error.to_string(), advice)?;
    Ok(None)
}

/// Looks which process has the node open. Takes no lock. Returns its report, or `None` if the node cannot be asked.
pub(super) async fn lock(
    files: &NodeFiles,
    findings: &mut Findings,
) -> Result<Option<Report>, CliError> {
    let check = Check::FilesLock;
    let name = shown(&files.lock());
    let report = match look(files).await {
        Ok(report) => report,
        Err(error) => {
            let advice = error.advice().unwrap_or(
                "if a process holds the lock (`fuser` names it), restart it; else correct the file that is named",
            );
            findings.fail(check, name, error.to_string(), advice)?;
            return Ok(None);
        }
    };
    match (&report.running, report.in_use) {
        (Some(running), _) => {
            let detail = format!("the node is running: {}, process {}", running.command, running.process);
            findings.ok(check, name, detail)?;
        }
        (None, Some(holder)) => findings.warn(
            check,
            name,
            format!("{}, which does not report its status", holder.describe()),
            "if this is no program of yours that uses the library kc, stop that process; the checks below show only what \
             the files say",
        )?,
        (None, None) => findings.ok(check, name, "no process has the node open")?,
    }
    Ok(Some(report))
}

/// Returns the name of a file without its folder.
pub(super) fn shown(path: &Path) -> String {
    let name = path.file_name().map_or(path.as_os_str(), |name| name);
    name.to_string_lossy().into_owned()
}
