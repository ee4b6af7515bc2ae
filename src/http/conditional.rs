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
//! If a list contains anything other than entity tags, only the tags before that point count.
//! Garbage therefore never makes If-Match hold. In a GET or HEAD request, garbage in If-None-Match
//! at worst makes the server send a representation that the client already has.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Field, Method, RequestHead};

/// An entity tag as sent, with the quotes and, for a weak tag, with `W/` before the quotes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EntityTag {
    text: Box<str>,
}

impl EntityTag {
    /// Makes a tag with `opaque` between the quotes.
    ///
    /// # Panics
    /// In a debug build, if `opaque` contains anything but visible ASCII without the double quote.
    pub fn new(opaque: &str, weak: bool) -> EntityTag {
        debug_assert!(opaque.bytes().all(|b| b.is_ascii_graphic() && b != b'"'));
        let prefix = if weak { "W/" } else { "" };
        EntityTag {
            text: format!("{prefix}\"{opaque}\"").into(),
        }
    }

    /// The tag as sent.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part between the quotes.
    pub fn opaque(&self) -> &str {
        let quoted = self.text.strip_prefix("W/").unwrap_or(&self.text);
        quoted.trim_matches('"')
    }

    /// Whether the tag is weak (§8.8.1): the content may change while the tag stays the same. A
    /// weak tag is therefore no basis for ranges or for If-Match.
    pub fn is_weak(&self) -> bool {
        self.text.starts_with("W/")
    }

    /// Strong comparison (§8.8.3.2): the tags are equal, and neither is weak.
    fn is_strongly(&self, other: &[u8]) -> bool {
        !self.is_weak() && self.text.as_bytes() == other
    }

    /// Weak comparison (§8.8.3.2): the tags are equal when a `W/` before either is ignored.
    fn is_weakly(&self, other: &[u8]) -> bool {
        fn opaque(tag: &[u8]) -> &[u8] {
            tag.strip_prefix(b"W/").unwrap_or(tag)
        }
        opaque(self.text.as_bytes()) == opaque(other)
    }
}

/// The validators of a representation (§8.8): a client recognises the representation by these
/// values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Validators {
    /// The entity tag.
    pub tag: EntityTag,
    /// The time in `Last-Modified`; `None` if no date is sent, and then each condition with a date
    /// is ignored (§13.1.3, §13.1.4) or does not hold (§13.1.5). The field carries whole seconds,
    /// so the time must be in whole seconds too: see [`whole_seconds`].
    pub modified: Option<SystemTime>,
}

/// The result of the preconditions of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Precondition {
    /// The server answers as if the request had no preconditions. `ranges` says whether a Range
    /// field counts.
    Holds {
        /// Whether If-Range is absent or holds.
        ranges: bool,
    },
    /// The response is 304, because the client has this representation.
    NotModified,
    /// The response is 412.
    Failed,
}

/// Evaluates the preconditions of a request in the order of §13.2.2. The representation must exist.
/// Times have a resolution of one second.
#[inline]
pub fn precondition(request: &RequestHead<'_>, validators: &Validators) -> Precondition {
    const CONDITIONS: [Field; 5] = [
        Field::IfMatch,
        Field::IfUnmodifiedSince,
        Field::IfNoneMatch,
        Field::IfModifiedSince,
        Field::IfRange,
    ];
    match request.has_any(&CONDITIONS) {
        true => evaluate(request, validators),
        false => Precondition::Holds { ranges: true },
    }
}

/// Evaluates the preconditions of a request that has any.
fn evaluate(request: &RequestHead<'_>, validators: &Validators) -> Precondition {
    let read = matches!(request.method(), Method::Get | Method::Head);
    if request.value(Field::IfMatch).is_some() {
        let matches = any_tag(request, Field::IfMatch, |tag| {
            validators.tag.is_strongly(tag)
        });
        if !matches {
            return Precondition::Failed;
        }
    } else if let Some(since) = date(request, Field::IfUnmodifiedSince)
        && validators.modified.is_some_and(|modified| modified > since)
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
        && validators
            .modified
            .is_some_and(|modified| modified <= since)
    {
        return Precondition::NotModified;
    }
    Precondition::Holds {
        ranges: if_range(request, validators),
    }
}

/// Whether the Range field counts (§13.1.5). A tag in If-Range must be strong and equal to the tag
/// of the representation; a date must be exactly the date of the representation.
fn if_range(request: &RequestHead<'_>, validators: &Validators) -> bool {
    let mut values = request.values(Field::IfRange);
    match (values.next(), values.next()) {
        (None, _) => true,
        (Some(value), None) if value.contains(&b'"') => validators.tag.is_strongly(value),
        // A date is a strong validator only if the file did not change twice within the second
        // (§8.8.2.2). While a second change is still possible, the tag is weak, and the date does
        // not count. Whether a file changed twice in a second long past is unknown. A client that
        // sends the tag from an earlier response never relies on the date.
        (Some(value), None) => {
            let date = parse_date(value);
            !validators.tag.is_weak() && date.is_some() && date == validators.modified
        }
        (Some(_), Some(_)) => false,
    }
}

/// Whether a line of the field is `*` or has a tag for which `matches` holds.
fn any_tag(request: &RequestHead<'_>, field: Field, matches: impl Fn(&[u8]) -> bool) -> bool {
    request.values(field).any(|value| {
        let mut rest = value;
        value == b"*" || std::iter::from_fn(|| next_tag(&mut rest)).any(&matches)
    })
}

/// Takes the next entity tag from the front of a list; `None` at the end of the list or at anything
/// other than a tag. A tag may contain commas, so splitting the list at commas would be wrong.
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

/// Returns the date in a field. A field that is not exactly one date counts as absent (§13.1.3,
/// §13.1.4).
fn date(request: &RequestHead<'_>, field: Field) -> Option<SystemTime> {
    let mut values = request.values(field);
    match (values.next(), values.next()) {
        (Some(value), None) => parse_date(value),
        _ => None,
    }
}

/// Reads an HTTP-date in any of the three forms (§5.6.7).
fn parse_date(value: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(str::from_utf8(value).ok()?).ok()
}

/// Returns `time` without the fraction of a second, because dates are sent in whole seconds. A time
/// before 1970 becomes the beginning of 1970.
pub fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::super::parsed;
    use super::*;

    /// The time 784111777 is `Sun, 06 Nov 1994 08:49:37 GMT`, the example of the RFC.
    fn validators(weak: bool) -> Validators {
        Validators {
            tag: EntityTag::new("a,b", weak),
            modified: Some(UNIX_EPOCH + Duration::from_secs(784_111_777)),
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
    fn without_a_date_of_its_own_a_representation_meets_no_date() {
        let undated = Validators {
            modified: None,
            ..validators(false)
        };
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (field, expected) in [
            ("If-Modified-Since", HOLDS),
            ("If-Unmodified-Since", HOLDS),
            ("If-Range", Precondition::Holds { ranges: false }),
        ] {
            check(&undated, "GET", &format!("{field}: {date}"), expected);
        }
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
