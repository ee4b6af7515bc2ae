//! The reasons why connections are open, as the server gives them, compared with the state of the
//! simulated kernel after each turn. A server that explains itself wrongly has lost an edge, or explains
//! by other facts than those by which it decides.
//!
//! Bugs that were put in, one at a time, and the words in which each was noticed:
//!
//! | bug | noticed as |
//! |---|---|
//! | a short write clears `writable` | no write has found the kernel full |
//! | a short read after the FIN of the peer clears `readable` | input is unread |
//! | a reason tells another time than the deadline | another deadline is armed |
//! | back-pressure is left out of the reasons | the connection takes no input |
//! | output that waits is left out of the reasons | another deadline is armed |
//! | a throttled connection is not taken for runnable again | an assertion of `Server::check` |

use oneloop::connection::View;
use oneloop::server::Server;

use crate::files::SimFiles;
use crate::wire::Wire;
use crate::world::{SimDriver, World};

/// Checks the reason of each open connection.
pub fn judge(server: &Server<SimDriver, SimFiles>, world: &World) {
    for view in server.views() {
        let Some(wire) = world.wire_of(&view) else {
            continue;
        };
        if let Some(error) = contradiction(&view, wire) {
            let client = match wire.visit {
                Some(visit) => format!("visit {visit} of {:?}", world.backend),
                None => world.client_of(wire).status(),
            };
            panic!(
                "a wrong reason: {error}: {:?}, {client}",
                view.why.to_string()
            );
        }
        let waits_for_effects = view.why.to_string().starts_with("the request waits");
        assert!(
            !waits_for_effects || !server.is_quiet(),
            "a wrong reason: nothing was queued before the request"
        );
    }
}

/// What the server says of a connection that is not so.
fn contradiction(view: &View, wire: &Wire) -> Option<&'static str> {
    let (why, anchor) = (&view.why, view.why.anchor());
    let counted = (wire.sent() as u64, wire.taken() as u64);
    if (view.sent, view.received) != counted && !wire.is_secure() {
        return Some("the bytes are counted wrongly");
    }
    if anchor == "preconnect" && view.sent > 0 {
        return Some("an answer was sent before");
    }
    if view.is_queued {
        let is_told =
            matches!(anchor, "queued" | "throttled") || why.to_string().starts_with("ended");
        return (!is_told).then_some("the connection is in a queue");
    }
    if matches!(anchor, "queued" | "throttled") {
        return Some("the connection is in no queue");
    }
    if why.waits_for_input() && !view.takes_input {
        return Some("the connection takes no input");
    }
    // What the connection remembers, and what the kernel has. Input behind unsent output may wait.
    if view.takes_input
        && anchor != "slow-reader"
        && (view.ready.readable || wire.has_untold_input())
    {
        return Some("input is unread");
    }
    let may_write = view.ready.writable || !wire.is_write_blocked();
    // The first output may wait for a handshake.
    let may_open = wire.is_secure() && view.sent == 0;
    if view.outbox > 0 && may_write && !may_open {
        return Some("no write has found the kernel full");
    }
    if anchor == "slow-reader" && view.outbox == 0 && !wire.is_secure() {
        return Some("there is nothing to read");
    }
    let (told, due) = (why.deadline(), view.deadline);
    match told {
        // A head that has begun has its time even while back-pressure holds its rest back.
        Some(_) if anchor == "slow-reader" => (told < due).then_some("a deadline comes later"),
        Some(_) => (told != due).then_some("another deadline is armed"),
        None => None,
    }
}
