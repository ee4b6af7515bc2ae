//! The real program over real sockets. These tests cover the parts that the simulation replaces,
//! the kernel above all. Each test starts a process of its own, on a port that the kernel chooses; the
//! tests of [`library`] start a thread instead.
//!
//! No test sleeps or measures time. Where two events must overlap, the test delays one until it has
//! seen the other.

mod activation;
mod browser;
mod chromium;
mod codings;
mod conditions;
mod curl;
mod files;
mod guard;
mod harness;
#[cfg(feature = "tls")]
mod https;
mod inspector;
mod inspector_page;
mod kernel;
mod keys;
mod lan;
mod library;
mod live;
mod live_client;
mod live_pages;
mod local;
mod log;
mod metrics;
mod pages;
mod peer;
mod policy;
mod pressure;
mod program;
mod proxy;
mod refusals;
mod report;
mod rooms;
mod rules;
mod scarcity;
mod site;
mod stop;
mod streams;
mod tcp;
mod test_endpoints;
#[cfg(feature = "recorder")]
mod trace;
mod websocket;
