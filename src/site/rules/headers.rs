//! Floor 2, site: the rules of a `_headers` file, as Netlify and Cloudflare Pages know them. The parser
//! and the matcher are pure: text and paths go in, values come out.
//!
//! ```text
//! file = *( path *( field / removal ) )     ; one element on a line, blank lines between
//! path    = pattern                         ; see pattern.rs
//! field   = name ":" value                  ; with ":splat" and ":name" for parts of the path
//! removal = "!" name
//! ```
//!
//! Lines that begin with `#` are comments. Every rule that matches the path of a request applies, in
//! order. A field replaces the field of the server. Fields of one name, in one rule or in several, are
//! joined with a comma, but each `Set-Cookie` is a field of its own (RFC 9110 §5.3). A removal takes
//! away the field of the server, and those of the rules before.

use std::collections::BTreeMap;

use super::Notes;
use super::pattern::{CanonicalPath, Captures, Pattern, Template};
use crate::http::{Change, fixed_field, is_field_name, is_field_value};

/// The rules of a file, in order.
#[derive(Debug, Default)]
pub struct Headers {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    path: Pattern,
    /// The names, as written and in lower case.
    removed: Vec<(String, String)>,
    fields: Vec<FieldRule>,
}

#[derive(Debug)]
struct FieldRule {
    line: usize,
    name: String,
    /// The name in lower case.
    lower: String,
    value: Template,
}

/// A change that the rules make to a response head.
#[derive(Debug)]
pub struct Edit<'a> {
    /// The number of the line in the file; 0 for a removal.
    pub line: usize,
    pub name: &'a str,
    /// The name in lower case.
    lower: &'a str,
    /// The value, or `None` to remove the field.
    value: Option<String>,
    /// Whether the field stands beside others of its name.
    is_added: bool,
}

impl Edit<'_> {
    pub fn change(&self) -> Change<'_> {
        match &self.value {
            Some(value) if self.is_added => Change::Add(self.name, value),
            Some(value) => Change::Set(self.name, value),
            None => Change::Remove(self.name),
        }
    }

    /// Whether the edit is about the field of this name.
    pub fn is_of(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// The value of a field that is set.
    pub fn value(&self) -> &str {
        self.value.as_deref().unwrap_or_default()
    }
}

impl Headers {
    /// More rules, and more fields and removals of all rules, than these are ignored.
    const RULES_MAX: usize = 1000;
    const FIELDS_MAX: usize = 2000;
    /// The fields of one answer have at most this many bytes, because clients refuse long heads. What
    /// comes after is not sent.
    const BYTES_MAX: usize = 32 * 1024;
    /// The bounds of Cloudflare Pages: rules, and characters of a line.
    const CLOUDFLARE_RULES_MAX: usize = 100;
    const LINE_CHARS_MAX: usize = 2000;

