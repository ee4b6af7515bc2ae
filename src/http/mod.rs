//! Floor 1, http: HTTP/1.1 as RFC 9110 and RFC 9112 describe it, and nothing else.
//!
//! The codecs here are pure functions and small state machines: bytes go in, values come out. They
//! use no clock, no socket and no disk. A peer cannot make an allocation grow: each allocation is
//! bounded by the limits of a head or by a constant.
//!
//! Architecture invariant: nothing here names `transport`, `websocket`, `site`, `connection` or
//! `server`, and nothing here names `mio` or `rustix`.

mod authority;
mod body;
mod classes;
mod conditional;
mod edit;
mod error;
mod field;
mod field_lines;
mod negotiation;
mod parser;
mod range;
mod request;
mod response;
mod status;
mod target;

pub use authority::Authority;
pub use body::{BodyDecoder, BodyError, BodyPart};
pub use conditional::{EntityTag, Precondition, Validators, precondition, whole_seconds};
pub use edit::{Change, edit_head, field_values, fixed_field, is_field_name, is_field_value};
pub use error::RefusedLine;
pub use field::Field;
pub use field_lines::FieldLines;
pub use negotiation::{Acceptable, Coding, Form};
#[cfg(test)]
pub(crate) use parser::parsed;
pub use parser::{HeadError, HeadLimits, HeadParser, Parsed};
pub use parser::{ReceivedHead, ResponseBody, ResponseError, ResponseParser};
pub use range::{ByteRange, Ranges};
pub use request::{Expectation, Framing, Head, Members, Method, RequestHead, Values, Version};
pub use response::{HttpDate, Persistence, ResponseHead, finish_head};
pub use status::{OtherStatus, Status};
pub use target::{PathError, Scheme, SitePath, Target};
