//! Floor 2, site: the fields that flags put on every reply: permission for pages of other origins to
//! read it (CORS), isolation, and fields of the user. The policy must not know the files.
//!
//! A browser does not show a page the reply from another origin unless the reply permits it (Fetch,
//! §3.3, "CORS protocol"). With [`Cors::Any`], each reply permits the origin that the request names.
//! Before a request that a form could not send, the browser asks with a *preflight*: OPTIONS with
//! `Access-Control-Request-Method`. The answer permits the method and the fields that the preflight
//! names. The [guard](super::Guard) still refuses unsafe requests of foreign pages; such a page can
//! then read the refusal.
//!
//! The reply depends on `Origin` then, also if a request has none, so `Vary` says so (RFC 9110
//! §12.5.5).

use std::rc::Rc;

use super::live::{ASK, lets_reuse};
use super::{Body, Reply};
use crate::config::{Config, Cors, FieldChange};
use crate::http::{
    Change, Field, Method, RequestHead, ResponseHead, Status, edit_head, field_values, fixed_field,
    is_field_name, is_field_value,
};

/// The fields that the reply of a site may carry for a page to read, in addition to those that a page
/// may always read (Fetch, §2.2.2, "CORS-safelisted response-header name"). `*` would not do: it is an
/// ordinary name in a reply to a request with credentials.
const EXPOSED: &str = "Accept-Ranges, Content-Encoding, Content-Range, Date, ETag";

/// The seconds for which a browser may remember the answer to a preflight. A server that was restarted
/// without `--cors` is noticed after this time.
const PREFLIGHT_SECONDS: u32 = 600;

/// The rules for the fields of replies.
#[derive(Default, Debug)]
pub struct Policy {
    cors: Cors,
    /// The value of `Access-Control-Expose-Headers`.
    exposed: String,
    /// The changes of each head, in order.
    changes: Vec<OwnChange>,
}

/// A change of a head, with owned text.
#[derive(Debug)]
enum OwnChange {
    Set(String, String),
    Remove(String),
    Add(String, String),
}

impl OwnChange {
    fn change(&self) -> Change<'_> {
        match self {
            OwnChange::Set(name, value) => Change::Set(name, value),
            OwnChange::Remove(name) => Change::Remove(name),
            OwnChange::Add(name, value) => Change::Add(name, value),
        }
    }

    fn name(&self) -> &str {
        match self {
            OwnChange::Set(name, _) | OwnChange::Remove(name) | OwnChange::Add(name, _) => name,
        }
    }
}

impl Policy {
    /// The policy that a configuration asks for.
    pub fn new(config: &Config) -> Policy {
        let mut changes = Vec::new();
        if config.isolate {
            // Pages of other origins may embed these files only if they may read them too.
            let embedders = match config.cors {
                Cors::Off => "same-origin",
                Cors::Any | Cors::Credentials => "cross-origin",
            };
            for (name, value) in [
                ("Cross-Origin-Opener-Policy", "same-origin"),
                ("Cross-Origin-Embedder-Policy", "require-corp"),
                ("Cross-Origin-Resource-Policy", embedders),
            ] {
                changes.push(OwnChange::Set(name.into(), value.into()));
            }
        }
        let mut exposed = EXPOSED.to_owned();
        let mut set: Vec<&str> = vec!["Set-Cookie"];
        for change in &config.fields {
            let (FieldChange::Set(name, _) | FieldChange::Remove(name)) = change;
            if !is_field_name(name) || fixed_field(name).is_some() {
                continue;
            }
            match change {
                FieldChange::Remove(name) => changes.push(OwnChange::Remove(name.clone())),
                FieldChange::Set(_, value) if !is_field_value(value) => {}
                FieldChange::Set(name, value) => {
                    let (owned_name, value) = (name.clone(), value.clone());
                    // A name that is given twice stands twice.
                    let again = set.iter().any(|other| other.eq_ignore_ascii_case(name));
                    changes.push(match again {
                        true => OwnChange::Add(owned_name, value),
                        false => OwnChange::Set(owned_name, value),
                    });
                    if !again {
                        exposed = format!("{exposed}, {name}");
                        set.push(name);
                    }
                }
            }
        }
        Policy {
            cors: config.cors,
            exposed,
            changes,
        }
    }

