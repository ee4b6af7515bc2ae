//! Floor 2, site: the place in a page where a tag is inserted. The search is a pure function over the
//! first bytes of the page.
//!
//! ```text
//! page   = [ BOM ] filler [ doctype filler ] [ html-tag filler ] [ head-tag ] PLACE rest
//! filler = *( white-space / comment )
//! ```
//!
//! The place is at the beginning of the head, and the search reads nothing after it: a `</head>` or
//! `</body>` in a script, in a comment or in a template cannot lead the search astray, and an element
//! without an end swallows nothing. The tag stands
//!
//! - never before the doctype: the browser would lay out the page in quirks mode;
//! - never between `<html>` and `<head>`: the parser would begin a head of its own, and drop the
//!   attributes of the head in the page (HTML, "the before head insertion mode").
//!
//! The search follows the tokens of HTML, "tokenization": quoted attribute values may have a `>`,
//! `<header>` is another element, and `<?…>` and `<!…>` are comments too. Where a token has no end, or
//! something else comes, the search ends; the tag stands before it.

use memchr::{memchr, memmem};

use crate::site::charset::next_attribute;

/// The place for a tag in a page, and the encoding in which the tag must be written there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TagPlace {
    /// The offset in bytes from the beginning of the page.
    pub at: usize,
    encoding: Encoding,
}

/// The encodings that a tag may need. In every other encoding of the web but UTF-16, a tag in ASCII is the
/// same bytes (Encoding, "ASCII-compatible").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Encoding {
    AsciiCompatible,
    Utf16Le,
    Utf16Be,
}

impl TagPlace {
    /// The number of bytes at the beginning of a page that are searched. More than a license in a comment
    /// has: a tag before the comment could be before the doctype.
    pub const SEARCHED_BYTES: usize = 64 << 10;

    /// Finds the place in a page, from its first [`SEARCHED_BYTES`](TagPlace::SEARCHED_BYTES). `charset` is
    /// the parameter of `Content-Type`, which counts unless the page begins with a byte order mark.
    pub fn find(beginning: &[u8], charset: Option<&str>) -> TagPlace {
        let beginning = &beginning[..beginning.len().min(TagPlace::SEARCHED_BYTES)];
        let is_charset = |name| charset.is_some_and(|c| c.eq_ignore_ascii_case(name));
        let (encoding, mark) = match beginning {
            [0xef, 0xbb, 0xbf, ..] => (Encoding::AsciiCompatible, 3),
            [0xff, 0xfe, ..] => (Encoding::Utf16Le, 2),
            [0xfe, 0xff, ..] => (Encoding::Utf16Be, 2),
            _ if is_charset("utf-16be") => (Encoding::Utf16Be, 0),
            _ if is_charset("utf-16le") || is_charset("utf-16") => (Encoding::Utf16Le, 0),
            _ => (Encoding::AsciiCompatible, 0),
        };
        let text = &beginning[mark..];
        let at = match encoding {
            Encoding::AsciiCompatible => search(text),
            Encoding::Utf16Le => 2 * search(&narrowed(text, u16::from_le_bytes)),
            Encoding::Utf16Be => 2 * search(&narrowed(text, u16::from_be_bytes)),
        };
        let at = mark + at;
        TagPlace { at, encoding }
    }

    /// A tag in ASCII, as bytes in the encoding of the page.
    pub fn encode(self, tag: &str) -> Vec<u8> {
        match self.encoding {
            Encoding::AsciiCompatible => tag.into(),
            Encoding::Utf16Le => tag.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            Encoding::Utf16Be => tag.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        }
    }

    /// The page with the tag at the place.
    pub fn insert(self, tag: &str, page: &[u8]) -> Vec<u8> {
        let (before, after) = page.split_at(self.at);
        [before, &self.encode(tag), after].concat()
    }
}

/// A text in UTF-16 with one byte for each code unit. A character outside ASCII becomes a byte that no
/// token has.
fn narrowed(text: &[u8], unit: fn([u8; 2]) -> u16) -> Vec<u8> {
    let (pairs, _) = text.as_chunks::<2>();
    let units = pairs.iter().map(|pair| unit(*pair));
    let narrow = units.map(|unit| u8::try_from(unit).ok().filter(u8::is_ascii));
    narrow.map(|byte| byte.unwrap_or(0xff)).collect()
}

