//! The parts that the tests share: a folder to serve, the program as a process, and a client on a
//! socket.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::sockopt;
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal};

use crate::tcp::Stream;

/// How long a test waits before it fails. A working server comes nowhere near this time, and no
/// test asserts that less time passed: the limit turns a hang into a failure.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The size of a file that is too large for any pair of socket buffers: while its reader rests, the
/// file is in flight.
pub const BIG: usize = 50 << 20;

// ── A folder ───────────────────────────────────────────────────────────────────────────────────

/// A temporary directory, removed when the value is dropped.
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// An empty folder.
    pub fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("oneloop-{}-{number}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Folder { path },
                // Left by a killed process with the same number.
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => panic!("{}: {e}", path.display()),
            }
        }
    }

    /// A folder with a single file.
    pub fn with(name: &str, content: impl AsRef<[u8]>) -> Folder {
        let folder = Folder::new();
        folder.put(name, content);
        folder
    }

    /// Writes a file, and creates its directories.
    pub fn put(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path.join(name);
        let parent = path.parent().expect("it is in the folder");
        fs::create_dir_all(parent).expect("the folder is ours");
        fs::write(&path, content).expect("the folder is ours");
        path
    }

    /// Makes a file of [`BIG`] zeros that takes no space on the disk.
    pub fn put_big_hole(&self, name: &str) {
        let file = fs::File::create(self.path.join(name)).expect("the folder is ours");
        file.set_len(BIG as u64).expect("a file may have holes");
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Bytes in which a wrong offset shows. The pattern repeats after a prime number of bytes, so no
/// power of two, by which a buffer or page may be off, is a multiple of its period.
pub fn pattern(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let period: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(65_521)
    .collect();
    let mut bytes = period.repeat(len / period.len() + 1);
    bytes.truncate(len);
    bytes
}

// ── A process ──────────────────────────────────────────────────────────────────────────────────

/// The program, not yet started, without the environment variables that it reads.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oneloop"));
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"ONELOOP_") {
            command.env_remove(name);
        }
    }
    command
        .env_remove("PORT")
        .env_remove("NO_COLOR")
        .env_remove("LISTEN_FDS")
        .env("TZ", "UTC");
    command
}

/// A child process, killed when the value is dropped.
pub struct Process {
    child: Child,
}

impl Process {
    pub fn start(command: &mut Command) -> Process {
        Process::with_outputs(command, Stdio::piped(), Stdio::piped())
    }

    /// Starts `command` with these outputs.
    pub fn with_outputs(command: &mut Command, stdout: Stdio, stderr: Stdio) -> Process {
        Process::with_streams(command, Stdio::null(), stdout, stderr)
    }

    /// Starts `command` with this input and these outputs.
    pub fn with_streams(
        command: &mut Command,
        stdin: Stdio,
        stdout: Stdio,
        stderr: Stdio,
    ) -> Process {
        let command = command.stdin(stdin).stdout(stdout).stderr(stderr);
        let child = command.spawn().expect("the program exists");
        Process { child }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("it is our child");
    }

    /// The standard output of the process, which can be taken once.
    pub fn stdout(&mut self) -> Lines {
        Lines::of(self.child.stdout.take().expect("taken once").into())
    }

    /// The standard error of the process, which can be taken once.
    pub fn stderr(&mut self) -> Lines {
        Lines::of(self.child.stderr.take().expect("taken once").into())
    }

    /// Limits the process to `n` further descriptors.
    pub fn allow_descriptors(&self, n: usize) {
        // The limit applies to descriptor numbers, not to the number of open descriptors.
        let used = descriptors(self.pid());
        let mut free = (0..).filter(|number| !used.contains_key(number));
        let limit = free.nth(n).map(u64::from);
        self.limit(Resource::Nofile, limit, limit);
    }

    /// Sets a limit of the process, soft and hard.
    pub fn limit(&self, resource: Resource, current: Option<u64>, maximum: Option<u64>) {
        let limit = Rlimit { current, maximum };
        let set = rustix::process::prlimit(Some(self.pid()), resource, limit);
        set.expect("it is our child");
    }

    /// Waits until the process has ended. Returns the exit code, or `None` after a signal.
    pub fn code(&mut self) -> Option<i32> {
        self.code_within(PATIENCE)
    }

