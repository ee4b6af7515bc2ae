//! Floor 1, transport: TLS 1.2 and 1.3 around [`Tcp`], by `rustls` (RFC 8446).
//!
//! Architecture invariant: no other file names `rustls`, but for the certificates, and no code here knows the
//! meaning of the bytes.
//!
//! `rustls` holds bytes in both directions, and no event reports those. These are the rules:
//!
//! - *Decrypted bytes are taken first.* The socket is read only when none is left, and
//!   [`is_drained`](Transport::is_drained) is false until then: the event of their record is spent. A
//!   short read of the socket proves that the socket is empty, and says nothing about these bytes.
//! - *Output that is born from input is sent at once*: the answers of a handshake, tickets, answers to
//!   key updates, alerts. When the socket takes no more, [`wants_write`](Transport::wants_write) remembers it.
//! - *A record that was begun is sent before the next.* New output is taken only when all earlier records
//!   are in the kernel, so a peer that does not read makes the transport hold 64 KiB of records at most.
//! - *No output is taken before the end of the handshake*: `rustls` would keep it beyond our accounts.
//! - *A full buffer is back-pressure.* `rustls` refuses more records when more than 16 KiB of decrypted
//!   bytes wait. The rest of what was read, 16 KiB at most, waits here.
//! - *A fatal error* sends one alert, and the connection fails, with the [reason](FailedHandshake) in words.
//! - *The end of our bytes* is an alert, close_notify, and then the FIN. The end of the peer's bytes is its
//!   close_notify or its FIN. Without close_notify, the last bytes of a peer may be missing. A request tells
//!   its own length (RFC 9112 §6), so a request that was cut off is known as incomplete in any case. An answer
//!   may end with the connection (§6.3), so for a client the end without close_notify is a failure.
//!
//! # The cost of a connection
//!
//! No memory of `rustls` before the first byte; then about 8 KiB, of which 4 KiB are its buffer for input, and while
//! it waits, up to 16 KiB of an incomplete record, 32 KiB of decrypted bytes and 64 KiB of records to be
//! sent. A message of a handshake may have 64 KiB. All but the incomplete records and messages is on the account of memory.
//!
//! A handshake costs as much as hundreds of small answers, nearly all of it in one step, which agrees on a
//! key and signs. The step is charged [as work](Transport::take_work), so a turn does about five of them.
//! Encryption and the bytes of files, which `sendfile` cannot send, are charged too.
//!
//! # A client that does not speak TLS
//!
//! The first byte of TLS is 0x16, the type of a record with a handshake (RFC 8446 §5.1). An upper-case
//! letter begins a request without TLS: the connection stays plain, and its [wire](Transport::wire) tells
//! the floors above to lead the client to `https`. After any other byte the connection fails.
//! A connection that ends before its first byte is no failure: browsers open some ahead of need.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IoSlice, Read as _, Write};
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::ServerName;
use rustls::server::{ResolvesServerCert, ServerConfig};
use rustls::{
    AlertDescription as Alert, ClientConfig, ClientConnection, Connection, Error, HandshakeKind,
    ServerConnection,
};

use super::{Calls, FailedHandshake, Io, Ready, Socket, Tcp, Transport, Wire};

/// The type of a record that has messages of a handshake.
const HANDSHAKE: u8 = 0x16;

/// The largest number of bytes read from the socket at once: about one record.
const READ_BYTES: usize = 16 << 10;

/// The largest number of bytes encrypted at once: four records, which leave by one system call. `rustls`
/// has the same limit by default.
const WRITE_BYTES: usize = 64 << 10;

/// The bytes of a record beside its content: the header, the type of the content and the tag.
const RECORD_OVERHEAD: usize = 22;

/// The largest content of a record (RFC 8446 §5.1).
const RECORD_BYTES: usize = 16 << 10;

/// The memory of a connection while no bytes wait.
const IDLE_BYTES: usize = 8 << 10;

