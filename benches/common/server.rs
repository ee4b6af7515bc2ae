//! A running server.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The process of a server, which is killed on drop, also during a panic.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    /// Starts `command`, which must listen at `address`, and waits until a connection succeeds
    /// there.
    ///
    /// # Errors
    /// A sentence, when the process ends or does not listen within five seconds.
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

    /// The process id.
    pub fn process(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have ended by itself. In both cases `wait` removes the zombie.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns an address at which no process listens now. Another process may take the address before
/// our server does. Then the probe fails.
pub fn free_address() -> Result<SocketAddr, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let address = listener.and_then(|listener| listener.local_addr());
    address.map_err(|error: io::Error| format!("cannot find a free port on 127.0.0.1: {error}"))
}
