//! A single-threaded, readiness-based HTTP/1.1 server.

#![forbid(unsafe_code)]

pub mod config;
pub mod connection;
pub mod http;
pub mod server;
pub mod site;
pub mod sys;
pub mod transport;
