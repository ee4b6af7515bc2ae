//! Floor 2, site: the character encoding that a text declares about itself. The parameter `charset`
//! of `Content-Type` takes precedence over such a declaration, so the parameter must not contradict
//! the text.
//!
//! | text | declaration | defined in |
//! |---|---|---|
//! | any | a byte order mark | Encoding, "BOM sniff" |
//! | HTML | `<meta charset=…>` or `<meta http-equiv=content-type content="…; charset=…">` | HTML, "prescan a byte stream to determine its encoding" |
//! | CSS | `@charset "…";` | CSS Syntax, "determine the fallback encoding" |
//! | XML | `<?xml … encoding="…"?>` | XML 1.0, 4.3.3 |
//!
//! Only the beginning of a text is examined: a page must declare its encoding within the first 1,024
//! bytes.

use memchr::{memchr, memmem};

/// Whether a text of the media type `essence` declares an encoding other than UTF-8.
pub(super) fn is_other_than_utf8(essence: &str, beginning: &[u8]) -> bool {
    match beginning {
        // A byte order mark takes precedence over every other declaration.
        [0xfe, 0xff, ..] | [0xff, 0xfe, ..] => return true,
        [0xef, 0xbb, 0xbf, ..] => return false,
        _ => {}
    }
    let label = match essence {
        "text/html" => label_of_page(beginning),
        "text/css" => label_of_style(beginning),
        "text/xml" => label_of_xml(beginning),
        _ => None,
    };
    let is_utf8 = |label: &[u8]| {
        let names: [&[u8]; 2] = [b"utf-8", b"utf8"];
        names
            .iter()
            .any(|n| label.trim_ascii().eq_ignore_ascii_case(n))
    };
    label.is_some_and(|label| !is_utf8(label))
}

/// The label in the first `meta` element that has one. Comments and other elements are skipped.
fn label_of_page(page: &[u8]) -> Option<&[u8]> {
    let mut rest = page;
    while let Some(at) = memchr(b'<', rest) {
        rest = &rest[at + 1..];
        if rest.starts_with(b"!--") {
            // The dashes at the beginning may be those at the end too: `<!-->` is a comment.
            rest = &rest[memmem::find(&rest[1..], b"-->")? + 4..];
            continue;
        }
        let name = rest
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric())
            .count();
        let is_meta = rest[..name].eq_ignore_ascii_case(b"meta");
        rest = &rest[name..];
        if name == 0 {
            continue;
        }
        let (mut charset, mut content, mut is_type) = (None, None, false);
        while let Some((name, value)) = next_attribute(&mut rest) {
            let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
            if is(b"charset") {
                charset = charset.or(Some(value));
            } else if is(b"content") {
                content = content.or_else(|| label_of_content(value));
            } else if is(b"http-equiv") {
                is_type |= value.eq_ignore_ascii_case(b"content-type");
            }
        }
        let label = charset.or(content.filter(|_| is_type));
        if is_meta && label.is_some() {
            return label;
        }
    }
    None
}

/// Takes the next attribute of an element from the front of `rest`. `None` at the end of the
/// element, or where `rest` ends. An attribute without a value has an empty value.
pub(super) fn next_attribute<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let is_space = u8::is_ascii_whitespace;
    let start = rest.iter().position(|b| !is_space(b) && *b != b'/');
    *rest = &rest[start.unwrap_or(rest.len())..];
    if matches!(rest, [] | [b'>', ..]) {
        return None;
    }
    let ends_name = |b: &u8| is_space(b) || matches!(b, b'=' | b'/' | b'>');
    // The first byte belongs to the name, even if the byte is an equals sign.
    let end = 1 + rest[1..].iter().take_while(|b| !ends_name(b)).count();
    let (name, after) = rest.split_at(end);
    let Some(value) = after.trim_ascii_start().strip_prefix(b"=") else {
        *rest = after;
        return Some((name, b""));
    };
    let value = value.trim_ascii_start();
    let (value, after) = match value {
        [quote @ (b'"' | b'\''), value @ ..] => match memchr(*quote, value) {
            Some(end) => (&value[..end], &value[end + 1..]),
            None => (value, &[][..]),
        },
        _ => {
            let ends_value = |b: &u8| is_space(b) || *b == b'>';
            value.split_at(value.iter().take_while(|b| !ends_value(b)).count())
        }
    };
    *rest = after;
    Some((name, value))
}