    /// Whether no reply is changed.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.cors == Cors::Off && self.changes.is_empty()
    }

    /// Whether fields are set or removed on each reply.
    pub(super) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// The changes of the fields of each reply.
    pub(super) fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        self.changes.iter().map(OwnChange::change)
    }

    /// A text that tells this policy from others; empty for a policy that changes no reply.
    pub(super) fn text(&self) -> String {
        match self.is_idle() {
            true => String::new(),
            false => format!("{:?} {:?}", self.cors, self.changes),
        }
    }

    /// The answer to a preflight; `None` for any other request, and without CORS.
    #[inline]
    pub(super) fn preflight<F>(&self, request: &RequestHead<'_>) -> Option<Reply<F>> {
        let asked = self.asked_method(request)?;
        let mut head = ResponseHead::new(Status::NoContent)
            .field("Access-Control-Allow-Methods", asked)
            .field("Access-Control-Max-Age", PREFLIGHT_SECONDS)
            .field(
                "Vary",
                "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
            );
        let fields: Vec<&str> = request
            .values_named("Access-Control-Request-Headers")
            .filter_map(|value| str::from_utf8(value).ok())
            .flat_map(|value| value.split(',').map(|name| name.trim_matches([' ', '\t'])))
            .filter(|name| is_field_name(name))
            .collect();
        if !fields.is_empty() {
            head = head.field("Access-Control-Allow-Headers", fields.join(", "));
        }
        Some(Reply::new(Status::NoContent, head, Body::empty()))
    }

    /// Whether a request is a preflight that this policy answers.
    pub(super) fn is_preflight(&self, request: &RequestHead<'_>) -> bool {
        self.asked_method(request).is_some()
    }

    /// The method that a preflight asks about.
    #[inline]
    fn asked_method<'a>(&self, request: &RequestHead<'a>) -> Option<&'a str> {
        if self.cors == Cors::Off || request.method() != Method::Options {
            return None;
        }
        origin(request)?;
        let asked = request.values_named("Access-Control-Request-Method").next();
        str::from_utf8(asked?)
            .ok()
            .filter(|name| is_field_name(name))
    }
}

/// The origin that a request names. `None` if there is none, or several, or one with bytes that no
/// origin has: such an origin is not sent back.
fn origin<'a>(request: &RequestHead<'a>) -> Option<&'a str> {
    let mut values = request.values(Field::Origin);
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let is_plain = !value.is_empty() && value.iter().all(u8::is_ascii_graphic);
    str::from_utf8(value).ok().filter(|_| is_plain)
}

/// The fields that the policy puts on the reply to one request.
#[derive(Debug)]
pub(crate) struct ReplyFields {
    policy: Rc<Policy>,
    /// The origin of the page that sends the request.
    origin: Option<Box<str>>,
    /// Whether this page may also send credentials: it is one that the guard lets in.
    is_trusted: bool,
    /// Whether the client must not use the reply again without a question, whatever the user says.
    must_ask: bool,
    /// A value of `Set-Cookie`.
    cookie: Option<String>,
}

impl ReplyFields {
    /// The fields for the reply to `request`, with a `cookie` if there is one. The page that sends the
    /// request `is_trusted` if the guard lets the page in.
    pub(super) fn new(
        policy: &Rc<Policy>,
        request: &RequestHead<'_>,
        is_trusted: bool,
        must_ask: bool,
        cookie: Option<String>,
    ) -> ReplyFields {
        ReplyFields {
            policy: Rc::clone(policy),
            origin: origin(request).map(Box::from),
            is_trusted,
            must_ask,
            cookie,
        }
    }

    /// Puts the fields on a reply. A field of the user replaces every other field of the name.
    #[cold]
    pub fn put_on<F>(&self, reply: &mut Reply<F>) {
        let policy = &*self.policy;
        let vary = with_origin(&reply.head);
        let mut changes = Vec::new();
        if policy.cors != Cors::Off {
            changes.extend(vary.as_deref().map(|vary| Change::Set("Vary", vary)));
        }
        if let Some(origin) = self.origin.as_deref().filter(|_| policy.cors != Cors::Off) {
            changes.push(Change::Set("Access-Control-Allow-Origin", origin));
            if policy.cors == Cors::Credentials && self.is_trusted {
                changes.push(Change::Set("Access-Control-Allow-Credentials", "true"));
            }
            changes.push(Change::Set(
                "Access-Control-Expose-Headers",
                &policy.exposed,
            ));
            changes.push(Change::Set("Timing-Allow-Origin", origin));
        }
        // The type of such a body names the boundary of its parts.
        let in_parts = field_values(&reply.head, "Content-Type")
            .any(|value| value.starts_with(b"multipart/byteranges"));
        let fits =
            |change: &&OwnChange| !(in_parts && change.name().eq_ignore_ascii_case("Content-Type"));
        if !reply.is_live {
            let own = policy.changes.iter().filter(fits).map(OwnChange::change);
            changes.extend(own.map(|change| match self.must_ask {
                true => and_ask(change),
                false => change,
            }));
        }
        let cookie = self.cookie.as_deref();
        changes.extend(cookie.map(|cookie| Change::Add("Set-Cookie", cookie)));
        reply.head = edit_head(&reply.head, changes.into_iter()).into();
    }
}

