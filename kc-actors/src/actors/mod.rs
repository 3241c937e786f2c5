//! The actors of a node. Each module has the slots of a role, its messages, and the node's own actor in that role.

pub mod chain;
pub mod chain_server;
pub mod controller;
pub mod exchange;
pub mod gateway;
pub mod key_table;
pub mod keystore;
pub mod ratchet;
