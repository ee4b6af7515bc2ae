//! Floor 3, connection: the [`Endpoint`], the third kind of answer beside files and refusals. The
//! trait is the interface between the crate and your own program.
//!
//! A single endpoint serves every connection to its path. The server calls the endpoint from the
//! loop, once for each event, such as a message. A method must not block, because every other
//! connection waits until the method returns.
//!
//! A method gets a [`Session`] to answer the peer at once, or a [`Hub`] where no peer is present. A
//! message to a room is queued, and delivered after the connections of this turn were pumped:
//! usually still in the same turn.
//!
//! A request is handed over at once, if no effect is queued. Otherwise the request is queued behind the
//! effects, so that the endpoint finds the rooms as they are after all that came before the request.

use std::fmt;
use std::time::Duration;

use super::{Answer, Hub, Key, Message, Request, Session};
use crate::http::{Method, Status};
use crate::websocket::{CloseCode, Protocols};

/// The behaviour of a path: how your program answers requests for the path, and serves WebSocket
/// connections to it. Each method has a default, so an endpoint has only those that it needs:
///
/// - `methods` and `on_request` answer requests; `on_head` and `on_body` take large bodies;
/// - `on_stream_room` and `on_leave` follow an answer that is given piece by piece, or later;
/// - `on_open`, `on_message`, `on_room` and `on_close` follow the life of a WebSocket connection, and
///   `protocols` names the subprotocols;
/// - `interval` and `on_tick` are a regular timer, and `on_timer` is for timers on demand.
///
/// All methods run on the loop and must return soon: no other connection moves meanwhile. Do slow
/// work in a thread of your own program: answer with [`Answer::later`], and come back to the loop by the
/// [`Handle`](crate::server::Handle).
///
/// This endpoint counts, by GET and by POST:
///
/// ```
/// use oneloop::http::Method;
/// use oneloop::{Answer, Endpoint, Hub, Request};
///
/// struct Counter(u64);
///
/// impl Endpoint for Counter {
///     fn methods(&self) -> &[Method] {
///         &[Method::Get, Method::Post]
///     }
///
///     fn on_request(&mut self, _: &mut Hub<'_>, request: Request<'_>) -> Answer {
///         self.0 += u64::from(request.method() == Method::Post);
///         Answer::json(format!("{{\"count\":{}}}", self.0))
///     }
/// }
/// ```
///
/// And this one sends each text message back in capitals:
///
/// ```
/// use oneloop::{Endpoint, Message, Session};
///
/// struct Shout;
///
/// impl Endpoint for Shout {
///     fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
///         if let Message::Text(text) = message {
///             let _ = session.send(Message::Text(&text.to_uppercase()));
///         }
///     }
/// }
/// ```
pub trait Endpoint {
    /// The methods of the requests that the endpoint answers; the default is none. HEAD comes with GET:
    /// the server leaves the content out. A request with another method is for the files; if no file is
    /// there, it gets 405. OPTIONS is answered with the methods, unless OPTIONS is one of them. The
    /// server asks once, when the endpoint is added.
    fn methods(&self) -> &[Method] {
        &[]
    }

    /// Whether the endpoint takes WebSocket connections. By default, an endpoint without
    /// [methods](Endpoint::methods) does. The server asks once, when the endpoint is added.
    fn takes_websocket(&self) -> bool {
        self.methods().is_empty()
    }

    /// A request has come, whole with its body. Its method is one of the
    /// [methods](Endpoint::methods). The server answers a body in a content coding (`Content-Encoding:
    /// gzip`) with 415 itself.
    fn on_request(&mut self, hub: &mut Hub<'_>, request: Request<'_>) -> Answer {
        let _ = (hub, request);
        Answer::text("nothing is here\n").status(Status::NotFound)
    }

    /// The head of a request has come, and a body follows. The endpoint decides how the body is taken.
    /// The default takes the body whole. A client that expects 100 (Continue) gets it only if the body is
    /// taken.
    fn on_head(&mut self, hub: &mut Hub<'_>, request: &Request<'_>) -> Intake {
        let _ = (hub, request);
        Intake::Whole
    }

    /// A piece of a body has come, after [`Intake::Pieces`]. The pieces have at most as many bytes as
    /// one read, 64 KiB by default. At the end of the body, [`on_request`](Endpoint::on_request) is
    /// called.
    fn on_body(&mut self, hub: &mut Hub<'_>, key: Key, piece: &[u8]) -> Uptake {
        let _ = (hub, key, piece);
        Uptake::More
    }

    /// The stream of this connection has room: its head was just queued, or after
    /// [`has_room`](Hub::has_room) was `false`, fewer than
    /// [`Limits::write_buffer_high`](crate::config::Limits::write_buffer_high) bytes wait. An endpoint
    /// with much to send stops at `false` and goes on here.
    fn on_stream_room(&mut self, hub: &mut Hub<'_>, key: Key) {
        let _ = (hub, key);
    }