    /// Waits with another patience, for an end that would come anyway, but later.
    pub fn code_within(&mut self, patience: Duration) -> Option<i32> {
        // A descriptor that becomes readable when the process ends: the wait needs no loop.
        let end = rustix::process::pidfd_open(self.pid(), PidfdFlags::empty());
        let end = end.expect("it was not waited for yet");
        assert!(is_readable(&end, patience), "it goes on and on");
        self.child.wait().expect("it is our child").code()
    }

    /// Waits until the process has ended. Returns the exit code and the unread output.
    pub fn finish(mut self) -> Finished {
        let stdout = match self.child.stdout.is_some() {
            true => self.stdout().rest(),
            false => String::new(),
        };
        let code = self.code();
        let stderr = match self.child.stderr.is_some() {
            true => self.stderr().rest(),
            false => String::new(),
        };
        Finished {
            code,
            stdout,
            stderr,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that has ended.
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// The lines of a process on standard output or standard error. Unread lines stay in the pipe.
pub struct Lines {
    pipe: fs::File,
    bytes: Vec<u8>,
}

impl Lines {
    pub fn of(pipe: OwnedFd) -> Lines {
        let (pipe, bytes) = (pipe.into(), Vec::new());
        Lines { pipe, bytes }
    }

    /// The next line that begins with `beginning`, without the beginning.
    pub fn find(&mut self, beginning: &str) -> String {
        loop {
            let line = self.next();
            let line = line.unwrap_or_else(|| panic!("no line begins with {beginning}"));
            if let Some(rest) = line.strip_prefix(beginning) {
                return rest.to_owned();
            }
        }
    }

    /// The next line without its end; `None` at the end of the output.
    pub fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.bytes.iter().position(|b| *b == b'\n') {
                let rest = self.bytes.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.bytes, rest);
                line.pop();
                return Some(String::from_utf8(line).expect("it is text"));
            }
            if self.read() == 0 {
                assert_eq!(self.bytes, b"", "a line without an end");
                return None;
            }
        }
    }

    /// The unread output, up to the end.
    pub fn rest(&mut self) -> String {
        while self.read() > 0 {}
        String::from_utf8(std::mem::take(&mut self.bytes)).expect("it is text")
    }

    /// Whether output can be read now.
    pub fn is_waiting(&self) -> bool {
        is_readable(&self.pipe, Duration::ZERO)
    }

    fn read(&mut self) -> usize {
        assert!(is_readable(&self.pipe, PATIENCE), "it says nothing");
        let mut chunk = [0; 4096];
        let n = self.pipe.read(&mut chunk).expect("a pipe can be read");
        self.bytes.extend_from_slice(&chunk[..n]);
        n
    }
}

fn is_readable(file: &impl AsFd, patience: Duration) -> bool {
    let mut polled = [PollFd::new(file, PollFlags::IN)];
    let timeout = Timespec::try_from(patience).expect("a short time");
    rustix::event::poll(&mut polled, Some(&timeout)).expect("poll(2) works") > 0
}

// ── The server ─────────────────────────────────────────────────────────────────────────────────

/// The program while it serves.
pub struct Server {
    pub process: Process,
    /// The lines that the program printed at the start.
    pub banner: Vec<String>,
    /// The listening addresses, from the banner.
    pub addresses: Vec<SocketAddr>,
    /// Standard output, which is the log.
    pub stdout: Lines,
    /// Standard error after the banner.
    pub stderr: Lines,
}

impl Server {
    /// Serves `root` on any port, without a log.
    pub fn of(root: impl AsRef<Path>) -> Server {
        Server::with(root, &["--log", "off"])
    }

    /// Serves `root` on any port, without a log and without live reload, on which `Vary` depends.
    pub fn plain(root: impl AsRef<Path>) -> Server {
        Server::with(root, &["--log", "off", "--no-live"])
    }

    /// Serves `root` on any port, with these flags.
    pub fn with(root: impl AsRef<Path>, flags: &[&str]) -> Server {
        let root = root.as_ref();
        Server::from(program().arg(root).args(["--port", "0"]).args(flags))
    }

    /// Starts `command` and reads its banner.
    pub fn from(command: &mut Command) -> Server {
        Server::with_input(command, Stdio::null())
    }

