//! fastwebsockets over hyper and tokio on one thread, as in its own examples (`echo_server`, and
//! for the room `echo_server_split`). Each message leaves with a separate write. The library cannot
//! batch answers: a buffered stream would, but then the server would have to guess when to flush.
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
            // An error is not reported here, because the load generator notices missing answers.
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
        // `unconstrained` as in the examples. Otherwise tokio's budget would send a busy connection
        // to the end of the queue.
        let _ = match room {
            None => tokio::task::unconstrained(echo(upgraded)).await,
            Some(room) => tokio::task::unconstrained(join(upgraded, room)).await,
        };
    });
    Ok(response)
}

/// Sends each message back. The library itself answers Ping and Close, which is its default.
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

/// Reads in one task and writes in another. A single task cannot wait for both, because a read of
/// this library cannot be cancelled.
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
        // The load generator sends no Ping, and after its Close it expects no answer.
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
