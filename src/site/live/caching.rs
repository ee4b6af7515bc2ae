//! Floor 2, site: how long a browser may keep files while live reload is on. A file that may be kept for some
//! time is used without a question, also when the browser loads a page again: the page would have the file
//! from before the edit. So browsers are told to ask each time, whatever flags and rules say. Other clients
//! get the field without a change.

use std::mem;

use super::Live;
use crate::http::{Change, edit_head, field_values};
use crate::site::{Files, Reply, Site};

/// The field that browsers get instead.
pub(in crate::site) const ASK: Change<'static> = Change::Set("Cache-Control", "no-cache");

/// Whether a value of `Cache-Control` lets a browser use the answer without a question.
pub(in crate::site) fn lets_reuse(value: &[u8]) -> bool {
    let mut members = value.split(|b| *b == b',').map(<[u8]>::trim_ascii);
    !members.any(|member| {
        let asks = [&b"no-store"[..], b"no-cache"];
        asks.iter().any(|ask| member.eq_ignore_ascii_case(ask))
    })
}

impl<F: Files> Site<F> {
    /// Tells the browser to ask each time before it uses the answer again.
    #[cold]
    #[inline(never)]
    pub(in crate::site) fn let_browser_ask(&mut self, reply: &mut Reply<F::File>) {
        let mut values = field_values(&reply.head, "Cache-Control");
        let may_reuse = match values.next() {
            Some(value) => lets_reuse(value) && values.all(lets_reuse),
            // A browser guesses a time from the date of the file (RFC 9111 §4.2.2).
            None => field_values(&reply.head, "Last-Modified").next().is_some(),
        };
        drop(values);
        if may_reuse {
            if let Some(live) = &mut self.live {
                live.tell_of_caching(&reply.head);
            }
            reply.head = edit_head(&reply.head, [ASK].into_iter()).into();
        }
    }
}

impl Live {
    /// Warns once that a field is not sent to browsers as it was asked for.
    pub(super) fn tell_of_caching(&mut self, head: &[u8]) {
        if let Some(value) = field_values(head, "Cache-Control").find(|value| lets_reuse(value))
            && !mem::replace(&mut self.is_caching_told, true)
        {
            self.warnings.push(format!(
                "live reload: browsers are sent `Cache-Control: no-cache`, and not `{}`",
                value.escape_ascii()
            ));
        }
    }
}