    /// Starts `command` with this standard input.
    pub fn with_input(command: &mut Command, stdin: Stdio) -> Server {
        let (stdout, stderr) = (Stdio::piped(), Stdio::piped());
        let mut process = Process::with_streams(command, stdin, stdout, stderr);
        let (stdout, mut stderr) = (process.stdout(), process.stderr());
        let mut banner = Vec::new();
        while !banner
            .iter()
            .any(|l: &String| l.ends_with("Ctrl-C stops it"))
        {
            match stderr.next() {
                Some(line) => banner.push(line),
                None => panic!("it did not start: {banner:?}"),
            }
        }
        let address = |line: &String| {
            let (_, rest) = line.split_once("://")?;
            rest.strip_suffix('/')?.parse().ok()
        };
        Server {
            addresses: banner.iter().filter_map(address).collect(),
            process,
            banner,
            stdout,
            stderr,
        }
    }

    /// The first listening address.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Opens a new connection.
    pub fn connect(&self) -> Client {
        Client::to(self.address())
    }

    /// A URL on the server.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.process.pid(), signal).expect("it is our child");
    }

    /// The number of descriptors that the server has open.
    pub fn descriptors(&self) -> usize {
        descriptors(self.process.pid()).len()
    }

    /// The largest amount of memory that the server has had at once, in bytes. "VmHWM" of proc(5)
    /// is a maximum, so no moment can be missed.
    pub fn memory_bytes_peak(&self) -> usize {
        self.memory("VmHWM:")
    }

    /// The amount of memory that the server has now, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.memory("VmRSS:")
    }

    /// The value of a line of `/proc/PID/status`, in bytes.
    fn memory(&self, name: &str) -> usize {
        let path = format!("/proc/{}/status", self.process.pid().as_raw_pid());
        let status = fs::read_to_string(path).expect("it runs");
        let kib = status.lines().find_map(|line| {
            let value = line.strip_prefix(name)?.strip_suffix("kB")?;
            value.trim().parse::<usize>().ok()
        });
        kib.expect("it is in kB") << 10
    }

    /// Limits the server to `n` further descriptors.
    pub fn allow_descriptors(&self, n: usize) {
        self.process.allow_descriptors(n);
    }

    /// The listening addresses, from the kernel.
    pub fn listening(&self) -> Vec<SocketAddr> {
        listening(self.process.pid())
    }

    /// Waits until the server accepts no new connections.
    pub fn await_closed_door(&self) {
        eventually("the listeners are closed", || self.listening().is_empty());
    }
}

/// The descriptors of a process, by number, and the target of each.
fn descriptors(pid: Pid) -> BTreeMap<u32, PathBuf> {
    let folder = format!("/proc/{}/fd", pid.as_raw_pid());
    let entries = fs::read_dir(folder).expect("it runs");
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let number = path.file_name()?.to_str()?.parse().ok()?;
            // No link: the descriptor was closed in this very moment.
            Some((number, fs::read_link(path).ok()?))
        })
        .collect()
}

/// The addresses that a process listens on, from proc(5), for a process without a banner.
pub fn listening(pid: Pid) -> Vec<SocketAddr> {
    const LISTEN: &str = "0A";
    let own: Vec<_> = descriptors(pid).into_values().collect();
    let mut found = Vec::new();
    for table in ["tcp", "tcp6"] {
        let table = format!("/proc/{}/net/{table}", pid.as_raw_pid());
        for line in fs::read_to_string(table).unwrap_or_default().lines() {
            let columns: Vec<_> = line.split_whitespace().collect();
            if columns[3] == LISTEN && own.contains(&format!("socket:[{}]", columns[9]).into()) {
                found.push(kernel_address(columns[1]));
            }
        }
    }
    found
}

/// Reads `0100007F:1F90`: words as in memory, then a colon and the port.
fn kernel_address(text: &str) -> SocketAddr {
    let (ip, port) = text.split_once(':').expect("an address and a port");
    let bytes: Vec<u8> = (0..ip.len())
        .step_by(8)
        .flat_map(|at| {
            let word = u32::from_str_radix(&ip[at..at + 8], 16);
            word.expect("eight digits").to_ne_bytes()
        })
        .collect();
    let ip = match <[u8; 4]>::try_from(&bytes[..]) {
        Ok(v4) => IpAddr::from(v4),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(&bytes[..]).expect("or sixteen")),
    };
    let port = u16::from_str_radix(port, 16).expect("four digits");
    SocketAddr::new(ip, port)
}

/// Gives a file another time of modification. A file gets a `Last-Modified` only when the second of
/// its modification is over, so a test that compares heads needs a file that is older.
pub fn set_modified(path: &Path, time: SystemTime) {
    let file = fs::File::options().append(true).open(path);
    file.and_then(|f| f.set_modified(time)).expect("ours");
}

