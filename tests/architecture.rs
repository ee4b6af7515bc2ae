//! The shape of the source. Each folder stands on a floor, imports point down only, and each
//! dangerous or replaceable dependency has a single place.
//!
//! The source is read as tokens, without comments and literals. Every path is resolved: in `use`
//! declarations with all their braces, and in code. A violation is listed with its file and line.

use std::fs;
use std::path::Path;

/// A module at the root of the crate.
struct Module {
    name: &'static str,
    /// The floor, as the first line of each file of the module states; `None` for modules beside
    /// the floors.
    floor: Option<u8>,
    /// The other modules that this module may name. Each stands further up in the table.
    knows: &'static [&'static str],
}

const fn module(name: &'static str, floor: Option<u8>, knows: &'static [&'static str]) -> Module {
    Module { name, floor, knows }
}

/// The plan of the house, from the ground up. An absent name is absent on purpose: the modules of
/// floor 1 do not know each other, and neither do `site` and `transport`.
const PLAN: &[Module] = &[
    module("sys", Some(0), &[]),
    module("config", Some(0), &[]),
    module("certificates", Some(1), &["sys"]),
    module("http", Some(1), &["sys", "config"]),
    module("transport", Some(1), &["sys", "config"]),
    module("websocket", Some(1), &["sys", "config"]),
    module("site", Some(2), &["sys", "config", "http"]),
    module(
        "connection",
        Some(3),
        &["sys", "config", "http", "transport", "websocket", "site"],
    ),
    module(
        "server",
        Some(4),
        &[
            "sys",
            "config",
            "certificates",
            "http",
            "transport",
            "websocket",
            "site",
            "connection",
        ],
    ),
    module("cli", None, &["config", "http"]),
    // A page of the docs.
    module("lives", None, &[]),
    module("lib", None, &[]),
    module("main", None, &["sys", "config", "server", "cli"]),
];

/// Names that may appear in these files only.
const CONFINED: &[(&str, &[&str])] = &[
    (
        "mio",
        &["server/driver/mio_driver.rs", "transport/stream.rs"],
    ),
    ("signal_hook_mio", &["server/driver/mio_driver.rs"]),
    (
        "rustls",
        &[
            "certificates/authority.rs",
            "certificates/form.rs",
            "certificates/given.rs",
            "certificates/leaf.rs",
            "certificates/mod.rs",
            "certificates/resolver.rs",
            "certificates/tests/handshake.rs",
            "certificates/trusted.rs",
            "transport/tls.rs",
        ],
    ),
    (
        "rustix",
        &[
            "sys.rs",
            "sys/diag.rs",
            "sys/local.rs",
            "sys/output.rs",
            "sys/watch.rs",
        ],
    ),
    ("memmap2", &["sys.rs"]),
    ("listenfd", &["sys.rs"]),
    (
        "rcgen",
        &[
            "certificates/authority.rs",
            "certificates/leaf.rs",
            "certificates/tests.rs",
        ],
    ),
    (
        "x509_parser",
        &[
            "certificates/facts.rs",
            "certificates/tests/authority.rs",
            "certificates/tests/handshake.rs",
        ],
    ),
    // One thread, and no order that differs from run to run: the simulation replays runs.
    ("HashMap", &[]),
    ("HashSet", &[]),
    ("unsafe", &[]),
];

/// Paths that may not be named at all.
const FORBIDDEN: &[&str] = &["std::thread", "core::thread"];

#[test]
fn the_source_keeps_to_the_plan() {
    let mut found = Vec::new();
    let mut files = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    rust_files(&root, &mut files);
    assert!(files.len() > 20, "the source is elsewhere");
    for file in &files {
        let name = file.strip_prefix(&root).expect("it was found there");
        let text = fs::read_to_string(file).expect("it is there");
        let name = name.to_str().expect("we named it");
        let here = violations(name, &text).into_iter();
        found.extend(here.map(|violation| format!("src/{violation}")));
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn the_plan_has_no_arrow_up_and_no_circle() {
    for (row, module) in PLAN.iter().enumerate() {
        for known in module.knows {
            let below = PLAN[..row].iter().find(|m| m.name == *known);
            let below = below.unwrap_or_else(|| panic!("{} knows {known}", module.name));
            assert!(
                module.floor.is_none_or(|floor| below.floor < Some(floor)),
                "{} knows {known}, on its own floor",
                module.name
            );
        }
    }
}

/// A manifest speaks for all targets of its package, which are more than the `src` that is read here.
#[test]
fn each_manifest_forbids_unsafe_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["", "benches/peers", "tests/fuzz"] {
        let file = root.join(name).join("Cargo.toml");
        let text = fs::read_to_string(&file).expect("a package");
        let place = file.display();
        assert!(
            forbids_unsafe_code(&text),
            "{place}: lacks unsafe_code = \"forbid\" in [lints.rust]"
        );
    }

    let line = "unsafe_code = \"forbid\"";
    for (manifest, expected) in [
        (format!("[lints.rust]\n{line}\n"), true),
        (format!("[lints.rust]\na = 1\n\n{line} # why\n[b]"), true),
        (format!("[lints.rust]\n# {line}\n"), false),
        ("[lints.rust]\nunsafe_code = \"deny\"\n".into(), false),
        (format!("[lints.rust]\n[lints.clippy]\n{line}\n"), false),
        (format!("# [lints.rust]\n{line}\n"), false),
        ("[lints.rust]\n".into(), false),
        ("[package]\n".into(), false),
    ] {
        assert_eq!(forbids_unsafe_code(&manifest), expected, "{manifest}");
    }
}

/// Every rule, broken in every possible way.
#[test]
fn every_form_of_a_violation_is_seen() {
    let check = |file: &str, code: &str, expected: &[&str]| {
        let begin = match plan_of(file).and_then(|m| m.floor) {
            Some(floor) => format!("//! Floor {floor}, x\n"),
            None => "//! x\n".to_string(),
        };
        let found = violations(file, &format!("{begin}{code}"));
        let found: Vec<_> = found
            .iter()
            .map(|v| v.split_once(": ").expect("place: what").1)
            .collect();
        assert_eq!(found, expected, "{file}: {code}");
    };
    let up = ["http does not know server"];
    check("http/mod.rs", "use crate::server::Log;", &up);
    check("http/mod.rs", "use crate::{config, server};", &up);
    check(
        "http/mod.rs",
        "use crate::{config::{A, B}, server::{self, C}};",
        &[up[0]; 2],
    );
    check("http/mod.rs", "pub(crate) use crate::server as s;", &up);
    check("http/mod.rs", "use ::oneloop::server::*;", &up);
    check("http/mod.rs", "fn f() { crate::server::f(); }", &up);
    check("http/mod.rs", "fn f() { g::<crate :: server :: T>() }", &up);
    check(
        "http/mod.rs",
        "mod a { fn f() { super::super::server::f() } }",
        &up,
    );
    check("http/a.rs", "use super::super::server;", &up);
    check("http/a/b.rs", "use super::super::super::{server::A};", &up);
    check("http/mod.rs", "use super::{server};", &up);
    check("http/mod.rs", "use crate::r#server;", &up);
    check(
        "http/mod.rs",
        "use crate::transport::Io;",
        &["http does not know transport"],
    );
    check(
        "transport/mod.rs",
        "use crate::http;",
        &["transport does not know http"],
    );
    check(
        "site/mod.rs",
        "use crate::transport;",
        &["site does not know transport"],
    );
    check(
        "site/cache.rs",
        "use crate::connection;",
        &["site does not know connection"],
    );
    check(
        "config.rs",
        "use super::sys;",
        &["config does not know sys"],
    );
    check(
        "cli.rs",
        "use crate::server;",
        &["cli does not know server"],
    );
    check(
        "main.rs",
        "use oneloop::transport;",
        &["main does not know transport"],
    );
    check(
        "server/mod.rs",
        "use crate::cli;",
        &["server does not know cli"],
    );
    let all = ["names the root of the crate as a whole"];
    check("site/mod.rs", "use crate::*;", &all);
    check("site/mod.rs", "use crate as c;", &all);
    check("site/mod.rs", "use crate::{self as c};", &all);
    check("site/mod.rs", "use super::*;", &all);
    check(
        "site/mod.rs",
        "extern crate self as c;",
        &["extern crate hides where names come from"],
    );
    check("cellar/mod.rs", "", &["cellar is not in the plan"]);

    check(
        "site/mod.rs",
        "use mio::Poll;",
        &["mio has its place elsewhere"],
    );
    check(
        "site/mod.rs",
        "fn f() { mio::f() }",
        &["mio has its place elsewhere"],
    );
    check(
        "server/mod.rs",
        "use rustix::fs;",
        &["rustix has its place elsewhere"],
    );
    check(
        "site/mod.rs",
        "type M = std::collections::HashMap<A, B>;",
        &["HashMap has its place elsewhere"],
    );
    check(
        "sys.rs",
        "unsafe fn f() {}",
        &["unsafe has its place elsewhere"],
    );
    let thread = ["names std::thread"];
    check("server/mod.rs", "use std::thread;", &thread);
    check(
        "server/mod.rs",
        "use std::{io, thread::{self as t}};",
        &thread,
    );
    check(
        "server/mod.rs",
        "fn f() { ::std::thread::spawn(g) }",
        &thread,
    );

    // Code without a violation.
    for (file, code) in [
        (
            "server/driver/mio_driver.rs",
            "use mio::{Poll, Token}; use crate::{site::Site, http::A};",
        ),
        ("sys.rs", "use rustix::fs; fn f() { rustix::net::g() }"),
        (
            "http/mod.rs",
            "// crate::server\n/* use crate::server; /* unsafe */ */ struct A;",
        ),
        (
            "http/mod.rs",
            "/// [`Log`](crate::server::Log), unsafe, mio\nstruct A<'a>(&'a A);",
        ),
        (
            "http/mod.rs",
            "const A: &str = \"\\\" use crate::server\"; const B: u8 = b'\"';",
        ),
        (
            "http/mod.rs",
            "const A: &str = r#\"\" crate::server\"#; const C: char = '\\'';",
        ),
        (
            "http/a.rs",
            "use super::b::C; use crate::http::D; pub(in crate::http) use self::e::F;",
        ),
        (
            "http/a/b.rs",
            "mod tests { use super::*; use super::super::super::c; }",
        ),
        (
            "http/mod.rs",
            "mod tests { use super::*; } pub(super) fn f() { super::http::g() }",
        ),
        (
            "http/mod.rs",
            "fn f() { server::g(); a.crate_(); } thread_local! {}",
        ),
        ("main.rs", "use oneloop::{cli::Cli, server::Log};"),
    ] {
        check(file, code, &[]);
    }

    let says = |file: &str, text: &str| violations(file, text).join("; ");
    assert_eq!(says("sys.rs", "// Floor 0"), "sys.rs:1: begins without //!");
    assert_eq!(
        says("sys.rs", "//! Floor 1, sys"),
        "sys.rs:1: stands on floor 0 and does not say so"
    );
    assert_eq!(
        says("sys.rs", "//! Floor 0: x\n\nuse crate::site;"),
        "sys.rs:3: sys does not know site"
    );
}

fn rust_files(folder: &Path, into: &mut Vec<std::path::PathBuf>) {
    let entries = fs::read_dir(folder).expect("a folder of the source");
    let mut paths: Vec<_> = entries.map(|e| e.expect("readable").path()).collect();
    paths.sort();
    for path in paths {
        match path.is_dir() {
            true => rust_files(&path, into),
            // The others are pages, embedded in the program.
            false if path.extension().is_some_and(|ending| ending == "rs") => into.push(path),
            false => {}
        }
    }
}

// ── The rules ──────────────────────────────────────────────────────────────────────────────────

/// The module of a file in `src/`, by the first part of the file's name.
fn module_of(file: &str) -> &str {
    let first = file.split('/').next().unwrap_or(file);
    first.strip_suffix(".rs").unwrap_or(first)
}

fn plan_of(file: &str) -> Option<&'static Module> {
    PLAN.iter().find(|m| m.name == module_of(file))
}

/// Whether a `Cargo.toml` has the line in its table of lints.
fn forbids_unsafe_code(manifest: &str) -> bool {
    let mut lines = manifest
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.any(|line| line == "[lints.rust]")
        && lines
            .take_while(|line| !line.starts_with('['))
            .any(|line| line == "unsafe_code = \"forbid\"")
}

/// The violations in `text`, the content of `src/{file}`, each as `file:line: violation`.
fn violations(file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut violation = |line: usize, what: String| found.push(format!("{file}:{line}: {what}"));
    let own = module_of(file);
    let Some(module) = plan_of(file) else {
        violation(1, format!("{own} is not in the plan"));
        return found;
    };
    let says_floor = module.floor.is_none_or(|floor| {
        let rest = text.strip_prefix(&format!("//! Floor {floor}"));
        rest.is_some_and(|rest| rest.starts_with([',', ':']))
    });
    match text.starts_with("//!") {
        false => violation(1, "begins without //!".into()),
        true if !says_floor => {
            let floor = module.floor.unwrap_or_default();
            violation(1, format!("stands on floor {floor} and does not say so"));
        }
        true => {}
    }
    let tokens = tokens(text);
    for pair in tokens.windows(2) {
        if (pair[0].text, pair[1].text) == ("extern", "crate") {
            violation(
                pair[0].line,
                "extern crate hides where names come from".into(),
            );
        }
    }
    for token in &tokens {
        let confined = CONFINED.iter().find(|(name, _)| *name == token.text);
        if confined.is_some_and(|(_, places)| !places.contains(&file)) {
            violation(
                token.line,
                format!("{} has its place elsewhere", token.text),
            );
        }
    }
    for Named { line, path } in paths(file, &tokens) {
        let joined = path.join("::");
        for forbidden in FORBIDDEN {
            let rest = joined.strip_prefix(forbidden);
            if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::")) {
                violation(line, format!("names {forbidden}"));
            }
        }
        match &path[..] {
            ["crate"] | ["crate", "*", ..] => {
                violation(line, "names the root of the crate as a whole".into());
            }
            // A name that is no module would be a re-export, and the root has none.
            ["crate", to, ..] if *to != own && !module.knows.contains(to) => {
                violation(line, format!("{own} does not know {to}"));
            }
            _ => {}
        }
    }
    found
}

