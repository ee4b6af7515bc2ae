//! Programs on the library. The server runs in a thread of the test itself, with endpoints of the
//! test's own.

mod answers;
mod bodies;
mod handle;
mod inspector;
mod live;
mod sessions;
mod streams;
#[cfg(feature = "tls")]
mod tls;

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};

use oneloop::config::{Config, LogFormat, Port};
use oneloop::http::Method;
use oneloop::{Answer, BoundServer, Endpoint, Handle, Hub, Request, Server};

use crate::harness::{Client, Folder, PATIENCE};
use crate::peer::{Peer, assert_switched, handshake};

/// A running server with endpoints. It is stopped when the value is dropped.
pub struct Program {
    address: SocketAddr,
    pub handle: Handle,
    thread: Option<JoinHandle<io::Result<()>>>,
    /// Says that the thread has ended.
    end: Receiver<()>,
    pub folder: Folder,
}

impl Program {
    /// A server with one endpoint.
    pub fn of(path: &'static str, endpoint: impl Endpoint + Send + 'static) -> Program {
        Program::with(|_| {}, move |bound| bound.with_endpoint(path, endpoint))
    }

    /// A server on a free port, with another configuration and with these endpoints.
    pub fn with(
        configure: impl FnOnce(&mut Config),
        add: impl FnOnce(BoundServer) -> BoundServer + Send + 'static,
    ) -> Program {
        let folder = Folder::with("file", "a file\n");
        let mut config = Config::new(folder.path());
        (config.port, config.log) = (Port::Exactly(0), LogFormat::Off);
        configure(&mut config);
        let (ready, is_ready) = mpsc::channel();
        let (ended, end) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut bound = add(Server::bind(&config).expect("the folder is there"));
            let handle = bound.handle().expect("there are descriptors");
            let told = ready.send((bound.addresses[0], handle));
            told.expect("the test waits for it");
            let result = bound.run();
            drop(ended);
            result
        });
        let (address, handle) = is_ready.recv_timeout(PATIENCE).expect("it starts");
        Program {
            address,
            handle,
            thread: Some(thread),
            end,
            folder,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn connect(&self) -> Client {
        Client::to(self.address)
    }

    /// Opens a WebSocket connection.
    pub fn peer(&self, target: &str) -> Peer {
        let mut client = self.connect();
        client.send(handshake(target, &[]));
        assert_switched(&client.head());
        Peer::over(client)
    }

    /// Waits until the server has stopped.
    pub fn await_end(&mut self) {
        let thread = self.thread.take().expect("it is waited for once");
        let end = self.end.recv_timeout(PATIENCE);
        assert_eq!(end, Err(RecvTimeoutError::Disconnected), "it goes on");
        let result = thread.join().expect("it does not panic");
        result.expect("it stops in an orderly way");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.thread.is_some() && !thread::panicking() {
            let _ = self.handle.stop();
            self.await_end();
        }
    }
}

/// An endpoint that answers requests by a function.
pub struct Asks<F> {
    methods: &'static [Method],
    answer: F,
}

impl<F: FnMut(&mut Hub<'_>, Request<'_>) -> Answer> Asks<F> {
    pub fn new(methods: &'static [Method], answer: F) -> Asks<F> {
        Asks { methods, answer }
    }
}

impl<F: FnMut(&mut Hub<'_>, Request<'_>) -> Answer> Endpoint for Asks<F> {
    fn methods(&self) -> &[Method] {
        self.methods
    }

    fn on_request(&mut self, hub: &mut Hub<'_>, request: Request<'_>) -> Answer {
        (self.answer)(hub, request)
    }
}

/// What an endpoint tells the test.
fn next<T>(told: &Receiver<T>) -> T {
    told.recv_timeout(PATIENCE).expect("the endpoint is called")
}
