//! Floor 3, connection: the refusal of a request as a value: the status, a sentence for the author
//! of the request, and the cause for which the connection ends after the answer.

use std::error::Error;
use std::fmt;

use super::Cause;
use crate::http::{BodyError, HeadError, Status};

/// The refusal of a request. Bytes after the request are refused too, because the connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    /// The status of the answer.
    pub status: Status,
    /// One sentence without a full stop: the error, or the missing part.
    pub sentence: &'static str,
    /// The cause with which the connection ends.
    pub cause: Cause,
}

impl Refusal {
    /// Refuses a peer that sends a request head or a body too slowly, with 408.
    pub(super) fn late(sentence: &'static str) -> Refusal {
        Refusal {
            status: Status::RequestTimeout,
            sentence,
            cause: Cause::Late,
        }
    }

    /// Refuses a request because the server lacks memory or connections for the moment, with 503.
    pub(super) fn overloaded(sentence: &'static str) -> Refusal {
        Refusal {
            status: Status::ServiceUnavailable,
            sentence,
            cause: Cause::Overloaded,
        }
    }

    /// Refuses a request that breaks a rule or exceeds a limit.
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
