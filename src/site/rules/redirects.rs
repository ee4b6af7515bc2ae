//! Floor 2, site: the rules of a `_redirects` file, as Netlify and Cloudflare Pages know them. The
//! parser and the matcher are pure: text and paths go in, values come out.
//!
//! ```text
//! line      = from *( key "=" value ) [ to ] [ status [ "!" ] ] [ "#" comment ]
//! from      = pattern                       ; see pattern.rs
//! key=value                                 ; a parameter that the query must have; a value such as
//!                                           ; ":id" matches any value, and captures it
//! to        = path / "http://…" / "https://…"   ; with ":splat" and ":name" for what was captured
//! status    = "200" / "404" / "301" / "302" / "303" / "307" / "308"
//! ```
//!
//! The first rule that matches a request counts. 200 answers with the file at `to`, and 404 answers
//! with that file and the status 404; the other statuses redirect, and 302 is the default. A file on the
//! disk comes before the rule, unless the status ends in `!`. Without `to`, the path stays the same.
//!
//! A redirect cannot be made to lead to another host by its path or its query. The scheme and the host
//! of a `Location` come from the rule, without captures, and a `Location` without them begins with
//! exactly one slash.

use std::borrow::Cow;
use std::collections::BTreeMap;

use percent_encoding::{percent_decode, percent_encode_byte};

use super::Notes;
use super::pattern::{CanonicalPath, Captures, Pattern, Template, canonical_segment};
use crate::http::Status;

/// The rules of a file, in order.
#[derive(Debug, Default)]
pub struct Redirects {
    rules: Vec<Redirect>,
    has_forced: bool,
}

#[derive(Debug)]
struct Redirect {
    line: usize,
    from: Pattern,
    conditions: Vec<Condition>,
    /// `None` leaves the path as it is.
    to: Option<Target>,
    action: Action,
    is_forced: bool,
}

/// A parameter that the query must have.
#[derive(Debug)]
struct Condition {
    key: String,
    value: Expected,
}

#[derive(Debug)]
enum Expected {
    Value(String),
    /// Any value, captured under this name.
    Any(String),
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Redirect(Status),
    Rewrite,
    Missing,
}

/// The place that a rule leads to.
#[derive(Debug)]
struct Target {
    /// The scheme and the authority, such as `https://example.com`; empty for a path of this site.
    origin: String,
    path: Template,
    query: Option<Template>,
    fragment: Option<Template>,
}

/// The verdict of a rule on a request.
#[derive(PartialEq, Eq, Debug)]
pub struct Found {
    /// The number of the line in the file.
    pub line: usize,
    /// The number of rules before this one.
    pub place: usize,
    /// Whether the rule comes before a file on the disk.
    pub is_forced: bool,
    pub outcome: Outcome,
}

#[derive(PartialEq, Eq, Debug)]
pub enum Outcome {
    /// A redirect with this status to this `Location`.
    Redirect(Status, String),
    /// The file at this path, which begins with a slash and is percent-encoded, answers.
    Rewrite(String),
    /// The file at this path is the content of a 404.
    Missing(String),
}

impl Redirects {
    /// More rules than this are ignored.
    const RULES_MAX: usize = 10_000;
    /// A longer `Location` is not made: the rule does not match then.
    const LOCATION_BYTES_MAX: usize = 16 * 1024;
    /// The bounds of Cloudflare Pages: rules without and with captures, and characters of a line.
    const STATIC_MAX: usize = 2000;
    const DYNAMIC_MAX: usize = 100;
    const LINE_CHARS_MAX: usize = 1000;

    /// Reads the rules of a file. A line that is no rule is skipped, and noted with the reason.
    pub fn parse(text: &str, notes: &mut Notes) -> Redirects {
        let mut redirects = Redirects::default();
        let (mut statics, mut dynamics) = (0, 0);
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            if redirects.rules.len() == Redirects::RULES_MAX {
                let max = Redirects::RULES_MAX;
                notes.add(
                    line,
                    format!("from here on the file is ignored: over {max} rules"),
                );
                break;
            }
            if text.chars().nth(Redirects::LINE_CHARS_MAX).is_some() {
                let max = Redirects::LINE_CHARS_MAX;
                notes.add(
                    line,
                    format!("Cloudflare ignores a line over {max} characters"),
                );
            }
            let rule = match Redirect::parse(line, text) {
                Ok(rule) if rule.leads_to_itself(text) => {
                    notes.skipped(line, text, "the rule leads to its own path");
                    continue;
                }
                Ok(rule) => rule,
                Err(reason) => {
                    notes.skipped(line, text, reason);
                    continue;
                }
            };
            let (count, max, kind) = match rule.from.is_static() {
                true => (&mut statics, Redirects::STATIC_MAX, "without"),
                false => (&mut dynamics, Redirects::DYNAMIC_MAX, "with"),
            };
            *count += 1;
            if *count == max + 1 {
                notes.add(
                    line,
                    format!("Cloudflare ignores this rule: over {max} {kind} `*` or `:name`"),
                );
            }
            redirects.has_forced |= rule.is_forced;
            redirects.rules.push(rule);
        }
        redirects
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether any rule comes before the files on the disk.
    pub fn has_forced(&self) -> bool {
        self.has_forced
    }