/// Whether a file has been unchanged for so long that another change must show in its times.
pub fn at_rest(path: &Path) -> bool {
    let stat = fs::metadata(path).expect("it is there");
    // The time of modification would not do, because programs can set it.
    let changed = Duration::new(stat.ctime() as u64, stat.ctime_nsec() as u32);
    let since = (UNIX_EPOCH + changed).elapsed();
    since.is_ok_and(|since| since > Duration::from_millis(50))
}

/// Tries until `condition` holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "never came: {what}");
        std::thread::yield_now();
    }
}

// ── A client ───────────────────────────────────────────────────────────────────────────────────

/// A connection, and the received bytes that have not been parsed.
pub struct Client {
    stream: Stream,
    received: Vec<u8>,
}

/// A response. The body is empty until it is read.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The status line and the field lines.
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (this, value) = line.split_once(':')?;
            this.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// `Content-Length`.
    pub fn len(&self) -> usize {
        let length = self.field("Content-Length").expect("it has a length");
        length.parse().expect("which is a number")
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("it is text")
    }
}

impl Client {
    pub fn to(address: SocketAddr) -> Client {
        Client {
            stream: Stream::to(address),
            received: Vec::new(),
        }
    }

    /// Sends bytes unchanged.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = self.stream.write_all(bytes.as_ref());
        sent.expect("the server takes what it is sent");
    }

    /// Sends as many of these bytes as the kernel takes at once: maybe none.
    pub fn send_some(&mut self, bytes: &[u8]) -> usize {
        self.stream.set_nonblocking(true).expect("it is a socket");
        let sent = self.stream.write(bytes);
        self.stream.set_nonblocking(false).expect("it is a socket");
        match sent {
            Err(e) if e.kind() == ErrorKind::WouldBlock => 0,
            sent => sent.expect("the server takes what it is sent"),
        }
    }

    /// Sends bytes that the server may refuse.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Requests `target`, without reading the answer.
    pub fn request(&mut self, target: &str) {
        self.send(get(target));
    }

    /// Requests `target` and reads the answer.
    pub fn get(&mut self, target: &str) -> Answer {
        self.request(target);
        self.answer()
    }

    /// Requests `target` with these field lines and reads the answer, chunked or not.
    pub fn ask(&mut self, target: &str, fields: &[&str]) -> Answer {
        let fields: String = fields.iter().map(|f| format!("{f}\r\n")).collect();
        self.send(format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"
        ));
        let mut answer = self.head();
        answer.body = match (answer.status, answer.field("Transfer-Encoding")) {
            (304, _) => Vec::new(),
            (_, Some("chunked")) => self.chunks(),
            _ => self.bytes(answer.len()),
        };
        answer
    }

    /// Reads a chunked body as the server writes it: without extensions and trailers.
    pub fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let mut size = Vec::new();
            while !size.ends_with(b"\r\n") {
                size.extend(self.bytes(1));
            }
            let size = str::from_utf8(&size).expect("digits").trim_end();
            let size = usize::from_str_radix(size, 16).expect("a chunk size");
            body.extend(self.bytes(size));
            assert_eq!(self.bytes(2), b"\r\n", "the end of a chunk");
            if size == 0 {
                return body;
            }
        }
    }

    /// Reads an answer with its body.
    pub fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        answer.body = self.bytes(answer.len());
        answer
    }

    /// Reads the head of an answer.
    pub fn head(&mut self) -> Answer {
        self.try_head().expect("an answer comes")
    }

    /// Reads the head of an answer. Fails if the connection has ended instead.
    pub fn try_head(&mut self) -> io::Result<Answer> {
        let end = loop {
            match memchr::memmem::find(&self.received, b"\r\n\r\n") {
                Some(end) => break end + 4,
                None if self.receive()? > 0 => {}
                None => return Err(ErrorKind::UnexpectedEof.into()),
            }
        };
        let rest = self.received.split_off(end);
        let head = std::mem::replace(&mut self.received, rest);
        let head = String::from_utf8(head).expect("a head of ours is ASCII");
        let status = head
            .strip_prefix("HTTP/1.1 ")
            .and_then(|s| s[..3].parse().ok());
        Ok(Answer {
            status: status.unwrap_or_else(|| panic!("not a status line: {head}")),
            head,
            body: Vec::new(),
        })
    }

    /// Reads `n` bytes.
    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        let rest = self.received.split_off(n.min(self.received.len()));
        let mut bytes = std::mem::replace(&mut self.received, rest);
        let had = bytes.len();
        bytes.resize(n, 0);
        let read = self.stream.read_exact(&mut bytes[had..]);
        read.expect("the rest comes");
        bytes
    }

    /// Waits until bytes come, and leaves them unread.
    pub fn await_something(&self) {
        let n = self.stream.peek(&mut [0]).expect("something comes");
        assert_eq!(n, 1, "and not the end");
    }

    /// The address of this end.
    pub fn local_address(&self) -> SocketAddr {
        self.stream.local_addr().expect("it is connected")
    }

    /// Whether nothing waits to be read, not even the end.
    pub fn is_silent(&self) -> bool {
        self.stream.set_nonblocking(true).expect("it is a socket");
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).expect("it is a socket");
        peeked.is_err_and(|e| e.kind() == ErrorKind::WouldBlock)
    }

    /// Lets the kernel keep few bytes that were not read.
    pub fn narrow(&self) {
        let set = sockopt::set_socket_recv_buffer_size(&*self.stream, 64 << 10);
        set.expect("it is a socket");
    }

    /// Reads once, as many bytes as are available. Returns 0 at the end.
    ///
    /// # Errors
    /// The errors of an ended connection. A timeout is no error here but a failure of the test.
    pub fn receive(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 64 << 10];
        let read = self.stream.read(&mut chunk);
        let waiting = |e: &io::Error| e.kind() == ErrorKind::WouldBlock;
        assert!(
            !read.as_ref().is_err_and(waiting),
            "nothing comes, no end either"
        );
        let n = read?;
        self.received.extend_from_slice(&chunk[..n]);
        Ok(n)
    }

    /// Drops the bytes that were received and not read.
    pub fn forget(&mut self) {
        self.received.clear();
    }

    /// The bytes that were received and not read, as text.
    pub fn received(&self) -> &str {
        str::from_utf8(&self.received).expect("it is text")
    }

    /// Checks that the server ends the connection here, with a FIN and not with a reset.
    pub fn assert_end(mut self) {
        let n = self.receive().expect("it ends in an orderly way");
        let extra = String::from_utf8_lossy(&self.received);
        assert!(n == 0 && extra.is_empty(), "it goes on: {extra}");
    }

    /// Ends the client's direction with a FIN.
    pub fn finish(&self) {
        let done = self.stream.shutdown(Shutdown::Write);
        done.expect("it is connected");
    }

    /// Closes the connection with a reset.
    pub fn reset(self) {
        let linger = sockopt::set_socket_linger(&*self.stream, Some(Duration::ZERO));
        linger.expect("it is TCP");
    }
}

