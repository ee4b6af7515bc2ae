//! Floor 2, site: the listing of a directory and the page of an error, as HTML and as JSON.
//!
//! The functions are pure: they append to a buffer, and know neither a request nor a disk. A listing
//! is written row by row, so that a large directory can be written in slices.
//!
//! The templates are the files in `pages/`. A page has its style and its script inside, and refers to
//! no other resource: the page works at any path, and does not add requests to the log of the site.
//! The policies name the style and the script by their hashes, so a browser runs nothing else.
//!
//! Architecture invariant: bytes of a peer or of the disk reach a page only through [`Visible`],
//! [`JsonText`] or percent-encoding, never inside of a script, a style or a tag.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::{self, Display, Write as _};
use std::io::Write as _;
use std::time::SystemTime;

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

const LISTING: &str = include_str!("pages/listing.html");
const LISTING_STYLE: &str = concat!(
    include_str!("pages/page.css"),
    include_str!("pages/listing.css")
);
const LISTING_SCRIPT: &str = include_str!("pages/listing.js");
const ERROR: &str = include_str!("pages/error.html");
const RETRY_SCRIPT: &str = include_str!("pages/retry.js");
const ERROR_STYLE: &str = concat!(
    include_str!("pages/page.css"),
    include_str!("pages/error.css")
);

/// The `Content-Security-Policy` of a listing: its own style and script, icons from `data:` URLs, and
/// nothing else (CSP Level 3).
pub(super) const LISTING_POLICY: &str = "default-src 'none'; \
    style-src 'sha256-OgebAVkNNgGPeVD1SiSEscWNX9AYQL47C26b5lqp980='; \
    script-src 'sha256-RSUXh5Za9CzbkGstlro6S9pWHFOLOUck5UwHYoc1eRk='; \
    img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// The `Content-Security-Policy` of the page of an error that asks again: its script may ask this server.
pub(super) const RETRY_POLICY: &str = "default-src 'none'; \
    style-src 'sha256-IY849NqIPTEO8+VZG5hRtDGZeBijYWxLtIppIQw9Isg='; \
    script-src 'sha256-VXCRtOQGfplBGoCcCwaBJtd+FJPM4+1Zw2kLN1IhyE0='; connect-src 'self'; \
    img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// The `Content-Security-Policy` of the page of another error, which has no script.
pub(super) const ERROR_POLICY: &str = "default-src 'none'; \
    style-src 'sha256-IY849NqIPTEO8+VZG5hRtDGZeBijYWxLtIppIQw9Isg='; \
    img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// An entry of a directory, as a listing shows the entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Listed {
    /// The name as the directory has it: any bytes but NUL and the slash.
    pub name: Box<[u8]>,
    pub is_directory: bool,
    /// The size in bytes. The size of a directory is not shown.
    pub size: u64,
    pub modified: SystemTime,
}

/// The content of the page of an error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Advice<'a> {
    /// Why the request failed, as a sentence.
    pub sentence: &'a str,
    /// A command that would help.
    pub command: Option<&'a str>,
    /// Paths that exist and look like the path of the request: decoded, and relative to the root.
    pub near: &'a [Vec<u8>],
    /// Whether the page asks again, and loads itself anew when the error is over.
    pub retries: bool,
}

/// Compares two entries by their places in a listing: directories come first, and names are in
/// natural order. That order takes digits as a number (`img2` comes before `img10`), and does not tell
/// upper from lower case. Names that are still equal are ordered by their bytes, so the order is total.
pub(super) fn order(a: &Listed, b: &Listed) -> Ordering {
    b.is_directory
        .cmp(&a.is_directory)
        .then_with(|| {
            let begin = difference(&a.name, &b.name);
            let (rest, other) = (text_of(&a.name[begin..]), text_of(&b.name[begin..]));
            Tokens(&rest).cmp(Tokens(&other))
        })
        .then_with(|| a.name.cmp(&b.name))
}

/// The length of the bytes that two names have in common, cut so that the rest begins with a new
/// token: neither within a number nor within a character of several bytes. A large directory often has
/// names with a long common beginning.
fn difference(a: &[u8], b: &[u8]) -> usize {
    let common = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let is_open = |byte: &&u8| byte.is_ascii_digit() || !byte.is_ascii();
    common - a[..common].iter().rev().take_while(is_open).count()
}

