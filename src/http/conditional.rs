//! Floor 1, http: validators and conditional requests (RFC 9110 §8.8 and §13).
//!
//! ```text
//! entity-tag    = [ "W/" ] DQUOTE *etagc DQUOTE
//! etagc         = %x21 / %x23-7E / obs-text
//! If-Match      = "*" / #entity-tag
//! If-None-Match = "*" / #entity-tag
//! If-Range      = entity-tag / HTTP-date
//! ```
//!
//! A list with anything in it that is no entity tag keeps the tags before it: a precondition is
//! never made to hold by garbage, and If-None-Match with garbage at worst sends what could have been
//! spared.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Field, Method, RequestHead};

/// An entity tag as it is sent, with its quotes and, if it is weak, with `W/` before them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EntityTag {
    text: Box<str>,
}

impl EntityTag {
    /// A tag of `opaque`, which must consist of characters that may stand in one.
    pub fn new(opaque: &str, weak: bool) -> EntityTag {
        debug_assert!(opaque.bytes().all(|b| b.is_ascii_graphic() && b != b'"'));
        let prefix = if weak { "W/" } else { "" };
        EntityTag {
            text: format!("{prefix}\"{opaque}\"").into(),
        }
    }

    /// As it is sent.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it may change without being changed: no base for ranges or for If-Match.
    pub fn is_weak(&self) -> bool {
        self.text.starts_with("W/")
    }

    /// Strong comparison (§8.8.3.2): equal, and neither is weak.
    fn is_strongly(&self, other: &[u8]) -> bool {
        !self.is_weak() && self.text.as_bytes() == other
    }

    /// Weak comparison: equal but for the weakness of either.
    fn is_weakly(&self, other: &[u8]) -> bool {
        fn opaque(tag: &[u8]) -> &[u8] {
            tag.strip_prefix(b"W/").unwrap_or(tag)
        }
        opaque(self.text.as_bytes()) == opaque(other)
    }
}

/// What a representation can be recognised by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Validators {
    /// Its entity tag.
    pub tag: EntityTag,
    /// Its `Last-Modified`, in whole seconds, as it is sent.
    pub modified: SystemTime,
}

/// What the preconditions of a request come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Precondition {
    /// Answer as if there were none. `ranges` says whether a Range field counts.
    Holds {
        /// If-Range is absent or holds.
        ranges: bool,
    },
    /// 304: the client has this representation.
    NotModified,
    /// 412.
    Failed,
}

/// Evaluates the preconditions of a request in the order of §13.2.2, for a representation that
/// exists. Times have a resolution of one second.
pub fn precondition(request: &RequestHead<'_>, validators: &Validators) -> Precondition {
    const CONDITIONS: [Field; 5] = [
        Field::IfMatch,
        Field::IfUnmodifiedSince,
        Field::IfNoneMatch,
        Field::IfModifiedSince,
        Field::IfRange,
    ];
    if !request.has_any(&CONDITIONS) {
        return Precondition::Holds { ranges: true };
    }
    let read = matches!(request.method(), Method::Get | Method::Head);
    if request.value(Field::IfMatch).is_some() {
        let matches = any_tag(request, Field::IfMatch, |tag| {
            validators.tag.is_strongly(tag)
        });
        if !matches {
            return Precondition::Failed;
        }
    } else if let Some(since) = date(request, Field::IfUnmodifiedSince)
        && validators.modified > since
    {
        return Precondition::Failed;
    }
    if request.value(Field::IfNoneMatch).is_some() {
        let matches = any_tag(request, Field::IfNoneMatch, |tag| {
            validators.tag.is_weakly(tag)
        });
        match (matches, read) {
            (true, true) => return Precondition::NotModified,
            (true, false) => return Precondition::Failed,
            (false, _) => {}
        }
    } else if let Some(since) = date(request, Field::IfModifiedSince)
        && read
        && validators.modified <= since
    {
        return Precondition::NotModified;
    }
    Precondition::Holds {
        ranges: if_range(request, validators),
    }
}