// ── Tokens ─────────────────────────────────────────────────────────────────────────────────────

#[derive(Clone, Copy, Debug)]
struct Token<'a> {
    /// A word, `::`, or any other single character.
    text: &'a str,
    line: usize,
}

/// Rust without white space, comments and literals. (A number may leave a word such as `e3`, which
/// does no harm here.)
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let len = skipped(rest).unwrap_or_else(|| {
            let word = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
            let len = match word {
                0 if rest.starts_with("::") => 2,
                0 => first.len_utf8(),
                _ => word,
            };
            tokens.push(Token {
                text: &rest[..len],
                line,
            });
            len
        });
        line += rest[..len].matches('\n').count();
        at += len;
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of the white space, comment or literal at the start of `rest`.
fn skipped(rest: &str) -> Option<usize> {
    let white = rest.len() - rest.trim_start().len();
    if white > 0 {
        return Some(white);
    }
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    // Prefixes of literals; `r#name`, a raw identifier, loses its `r#` here.
    let prefix = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
    let (prefix, behind) = rest.split_at(prefix);
    match prefix {
        "r" | "br" | "cr" if behind.starts_with(['"', '#']) => {
            let hashes = behind.len() - behind.trim_start_matches('#').len();
            let end = format!("\"{}", &behind[..hashes]);
            match behind[hashes..].strip_prefix('"') {
                Some(inner) => {
                    let len = inner.find(&end).map_or(inner.len(), |at| at + end.len());
                    Some(prefix.len() + hashes + 1 + len)
                }
                None => Some(prefix.len() + hashes),
            }
        }
        "" | "b" | "c" if behind.starts_with('"') => Some(prefix.len() + quoted(behind, '"')),
        "" | "b" if behind.starts_with('\'') => {
            let inner = &behind[1..];
            let mut chars = inner.chars();
            // A lifetime is a quote before a word that no quote follows.
            match (chars.next(), chars.next()) {
                (Some('\\'), _) | (_, Some('\'')) => Some(prefix.len() + quoted(behind, '\'')),
                _ => Some(1 + inner.find(|c| !is_word(c)).unwrap_or(inner.len())),
            }
        }
        _ => None,
    }
}

