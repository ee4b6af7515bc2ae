//! Floor 2, site: patterns of paths, and texts with the parts that a pattern has captured.
//!
//! ```text
//! pattern     = "/" [ segment *( "/" segment ) ] [ "/" ]
//! segment     = literal / [ literal ] placeholder [ literal ] / [ literal ] "*" [ literal ]
//! placeholder = ":" name
//! name        = ALPHA *( ALPHA / DIGIT / "_" )
//! ```
//!
//! A placeholder matches one segment or a part of one, and never a slash. The splat `*`, at most one
//! in a pattern, matches any text with any number of slashes, and is captured under the name `splat`.
//! A slash at the end of a pattern or of a path makes no difference.
//!
//! A match never goes back: each segment has one literal at its beginning and one at its end, and the
//! splat takes what the segments before and after leave. The time of a match is linear.
//!
//! Paths and captures are in *canonical* form: each byte that may stand in a segment (RFC 3986 §3.3)
//! stands for itself, and each other byte is encoded with `%` and two hexadecimal digits. Such a text
//! has no control byte, no quote and no backslash, so a capture is safe in a field and in a `Location`.

use std::borrow::Cow;
use std::ops::Range;

use percent_encoding::percent_encode_byte;

/// The path of a request, in canonical form and split into segments.
#[derive(Debug)]
pub struct CanonicalPath {
    /// The path without the first slash.
    text: String,
    /// The places of the segments in the text. No segment is empty.
    segments: Vec<Range<usize>>,
}

impl CanonicalPath {
    /// Brings `path` into canonical form. Empty segments and `.` segments are dropped. Returns `None` if
    /// the path does not begin with a slash, has a `..` segment or NUL, or is not encoded well: no rule
    /// is for such a path.
    pub fn new(path: &[u8]) -> Option<CanonicalPath> {
        let mut text = String::with_capacity(path.len());
        let mut segments = Vec::new();
        for segment in path.strip_prefix(b"/")?.split(|b| *b == b'/') {
            let before = text.len();
            if before > 0 && !text.ends_with('/') {
                text.push('/');
            }
            let start = text.len();
            push_canonical(segment, &mut text)?;
            match &text[start..] {
                "" => {}
                "." => text.truncate(start),
                ".." => return None,
                _ => segments.push(start..text.len()),
            }
        }
        Some(CanonicalPath { text, segments })
    }

    /// The path without the first slash.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn segment(&self, at: usize) -> &str {
        &self.text[self.segments[at].clone()]
    }
}

/// Whether a byte may stand in a segment of a path (RFC 3986 §3.3).
fn is_in_segment(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte)
}

/// Appends a segment in canonical form. Returns `None` if the segment has NUL, or a `%` without two
/// hexadecimal digits. An encoded slash stays encoded.
fn push_canonical(segment: &[u8], out: &mut String) -> Option<()> {
    let mut rest = segment.iter();
    while let Some(&byte) = rest.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || (*rest.next()? as char).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            byte => byte,
        };
        if byte == 0 {
            return None;
        }
        push_byte(byte, out);
    }
    Some(())
}

fn push_byte(byte: u8, out: &mut String) {
    match is_in_segment(byte) {
        true => out.push(byte as char),
        false => out.push_str(percent_encode_byte(byte)),
    }
}

/// A text of any bytes as one canonical segment.
pub fn canonical_segment(bytes: impl Iterator<Item = u8>) -> String {
    let mut out = String::new();
    bytes.for_each(|byte| push_byte(byte, &mut out));
    out
}

/// The parts of a request that a rule has captured: names and values.
pub type Captures<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// The name of the capture of a splat.
pub const SPLAT: &str = "splat";

/// A pattern of paths; see the module's docs.
#[derive(Debug)]
pub struct Pattern {
    /// The segments before the splat, or all segments.
    before: Vec<Segment>,
    splat: Option<Splat>,
}

/// A segment that matches one segment of a path.
#[derive(Debug)]
struct Segment {
    prefix: String,
    /// The name of the placeholder, and the literal after it.
    placeholder: Option<(String, String)>,
}