    /// Reads the rules of a file. A line that says nothing is skipped, and noted with the reason.
    pub fn parse(text: &str, notes: &mut Notes) -> Headers {
        let mut headers = Headers::default();
        // Whether the fields that follow belong to the last rule, or to a path that was skipped.
        let mut is_in_rule = None;
        let (mut fields, mut has_said_hsts) = (0, false);
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            if headers.rules.len() > Headers::RULES_MAX || fields > Headers::FIELDS_MAX {
                headers.rules.truncate(Headers::RULES_MAX);
                notes.add(
                    line,
                    "from here on the file is ignored: too many rules".into(),
                );
                break;
            }
            if text.chars().nth(Headers::LINE_CHARS_MAX).is_some() {
                let max = Headers::LINE_CHARS_MAX;
                notes.add(
                    line,
                    format!("Cloudflare ignores a line over {max} characters"),
                );
            }
            if let Some(path) = path_line(text) {
                let pattern = path.and_then(Pattern::parse);
                is_in_rule = Some(pattern.is_ok());
                match pattern {
                    Ok(path) => headers.rules.push(Rule {
                        path,
                        removed: Vec::new(),
                        fields: Vec::new(),
                    }),
                    Err(reason) => notes.skipped(line, text, reason),
                }
                if headers.rules.len() == Headers::CLOUDFLARE_RULES_MAX + 1
                    && is_in_rule == Some(true)
                {
                    let max = Headers::CLOUDFLARE_RULES_MAX;
                    notes.add(
                        line,
                        format!("Cloudflare ignores the file from here on: over {max} rules"),
                    );
                }
                continue;
            }
            let rule = match is_in_rule {
                Some(true) => headers.rules.last_mut().expect("a rule was begun"),
                // The path was noted.
                Some(false) => continue,
                None => {
                    notes.skipped(line, text, "a path comes before the fields");
                    continue;
                }
            };
            fields += 1;
            match rule.add(line, text) {
                Ok(()) => {}
                Err(HSTS) if has_said_hsts => {}
                Err(reason) => {
                    has_said_hsts |= reason == HSTS;
                    notes.skipped(line, text, reason);
                }
            }
        }
        headers
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The number of rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// The changes for a path, in the order in which to make them.
    pub fn edits<'a>(&'a self, path: &CanonicalPath) -> Vec<Edit<'a>> {
        let mut edits: Vec<Edit<'a>> = Vec::new();
        // By the name in lower case: the place of the field that values are joined to, and the number of
        // edits before the last removal.
        let mut places: BTreeMap<&'a str, (Option<usize>, usize)> = BTreeMap::new();
        let mut bytes = 0;
        for rule in &self.rules {
            let mut captures = Captures::new();
            if !rule.path.matches(path, &mut captures) {
                continue;
            }
            for (name, lower) in &rule.removed {
                places.insert(lower, (None, edits.len()));
                edits.push(Edit {
                    line: 0,
                    name,
                    lower,
                    value: None,
                    is_added: false,
                });
            }
            for field in &rule.fields {
                let keep = |value: &str, out: &mut String| out.push_str(value);
                let mut value = String::new();
                let expanded = field
                    .value
                    .expand(&captures, Headers::BYTES_MAX, keep, &mut value);
                bytes += field.name.len() + value.len() + 4;
                if expanded.is_none() || bytes > Headers::BYTES_MAX {
                    return without_removed(edits, &places);
                }
                let is_added = stands_beside_others(&field.name);
                let (joined, _) = places.entry(&field.lower).or_default();
                match joined.and_then(|at| edits.get_mut(at)) {
                    Some(Edit {
                        line,
                        value: Some(before),
                        ..
                    }) => {
                        *line = field.line;
                        before.push_str(", ");
                        before.push_str(&value);
                    }
                    _ => {
                        *joined = Some(edits.len()).filter(|_| !is_added);
                        edits.push(Edit {
                            line: field.line,
                            name: &field.name,
                            lower: &field.lower,
                            value: Some(value),
                            is_added,
                        });
                    }
                }
            }
        }
        without_removed(edits, &places)
    }
}

/// The edits without those that a later removal undoes.
fn without_removed<'a>(
    edits: Vec<Edit<'a>>,
    places: &BTreeMap<&'a str, (Option<usize>, usize)>,
) -> Vec<Edit<'a>> {
    let edits = edits.into_iter().enumerate();
    let stays = |(at, edit): &(usize, Edit<'a>)| {
        let place = places.get(edit.lower);
        place.is_none_or(|(_, removed)| at >= removed)
    };
    edits.filter(stays).map(|(_, edit)| edit).collect()
}

/// Whether a field is sent beside others of its name. Cookies cannot be joined, and `Vary` has a member
/// of the server, which must stay: an answer depends on `Accept-Encoding`, whatever the user writes.
fn stands_beside_others(name: &str) -> bool {
    name.eq_ignore_ascii_case("Set-Cookie") || name.eq_ignore_ascii_case("Vary")
}