/// The offset of the place in a text without its byte order mark.
fn search(text: &[u8]) -> usize {
    let mut rest = after_filler(text, false);
    if starts_with(rest, b"<!doctype")
        && let Some(end) = memchr(b'>', rest)
    {
        rest = after_filler(&rest[end + 1..], true);
    }
    if let Some(after) = after_tag(rest, b"<html") {
        rest = after_filler(after, true);
    }
    if let Some(after) = after_tag(rest, b"<head") {
        rest = after;
    }
    text.len() - rest.len()
}

/// Whether a text starts with a name in lower case, in whatever case.
fn starts_with(text: &[u8], name: &[u8]) -> bool {
    let start = text.get(..name.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(name))
}

/// The rest of a text after white space and comments. A doctype is a comment once another has been read.
fn after_filler(text: &[u8], has_doctype: bool) -> &[u8] {
    let mut rest = text;
    loop {
        rest = rest.trim_ascii_start();
        let end = match rest {
            [b'<', b'!', b'-', b'-', comment @ ..] => end_of_comment(comment).map(|end| end + 4),
            [b'<', b'!', ..] if has_doctype || !starts_with(rest, b"<!doctype") => {
                memchr(b'>', rest).map(|end| end + 1)
            }
            [b'<', b'?', ..] => memchr(b'>', rest).map(|end| end + 1),
            _ => None,
        };
        match end {
            Some(end) => rest = &rest[end..],
            None => return rest,
        }
    }
}

/// The length of a comment after its `<!--`, with its end. `None` for a comment without an end.
fn end_of_comment(comment: &[u8]) -> Option<usize> {
    match comment {
        [b'>', ..] => return Some(1),
        [b'-', b'>', ..] => return Some(2),
        _ => {}
    }
    let mut from = 0;
    // Dashes may overlap: `--->` is an end too.
    while let Some(at) = memmem::find(&comment[from..], b"--") {
        let end = from + at + 2;
        match &comment[end..] {
            [b'>', ..] => return Some(end + 1),
            [b'!', b'>', ..] => return Some(end + 2),
            _ => from += at + 1,
        }
    }
    None
}

