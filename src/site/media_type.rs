//! Floor 3, site: the media type of a file, by the ending of its name (RFC 9110 §8.3).
//!
//! The `mime_guess` crate knows the registry. A short table goes before it where browsers need
//! something else, and text gets its charset: without one, browsers guess, and guess wrongly.

use std::borrow::Cow;

/// The value of `Content-Type` for a path; plain bytes for a name without a known ending.
pub(super) fn of(path: &[u8]) -> Cow<'static, str> {
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or(path);
    let ending = name
        .iter()
        .rposition(|b| *b == b'.')
        .map_or(&[][..], |dot| &name[dot + 1..]);
    let ending = str::from_utf8(ending).unwrap_or("");
    let essence = overridden(ending)
        .or_else(|| mime_guess::from_ext(ending).first_raw())
        .unwrap_or("application/octet-stream");
    match essence.starts_with("text/") {
        true => format!("{essence}; charset=utf-8").into(),
        false => essence.into(),
    }
}

fn overridden(ending: &str) -> Option<&'static str> {
    let table = [
        // Modules run only under a JavaScript type (HTML, "fetch a single module script").
        ("js", "text/javascript"),
        ("mjs", "text/javascript"),
        ("cjs", "text/javascript"),
        // Source maps are JSON; the registry has no type for them.
        ("map", "application/json"),
        ("webmanifest", "application/manifest+json"),
        // The registry knows an MPEG transport stream; next to a page it is TypeScript.
        ("ts", "text/plain"),
        ("tsx", "text/plain"),
        ("jsx", "text/plain"),
    ];
    let same = |(known, _): &&(&str, _)| ending.eq_ignore_ascii_case(known);
    table.iter().find(same).map(|(_, essence)| *essence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_the_types_they_need() {
        for (path, expected) in [
            ("index.html", "text/html; charset=utf-8"),
            ("a/b.CSS", "text/css; charset=utf-8"),
            ("m.mjs", "text/javascript; charset=utf-8"),
            ("a.json", "application/json"),
            ("a.js.map", "application/json"),
            ("x.wasm", "application/wasm"),
            ("x.svg", "image/svg+xml"),
            ("x.avif", "image/avif"),
            ("x.woff2", "font/woff2"),
            ("x.txt", "text/plain; charset=utf-8"),
            ("dir.html/LICENSE", "application/octet-stream"),
            ("x.\u{fffd}", "application/octet-stream"),
            ("", "application/octet-stream"),
        ] {
            assert_eq!(of(path.as_bytes()), expected, "{path}");
        }
    }
}
