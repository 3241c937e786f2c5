use cryptoki::object::ObjectHandle;
use kc_core::ratchet::Step;

use super::file::RatchetFile;
use super::sealed::Sealed;
use crate::HsmError;
use crate::keys::{aes, bad};
use crate::token::{Class, LoggedIn, Wanted};

/// Takes a step. May be interrupted anywhere, and done again from the beginning.
pub(super) fn take(
    token: &LoggedIn<'_>,
    label: &str,
    file: &RatchetFile,
) -> Result<Step, HsmError> {
    let sealed = Sealed::read(file)?;
    let key = clear_up(token, label, file, sealed.index())?;
    let seed = sealed.open(token, key, file)?;
    let exhausted = |_| HsmError::RatchetExhausted {
        path: file.path().to_owned(),
    };
    let pending = seed.advance().map_err(exhausted)?;
    let next = pending.next();
    let next_key = aes::generate(token, label, &next.index().to_be_bytes())?;
    let successor = Sealed::seal(token, next_key, next)?;
    // Before the way back is closed.
    successor.open(token, next_key, file)?;
    file.replace(successor.bytes())?;
    token.destroy(key)?;
    file.check_lock()?;
    let (step, _) = pending.stored();
    Ok(step)
}

/// Fails unless the file's step can be taken. Changes nothing.
pub(super) fn check(token: &LoggedIn<'_>, label: &str, file: &RatchetFile) -> Result<(), HsmError> {
    let sealed = Sealed::read(file)?;
    let keys = keys(token, label)?;
    let key = current(&keys, label, file, sealed.index())?;
    token.require_hidden(key, label)?;
    sealed.open(token, key, file).map(drop)
}

/// The key of the file's step. Destroys what an interrupted step has left: the key of the step before, if the file was
/// replaced already; that of the step after, if it was not yet.
fn clear_up(
    token: &LoggedIn<'_>,
    label: &str,
    file: &RatchetFile,
    index: u64,
) -> Result<ObjectHandle, HsmError> {
    let keys = keys(token, label)?;
    let key = current(&keys, label, file, index)?;
    token.require_hidden(key, label)?;
    for (_, left) in keys.iter().filter(|(found, _)| *found != index) {
        token.destroy(*left)?;
    }
    Ok(key)
}

/// The key of the file's step, which no other keys but those that an interrupted step leaves may accompany.
fn current(
    keys: &[(u64, ObjectHandle)],
    label: &str,
    file: &RatchetFile,
    index: u64,
) -> Result<ObjectHandle, HsmError> {
    let path = || file.path().to_owned();
    let mut of_step = keys.iter().filter(|(found, _)| *found == index);
    let Some((_, key)) = of_step.next() else {
        // Nothing is destroyed: the right file may yet be put back.
        return Err(HsmError::RolledBack {
            path: path(),
            index,
            newest: keys.iter().map(|(found, _)| *found).max(),
        });
    };
    let more = of_step.count();
    if more > 0 {
        return Err(HsmError::ObjectAmbiguous {
            what: Class::Secret.name(),
            label: label.to_owned(),
            count: more + 1,
        });
    }
    match keys.iter().find(|(found, _)| found.abs_diff(index) > 1) {
        Some((found, _)) => Err(HsmError::ForeignRatchet {
            path: path(),
            index,
            found: *found,
        }),
        None => Ok(*key),
    }
}

/// The ratchet's keys on the token, each with its step.
pub(super) fn keys(
    token: &LoggedIn<'_>,
    label: &str,
) -> Result<Vec<(u64, ObjectHandle)>, HsmError> {
    let objects = token.find_all(&Wanted::new(Class::Secret, label.to_owned()))?;
    let with_index = |object| {
        let index = token.id(object)?.try_into().map(u64::from_be_bytes);
        let index = index.map_err(|_| bad(label, "its id is no index"))?;
        Ok((index, object))
    };
    objects.into_iter().map(with_index).collect()
}