/// The pattern of a line that begins a rule, or the reason why its rule is skipped; `None` for another
/// line. A rule for any host is a rule for this server.
fn path_line(text: &str) -> Option<Result<&str, &'static str>> {
    if text.starts_with("//") {
        return Some(Err(ONE_HOST));
    }
    if text.starts_with('/') {
        return Some(Ok(text));
    }
    let (scheme, rest) = text.split_once("://")?;
    if scheme.contains(|c: char| c.is_whitespace() || c == ':') {
        return None;
    }
    let path = rest.find('/').map_or("/", |at| &rest[at..]);
    let host = rest.split('/').next().unwrap_or_default();
    let is_any = host == "*"
        || host.strip_prefix(':').is_some_and(|name| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        });
    Some(match is_any {
        true => Ok(path),
        false => Err(ONE_HOST),
    })
}

const ONE_HOST: &str = "a rule for one host is not followed here; write the path alone";

/// A browser that has seen this field asks for the host by https only, and for localhost that would
/// break every other server on the machine. Over plain HTTP the field means nothing (RFC 6797 §8.1).
const HSTS: &str = "a browser that learned it for localhost would refuse localhost without TLS";

impl Rule {
    fn add(&mut self, line: usize, text: &str) -> Result<(), &'static str> {
        if let Some(name) = text.strip_prefix('!') {
            let name = checked_name(name.trim())?;
            if name.eq_ignore_ascii_case("Vary") {
                return Err("the server sends one file in several codings, and caches must know");
            }
            let lower = name.to_ascii_lowercase();
            self.removed.push((name.to_owned(), lower));
            return Ok(());
        }
        let (name, value) = text
            .split_once(':')
            .ok_or("a line is a path, `Name: value` or `! Name`")?;
        let (name, value) = (checked_name(name.trim())?, value.trim());
        if value.is_empty() {
            return Err("the field has no value; `! Name` removes a field");
        }
        if !is_field_value(value) {
            return Err("a value has no control characters");
        }
        let is_known = |name: &str| self.path.names().any(|known| known == name);
        let keep = |text: &str, out: &mut String| out.push_str(text);
        let value = Template::parse(value, is_known, keep);
        let (name, lower) = (name.to_owned(), name.to_ascii_lowercase());
        self.fields.push(FieldRule {
            line,
            name,
            lower,
            value,
        });
        Ok(())
    }
}

