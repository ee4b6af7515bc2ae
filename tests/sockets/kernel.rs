//! What the kernel says of connections and listeners, compared with what both ends have done. The server
//! runs its turns in the test itself, one at a time.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use oneloop::config::{Config, LogFormat, Port};
use oneloop::connection::View;
use oneloop::server::MioDriver;
use oneloop::site::Disk;
use oneloop::sys::{Kernel, SocketDiag};
use oneloop::{BoundServer, Server};

use crate::harness::{Folder, eventually};
use crate::tcp::Stream;

type MioServer = oneloop::server::Server<MioDriver, Disk>;

/// More than the buffers of two kernels hold.
const BYTES: u64 = 64 << 20;

fn bound(folder: &Folder) -> BoundServer {
    let mut config = Config::new(folder.path());
    (config.port, config.log) = (Port::Exactly(0), LogFormat::Off);
    Server::bind(&config).expect("the folder is there")
}

/// Asks from the other end of a connection.
fn asked(diag: &mut SocketDiag, stream: &TcpStream) -> Kernel {
    let local = stream.local_addr().expect("it is connected");
    let peer = stream.peer_addr().expect("it is connected");
    let kernel = diag.ask(local, peer).expect("questions are allowed");
    kernel.expect("it is open")
}

/// The connection of a peer, as the server sees it.
fn view(server: &MioServer, peer: SocketAddr) -> Option<View> {
    server.views().find(|view| view.peer == peer)
}

/// The bytes of an answer to a peer that does not read lie in four places, and none is missing.
#[test]
fn the_bytes_that_a_slow_reader_leaves_are_where_the_kernel_and_the_server_say() {
    let folder = Folder::new();
    let path = folder.put("large", "");
    let file = File::options().write(true).open(path);
    file.and_then(|file| file.set_len(BYTES))
        .expect("a file may have holes");
    let mut bound = bound(&folder);
    for address in bound.addresses {
        let (server, mut diag) = (&mut bound.server, SocketDiag::default());
        let mut client = Stream::to(address);
        let request = b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n";
        client.write_all(request).expect("it is open");
        let peer = client.local_addr().expect("it is connected");
        let is_slow = |view: &View| view.why.anchor() == "slow-reader";
        while !view(server, peer).as_ref().is_some_and(is_slow) {
            server.turn().expect("it can wait");
        }
        let view = view(server, peer).expect("it is open");
        assert!(view.outbox > 0 && !view.ready.writable);
        let mut read = 0;
        for _ in 0..2 {
            // While a segment or an acknowledgement is on its way, its bytes are in two places.
            eventually("each byte is in one place", || {
                let ours = server.kernel_of(view.key).expect("it is open");
                let theirs = asked(&mut diag, &client);
                let waiting = u64::from(ours.send_queue) + u64::from(theirs.receive_queue);
                waiting + read == view.sent && ours.not_sent > 0
            });
            let ours = server.kernel_of(view.key).expect("it is open");
            assert!(ours.congestion_window > 0 && ours.segment_bytes > 0);
            let why = view.why.with_unacknowledged(ours.unacked_bytes().into());
            let text = why.to_string();
            assert!(text.starts_with("slow reader: ") && text.contains(" unacknowledged, "));
            let mut piece = [0; 10_000];
            client.read_exact(&mut piece).expect("it has come");
            read += piece.len() as u64;
        }
        drop(client);
        while server.open_connections() > 0 {
            server.turn().expect("it can wait");
        }
        assert_eq!(server.kernel_of(view.key), None);
        // The kernel answers with the listener, which is another socket.
        assert_eq!(
            diag.ask(address, peer).expect("questions are allowed"),
            None
        );
    }
}

#[test]
fn connections_that_were_not_accepted_are_counted() {
    let mut bound = bound(&Folder::new());
    for (number, address) in bound.addresses.iter().enumerate() {
        let number = number as u8;
        let queue = bound.server.accept_queue(number).expect("it listens");
        assert_eq!(queue.waiting, 0);
        let _clients = [(); 3].map(|()| Stream::to(*address));
        eventually("three wait", || {
            let now = bound.server.accept_queue(number).expect("it listens");
            now.waiting == 3 && now.most == queue.most && now.most > 3
        });
    }
    assert_eq!(bound.server.accept_queue(77), None);
}

#[test]
fn an_ipv4_connection_of_an_ipv6_listener_is_found() {
    // A machine without IPv6 has no such connection.
    let Ok(listener) = TcpListener::bind("[::]:0") else {
        return;
    };
    let port = listener.local_addr().expect("it is bound").port();
    let Ok(client) = TcpStream::connect(("127.0.0.1", port)) else {
        return;
    };
    let (accepted, _) = listener.accept().expect("it has come");
    let local = accepted.local_addr().expect("it is connected");
    assert!(local.is_ipv6() && local.ip().to_canonical().is_ipv4());
    let mut diag = SocketDiag::default();
    (&client).write_all(b"hello").expect("it is open");
    eventually("five bytes wait", || {
        asked(&mut diag, &accepted).receive_queue == 5
    });
    assert_eq!(asked(&mut diag, &client).receive_queue, 0);
}
