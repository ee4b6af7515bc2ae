//! oneloop
#![forbid(unsafe_code)]
pub mod cli;
pub mod config;
pub mod connection;
pub mod http;
pub mod server;
pub mod site;
pub mod sys;
pub mod transport;
