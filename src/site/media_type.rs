//! Floor 2, site: the media type of a file, from the ending of its name (RFC 9110 §8.3).
//!
//! The `mime_guess` crate knows the registry of media types. A short table takes precedence where
//! browsers need another type, or where the crate has an odd one. A file without a known type is
//! sent as text if the first bytes are text (`README`, `.vue`). Text gets the charset UTF-8, because without a charset browsers
//! guess, and often guess wrongly. Text that declares another encoding gets no charset, so that the
//! declaration counts.

use std::borrow::Cow;

use super::{charset, encoding};
use crate::http::Coding;

/// The number of bytes at the beginning of a file that [`of`] examines. A page must declare its
/// encoding within this number of bytes (HTML, "specifying the document's character encoding").
pub(super) const BEGINNING_BYTES: usize = 1024;

/// Returns the value of `Content-Type` for a path. `beginning` is the first [`BEGINNING_BYTES`]
/// bytes of the file, or the whole file if the file is shorter. For a name without a known ending,
/// the type is `text/plain` or `application/octet-stream`, by the beginning.
pub(super) fn of(path: &[u8], beginning: &[u8]) -> Cow<'static, str> {
    let ending = ending_of(path);
    let is_script_or_video = ["ts", "mts", "cts"]
        .iter()
        .any(|known| ending.eq_ignore_ascii_case(known));
    let essence = match is_script_or_video && is_transport_stream(beginning) {
        true => "video/mp2t",
        false => overridden(ending)
            .or_else(|| mime_guess::from_ext(ending).first_raw())
            .filter(|essence| *essence != UNKNOWN)
            .unwrap_or_else(|| match is_text(beginning) {
                true => "text/plain",
                false => UNKNOWN,
            }),
    };
    match essence.starts_with("text/") && !charset::is_other_than_utf8(essence, beginning) {
        true => format!("{essence}; charset=utf-8").into(),
        false => essence.into(),
    }
}

const UNKNOWN: &str = "application/octet-stream";

/// Whether a file is text: its first 512 bytes are UTF-8, perhaps with a character that is cut at
/// the end, and without control characters. Tab, line feed, form feed, carriage return and escape
/// do not count as control characters, as in MIME Sniffing ("binary data byte"). An empty file is
/// text.
fn is_text(beginning: &[u8]) -> bool {
    let beginning = &beginning[..beginning.len().min(512)];
    let is_control = |b: &u8| matches!(b, 0..=8 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f);
    let is_utf8 = match str::from_utf8(beginning) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    is_utf8 && !beginning.iter().any(is_control)
}

/// Returns the coding in which the whole file is, beneath its media type. An `.svgz` is an
/// `image/svg+xml` in gzip, and browsers show the image only if `Content-Encoding` says so. Other
/// compressed files, such as `.tgz`, have a media type of their own and are in no coding: a browser
/// would save them decompressed, under a name that says otherwise.
pub(super) fn coding_of(path: &[u8], length: u64, beginning: &[u8]) -> Coding {
    let is_svgz = ending_of(path).eq_ignore_ascii_case("svgz");
    match is_svgz && encoding::may_be_in(Coding::Gzip, length, beginning) {
        true => Coding::Gzip,
        false => Coding::Identity,
    }
}

/// The ending of the file's name, without the dot; empty if the name has none.
fn ending_of(path: &[u8]) -> &str {
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or(path);
    let dot = name.iter().rposition(|b| *b == b'.');
    let ending = dot.map_or(&[][..], |dot| &name[dot + 1..]);
    str::from_utf8(ending).unwrap_or("")
}

/// Whether content of this type is worth compressing: text in some form, or another format without
/// compression of its own.
pub(super) fn is_compressible(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or(media_type);
    let structured = |suffix: &str| essence.ends_with(suffix);
    essence.starts_with("text/")
        || structured("+json")
        || structured("+xml")
        || matches!(
            essence,
            "application/json"
                | "application/xml"
                | "application/javascript"
                | "application/wasm"
                | "application/rtf"
                | "font/ttf"
                | "font/otf"
                | "application/vnd.ms-fontobject"
                | "image/bmp"
                | "model/obj"
                | "model/mtl"
                | "model/stl"
                | "image/x-icon"
                | "image/vnd.microsoft.icon"
        )
}

