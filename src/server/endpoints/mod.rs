//! Floor 4, server: the built-in endpoints, with a file for each kind. The interface is the same as for
//! endpoints of your own program.

mod echo;
mod inspector;
mod live;
mod live_script;
mod metrics;
mod rooms;
mod test;

pub(super) use inspector::{
    Inspector, PageFile, RingEndpoint, ToThePage, WatchEndpoint, is_target,
};
pub(super) use live::{Hello, LivePages, Question, ReloadRequest, SharedPages};

pub use echo::{Echo, PostEcho};
pub(crate) use live_script::LiveScript;
pub use metrics::{Health, MetricsEndpoint};
pub use rooms::{RoomList, RoomsEndpoint};
pub use test::TestEndpoint;

use std::net::SocketAddr;

/// Whether a peer is on this machine, as far as its address tells.
fn is_on_this_machine(peer: SocketAddr) -> bool {
    // An IPv4 client of an IPv6 socket has the address ::ffff:127.0.0.1.
    peer.ip().to_canonical().is_loopback()
}
