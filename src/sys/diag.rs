//! Floor 0, sys: the kernel's view of one TCP socket, by NETLINK_SOCK_DIAG (sock_diag(7)): the same
//! source as that of `ss -tin`. The question names a socket by its two addresses, and needs no
//! privilege.
//!
//! The answer consists of a `nlmsghdr`, an `inet_diag_msg` and attributes, of which one is `tcp_info`
//! (`linux/netlink.h`, `linux/inet_diag.h`, `linux/tcp.h`). Each field has a fixed offset, and later
//! kernels only add fields at the end. Every read is checked against the length, so an answer that is
//! cut or odd is no answer.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

use super::is_exhausted;

/// The kernel's side of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Kernel {
    /// Bytes that have come, and that the process has not read.
    pub receive_queue: u32,
    /// Bytes that the process has written, and that the peer has not acknowledged.
    pub send_queue: u32,
    /// The part of these bytes that was never sent: the window of the peer or the congestion window is
    /// used up.
    pub not_sent: u32,
    /// Segments that were sent and not acknowledged.
    pub unacked_segments: u32,
    /// The smoothed round-trip time, in microseconds.
    pub rtt_us: u32,
    /// The congestion window, in segments.
    pub congestion_window: u32,
    /// The largest segment that is sent, in bytes.
    pub segment_bytes: u32,
    /// Segments that were sent again since the beginning.
    pub retransmits: u32,
    /// For how long sending waited for the window of the peer, in microseconds. 0 before Linux 4.10.
    pub peer_limited_us: u64,
    /// For how long sending waited for space in the send buffer, in microseconds. 0 before Linux 4.10.
    pub buffer_limited_us: u64,
    /// The bytes that the peer lets us send. `None` before Linux 5.4.
    pub peer_window: Option<u32>,
}

impl Kernel {
    /// Bytes that were sent and not acknowledged.
    pub fn unacked_bytes(&self) -> u32 {
        self.send_queue.saturating_sub(self.not_sent)
    }
}

/// The connections of a listener that wait for accept(2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AcceptQueue {
    /// Connections that wait now.
    pub waiting: u32,
    /// With more connections than this, the kernel takes no further one.
    pub most: u32,
}

/// The socket for questions. It is opened by the first question.
#[derive(Default, Debug)]
pub struct SocketDiag {
    state: State,
    /// The number of the last question, which its answer repeats.
    sequence: u32,
}

#[derive(Default, Debug)]
enum State {
    #[default]
    New,
    Open(OwnedFd),
    /// The kernel or a sandbox forbids the questions.
    Refused,
}

impl SocketDiag {
    /// The answers that are read for a question: it may be behind answers that came too late.
    const ANSWERS_MAX: usize = 8;

    /// Asks for the connection between two addresses. `None`: there is no such connection, or
    /// questions are forbidden.
    ///
    /// # Errors
    /// The first time that questions turn out to be forbidden, the error of socket(2) or send(2).
    pub fn ask(&mut self, local: SocketAddr, peer: SocketAddr) -> io::Result<Option<Kernel>> {
        let is_wanted = |told: &Told| told.state != Told::LISTEN && told.is_between(local, peer);
        let told = self.told(local, peer)?;
        Ok(told.filter(is_wanted).and_then(|told| told.kernel))
    }

    /// Asks for the accept queue of the listener at an address, as [`SocketDiag::ask`] does.
    ///
    /// # Errors
    /// As of [`SocketDiag::ask`].
    pub fn accept_queue(&mut self, listener: SocketAddr) -> io::Result<Option<AcceptQueue>> {
        let nobody = SocketAddr::new(unspecified(listener), 0);
        let told = self.told(listener, nobody)?;
        let told = told.filter(|told| told.state == Told::LISTEN);
        Ok(told.map(|told| AcceptQueue {
            waiting: told.queues[0],
            most: told.queues[1],
        }))
    }

    fn told(&mut self, local: SocketAddr, peer: SocketAddr) -> io::Result<Option<Told>> {
        let sequence = self.sequence.wrapping_add(1);
        self.sequence = sequence;
        let question = question(local, peer, sequence);
        let told = self.open().and_then(|socket| match socket {
            Some(socket) => exchange(socket, &question, sequence),
            None => Ok(None),
        });
        // Without descriptors or memory, the next question may be answered.
        if told
            .as_ref()
            .err()
            .is_some_and(|error| !is_exhausted(error))
        {
            self.state = State::Refused;
        }
        told
    }