/// The rest of a text after a start tag that begins with `<` and a name. `None` if the text starts with
/// something else, or if the tag has no end.
fn after_tag<'a>(text: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    let mut rest = text.get(start.len()..)?;
    let ends_name = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>');
    if !starts_with(text, start) || !rest.first().is_some_and(ends_name) {
        return None;
    }
    while next_attribute(&mut rest).is_some() {}
    rest.strip_prefix(b">")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "<script src=\"/x.js\"></script>";

    /// The place is where the page has `|`.
    #[track_caller]
    fn check(marked: &str) {
        let at = marked.find('|').expect("a place is marked");
        let page = marked.replacen('|', "", 1);
        let place = TagPlace::find(page.as_bytes(), None);
        assert_eq!(place.at, at, "{page:?}");
        let expected = marked.replacen('|', TAG, 1);
        assert_eq!(place.insert(TAG, page.as_bytes()), expected.as_bytes());
        for (mark, unit) in [
            (&b"\xff\xfe"[..], u16::to_le_bytes as fn(u16) -> [u8; 2]),
            (b"\xfe\xff", u16::to_be_bytes),
        ] {
            let encode = |text: &str| {
                let units = text.encode_utf16().flat_map(unit);
                mark.iter().copied().chain(units).collect::<Vec<u8>>()
            };
            let place = TagPlace::find(&encode(&page), Some("utf-8"));
            let inserted = place.insert(TAG, &encode(&page));
            assert!(inserted == encode(&expected), "{page:?} in UTF-16");
        }
        // A page that is cut anywhere, such as one that is being typed, has a place too.
        for end in 0..page.len() {
            assert!(TagPlace::find(&page.as_bytes()[..end], None).at <= end);
        }
    }

    #[test]
    fn the_tag_stands_at_the_beginning_of_the_head() {
        check("<!doctype html><html><head>|<title>x</title></head><body></body></html>");
        check("<!DOCTYPE HTML>\n<HTML LANG=en>\n<HEAD>|\n<TITLE>x</TITLE>");
        check("<html><head>|");
        check("<head>|</head>");
        check("<head/>|");
        check("<head\n>|x");
        check("<!doctype html><head class='a>b' title=\"x > y\" data-x=1>|<meta charset=utf-8>");
        check("<html lang=\"a>b\" class='<head>'><head>|");
        check("<html a=><head>|");
        check(
            "<!doctype html public \"-//W3C//DTD XHTML 1.0 Strict//EN\" \"x.dtd\"><html xmlns='x'><head>|",
        );
    }

    #[test]
    fn a_page_needs_neither_a_head_nor_a_body_nor_an_html() {
        check("<!doctype html>|<title>x</title><p>y");
        check("<!doctype html>\n|<p>y");
        check("<!doctype html><html>|<body class=x></body>");
        check("<html>\n  |<title>x");
        check("|<p>fragment</p>");
        check("|text");
        check("|");
        check("\n |<body>");
        check("<!doctype html>|");
        check("<!doctype html>\n<html>|");
    }

    #[test]
    fn comments_are_passed_and_not_searched() {
        check("<!-- <head> --><!doctype html><!-- </head> --><html><!-- x --><head>|<!-- y -->");
        check("<!--[if IE]><html class=ie><head><![endif]--><!doctype html><html><head>|");
        check("<!doctype html><!--><html><!---><head>|");
        check("<!doctype html><!----><!-- a -- b --!><!-- c ---><html><head>|");
        check("<?xml version=\"1.0\"?>\n<!doctype html>\n<html><head>|");
        check("<!doctype html><![if !IE]><html><![endif]><head>|");
        check("<!doctype html><!doctype html><html><!doctype x><head>|");
        check("<?php echo 1 ?><html><head>|");
    }

    #[test]
    fn what_looks_like_a_head_is_none() {
        check("<!doctype html>|<header><h1>x</h1></header>");
        check("<!doctype html><html>|<header class=a>");
        check("<!doctype html>|<htmlx><head>");
        check("<!doctype html>|<!-- <head> ");
        check("|<body><script>'</head></body>'</script>");
        check("|< head>");
        check("|</head>");
        check("<!doctype html><html>|<title><head></title>");
        check("<!doctype html><head>|<script>document.write('<head></head></body>')</script>");
    }

    #[test]
    fn text_before_the_doctype_ends_the_search() {
        check("|Notice: undefined variable in x.php\n<!doctype html><html><head>");
        check("\n|DEBUG<!doctype html>");
    }

    #[test]
    fn a_token_without_an_end_ends_the_search() {
        check("<!doctype html>|<html lang=\"x");
        check("<!doctype html><html>|<head class='x>");
        check("<!doctype html><html>|<head");
        check("<!doctype html>|<!-- x -- >");
        check("|<!doctype html");
        check("<!doctype html><head>|<textarea><script><template><select><svg><!--");
    }

    #[test]
    fn a_byte_order_mark_stays_first() {
        let find = |page: &[u8], charset| TagPlace::find(page, charset);
        let place = find(b"\xef\xbb\xbf<!doctype html><p>", Some("utf-16"));
        assert_eq!((place.at, place.encoding), (18, Encoding::AsciiCompatible));
        assert_eq!(find(b"\xef\xbb\xbf", None).at, 3);
        assert_eq!(find(b"\xff\xfe", None).at, 2);
        // Half a code unit stays behind the tag.
        assert_eq!(find(b"\xff\xfe \0 \0x", None).at, 6);
    }

    #[test]
    fn without_a_mark_the_charset_of_the_answer_counts() {
        let place = |charset| TagPlace::find(b"\0 \0<\0p", Some(charset));
        assert_eq!(place("UTF-16BE").encoding, Encoding::Utf16Be);
        assert_eq!(place("utf-16be").at, 2);
        assert_eq!(place("utf-16").encoding, Encoding::Utf16Le);
        assert_eq!(place("gbk").encoding, Encoding::AsciiCompatible);
    }

    #[test]
    fn bytes_of_other_encodings_stay_as_they_are() {
        let page = b"<html><head><meta charset=gbk><title>\xc4\xe3\xba\xc3</title>";
        let inserted = TagPlace::find(page, None).insert(TAG, page);
        let tag = TAG.as_bytes();
        assert_eq!(inserted, [&page[..12], tag, &page[12..]].concat());
    }

    #[test]
    fn a_long_comment_before_the_doctype_is_passed() {
        let license = format!("<!--{}-->", "x".repeat(20_000));
        let page = format!("{license}<!doctype html><html><head>");
        assert_eq!(TagPlace::find(page.as_bytes(), None).at, page.len());
        // The search ends somewhere.
        let endless = "<!-- -->".repeat(TagPlace::SEARCHED_BYTES);
        let at = TagPlace::find(endless.as_bytes(), None).at;
        assert!(at <= TagPlace::SEARCHED_BYTES);
    }
}
