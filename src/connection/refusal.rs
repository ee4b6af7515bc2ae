//! Floor 4, connection: the refusal of a request, in one value: the status, a sentence for the author of
//! the request, and the cause for which the connection ends with the answer.

use std::error::Error;
use std::fmt;

use super::Cause;
use crate::http::{BodyError, HeadError, Status};

/// A request that is refused, and with it all that the peer sends after the request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    /// The status of the answer.
    pub status: Status,
    /// One sentence without a full stop: what is wrong, or missing.
    pub sentence: &'static str,
    /// Why the connection ends.
    pub cause: Cause,
}

impl Refusal {
    /// The peer sends a request head or body too slowly.
    pub(super) fn late(sentence: &'static str) -> Refusal {
        Refusal {
            status: Status::RequestTimeout,
            sentence,
            cause: Cause::Late,
        }
    }

    /// The server lacks memory or connections for the moment.
    pub(super) fn overloaded(sentence: &'static str) -> Refusal {
        Refusal {
            status: Status::ServiceUnavailable,
            sentence,
            cause: Cause::Overloaded,
        }
    }

    /// The request breaks a rule, or a bound.
    pub(super) fn of_request(status: Status, sentence: &'static str) -> Refusal {
        Refusal {
            status,
            sentence,
            cause: Cause::Refused,
        }
    }
}

impl From<HeadError> for Refusal {
    fn from(error: HeadError) -> Refusal {
        Refusal::of_request(error.status(), error.sentence())
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Refusal {
        Refusal::of_request(error.status(), error.sentence())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refusal {
            status, sentence, ..
        } = self;
        write!(f, "{} {}: {sentence}", status.code(), status.reason())
    }
}

impl Error for Refusal {}