/// A request.
pub fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

// ── Programs and addresses that a machine may lack ─────────────────────────────────────────────

/// A program to test with, if installed. In an environment where `CI` is set, every program must be
/// installed, and a missing program is a failure.
pub fn outside(program: &str) -> Option<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
        return Some(Command::new(program));
    }
    let ci = std::env::var_os("CI").is_some_and(|v| v == "true");
    assert!(
        !ci,
        "there is no {program}, and nothing may be missing here"
    );
    skip(&format!("there is no {program}"));
    None
}

/// The first flags of each curl. `-q` is the very first: the tests must not read the user's settings.
pub const CURL_FLAGS: [&str; 6] = ["-q", "-sS", "--noproxy", "*", "--max-time", "20"];

/// The program, with its CA in a folder of its own, and without one of mkcert.
#[cfg(feature = "tls")]
pub fn at_home(home: &Folder) -> Command {
    let mut command = program();
    command
        .env("XDG_DATA_HOME", home.path().join("data"))
        .env_remove("CAROOT");
    command
}

/// The file with the certificate of the CA of that program.
#[cfg(feature = "tls")]
pub fn ca(home: &Folder) -> PathBuf {
    home.path().join("data/oneloop/ca.crt")
}

/// Whether this machine has ::1.
pub fn has_ipv6() -> bool {
    let has = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    if !has {
        skip("there is no IPv6");
    }
    has
}

/// Reports, past the capture of the test runner, that a test or a part of it was left out.
pub fn skip(reason: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let thread = std::thread::current();
    let line = format!("SKIPPED {}: {reason}\n", thread.name().unwrap_or("a test"));
    let mut said = SAID.lock().expect("nobody panics with it");
    if said.insert(line.clone()) {
        let _ = io::stderr().write_all(line.as_bytes());
    }
}