/// Appends the listing of the directory at `path` up to the first row. The path is decoded and
/// relative to the root: it is empty, or ends in a slash.
pub(super) fn listing_begin(out: &mut Vec<u8>, path: &[u8]) {
    debug_assert!(matches!(path, [] | [.., b'/']));
    let (begin, _) = around_rows();
    fill(out, begin, |out, slot| match slot {
        "title" => push(out, format_args!("/{}", Visible(path))),
        "css" => push(out, LISTING_STYLE),
        "path" => push_breadcrumbs(out, path),
        "up" if path.is_empty() => {}
        "up" => push(
            out,
            "<tbody class=\"up\"><tr><td><a href=\"../\">Parent folder</a>\n",
        ),
        _ => unreachable!("{slot}"),
    });
}

/// Appends the row of a listing that comes after `number` rows. Each [`GROUP`] of rows has an element
/// of its own, since a browser lays out only the groups in view.
pub(super) fn listing_row(out: &mut Vec<u8>, entry: &Listed, number: usize) {
    if number.is_multiple_of(GROUP) {
        push(out, "<tbody>\n");
    }
    let (name, url) = (Visible(&entry.name), Url(entry));
    let date = Date::of(entry.modified);
    match entry.is_directory {
        true => push(
            out,
            format_args!("<tr><td><a href=\"{url}\"><bdi>{name}</bdi>/</a><td>"),
        ),
        false => push(
            out,
            format_args!(
                "<tr title=\"{} bytes\"><td><a href=\"{url}\"><bdi>{name}</bdi></a><td>{}",
                entry.size,
                Size(entry.size)
            ),
        ),
    }
    push(
        out,
        format_args!("<td><time datetime=\"{date}\">{}</time>\n", date.short()),
    );
}

/// Appends the rest of a listing of `rows` rows. A listing without a row says that the folder is empty.
pub(super) fn listing_end(out: &mut Vec<u8>, rows: usize) {
    let (_, end) = around_rows();
    fill(out, end, |out, slot| match slot {
        "empty" if rows == 0 => push(out, "<p class=\"note\">This folder is empty.</p>\n"),
        "empty" => {}
        "js" => push(out, LISTING_SCRIPT),
        _ => unreachable!("{slot}"),
    });
}

/// Appends a listing in JSON up to the first row. The path is as for [`listing_begin`].
///
/// ```json
/// {"path":"/img/","entries":[
/// {"name":"a b.png","url":"./a%20b.png","type":"file","size":1234,"modified":"2026-11-26T10:55:06Z"}
/// ]}
/// ```
///
/// A `url` is relative to the URL of the listing. A `name` that is not UTF-8 has U+FFFD where it is
/// not; the `url` is exact. A directory has no `size`.
pub(super) fn json_begin(out: &mut Vec<u8>, path: &[u8]) {
    debug_assert!(matches!(path, [] | [.., b'/']));
    let path = text_of(path);
    push(
        out,
        format_args!("{{\"path\":\"/{}\",\"entries\":[", JsonText(&path)),
    );
}

/// Appends the row of a listing in JSON that comes after `number` rows.
pub(super) fn json_row(out: &mut Vec<u8>, entry: &Listed, number: usize) {
    let comma = if number == 0 { "" } else { "," };
    let name = text_of(&entry.name);
    let (name, url) = (JsonText(&name), Url(entry));
    push(
        out,
        format_args!("{comma}\n{{\"name\":\"{name}\",\"url\":\"{url}\","),
    );
    match entry.is_directory {
        true => push(out, "\"type\":\"directory\","),
        false => push(
            out,
            format_args!("\"type\":\"file\",\"size\":{},", entry.size),
        ),
    }
    let date = Date::of(entry.modified);
    push(out, format_args!("\"modified\":\"{date}\"}}"));
}

/// Appends the rest of a listing in JSON.
pub(super) fn json_end(out: &mut Vec<u8>) {
    push(out, "\n]}\n");
}