/// Whether the Range field counts (§13.1.5): with a tag only if that is strong and the same, with a
/// date only if it is exactly ours.
fn if_range(request: &RequestHead<'_>, validators: &Validators) -> bool {
    let mut values = request.values(Field::IfRange);
    match (values.next(), values.next()) {
        (None, _) => true,
        (Some(value), None) if value.contains(&b'"') => validators.tag.is_strongly(value),
        // A date is a strong validator only if the file did not change twice in that second
        // (§8.8.2.2). Where that could be happening now, the tag is weak; of a second long past
        // nobody knows. Clients that keep the tag they are sent never rely on it.
        (Some(value), None) => {
            !validators.tag.is_weak() && parse_date(value) == Some(validators.modified)
        }
        (Some(_), Some(_)) => false,
    }
}

/// Whether the field is `*` or has a tag for which `matches` holds.
fn any_tag(request: &RequestHead<'_>, field: Field, matches: impl Fn(&[u8]) -> bool) -> bool {
    request.values(field).any(|value| {
        let mut rest = value;
        value == b"*" || std::iter::from_fn(|| next_tag(&mut rest)).any(&matches)
    })
}

/// Takes the next entity tag off the front of a list. Commas may stand in a tag, so the list cannot
/// be split at them.
fn next_tag<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let start = rest
        .iter()
        .position(|b| !matches!(b, b' ' | b'\t' | b','))?;
    let list = &rest[start..];
    let open = list.iter().position(|b| *b == b'"')?;
    if !matches!(&list[..open], b"" | b"W/") {
        return None;
    }
    let close = open + 1 + list[open + 1..].iter().position(|b| *b == b'"')?;
    *rest = &list[close + 1..];
    let ends = rest
        .first()
        .is_none_or(|b| matches!(b, b' ' | b'\t' | b','));
    ends.then_some(&list[..=close])
}

/// A field that is one date. Anything else counts as no field (§13.1.3, §13.1.4).
fn date(request: &RequestHead<'_>, field: Field) -> Option<SystemTime> {
    let mut values = request.values(field);
    match (values.next(), values.next()) {
        (Some(value), None) => parse_date(value),
        _ => None,
    }
}

/// An HTTP-date in any of its three forms (§5.6.7).
fn parse_date(value: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(str::from_utf8(value).ok()?).ok()
}

