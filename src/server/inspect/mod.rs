//! Floor 4, server: the inspector, which shows the loop while it runs, at `/_oneloop/`.
//!
//! A watcher has a WebSocket connection to `/_oneloop/watch`. It gets *snapshots*: the state as it is, at most
//! ten times a second, and never a difference from the snapshot before. So a snapshot can be left out. It is,
//! while the watcher has not taken the last one, and the next snapshot says how many were. A snapshot shows a
//! bounded number of slots, and is charged to the turn.
//!
//! Without a watcher, nothing here wakes the loop or costs a turn more than a look at a flag.
//!
//! The connections of watchers are not counted among the open ones, because the watcher wants to see the
//! server as it is otherwise. The bytes and the turns that watching costs are counted: they are part of the
//! truth.
//!
//! With controls (`--inspect=control`), a watcher may pause the loop: [`gate`].

pub(super) mod download;
mod frame;
mod gate;
mod table;
pub(super) mod watchers;

use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::endpoints::{Inspector, PageFile, RingEndpoint, ToThePage, WatchEndpoint, is_target};
use super::{Driver, Server, get};
use crate::config;
use crate::connection::{Answer, Key, Message};
use crate::site::Files;
use crate::transport::Transport;
use download::Download;
use gate::{Gate, Motion};
use watchers::{Control, Question, SharedWatchers};

/// The state of the inspector.
pub(super) struct Inspect {
    watchers: SharedWatchers,
    /// The first message to a watcher, which does not change.
    hello: Rc<Value>,
    gate: Gate,
    /// The watcher that has asked last for a pause, a step or slow motion.
    holder: Option<Key>,
    /// The turn that a watcher has blocked last, and its end.
    blocked: Option<Blocked>,
    /// When there is something to do without any event.
    due: Option<Instant>,
}

/// A turn that was blocked on purpose.
struct Blocked {
    turn: u64,
    /// The nanoseconds that the turn took, and the number of events that the next wait returned.
    found: Option<(u64, u64)>,
}

impl Inspect {
    /// The least time between two snapshots for a watcher.
    const PERIOD: Duration = Duration::from_millis(100);

    /// How long a watcher may block the loop.
    const BLOCK: Duration = Duration::from_secs(2);

    /// The work of a snapshot without its slots, and of as many slots as it may have.
    const FRAME_WORK: u32 = 100;
    const SLOTS_WORK: u32 = 250;

    /// The work of copying the flight recorder.
    const COPY_WORK: u32 = 128;

    /// When there is something to do without any event, by the driver's clock.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }
}

