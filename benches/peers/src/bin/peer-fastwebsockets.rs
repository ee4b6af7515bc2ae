//! fastwebsockets over hyper and tokio on one thread, after its own examples (`echo_server`, and for the
//! room `echo_server_split`). It sends each message with a write of its own; there is nothing to batch
//! answers with, short of a buffered stream and a guess when to flush it.

use std::convert::Infallible;

use bytes::Bytes;
use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use fastwebsockets::{
    FragmentCollector, FragmentCollectorRead, Frame, OpCode, Payload, WebSocketError,
};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use oneloop_peers::Options;
use tokio::net::TcpListener;
use tokio::sync::broadcast::{self, Sender};

fn main() -> std::io::Result<()> {
    let options = Options::from_arguments()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(serve(options))
}

async fn serve(options: Options) -> std::io::Result<()> {
    let listener = TcpListener::from_std(options.listener)?;
    let room = options.is_room.then(|| broadcast::channel(1024).0);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let room = room.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, room.clone()));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // How a connection ends is the load's affair; it sees to it that it gets its answers.
            let _ = connection.with_upgrades().await;
        });
    }
}

async fn answer(
    mut request: Request<Incoming>,
    room: Option<Sender<Bytes>>,
) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, upgraded) = upgrade(&mut request)?;
    tokio::spawn(async move {
        // As in the examples: its budget would send a busy connection to the back of the queue.
        let _ = match room {
            None => tokio::task::unconstrained(echo(upgraded)).await,
            Some(room) => tokio::task::unconstrained(join(upgraded, room)).await,
        };
    });
    Ok(response)
}

/// Pings and Close are answered by the library, as it does unless told otherwise.
async fn echo(upgraded: UpgradeFut) -> Result<(), WebSocketError> {
    let mut socket = FragmentCollector::new(upgraded.await?);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            _ => {}
        }
    }
}

/// Reads in one task and writes in another: reading cannot be cancelled, so one task that waits for
/// either is not to be had.
async fn join(upgraded: UpgradeFut, room: Sender<Bytes>) -> Result<(), WebSocketError> {
    let (reader, mut writer) = upgraded.await?.split(tokio::io::split);
    let mut mail = room.subscribe();
    tokio::spawn(tokio::task::unconstrained(async move {
        while let Ok(message) = mail.recv().await {
            let frame = Frame::binary(Payload::Borrowed(&message));
            if writer.write_frame(frame).await.is_err() {
                return;
            }
        }
    }));
    let mut reader = FragmentCollectorRead::new(reader);
    loop {
        // The load sends no Ping, and at its Close it is over: nothing to send for either.
        let frame = reader
            .read_frame(&mut |_| async { Ok::<_, Infallible>(()) })
            .await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => {
                let _ = room.send(Bytes::copy_from_slice(&frame.payload));
            }
            _ => {}
        }
    }
}
