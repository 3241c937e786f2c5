//! A module for each role: its slots, its messages, and the node's own actor in it.

pub mod chain;
pub mod chain_server;
pub mod controller;
pub mod exchange;
pub mod gateway;
pub mod key_table;
pub mod keystore;
pub mod ratchet;
