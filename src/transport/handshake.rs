//! Floor 1, transport: the reason why a handshake has failed, in words for the log.

use std::borrow::Cow;
use std::fmt;
use std::io;

/// A transport below HTTP has failed before the first byte of HTTP. The value travels inside an
/// [`io::Error`], whose kind is what programs act on; the words are for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FailedHandshake {
    /// The reason, without a byte that the peer has chosen.
    pub reason: Cow<'static, str>,
    /// Whether the peer does not accept the certificate.
    pub is_distrust: bool,
}

impl FailedHandshake {
    /// A failure for this reason.
    pub fn new(reason: impl Into<Cow<'static, str>>) -> FailedHandshake {
        FailedHandshake {
            reason: reason.into(),
            is_distrust: false,
        }
    }

    /// Finds the failure inside an error of a read or a write.
    pub(crate) fn of(error: &io::Error) -> Option<&FailedHandshake> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<FailedHandshake> for io::Error {
    fn from(failed: FailedHandshake) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, failed)
    }
}

impl fmt::Display for FailedHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for FailedHandshake {}
