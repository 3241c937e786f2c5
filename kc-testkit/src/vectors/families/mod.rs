//! The adapters: one file a family, and what they share in `convert`.

mod chains;
mod convert;
mod credentials;
pub(super) mod exchange;
mod get_root;
mod keygenerator;
mod keys;
mod management;
pub(super) mod message;
pub(super) mod mgmtloop;
mod provisioning;
mod pump;
mod ratchet;
pub(super) mod sntrup;
pub(super) mod stores;

use super::adapter::Family;

/// Every family with adapters.
#[must_use]
pub fn all() -> Vec<Family> {
    vec![
        chains::FAMILY,
        exchange::FAMILY,
        get_root::FAMILY,
        keygenerator::FAMILY,
        keys::FAMILY,
        management::FAMILY,
        message::FAMILY,
        mgmtloop::FAMILY,
        provisioning::FAMILY,
        ratchet::FAMILY,
        stores::FAMILY,
    ]
}
