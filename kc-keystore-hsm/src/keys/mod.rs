//! Keys of a node as objects of a token.

pub(crate) mod ed25519;
pub(crate) mod slh_dsa;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectHandle};
use kc_core::secret::SecretVec;
use sha2::{Digest, Sha256};

use crate::HsmError;
use crate::token::{Class, LoggedIn, Wanted};

/// The length of the ids of signing keys and opaque keys, in bytes.
pub(crate) const ID_LEN: usize = 16;

/// Returns the id (`CKA_ID`) that ties both halves of a pair together: the first 16 bytes of the SHA-256 digest of the
/// public key.
pub(crate) fn id_of(public: &[u8; 32]) -> [u8; ID_LEN] {
    let mut id = [0; ID_LEN];
    for (to, from) in id.iter_mut().zip(Sha256::digest(public)) {
        *to = from;
    }
    id
}

/// A signing pair on the token.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) public: [u8; 32],
    pub(crate) private: Wanted,
}

/// A function that reads the public key from the object of a public half. It uses the label only in errors.
type ReadPublic = fn(&LoggedIn<'_>, ObjectHandle, &str) -> Result<[u8; 32], HsmError>;

/// Finds the pair with this label; `None` if the token has neither half.
///
/// # Errors
/// Returns an error if the token has only one half of the pair or several pairs with this label, if the ids of the
/// halves do not belong to the public key, or if the private half could leave the token.
pub(crate) fn find_pair(
    token: &LoggedIn<'_>,
    label: &str,
    read_public: ReadPublic,
) -> Result<Option<Pair>, HsmError> {
    let public = Wanted::new(Class::Public, label.to_owned());
    let private = Wanted::new(Class::Private, label.to_owned());
    if token.find_all(&public)?.is_empty() && token.find_all(&private)?.is_empty() {
        return Ok(None);
    }
    let (public_object, private_object) = (token.only(&public)?, token.only(&private)?);
    let public = read_public(token, public_object, label)?;
    let id = id_of(&public);
    if token.id(public_object)? != id || token.id(private_object)? != id {
        return Err(bad(label, "its halves do not belong together"));
    }
    token.require_hidden(private_object, label)?;
    let private = private.with_id(&id);
    Ok(Some(Pair { public, private }))
}

/// Returns the public half of the pair with this label. If the pair does not exist, calls `draw`, which generates it.
fn ensure_pair(
    token: &LoggedIn<'_>,
    label: &str,
    read_public: ReadPublic,
    draw: impl FnOnce() -> Result<(), HsmError>,
) -> Result<[u8; 32], HsmError> {
    if let Some(pair) = resume_pair(token, label, read_public)? {
        return Ok(pair.public);
    }
    draw()?;
    let pair = find_pair(token, label, read_public)?;
    let missing = || HsmError::ObjectMissing {
        what: Class::Public.name(),
        label: label.to_owned(),
    };
    Ok(pair.ok_or_else(missing)?.public)
}

/// Cleans up after a creation that was interrupted, and finds the pair with this label. A pair without an id gets its
/// id. A public half without a private half is destroyed.
fn resume_pair(
    token: &LoggedIn<'_>,
    label: &str,
    read_public: ReadPublic,
) -> Result<Option<Pair>, HsmError> {
    let halves = |class| token.find_all(&Wanted::new(class, label.to_owned()));
    let (publics, privates) = (halves(Class::Public)?, halves(Class::Private)?);
    match (&publics[..], &privates[..]) {
        (publics, []) => publics.iter().try_for_each(|half| token.destroy(*half))?,
        ([public], [private])
            if token.id(*public)?.is_empty() || token.id(*private)?.is_empty() =>
        {
            name_pair(
                token,
                (*public, *private),
                &read_public(token, *public, label)?,
            )?;
        }
        _ => {}
    }
    find_pair(token, label, read_public)
}

/// Generates a pair on the token. `parameters` select the kind of key. `action` names the operation in errors, as in
/// "generate an Ed25519 key".
fn generate_pair(
    token: &LoggedIn<'_>,
    label: &str,
    action: &'static str,
    mechanism: &Mechanism<'_>,
    parameters: Attribute,
    read_public: ReadPublic,
) -> Result<(), HsmError> {
    let mut public = visible(label);
    public.push(parameters);
    let mut private = hidden(label);
    private.push(Attribute::Sign(true));
    let pair = token
        .session
        .generate_key_pair(mechanism, &public, &private)
        .map_err(HsmError::call(action))?;
    name_pair(token, pair, &read_public(token, pair.0, label)?)
}

/// Gives both halves of a pair their id.
fn name_pair(
    token: &LoggedIn<'_>,
    (public, private): (ObjectHandle, ObjectHandle),
    value: &[u8; 32],
) -> Result<(), HsmError> {
    let id = [Attribute::Id(id_of(value).to_vec())];
    [public, private].into_iter().try_for_each(|half| {
        let named = token.session.update_attributes(half, &id);
        named.map_err(HsmError::call("set the id of a new key"))
    })
}

/// The attributes of a pair that is imported.
struct Halves {
    /// The attributes that both halves have: the type of the key and its parameters.
    kind: [Attribute; 2],
    /// The value of the public half.
    public: Attribute,
    /// The value of the private half.
    private: SecretVec,
}

/// Imports a pair to the token, unless the token has it already. Returns [`HsmError::ObjectExists`] if the token has
/// another pair with this label.
fn import_pair(
    token: &LoggedIn<'_>,
    label: &str,
    public: &[u8; 32],
    read_public: ReadPublic,
    halves: Halves,
) -> Result<(), HsmError> {
    match resume_pair(token, label, read_public)? {
        None => create_pair(token, label, &id_of(public), halves),
        Some(pair) if pair.public == *public => Ok(()),
        Some(_) => Err(HsmError::ObjectExists {
            label: label.to_owned(),
        }),
    }
}

/// Creates both halves, and wipes the copy of the private key in the template.
fn create_pair(
    token: &LoggedIn<'_>,
    label: &str,
    id: &[u8; ID_LEN],
    halves: Halves,
) -> Result<(), HsmError> {
    let mut shared = Vec::from(halves.kind);
    shared.push(Attribute::Id(id.to_vec()));
    let mut visible = visible(label);
    visible.extend(shared.iter().cloned());
    visible.extend([halves.public, Class::Public.attribute()]);
    let mut hidden = hidden(label);
    hidden.extend(shared);
    hidden.extend([
        Attribute::Sign(true),
        Attribute::Value(halves.private.expose().to_vec()),
        Class::Private.attribute(),
    ]);
    let create = |template: &[Attribute]| token.session.create_object(template);
    let created = create(&visible).and_then(|public| {
        create(&hidden).map(drop).inspect_err(|_| {
            // A public half without its private half is useless.
            let _ = token.destroy(public);
        })
    });
    for attribute in hidden {
        if let Attribute::Value(value) = attribute {
            drop(SecretVec::from(value));
        }
    }
    created.map_err(HsmError::call("import a key"))
}

/// Returns the attributes of every private or secret key: it is stored on the token and cannot leave it.
pub(crate) fn hidden(label: &str) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Label(label.as_bytes().to_vec()),
    ]
}

/// Returns the attributes of every public half.
pub(crate) fn visible(label: &str) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Verify(true),
        Attribute::Label(label.as_bytes().to_vec()),
    ]
}

pub(crate) fn bad(label: &str, problem: &'static str) -> HsmError {
    HsmError::BadObject {
        label: label.to_owned(),
        problem,
    }
}