/// Appends the page of an error.
pub(super) fn error_page(out: &mut Vec<u8>, code: u16, reason: &str, advice: &Advice<'_>) {
    fill(out, ERROR, |out, slot| match slot {
        "code" => push(out, code),
        "reason" => push(out, Visible(reason.as_bytes())),
        "css" => push(out, ERROR_STYLE),
        "sentence" => {
            let is_closed = advice.sentence.ends_with(['.', '?', '!']);
            let stop = if is_closed { "" } else { "." };
            push(
                out,
                format_args!("{}{stop}", Visible(advice.sentence.as_bytes())),
            );
        }
        "command" => {
            if let Some(command) = advice.command {
                let command = Visible(command.as_bytes());
                push(out, format_args!("<pre><code>{command}</code></pre>\n"));
            }
        }
        "near" if advice.near.is_empty() => {}
        "near" => {
            push(out, "<h2>Did you mean</h2>\n<ul>\n");
            for path in advice.near {
                let (url, text) = (percent_encode(path, IN_PATH), Visible(path));
                push(
                    out,
                    format_args!("<li><a href=\"/{url}\">/<bdi>{text}</bdi></a>\n"),
                );
            }
            push(out, "</ul>\n");
        }
        "js" if !advice.retries => {}
        "js" => push(
            out,
            format_args!(
                "<p>This page loads itself again when the server is back.</p>\n\
                 <script>{RETRY_SCRIPT}</script>\n"
            ),
        ),
        _ => unreachable!("{slot}"),
    });
}

/// Appends an error in JSON. The `command` is absent if there is none.
///
/// ```json
/// {"status":404,"reason":"Not Found","sentence":"there is no such file here",
/// "near":[{"path":"/about us.html","url":"/about%20us.html"}]}
/// ```
pub(super) fn error_json(out: &mut Vec<u8>, code: u16, reason: &str, advice: &Advice<'_>) {
    let (reason, sentence) = (JsonText(reason), JsonText(advice.sentence));
    push(
        out,
        format_args!("{{\"status\":{code},\"reason\":\"{reason}\",\"sentence\":\"{sentence}\","),
    );
    if let Some(command) = advice.command {
        push(out, format_args!("\"command\":\"{}\",", JsonText(command)));
    }
    push(out, "\"near\":[");
    for (number, path) in advice.near.iter().enumerate() {
        let comma = if number == 0 { "" } else { "," };
        let (text, url) = (text_of(path), percent_encode(path, IN_PATH));
        let text = JsonText(&text);
        push(
            out,
            format_args!("{comma}{{\"path\":\"/{text}\",\"url\":\"/{url}\"}}"),
        );
    }
    push(out, "]}\n");
}

/// The rows of a group. The style and the script have the same number.
const GROUP: usize = 256;

/// The template of a listing before and after the rows.
fn around_rows() -> (&'static str, &'static str) {
    let halves = LISTING.split_once("{{rows}}");
    halves.expect("the template has a place for the rows")
}

/// Appends a template. Each slot, such as `{{title}}`, is filled by `slot`, which gets its name.
fn fill(out: &mut Vec<u8>, template: &str, mut slot: impl FnMut(&mut Vec<u8>, &str)) {
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        push(out, before);
        let (name, after) = after.split_once("}}").expect("a slot of ours ends");
        slot(out, name);
        rest = after;
    }
    push(out, rest);
}

/// Appends a link for the root and for each directory on the way. The links are relative, so they also
/// work behind a proxy that serves the site below a path of its own.
fn push_breadcrumbs(out: &mut Vec<u8>, path: &[u8]) {
    const LOGO: &str = "<svg viewBox=\"0 0 32 32\" aria-hidden=\"true\"><path d=\"M21.5 6.5A11 11 0 1 1 \
        10.5 6.5\" stroke-width=\"4\" stroke-linecap=\"round\"/><circle cx=\"16\" cy=\"5\" r=\"3\"/></svg>";
    let segments = path.split_inclusive(|b| *b == b'/');
    let depth = segments.clone().count();
    let mut push_link = |at: usize, label: &str, text: &dyn Display| {
        let (up, current) = match depth - at {
            0 => (Cow::Borrowed("./"), " aria-current=\"page\""),
            levels => ("../".repeat(levels).into(), ""),
        };
        push(
            out,
            format_args!("<a href=\"{up}\"{label}{current}>{text}</a><span>/</span>"),
        );
    };
    push_link(0, " aria-label=\"Root folder\"", &LOGO);
    for (at, segment) in segments.enumerate() {
        let name = segment.strip_suffix(b"/").unwrap_or(segment);
        push_link(at + 1, "", &format_args!("<bdi>{}</bdi>", Visible(name)));
    }
}

