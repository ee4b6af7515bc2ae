//! Floor 2, site: a Content-Security-Policy that lets the script of live reload run and connect (CSP Level
//! 3). The functions are pure: a policy goes in, and a policy with the least that is needed comes out.

use std::collections::BTreeSet;

use crate::http::Scheme;

/// The needs of the script, for the policy of its page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs<'a> {
    /// The value that the attribute `nonce` of the script may have; `None` if the page is of the server, and
    /// has no script of others that `'self'` would allow too.
    pub nonce: Option<&'a str>,
    /// The host and port of the server, as the browser has them; `None` if a policy cannot name them.
    pub authority: Option<&'a str>,
    /// The scheme of the request.
    pub scheme: Scheme,
}

/// A policy after a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Widened {
    /// The policy lets the script run and connect as it is.
    Enough,
    /// The value of the field, whether the script must have the nonce, and the directives that were changed.
    To {
        policy: String,
        has_nonce: bool,
        directives: BTreeSet<String>,
    },
    /// The page is in a sandbox without an origin of its own, or without scripts.
    Sandboxed,
}

/// Widens the value of `Content-Security-Policy`. Each policy of a list must allow what is allowed (CSP
/// §4.1.2).
pub(super) fn widen(value: &str, needs: Needs<'_>) -> Widened {
    let (mut has_nonce, mut directives) = (false, BTreeSet::new());
    let mut policies = Vec::new();
    for policy in value.split(',') {
        let mut policy = Policy::parse(policy);
        if let Some(flags) = policy.sources("sandbox") {
            let has = |flag: &str| flags.iter().any(|f| f.eq_ignore_ascii_case(flag));
            if !has("allow-scripts") || !has("allow-same-origin") {
                return Widened::Sandboxed;
            }
        }
        has_nonce |= policy.allow_script(needs, &mut directives);
        policy.allow_connection(needs, &mut directives);
        policies.push(policy.text());
    }
    match directives.is_empty() {
        true => Widened::Enough,
        false => Widened::To {
            policy: policies.join(", "),
            has_nonce,
            directives,
        },
    }
}

/// The directives of a policy, each with its name and its sources. Of several with the same name, the first
/// counts (CSP §2.2.1).
struct Policy<'a> {
    directives: Vec<(&'a str, Vec<String>)>,
}

