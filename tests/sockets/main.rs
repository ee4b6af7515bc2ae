//! The real program over real sockets: what the simulation cannot know, because it stands in for
//! the kernel. One process for each test, on whatever port the kernel gives it.
//!
//! Nothing here sleeps or measures time. Where two things must overlap, one of them is held up
//! until the other has been seen.

#![forbid(unsafe_code)]

mod browser;
mod codings;
mod conditions;
mod curl;
mod files;
mod guard;
mod harness;
mod log;
mod peer;
mod pressure;
mod program;
mod refusals;
mod rooms;
mod scarcity;
mod stop;
mod streams;
mod tcp;
mod websocket;
