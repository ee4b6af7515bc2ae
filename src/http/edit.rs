//! Floor 1, http: changes to the fields of a response head that has been made already.
//!
//! The user of the server may set, remove and add fields. A head is one text with a line for each
//! field, so a change edits lines. Fields that the server alone can know are refused before:
//! [`fixed_field`] names the reason.

use std::cmp::Ordering;
use std::iter;

use memchr::memchr;

use super::classes::{TOKEN, VALUE, all};

/// One change of the fields of a head. Names are compared without case (RFC 9110 §5.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change<'a> {
    /// Replaces every field of the name by one field with this value.
    Set(&'a str, &'a str),
    /// Removes every field of the name.
    Remove(&'a str),
    /// Adds a field, and keeps the fields of the same name. This is for `Set-Cookie`, whose values
    /// cannot be joined (RFC 9110 §5.3), and for lists such as `Vary`.
    Add(&'a str, &'a str),
}

/// Returns `head` after the changes, which are made in order. A head here is the status line and the
/// field lines, each with CRLF, without the empty line at the end. New fields stand last.
///
/// Each name must be [a field name](is_field_name), and each value [a field
/// value](is_field_value). A change with another name or value is not made, because a CR LF in it
/// would begin another field.
///
/// ```
/// use oneloop::http::{Change, edit_head};
/// let head = b"HTTP/1.1 200 OK\r\nCache-Control: no-cache\r\nETag: \"1\"\r\n";
/// let changes = [
///     Change::Set("cache-control", "max-age=60"),
///     Change::Add("Set-Cookie", "a=1"),
///     Change::Add("Set-Cookie", "b=2"),
/// ];
/// let edited = edit_head(head, changes.into_iter());
/// assert_eq!(
///     edited,
///     b"HTTP/1.1 200 OK\r\nETag: \"1\"\r\ncache-control: max-age=60\r\n\
///       Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
/// );
/// ```
///
/// The time grows with the changes (and the logarithm of their number), and not with the product of the
/// changes and the length of the head.
pub fn edit_head<'a>(head: &[u8], changes: impl Iterator<Item = Change<'a>>) -> Vec<u8> {
    let changes: Vec<Change<'a>> = changes.filter(Change::is_valid).collect();
    // For each name that replaces or is removed, in order of the names, the last change that does so.
    let mut clears: Vec<(&str, usize)> = (changes.iter().enumerate())
        .filter(|(_, change)| !matches!(change, Change::Add(..)))
        .map(|(at, change)| (change.name(), at))
        .collect();
    clears.sort_by(|(a, at), (b, other)| compare(a.as_bytes(), b.as_bytes()).then(other.cmp(at)));
    clears.dedup_by(|(later, _), (name, _)| later.eq_ignore_ascii_case(name));
    let cleared_at = |name: &[u8]| {
        let found = clears.binary_search_by(|(other, _)| compare(other.as_bytes(), name));
        found.ok().map(|found| clears[found].1)
    };
    let mut out = Vec::with_capacity(head.len() + 64 * changes.len());
    for (number, line) in head.split_inclusive(|b| *b == b'\n').enumerate() {
        let name = line.split(|b| *b == b':').next().unwrap_or_default();
        if number == 0 || cleared_at(name).is_none() {
            out.extend_from_slice(line);
        }
    }
    for (at, change) in changes.iter().enumerate() {
        if let Change::Set(name, value) | Change::Add(name, value) = change
            && cleared_at(name.as_bytes()).is_none_or(|cleared| cleared <= at)
        {
            for text in [name, ": ", value, "\r\n"] {
                out.extend_from_slice(text.as_bytes());
            }
        }
    }
    out
}

impl<'a> Change<'a> {
    fn name(&self) -> &'a str {
        match self {
            Change::Set(name, _) | Change::Remove(name) | Change::Add(name, _) => name,
        }
    }

    fn is_valid(&self) -> bool {
        let is_valid = is_field_name(self.name())
            && match self {
                Change::Set(_, value) | Change::Add(_, value) => is_field_value(value),
                Change::Remove(_) => true,
            };
        debug_assert!(is_valid, "checked where the change was made: {self:?}");
        is_valid
    }
}

/// Compares two names without case.
fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let (a, b) = (a.iter(), b.iter());
    a.map(u8::to_ascii_lowercase)
        .cmp(b.map(u8::to_ascii_lowercase))
}

/// Whether a field line has the name.
fn is_of(line: &[u8], name: &str) -> bool {
    let rest = line.split_at_checked(name.len());
    rest.is_some_and(|(start, rest)| {
        rest.first() == Some(&b':') && start.eq_ignore_ascii_case(name.as_bytes())
    })
}

/// The values of the fields of this name in a head, in order.
pub fn field_values<'a>(head: &'a [u8], name: &str) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = head;
    let lines = iter::from_fn(move || {
        let end = memchr(b'\n', rest)? + 1;
        let (line, after) = rest.split_at(end);
        rest = after;
        Some(line)
    });
    let lines = lines.skip(1);
    let of_name = lines.filter(move |line| is_of(line, name));
    of_name.map(move |line| line[name.len() + 1..].trim_ascii())
}

/// Whether the text is a field name (RFC 9110 §5.1).
pub fn is_field_name(name: &str) -> bool {
    !name.is_empty() && all(TOKEN, name.as_bytes())
}