/// `time` without its fraction of a second, as dates are sent; the epoch for one before it.
pub fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::super::parsed;
    use super::*;

    /// 784111777 is `Sun, 06 Nov 1994 08:49:37 GMT`, the RFC's own example.
    fn validators(weak: bool) -> Validators {
        Validators {
            tag: EntityTag::new("a,b", weak),
            modified: UNIX_EPOCH + Duration::from_secs(784_111_777),
        }
    }

    const HOLDS: Precondition = Precondition::Holds { ranges: true };

    fn check(validators: &Validators, method: &str, fields: &str, expected: Precondition) {
        let text = format!("{method} / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n");
        let head = parsed(&text);
        let request = RequestHead::new(&head, text.as_bytes());
        assert_eq!(precondition(&request, validators), expected, "{text}");
    }

    #[test]
    fn tags_are_compared_strongly_for_if_match_and_weakly_for_if_none_match() {
        use Precondition::{Failed, NotModified};
        for (fields, expected) in [
            ("X: y", HOLDS),
            ("If-Match: \"a,b\"", HOLDS),
            ("If-Match: \"x\", \"a,b\"", HOLDS),
            ("If-Match: \"x\"\r\nIf-Match: \"a,b\"", HOLDS),
            ("If-Match: *", HOLDS),
            ("If-Match: W/\"a,b\"", Failed),
            ("If-Match: \"a\"", Failed),
            ("If-Match: a,b", Failed),
            ("If-Match:", Failed),
            ("If-None-Match: \"a,b\"", NotModified),
            ("If-None-Match: W/\"a,b\"", NotModified),
            ("If-None-Match: \"x\",, \"a,b\"", NotModified),
            ("If-None-Match: *", NotModified),
            ("If-None-Match: \"x\"", HOLDS),
            ("If-None-Match: \"a,b", HOLDS),
            ("If-None-Match: x\"a,b\"", HOLDS),
            ("If-None-Match: \"a,b\"x", HOLDS),
            ("If-None-Match: w/\"a,b\"", HOLDS),
        ] {
            check(&validators(false), "GET", fields, expected);
        }
        check(&validators(true), "GET", "If-Match: W/\"a,b\"", Failed);
        check(
            &validators(true),
            "GET",
            "If-None-Match: \"a,b\"",
            NotModified,
        );
        check(&validators(false), "PUT", "If-None-Match: *", Failed);
    }

    #[test]
    fn dates_come_in_three_forms_and_bad_ones_do_not_count() {
        use Precondition::{Failed, NotModified};
        for (date, newer) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", false),
            ("Sunday, 06-Nov-94 08:49:37 GMT", false),
            ("Sun Nov  6 08:49:37 1994", false),
            ("Sun, 06 Nov 1994 08:49:36 GMT", true),
        ] {
            let since = if newer { HOLDS } else { NotModified };
            check(
                &validators(false),
                "GET",
                &format!("If-Modified-Since: {date}"),
                since,
            );
            let unmodified = if newer { Failed } else { HOLDS };
            let fields = format!("If-Unmodified-Since: {date}");
            check(&validators(false), "GET", &fields, unmodified);
        }
        for date in ["yesterday", "784111777", "", "Sun, 06 Nov 1994 08:49:37"] {
            check(
                &validators(false),
                "GET",
                &format!("If-Modified-Since: {date}"),
                HOLDS,
            );
            check(
                &validators(false),
                "GET",
                &format!("If-Unmodified-Since: {date}"),
                HOLDS,
            );
        }
        let since = "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT";
        check(&validators(false), "POST", since, HOLDS);
    }

    #[test]
    fn a_tag_goes_before_a_date() {
        use Precondition::{Failed, NotModified};
        let old = "Sat, 05 Nov 1994 08:49:37 GMT";
        let new = "Mon, 07 Nov 1994 08:49:37 GMT";
        for (fields, expected) in [
            (
                format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {new}"),
                HOLDS,
            ),
            (
                format!("If-None-Match: \"a,b\"\r\nIf-Modified-Since: {old}"),
                NotModified,
            ),
            (
                format!("If-Match: \"a,b\"\r\nIf-Unmodified-Since: {old}"),
                HOLDS,
            ),
            ("If-Match: \"x\"\r\nIf-None-Match: \"a,b\"".into(), Failed),
            (
                "If-Match: \"a,b\"\r\nIf-None-Match: \"a,b\"".into(),
                NotModified,
            ),
        ] {
            check(&validators(false), "GET", &fields, expected);
        }
    }

    #[test]
    fn a_range_counts_only_for_the_very_same_bytes() {
        let exact = "If-Range: Sun, 06 Nov 1994 08:49:37 GMT";
        let ranges = |ranges| Precondition::Holds { ranges };
        for (fields, expected) in [
            ("If-Range: \"a,b\"", true),
            (exact, true),
            ("If-Range: W/\"a,b\"", false),
            ("If-Range: \"x\"", false),
            ("If-Range: Mon, 07 Nov 1994 08:49:37 GMT", false),
            ("If-Range: nonsense", false),
            ("If-Range: \"a,b\"\r\nIf-Range: \"a,b\"", false),
        ] {
            check(&validators(false), "GET", fields, ranges(expected));
        }
        check(
            &validators(true),
            "GET",
            "If-Range: W/\"a,b\"",
            ranges(false),
        );
        check(&validators(true), "GET", exact, ranges(false));
    }
}