/// The splat with the literals before and after it in its segment, and the segments after that.
#[derive(Debug)]
struct Splat {
    prefix: String,
    suffix: String,
    after: Vec<Segment>,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// The reason why no pattern is made, as a sentence.
    pub fn parse(text: &str) -> Result<Pattern, &'static str> {
        let segments = text.strip_prefix('/').ok_or("a path begins with a slash")?;
        if text.contains(['?', '#']) {
            return Err("the path has no query; a condition such as id=:id comes after the path");
        }
        let mut pattern = Pattern {
            before: Vec::new(),
            splat: None,
        };
        for text in segments
            .split('/')
            .filter(|text| !matches!(*text, "" | "."))
        {
            if text == ".." {
                return Err("a path has no segment `..`");
            }
            match (text.split_once('*'), &mut pattern.splat) {
                (None, None) => pattern.before.push(Segment::parse(text)?),
                (None, Some(splat)) => splat.after.push(Segment::parse(text)?),
                (Some(_), Some(_)) => return Err(TWO_SPLATS),
                (Some((_, suffix)), None) if suffix.contains('*') => return Err(TWO_SPLATS),
                (Some((prefix, suffix)), None) => {
                    if placeholder(prefix)
                        .or_else(|| placeholder(suffix))
                        .is_some()
                    {
                        return Err(TWO_CAPTURES);
                    }
                    pattern.splat = Some(Splat {
                        prefix: literal(prefix)?,
                        suffix: literal(suffix)?,
                        after: Vec::new(),
                    });
                }
            }
        }
        let mut names: Vec<&str> = pattern.names().collect();
        names.sort_unstable();
        match names.windows(2).any(|pair| pair[0] == pair[1]) {
            true => Err("two parts of the path have the same name"),
            false => Ok(pattern),
        }
    }

    /// The names under which parts of a path are captured.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let after = self.splat.iter().flat_map(|splat| &splat.after);
        let segments = self.before.iter().chain(after);
        let names = segments.filter_map(|segment| segment.placeholder.as_ref());
        let splat = self.splat.as_ref().map(|_| SPLAT);
        names.map(|(name, _)| name.as_str()).chain(splat)
    }

    /// Whether the pattern matches one path only.
    pub fn is_static(&self) -> bool {
        self.names().next().is_none()
    }

    /// A path that the pattern matches.
    pub fn example(&self) -> String {
        let mut path = String::new();
        let push = |path: &mut String, segment: &Segment| {
            let (name, suffix) = match &segment.placeholder {
                Some((name, suffix)) => (name.as_str(), suffix.as_str()),
                None => ("", ""),
            };
            path.extend(["/", &segment.prefix, name, suffix]);
        };
        self.before.iter().for_each(|s| push(&mut path, s));
        if let Some(splat) = &self.splat {
            path.extend(["/", &splat.prefix, SPLAT, &splat.suffix]);
            splat.after.iter().for_each(|s| push(&mut path, s));
        }
        match path.is_empty() {
            true => "/".into(),
            false => path,
        }
    }

    /// Whether the pattern matches the path. If so, `captures` has what was captured; if not, the
    /// captures mean nothing.
    pub fn matches<'a>(&'a self, path: &'a CanonicalPath, captures: &mut Captures<'a>) -> bool {
        captures.clear();
        let (count, before) = (path.segments.len(), self.before.len());
        let mut all_match = |segments: &'a [Segment], from: usize| {
            let mut pairs = (from..).zip(segments);
            pairs.all(|(at, segment)| segment.matches(path.segment(at), captures))
        };
        let Some(splat) = &self.splat else {
            return count == before && all_match(&self.before, 0);
        };
        let after = splat.after.len();
        // A splat with segments after it takes at least one segment.
        if count < before + after + usize::from(after > 0) {
            return false;
        }
        if !all_match(&self.before, 0) || !all_match(&splat.after, count - after) {
            return false;
        }
        let text = &path.text;
        let from = path.segments.get(before).map_or(text.len(), |s| s.start);
        let to = match after {
            0 => text.len(),
            _ => path.segments[count - after - 1].end,
        };
        let rest = text[from..to].strip_prefix(splat.prefix.as_str());
        match rest.and_then(|rest| rest.strip_suffix(splat.suffix.as_str())) {
            Some(taken) => {
                captures.push((SPLAT, taken.into()));
                true
            }
            None => false,
        }
    }
}