    /// The number of rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// The paths of the rules that redirect one path, whatever the query.
    pub fn redirected_paths(&self) -> impl Iterator<Item = String> {
        let rules = self.rules.iter().filter(|rule| {
            matches!(rule.action, Action::Redirect(_))
                && rule.conditions.is_empty()
                && rule.from.is_static()
        });
        rules.map(|rule| rule.from.example())
    }

    /// Finds the first rule for a request, behind the first `passed` rules. A rule that would redirect the
    /// request to itself does not count: the client would ask in a circle.
    pub fn find(&self, path: &CanonicalPath, query: Option<&[u8]>, passed: usize) -> Option<Found> {
        let mut captures = Captures::new();
        let mut parameters = None;
        let mut rules = self.rules.iter().enumerate().skip(passed);
        rules.find_map(|(place, rule)| {
            if !rule.from.matches(path, &mut captures) {
                return None;
            }
            if !rule.conditions.is_empty() {
                let parameters = parameters.get_or_insert_with(|| parameters_of(query));
                let mut conditions = rule.conditions.iter();
                if !conditions.all(|c| c.holds(parameters, &mut captures)) {
                    return None;
                }
            }
            let outcome = rule.outcome(path, query, &captures)?;
            Some(Found {
                line: rule.line,
                place,
                is_forced: rule.is_forced,
                outcome,
            })
        })
    }
}

impl Redirect {
    fn parse(line: usize, text: &str) -> Result<Redirect, &'static str> {
        let mut words = text.split_whitespace();
        let mut words = words.by_ref().take_while(|word| !word.starts_with('#'));
        let from = words.next().ok_or("there is no path")?;
        if is_absolute(from) || from.starts_with("//") {
            return Err("a rule for one host is not followed here; write the path alone");
        }
        let pattern = Pattern::parse(from)?;
        let mut names: Vec<String> = pattern.names().map(str::to_owned).collect();
        let mut conditions = Vec::new();
        let mut to = None;
        let mut status = None;
        for word in words {
            if to.is_none() && status.is_none() {
                if word.starts_with('/') || is_absolute(word) {
                    to = Some(word);
                    continue;
                }
                if word.starts_with(|c: char| c.is_ascii_digit()) && !word.contains('=') {
                    status = Some(word);
                    continue;
                }
                let condition = Condition::parse(word)?;
                if let Expected::Any(name) = &condition.value {
                    if names.contains(name) {
                        return Err("two parts of the request have the same name");
                    }
                    names.push(name.clone());
                }
                conditions.push(condition);
            } else if status.is_none() && !word.contains('=') {
                status = Some(word);
            } else {
                return Err(match word.split_once('=') {
                    Some((key, _)) if is_of_the_host(key) => {
                        "only the host can know such a condition"
                    }
                    _ => "nothing is known to follow here: a rule is `from to status`",
                });
            }
        }
        if to.is_none() && status.is_none() {
            return Err(NO_PLACE);
        }
        let (action, is_forced) = parse_status(status.unwrap_or("302"))?;
        let to = to.map(|to| Target::parse(to, &names)).transpose()?;
        match (&to, action) {
            (None, Action::Redirect(_)) => return Err(NO_PLACE),
            (Some(to), Action::Rewrite | Action::Missing) if !to.origin.is_empty() => {
                return Err("a rewrite to another server needs a proxy, and this server is none");
            }
            _ => {}
        }
        Ok(Redirect {
            line,
            from: pattern,
            conditions,
            to,
            action,
            is_forced,
        })
    }

    /// Whether the rule, which was read from `text`, redirects a path as the pattern has it to the same
    /// path. Another path, with a slash at the end or without, may lead elsewhere.
    fn leads_to_itself(&self, text: &str) -> bool {
        let mut example = self.from.example();
        let from = text.split_whitespace().next().unwrap_or_default();
        if from.ends_with('/') && !example.ends_with('/') {
            example.push('/');
        }
        let Some(path) = CanonicalPath::new(example.as_bytes()) else {
            return false;
        };
        let mut captures = Captures::new();
        self.conditions.is_empty()
            && self.from.matches(&path, &mut captures)
            && self.outcome(&path, None, &captures).is_none()
    }

    /// The verdict of a rule that matches; `None` if there is none.
    fn outcome(
        &self,
        path: &CanonicalPath,
        query: Option<&[u8]>,
        captures: &Captures<'_>,
    ) -> Option<Outcome> {
        let Some(target) = &self.to else {
            let to = format!("/{}", path.text());
            return match self.action {
                Action::Rewrite => Some(Outcome::Rewrite(to)),
                Action::Missing => Some(Outcome::Missing(to)),
                Action::Redirect(_) => None,
            };
        };
        let to = target.path(captures)?;
        let status = match self.action {
            Action::Rewrite => return Some(Outcome::Rewrite(to)),
            Action::Missing => return Some(Outcome::Missing(to)),
            Action::Redirect(status) => status,
        };
        let own_query = query.map(clean_query);
        let query = match &target.query {
            Some(query) => Some(expand_escaped(query, captures)?),
            None => own_query.clone(),
        };
        let is_same = target.origin.is_empty()
            && to.strip_prefix('/') == Some(path.text())
            && query == own_query;
        if is_same {
            return None;
        }
        let mut location = target.origin.clone() + &to;
        if let Some(query) = query {
            location.push('?');
            location.push_str(&query);
        }
        if let Some(fragment) = &target.fragment {
            location.push('#');
            location.push_str(&expand_escaped(fragment, captures)?);
        }
        (location.len() <= Redirects::LOCATION_BYTES_MAX)
            .then_some(Outcome::Redirect(status, location))
    }
}

