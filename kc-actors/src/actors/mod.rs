//! The actors of a node. Each module defines a role, its messages, and the default actor in that role. A chain server
//! has an actor, but no role.

pub mod chain;
pub mod chain_server;
pub mod controller;
pub mod custody;
pub mod exchange;
pub mod gateway;
pub mod key_table;
pub mod keystore;
pub mod ratchet;
