//! One running server: a process that is killed when this is dropped, on a panic too.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    /// Starts `command`, which is to listen at `address`, and waits until somebody does.
    pub fn start(mut command: Command, address: SocketAddr) -> Result<Self, String> {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = quiet
            .spawn()
            .map_err(|error| format!("cannot run {command:?}: {error}"))?;
        let mut server = Self { child, address };
        server
            .wait_until_it_listens()
            .map_err(|problem| format!("{command:?} {problem}"))?;
        Ok(server)
    }

    fn wait_until_it_listens(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("ended at once with {status}"));
            }
            if TcpStream::connect(self.address).is_ok() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Err(format!(
            "does not listen at {} after five seconds",
            self.address
        ))
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; either way nobody is left, and no zombie.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address nobody listens at. Somebody may before our server does; the probe would notice.
pub fn free_address() -> Result<SocketAddr, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let address = listener.and_then(|listener| listener.local_addr());
    address.map_err(|error: io::Error| format!("cannot find a free port on 127.0.0.1: {error}"))
}
