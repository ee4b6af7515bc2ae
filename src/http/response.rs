//! Floor 1, http: the heads of responses (RFC 9112 §4, RFC 9110 §15).
//!
//! The server writes a response head in two parts. [`ResponseHead`] holds the lines that depend on
//! the representation; they are made once and kept with the representation. [`finish_head`] adds
//! the lines that depend on the time and on the connection: `Date`, `Connection` and the empty
//! line.

use std::fmt::Write as _;
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Status, Version};

/// The part of a response head that depends on the representation alone: the status line and the
/// field lines, each with CRLF at the end.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    text: String,
}

impl ResponseHead {
    /// Starts a head with the status line.
    pub fn new(status: Status) -> ResponseHead {
        let mut text = String::with_capacity(256);
        text.push_str("HTTP/1.1 ");
        push_decimal(&mut text, status.code().into());
        text.push(' ');
        text.push_str(status.reason());
        text.push_str("\r\n");
        ResponseHead { text }
    }

    /// Adds a field line. The server itself must have made `value`, never a peer, because nothing
    /// is escaped.
    ///
    /// # Panics
    /// In a debug build, if the name or the value contains a control byte: a CR LF would begin
    /// another line.
    pub fn field(self, name: &str, value: impl std::fmt::Display) -> ResponseHead {
        self.line(name, |text| {
            write!(text, "{value}").expect("a String takes all");
        })
    }

    /// Does the same as [`field`](ResponseHead::field) with a value that is text already. The answers of
    /// endpoints have several such fields, and the machinery of `Display` takes longer than a copy.
    pub fn text(self, name: &str, value: &str) -> ResponseHead {
        self.line(name, |text| text.push_str(value))
    }

    /// Does the same as [`field`](ResponseHead::field) with a number, likewise for speed.
    pub fn number(self, name: &str, value: u64) -> ResponseHead {
        self.line(name, |text| push_decimal(text, value))
    }

    #[inline]
    fn line(mut self, name: &str, push_value: impl FnOnce(&mut String)) -> ResponseHead {
        let from = self.text.len();
        self.text.push_str(name);
        self.text.push_str(": ");
        push_value(&mut self.text);
        self.text.push_str("\r\n");
        debug_assert_eq!(
            self.text[from..]
                .bytes()
                .filter(u8::is_ascii_control)
                .count(),
            2,
            "a field is one line"
        );
        self
    }

    /// Returns a head with another status and the same fields.
    pub fn with_status(&self, status: Status) -> ResponseHead {
        let fields = self.text.find('\n').map_or(0, |end| end + 1);
        let mut head = ResponseHead::new(status);
        head.text.push_str(&self.text[fields..]);
        head
    }

    /// Returns the status line and the field lines, without the empty line after a head.
    pub fn into_bytes(self) -> Vec<u8> {
        self.text.into_bytes()
    }
}

/// Appends a number in decimal digits.
fn push_decimal(text: &mut String, mut number: u64) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] += (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    text.extend(digits[at..].iter().map(|digit| char::from(*digit)));
}

/// Whether the connection stays open after a response (RFC 9112 §9.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Persistence {
    /// The connection stays open for the next request.
    KeepAlive,
    /// The server closes the connection after the response.
    Close,
}

/// Ends a response head with `Date`, with `Connection` where needed, and with the empty line.
///
/// An HTTP/1.1 client assumes that the connection stays open, and an HTTP/1.0 client assumes the
/// opposite (RFC 9112 §9.3). `Connection: keep-alive` is therefore sent to HTTP/1.0 clients only;
/// `Connection: close` is sent to both.
#[inline]
pub fn finish_head(out: &mut Vec<u8>, date: &HttpDate, version: Version, persistence: Persistence) {
    match (persistence, version) {
        (Persistence::KeepAlive, Version::Http11) => out.extend_from_slice(&date.last_lines),
        (Persistence::KeepAlive, Version::Http10) => finish_with(out, date, "keep-alive"),
        (Persistence::Close, _) => finish_with(out, date, "close"),
    }
}

