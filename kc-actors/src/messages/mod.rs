//! What actors say to each other, in core types.
//!
//! | asked | message | answered |
//! |---|---|---|
//! | chain validation | [`ValidateChain`], [`OwnIdentities`], [`OwnGrant`], [`JudgeGivers`], [`ManagementRecords`], [`TendTrust`], [`AskTrust`] | who is allowed what |
//! | ratchet | [`SealingKeyFor`], [`TurnRatchet`], [`RetainedKeysFor`] | keys, stored before they are given out |
//! | keystore | [`Sign`] | signatures |
//! | exchange | [`KeyWanted`], [`ServeRoot`], [`SideRecords`], [`AskExchange`] | keys asked for and handed out |
//! | controller | [`SideRecords`], [`AskController`] | requests vouched for |
//! | gateway | [`SendRecord`], [`Watch`], [`WatchSubscriptions`], [`CloseGateway`] | the control topics |
//! | key table | [`PrepareRoot`], [`ReceivedOpeningKeys`], [`AwaitedKeys`], [`AwaitKey`], [`Rotate`] | what the handles seal and open with |

mod chain;
mod controller;
mod exchange;
mod gateway;
mod key_table;
mod keystore;
mod ratchet;
mod trust;

pub use chain::{JudgeGivers, OwnGrant, OwnIdentities, ValidateChain};
pub use controller::{AskController, ControllerStatus};
pub use exchange::{
    AskExchange, ExchangeStatus, GivenKeys, KeyWanted, RefusedSender, ServeRoot, SideRecord,
    SideRecords,
};
pub use gateway::{CloseGateway, ControlTopic, SendRecord, Watch, WatchSubscriptions};
pub use key_table::{
    AwaitKey, AwaitedKeys, PrepareError, PrepareRoot, ReceivedOpeningKeys, Rotate,
};
pub use keystore::Sign;
pub use ratchet::{
    RatchetError, RetainedKeysFor, RetainedRoots, SealingKeyFor, TurnRatchet, TurnReason, Turned,
};
pub use trust::{
    AskTrust, IdentityStatus, ManagementRecord, ManagementRecords, TendTrust, TrustStatus,
};
