//! Floor 3, connection: the mode that waits for the answer of an endpoint to a whole request.

use super::pending_response::PendingResponse;
use super::{Mode, Wanted, Wants};
use crate::connection::{Cause, Context, Input};
use crate::site::{Files, Reply};

/// An endpoint has the request, and will answer.
#[derive(Debug)]
pub(crate) struct AwaitingEndpoint {
    pending: Box<PendingResponse>,
}

/// The way in.
impl AwaitingEndpoint {
    pub(super) fn after(pending: PendingResponse) -> AwaitingEndpoint {
        AwaitingEndpoint {
            pending: Box::new(pending),
        }
    }
}

impl AwaitingEndpoint {
    pub(super) fn endpoint_answered<S: Files>(
        self,
        reply: Reply<S::File>,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        self.pending.answer(reply, Cause::LastAnswer, input, cx)
    }

    pub(super) fn wants(&self) -> Wants {
        Wants {
            input: Wanted::Never,
            fin: false,
            end_when_sent: false,
            idle_since: None,
        }
    }

    pub(super) fn abandon<S: Files>(self, cx: &mut Context<'_, S>) {
        self.pending.abandon(cx);
    }
}