const TWO_SPLATS: &str = "a path has one `*` at most";
const TWO_CAPTURES: &str = "a segment of a path has one placeholder or `*` at most";

impl Segment {
    fn parse(text: &str) -> Result<Segment, &'static str> {
        let Some((prefix, name, suffix)) = placeholder(text) else {
            let prefix = literal(text)?;
            return Ok(Segment {
                prefix,
                placeholder: None,
            });
        };
        match placeholder(suffix) {
            Some(_) => Err(TWO_CAPTURES),
            None => Ok(Segment {
                prefix: literal(prefix)?,
                placeholder: Some((name.to_owned(), literal(suffix)?)),
            }),
        }
    }

    fn matches<'a>(&'a self, text: &'a str, captures: &mut Captures<'a>) -> bool {
        let Some((name, suffix)) = &self.placeholder else {
            return text == self.prefix;
        };
        let rest = text.strip_prefix(self.prefix.as_str());
        match rest.and_then(|rest| rest.strip_suffix(suffix.as_str())) {
            None | Some("") => false,
            Some(taken) => {
                captures.push((name, taken.into()));
                true
            }
        }
    }
}

fn literal(text: &str) -> Result<String, &'static str> {
    let mut out = String::new();
    push_canonical(text.as_bytes(), &mut out)
        .map(|()| out)
        .ok_or("in a path, `%` is followed by two hexadecimal digits, and not by 00")
}

/// Finds the first placeholder in a text: the text before it, its name, and the text after it.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let colons = text.match_indices(':');
    let mut found = colons.filter_map(|(colon, _)| {
        let rest = &text[colon + 1..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let (name, after) = rest.split_at(end.unwrap_or(rest.len()));
        let begins_well = name.starts_with(|c: char| c.is_ascii_alphabetic());
        begins_well.then_some((&text[..colon], name, after))
    });
    found.next()
}

/// A text in which names stand for captures.
#[derive(Debug)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    Name(String),
}

impl Template {
    /// Reads a text. A name such as `:id` stands for a capture only if `is_known`; another name is
    /// text like the rest, which `clean` appends in a form that may be sent.
    pub fn parse(
        text: &str,
        is_known: impl Fn(&str) -> bool,
        clean: impl Fn(&str, &mut String),
    ) -> Template {
        let mut pieces = Vec::new();
        let (mut literal, mut rest) = (String::new(), text);
        while let Some((before, name, after)) = placeholder(rest) {
            match is_known(name) {
                true => {
                    clean(before, &mut literal);
                    pieces.push(Piece::Text(std::mem::take(&mut literal)));
                    pieces.push(Piece::Name(name.to_owned()));
                }
                false => clean(&rest[..rest.len() - after.len()], &mut literal),
            }
            rest = after;
        }
        clean(rest, &mut literal);
        pieces.push(Piece::Text(literal));
        Template { pieces }
    }