/// The change, unless a browser could use the reply again without a question afterwards.
fn and_ask(change: Change<'_>) -> Change<'_> {
    let is_about_caches = |name: &str| name.eq_ignore_ascii_case("Cache-Control");
    match change {
        Change::Set(name, value) | Change::Add(name, value)
            if is_about_caches(name) && lets_reuse(value.as_bytes()) =>
        {
            ASK
        }
        Change::Remove(name) if is_about_caches(name) => ASK,
        change => change,
    }
}

/// The value of `Vary` in a head with `Origin` added; `None` if `Origin` is there, or `*`, which includes
/// it.
fn with_origin(head: &[u8]) -> Option<String> {
    let values = field_values(head, "Vary").filter_map(|value| str::from_utf8(value).ok());
    let mut members: Vec<&str> = values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|member| !member.is_empty())
        .collect();
    let includes = |member: &&str| *member == "*" || member.eq_ignore_ascii_case("Origin");
    if members.iter().any(includes) {
        return None;
    }
    members.push("Origin");
    Some(members.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parsed;

    fn policy(cors: Cors, isolate: bool, fields: &[FieldChange]) -> Rc<Policy> {
        Rc::new(Policy::new(&Config {
            cors,
            isolate,
            fields: fields.to_vec(),
            ..Config::new(".")
        }))
    }

    /// The field lines that the policy makes of `head`, for a GET with `lines`.
    #[track_caller]
    fn check(policy: &Rc<Policy>, lines: &str, is_trusted: bool, head: &str, expected: &str) {
        let text = format!("GET / HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
        let request = parsed(&text);
        let request = RequestHead::new(&request, text.as_bytes());
        let fields = ReplyFields::new(policy, &request, is_trusted, false, None);
        let start = "HTTP/1.1 200 OK\r\n";
        let mut reply = Reply::<()> {
            head: format!("{start}{head}").into_bytes().into(),
            ..Reply::new(Status::Ok, ResponseHead::new(Status::Ok), Body::empty())
        };
        fields.put_on(&mut reply);
        let text = str::from_utf8(&reply.head).expect("text");
        assert_eq!(text.strip_prefix(start), Some(expected));
    }

    fn set(name: &str, value: &str) -> FieldChange {
        FieldChange::Set(name.into(), value.into())
    }

    #[test]
    fn the_reply_permits_the_origin_that_the_request_names() {
        let any = policy(Cors::Any, false, &[]);
        let permitted = "Access-Control-Allow-Origin: http://a.test\r\n\
            Access-Control-Expose-Headers: Accept-Ranges, Content-Encoding, Content-Range, Date, ETag\r\n\
            Timing-Allow-Origin: http://a.test\r\n";
        let origin = "Origin: http://a.test\r\n";
        for (vary, expected) in [
            ("", "Vary: Origin\r\n"),
            (
                "Vary: Accept-Encoding\r\n",
                "Vary: Accept-Encoding, Origin\r\n",
            ),
            ("Vary: a,b\r\nVary: c\r\n", "Vary: a, b, c, Origin\r\n"),
            ("Vary: a, origin\r\n", "Vary: a, origin\r\n"),
            ("Vary: *\r\n", "Vary: *\r\n"),
        ] {
            check(&any, origin, true, vary, &format!("{expected}{permitted}"));
            check(&any, "", true, vary, expected);
        }
        for lines in [
            "Origin: a\r\nOrigin: b\r\n",
            "Origin: a b\r\n",
            "Origin: \u{e4}\r\n",
            "Origin:\r\n",
        ] {
            check(&any, lines, true, "", "Vary: Origin\r\n");
        }
        let off = policy(Cors::Off, false, &[]);
        assert!(off.is_idle() && !any.is_idle());
        check(&off, origin, true, "X: 1\r\n", "X: 1\r\n");
    }

    #[test]
    fn credentials_are_for_pages_that_the_guard_lets_in() {
        let origin = "Origin: null\r\n";
        for (cors, is_trusted, expected) in [
            (Cors::Any, true, ""),
            (Cors::Credentials, false, ""),
            (
                Cors::Credentials,
                true,
                "Access-Control-Allow-Credentials: true\r\n",
            ),
        ] {
            let expected = format!(
                "Vary: Origin\r\nAccess-Control-Allow-Origin: null\r\n{expected}\
                 Access-Control-Expose-Headers: {EXPOSED}, X-A\r\nTiming-Allow-Origin: null\r\n\
                 X-A: 1\r\n"
            );
            let policy = policy(cors, false, &[set("X-A", "1")]);
            check(&policy, origin, is_trusted, "", &expected);
        }
    }

    #[test]
    fn fields_of_the_user_replace_ours_and_nothing_that_only_the_server_knows() {
        let fields = [
            FieldChange::Remove("x-content-type-options".into()),
            set("Cache-Control", "no-store"),
            set("Content-Type", "text/x"),
            set("Link", "<a>"),
            set("link", "<b>"),
            set("Set-Cookie", "a=1"),
            // A program on the library may ask for these.
            set("Content-Length", "1"),
            set("a b", "1"),
            set("X", "a\r\nb: c"),
            FieldChange::Remove("ETag".into()),
        ];
        let policy = policy(Cors::Off, false, &fields);
        let head = "ETag: 1\r\nCache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\n\
            Set-Cookie: b=1\r\n";
        let kept = "ETag: 1\r\nSet-Cookie: b=1\r\n";
        let set = "Cache-Control: no-store\r\nContent-Type: text/x\r\nLink: <a>\r\n\
            link: <b>\r\nSet-Cookie: a=1\r\n";
        check(&policy, "", true, head, &format!("{kept}{set}"));
        // The boundary of the parts is in the type.
        let parts = "Content-Type: multipart/byteranges; boundary=1\r\n";
        let set = set.replace("Content-Type: text/x\r\n", "");
        check(&policy, "", true, parts, &format!("{parts}{set}"));
    }

    #[test]
    fn isolated_pages_are_for_embedding_by_others_with_cors_alone() {
        for (cors, vary, embedders) in [
            (Cors::Off, "", "same-origin"),
            (Cors::Any, "Vary: Origin\r\n", "cross-origin"),
        ] {
            let expected = format!(
                "{vary}Cross-Origin-Opener-Policy: same-origin\r\n\
                 Cross-Origin-Embedder-Policy: require-corp\r\n\
                 Cross-Origin-Resource-Policy: {embedders}\r\n"
            );
            check(&policy(cors, true, &[]), "", true, "", &expected);
        }
    }

    #[test]
    fn a_preflight_is_answered_with_what_it_asks_for() {
        let any = policy(Cors::Any, false, &[]);
        let answer = |policy: &Policy, method: &str, lines: &str| {
            let text = format!("{method} / HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
            let request = parsed(&text);
            let request = RequestHead::new(&request, text.as_bytes());
            let reply = policy.preflight::<()>(&request)?;
            assert!(policy.is_preflight(&request));
            let head = String::from_utf8(reply.head.to_vec()).expect("text");
            let value = |name| {
                head.lines()
                    .find_map(|line| line.strip_prefix(name).map(str::to_owned))
            };
            Some((
                value("Access-Control-Allow-Methods: ")?,
                value("Access-Control-Allow-Headers: "),
            ))
        };
        let origin = "Origin: http://a.test\r\n";
        let put = "access-control-request-method: PUT\r\n";
        let asks = format!("{origin}{put}");
        let put = || "PUT".to_owned();
        assert_eq!(answer(&any, "OPTIONS", &asks), Some((put(), None)));
        let fields = "Access-Control-Request-Headers: x-a,,b c, x-d\r\n\
            Access-Control-Request-Headers: e\r\n";
        let asks_fields = format!("{asks}{fields}");
        assert_eq!(
            answer(&any, "OPTIONS", &asks_fields),
            Some((put(), Some("x-a, x-d, e".into())))
        );
        for (method, lines) in [
            ("GET", &asks[..]),
            ("OPTIONS", origin),
            ("OPTIONS", "Access-Control-Request-Method: PUT\r\n"),
            (
                "OPTIONS",
                "Origin: http://a.test\r\nAccess-Control-Request-Method: a b\r\n",
            ),
        ] {
            assert_eq!(answer(&any, method, lines), None, "{method} {lines}");
        }
        let off = policy(Cors::Off, false, &[]);
        assert_eq!(answer(&off, "OPTIONS", &asks), None);
    }
}