/// The work of the step of a handshake that agrees on a key and signs.
const HANDSHAKE_WORK: u32 = 200;

/// The work of a step that only agrees on a key, because the client comes again.
const RESUMPTION_WORK: u32 = 80;

/// The number of bytes that are encrypted or decrypted, and copied, with one unit of work.
const CRYPTED_BYTES: usize = 3 << 10;

/// The certificates and rules for the next connections, for all threads of a program. Connections that
/// are open keep theirs.
///
/// [`server_config`] makes the rules.
#[derive(Clone)]
pub struct TlsConfig {
    current: Arc<Mutex<Arc<ServerConfig>>>,
}

impl TlsConfig {
    /// Begins with these certificates and rules.
    pub fn new(config: Arc<ServerConfig>) -> TlsConfig {
        TlsConfig {
            current: Arc::new(Mutex::new(config)),
        }
    }

    /// Replaces the certificates and rules, such as after a file was read again. Connections that are
    /// accepted from now on get these.
    pub fn replace(&self, config: Arc<ServerConfig>) {
        *self.lock() = config;
    }

    /// Returns the present certificates and rules.
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Arc<ServerConfig>> {
        // No code panics with the lock.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig").finish_non_exhaustive()
    }
}

/// Makes rules around the certificates: TLS 1.2 and 1.3 by `ring`, HTTP/1.1 alone by ALPN (RFC 7301), and
/// tickets, so that a client that comes again needs no signature.
///
/// # Errors
/// The random numbers of the system cannot be had.
pub fn server_config(
    certificates: Arc<dyn ResolvesServerCert>,
) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = rustls::crypto::ring::Ticketer::new()?;
    Ok(config)
}

/// A connection that speaks TLS.
#[derive(Debug)]
pub struct Tls<S> {
    tcp: Tcp<S>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// No byte has come from the client.
    Opening(Arc<ServerConfig>),
    /// The peer speaks TLS.
    Secure(Session),
    /// The client does not speak TLS.
    Plain,
}

/// Which servers are trusted, for the connections that this program makes.
#[derive(Clone, Debug)]
pub struct Trusted(Arc<ClientConfig>);

impl Trusted {
    /// Takes the rules of `rustls`.
    pub fn new(config: Arc<ClientConfig>) -> Trusted {
        Trusted(config)
    }
}

impl<S: Socket> Tls<S> {
    /// The server's end of a new connection.
    pub fn accept(tcp: Tcp<S>, config: Arc<ServerConfig>) -> Tls<S> {
        let state = State::Opening(config);
        Tls { tcp, state }
    }

    /// The client's end of a new connection, to the server of this name.
    ///
    /// # Errors
    /// The name does not fit the rules, or the random numbers of the system cannot be had.
    pub fn connect(
        tcp: Tcp<S>,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Tls<S>, rustls::Error> {
        let connection = ClientConnection::new(config, name)?;
        let state = State::Secure(Session::new(connection.into()));
        Ok(Tls { tcp, state })
    }

    /// Makes the connection one of a client to the server with this name, which must have a certificate
    /// for it.
    ///
    /// # Errors
    /// `InvalidInput`: the name is no host.
    pub fn to_server(tcp: Tcp<S>, trusted: &Trusted, name: &str) -> io::Result<Tls<S>> {
        let name = ServerName::try_from(name.to_owned());
        let name = name.map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        Tls::connect(tcp, Arc::clone(&trusted.0), name).map_err(io::Error::other)
    }

    /// Reads the first bytes of a client, which show the protocol.
    #[inline(never)]
    fn open(&mut self, into: &mut [u8]) -> Io {
        let State::Opening(config) = &self.state else {
            return Io::Blocked;
        };
        let moved = self.tcp.read(into);
        let Io::Done(n) = moved else {
            return moved;
        };
        match into[0] {
            HANDSHAKE => {}
            b'A'..=b'Z' => {
                self.state = State::Plain;
                return Io::Done(n);
            }
            _ => return Io::Failed(FailedHandshake::new("the client does not speak TLS").into()),
        }
        let mut session = match ServerConnection::new(Arc::clone(config)) {
            Ok(connection) => Session::new(connection.into()),
            Err(error) => return Io::Failed(io::Error::other(error)),
        };
        let fed = session.feed(&mut self.tcp, &into[..n]);
        let moved = match fed {
            Ok(()) => session.read(&mut self.tcp, into),
            Err(error) => Io::Failed(error),
        };
        self.state = State::Secure(session);
        moved
    }
}

impl<S> Tls<S> {
    /// Returns the socket itself, for questions.
    pub fn socket(&self) -> &S {
        self.tcp.socket()
    }

