//! What actors say to each other, in core types.
//!
//! | asked | message | answered |
//! |---|---|---|
//! | chain validation | [`ValidateChain`], [`OwnIdentities`], [`OwnGrant`], [`JudgeGivers`], [`ManagementRecords`], [`TendTrust`], [`AskTrust`] | who is allowed what |
//! | ratchet | [`SealingKeyFor`], [`TurnRatchet`], [`HeldKeys`] | keys, stored before they are given out |
//! | keystore | [`Sign`] | signatures |
//! | exchange | [`KeyWanted`], [`ServeRoot`], [`SideRecords`], [`AskExchange`] | keys asked for and handed out |
//! | controller | [`SideRecords`], [`AskController`] | requests vouched for |
//! | gateway | [`Publish`], [`Watch`], [`WatchSubscriptions`], [`CloseGateway`] | the control topics |
//! | publisher | [`PrepareRoot`], [`ReceivedOpeningKeys`], [`AwaitedKeys`], [`AwaitKey`], [`Rotate`] | what the handles seal and open with |

mod chain;
mod controller;
mod exchange;
mod gateway;
mod keystore;
mod publisher;
mod ratchet;
mod trust;

pub use chain::{JudgeGivers, OwnGrant, OwnIdentities, ValidateChain};
pub use controller::{AskController, ControllerStatus};
pub use exchange::{
    AskExchange, ExchangeStatus, GivenKeys, KeyWanted, RefusedSender, ServeRoot, SideRecord,
    SideRecords,
};
pub use gateway::{CloseGateway, ControlTopic, Publish, Watch, WatchSubscriptions};
pub use keystore::Sign;
pub use publisher::{
    AwaitKey, AwaitedKeys, PrepareError, PrepareRoot, ReceivedOpeningKeys, Rotate,
};
pub use ratchet::{
    HeldKeys, HeldRoots, RatchetError, SealingKeyFor, TurnRatchet, TurnReason, Turned,
};
pub use trust::{
    AskTrust, IdentityStatus, ManagementRecord, ManagementRecords, TendTrust, TrustStatus,
};
