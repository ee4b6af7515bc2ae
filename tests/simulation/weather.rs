//! What the seed of a run decides: how bytes are cut, which faults occur and when, and the limits
//! of the server. Nothing here may come from any other source, because the same seed must give the
//! same run. A seed names a run of one commit only: every new script re-rolls all seeds.

use std::ops::RangeInclusive;
use std::time::Duration;

use oneloop::config::{Limits, SlowMember};

/// The shortest deadline that [`limits`] draws. A client that keeps every delay shorter can rely on
/// not being timed out.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// The longest time that a cooperative client thinks. Four pauses and all small jumps of the clock
/// are together shorter than [`PATIENCE`].
pub const PAUSE: Duration = Duration::from_millis(180);

/// The longest pause of accepting.
pub const ACCEPT_PAUSE_MAX: Duration = Duration::from_millis(200);

/// The time by which the clock jumps forward in all, unless the whole machine was suspended.
const JUMPS: Duration = Duration::from_millis(200);

/// Pseudo-random numbers: SplitMix64, by Steele, Lea and Flood.
#[derive(Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..n`; 0 if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    pub fn within(&mut self, range: RangeInclusive<usize>) -> usize {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    pub fn time(&mut self, at_least: Duration, below: Duration) -> Duration {
        let span = (below - at_least).as_micros() as usize;
        at_least + Duration::from_micros(self.below(span) as u64)
    }
}

/// How the world treats a server. Sizes are in bytes, rates in percent of the named occasions, and
/// moments are counted in [moves](crate::world::World).
#[derive(Clone, Debug)]
pub struct Weather {
    /// Whether nothing goes wrong, and every possible event has happened before the server looks.
    pub calm: bool,
    /// The largest number of bytes that arrive at once.
    pub arrival_max: usize,
    /// The largest number of bytes that a client takes at once.
    pub take_max: usize,
    /// The number of unread bytes that the server's kernel takes: the TCP window.
    pub receive_buffer: usize,
    /// The number of bytes that fit between the server's send(2) and the client's recv(2).
    pub send_buffer: usize,
    /// The number of connections that may be open at once; one more fails with EMFILE.
    pub descriptors_max: usize,
    /// Percent of system calls: the world moves just before the call.
    pub haste: usize,
    /// Percent of system calls and waits: EINTR.
    pub interrupted: usize,
    /// Percent of writes: fewer bytes are taken than would fit.
    pub short_writes: usize,
    /// Percent of waits: an event with false readiness, for an open connection.
    pub spurious: usize,
    /// Percent of waits: an event for a closed connection.
    pub stale: usize,
    /// Percent of accepts: ECONNABORTED.
    pub aborted: usize,
    /// Percent of accepts: ENFILE, as if other processes had opened too many files.
    pub exhausted: usize,
    /// Percent of registrations: ENOSPC.
    pub unregistered: usize,
    /// Percent of clients: the client resets its connection in the middle of its script.
    pub resets: usize,
    /// Percent of occasions to move: the editor edits a file. Ten times as often when the server
    /// has just looked.
    pub edits: usize,
    /// Percent of opens, stats and reads of a file that is marked for disk errors.
    pub disk_errors: usize,
    /// When the clock jumps forward, and by how much; the first jump is last in the list.
    pub jumps: Vec<(u64, Duration)>,
    /// When SIGTERM comes; it may come twice.
    pub signals: Vec<Moment>,
    /// The listeners whose connections speak the toy of TLS.
    pub secure: Vec<usize>,
}

/// A moment in a run. Many moves are made while the run is busy; much time passes while it is not.
#[derive(Clone, Copy, Debug)]
pub enum Moment {
    /// After this number of moves.
    Moves(u64),
    /// After this time.
    Time(Duration),
}

impl Moment {
    fn drawn(rng: &mut Rng, moves: usize, time: Duration) -> Moment {
        match rng.chance(50) {
            true => Moment::Moves(rng.below(moves) as u64),
            false => Moment::Time(rng.time(Duration::ZERO, time)),
        }
    }
}

