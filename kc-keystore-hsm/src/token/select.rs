use std::path::Path;

use cryptoki::context::Pkcs11;
use cryptoki::slot::{Slot, TokenInfo};

use crate::{HsmError, Pkcs11Uri, UriError, module};

/// The module that a URI names, where in it the token is now, and how it is.
pub(crate) fn locate(uri: &Pkcs11Uri) -> Result<(Pkcs11, Slot, TokenInfo), HsmError> {
    let path = uri.module_path.as_ref().ok_or(UriError::NoModule)?;
    let module = module::load(path)?;
    let (slot, info) = only_token(&module, uri, path)?;
    Ok((module, slot, info))
}

/// The only initialized token that the URI fits, by its slot.
fn only_token(
    module: &Pkcs11,
    uri: &Pkcs11Uri,
    path: &Path,
) -> Result<(Slot, TokenInfo), HsmError> {
    let tokens = slots(module)?.into_iter();
    let tokens: Vec<_> = tokens
        .filter(|(_, info)| info.token_initialized())
        .collect();
    let mut fitting = tokens.iter().filter(|(_, info)| fits(uri, info));
    match (fitting.next(), fitting.count()) {
        (Some(token), 0) => Ok(token.clone()),
        (Some(_), more) => Err(HsmError::TokenAmbiguous {
            wanted: wanted(uri),
            count: more + 1,
        }),
        (None, _) => Err(HsmError::TokenMissing {
            wanted: wanted(uri),
            module: path.to_owned(),
            found: tokens
                .iter()
                .map(|(_, info)| format!("{:?}", info.label()))
                .collect(),
        }),
    }
}

/// All slots with a token. One that is removed meanwhile is not there.
pub(crate) fn slots(module: &Pkcs11) -> Result<Vec<(Slot, TokenInfo)>, HsmError> {
    let slots = module
        .get_slots_with_token()
        .map_err(HsmError::call("list the tokens"))?;
    let tokens = slots
        .into_iter()
        .filter_map(|slot| Some((slot, module.get_token_info(slot).ok()?)));
    Ok(tokens.collect())
}

fn fits(uri: &Pkcs11Uri, info: &TokenInfo) -> bool {
    let fits = |wanted: &Option<String>, found: &str| {
        wanted.as_deref().is_none_or(|wanted| wanted == found)
    };
    fits(&uri.token, info.label())
        && fits(&uri.manufacturer, info.manufacturer_id())
        && fits(&uri.model, info.model())
        && fits(&uri.serial, info.serial_number())
}

/// What the URI says of the token.
fn wanted(uri: &Pkcs11Uri) -> String {
    let attributes = [
        ("token", &uri.token),
        ("manufacturer", &uri.manufacturer),
        ("model", &uri.model),
        ("serial", &uri.serial),
    ];
    let named = attributes
        .iter()
        .filter_map(|(name, value)| Some(format!("{name} {:?}", value.as_ref()?)));
    named.collect::<Vec<_>>().join(", ")
}
