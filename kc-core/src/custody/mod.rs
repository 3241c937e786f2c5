//! The keys that a custodian keeps for other nodes, so that consumers get data keys whose producers are gone.
//!
//! A custodian notes the ids of the data keys that records need ([`Sighting`]), requests these keys as any consumer
//! does, and keeps each key that opens one of the records. It then answers the requests of consumers in place of the
//! producers.
//!
//! ```text
//!   record ──► Sighting ──► pending ──► request ──► reply ──► offered ──► the tag of a record verifies ──► kept
//! ```
//!
//! | item | content |
//! |---|---|
//! | [`CustodyArchive`] | the trait of the store in which all of this lasts |
//! | [`CustodySecrets`] | the keys that seal the kept keys, and the seeds of the custodian's requests |
//! | [`Day`] | the unit of time in which kept keys are forgotten |

mod archive;
mod secrets;

pub use archive::{
    CustodyArchive, Given, KeptKey, MAX_OFFERS, MAX_PENDING_PER_ROOT, Offer, Place, RootCustody,
    Sighting, Unproven,
};
pub use secrets::{CustodySecrets, Day};