const NO_PLACE: &str = "there is no place to lead to: a path, http://… or https://…";

fn parse_status(text: &str) -> Result<(Action, bool), &'static str> {
    let (code, is_forced) = match text.strip_suffix('!') {
        Some(code) => (code, true),
        None => (text, false),
    };
    let action = match code {
        "200" => Action::Rewrite,
        "404" => Action::Missing,
        "301" => Action::Redirect(Status::MovedPermanently),
        "302" => Action::Redirect(Status::Found),
        "303" => Action::Redirect(Status::SeeOther),
        "307" => Action::Redirect(Status::TemporaryRedirect),
        "308" => Action::Redirect(Status::PermanentRedirect),
        _ => return Err("the status is 200, 301, 302, 303, 307, 308 or 404"),
    };
    Ok((action, is_forced))
}

/// Whether a condition with this key is about facts that a host knows and this server does not.
fn is_of_the_host(key: &str) -> bool {
    let keys = ["Country", "Language", "Role", "Cookie", "Sign", "Signed"];
    keys.iter().any(|known| known.eq_ignore_ascii_case(key))
}

fn is_absolute(text: &str) -> bool {
    after_scheme(text).is_some()
}

/// The place in the text after `http://` or `https://`.
fn after_scheme(text: &str) -> Option<usize> {
    let schemes = ["http://", "https://"];
    let mut lengths = schemes.iter().map(|scheme| (scheme, scheme.len()));
    let found = lengths.find(|(scheme, length)| {
        let beginning = text.get(..*length);
        beginning.is_some_and(|text| text.eq_ignore_ascii_case(scheme))
    });
    found.map(|(_, length)| length)
}

impl Condition {
    fn parse(word: &str) -> Result<Condition, &'static str> {
        let (key, value) = word
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or("what follows the path is key=value, a path, http://… or https://…")?;
        let value = match value.strip_prefix(':') {
            Some(name) if is_name(name) => Expected::Any(name.to_owned()),
            _ => Expected::Value(decode_parameter(value.as_bytes())),
        };
        let key = decode_parameter(key.as_bytes());
        Ok(Condition { key, value })
    }

    fn holds<'a>(
        &'a self,
        parameters: &BTreeMap<String, String>,
        captures: &mut Captures<'a>,
    ) -> bool {
        match (parameters.get(&self.key), &self.value) {
            (None, _) => false,
            (Some(value), Expected::Value(expected)) => value == expected,
            (Some(value), Expected::Any(name)) => {
                captures.push((name, Cow::Owned(value.clone())));
                true
            }
        }
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The parameters of a query, as canonical segments. Of several with one key, the first counts.
fn parameters_of(query: Option<&[u8]>) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::new();
    for pair in query.unwrap_or_default().split(|b| *b == b'&') {
        let equals = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
        let value = pair.get(equals + 1..).unwrap_or_default();
        parameters
            .entry(decode_parameter(&pair[..equals]))
            .or_insert_with(|| decode_parameter(value));
    }
    parameters
}

