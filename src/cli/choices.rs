//! The values of flags that have a few words as values.

use clap::ValueEnum;

/// The formats of the access log, as named on the command line.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub enum Format {
    /// Short lines for people
    Pretty,
    /// The "combined" format of Apache httpd and nginx
    Combined,
    /// One JSON object per line
    Json,
    /// No access log
    Off,
}

/// The rights of pages of other origins, as named on the command line.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub enum CorsMode {
    /// Read the replies to requests without credentials
    Any,
    /// Also send credentials, if the page may post here
    Credentials,
}

/// The clients that may ask for the metrics, as named on the command line.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub enum MetricsFor {
    /// Clients with a loopback address
    Loopback,
    /// All clients
    Any,
}

/// The clients that may look at the loop, as named on the command line.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub enum InspectFor {
    /// Clients with a loopback address
    Loopback,
    /// All clients
    Any,
    /// Nobody
    Off,
    /// Clients with a loopback address, which may also pause the loop
    Control,
}

/// The changes that reload open pages, as named on the command line.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub enum LiveFor {
    /// Changes of files that the page uses
    Used,
    /// Changes of any file
    All,
}

/// The treatment of slow members of rooms, as named on the command line.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub enum Slow {
    /// The member misses messages; the server counts the missed messages
    Drop,
    /// The member's connection is closed with the close code 1013
    Close,
}