/// The label in the value of a `content` attribute: `text/html; charset=…`.
fn label_of_content(content: &[u8]) -> Option<&[u8]> {
    let mut parameters = content.split(|b| *b == b';').map(<[u8]>::trim_ascii);
    parameters.find_map(|parameter| {
        let (name, value) = parameter.split_at_checked(b"charset".len())?;
        let value = value.trim_ascii_start().strip_prefix(b"=")?.trim_ascii();
        let unquoted = value.trim_ascii_end();
        let bare = unquoted.strip_prefix(b"\"").or(unquoted.strip_prefix(b"'"));
        let bare = bare.map_or(unquoted, |bare| &bare[..bare.len().saturating_sub(1)]);
        name.eq_ignore_ascii_case(b"charset").then_some(bare)
    })
}

/// The rule must be the first bytes of the style sheet, exactly as written here.
fn label_of_style(style: &[u8]) -> Option<&[u8]> {
    let rest = style.strip_prefix(b"@charset \"")?;
    Some(&rest[..memchr(b'"', rest)?])
}

fn label_of_xml(xml: &[u8]) -> Option<&[u8]> {
    let mut rest = xml.strip_prefix(b"<?xml")?;
    rest = &rest[..memmem::find(rest, b"?>")?];
    let mut attributes = std::iter::from_fn(|| next_attribute(&mut rest));
    attributes.find_map(|(name, value)| (name == b"encoding").then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(essence: &str, text: &[u8], expected: bool) {
        let shown = text.escape_ascii();
        assert_eq!(is_other_than_utf8(essence, text), expected, "{shown}");
        // Any end of the text is harmless: only the beginning of a file is examined.
        for end in 0..text.len() {
            is_other_than_utf8(essence, &text[..end]);
        }
    }

    #[test]
    fn a_page_declares_its_encoding_in_a_meta_element() {
        for (page, expected) in [
            ("<!doctype html><title>x</title>", false),
            ("<meta charset=utf-8>", false),
            ("<META CHARSET = 'UTF8' />", false),
            ("<html><head><meta charset=Shift_JIS>", true),
            ("<meta charset=\"windows-1252\">", true),
            ("<meta name=x\n\tcharset = 'koi8-r'>", true),
            ("<meta charset=latin1", true),
            (
                "<meta http-equiv=\"Content-Type\" content=\"text/html; charset=Big5\">",
                true,
            ),
            (
                "<meta content='text/html;charset=\"big5\"' http-equiv=content-type>",
                true,
            ),
            (
                "<meta http-equiv=content-type content='text/html; charset=utf-8'>",
                false,
            ),
            ("<meta http-equiv=content-type content=text/html>", false),
            // The first declaration counts.
            ("<meta charset=utf-8><meta charset=big5>", false),
            ("<meta charset=big5><meta charset=utf-8>", true),
            // None of these is a declaration.
            ("<!-- <meta charset=big5> -->", false),
            ("<!--><meta charset=big5>", true),
            ("<a title='<meta charset=big5>'>", false),
            ("<meta name=description content='charset=big5'>", false),
            ("<metadata charset=big5>", false),
            ("< meta charset=big5>", false),
            ("a < b <meta charset=big5>", true),
            ("@charset \"big5\";", false),
            ("", false),
        ] {
            check("text/html", page.as_bytes(), expected);
            check("text/plain", page.as_bytes(), false);
        }
    }

    #[test]
    fn styles_and_xml_have_declarations_of_their_own() {
        check("text/css", b"@charset \"iso-8859-15\"; a {}", true);
        check("text/css", b"@charset \"UTF-8\"; a {}", false);
        check("text/css", b" @charset \"iso-8859-15\"; a {}", false);
        check(
            "text/xml",
            b"<?xml version=\"1.0\" encoding='latin1'?>",
            true,
        );
        check(
            "text/xml",
            b"<?xml version=\"1.0\" encoding=\"utf-8\"?>",
            false,
        );
        check(
            "text/xml",
            b"<?xml version=\"1.0\"?><a encoding='x'/>",
            false,
        );
    }

    #[test]
    fn a_byte_order_mark_takes_precedence() {
        for essence in ["text/html", "text/plain", "text/javascript"] {
            check(essence, b"\xff\xfea\0", true);
            check(essence, b"\xfe\xff\0a", true);
            check(essence, b"\xef\xbb\xbf<meta charset=big5>", false);
        }
    }
}
