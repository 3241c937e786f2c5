use std::io::ErrorKind;

use kc_core::store::{StoreError, StoreErrorKind};

use super::HsmError;

impl HsmError {
    /// Returns advice for the operator: what to do about the error.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Uri(error) => error.advice(),
            Self::ModuleMissing { .. } => {
                "install the token's PKCS#11 module, or correct module-path in the URI"
            }
            Self::NotAModule { .. } => {
                "module-path must name the maker's PKCS#11 library for this machine, such as /usr/lib/softhsm/libsofthsm2.so"
            }
            Self::ModuleFailed { .. } => {
                "check the module's own configuration and log, and that its daemon runs"
            }
            Self::TokenMissing { .. } => {
                "insert the token, correct token= in the URI, or name the right module with module-path; `kc hsm init` initializes a blank token"
            }
            Self::TokenAmbiguous { .. } => "add serial= to the URI",
            Self::TokenExists { .. } | Self::TokenLabel { .. } => {
                "choose another label, of 1 to 32 bytes"
            }
            Self::NoBlankToken { .. } => {
                "reset a token with its maker's tool; this destroys everything on the token"
            }
            Self::PinMissing { .. } => {
                "name a file with pin-source=file:/path (mode 0600), set KC_HSM_PIN, or answer the prompt"
            }
            Self::PinIncorrect { .. } => {
                "correct the PIN; the wrong PIN is not tried again, because tokens lock after some wrong attempts"
            }
            Self::PinLastTry { .. } => {
                "first log in once with the token's own tool; for a user PIN, you can also use `kc hsm list`, which asks for the PIN if neither pin-source nor KC_HSM_PIN is set"
            }
            Self::PinRefused { .. } => {
                "correct the PIN; or, if the token's PIN was changed after the refusal and this PIN is now correct, delete the file that records refused PINs"
            }
            Self::PinTriesSpent { .. } => {
                "start the node with neither pin-source nor KC_HSM_PIN, so that it asks for the PIN; or, if the PIN in pin-source or KC_HSM_PIN is now correct, delete the file that records refused PINs"
            }
            Self::PinExpired { .. } => "set a new PIN with the token's own tool",
            Self::PinUnsuitable { .. } => {
                "choose another PIN and run the same command again; it continues where it stopped"
            }
            Self::PinHash => "report this fault of kc",
            Self::PinLocked { .. } => "the token's security officer must set a new PIN",
            Self::PinNotSet { .. } => "the token's security officer must set the user PIN",
            Self::Lacks { .. } => "use another token, or newer firmware",
            Self::ReservedId(_) => {
                "choose another id; to make a root of trust, use `kc hsm generate --root`; to make provisioners, use `kc chain provisioners`"
            }
            Self::NotALabel(_) => {
                "write object=kc:<node>:<instance>:id for a node's keys, object=kc:<node>:<instance>:ratchet for its ratchet, object=kc-root:<name>:id for a root of trust, or object=kc-provisioner:<name>:id for a provisioner"
            }
            Self::ObjectMissing { .. } | Self::NoSigningKey(_) => {
                "`kc hsm list` shows the objects on the token; `kc hsm generate` or `kc hsm import` makes a missing key"
            }
            Self::SlhDsaMissing { .. } => {
                "if the token sealed this key, put back the node's .config file, which holds the sealed key; otherwise check that the URI names the token that has the key"
            }
            Self::RotationUnfinished { .. } => {
                "continue the replacement with `kc hsm rotate-opaque --node <node>`; until it is finished, delete no keys from the token, or the node's retained keys are lost"
            }
            Self::ObjectAmbiguous { .. } => {
                "find the objects with `kc hsm list`, and delete the wrong ones with the token's own tool"
            }
            Self::ObjectExists { .. } => {
                "the object probably belongs to another node with this id: choose another id, or, if no node uses the object, delete it with the token's own tool"
            }
            Self::NodeExists { .. } => {
                "choose another id, or use --adopt to take the keys that `kc hsm generate` made, or use `kc provision --force` to make new keys next to the existing ones"
            }
            Self::NotAdoptable { .. } => {
                "`kc hsm list` shows the keys on the token; without --adopt, kc makes new keys; with --force, kc makes them even if the token has keys of a node with this id"
            }
            Self::Exposed { .. } => {
                "the key may have been copied from the token: make a new key with `kc hsm generate`"
            }
            Self::BadObject { .. } => {
                "the object was made by another tool, or is incomplete: delete it and make it again"
            }
            Self::KeyChanged { .. } => {
                "check that the URI names the node's token; if the key on the token was replaced, the node needs a certificate chain for the new key"
            }
            Self::SlhDsaFailed { .. } | Self::TwoKeys(_) => {
                "make a new node on the token with `kc provision` and its options --keystore and --force"
            }
            Self::SelfTest { .. } => {
                "the key was imported in a wrong form, or the token is faulty: make the key again, or use another token"
            }
            Self::Unauthentic { .. } => {
                "put back an intact copy, and check that this token and this node sealed it; to move a node from files to this token, use `kc hsm import`, which seals its values again"
            }
            Self::RolledBack { .. } => {
                "put back the ratchet's file that belongs to the token's current step; if this file is lost, `kc hsm renew-ratchet` begins another ratchet"
            }
            Self::ForeignRatchet { .. } => {
                "check that the file belongs to this node, because the token has a key of another ratchet with the same label; to begin another ratchet, use `kc hsm renew-ratchet`"
            }
            Self::MalformedRatchet { .. } => {
                "put back the intact file of the ratchet; if this file is lost, `kc hsm renew-ratchet` begins another ratchet"
            }
            Self::RatchetRepeats { .. } => {
                "choose a first index that is greater than all used indices, such as the time in seconds since 1970"
            }
            Self::RatchetExists { .. } => {
                "a node with this id has used this ratchet: choose another id, or use --force to begin another ratchet after the last step of this ratchet"
            }
            Self::RatchetKeyLeft { .. } => {
                "another node may use this key, so nothing was changed; if the ratchet's file is lost, `kc hsm renew-ratchet` begins another ratchet"
            }
            Self::RatchetExhausted { .. } => "give the node a new identity and a new ratchet",
            Self::RatchetInUse { .. } => "stop the other process that uses this node",
            Self::RatchetLockLost { .. } => {
                "stop all processes that use this node, make sure that nothing deletes its .lock file, and start one of these processes again"
            }
            Self::File { source, .. } if source.kind() == ErrorKind::NotFound => {
                "put back the ratchet's file; if this file is lost, `kc hsm renew-ratchet` begins another ratchet"
            }
            Self::File { .. } => {
                "check the path, the owner of the file and the free space on the disk"
            }
            Self::Silent => {
                "check the token and the connection to it: its daemon, its cable, the network"
            }
            Self::Ended => {
                "run the same command again; it continues, or says what the interruption left"
            }
            Self::Thread(_) => {
                "end other programs, or raise the limit on the number of processes and threads"
            }
            Self::Random(_) => "check the random number generator of the operating system",
            Self::Gone { .. } => {
                "insert the token, or start its daemon; a running node continues with the keys that it has, and reconnects"
            }
            Self::Token { .. } => {
                "see the module's log; `kc hsm doctor` lists the token's mechanisms"
            }
        }
    }
}