/// Whether a file is an MPEG transport stream: packets of 188 bytes, each beginning with 0x47
/// (ISO/IEC 13818-1, 2.4.3.2). Cameras write `.mts` files with a time of 4 bytes in front of each
/// packet. Two packets are examined.
fn is_transport_stream(beginning: &[u8]) -> bool {
    let has_sync_at = |places: [usize; 2]| places.map(|at| beginning.get(at)) == [Some(&0x47); 2];
    has_sync_at([0, 188]) || has_sync_at([4, 4 + 192])
}

fn overridden(ending: &str) -> Option<&'static str> {
    let table = [
        // Modules run only under a JavaScript type (HTML, "fetch a single module script").
        ("js", "text/javascript"),
        ("mjs", "text/javascript"),
        ("cjs", "text/javascript"),
        // The registered types of fonts (RFC 8081); `mime_guess` has older names.
        ("woff", "font/woff"),
        ("otf", "font/otf"),
        ("ttf", "font/ttf"),
        // Segments of streams (RFC 8216, ISO/IEC 23009-1).
        ("m3u8", "application/vnd.apple.mpegurl"),
        ("m4s", "video/iso.segment"),
        // Source maps are JSON; the registry has no type for them.
        ("map", "application/json"),
        ("webmanifest", "application/manifest+json"),
        // TypeScript, unless the file is an MPEG transport stream. Browsers run no TypeScript.
        ("ts", "text/plain"),
        ("mts", "text/plain"),
        ("cts", "text/plain"),
        ("tsx", "text/plain"),
        ("jsx", "text/plain"),
        // Sources that a browser shows as text only. Some have types by which they are saved.
        ("sh", "text/plain"),
        ("bat", "text/plain"),
        ("pl", "text/plain"),
        ("sql", "text/plain"),
        ("tex", "text/plain"),
        ("dart", "text/plain"),
        ("json5", "text/plain"),
        ("wgsl", "text/wgsl"),
        // JSON by another name.
        ("importmap", "application/importmap+json"),
        ("topojson", "application/json"),
        // Registered types of which `mime_guess` knows none, or another.
        ("m4a", "audio/mp4"),
        ("cur", "image/vnd.microsoft.icon"),
        ("ktx2", "image/ktx2"),
        ("usdz", "model/vnd.usdz+zip"),
        ("obj", "model/obj"),
        ("mtl", "model/mtl"),
        ("stl", "model/stl"),
        ("3mf", "model/3mf"),
        ("zst", "application/zstd"),
        ("deb", "application/vnd.debian.binary-package"),
        // Not registered, but used by every server of packages.
        ("rpm", "application/x-rpm"),
    ];
    let same = |(lookup, _): &&(&str, _)| ending.eq_ignore_ascii_case(lookup);
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
            ("x.woff", "font/woff"),
            ("x.otf", "font/otf"),
            ("x.m4s", "video/iso.segment"),
            ("x.txt", "text/plain; charset=utf-8"),
            ("x.wgsl", "text/wgsl; charset=utf-8"),
            ("x.geojson", "application/geo+json"),
            ("x.topojson", "application/json"),
            ("x.importmap", "application/importmap+json"),
            ("x.m4a", "audio/mp4"),
            ("x.cur", "image/vnd.microsoft.icon"),
            ("x.ktx2", "image/ktx2"),
            ("x.usdz", "model/vnd.usdz+zip"),
            ("x.obj", "model/obj"),
            ("x.stl", "model/stl"),
            ("x.rpm", "application/x-rpm"),
            ("x.deb", "application/vnd.debian.binary-package"),
            ("x.sh", "text/plain; charset=utf-8"),
        ] {
            assert_eq!(of(path.as_bytes(), b"\0"), expected, "{path}");
        }
    }

    #[test]
    fn a_file_without_a_known_type_is_text_if_it_reads_like_text() {
        let text = "text/plain; charset=utf-8";
        let long = "\u{e9}".repeat(600);
        let late = [&[b'a'; 512][..], b"\0"].concat();
        for (bytes, expected) in [
            (&b""[..], text),
            (b"all:\n\tmake\r\n\x0c\x1b[0m\x7f", text),
            ("\u{feff}na\u{ef}ve".as_bytes(), text),
            (long.as_bytes(), text),
            // The cut is in the middle of a character.
            (&long.as_bytes()[1..], "application/octet-stream"),
            (&long.as_bytes()[..511], text),
            (&late, text),
            (b"\x7fELF\x02\x01", "application/octet-stream"),
            (b"a\0", "application/octet-stream"),
            (b"na\xefve", "application/octet-stream"),
            (b"\xff\xfea\0", "application/octet-stream"),
        ] {
            for path in [
                "dir.html/LICENSE",
                "Makefile",
                "",
                "x.\u{fffd}",
                "x.jsonl",
                "x.jsonc",
                "x.vue",
                "x.svelte",
                "x.astro",
                "x.proto",
                "x.graphql",
                "x.gql",
                "x.glsl",
                "x.vert",
                "x.frag",
                "x.patch",
                "x.diff",
                "x.java",
                "x.bin",
            ] {
                let shown = bytes.escape_ascii();
                assert_eq!(of(path.as_bytes(), bytes), expected, "{path}: {shown}");
            }
        }
    }

    #[test]
    fn a_ts_is_video_only_if_it_is_one() {
        let mut of_a_camera = [0; 1024];
        for at in (4..1024).step_by(192) {
            of_a_camera[at] = b'G';
        }
        for path in ["a.ts", "a.mts", "a.CTS"] {
            let path = path.as_bytes();
            assert_eq!(of(path, &[b'G'; 100]), "text/plain; charset=utf-8");
            assert_eq!(of(path, b"export {};"), "text/plain; charset=utf-8");
            assert_eq!(of(path, &[b'G'; 189]), "video/mp2t");
            assert_eq!(of(path, &of_a_camera), "video/mp2t");
        }
    }

    #[test]
    fn only_a_compressed_drawing_is_in_a_coding() {
        let gzip = [&[0x1f, 0x8b, 8][..], &[0; 20]].concat();
        for (path, bytes, expected) in [
            ("a.svgz", &gzip[..], Coding::Gzip),
            ("a.SVGZ", &gzip, Coding::Gzip),
            ("a.svgz", b"<svg/>", Coding::Identity),
            ("a.svg", &gzip, Coding::Identity),
            ("a.svg.gz", &gzip, Coding::Identity),
            ("a.tgz", &gzip, Coding::Identity),
            ("svgz", &gzip, Coding::Identity),
        ] {
            let got = coding_of(path.as_bytes(), bytes.len() as u64, bytes);
            assert_eq!(got, expected, "{path}");
        }
        assert_eq!(of(b"a.svgz", &gzip), "image/svg+xml");
    }

    #[test]
    fn text_that_declares_another_encoding_gets_no_charset() {
        let page = b"<meta charset=Shift_JIS>";
        assert_eq!(of(b"a.html", page), "text/html");
        assert_eq!(of(b"a.txt", page), "text/plain; charset=utf-8");
        assert_eq!(of(b"a.txt", b"\xff\xfea\0"), "text/plain");
        assert_eq!(of(b"a.css", b"@charset \"big5\";"), "text/css");
    }

    #[test]
    fn text_is_compressible_and_what_is_compressed_is_not() {
        for (path, expected) in [
            ("a.html", true),
            ("a.svg", true),
            ("a.json", true),
            ("a.webmanifest", true),
            ("a.wasm", true),
            ("a.ttf", true),
            ("a.rss", true),
            ("a.png", false),
            ("a.woff2", false),
            ("a.mp4", false),
            ("a.zip", false),
            ("a.stl", true),
            ("a", false),
        ] {
            assert_eq!(
                is_compressible(&of(path.as_bytes(), b"\0")),
                expected,
                "{path}"
            );
        }
    }
}
