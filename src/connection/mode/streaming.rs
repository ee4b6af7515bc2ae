//! Floor 4, connection: sending a large body.

use std::rc::Rc;

use super::{Lingering, Mode, Reading, Step};
use crate::connection::{Cause, Context, Exchange, Input};
use crate::http::Persistence;
use crate::site::Files;

/// Sending a file. It goes to the outbox slice by slice, each only when there is room.
#[derive(Debug)]
pub struct Streaming<F> {
    file: Rc<F>,
    /// Offset of the next slice.
    at: u64,
    end: u64,
    persistence: Persistence,
    /// To be logged at the end.
    exchange: Option<Box<Exchange>>,
}

/// The way in.
impl<F> Streaming<F> {
    /// The head of the answer was queued; the body follows.
    pub(super) fn after(
        file: Rc<F>,
        len: u64,
        persistence: Persistence,
        exchange: Option<Box<Exchange>>,
    ) -> Streaming<F> {
        Streaming {
            file,
            at: 0,
            end: len,
            persistence,
            exchange,
        }
    }
}

impl<F> Streaming<F> {
    pub(super) fn step<S>(mut self, input: &mut Input<'_, F>, cx: &mut Context<'_, S>) -> Step<F>
    where
        S: Files<File = F>,
    {
        if self.at < self.end {
            if !input.outbox.has_room(cx.limits.outbox_high) {
                return Step::Still(Mode::Streaming(self));
            }
            let len = (self.end - self.at).min(cx.limits.turn_bytes as u64);
            input.outbox.push_file(Rc::clone(&self.file), self.at, len);
            self.at += len;
            return Step::Moved(Mode::Streaming(self));
        }
        // It ends when the last byte has left, so that the log tells the truth about it.
        if !input.outbox.is_empty() {
            return Step::Still(Mode::Streaming(self));
        }
        if let Some(exchange) = self.exchange {
            cx.log_exchange(*exchange);
        }
        let now = cx.now.instant;
        Step::Moved(match self.persistence {
            Persistence::KeepAlive => Mode::Reading(Reading::next(now)),
            Persistence::Close => Mode::Lingering(Lingering::after(Cause::LastAnswer, false, now)),
        })
    }

    /// The connection failed with `unsent` bytes in the outbox.
    pub(super) fn abandon<S>(self, unsent: u64, cx: &mut Context<'_, S>)
    where
        S: Files<File = F>,
    {
        if let Some(mut exchange) = self.exchange {
            exchange.body_bytes = self.at.saturating_sub(unsent);
            exchange.complete = false;
            cx.log_exchange(*exchange);
        }
    }
}
