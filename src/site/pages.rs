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
const ERROR_STYLE: &str = concat!(
    include_str!("pages/page.css"),
    include_str!("pages/error.css")
);

/// The `Content-Security-Policy` of a listing: its own style and script, icons from `data:` URLs, and
/// nothing else (CSP Level 3).
pub(super) const LISTING_POLICY: &str = "default-src 'none'; \
    style-src 'sha256-YzmbnClVu+9j6At4/lqdRjZh9FqEVmiov4tvl+NpZZQ='; \
    script-src 'sha256-RSUXh5Za9CzbkGstlro6S9pWHFOLOUck5UwHYoc1eRk='; \
    img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// The `Content-Security-Policy` of the page of an error, which has no script.
pub(super) const ERROR_POLICY: &str = "default-src 'none'; \
    style-src 'sha256-JxodU1KWE0myTCnLeBacVtpHsx0XwxcYgFKoUTcWlBo='; \
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

/// What the page of an error tells its reader.
#[derive(Clone, Copy, Debug)]
pub(super) struct Advice<'a> {
    /// Why the request failed, as a sentence.
    pub sentence: &'a str,
    /// A command that would help.
    pub command: Option<&'a str>,
    /// Paths that exist and look like the path of the request: decoded, and relative to the root.
    pub near: &'a [Vec<u8>],
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
struct JsonText<'a>(&'a str);

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
struct Size(u64);

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
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;
    use sha2::{Digest as _, Sha256};
    use std::time::Duration;

    use super::*;

    fn entry(name: &[u8], is_directory: bool) -> Listed {
        let modified = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_690_506_999);
        Listed {
            name: name.into(),
            is_directory,
            size: 1_234,
            modified,
        }
    }

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("pages are UTF-8")
    }

    fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
        let (_, rest) = text.split_once(before).expect(before);
        rest.split_once(after).expect(after).0
    }

    /// Checks that a row has the markup of a row and nothing else, and that its link leads to `name`.
    /// Returns the name as it is shown.
    fn check_row(name: &[u8]) -> String {
        let mut shown = String::new();
        for is_directory in [false, true] {
            let entry = entry(name, is_directory);
            let row = text(|out| listing_row(out, &entry, 1));
            let url = between(&row, "<a href=\"", "\">");
            shown = between(&row, "<bdi>", "</bdi>").to_owned();
            let (title, slash, size) = match is_directory {
                true => ("", "/", ""),
                false => (" title=\"1234 bytes\"", "", "1.2 kB"),
            };
            assert_eq!(
                row,
                format!(
                    "<tr{title}><td><a href=\"{url}\"><bdi>{shown}</bdi>{slash}</a><td>{size}\
                     <td><time datetime=\"2026-11-26T10:55:06Z\">2026-11-26 10:55</time>\n"
                )
            );
            assert!(!shown.contains(['<', '>', '"', '\'']), "{shown}");
            assert!(!shown.contains(char::is_control), "{shown:?}");
            let entities = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"];
            let bare = entities.iter().fold(shown.clone(), |s, e| s.replace(e, ""));
            assert!(!bare.contains('&'), "{shown}");
            check_url(url.strip_prefix("./").expect("relative"), slash, name);
            let json = text(|out| json_row(out, &entry, 0));
            assert_eq!(between(&json, "\"url\":\"", "\","), url);
            assert!(!json[1..].contains(char::is_control), "{json:?}");
        }
        shown
    }

    /// Checks that a percent-encoded segment has unreserved characters only, and decodes to `name`.
    fn check_url(url: &str, slash: &str, name: &[u8]) {
        let segment = url.strip_suffix(slash).expect("the end of a URL");
        let is_safe = |c: char| c.is_ascii_alphanumeric() || "-._~%".contains(c);
        assert!(segment.chars().all(is_safe), "{url}");
        let decoded: Vec<u8> = percent_decode_str(segment).collect();
        assert_eq!(decoded, name, "{url}");
    }

    #[test]
    fn every_name_leads_back_to_its_file_and_is_only_text() {
        let names: &[(&[u8], &str)] = &[
            (b"plain.txt", "plain.txt"),
            (b"two  words", "two  words"),
            (b"100%", "100%"),
            (b"%41", "%41"),
            (b"#1", "#1"),
            (b"what?x=1", "what?x=1"),
            (b"a+b", "a+b"),
            (b"javascript:alert(1)", "javascript:alert(1)"),
            (b"it's", "it&#39;s"),
            (b"\"quoted\"", "&quot;quoted&quot;"),
            (b"<script>x</script>", "&lt;script&gt;x&lt;/script&gt;"),
            (b"&lt;", "&amp;lt;"),
            (b"{{css}}", "{{css}}"),
            (b"back\\slash", "back\\slash"),
            (b"a\nb\r\tc", "a\u{240a}b\u{240d}\u{2409}c"),
            (b"\x1b[31m\x7f", "\u{241b}[31m\u{2421}"),
            (b"\xffx\xc3", "\u{fffd}x\u{fffd}"),
            ("\u{9b}31m".as_bytes(), "\u{fffd}31m"),
            ("\u{2028}\u{2067}".as_bytes(), "\u{fffd}\u{fffd}"),
            ("exe.\u{202e}gpj".as_bytes(), "exe.\u{fffd}gpj"),
            (
                "\u{200f}\u{5d0}\u{5d1}.txt".as_bytes(),
                "\u{200f}\u{5d0}\u{5d1}.txt",
            ),
            ("naïve 日本語 🎉".as_bytes(), "naïve 日本語 🎉"),
            (b"-", "-"),
            (b"...", "..."),
        ];
        for (name, shown) in names {
            assert_eq!(check_row(name), *shown);
        }
    }

    fn names() -> impl Strategy<Value = Vec<u8>> {
        let free = prop::collection::vec(1..=255_u8, 1..12);
        let similar = "[aA01<é]{1,3}".prop_map(String::into_bytes);
        let name = prop_oneof![free, similar];
        name.prop_filter("no separator", |name| !name.contains(&b'/'))
    }

    fn entries() -> impl Strategy<Value = Listed> {
        (names(), any::<bool>()).prop_map(|(name, is_directory)| entry(&name, is_directory))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_name_leads_back_to_its_file(name in names()) {
            check_row(&name);
        }

        #[test]
        fn the_order_is_total(a in entries(), b in entries(), c in entries()) {
            prop_assert_eq!(order(&a, &b), order(&b, &a).reverse());
            prop_assert_eq!(order(&a, &b) == Ordering::Equal, a == b);
            if a.is_directory == b.is_directory {
                let (text, other) = (text_of(&a.name), text_of(&b.name));
                let whole = Tokens(&text).cmp(Tokens(&other)).then_with(|| a.name.cmp(&b.name));
                prop_assert_eq!(order(&a, &b), whole, "without the common beginning");
            }
            let mut sorted = [&a, &b, &c];
            sorted.sort_by(|a, b| order(a, b));
            let [a, b, c] = sorted;
            prop_assert!(order(a, b).is_le() && order(b, c).is_le() && order(a, c).is_le());
        }
    }

    #[test]
    fn directories_come_first_and_numbers_are_ordered_by_value() {
        let expected: [(&[u8], bool); 19] = [
            (b"Src", true),
            (b"tests", true),
            (b"-", false),
            (b"00", false),
            (b"01.txt", false),
            (b"1.txt", false),
            (b"20000000000000000000000.txt", false),
            (b"_", false),
            (b"IMG", false),
            (b"img", false),
            (b"img1x", false),
            (b"img2.png", false),
            (b"Img10.png", false),
            (b"img10b.png", false),
            (b"readme", false),
            ("éb".as_bytes(), false),
            ("Émile".as_bytes(), false),
            ("été".as_bytes(), false),
            ("Öa".as_bytes(), false),
        ];
        let expected = expected.map(|(name, is_directory)| entry(name, is_directory));
        for (at, entry) in expected.iter().enumerate() {
            for (place, other) in expected.iter().enumerate() {
                let (name, other_name) = (text_of(&entry.name), text_of(&other.name));
                assert_eq!(order(entry, other), at.cmp(&place), "{name} {other_name}");
            }
        }
    }

    #[test]
    fn a_path_has_a_link_for_each_directory_on_the_way() {
        let links = |path: &[u8]| {
            let page = text(|out| listing_begin(out, path));
            let nav = between(&page, "<h1 class=\"path\">", "</h1>").to_owned();
            let links: Vec<String> = nav
                .split("<a href=\"")
                .skip(1)
                .map(|link| {
                    let (url, rest) = link.split_once('"').expect("a URL");
                    let current = if rest.contains("aria-current") {
                        "*"
                    } else {
                        ""
                    };
                    let name = rest.split_once("<bdi>").map_or("root", |(_, name)| {
                        name.split_once("</bdi>").expect("a name").0
                    });
                    format!("{current}{url} {name}")
                })
                .collect();
            (
                links.join(", "),
                page.contains("<a href=\"../\">Parent folder</a>"),
            )
        };
        assert_eq!(links(b""), ("*./ root".into(), false));
        assert_eq!(links(b"a/"), ("../ root, *./ a".into(), true));
        assert_eq!(
            links(b"<a>/b c/\xff/"),
            (
                "../../../ root, ../../ &lt;a&gt;, ../ b c, *./ \u{fffd}".into(),
                true
            )
        );
        let page = text(|out| listing_begin(out, b"a&b/</title>/"));
        assert_eq!(
            between(&page, "<title>", "</title>"),
            "/a&amp;b/&lt;/title&gt;/"
        );
    }

    #[test]
    fn only_an_empty_listing_says_so() {
        for rows in [0, 1, 1_000] {
            let end = text(|out| listing_end(out, rows));
            assert_eq!(end.contains("This folder is empty."), rows == 0);
        }
    }

    #[test]
    fn rows_are_in_groups_of_the_number_that_the_style_and_the_script_have() {
        let file = entry(b"a", false);
        for number in [0, 1, 255, 256, 257, 512] {
            let row = text(|out| listing_row(out, &file, number));
            assert_eq!(row.starts_with("<tbody>"), number % 256 == 0, "{number}");
        }
        assert!(LISTING_STYLE.contains(&format!("--rows: {GROUP};")));
        assert!(LISTING_SCRIPT.contains(&format!("at += {GROUP}")));
        assert!(LISTING_SCRIPT.contains(&format!("slice(at, at + {GROUP})")));
    }

    #[test]
    fn a_listing_in_json_is_exact() {
        let found = text(|out| {
            json_begin(out, b"a \"b\"/");
            json_row(out, &entry(b"c d", true), 0);
            json_row(out, &entry(b"\xff\\\n\"", false), 1);
            json_end(out);
        });
        let expected = r#"{"path":"/a \"b\"/","entries":[
{"name":"c d","url":"./c%20d/","type":"directory","modified":"2026-11-26T10:55:06Z"},
{"name":"\ufffd\\\u000a\"","url":"./%FF%5C%0A%22","type":"file","size":1234,"modified":"2026-11-26T10:55:06Z"}
]}
"#;
        assert_eq!(found, expected.replace("\\ufffd", "\u{fffd}"));
    }

    #[test]
    fn an_error_tells_the_advice_and_escapes_it() {
        let near = [b"about.html".to_vec(), b"a b/<x>/".to_vec()];
        let advice = Advice {
            sentence: "there is no <b> here",
            command: Some("oneloop --spa 'a&b'"),
            near: &near,
        };
        let page = text(|out| error_page(out, 404, "Not Found", &advice));
        for part in [
            "<title>404 Not Found</title>",
            "<h1><b>404</b> Not Found</h1>",
            "<p class=\"say\">there is no &lt;b&gt; here.</p>",
            "<pre><code>oneloop --spa &#39;a&amp;b&#39;</code></pre>",
            "<li><a href=\"/about.html\">/<bdi>about.html</bdi></a>",
            "<li><a href=\"/a%20b/%3Cx%3E/\">/<bdi>a b/&lt;x&gt;/</bdi></a>",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert_eq!(
            text(|out| error_json(out, 404, "Not Found", &advice)),
            "{\"status\":404,\"reason\":\"Not Found\",\"sentence\":\"there is no <b> here\",\
             \"command\":\"oneloop --spa 'a&b'\",\"near\":[\
             {\"path\":\"/about.html\",\"url\":\"/about.html\"},\
             {\"path\":\"/a b/<x>/\",\"url\":\"/a%20b/%3Cx%3E/\"}]}\n"
        );

        let advice = Advice {
            sentence: "why not?",
            command: None,
            near: &[],
        };
        let page = text(|out| error_page(out, 403, "Forbidden", &advice));
        assert!(page.contains("<p class=\"say\">why not?</p>"), "{page}");
        assert!(!page.contains("<pre>") && !page.contains("<h2>"), "{page}");
        assert_eq!(
            text(|out| error_json(out, 403, "Forbidden", &advice)),
            "{\"status\":403,\"reason\":\"Forbidden\",\"sentence\":\"why not?\",\"near\":[]}\n"
        );
    }

    #[test]
    fn sizes_are_rounded_and_have_the_right_unit() {
        for (bytes, expected) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (999_950_000, "1.0 GB"),
            (u64::MAX, "18446744.1 TB"),
        ] {
            assert_eq!(Size(bytes).to_string(), expected);
        }
    }

    #[test]
    fn every_time_of_the_disk_has_a_date() {
        let at = |seconds: i64| {
            let after = Duration::from_secs(seconds.unsigned_abs());
            let epoch = SystemTime::UNIX_EPOCH;
            let time = match seconds < 0 {
                true => epoch.checked_sub(after),
                false => epoch.checked_add(after),
            };
            let date = Date::of(time.expect("the kernel's times are of this type"));
            (date.to_string(), date.short().to_string())
        };
        let date = |long: &str, short: &str| (long.to_owned(), short.to_owned());
        assert_eq!(at(0), date("1970-01-01T00:00:00Z", "1970-01-01 00:00"));
        assert_eq!(at(-1), date("1969-12-31T23:59:59Z", "1969-12-31 23:59"));
        assert_eq!(at(i64::MAX), at(0));
        assert_eq!(at(i64::MIN), at(0));
    }

    /// A style or a script that was edited is not applied before its hash is in the policy.
    #[test]
    fn the_policies_have_the_hashes_of_the_style_and_the_script() {
        let hash = |page: &str, element: &str| {
            let (begin, end) = (format!("<{element}>"), format!("</{element}>"));
            let hash = Sha256::digest(between(page, &begin, &end));
            format!("{element}-src 'sha256-{}'; ", STANDARD.encode(hash))
        };
        let listing = text(|out| {
            listing_begin(out, b"");
            listing_end(out, 0);
        });
        let advice = Advice {
            sentence: "no",
            command: Some("no"),
            near: &[],
        };
        let error = text(|out| error_page(out, 404, "Not Found", &advice));
        let policy = |sources: &str| {
            format!(
                "default-src 'none'; {sources}img-src data:; base-uri 'none'; form-action 'none'; \
                 frame-ancestors 'self'"
            )
        };
        let sources = hash(&listing, "style") + &hash(&listing, "script");
        assert_eq!(LISTING_POLICY, policy(&sources));
        assert_eq!(ERROR_POLICY, policy(&hash(&error, "style")));
        for page in [listing, error] {
            assert!(page.len() < 10_000, "{} bytes", page.len());
            assert!(!page.contains("{{"), "{page}");
        }
    }
}
