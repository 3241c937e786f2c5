//! What actors say to each other, in core types.
//!
//! | asked | message | answered |
//! |---|---|---|
//! | chain validation | [`ValidateChain`], [`OwnIdentities`], [`OwnGrant`] | who is allowed what |
//! | ratchet | [`SealingKeyFor`], [`TurnRatchet`], [`HeldKeys`] | keys, stored before they are given out |
//! | keystore | [`Sign`] | signatures |
//! | exchange | [`KeyWanted`], [`ServeRoot`], [`SideRecords`], [`AskExchange`] | keys asked for and handed out |
//! | gateway | [`Publish`], [`Watch`], [`CloseGateway`] | the side topics |
//! | publisher | [`PrepareRoot`], [`ReceivedOpeningKeys`], [`AwaitedKeys`], [`AwaitKey`] | what the handles seal and open with |

mod chain;
mod exchange;
mod gateway;
mod keystore;
mod publisher;
mod ratchet;

pub use chain::{OwnGrant, OwnIdentities, ValidateChain};
pub use exchange::{AskExchange, ExchangeStatus, KeyWanted, ServeRoot, SideRecord, SideRecords};
pub use gateway::{CloseGateway, Publish, Watch};
pub use keystore::Sign;
pub use publisher::{
    AwaitKey, AwaitedKeys, AwaitedRoot, PrepareError, PrepareRoot, ReceivedOpeningKeys,
};
pub use ratchet::{HeldKeys, RatchetError, SealingKeyFor, TurnRatchet};
