//! Floor 4, connection: what a connection leaves for the server to deliver. Connections never touch
//! each other, nor anything that all of them share.

use super::Key;
use crate::site::Endpoint;

/// A message from a connection.
#[derive(Debug)]
pub enum Mail {
    /// A request for an endpoint. The sender waits for the answer.
    Request {
        /// Who asks.
        from: Key,
        /// What is asked.
        to: Endpoint,
        /// The whole body, in storage of the pool's.
        body: Vec<u8>,
    },
}