/// A key or a value of a query, as a canonical segment. A plus sign means a space there.
fn decode_parameter(text: &[u8]) -> String {
    let spaced: Vec<u8> = text
        .iter()
        .map(|b| if *b == b'+' { b' ' } else { *b })
        .collect();
    canonical_segment(percent_decode(&spaced))
}

impl Target {
    fn parse(text: &str, names: &[String]) -> Result<Target, &'static str> {
        let is_known = |name: &str| names.iter().any(|known| known == name);
        let (text, fragment) = match text.split_once('#') {
            Some((text, fragment)) => (text, Some(fragment)),
            None => (text, None),
        };
        let (text, query) = match text.split_once('?') {
            Some((text, query)) => (text, Some(query)),
            None => (text, None),
        };
        let (origin, path) = match after_scheme(text) {
            None => ("", text),
            Some(start) => {
                let end = text[start..]
                    .find('/')
                    .map_or(text.len(), |end| start + end);
                text.split_at(end)
            }
        };
        let authority = Template::parse(origin, is_known, clean_path);
        if authority.has_captures() {
            return Err("a part of the request cannot choose the host that a rule leads to");
        }
        let is_host = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/[]%".contains(&b);
        if !origin.bytes().all(is_host) || origin.ends_with('/') {
            return Err("the name of the host is not valid");
        }
        if origin.is_empty() && path.starts_with("//") {
            return Err("a place on another host begins with http:// or https://");
        }
        if path.starts_with("/.netlify/") {
            return Err("only the host has /.netlify/");
        }
        let part = |text| Template::parse(text, is_known, clean_rest);
        Ok(Target {
            origin: origin.to_owned(),
            path: Template::parse(path, is_known, clean_path),
            query: query.map(part),
            fragment: fragment.map(part),
        })
    }

    /// The path with its captures. The path begins with exactly one slash, because two would begin the
    /// name of a host, and a browser takes a backslash for a slash (which is encoded here).
    fn path(&self, captures: &Captures<'_>) -> Option<String> {
        let mut out = String::new();
        let write = |value: &str, out: &mut String| out.push_str(value);
        let max = Redirects::LOCATION_BYTES_MAX;
        self.path.expand(captures, max, write, &mut out)?;
        Some(format!("/{}", out.trim_start_matches('/')))
    }
}

/// Expands a query or a fragment. The marks that separate parameters are encoded in captures.
fn expand_escaped(template: &Template, captures: &Captures<'_>) -> Option<String> {
    let write = |value: &str, out: &mut String| {
        for c in value.chars() {
            match c {
                '&' => out.push_str("%26"),
                '=' => out.push_str("%3D"),
                '+' => out.push_str("%2B"),
                ';' => out.push_str("%3B"),
                _ => out.push(c),
            }
        }
    };
    let mut out = String::new();
    template.expand(captures, Redirects::LOCATION_BYTES_MAX, write, &mut out)?;
    Some(out)
}

/// Appends a part of the path of a rule in canonical form; a `%` without digits is encoded.
fn clean_path(text: &str, out: &mut String) {
    clean(text.as_bytes(), b"-._~!$&'()*+,;=:@/", true, out);
}

/// Appends a part of a query or of a fragment; bytes that may not stand there are encoded.
fn clean_rest(text: &str, out: &mut String) {
    clean(text.as_bytes(), b"-._~!$&'()*+,;=:@/?", false, out);
}

/// The query of a request in a form that may be sent.
fn clean_query(query: &[u8]) -> String {
    let mut out = String::new();
    clean(query, b"-._~!$&'()*+,;=:@/?", false, &mut out);
    out
}

/// Appends a text. A byte that is neither a letter, a digit nor in `allowed` is encoded. A byte that is
/// encoded stays so, unless the text `is_canonical` and the byte may stand there.
fn clean(text: &[u8], allowed: &[u8], is_canonical: bool, out: &mut String) {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || allowed.contains(&b);
    let digit = |at: usize| text.get(at).and_then(|b| (*b as char).to_digit(16));
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let encoded = digit(at + 1).zip(digit(at + 2)).filter(|_| byte == b'%');
        let (byte, may_stand) = match encoded {
            Some((high, low)) => {
                let byte = (high * 16 + low) as u8;
                (byte, is_canonical && byte != b'/' && is_allowed(byte))
            }
            None => (byte, is_allowed(byte)),
        };
        match may_stand {
            true => out.push(byte as char),
            false => out.push_str(percent_encode_byte(byte)),
        }
        at += if encoded.is_some() { 3 } else { 1 };
    }
}

#[cfg(test)]
mod tests;