    /// Returns the socket itself, to register or deregister the socket for events.
    pub fn socket_mut(&mut self) -> &mut S {
        self.tcp.socket_mut()
    }
}

impl<S: Socket> Transport for Tls<S> {
    type File = S::File;

    fn mark(&mut self, ready: Ready) {
        self.tcp.mark(ready);
    }

    fn is_drained(&self) -> bool {
        let holds_none = match &self.state {
            State::Secure(session) => session.holds_no_input(),
            State::Opening(_) | State::Plain => true,
        };
        holds_none && self.tcp.is_drained()
    }

    fn wire(&self) -> Wire {
        match self.state {
            State::Opening(_) | State::Secure(_) => Wire::Tls,
            State::Plain => Wire::PlainForTls,
        }
    }

    fn is_opening(&self) -> bool {
        match &self.state {
            State::Opening(_) => true,
            State::Secure(session) => session.connection.is_handshaking() && !session.ended,
            State::Plain => false,
        }
    }

    fn wants_write(&self) -> bool {
        matches!(&self.state, State::Secure(session) if session.connection.wants_write())
    }

    fn flush(&mut self) -> Io {
        match &mut self.state {
            State::Secure(session) => session.send(&mut self.tcp),
            State::Opening(_) | State::Plain => Io::Blocked,
        }
    }

    fn announces_end(&self) -> bool {
        matches!(self.state, State::Secure(_))
    }

    fn take_work(&mut self) -> u32 {
        match &mut self.state {
            State::Secure(session) => mem::take(&mut session.work),
            State::Opening(_) | State::Plain => 0,
        }
    }

    fn unsent_bytes(&self) -> usize {
        match &self.state {
            State::Secure(session) if session.connection.wants_write() => session.unsent.max(1),
            State::Secure(_) | State::Opening(_) | State::Plain => 0,
        }
    }

    fn held_bytes(&self) -> usize {
        match &self.state {
            State::Secure(session) => session.held_bytes(),
            State::Opening(_) | State::Plain => 0,
        }
    }

    fn take_calls(&mut self) -> Calls {
        self.tcp.take_calls()
    }

    fn ready(&self) -> Ready {
        self.tcp.ready()
    }