    /// The client has left before its answer was complete: while a body came in pieces, before an
    /// answer that was to come later, or within a stream. A client that ends its direction of a stream
    /// has left. A client that ends its direction before an answer has left if the answer does not come
    /// within [`Limits::stall_time`](crate::config::Limits::stall_time). For a HEAD request, and with a
    /// status [without content](Status::has_no_content), a stream ends here at once.
    fn on_leave(&mut self, hub: &mut Hub<'_>, key: Key) {
        let _ = (hub, key);
    }

    /// Returns the subprotocols of the endpoint (RFC 6455 §1.9). The default is none.
    fn protocols(&self) -> Protocols {
        Protocols::None
    }

    /// A client asks for a WebSocket connection, by a valid opening handshake. A message sent in this
    /// method follows directly after the answer to the handshake.
    ///
    /// # Errors
    /// With an answer, the connection is refused: the client gets the answer in place of 101, and no
    /// message of this method is sent. A browser does not show it to the page.
    fn on_open(&mut self, session: &mut Session<'_>, request: &Request<'_>) -> Result<(), Answer> {
        let _ = (session, request);
        Ok(())
    }

    /// A whole message has come.
    fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
        let _ = (session, message);
    }

    /// The write buffer of this peer has room again. The server calls this method after
    /// [`has_room`](Session::has_room) was `false`, or after broadcasts had filled the write
    /// buffer. An endpoint with much to send stops at `false` and goes on here.
    fn on_room(&mut self, session: &mut Session<'_>) {
        let _ = session;
    }

    /// An opened connection has ended, for any cause. The server calls this method once for each
    /// opened connection, unless the program ends first. `code` is the code of the first close
    /// frame, received or sent. `None`: the connection ended without a close frame, or the close
    /// frame had no code.
    fn on_close(&mut self, hub: &mut Hub<'_>, key: Key, code: Option<CloseCode>) {
        let _ = (hub, key, code);
    }

    /// Returns the interval of [`on_tick`](Endpoint::on_tick); `None`: never called. The server
    /// asks once, when the endpoint is added. A tick may be late, but never early; a zero interval
    /// would keep the loop busy.
    fn interval(&self) -> Option<Duration> {
        None
    }

    /// The [interval](Endpoint::interval) has passed. A missed tick is not made up for. A server
    /// that is stopping does not call this method.
    fn on_tick(&mut self, hub: &mut Hub<'_>) {
        let _ = hub;
    }

    /// The time that was set by [`Hub::after`] has come.
    fn on_timer(&mut self, hub: &mut Hub<'_>, number: u64) {
        let _ = (hub, number);
    }
}

/// How an endpoint takes the body of a request.
#[derive(Debug)]
pub enum Intake {
    /// Whole, with [`on_request`](Endpoint::on_request). A body of more than
    /// [`Limits::body_bytes_max`](crate::config::Limits::body_bytes_max) bytes gets 413.
    Whole,
    /// Piece by piece, with [`on_body`](Endpoint::on_body). There is no bound on the length, and the
    /// server holds no more of the body than one read.
    Pieces,
    /// Not at all. The answer is the last of the connection, because the body is not read.
    Refuse(Answer),
}

/// The reaction of an endpoint to a piece of a body. The piece has been taken in any case but `Refuse`.
#[derive(Debug)]
pub enum Uptake {
    /// The next piece may come.
    More,
    /// The next piece may come after [`Hub::resume`]. Until then nothing is read from the client, TCP
    /// makes it wait, and no deadline passes. A client that leaves meanwhile is only noticed after
    /// `resume`, so every wait must come to an end.
    Wait,
    /// No more of the body is wanted. The answer is the last of the connection.
    Refuse(Answer),
}
/// The endpoints of a server. The number of an endpoint is in its [mount](crate::site::Mount).
#[derive(Default)]
pub(crate) struct Endpoints {
    rows: Vec<Row>,
}

struct Row {
    endpoint: Box<dyn Endpoint>,
    /// Whether a message or a piece to this endpoint has ever led to an effect. An endpoint without
    /// effects cannot fill the queue of effects, and need not wait while the queue is full.
    publishes: bool,
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoints({})", self.rows.len())
    }
}

impl Endpoints {
    /// Adds an endpoint. The first endpoint has the number 0, the next 1, and so on.
    pub fn add(&mut self, endpoint: Box<dyn Endpoint>) {
        let publishes = false;
        self.rows.push(Row {
            endpoint,
            publishes,
        });
    }

    /// Returns the endpoint with this number.
    ///
    /// # Panics
    /// If no endpoint has this number. Numbers come from the site, which mounts each endpoint when
    /// it is added.
    pub fn get(&mut self, number: u16) -> &mut dyn Endpoint {
        &mut *self.rows[usize::from(number)].endpoint
    }

    /// Whether messages or pieces to the endpoint have led to effects.
    pub(super) fn publishes(&self, number: u16) -> bool {
        self.rows[usize::from(number)].publishes
    }

    /// Records that a message or a piece to the endpoint has led to an effect.
    pub(super) fn mark_as_publisher(&mut self, number: u16) {
        self.rows[usize::from(number)].publishes = true;
    }
}