/// The length of a block comment, with the nested ones.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let step = match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                2
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                2
            }
            _ => 1,
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of a literal that begins and ends with `quote`.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

// ── Paths ──────────────────────────────────────────────────────────────────────────────────────

/// A path that the source names, from the root of this crate (`crate::…`) or of another crate.
struct Named<'a> {
    line: usize,
    path: Vec<&'a str>,
}

/// Every path in a file: the paths of `use` declarations, spread out, and the paths in code.
fn paths<'a>(file: &'a str, tokens: &[Token<'a>]) -> Vec<Named<'a>> {
    let mut named = Vec::new();
    // The present module: the file's own module, then the inline modules, each with the depth of
    // braces at which it ends.
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    let mut here: Vec<&str> = match stem {
        "lib" | "main" => vec![],
        _ => stem.split('/').collect(),
    };
    let mut inline = Vec::new();
    let (mut depth, mut at) = (0, 0);
    while at < tokens.len() {
        let text = |ahead: usize| tokens.get(at + ahead).map_or("", |t| t.text);
        match text(0) {
            "mod" if text(2) == "{" => {
                here.push(text(1));
                inline.push(depth);
                // The brace is left to be counted.
                at += 2;
                continue;
            }
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                if inline.last() == Some(&depth) {
                    inline.pop();
                    here.pop();
                }
            }
            "use" => {
                at += 1;
                use_tree(tokens, &mut at, &here, &[], &mut named);
                continue;
            }
            // A path begins at a word that is not after `::` or a dot.
            word if word.starts_with(is_word) && text(1) == "::" => {
                let line = tokens[at].line;
                let mut path = vec![word];
                while tokens.get(at + 1).is_some_and(|t| t.text == "::")
                    && tokens
                        .get(at + 2)
                        .is_some_and(|t| t.text.starts_with(is_word))
                {
                    path.push(tokens[at + 2].text);
                    at += 2;
                }
                named.extend(resolve(path, &here).map(|path| Named { line, path }));
            }
            _ => {}
        }
        at += 1;
    }
    named
}