    fn open(&mut self) -> io::Result<Option<&OwnedFd>> {
        if let State::New = self.state {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let protocol = Some(netlink::SOCK_DIAG);
            let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, protocol)?;
            self.state = State::Open(socket);
        }
        Ok(match &self.state {
            State::Open(socket) => Some(socket),
            State::New | State::Refused => None,
        })
    }
}

/// Sends a question, and reads its answer. The kernel answers before send(2) returns.
fn exchange(socket: &OwnedFd, question: &[u8], sequence: u32) -> io::Result<Option<Told>> {
    send(socket, question, SendFlags::empty())?;
    let mut buffer = [0; 2 << 10];
    for _ in 0..SocketDiag::ANSWERS_MAX {
        let len = match recv(socket, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((len, _)) => len,
            Err(Errno::INTR) => continue,
            // Without memory, an answer is lost.
            Err(Errno::AGAIN | Errno::NOBUFS) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let answer = Bytes(&buffer[..len]);
        if answer.u32(8) == Some(sequence) {
            return Ok(Told::parse(answer));
        }
    }
    Ok(None)
}

/// The address that stands for none, in the family of an address.
fn unspecified(address: SocketAddr) -> IpAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(_) => IpAddr::from([0; 4]),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// `nlmsghdr` and `inet_diag_req_v2`, for the socket with these addresses. An IPv4 address that is
/// mapped to IPv6 is asked for as IPv4: the kernel keeps such connections there.
fn question(local: SocketAddr, peer: SocketAddr, sequence: u32) -> Vec<u8> {
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const NLM_F_REQUEST: u16 = 1;
    const IPPROTO_TCP: u8 = 6;
    /// A bit for `INET_DIAG_INFO`.
    const WITH_INFO: u8 = 1 << (INFO - 1);
    const ALL_STATES: u32 = u32::MAX;
    /// No socket has this cookie: any socket is meant.
    const NO_COOKIE: [u8; 8] = [0xff; 8];
    let family = match local.ip().to_canonical() {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    };
    let interface = match local {
        SocketAddr::V6(address) if family == AF_INET6 => address.scope_id(),
        _ => 0,
    };
    let mut bytes = Vec::with_capacity(72);
    bytes.extend_from_slice(&72_u32.to_ne_bytes());
    bytes.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.extend_from_slice(&0_u32.to_ne_bytes());
    bytes.extend_from_slice(&[family, IPPROTO_TCP, WITH_INFO, 0]);
    bytes.extend_from_slice(&ALL_STATES.to_ne_bytes());
    bytes.extend_from_slice(&local.port().to_be_bytes());
    bytes.extend_from_slice(&peer.port().to_be_bytes());
    for address in [local, peer] {
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => {
                bytes.extend_from_slice(&ip.octets());
                bytes.extend_from_slice(&[0; 12]);
            }
            IpAddr::V6(ip) => bytes.extend_from_slice(&ip.octets()),
        }
    }
    bytes.extend_from_slice(&interface.to_ne_bytes());
    bytes.extend_from_slice(&NO_COOKIE);
    bytes
}

/// The attribute with `tcp_info`: `INET_DIAG_INFO`.
const INFO: u16 = 2;

/// An answer.
#[derive(PartialEq, Eq, Debug)]
struct Told {
    /// The state of the socket, as in `tcp_info`.
    state: u8,
    local: (IpAddr, u16),
    peer: (IpAddr, u16),
    /// `idiag_rqueue` and `idiag_wqueue`.
    queues: [u32; 2],
    /// `None` if there is no `tcp_info`, as after the end of a connection (TIME_WAIT).
    kernel: Option<Kernel>,
}

impl Told {
    const LISTEN: u8 = 10;

    /// The length of `nlmsghdr`, and of `inet_diag_msg` after it.
    const HEADS: usize = 16 + 72;

