//! Floor 4, server: the [`Handle`], by which other threads of the program reach the loop.
//!
//! The loop sleeps in `epoll_wait`, and a message in a queue alone would not wake it. So each job is
//! queued first, and then the driver wakes the loop, by a descriptor that the poll watches (eventfd(2)).
//! The loop takes the jobs in the part of the turn that delivers.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::{Driver, Server, Waker};
use crate::connection::{Audience, Effect, Hub, Message, PlainFrame};
use crate::site::Files;
use crate::transport::Transport;

/// The way to a running server from any thread. Each method returns at once; the loop does the rest.
///
/// A thread of your own may block, and the loop must not. So work that takes long, such as a query of a
/// database, belongs to a thread that comes back with the result:
///
/// ```no_run
/// # use oneloop::{Config, Message, Server};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut bound = Server::bind(&Config::new("www"))?;
/// let handle = bound.handle()?;
/// std::thread::spawn(move || {
///     for line in std::io::stdin().lines().map_while(Result::ok) {
///         let _ = handle.publish("news", Message::Text(&line));
///     }
///     let _ = handle.stop();
/// });
/// bound.run()?;
/// # Ok(())
/// # }
/// ```
///
/// The queue of jobs is not bounded: a thread that publishes faster than the loop delivers should
/// wait for the answer to a [`run`](Handle::run) now and then.
#[derive(Clone)]
pub struct Handle {
    jobs: Sender<Job>,
    waker: Waker,
}

/// The server has stopped, and does nothing more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server has stopped")
    }
}

impl Error for Stopped {}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl Handle {
    /// Sends a message to every member of a room, as [`Hub::publish`] does.
    ///
    /// # Errors
    /// [`Stopped`].
    pub fn publish(&self, room: &str, message: Message<'_>) -> Result<(), Stopped> {
        self.send(Job::Publish(room.into(), PlainFrame::new(message)))
    }

    /// Begins to stop the server, as the first SIGTERM does: the answers in flight are finished, and then
    /// [`Server::run`] returns.
    ///
    /// # Errors
    /// [`Stopped`].
    pub fn stop(&self) -> Result<(), Stopped> {
        self.send(Job::Stop)
    }

    /// Calls `job` on the thread of the loop, where all of the [`Hub`] is at hand. There `job` must
    /// return soon, as the methods of an endpoint must.
    ///
    /// # Errors
    /// [`Stopped`]. A server that stops between the call and the job drops the job.
    pub fn run(&self, job: impl FnOnce(&mut Hub<'_>) + Send + 'static) -> Result<(), Stopped> {
        self.send(Job::Run(Box::new(job)))
    }

    fn send(&self, job: Job) -> Result<(), Stopped> {
        self.jobs.send(job).map_err(|_| Stopped)?;
        (self.waker)();
        Ok(())
    }
}

/// A job of another thread for the loop.
enum Job {
    Publish(Box<str>, PlainFrame),
    Stop,
    Run(Box<dyn FnOnce(&mut Hub<'_>) + Send>),
}

/// The server's end of the handles.
pub(super) struct Jobs {
    /// Kept for further handles.
    handle: Handle,
    queue: Receiver<Job>,
    /// Whether a job may be in the queue.
    are_waiting: bool,
}

impl Jobs {
    /// The loop was woken.
    pub fn note(&mut self) {
        self.are_waiting = true;
    }

    /// Whether a job may be in the queue.
    pub fn are_waiting(&self) -> bool {
        self.are_waiting
    }

    fn next(&mut self) -> Option<Job> {
        // In this order: a job that comes between the two lines wakes the loop again.
        let job = self.queue.try_recv().ok();
        self.are_waiting = job.is_some();
        job
    }
}

impl<D, F> Server<D, F>
where
    D: Driver,
    F: Files<File = <D::Stream as Transport>::File>,
{
    /// Returns the way to this server from other threads.
    ///
    /// # Errors
    /// The errors of [`Driver::waker`].
    pub fn handle(&mut self) -> io::Result<Handle> {
        if let Some(jobs) = &self.jobs {
            return Ok(jobs.handle.clone());
        }
        let waker = self.driver.waker()?;
        let (jobs, queue) = channel();
        let handle = Handle { jobs, waker };
        self.jobs = Some(Jobs {
            handle: handle.clone(),
            queue,
            are_waiting: false,
        });
        Ok(handle)
    }

    /// Does the jobs of other threads, as far as the turn has time and the queue of effects has space.
    pub(super) fn do_jobs(&mut self) {
        while self.work.is_left()
            && !self.shared.effects.is_full(&self.turn.limits)
            && let Some(jobs) = self.jobs.as_mut().filter(|jobs| jobs.are_waiting())
            && let Some(job) = jobs.next()
        {
            self.work.spend(1);
            match job {
                Job::Publish(room, frame) => {
                    let to = Audience::Room(room);
                    self.shared.effects.push(Effect::Publish { to, frame });
                }
                Job::Stop if self.stop_at.is_none() => self.stop(),
                Job::Stop => {}
                Job::Run(job) => {
                    let counters = &self.tally.counters;
                    job(&mut self.shared.hub(&self.turn, counters));
                }
            }
        }
    }
}
