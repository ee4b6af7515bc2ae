//! Four lives beside their traces: of a request, of a large file, of a slow reader, and of a message in a room.
//! A docs page without code.
//!
//! The traces are real. `tests/traces` makes them anew, with clients and kernels that act on command, and
//! compares them with this page. For the trace of your own server, start `oneloop --trace=FILE`, or
//! `oneloop --trace=pretty` to read along. [`jsonl`](crate::server::trace::jsonl) explains every member of
//! a line. The important ones: `t` is the number of the turn, which is one trip of the loop; `e` is what
//! happened; `c` is the connection, such as `0#1`: slot 0, the first connection of the server.
//!
//! # What an edge is
//!
//! The kernel has a receive queue for each socket, with bytes that came and were not read, and a send queue,
//! with bytes that were written and did not leave. A *level* is a state of such a queue: "bytes are waiting".
//! An *edge* is a change of the state: "bytes have come". The server asks epoll for edges (`EPOLLET`). So
//! epoll reports each change once, at the next `epoll_wait`. Several changes before that call become one
//! event. And there is no reminder: if the server does not read after the event, `epoll_wait` is silent about
//! these bytes from then on. An edge is *lost* when the server forgets an event before it has done what the
//! event made possible. The connection then hangs, although bytes are waiting.
//!
//! That is why each connection has three flags that remember ([`Tcp`](crate::transport::Tcp)):
//!
//! - An event *sets* flags, and only sets them. In the trace this is `mark`: `r` for `readable`, `w` for
//!   `writable`, `c` for `peer_closed`. A new connection begins with the first two set, because its bytes may
//!   have come before epoll was asked to watch. A deadline that passes sets one flag, for a last attempt.
//! - A system call *clears* a flag, when its result proves that the queue is empty or full. `EAGAIN` proves
//!   it. So does a read that returns fewer bytes than asked for, unless the peer has closed its direction.
//!   Nothing else clears a flag.
//!
//! In between, the loop may do other work for as long as it likes. The flag is still set when it comes back.
//!
//! # The life of a request
//!
//! A client connects and sends a GET request for a small file. The connection and the request are both there
//! before the server looks:
//!
//! ```text
//! {"t":1,"e":"turn","events":0}
//! {"t":2,"e":"turn","events":1}
//! {"t":2,"e":"accept","c":"0#1","listener":0}
//! {"t":2,"e":"read","c":"0#1","n":44}
//! {"t":2,"e":"step","c":"0#1","from":"ReadingHead","to":"ReadingHead","status":200}
//! {"t":2,"e":"send","c":"0#1","n":297,"left":0}
//! {"t":3,"e":"turn","events":1}
//! {"t":3,"e":"mark","c":"0#1","ready":"w"}
//! ```
//!
//! Turn 1 is the start of the server. Turn 2 begins with one event, that of the listener. The server accepts the connection, and reads at once:
//! the flag `readable` of a new connection is set. The read asks for 64 KiB and gets 44 bytes, so the receive
//! queue is empty, and the flag is cleared without another call. The parser finds the end of the head. The
//! step from `ReadingHead` to `ReadingHead` queues the whole answer, with the status 200, and the connection
//! waits for the next request. The write takes all 297 bytes of head and body: `left` is 0.
//!
//! Only now does epoll hear of the socket. epoll looks at the socket once when it is added, and finds that
//! the send queue has space. Therefore turn 3 has an event with `w`. The flag was set anyway, and nothing is
//! to be written: such an event costs a turn, and does no harm.
//!
//! The second request on the same connection is an edge:
//!
//! ```text
//! {"t":4,"e":"turn","events":1}
//! {"t":4,"e":"mark","c":"0#1","ready":"rw"}
//! {"t":4,"e":"read","c":"0#1","n":44}
//! {"t":4,"e":"step","c":"0#1","from":"ReadingHead","to":"ReadingHead","status":200}
//! {"t":4,"e":"send","c":"0#1","n":297,"left":0}
//! ```
//!
//! The event sets `readable`; the read clears the flag again. That is the usual life of a request: one event,
//! one read, one step, one write. Then the client closes the connection:
//!
//! ```text
//! {"t":5,"e":"turn","events":1}
//! {"t":5,"e":"mark","c":"0#1","ready":"rwc"}
//! {"t":5,"e":"read","c":"0#1","n":0,"end":"eof"}
//! {"t":5,"e":"step","c":"0#1","from":"ReadingHead","to":"Lingering"}
//! {"t":5,"e":"step","c":"0#1","from":"Lingering","to":"Closed"}
//! {"t":5,"e":"close","c":"0#1","cause":"peer_closed"}
//! ```
//!
//! The end of the peer's bytes is found by a read that returns 0, which is `eof` here. `c` in the event has
//! told of it before. While `c` is set, a short read does not clear `readable`, because the edge of the end is
//! spent: the read that finds the end must happen without another event. The connection passes through
//! `Lingering`, where others wait until a close can lose nothing. Here all has arrived, so it closes at once.
//!
//! Some browsers open a connection ahead of need, and send nothing on it:
//!
//! ```text
//! {"t":6,"e":"turn","events":1}
//! {"t":6,"e":"accept","c":"0#2","listener":0}
//! {"t":6,"e":"read","c":"0#2","n":0,"end":"blocked"}
//! {"t":7,"e":"turn","events":1}
//! {"t":7,"e":"mark","c":"0#2","ready":"w"}
//! ```
//!
//! The read gets `EAGAIN`, which clears `readable`. From now on the connection costs memory, but no time: no
//! thread waits for it, and no call is made for it. A server that reads with a blocking call waits in this
//! read. If it has a single thread, then the next client waits too, until this one sends a request or leaves;
//! with a pool of threads, each idle connection takes one of them away. Here, the deadline is the only thing
//! that happens to an idle connection:
//!
//! ```text
//! {"t":8,"e":"turn","events":0}
//! {"t":8,"e":"expire","c":"0#2"}
//! {"t":9,"e":"turn","events":0}
//! {"t":9,"e":"read","c":"0#2","n":0,"end":"blocked"}
//! {"t":9,"e":"step","c":"0#2","from":"ReadingHead","to":"Lingering"}
//! {"t":9,"e":"step","c":"0#2","from":"Lingering","to":"Closed"}
//! {"t":9,"e":"close","c":"0#2","cause":"idle"}
//! ```
//!
//! After 30 s the deadline passes (`expire`), and the connection is run once more in the next turn. It reads
//! a last time, because bytes may have come whose event is still to be reported, and ends for the cause `idle`.
//!
//! # The life of a large file
//!
//! The file has 400,000 bytes. The kernels of both sides take 150,000 bytes that the client has not read. The
//! client reads nothing yet:
//!
//! ```text
//! {"t":1,"e":"turn","events":0}
//! {"t":2,"e":"turn","events":1}
//! {"t":2,"e":"accept","c":"0#1","listener":0}
//! {"t":2,"e":"read","c":"0#1","n":44}
//! {"t":2,"e":"step","c":"0#1","from":"ReadingHead","to":"Streaming","status":200}
//! {"t":2,"e":"step","c":"0#1","from":"Streaming","to":"Streaming"}
//! {"t":2,"e":"send","c":"0#1","n":296,"left":262144}
//! {"t":2,"e":"send","c":"0#1","n":149704,"left":112440}
//! {"t":2,"e":"send","c":"0#1","n":0,"end":"blocked","left":112440}
//! ```
//!
//! The first step queues the head of the answer and begins to stream. The second one queues a *slice*: 256 KiB
//! of the file, by reference. The head leaves by `send`, and the slice by `sendfile`, so these bytes go from
//! the file to the socket within the kernel and never enter this process. The third line with `send` has
//! `blocked`: the kernel said `EAGAIN`, and `writable` is cleared. `left` is the number of bytes that wait in the write buffer. The
//! connection now waits for an event with `w`.
//!
//! Before the answer has left, the client sends its next request:
//!
//! ```text
//! {"t":3,"e":"turn","events":1}
//! {"t":3,"e":"mark","c":"0#1","ready":"r"}
//! {"t":3,"e":"send","c":"0#1","n":0,"end":"blocked","left":112440}
//! ```
//!
//! The event sets `readable`, but no read follows: until the last byte of the body has left, nothing is read
//! from this client. (The line with `send` is no system call: `writable` is clear, so the attempt ends before
//! it.) The request lies in the receive queue of the kernel, and the flag remembers it. Then the client reads
//! 150,000 bytes, twice:
//!
//! ```text
//! {"t":4,"e":"turn","events":1}
//! {"t":4,"e":"mark","c":"0#1","ready":"rw"}
//! {"t":4,"e":"send","c":"0#1","n":112440,"left":0}
//! {"t":4,"e":"step","c":"0#1","from":"Streaming","to":"Streaming"}
//! {"t":4,"e":"send","c":"0#1","n":37560,"left":100296}
//! {"t":4,"e":"send","c":"0#1","n":0,"end":"blocked","left":100296}
//! ```
//!
//! ```text
//! {"t":5,"e":"turn","events":1}
//! {"t":5,"e":"mark","c":"0#1","ready":"rw"}
//! {"t":5,"e":"send","c":"0#1","n":100296,"left":0}
//! {"t":5,"e":"step","c":"0#1","from":"Streaming","to":"ReadingHead"}
//! {"t":5,"e":"read","c":"0#1","n":44}
//! {"t":5,"e":"step","c":"0#1","from":"ReadingHead","to":"ReadingHead","status":200}
//! {"t":5,"e":"send","c":"0#1","n":297,"left":0}
//! ```
//!
//! (In the trace of your own server, a fast client of a large file also causes lines with `postponed`: the connection
//! has spent its share of the turn, and goes on in the next turn, in which other connections come first. Such a turn may
//! have no event at all, because the loop does not wait while a connection has something left to do.)
//!
//! Each time, space in the send queue is an edge, with `w`. When the last slice has left, the mode is
//! `ReadingHead` again, and the next request is read in the same turn. No event announced the request in this
//! turn. (The `r` of turn 5 is the state of the moment, which epoll reports with any event. The edge of the
//! request was spent in turn 3.) A loop that had dropped the flag in turn 3 could depend on such luck, and would
//! hang without it: the client waits for an answer, the server for an event, and neither comes.
//!
//! # The life of a slow reader
//!
//! Another client asks for the same file, and the beginning is the same as above. The client then reads
//! 10,000 bytes. Nothing happens at the server: Linux calls a socket writable again only when a third of the
//! send queue is free, because a little space is not worth an event. So there is no line. The client reads
//! 50,000 bytes more:
//!
//! ```text
//! {"t":3,"e":"turn","events":1}
//! {"t":3,"e":"mark","c":"0#1","ready":"w"}
//! {"t":3,"e":"send","c":"0#1","n":60000,"left":52440}
//! {"t":3,"e":"step","c":"0#1","from":"Streaming","to":"Streaming"}
//! {"t":3,"e":"send","c":"0#1","n":0,"end":"blocked","left":190296}
//! {"t":3,"e":"send","c":"0#1","n":0,"end":"blocked","left":190296}
//! ```
//!
//! Now there is an edge, and exactly as many bytes leave as the client has taken. Fewer than 64 KiB wait in the
//! write buffer then, so the next slice is queued. (Of the two blocked lines, the first is an `EAGAIN`, and the
//! second finds the flag clear.) *Back-pressure* is the whole chain: the client does not
//! read, so its receive queue is full; TCP lets the kernel of the server send no more, so the send queue fills;
//! the write gets `EAGAIN`, so bytes stay in the write buffer; the write buffer has no room, so no slice is
//! queued, and no request is read. Each part of the 400,296 bytes has a place:
//!
//! | where | after turn 2 | after turn 3 |
//! |---|--:|--:|
//! | taken by the client | 0 | 60,000 |
//! | in the kernels, on their way | 150,000 | 150,000 |
//! | queued in the server, by reference to the file | 112,440 | 190,296 |
//! | in the file, and not queued | 137,856 | 0 |
//!
//! The bytes in the kernels count as sent, because `send` has succeeded. Only the client knows how much it has read. Such a client costs this process little, since
//! queued bytes of a file are an offset and a length. Output that is made in memory, such as the messages of a
//! room, does cost memory, and the write buffer bounds it.
//!
//! If the client reads nothing more, the deadline passes 30 s after the last byte has moved:
//!
//! ```text
//! {"t":4,"e":"turn","events":0}
//! {"t":5,"e":"turn","events":0}
//! {"t":6,"e":"turn","events":0}
//! {"t":6,"e":"expire","c":"0#1"}
//! {"t":6,"e":"send","c":"0#1","n":0,"end":"blocked","left":190296}
//! {"t":6,"e":"step","c":"0#1","from":"Streaming","to":"Closed"}
//! {"t":7,"e":"turn","events":0}
//! {"t":7,"e":"close","c":"0#1","cause":"stalled"}
//! ```
//!
//! The turns without events are alarms for deadlines that have moved meanwhile: the server looks, and waits
//! again. In the last attempt the server writes without an event, because a little space would be no edge.
//! There is none, and the connection ends for the cause `stalled`.
//!
//! # The life of a room message
//!
//! Three WebSocket clients are members of the room `/rooms/a`. The first one sends `hello`:
//!
//! ```text
//! {"t":8,"e":"turn","events":1}
//! {"t":8,"e":"mark","c":"0#1","ready":"rw"}
//! {"t":8,"e":"read","c":"0#1","n":11}
//! {"t":8,"e":"effect","c":"0#1","what":"publish"}
//! {"t":8,"e":"send","c":"0#1","n":7,"left":0}
//! {"t":8,"e":"send","c":"1#2","n":7,"left":0}
//! {"t":8,"e":"send","c":"2#3","n":7,"left":0}
//! ```
//!
//! One event, one read of 11 bytes: a frame with a masking key and five letters. The connection of the sender
//! must not touch the connections of other members. So it leaves an *effect*, a wish for the server, and the
//! server carries out the effect later in the same turn, when no connection is being run: `publish`. The
//! message is encoded once, and appended to the write buffer of each member, also of the sender. After all
//! effects, each member is written to once. The members 1 and 2 had no event in this turn and need none: their
//! `writable` has been set since they were accepted, and no write has cleared it. A member whose `writable` is
//! clear keeps the message in its write buffer until there is an event with `w`. If the write buffer is full,
//! the member misses the message, and the server counts it; with `--slow-members close` the member is closed
//! instead. The other members do not wait for it.