impl<'a> Policy<'a> {
    fn parse(text: &'a str) -> Policy<'a> {
        let directives = text.split(';').filter_map(|directive| {
            let mut words = directive.split_ascii_whitespace();
            Some((words.next()?, words.map(str::to_owned).collect()))
        });
        Policy {
            directives: directives.collect(),
        }
    }

    fn text(&self) -> String {
        let directives = self.directives.iter().map(|(name, sources)| {
            let space = if sources.is_empty() { "" } else { " " };
            format!("{name}{space}{}", sources.join(" "))
        });
        directives.collect::<Vec<_>>().join("; ")
    }

    fn sources(&self, name: &str) -> Option<&[String]> {
        let mut directives = self.directives.iter();
        let found = directives.find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, sources)| &sources[..])
    }

    /// The first of these directives that the policy has.
    fn first_of(&self, names: &[&'static str]) -> Option<(&'static str, Vec<String>)> {
        let mut names = names.iter();
        names.find_map(|name| Some((*name, self.sources(name)?.to_vec())))
    }

    /// Sets a directive, which may be one that another stood for.
    fn set(&mut self, name: &'static str, sources: Vec<String>) {
        let mut directives = self.directives.iter_mut();
        match directives.find(|(other, _)| other.eq_ignore_ascii_case(name)) {
            Some((_, old)) => *old = sources,
            None => self.directives.push((name, sources)),
        }
    }

    /// Lets the script run. Returns whether the script needs the nonce.
    fn allow_script(&mut self, needs: Needs<'_>, changed: &mut BTreeSet<String>) -> bool {
        let names = ["script-src-elem", "script-src", "default-src"];
        let Some((name, mut sources)) = self.first_of(&names) else {
            return false;
        };
        let has = |source: &str| sources.iter().any(|s| s.eq_ignore_ascii_case(source));
        let starts = |start: &str| {
            let mut all = sources.iter();
            all.any(|s| {
                s.get(..start.len())
                    .is_some_and(|s| s.eq_ignore_ascii_case(start))
            })
        };
        let has_nonce_or_hash = ["'nonce-", "'sha256-", "'sha384-", "'sha512-"]
            .iter()
            .any(|s| starts(s));
        // With this, the places from which scripts may come do not count (CSP §8.2).
        let is_dynamic = has("'strict-dynamic'");
        if !is_dynamic && (has("'self'") || has("*") || has("http:")) {
            return false;
        }
        // A nonce would take its meaning from `'unsafe-inline'`, and with it the scripts of the page (CSP
        // §6.7.3.2).
        let may_have_nonce = is_dynamic || has_nonce_or_hash || !has("'unsafe-inline'");
        let nonce = needs.nonce.filter(|_| may_have_nonce);
        sources.retain(|source| !source.eq_ignore_ascii_case("'none'"));
        sources.push(match nonce {
            Some(nonce) => format!("'nonce-{nonce}'"),
            None => "'self'".to_owned(),
        });
        let name = if name == "default-src" {
            "script-src"
        } else {
            name
        };
        changed.insert(name.to_owned());
        self.set(name, sources);
        nonce.is_some()
    }

    /// Lets the script open its WebSocket connection.
    fn allow_connection(&mut self, needs: Needs<'_>, changed: &mut BTreeSet<String>) {
        let Some((_, mut sources)) = self.first_of(&["connect-src", "default-src"]) else {
            return;
        };
        let scheme = match needs.scheme {
            Scheme::Http => "ws:",
            Scheme::Https => "wss:",
        };
        let socket = needs.authority.map(|to| format!("{scheme}//{to}"));
        let known = ["'self'", "*", scheme].into_iter().chain(socket.as_deref());
        let known: Vec<&str> = known.collect();
        let is_enough = |source: &String| known.iter().any(|k| source.eq_ignore_ascii_case(k));
        if sources.iter().any(is_enough) {
            return;
        }
        sources.retain(|source| !source.eq_ignore_ascii_case("'none'"));
        // Safari before version 16 did not take `'self'` for WebSocket connections.
        sources.extend(["'self'".to_owned()].into_iter().chain(socket));
        changed.insert("connect-src".to_owned());
        self.set("connect-src", sources);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDS: Needs<'_> = Needs {
        nonce: Some("N"),
        authority: Some("localhost:8080"),
        scheme: Scheme::Http,
    };

    /// The policy becomes `expected`; empty if the policy is enough.
    #[track_caller]
    fn check(policy: &str, expected: &str) {
        let (got, nonce) = match widen(policy, NEEDS) {
            Widened::Enough => (String::new(), false),
            Widened::To {
                policy, has_nonce, ..
            } => (policy, has_nonce),
            Widened::Sandboxed => ("sandboxed".into(), false),
        };
        assert_eq!(got, expected, "{policy}");
        assert_eq!(nonce, expected.contains("'nonce-N'"), "{policy}");
    }

    #[test]
    fn a_policy_that_allows_what_is_needed_stays() {
        for policy in [
            "",
            ";",
            "default-src 'self'",
            "script-src 'self'",
            "script-src 'self' 'nonce-x' 'sha256-y'; connect-src 'self' https://api.test",
            "default-src *",
            "default-src 'none'; script-src 'SELF'; connect-src ws:",
            "script-src 'none'; script-src-elem 'self'",
            "img-src 'none'; frame-ancestors 'none'",
            "default-src 'self' 'unsafe-inline', script-src 'self'",
            "sandbox allow-scripts allow-same-origin",
            "connect-src WS://LOCALHOST:8080",
        ] {
            check(policy, "");
        }
    }

    #[test]
    fn a_script_that_is_not_allowed_gets_a_nonce() {
        check("script-src 'none'", "script-src 'nonce-N'");
        check(
            "script-src https://cdn.test",
            "script-src https://cdn.test 'nonce-N'",
        );
        check(
            "script-src 'self'; script-src-elem https:",
            "script-src 'self'; script-src-elem https: 'nonce-N'",
        );
        check(
            "script-src 'self' 'nonce-a' 'strict-dynamic'",
            "script-src 'self' 'nonce-a' 'strict-dynamic' 'nonce-N'",
        );
        check("script-src", "script-src 'nonce-N'");
        check(
            "Default-Src 'none'",
            "Default-Src 'none'; script-src 'nonce-N'; connect-src 'self' ws://localhost:8080",
        );
        check(
            "script-src 'none', script-src 'self'",
            "script-src 'nonce-N', script-src 'self'",
        );
        // The first directive of a name counts.
        check(
            "script-src a.test; script-src 'self'",
            "script-src a.test 'nonce-N'; script-src 'self'",
        );
    }

    #[test]
    fn a_nonce_does_not_take_inline_scripts_from_a_page() {
        check(
            "script-src 'unsafe-inline' a.test",
            "script-src 'unsafe-inline' a.test 'self'",
        );
        check(
            "script-src 'unsafe-inline' 'nonce-a'",
            "script-src 'unsafe-inline' 'nonce-a' 'nonce-N'",
        );
    }

    #[test]
    fn the_connection_is_allowed_by_its_address() {
        check(
            "connect-src 'none'",
            "connect-src 'self' ws://localhost:8080",
        );
        check(
            "connect-src https://api.test",
            "connect-src https://api.test 'self' ws://localhost:8080",
        );
        let own = Needs {
            nonce: None,
            authority: None,
            scheme: Scheme::Https,
        };
        let Widened::To {
            policy,
            has_nonce,
            directives,
        } = widen("default-src 'none'", own)
        else {
            panic!("too narrow");
        };
        assert_eq!(
            policy,
            "default-src 'none'; script-src 'self'; connect-src 'self'"
        );
        assert!(!has_nonce);
        assert_eq!(directives.len(), 2);
    }

    #[test]
    fn a_sandbox_without_an_origin_gets_nothing() {
        for policy in [
            "sandbox",
            "sandbox allow-scripts",
            "SANDBOX allow-same-origin",
            "img-src *, sandbox",
        ] {
            check(policy, "sandboxed");
        }
    }
}