/// Kept apart, so that the usual end of a head, a copy of constant length, is inlined.
#[inline(never)]
fn finish_with(out: &mut Vec<u8>, date: &HttpDate, option: &str) {
    let (line, end) = date.last_lines.split_at(date.last_lines.len() - 2);
    out.extend_from_slice(line);
    out.extend_from_slice(b"Connection: ");
    out.extend_from_slice(option.as_bytes());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(end);
}

/// A time in the format IMF-fixdate (RFC 9110 §5.6.7), which has 29 bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpDate {
    /// The beginning of the second that the text shows.
    from: SystemTime,
    /// The end of that second.
    until: SystemTime,
    /// The field line `Date`, and the empty line after the head.
    last_lines: [u8; 39],
}

impl HttpDate {
    /// The last second of the year 9999. A later year would need a fifth digit, and the format has
    /// only four.
    const LAST: u64 = 253_402_300_799;

    /// The place of the time in the lines.
    const TEXT: Range<usize> = 6..35;

    /// Formats `time`. A time before 1970 is shown as the first second of 1970, and a time after
    /// the year 9999 as the last second of 9999.
    pub fn new(time: SystemTime) -> HttpDate {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let from = UNIX_EPOCH + Duration::from_secs(since.as_secs().min(HttpDate::LAST));
        let until = from + Duration::from_secs(1);
        let text = httpdate::fmt_http_date(from);
        let mut last_lines = *b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n";
        last_lines[HttpDate::TEXT].copy_from_slice(text.as_bytes());
        HttpDate {
            from,
            until,
            last_lines,
        }
    }

    /// Sets the date to `time`, and formats the text again only if the second has changed. (A time that the
    /// format cannot show is formatted each time.)
    pub fn update(&mut self, time: SystemTime) {
        if time < self.from || time >= self.until {
            *self = HttpDate::new(time);
        }
    }
}

impl std::fmt::Display for HttpDate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            str::from_utf8(&self.last_lines[HttpDate::TEXT]).expect("httpdate writes ASCII"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_the_same_however_its_values_are_given() {
        let head = ResponseHead::new(Status::NotFound);
        for number in [0, 7, 10, 700, 65_536, u64::MAX] {
            let (short, long) = (head.clone().number("N", number), head.clone());
            assert_eq!(short.text, long.field("N", number).text);
        }
        let head = head.text("A", "b");
        assert_eq!(head.text, "HTTP/1.1 404 Not Found\r\nA: b\r\n");
    }

    #[test]
    fn a_date_is_29_bytes_whatever_the_clock_says() {
        for (seconds, text) in [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (HttpDate::LAST + 1, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(HttpDate::new(time).to_string(), text);
        }
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(
            HttpDate::new(before).to_string(),
            "Thu, 01 Jan 1970 00:00:00 GMT"
        );
    }

    #[test]
    fn a_date_changes_with_the_second_and_not_within() {
        let mut date = HttpDate::new(UNIX_EPOCH);
        date.update(UNIX_EPOCH + Duration::from_millis(999));
        assert_eq!(date, HttpDate::new(UNIX_EPOCH));
        date.update(UNIX_EPOCH + Duration::from_secs(1));
        assert_eq!(date, HttpDate::new(UNIX_EPOCH + Duration::from_secs(1)));
    }

    #[test]
    fn the_end_of_a_head_says_what_the_peer_cannot_assume() {
        let date = HttpDate::new(UNIX_EPOCH);
        let end = |version, persistence| {
            let mut out = Vec::new();
            finish_head(&mut out, &date, version, persistence);
            String::from_utf8(out)
                .unwrap()
                .replace(&date.to_string(), "NOW")
        };
        use Persistence::{Close, KeepAlive};
        assert_eq!(end(Version::Http11, KeepAlive), "Date: NOW\r\n\r\n");
        assert_eq!(
            end(Version::Http10, KeepAlive),
            "Date: NOW\r\nConnection: keep-alive\r\n\r\n"
        );
        for version in [Version::Http10, Version::Http11] {
            assert_eq!(
                end(version, Close),
                "Date: NOW\r\nConnection: close\r\n\r\n"
            );
        }
    }
}
