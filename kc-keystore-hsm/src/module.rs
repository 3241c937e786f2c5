use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};

use crate::HsmError;
use crate::error::TokenFault;

/// The modules that this process has loaded, by their real paths. They stay: a module that is finalized counts
/// its handles anew, and a handle that somebody still holds then means another object.
static LOADED: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());

/// The module at `path`, loaded and initialized once in a process.
pub(crate) fn load(path: &Path) -> Result<Pkcs11, HsmError> {
    let real = path
        .canonicalize()
        .map_err(|source| HsmError::ModuleMissing {
            path: path.to_owned(),
            source,
        })?;
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let module = match loaded.get(&real) {
        Some(module) => module.clone(),
        None => Pkcs11::new(&real).map_err(|error| not_a_module(path, error))?,
    };
    initialize(&module).map_err(|error| not_a_module(path, error))?;
    loaded.insert(real, module.clone());
    Ok(module)
}

/// That it is initialized already, by whomever, is what is wanted.
fn initialize(module: &Pkcs11) -> Result<(), Error> {
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        result => result,
    }
}

fn not_a_module(path: &Path, error: Error) -> HsmError {
    let path = path.to_owned();
    match error {
        // It is one, and refuses to start.
        Error::Pkcs11(..) => HsmError::ModuleFailed {
            path,
            source: TokenFault::from(error),
        },
        _ => HsmError::NotAModule {
            path,
            source: TokenFault::from(error),
        },
    }
}