    /// Appends the text, with each capture as `write` appends it. Returns `None` if `out` would become
    /// longer than `bytes_max`.
    pub fn expand(
        &self,
        captures: &Captures<'_>,
        bytes_max: usize,
        write: impl Fn(&str, &mut String),
        out: &mut String,
    ) -> Option<()> {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Name(name) => {
                    let value = captures.iter().find(|(known, _)| known == name);
                    write(value.map_or("", |(_, value)| value), out);
                }
            }
            if out.len() > bytes_max {
                return None;
            }
        }
        Some(())
    }

    /// Whether any capture is in the text.
    pub fn has_captures(&self) -> bool {
        self.pieces.iter().any(|p| matches!(p, Piece::Name(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the captures, as `name=value` with spaces between; `None` if the pattern does not match.
    #[track_caller]
    fn check(pattern: &str, path: &str, expected: Option<&str>) {
        let pattern = Pattern::parse(pattern).expect("a pattern");
        let path = CanonicalPath::new(path.as_bytes()).expect("a path");
        let mut captures = Captures::new();
        let matches = pattern.matches(&path, &mut captures);
        let captures = captures
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let captures = captures.collect::<Vec<_>>().join(" ");
        assert_eq!(matches.then_some(captures.as_str()), expected);
    }

    #[test]
    fn a_pattern_matches_whole_paths() {
        check("/", "/", Some(""));
        check("/", "/a", None);
        check("/a", "/a", Some(""));
        check("/a", "/a/", Some(""));
        check("/a/", "/a", Some(""));
        check("/a", "/ab", None);
        check("/a", "/A", None);
        check("/a/b", "/a", None);
        check("/a", "//a/.", Some(""));
        check("/caf%c3%a9", "/caf%C3%A9", Some(""));
        check("/café", "/caf%C3%A9", Some(""));
        check("/%61%2Fb", "/a%2fb", Some(""));
        check("/a/b", "/a%2fb", None);
        check("/a:1", "/a:1", Some(""));
        check("/%2A", "/*", Some(""));
        check("/%2A", "/x", None);
    }

    #[test]
    fn a_placeholder_matches_within_a_segment() {
        check("/:a", "/x", Some("a=x"));
        check("/:a", "/", None);
        check("/:a", "/x/y", None);
        check("/:a/:b_2", "/x/y/", Some("a=x b_2=y"));
        check("/p/:a.html", "/p/x.html", Some("a=x"));
        check("/p/:a.html", "/p/.html", None);
        check("/v:n", "/v12", Some("n=12"));
        check("/v:n", "/12", None);
        check("/:a", "/%0d%0aX:%20y", Some("a=%0D%0AX:%20y"));
        check("/:a", "/a%2f%2fb", Some("a=a%2F%2Fb"));
    }

    #[test]
    fn a_splat_takes_what_is_left() {
        check("/*", "/", Some("splat="));
        check("/*", "/a/b/", Some("splat=a/b/"));
        check("/a/*", "/a", Some("splat="));
        check("/a/*", "/a/", Some("splat="));
        check("/a/*", "/ab", None);
        check("/a/*", "/a//b", Some("splat=b"));
        check("/a*", "/a/b", Some("splat=/b"));
        check("/*.js", "/a/b.js", Some("splat=a/b"));
        check("/*.js", "/a/b.css", None);
        check("/a/*/z", "/a/b/c/z", Some("splat=b/c"));
        check("/a/*/z", "/a/z", None);
        check("/:x/*/:z", "/1/2/3/4", Some("x=1 z=4 splat=2/3"));
        check("/aa*aa", "/aaa", None);
    }

    #[test]
    fn a_pattern_that_could_be_ambiguous_is_refused() {
        for text in [
            "",
            "a",
            "/*/*",
            "/**",
            "/:a:b",
            "/:a*",
            "/*:a",
            "/:a/:a",
            "/*/:splat",
            "/a?b",
            "/a#b",
            "/../a",
            "/%",
            "/%zz",
            "/%00",
            "/a%4",
        ] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_rule_is_for_a_path_that_leads_out_or_is_not_encoded_well() {
        for path in ["", "a", "/..", "/a/%2e%2E/b", "/%", "/%g0", "/%00"] {
            assert!(CanonicalPath::new(path.as_bytes()).is_none(), "{path}");
        }
    }

    /// The time is linear: patterns that a matcher with backtracking would try in many ways.
    #[test]
    fn a_long_path_is_matched_in_one_go() {
        let path = format!("/{}b", "a/".repeat(4000));
        check("/*/a/a/a/a/c", &path, None);
        let letters = format!("/{}", "a".repeat(8000));
        check(
            "/a*a",
            &letters,
            Some(&format!("splat={}", "a".repeat(7998))),
        );
        check(
            "/:x/*",
            &letters,
            Some(&format!("x={} splat=", "a".repeat(8000))),
        );
    }

    #[test]
    fn only_known_names_stand_for_captures() {
        let expand = |text| {
            let keep = |text: &str, out: &mut String| out.push_str(text);
            let template = Template::parse(text, |name| name == "id", keep);
            let captures = vec![("id", Cow::Borrowed("7"))];
            let mut out = String::new();
            let fits = template.expand(&captures, 30, keep, &mut out);
            fits.map(|()| out)
        };
        assert_eq!(expand("/:id/:idx:id:").as_deref(), Some("/7/:idx7:"));
        assert_eq!(expand("a:80 :: b").as_deref(), Some("a:80 :: b"));
        assert_eq!(expand(&":id".repeat(31)), None);
    }
}