impl Weather {
    /// Weather in which the server shows its behaviour without any fault.
    pub fn calm() -> Weather {
        Weather {
            calm: true,
            arrival_max: usize::MAX,
            take_max: usize::MAX,
            receive_buffer: 1 << 20,
            send_buffer: 1 << 20,
            descriptors_max: usize::MAX,
            haste: 0,
            interrupted: 0,
            short_writes: 0,
            spurious: 0,
            stale: 0,
            aborted: 0,
            exhausted: 0,
            unregistered: 0,
            resets: 0,
            edits: 0,
            disk_errors: 0,
            jumps: Vec::new(),
            signals: Vec::new(),
            secure: Vec::new(),
        }
    }

    pub fn drawn(rng: &mut Rng) -> Weather {
        let mut jumps = Vec::new();
        for _ in 0..rng.below(4) {
            let by = rng.time(Duration::ZERO, JUMPS / 4);
            jumps.push((rng.below(1_000) as u64, by));
        }
        // Some laptops are closed for a while, some for the night.
        if rng.chance(6) {
            let by = rng.time(2 * PATIENCE, Duration::from_secs(50_000));
            jumps.push((rng.below(500) as u64, by));
        }
        // The first jump goes to the end of the list, to be popped.
        jumps.sort_by(|a, b| b.cmp(a));
        let mut signals = Vec::new();
        if rng.chance(20) {
            signals.push(Moment::drawn(rng, 800, 2 * PATIENCE));
            if rng.chance(30) {
                signals.push(Moment::drawn(rng, 1_500, 3 * PATIENCE));
            }
        }
        Weather {
            calm: false,
            arrival_max: *rng.pick(&[1, 6, 40, 300, 5_000]),
            take_max: *rng.pick(&[300, 3_000, 100_000]),
            receive_buffer: *rng.pick(&[40, 500, 4_000]),
            send_buffer: *rng.pick(&[200, 1_500, 6_000]),
            descriptors_max: *rng.pick(&[1, 2, 4, 100, 100]),
            haste: *rng.pick(&[0, 10, 40]),
            interrupted: *rng.pick(&[0, 5]),
            short_writes: *rng.pick(&[0, 20]),
            spurious: *rng.pick(&[0, 5]),
            stale: *rng.pick(&[0, 10]),
            aborted: *rng.pick(&[0, 10]),
            exhausted: *rng.pick(&[0, 0, 5, 30]),
            unregistered: *rng.pick(&[0, 0, 0, 40]),
            resets: *rng.pick(&[0, 0, 20]),
            edits: *rng.pick(&[0, 1, 4]),
            disk_errors: *rng.pick(&[0, 10]),
            jumps,
            signals,
            secure: rng.pick(&[&[][..], &[1], &[0, 1]]).to_vec(),
        }
    }

    /// Weather in which the server is told to stop early, while requests are on their way and
    /// answers are not taken yet.
    pub fn ending(rng: &mut Rng) -> Weather {
        Weather {
            arrival_max: *rng.pick(&[1, 6, 40]),
            take_max: *rng.pick(&[20, 200]),
            jumps: Vec::new(),
            signals: vec![Moment::drawn(rng, 200, PATIENCE)],
            ..Weather::drawn(rng)
        }
    }

    /// Weather in which clients are quick, and an editor is quicker.
    pub fn restless() -> Weather {
        Weather {
            calm: false,
            arrival_max: 5_000,
            take_max: 100_000,
            haste: 40,
            edits: 4,
            ..Weather::calm()
        }
    }

    /// Whether a jump of this length may make a deadline pass for a client without fault.
    pub fn is_suspension(by: Duration) -> bool {
        by >= JUMPS
    }
}

// A request beyond a size limit must be refused for every drawn limit, and with the same words. The
// scripts stay below these sizes, or exceed twice as much.
const HEAD_BYTES_MAX: usize = 256;
const TARGET_BYTES_MAX: usize = 100;
const FIELDS_MAX: usize = 8;
const BODY_BYTES_MAX: usize = 1_500;
const MESSAGE_BYTES_MAX: usize = 6_000;
pub const LINGER_BYTES_MAX: usize = 4_000;
const TEST_BYTES_MAX: u64 = 40_000;

/// The limits for calm weather: the usual ones, except for those that the scripts mean to exceed.
pub fn usual_limits() -> Limits {
    Limits {
        head_bytes_max: HEAD_BYTES_MAX,
        read_buffer_bytes: HEAD_BYTES_MAX,
        message_bytes_max: MESSAGE_BYTES_MAX,
        target_bytes_max: TARGET_BYTES_MAX,
        fields_max: FIELDS_MAX,
        body_bytes_max: BODY_BYTES_MAX,
        listed_at_once: LISTED_AT_ONCE,
        test_time_max: PATIENCE - PAUSE / 2,
        test_bytes_max: TEST_BYTES_MAX,
        ..Limits::default()
    }
}