/// Whether the text can be sent as a field value (RFC 9110 §5.5): the text has no control byte but
/// the tab, and no white space around. The value may be empty.
pub fn is_field_value(value: &str) -> bool {
    all(VALUE, value.as_bytes()) && value.trim_ascii().len() == value.len()
}

/// Why a field cannot be set or removed by the user of the server; `None` for a field that can. The
/// reason continues the sentence "the field is not changed: …".
pub fn fixed_field(name: &str) -> Option<&'static str> {
    const FRAMING: &str = "the server frames its messages itself";
    const FIXED: [(&str, &str); 13] = [
        ("Content-Length", FRAMING),
        ("Transfer-Encoding", FRAMING),
        ("Trailer", FRAMING),
        ("Connection", FRAMING),
        ("Keep-Alive", FRAMING),
        ("Proxy-Connection", FRAMING),
        ("Upgrade", FRAMING),
        ("Date", "the server tells the time of the answer"),
        (
            "Content-Encoding",
            "the server knows the coding of the content",
        ),
        ("Content-Range", "the server knows the range that it sends"),
        ("Accept-Ranges", "the server knows the ranges that it sends"),
        ("ETag", "the server makes the tag from the file"),
        ("Location", "a redirect is written in _redirects"),
    ];
    let fixed = FIXED.iter();
    let mut fixed = fixed.filter(|(fixed, _)| fixed.eq_ignore_ascii_case(name));
    fixed.next().map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "HTTP/1.1 200 OK\r\nVary: Accept-Encoding\r\nETag: \"1\"\r\nX: 1\r\nx: 2\r\n";

    #[track_caller]
    fn check(changes: &[Change<'_>], expected: &str) {
        let edited = edit_head(HEAD.as_bytes(), changes.iter().copied());
        assert_eq!(String::from_utf8(edited).expect("text"), expected);
    }

    #[test]
    fn a_change_replaces_removes_or_adds_fields_of_its_name() {
        use Change::{Add, Remove, Set};
        let start = "HTTP/1.1 200 OK\r\nVary: Accept-Encoding\r\nETag: \"1\"\r\n";
        check(&[], HEAD);
        check(&[Remove("X")], start);
        check(&[Remove("Y"), Remove("1"), Remove("HTTP")], HEAD);
        check(&[Set("X", "3")], &format!("{start}X: 3\r\n"));
        check(&[Set("X", "")], &format!("{start}X: \r\n"));
        check(&[Set("X", "3"), Remove("x")], start);
        check(&[Set("x", "3"), Set("X", "4")], &format!("{start}X: 4\r\n"));
        check(
            &[Add("X", "3"), Add("X", "4")],
            &format!("{HEAD}X: 3\r\nX: 4\r\n"),
        );
        check(
            &[Remove("x"), Add("vary", "Origin")],
            &format!("{start}vary: Origin\r\n"),
        );
        let tag = HEAD.replace("ETag: \"1\"\r\n", "");
        check(&[Remove("etag")], &tag);
        check(&[Remove("ETa"), Remove("TagX"), Remove("Tag")], HEAD);
    }

    /// A naive way, change by change, must come to the same head.
    #[test]
    fn many_changes_are_made_as_if_in_order() {
        use Change::{Add, Remove, Set};
        let names = ["X", "x", "Y", "ETag", "Vary", "Z"];
        let mut state = 1_u32;
        let mut next = |below: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as usize % below
        };
        for _ in 0..500 {
            let changes: Vec<Change<'_>> = (0..next(9))
                .map(|_| match (next(3), names[next(6)]) {
                    (0, name) => Set(name, "s"),
                    (1, name) => Add(name, "a"),
                    (_, name) => Remove(name),
                })
                .collect();
            let mut lines: Vec<String> = HEAD.split_inclusive('\n').map(str::to_owned).collect();
            for change in &changes {
                let (name, value) = match *change {
                    Set(name, value) | Add(name, value) => (name, Some(value)),
                    Remove(name) => (name, None),
                };
                if !matches!(change, Add(..)) {
                    lines.retain(|line| !is_of(line.as_bytes(), name));
                }
                lines.extend(value.map(|value| format!("{name}: {value}\r\n")));
            }
            check(&changes, &lines.concat());
        }
    }

    #[test]
    fn nothing_but_a_line_becomes_a_field() {
        for name in ["", "a b", "a:", "a\r\nb", "ä", "a\0"] {
            assert!(!is_field_name(name), "{name:?}");
        }
        for value in ["a\r\nb: c", "a\nb", "a\rb", "a\0", " a", "a\t", "\u{7f}"] {
            assert!(!is_field_value(value), "{value:?}");
        }
        for value in ["", "a", "a b\tc", "ä: \"…\""] {
            assert!(is_field_value(value), "{value:?}");
        }
    }

    #[test]
    fn the_values_of_a_field_are_found_whatever_the_case() {
        let values = |name| {
            let values = field_values(HEAD.as_bytes(), name);
            values
                .map(|v| str::from_utf8(v).expect("text"))
                .collect::<Vec<_>>()
        };
        assert_eq!(values("x"), ["1", "2"]);
        assert_eq!(values("VARY"), ["Accept-Encoding"]);
        assert_eq!(values("Var"), [""; 0]);
    }

    #[test]
    fn the_fields_of_the_server_are_fixed_in_any_case() {
        assert!(fixed_field("content-length").is_some());
        assert!(fixed_field("ETAG").is_some());
        assert_eq!(fixed_field("Content-Type"), None);
        assert_eq!(fixed_field("Content"), None);
    }
}