fn push(out: &mut Vec<u8>, text: impl Display) {
    write!(out, "{text}").expect("a vector takes everything");
}

/// All characters but the unreserved ones (RFC 3986 §2.3).
const IN_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The same, for a path of several segments.
const IN_PATH: &AsciiSet = &IN_SEGMENT.remove(b'/');

/// The URL of an entry, relative to the listing. Without `./`, a name like `a:b` would begin with a
/// scheme (RFC 3986 §4.2); the colon is encoded too.
struct Url<'a>(&'a Listed);

impl Display for Url<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.0.is_directory { "/" } else { "" };
        write!(f, "./{}{slash}", percent_encode(&self.0.name, IN_SEGMENT))
    }
}

/// A name or a path as text. A sequence that is not UTF-8 becomes U+FFFD.
fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Bytes as the text of an HTML element. What has no look of its own is made visible: a control
/// character becomes its picture (U+2400 and on), or U+FFFD. So do the controls that reorder the text
/// after them, with which `gpj.exe` can look like `exe.jpg`. The marks U+200E and U+200F stay: they are
/// a part of names in scripts from right to left.
struct Visible<'a>(&'a [u8]);

impl Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in text_of(self.0).chars() {
            match char {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\0'..='\x1f' => {
                    let picture = char::from_u32(0x2400 + u32::from(char));
                    f.write_char(picture.expect("a picture for each control character"))?;
                }
                '\x7f' => f.write_char('\u{2421}')?,
                '\u{80}'..='\u{9f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                    f.write_char(char::REPLACEMENT_CHARACTER)?
                }
                _ => f.write_char(char)?,
            }
        }
        Ok(())
    }
}

/// Text inside of a JSON string (RFC 8259 §7).
pub(super) struct JsonText<'a>(pub &'a str);

impl Display for JsonText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '"' | '\\' => write!(f, "\\{char}")?,
                // The rest is there for terminals and for scripts: JSON allows them as they are.
                '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                    write!(f, "\\u{:04x}", u32::from(char))?;
                }
                _ => f.write_char(char)?,
            }
        }
        Ok(())
    }
}

/// A number of bytes for a reader: `512 B`, `1.2 kB`, `3.4 MB`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size(pub u64);

impl Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as f64;
        match self.0 {
            0..1_000 => write!(f, "{} B", self.0),
            // 999,950 would be rounded to 1000.0 kB.
            1_000..999_950 => write!(f, "{:.1} kB", bytes / 1e3),
            999_950..999_950_000 => write!(f, "{:.1} MB", bytes / 1e6),
            999_950_000..999_950_000_000 => write!(f, "{:.1} GB", bytes / 1e9),
            _ => write!(f, "{:.1} TB", bytes / 1e12),
        }
    }
}

/// A time in UTC, to the second: `2026-11-26T10:55:06Z` (RFC 3339).
struct Date(String);

impl Date {
    /// A time that the calendar does not reach becomes 1970.
    fn of(time: SystemTime) -> Date {
        let time = Timestamp::try_from(time).unwrap_or_default();
        let second = Timestamp::from_second(time.as_second()).unwrap_or_default();
        Date(second.to_string())
    }

    /// `2026-11-26 10:55`
    fn short(&self) -> impl Display {
        let (day, time) = self.0.split_once('T').unwrap_or((&self.0, ""));
        let minutes = time.get(..5).unwrap_or_default();
        std::fmt::from_fn(move |f| write!(f, "{day} {minutes}"))
    }
}

impl Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The parts of a name that [`order`] compares. A part is a character in lower case, or a number: the
/// character `0`, the count of the digits without leading zeros, and these digits. So the
/// numbers are ordered by value, and stand where digits stand among other characters.
struct Tokens<'a>(&'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = (char, usize, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let first = self.0.chars().next()?;
        if first.is_ascii_digit() {
            let rest = self.0.trim_start_matches(|c: char| c.is_ascii_digit());
            let digits = &self.0[..self.0.len() - rest.len()];
            self.0 = rest;
            let digits = digits.trim_start_matches('0');
            return Some(('0', digits.len(), digits));
        }
        self.0 = &self.0[first.len_utf8()..];
        let lower = first.to_lowercase().next().unwrap_or(first);
        Some((lower, 0, ""))
    }
}

#[cfg(test)]
mod tests;