impl<D, F> Server<D, F>
where
    D: Driver,
    F: Files<File = <D::Stream as Transport>::File>,
{
    /// Shows the loop at `/_oneloop/` to `audience`. `instance` is the name of this run of the server, which
    /// no other run has.
    #[must_use]
    pub fn with_inspector(self, audience: config::Inspect, instance: u64) -> Self {
        if audience == config::Inspect::Off {
            return self;
        }
        let watchers = SharedWatchers::default();
        let has_control = audience == config::Inspect::Control;
        let hello = frame::hello(&self.turn.limits, instance, has_control);
        let hello = Rc::new(hello);
        let now = self.driver.now().instant;
        let mut server = self
            .with_endpoint("/_oneloop", ToThePage)
            .with_endpoint("/_oneloop/", Inspector::page(audience, &watchers))
            .with_endpoint(
                "/_oneloop/status.json",
                Inspector::status(audience, &watchers),
            )
            .with_endpoint("/_oneloop/report", Inspector::report(audience, &watchers))
            .with_endpoint("/_oneloop/ring", RingEndpoint::new(audience, &watchers))
            .with_endpoint(
                "/_oneloop/watch",
                WatchEndpoint::new(audience, &watchers, &hello),
            );
        for (path, file) in PageFile::all(audience) {
            server = server.with_endpoint(path, file);
        }
        server.inspect = Some(Box::new(Inspect {
            watchers,
            hello,
            gate: Gate::new(now),
            holder: None,
            blocked: None,
            due: None,
        }));
        server
    }

    /// Carries out the wishes of watchers and other clients of the inspector, and sends the snapshots that
    /// are due, as far as the turn has time.
    pub(super) fn serve_watchers(&mut self) {
        let now = self.clock.read();
        let is_idle = |inspect: &Inspect| {
            inspect.due.is_none_or(|at| at > now) && !inspect.watchers.borrow().has_news()
        };
        if !self.inspect.as_ref().is_none_or(|inspect| is_idle(inspect)) {
            self.serve_news(now);
        }
    }

    /// Serves the watchers. A function of its own, because nearly every turn has nothing for them.
    #[inline(never)]
    fn serve_news(&mut self, now: Instant) {
        // Moved out for the call, because the whole server is looked at meanwhile.
        if let Some(mut inspect) = self.inspect.take() {
            self.work.begin_part();
            inspect.watchers.borrow_mut().looked();
            self.do_controls(&mut inspect);
            // The snapshots first: they are few, and questions may be many.
            self.send_snapshots(&mut inspect);
            self.work.begin_part();
            self.answer_questions(&mut inspect);
            let watchers = inspect.watchers.borrow();
            let snapshots = watchers
                .open
                .values()
                .map(|watcher| watcher.next_at.unwrap_or(now));
            let held = self.runnable.held.iter().any(|queue| !queue.is_empty());
            let gate = inspect.gate.next(now).filter(|_| held);
            let has_more = watchers.has_questions() || watchers.has_controls();
            let at_once = has_more.then_some(now);
            let due = snapshots.chain(gate).chain(at_once).min();
            drop(watchers);
            inspect.due = due;
            self.inspect = Some(inspect);
        }
    }

    /// Lets the loop move as watchers have asked. When the watcher that has asked last leaves, or takes no
    /// snapshot for long, the loop runs.
    fn do_controls(&mut self, inspect: &mut Inspect) {
        if let Some(blocked) = &mut inspect.blocked
            && blocked.found.is_none()
            && blocked.turn < self.tally.counters.turns
        {
            blocked.found = Some(self.pace.last_turn());
        }
        if self.turn.stopping {
            inspect.watchers.borrow_mut().forget_controls();
        }
        loop {
            let next = inspect.watchers.borrow_mut().next_control();
            let control = next.map(|(owner, control)| {
                if control != Control::Block {
                    inspect.holder = Some(owner);
                }
                control
            });
            let gate = &mut inspect.gate;
            match control {
                Some(Control::Pause) => self.move_on(gate, Motion::Paused),
                Some(Control::Run) => self.move_on(gate, Motion::Run),
                Some(Control::Slow) => self.move_on(gate, Motion::Slow),
                Some(Control::Step) => {
                    gate.step();
                    self.let_go();
                }
                Some(Control::Block) => {
                    self.driver.block(Inspect::BLOCK);
                    self.pace.leave_out_turn();
                    inspect.blocked = Some(Blocked {
                        turn: self.tally.counters.turns,
                        found: None,
                    });
                    // One for each turn.
                    break;
                }
                None => break,
            }
        }
        // A loop must not stand still without a watcher that can let it go.
        let is_held = |holder| inspect.watchers.borrow().is_watching(holder);
        if !inspect.holder.is_some_and(is_held) && inspect.gate.motion() != Motion::Run {
            self.move_on(&mut inspect.gate, Motion::Run);
        }
    }

    /// Answers the requests for a snapshot or for the flight recorder.
    fn answer_questions(&mut self, inspect: &mut Inspect) {
        while self.work.is_left() && !self.shared.effects.is_full(&self.turn.limits) {
            let question = inspect.watchers.borrow_mut().next_question();
            let Some((request, question)) = question else {
                return;
            };
            let answer = match question {
                Question::Status(view) => Answer::json(self.status(inspect, view)),
                Question::Table(view) => Answer::text(self.table(inspect, view)),
                Question::Report => Answer::text(self.report()),
                Question::Percentiles(times) => Answer::text(self.percentiles(times)),
                Question::Ring => {
                    let download = Download::new(&self.tally.ring);
                    let mut watchers = inspect.watchers.borrow_mut();
                    watchers.downloads.insert(request, download);
                    self.work.spend(Inspect::COPY_WORK);
                    Answer::stream("application/jsonl")
                }
            };
            self.work.spend(Inspect::FRAME_WORK + Inspect::SLOTS_WORK);
            let mut hub = self.shared.hub(&self.turn, &self.tally.counters);
            if hub.answer(request, answer).is_err() {
                inspect.watchers.borrow_mut().forget(request);
            }
        }
    }

    /// Sends the snapshots that are due.
    fn send_snapshots(&mut self, inspect: &mut Inspect) {
        let now = self.clock.read();
        let shared = Rc::clone(&inspect.watchers);
        let watchers = &mut *shared.borrow_mut();
        let longest = self.pace.take_longest();
        for watcher in watchers.open.values_mut() {
            watcher.longest = watcher.longest.max(longest);
        }
        let count = watchers.open.len();
        let mut common = None;
        for (key, watcher) in &mut watchers.open {
            if watcher.next_at.is_some_and(|at| at > now) {
                continue;
            }
            if !self.work.is_left() || self.shared.effects.is_full(&self.turn.limits) {
                return;
            }
            watcher.next_at = Some(now + Inspect::PERIOD);
            let slot = get(&mut self.connections, *key);
            if slot.is_some_and(|slot| slot.connection.owes_answer()) {
                // The last snapshot has not left yet.
                watcher.skipped += 1;
                watcher.in_a_row = watcher.in_a_row.saturating_add(1);
                self.work.spend(1);
                continue;
            }
            let common = common.get_or_insert_with(|| self.common(inspect, count));
            let lists = common.lists.len();
            // A few microseconds, ten times a second at most.
            let kernel = watcher.picked.and_then(|picked| self.kernel_of(picked));
            let text = self.snapshot(common, watcher, kernel);
            (watcher.told, watcher.longest, watcher.in_a_row) = (common.totals, 0, 0);
            let new_lists = (common.lists.len() - lists) as u32;
            let work = Inspect::FRAME_WORK + Inspect::SLOTS_WORK * new_lists;
            self.work.spend(work);
            let mut hub = self.shared.hub(&self.turn, &self.tally.counters);
            hub.send_each(vec![*key], Message::Text(&text));
        }
    }
}