fn checked_name(name: &str) -> Result<&str, &'static str> {
    if !is_field_name(name) {
        return Err("this is not the name of a field");
    }
    if name.eq_ignore_ascii_case("Strict-Transport-Security") {
        return Err(HSTS);
    }
    match fixed_field(name) {
        Some(reason) => Err(reason),
        None => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Headers, Vec<String>) {
        let mut notes = Notes::new("_headers");
        let headers = Headers::parse(text, &mut notes);
        (headers, notes.into_lines())
    }

    fn edits(headers: &Headers, path: &str) -> String {
        let path = CanonicalPath::new(path.as_bytes()).expect("a path");
        let edits = headers.edits(&path);
        let edits = edits.iter().map(|edit| match edit.change() {
            Change::Set(name, value) => format!("{name}={value}"),
            Change::Add(name, value) => format!("+{name}={value}"),
            Change::Remove(name) => format!("!{name}"),
        });
        edits.collect::<Vec<_>>().join(" | ")
    }

    /// Checks the changes that the rules, which are all valid, make for a path.
    #[track_caller]
    fn check(text: &str, path: &str, expected: &str) {
        let (headers, notes) = parse(text);
        assert_eq!(notes, [""; 0]);
        assert_eq!(edits(&headers, path), expected);
    }

    #[test]
    fn every_rule_that_matches_applies() {
        let text = "# a comment\n/*\n  X-A: 1\n  # another\n\n/b/*\r\n\tX-B: 2: 3\r\n/c\nX-C:4\n";
        check(text, "/", "X-A=1");
        check(text, "/b/x", "X-A=1 | X-B=2: 3");
        check(text, "/c", "X-A=1 | X-C=4");
        check("https://:host/a\n X: 1\nhttp://*/b\n X: 2", "/b", "X=2");
        check(
            "/a\n Link: </b>; rel=preload, <https://h/>",
            "/a",
            "Link=</b>; rel=preload, <https://h/>",
        );
    }

    #[test]
    fn values_of_one_name_are_joined_and_can_be_removed() {
        check("/a\n X: 1\n x: 2\n/*\n X: 3", "/a", "X=1, 2, 3");
        check("/*\n X: 1\n/a\n ! x\n X: 2", "/a", "!x | X=2");
        check("/*\n X: 1\n/a\n X: 2\n ! X", "/a", "!X | X=2");
        check("/a\n ! Cache-Control", "/a", "!Cache-Control");
        check(
            "/a\n Set-Cookie: a=1\n set-cookie: b=2",
            "/a",
            "+Set-Cookie=a=1 | +set-cookie=b=2",
        );
        check(
            "/a\n Vary: Origin\n Vary: X",
            "/a",
            "+Vary=Origin | +Vary=X",
        );
    }

    #[test]
    fn captures_go_into_values_and_nowhere_else() {
        check("/m/:t/*\n X: :t-:splat-:u", "/m/a/b/c", "X=a-b/c-:u");
        check(
            "/*\n X: :splat",
            "/%0d%0aSet-Cookie:%20a",
            "X=%0D%0ASet-Cookie:%20a",
        );
        check("/:a\n X: :a", "/%22%3cb%c3%a9", "X=%22%3Cb%C3%A9");
    }

    #[test]
    fn a_line_that_says_nothing_is_skipped_with_a_reason() {
        for (line, reason) in [
            ("X", "Name: value"),
            (":authority: x", "name"),
            ("X Y: 1", "name"),
            ("X:", "no value"),
            ("X: a\0b", "control"),
            ("X: a\rb", "control"),
            ("Content-Length: 1", "frames"),
            ("! Content-Length", "frames"),
            ("transfer-encoding: chunked", "frames"),
            ("Date: now", "time"),
            ("ETag: \"1\"", "tag"),
            ("Content-Encoding: gzip", "coding"),
            ("Location: /b", "_redirects"),
            ("! Vary", "caches"),
            ("Strict-Transport-Security: max-age=1", "without TLS"),
        ] {
            let (headers, notes) = parse(&format!("/a\n  {line}\n  Y: 1"));
            assert_eq!(edits(&headers, "/a"), "Y=1", "{line}");
            assert_eq!(notes.len(), 1, "{notes:?}");
            assert!(notes[0].starts_with("_headers:2: "), "{notes:?}");
            assert!(notes[0].contains(reason), "{line}: {notes:?}");
        }
        for (text, at) in [
            ("X: 1\n/a\n", 1),
            ("/a\nhttps://h/*\n X: 1\n", 2),
            ("/a\n//h/\n X: 1", 2),
        ] {
            let (headers, notes) = parse(text);
            assert_eq!(edits(&headers, "/a"), "");
            assert_eq!(notes.len(), 1, "{notes:?}");
            assert!(
                notes[0].starts_with(&format!("_headers:{at}: ")),
                "{notes:?}"
            );
        }
        let (_, notes) = parse(&"/a\n Strict-Transport-Security: x\n".repeat(3));
        assert_eq!(notes.len(), 1, "{notes:?}");
    }

    #[test]
    fn what_a_host_would_ignore_is_noted_and_done() {
        let (headers, notes) = parse(&"/a\n X: 1\n".repeat(101));
        assert_eq!((headers.len(), notes.len()), (101, 1), "{notes:?}");
        let (headers, notes) = parse(&format!("/a\n X: {}", "1".repeat(2000)));
        assert_eq!((headers.len(), notes.len()), (1, 1), "{notes:?}");
        let (headers, notes) = parse(&"/a\n X: 1\n".repeat(1100));
        assert_eq!((headers.len(), notes.len()), (1000, 2), "{notes:?}");
        let (_, notes) = parse(&("/a\n".to_owned() + &"X: 1\n".repeat(3000)));
        assert_eq!(notes.len(), 1, "{notes:?}");
    }

    #[test]
    fn the_fields_of_an_answer_are_bounded() {
        let (headers, _) = parse(&("/*\n".to_owned() + &" X: :splat\n".repeat(100)));
        let path = format!("/{}", "a".repeat(8000));
        assert!(edits(&headers, &path).len() <= Headers::BYTES_MAX + 1000);
    }
}