    /// Reads an answer. `None`: it is an error, or no answer.
    fn parse(answer: Bytes<'_>) -> Option<Told> {
        const SOCK_DIAG_BY_FAMILY: u16 = 20;
        let len = answer.u32(0)? as usize;
        let answer = Bytes(answer.0.get(..len)?);
        if answer.u16(4)? != SOCK_DIAG_BY_FAMILY {
            return None;
        }
        let message = Bytes(answer.0.get(16..Told::HEADS)?);
        let address = |at| match message.u8(0)? {
            AF_INET => Some(IpAddr::from(message.array::<4>(at)?)),
            AF_INET6 => Some(IpAddr::from(message.array::<16>(at)?).to_canonical()),
            _ => None,
        };
        let port = |at| message.array(at).map(u16::from_be_bytes);
        let queues = [message.u32(56)?, message.u32(60)?];
        Some(Told {
            state: message.u8(1)?,
            local: (address(8)?, port(4)?),
            peer: (address(24)?, port(6)?),
            queues,
            kernel: Told::info(answer).and_then(|info| kernel(info, queues)),
        })
    }

    /// The attribute with `tcp_info`.
    fn info(answer: Bytes<'_>) -> Option<Bytes<'_>> {
        /// The length of `rtattr`.
        const HEAD: usize = 4;
        let mut rest = Bytes(answer.0.get(Told::HEADS..)?);
        // The loop ends, because each attribute is as long as its head at least.
        loop {
            let (len, kind) = (usize::from(rest.u16(0)?), rest.u16(2)?);
            let value = Bytes(rest.0.get(HEAD..len)?);
            if kind == INFO {
                return Some(value);
            }
            rest = Bytes(rest.0.get(len.next_multiple_of(4)..)?);
        }
    }

    /// Whether the answer is about the connection between these addresses. The kernel answers with the
    /// listener if the connection is gone.
    fn is_between(&self, local: SocketAddr, peer: SocketAddr) -> bool {
        let key = |address: SocketAddr| (address.ip().to_canonical(), address.port());
        (self.local, self.peer) == (key(local), key(peer))
    }
}

/// Takes the fields out of `tcp_info`. `None` if it is shorter than in Linux 4.6.
fn kernel(info: Bytes<'_>, [receive_queue, send_queue]: [u32; 2]) -> Option<Kernel> {
    Some(Kernel {
        receive_queue,
        send_queue,
        not_sent: info.u32(144)?,
        unacked_segments: info.u32(24)?,
        rtt_us: info.u32(68)?,
        congestion_window: info.u32(80)?,
        segment_bytes: info.u32(16)?,
        retransmits: info.u32(100)?,
        peer_limited_us: info.u64(176).unwrap_or(0),
        buffer_limited_us: info.u64(184).unwrap_or(0),
        peer_window: info.u32(228),
    })
}

/// Bytes of the kernel, of which no more is read than there are.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..)?.first_chunk().copied()
    }

    fn u8(&self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    fn u16(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_ne_bytes)
    }

    fn u32(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_ne_bytes)
    }

    fn u64(&self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_ne_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: &str = "127.0.0.1:8080";
    const PEER: &str = "127.0.0.1:50312";

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// The answer about an IPv4 connection, with an attribute before the wanted one.
    fn answer() -> Vec<u8> {
        let mut info = [0; 240];
        for (at, value) in [(16, 1448_u32), (24, 2), (68, 40), (80, 10), (100, 3)] {
            info[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        info[144..148].copy_from_slice(&259_000_u32.to_ne_bytes());
        info[176..184].copy_from_slice(&7_u64.to_ne_bytes());
        info[228..232].copy_from_slice(&65_535_u32.to_ne_bytes());
        let mut bytes = question(address(LOCAL), address(PEER), 5);
        // The state and the timer are where the question has the protocol and the extensions.
        bytes[17..20].copy_from_slice(&[1, 0, 0]);
        // The addresses begin four bytes earlier than in the question.
        bytes.drain(20..24);
        bytes.extend_from_slice(&[0; 20]);
        bytes[72..76].copy_from_slice(&11_u32.to_ne_bytes());
        bytes[76..80].copy_from_slice(&300_000_u32.to_ne_bytes());
        assert_eq!(bytes.len(), Told::HEADS);
        bytes.extend_from_slice(&5_u16.to_ne_bytes());
        bytes.extend_from_slice(&8_u16.to_ne_bytes());
        bytes.extend_from_slice(&[3, 0, 0, 0]);
        bytes.extend_from_slice(&(4 + info.len() as u16).to_ne_bytes());
        bytes.extend_from_slice(&INFO.to_ne_bytes());
        bytes.extend_from_slice(&info);
        let len = bytes.len() as u32;
        bytes[..4].copy_from_slice(&len.to_ne_bytes());
        bytes
    }

    #[test]
    fn an_answer_has_the_queues_and_the_numbers_of_tcp() {
        let told = Told::parse(Bytes(&answer())).unwrap();
        assert!(told.is_between(address(LOCAL), address(PEER)));
        assert!(!told.is_between(address(PEER), address(LOCAL)));
        let kernel = told.kernel.unwrap();
        let expected = Kernel {
            receive_queue: 11,
            send_queue: 300_000,
            not_sent: 259_000,
            unacked_segments: 2,
            rtt_us: 40,
            congestion_window: 10,
            segment_bytes: 1448,
            retransmits: 3,
            peer_limited_us: 7,
            buffer_limited_us: 0,
            peer_window: Some(65_535),
        };
        assert_eq!(kernel, expected);
        assert_eq!(kernel.unacked_bytes(), 41_000);
    }

    /// Whether the length in the answer is that before or after the cut.
    #[test]
    fn an_answer_that_is_cut_anywhere_is_no_answer_or_a_shorter_one() {
        let whole = answer();
        let expected = Told::parse(Bytes(&whole)).unwrap();
        for cut in 0..whole.len() {
            let mut part = whole[..cut].to_vec();
            assert_eq!(Told::parse(Bytes(&part)), None, "{cut}");
            if cut >= 4 {
                part[..4].copy_from_slice(&(cut as u32).to_ne_bytes());
                let told = Told::parse(Bytes(&part));
                assert_eq!(told.is_some(), cut >= Told::HEADS, "{cut}");
                assert!(told.is_none_or(|told| told.kernel.is_none()), "{cut}");
            }
        }
        // An older kernel has a shorter `tcp_info`.
        let at = Told::HEADS + 8;
        for len in 0..240_u16 {
            let mut older = whole.clone();
            older[at..at + 2].copy_from_slice(&(4 + len).to_ne_bytes());
            let kernel = Told::parse(Bytes(&older)).unwrap().kernel;
            assert_eq!(kernel.is_some(), len >= 148, "{len}");
            let has_window = kernel.is_some_and(|kernel| kernel.peer_window.is_some());
            assert_eq!(has_window, len >= 232, "{len}");
        }
        assert!(expected.kernel.is_some());
    }

    #[test]
    fn whatever_byte_is_wrong_nothing_panics_or_hangs() {
        let whole = answer();
        for at in 0..whole.len() {
            for value in [0, 1, 2, 3, 4, 127, 128, 255] {
                let mut wrong = whole.clone();
                wrong[at] = value;
                Told::parse(Bytes(&wrong));
            }
        }
        assert_eq!(Told::parse(Bytes(&[255; 2048])), None);
        assert_eq!(Told::parse(Bytes(&[0; 2048])), None);
    }

    #[test]
    fn forbidden_questions_have_no_answer() {
        let mut diag = SocketDiag {
            state: State::Refused,
            sequence: u32::MAX,
        };
        let asked = diag.ask(address(LOCAL), address(PEER));
        assert_eq!(asked.expect("the error was told before"), None);
        assert_eq!(diag.accept_queue(address(LOCAL)).unwrap(), None);
    }

    #[test]
    fn a_mapped_address_is_asked_for_as_ipv4() {
        let mapped = |text: &str| address(&text.replace("127.0.0.1", "[::ffff:127.0.0.1]"));
        assert_eq!(
            question(mapped(LOCAL), mapped(PEER), 1),
            question(address(LOCAL), address(PEER), 1)
        );
        let told = Told::parse(Bytes(&answer())).unwrap();
        assert!(told.is_between(mapped(LOCAL), mapped(PEER)));
        let v6 = question(address("[fe80::1%3]:80"), address("[fe80::2]:1"), 1);
        assert_eq!((v6[16], v6.len()), (AF_INET6, 72));
        assert_eq!(v6[60..64], 3_u32.to_ne_bytes());
    }
}