    fn read(&mut self, into: &mut [u8]) -> Io {
        match &mut self.state {
            State::Secure(session) => session.read(&mut self.tcp, into),
            State::Opening(_) => self.open(into),
            State::Plain => self.tcp.read(into),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Io {
        match &mut self.state {
            State::Secure(session) => session.write(&mut self.tcp, &[IoSlice::new(bytes)]),
            State::Opening(_) => Io::Blocked,
            State::Plain => self.tcp.write(bytes),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> Io {
        match &mut self.state {
            State::Secure(session) => session.write(&mut self.tcp, slices),
            State::Opening(_) => Io::Blocked,
            State::Plain => self.tcp.write_vectored(slices),
        }
    }

    fn send_file(&mut self, file: &S::File, at: u64, count: usize) -> Io {
        match &mut self.state {
            State::Secure(session) => session.send_file(&mut self.tcp, file, at, count),
            State::Opening(_) => Io::Blocked,
            State::Plain => self.tcp.send_file(file, at, count),
        }
    }

    fn finish_write(&mut self) -> Io {
        match &mut self.state {
            State::Secure(session) => session.finish_write(&mut self.tcp),
            State::Opening(_) | State::Plain => self.tcp.finish_write(),
        }
    }

    fn reset_at_close(&mut self) {
        self.tcp.reset_at_close();
    }
}

/// The state of `rustls`, and the bytes around it.
#[derive(Debug)]
struct Session {
    connection: Box<Connection>,
    /// The number of decrypted bytes that wait to be read.
    decrypted: usize,
    /// Bytes from the socket for which `rustls` had no room.
    unfed: Vec<u8>,
    /// The number of bytes in records that wait to be sent, at most.
    unsent: usize,
    /// The peer has ended its direction.
    ended: bool,
    /// Our end was announced by close_notify.
    finished: bool,
    /// Our direction has ended (FIN): bytes that input causes now have no way out.
    shut: bool,
    /// The work since the last time that it was taken.
    work: u32,
}

impl Session {
    fn new(connection: Connection) -> Session {
        Session {
            connection: Box::new(connection),
            decrypted: 0,
            unfed: Vec::new(),
            unsent: 0,
            ended: false,
            finished: false,
            shut: false,
            work: 0,
        }
    }

    /// Whether the next read needs the socket, and is not the end.
    fn holds_no_input(&self) -> bool {
        self.decrypted == 0 && self.unfed.is_empty() && !self.ended
    }

    fn held_bytes(&self) -> usize {
        IDLE_BYTES + self.decrypted + self.unfed.capacity() + self.unsent
    }

    /// Takes decrypted bytes, or else reads from the socket. `into` serves for the encrypted bytes first.
    ///
    /// The loop ends: without a byte for the peer, `rustls` takes a bounded number of records.
    fn read<S: Socket>(&mut self, tcp: &mut Tcp<S>, into: &mut [u8]) -> Io {
        loop {
            if self.decrypted > 0 {
                return self.take(into);
            }
            if self.ended {
                return Io::Eof;
            }
            let fed = if self.unfed.is_empty() {
                let most = into.len().min(READ_BYTES);
                match tcp.read(&mut into[..most]) {
                    Io::Done(n) => self.feed(tcp, &into[..n]),
                    Io::Eof => self.end(),
                    other => return other,
                }
            } else {
                let unfed = mem::take(&mut self.unfed);
                self.feed(tcp, &unfed)
            };
            if let Err(error) = fed {
                return Io::Failed(error);
            }
        }
    }

    /// Takes some of the decrypted bytes, of which there are some.
    fn take(&mut self, into: &mut [u8]) -> Io {
        match self.connection.reader().read(into) {
            Ok(n) if n > 0 => {
                self.decrypted -= n;
                self.work += (n / CRYPTED_BYTES) as u32;
                Io::Done(n)
            }
            Ok(_) => Io::Eof,
            Err(error) => Io::Failed(error),
        }
    }

    /// Hands encrypted bytes to `rustls`, and sends the bytes that `rustls` answers.
    fn feed<S: Socket>(&mut self, tcp: &mut Tcp<S>, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.connection.read_tls(&mut bytes) {
                // Bytes after close_notify are ignored (RFC 8446 §6.1).
                Ok(0) => return Ok(()),
                Ok(_) => {}
                // Full: the decrypted bytes must be taken first.
                Err(_) if self.decrypted > READ_BYTES => {
                    self.unfed = bytes.to_vec();
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
            let was_opening = self.connection.is_handshaking();
            match self.connection.process_new_packets() {
                Ok(state) => {
                    self.decrypted = state.plaintext_bytes_to_read();
                    self.ended |= state.peer_has_closed();
                }
                Err(error) => {
                    // The alert, as far as the socket takes it.
                    let _ = self.send(tcp);
                    return Err(self.explain(&error).into());
                }
            }
            if self.connection.wants_write() {
                self.charge_answer(was_opening);
                if let Io::Failed(error) = self.send(tcp) {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// The reason of a failure.
    fn explain(&self, error: &Error) -> FailedHandshake {
        match *self.connection {
            Connection::Server(_) => explain_client(error),
            Connection::Client(_) => explain_server(error),
        }
    }

    /// Charges for an answer that was born from input.
    fn charge_answer(&mut self, was_opening: bool) {
        let is_server = matches!(*self.connection, Connection::Server(_));
        // A server signs before its last step, and a client checks the signature in its last.
        let is_costly = was_opening && self.connection.is_handshaking() == is_server;
        self.work += match (is_costly, self.connection.handshake_kind()) {
            (true, Some(HandshakeKind::Resumed)) => RESUMPTION_WORK,
            (true, _) => HANDSHAKE_WORK,
            (false, _) => 1,
        };
    }

    /// The peer has sent a FIN.
    fn end(&mut self) -> io::Result<()> {
        match *self.connection {
            Connection::Server(_) => self.ended = true,
            Connection::Client(_) => return Err(io::ErrorKind::ConnectionReset.into()),
        }
        Ok(())
    }

    /// Sends the records that wait, as the socket takes them.
    fn send<S: Socket>(&mut self, tcp: &mut Tcp<S>) -> Io {
        let mut sent = 0;
        while self.shut && self.connection.wants_write() {
            // A sink takes all.
            let _ = self.connection.write_tls(&mut io::sink());
        }
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut Records(tcp)) {
                Ok(n) => sent += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Io::Failed(error),
            }
        }
        self.unsent = match self.connection.wants_write() {
            true => self.unsent.saturating_sub(sent),
            false => 0,
        };
        match sent {
            0 => Io::Blocked,
            n => Io::Done(n),
        }
    }

    /// Prepares for new output. Returns the reason why none can be taken now.
    fn refuses<S: Socket>(&mut self, tcp: &mut Tcp<S>) -> Option<Io> {
        if self.connection.wants_write() {
            match self.send(tcp) {
                Io::Done(_) if !self.connection.wants_write() => {}
                Io::Failed(error) => return Some(Io::Failed(error)),
                Io::Done(_) | Io::Blocked | Io::Eof => return Some(Io::Blocked),
            }
        }
        self.connection.is_handshaking().then_some(Io::Blocked)
    }

    /// Encrypts a part of the output, and sends as much as the socket takes.
    fn write<S: Socket>(&mut self, tcp: &mut Tcp<S>, slices: &[IoSlice<'_>]) -> Io {
        if let Some(refused) = self.refuses(tcp) {
            return refused;
        }
        self.encrypt(tcp, slices)
    }

    fn encrypt<S: Socket>(&mut self, tcp: &mut Tcp<S>, slices: &[IoSlice<'_>]) -> Io {
        let n = match self.connection.writer().write_vectored(slices) {
            Ok(n) if n > 0 => n,
            // The keys are used up.
            Ok(_) => return Io::Failed(io::ErrorKind::ConnectionAborted.into()),
            Err(error) => return Io::Failed(error),
        };
        self.work += (n / CRYPTED_BYTES) as u32;
        self.unsent = n + n.div_ceil(RECORD_BYTES) * RECORD_OVERHEAD;
        match self.send(tcp) {
            Io::Failed(error) => Io::Failed(error),
            Io::Done(_) | Io::Blocked | Io::Eof => Io::Done(n),
        }
    }

    /// Encrypts a part of a file. Never inlined, for the reason that `copy_file` of [`Tcp`] has.
    #[inline(never)]
    fn send_file<S: Socket>(
        &mut self,
        tcp: &mut Tcp<S>,
        file: &S::File,
        at: u64,
        count: usize,
    ) -> Io {
        if let Some(refused) = self.refuses(tcp) {
            return refused;
        }
        let mut bytes = [0; WRITE_BYTES];
        let into = &mut bytes[..count.min(WRITE_BYTES)];
        loop {
            return match tcp.socket_mut().read_file(file, into, at) {
                Ok(0) => Io::Eof,
                Ok(n) => {
                    self.work += (n / CRYPTED_BYTES) as u32;
                    self.encrypt(tcp, &[IoSlice::new(&into[..n])])
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Io::Failed(error),
            };
        }
    }

    /// Announces the end, sends the bytes that wait, and sends the FIN.
    fn finish_write<S: Socket>(&mut self, tcp: &mut Tcp<S>) -> Io {
        if !mem::replace(&mut self.finished, true) {
            self.connection.send_close_notify();
        }
        let moved = match self.send(tcp) {
            Io::Failed(error) => Io::Failed(error),
            Io::Done(_) | Io::Blocked | Io::Eof if self.connection.wants_write() => Io::Blocked,
            Io::Done(_) | Io::Blocked | Io::Eof => tcp.finish_write(),
        };
        let moved = match moved {
            // A peer that has ended its direction may be gone: the end is no failure then.
            Io::Failed(_) if self.ended => Io::Done(1),
            moved => moved,
        };
        self.shut |= matches!(moved, Io::Done(_));
        moved
    }
}

/// The reason why a server is not spoken to. Its certificate is judged by this side.
fn explain_server(error: &Error) -> FailedHandshake {
    FailedHandshake {
        is_distrust: matches!(error, Error::InvalidCertificate(_)),
        ..FailedHandshake::new(error.to_string())
    }
}

/// The reason why a client is not spoken to, in words. Alerts have the names of RFC 8446 §6.2.
fn explain_client(error: &Error) -> FailedHandshake {
    const NOT_IN_COMMON: &str = "no version or cipher of TLS is common to the client and this server, which speaks TLS 1.2 and 1.3";
    const NO_HTTP_1: &str = "the client takes no HTTP/1.1 (ALPN)";
    let distrust = |alert: &str| FailedHandshake {
        is_distrust: true,
        ..FailedHandshake::new(format!(
            "the client does not trust the certificate (alert {alert})"
        ))
    };
    FailedHandshake::new(match error {
        Error::AlertReceived(alert) => match alert {
            Alert::UnknownCA => return distrust("unknown_ca"),
            Alert::BadCertificate => return distrust("bad_certificate"),
            Alert::CertificateUnknown => return distrust("certificate_unknown"),
            Alert::CertificateExpired => {
                "the certificate has expired, by the clock of the client (alert certificate_expired)"
                    .into()
            }
            Alert::ProtocolVersion | Alert::HandshakeFailure | Alert::InsufficientSecurity => {
                NOT_IN_COMMON.into()
            }
            Alert::NoApplicationProtocol => NO_HTTP_1.into(),
            other => Cow::from(format!("the client has sent the alert {other:?}")),
        },
        Error::NoApplicationProtocol => NO_HTTP_1.into(),
        Error::PeerIncompatible(_) => NOT_IN_COMMON.into(),
        // The text of `rustls` has numbers and names, and no bytes of the peer.
        other => format!("the client breaks the rules of TLS ({other})").into(),
    })
}

/// The socket, as `rustls` writes to it.
struct Records<'a, S>(&'a mut Tcp<S>);

impl<S: Socket> Write for Records<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        taken(self.0.write(bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match slices {
            [one] => taken(self.0.write(one)),
            slices => taken(self.0.write_vectored(slices)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The result of a write, as `std` has it.
fn taken(moved: Io) -> io::Result<usize> {
    match moved {
        Io::Done(n) => Ok(n),
        Io::Blocked | Io::Eof => Err(io::ErrorKind::WouldBlock.into()),
        Io::Failed(error) => Err(error),
    }
}
