use cryptoki::object::ObjectHandle;
use kc_core::ratchet::Seed;
use kc_core::store::SealedRatchetHeader;

use super::file::RatchetFile;
use crate::token::LoggedIn;
use crate::{HsmError, aead};

/// A ratchet as it stands in its file: the index is legible, the secret is not.
pub(super) struct Sealed {
    index: u64,
    bytes: Vec<u8>,
}

impl Sealed {
    /// What the file holds.
    pub(super) fn read(file: &RatchetFile) -> Result<Self, HsmError> {
        Self::read_any(file)?.ok_or_else(|| HsmError::File {
            action: "read",
            path: file.path().to_owned(),
            source: std::io::ErrorKind::NotFound.into(),
        })
    }

    /// What the file holds, if there is one.
    pub(super) fn read_any(file: &RatchetFile) -> Result<Option<Self>, HsmError> {
        let Some(bytes) = file.read()? else {
            return Ok(None);
        };
        let header = SealedRatchetHeader::of(&bytes).ok_or_else(|| malformed(file))?;
        Ok(Some(Self {
            index: header.index,
            bytes,
        }))
    }

    /// Seals a seed by the key of its step.
    pub(super) fn seal(
        token: &LoggedIn<'_>,
        key: ObjectHandle,
        seed: &Seed,
    ) -> Result<Self, HsmError> {
        let index = seed.index();
        let header = SealedRatchetHeader { index }.encode();
        let bytes = aead::seal(token, key, &header, seed.encode().expose())?;
        Ok(Self { index, bytes })
    }

    pub(super) fn open(
        &self,
        token: &LoggedIn<'_>,
        key: ObjectHandle,
        file: &RatchetFile,
    ) -> Result<Seed, HsmError> {
        let seed = aead::open(
            token,
            key,
            SealedRatchetHeader::LEN,
            &self.bytes,
            "ratchet file",
        )?;
        match Seed::decode(seed.expose()) {
            Ok(seed) if seed.index() == self.index => Ok(seed),
            _ => Err(malformed(file)),
        }
    }

    /// The step that it holds.
    pub(super) fn index(&self) -> u64 {
        self.index
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

pub(super) fn malformed(file: &RatchetFile) -> HsmError {
    HsmError::MalformedRatchet {
        path: file.path().to_owned(),
    }
}