/// Spreads out the tree after `use` or within its braces, up to its end.
fn use_tree<'a>(
    tokens: &[Token<'a>],
    at: &mut usize,
    here: &[&'a str],
    prefix: &[&'a str],
    named: &mut Vec<Named<'a>>,
) {
    let mut path = prefix.to_vec();
    // A group has no path of its own: its members are added instead.
    let mut group = false;
    while let Some(token) = tokens.get(*at) {
        let line = token.line;
        match token.text {
            ";" | "," | "}" => {
                if !group {
                    named.extend(resolve(path, here).map(|path| Named { line, path }));
                }
                return;
            }
            "{" => {
                group = true;
                while tokens.get(*at).is_some_and(|t| matches!(t.text, "{" | ",")) {
                    *at += 1;
                    if tokens.get(*at).is_some_and(|t| t.text != "}") {
                        use_tree(tokens, at, here, &path, named);
                    }
                }
            }
            "::" => {}
            // The new name is skipped.
            "as" => *at += 1,
            "self" if !path.is_empty() => {}
            word => path.push(word),
        }
        *at += 1;
    }
}

/// A path from the root; `None` for a path that begins with a name of this module.
fn resolve<'a>(mut path: Vec<&'a str>, here: &[&'a str]) -> Option<Vec<&'a str>> {
    let supers = path.iter().take_while(|p| **p == "super").count();
    match *path.first()? {
        // A binary names its library as another crate, and the library itself could do the same.
        "crate" | "oneloop" => path[0] = "crate",
        "super" => {
            let above = here.get(..here.len().saturating_sub(supers))?;
            let rest = path.split_off(supers);
            path = [&["crate"], above, &rest].concat();
        }
        "self" => return None,
        _ => {}
    }
    Some(path)
}
