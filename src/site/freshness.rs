//! Floor 2, site: how long a cache may use a file without asking (RFC 9111 §4.2, §5.2.2).

use std::fmt;

/// How long a cache may use an answer without asking the server. `Display` writes the value of
/// `Cache-Control`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Freshness {
    /// Not at all: a cache keeps the answer, and asks each time whether the answer is still right.
    None,
    /// For this many seconds.
    Seconds(u32),
    /// For a year, and a reload of the page does not ask either (RFC 8246): the name of the file
    /// changes with the content.
    Immutable,
}

impl Freshness {
    /// The freshness of the file at `path` if files may be used for `max_age` seconds.
    pub fn of(path: &[u8], max_age: Option<u32>) -> Freshness {
        match max_age {
            None => Freshness::None,
            Some(_) if has_hash(path) => Freshness::Immutable,
            Some(seconds) => Freshness::Seconds(seconds),
        }
    }
}

impl fmt::Display for Freshness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Freshness::None => f.write_str("no-cache"),
            Freshness::Seconds(seconds) => write!(f, "max-age={seconds}"),
            Freshness::Immutable => f.write_str("max-age=31536000, immutable"),
        }
    }
}

/// The number of characters in a short hash.
const SHORT: usize = 8;

/// Whether the name of a file ends in a hash of the content, before the last extension, as build
/// tools write it: `app-5d3f9a1b.js`, `app.5d3f9a1b.css`. A word must not be taken for a hash, because a
/// browser would keep the file for a year. A hash that is taken for a word only costs a question. So a
/// hash must be in the alphabet of a known tool, and have letters and digits:
///
/// - at least eight hexadecimal digits with small letters (webpack, rustdoc, Next.js, Hugo);
/// - exactly eight characters of base64url (Vite, Rollup) or of base32 (esbuild), in which letters and
///   digits alternate at least twice: `Version2` is a word, `BxY12abc` is not.
fn has_hash(path: &[u8]) -> bool {
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
    let Some(dot) = name.iter().rposition(|b| *b == b'.') else {
        return false;
    };
    let stem = &name[..dot];
    let is_break = |b: &u8| matches!(b, b'-' | b'.');
    if let Some(at) = stem.iter().rposition(is_break)
        && at > 0
        && is_hexadecimal_hash(&stem[at + 1..])
    {
        return true;
    }
    // In base64url, the hash may have a hyphen itself.
    match stem.split_last_chunk::<SHORT>() {
        Some(([_, .., before], hash)) => is_break(before) && is_short_hash(hash),
        Some(_) | None => false,
    }
}

fn is_hexadecimal_hash(text: &[u8]) -> bool {
    text.len() >= SHORT
        && text.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        && text.iter().any(u8::is_ascii_digit)
        && text.iter().any(u8::is_ascii_alphabetic)
}

fn is_short_hash(text: &[u8; SHORT]) -> bool {
    let is_base32 = text.iter().all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7'));
    let is_base64 = text
        .iter()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        && text.iter().any(u8::is_ascii_uppercase)
        && text.iter().any(u8::is_ascii_lowercase);
    let kinds = || {
        text.iter()
            .filter(|b| b.is_ascii_alphanumeric())
            .map(u8::is_ascii_digit)
    };
    let turns = kinds().zip(kinds().skip(1)).filter(|(a, b)| a != b).count();
    (is_base32 || is_base64) && turns >= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_of_a_build_tool_is_told_from_a_word() {
        for path in [
            "assets/index-BxY12abc.js",
            "index-a-B3_xY4.css",
            "name.3f9a1b2c.js",
            "main-0a1b2c3d4e5f6789.js",
            "a.b.0123456789abcdef0123456789abcdef.min.css.map.5d3f9a1b.css",
            "chunk-ILSTRP3O.js",
            "static.files/rustdoc-84e720fa.css",
        ] {
            assert!(has_hash(path.as_bytes()), "{path}");
        }
        for path in [
            "index.html",
            "",
            "a/",
            "app-Version2.js",
            "app-VERSION2.js",
            "report-September2024.pdf",
            "photo-20240601.jpg",
            "shot-20240601T1200.png",
            "jquery-3.7.1.min.js",
            "app-component2x.js",
            "decade-facade.js",
            "a-5d3f9a1.js",
            "5d3f9a1b.js",
            "-5d3f9a1b.js",
            "BxY12abc.js",
            "app-5d3f9a1b",
            "app-5d3f9a1b/index.js",
            "app-5d3f9a1b.js.map",
            "app_BxY12abc.js",
        ] {
            assert!(!has_hash(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn only_with_a_time_is_a_file_used_without_asking() {
        for (path, max_age, expected) in [
            ("a.js", None, "no-cache"),
            ("a-5d3f9a1b.js", None, "no-cache"),
            ("a.js", Some(60), "max-age=60"),
            ("a-5d3f9a1b.js", Some(60), "max-age=31536000, immutable"),
        ] {
            let freshness = Freshness::of(path.as_bytes(), max_age);
            assert_eq!(freshness.to_string(), expected, "{path} {max_age:?}");
        }
    }
}