/// Of the two directories that are listed, one has more entries.
const LISTED_AT_ONCE: usize = 3;

/// Draws every limit so small that runs reach it.
pub fn limits(rng: &mut Rng) -> Limits {
    let around = |rng: &mut Rng, least: usize| rng.within(least..=2 * least);
    let deadline = |rng: &mut Rng| rng.time(PATIENCE, 5 * PATIENCE / 4);
    let write_buffer_high = *rng.pick(&[8, 50, 400, 3_000, 10_000]);
    Limits {
        head_bytes_max: around(rng, HEAD_BYTES_MAX),
        target_bytes_max: around(rng, TARGET_BYTES_MAX),
        fields_max: around(rng, FIELDS_MAX),
        body_bytes_max: around(rng, BODY_BYTES_MAX),
        read_buffer_bytes: *rng.pick(&[1, HEAD_BYTES_MAX, 3_000]),
        message_bytes_max: around(rng, MESSAGE_BYTES_MAX),
        deflated_bytes_max: *rng.pick(&[0, 1_000, 1 << 20]),
        deflated_bytes_min: *rng.pick(&[0, 64]),
        write_buffer_max: write_buffer_high.max(*rng.pick(&[500, 3_000, 1 << 20])),
        slow_member: *rng.pick(&[SlowMember::Drop, SlowMember::Close]),
        room_messages_max: *rng.pick(&[0, 2, 64]),
        room_bytes_max: *rng.pick(&[0, 300, 64 << 10]),
        empty_rooms_max: *rng.pick(&[0, 1, 256]),
        effects_max: *rng.pick(&[1, 3, 1_024]),
        effects_bytes_max: *rng.pick(&[1, 1_000, 1 << 20]),
        deliveries_per_flush: *rng.pick(&[1, 3, 10_000]),
        turn_work: *rng.pick(&[1, 20, 300, 10_000]),
        connection_work: *rng.pick(&[1, 10, 256]),
        connections_max: *rng.pick(&[1, 3, 100, 100, 100, 100]),
        eviction_idle_time: *rng.pick(&[Duration::ZERO, PAUSE / 4, PATIENCE]),
        turnover_time: *rng.pick(&[Duration::from_millis(1), PAUSE]),
        newcomer_time: rng.time(PAUSE, 2 * PATIENCE),
        memory_bytes_max: *rng.pick(&[0, 2_000, 1 << 20]),
        write_buffer_high,
        turn_bytes: *rng.pick(&[20, 150, 1_000, 20_000]),
        turn_rounds: *rng.pick(&[1, 2, 8]),
        turn_steps: *rng.pick(&[1, 3, 10, 64]),
        accepts_per_turn: *rng.pick(&[1, 2, 64]),
        accept_pause: rng.time(ACCEPT_PAUSE_MAX / 20, ACCEPT_PAUSE_MAX),
        head_time: deadline(rng),
        idle_time: deadline(rng),
        stall_time: deadline(rng),
        ping_time: deadline(rng),
        pong_time: deadline(rng),
        linger_idle_time: deadline(rng),
        linger_time: rng.time(4 * PATIENCE, 6 * PATIENCE),
        linger_bytes_max: around(rng, LINGER_BYTES_MAX),
        stop_time: rng.time(6 * PATIENCE, 8 * PATIENCE),
        // A small file is read in one piece, so an edit in place cannot make a mixed answer.
        cached_file_bytes_max: *rng.pick(&[200, 1_000, 10_000]),
        // An open file counts as 256 KiB.
        cache_bytes_max: *rng.pick(&[0, 3_000, 20_000, 1 << 20]),
        unused_file_time: deadline(rng),
        encoders_max: *rng.pick(&[0, 1, 4]),
        encoded_file_bytes_max: *rng.pick(&[1_500, 1 << 20]),
        // The head of a list says whether it was made at once, so this does not depend on the weather.
        listed_at_once: LISTED_AT_ONCE,
        log_bytes_max: 0,
        test_time_max: PATIENCE - PAUSE / 2,
        test_bytes_max: TEST_BYTES_MAX,
        test_waiting_max: 1_000,
        // There is no proxy in this world.
        ..Limits::default()
    }
}