impl From<HsmError> for StoreError {
    /// Returns a [`StoreError`] with the matching kind and the advice. `error` becomes its source.
    fn from(error: HsmError) -> Self {
        use StoreErrorKind as Kind;
        let kind = match &error {
            HsmError::ModuleMissing { .. }
            | HsmError::TokenMissing { .. }
            | HsmError::ObjectMissing { .. }
            | HsmError::NoBlankToken { .. }
            | HsmError::SlhDsaMissing { .. }
            | HsmError::NoSigningKey(_) => Kind::Missing,
            HsmError::PinMissing { .. }
            | HsmError::PinIncorrect { .. }
            | HsmError::PinRefused { .. }
            | HsmError::PinTriesSpent { .. }
            | HsmError::PinLocked { .. }
            | HsmError::PinLastTry { .. }
            | HsmError::PinExpired { .. }
            | HsmError::PinNotSet { .. }
            | HsmError::Exposed { .. } => Kind::Permission,
            HsmError::Uri(_)
            | HsmError::NotALabel(_)
            | HsmError::NotAModule { .. }
            | HsmError::TokenAmbiguous { .. }
            | HsmError::ObjectAmbiguous { .. }
            | HsmError::BadObject { .. }
            | HsmError::KeyChanged { .. }
            | HsmError::TwoKeys(_)
            | HsmError::SelfTest { .. }
            | HsmError::SlhDsaFailed { .. }
            // Not `Missing`, because a caller may begin a new ratchet if the old one is missing.
            | HsmError::RolledBack { .. }
            | HsmError::ForeignRatchet { .. }
            | HsmError::MalformedRatchet { .. } => Kind::Malformed,
            HsmError::Unauthentic { .. } => Kind::Unauthentic,
            HsmError::RatchetExhausted { .. } => Kind::Exhausted,
            HsmError::RatchetInUse { .. } | HsmError::RatchetLockLost { .. } => Kind::InUse,
            HsmError::File { source, .. } => match source.kind() {
                ErrorKind::NotFound => Kind::Missing,
                ErrorKind::PermissionDenied => Kind::Permission,
                _ => Kind::Io,
            },
            HsmError::Silent | HsmError::Ended => Kind::Timeout,
            HsmError::ModuleFailed { .. }
            | HsmError::Thread(_)
            | HsmError::Random(_)
            | HsmError::Gone { .. }
            | HsmError::Token { .. } => Kind::Io,
            HsmError::Lacks { .. }
            | HsmError::TokenExists { .. }
            | HsmError::TokenLabel { .. }
            | HsmError::ReservedId(_)
            | HsmError::NodeExists { .. }
            | HsmError::NotAdoptable { .. }
            | HsmError::RatchetKeyLeft { .. }
            | HsmError::ObjectExists { .. }
            | HsmError::RotationUnfinished { .. }
            | HsmError::PinUnsuitable { .. }
            | HsmError::PinHash
            | HsmError::RatchetExists { .. }
            | HsmError::RatchetRepeats { .. } => Kind::Other,
        };
        Self::new(kind, "access to the PKCS#11 token")
            .with_advice(error.advice())
            .with_source(error)
    }
}
