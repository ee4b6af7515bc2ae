//! Floor 2, site: the head of a page with the script of live reload, made from the head of the page without
//! the script. The functions are pure.

use memchr::memmem;

use crate::http::{
    Change, Coding, EntityTag, RequestHead, ResponseHead, Status, Validators, edit_head,
    field_values,
};
use crate::site::fallback::VARY_BY_NAVIGATION;

/// The length of a body, for its head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Length {
    Known(u64),
    Chunked,
    /// The head has the framing already.
    AsItIs,
}

/// The head of the answer without the script, and the policy for the one with it.
pub(super) struct HeadParts<'a> {
    pub head: &'a [u8],
    /// The widened policy, if it is another.
    pub policy: Option<&'a str>,
}

impl HeadParts<'_> {
    /// The head of the answer with the script.
    pub fn join(&self, validators: Option<&Validators>, length: Length, coding: Coding) -> Vec<u8> {
        let head = self.head;
        let vary = with_navigation(head);
        let bytes = match length {
            Length::Known(bytes) => bytes.to_string(),
            Length::Chunked | Length::AsItIs => String::new(),
        };
        let mut changes = vec![
            match validators {
                Some(validators) => Change::Set("ETag", validators.tag.as_str()),
                None => Change::Remove("ETag"),
            },
            Change::Remove("Last-Modified"),
            Change::Set("Vary", &vary),
            Change::Set("Accept-Ranges", "none"),
        ];
        if !field_values(head, "Cache-Control").any(is_no_store) {
            changes.push(Change::Set("Cache-Control", "no-cache"));
        }
        match length {
            Length::Known(_) => changes.push(Change::Set("Content-Length", &bytes)),
            Length::Chunked => changes.extend([
                Change::Remove("Content-Length"),
                Change::Set("Transfer-Encoding", "chunked"),
            ]),
            Length::AsItIs => {}
        }
        changes.extend(
            coding
                .token()
                .map(|token| Change::Set("Content-Encoding", token)),
        );
        let policy = self.policy;
        changes.extend(policy.map(|policy| Change::Set("Content-Security-Policy", policy)));
        edit_head(head, changes.into_iter())
    }

    /// The head of a 304 in place of that answer. The fields that describe the content go (RFC 9110
    /// §15.4.5).
    pub fn join_not_modified(&self, validators: Option<&Validators>) -> Vec<u8> {
        let content = [
            "Content-Length",
            "Content-Type",
            "X-Content-Type-Options",
            "Accept-Ranges",
        ];
        let head = self.join(validators, Length::AsItIs, Coding::Identity);
        let head = edit_head(&head, content.into_iter().map(Change::Remove));
        let fields = head
            .iter()
            .position(|b| *b == b'\n')
            .map_or(0, |end| end + 1);
        let line = ResponseHead::new(Status::NotModified).into_bytes();
        [&line, &head[fields..]].concat()
    }
}

/// Whether an answer is a page to which a script may be added.
pub(super) fn is_page(status: Status, head: &[u8]) -> bool {
    // Most heads are told apart without a look at each field.
    let has = |text: &[u8]| memmem::find(head, text).is_some();
    if !has(b"html") && !has(b"HTML") {
        return false;
    }
    let mut types = field_values(head, "Content-Type");
    let is_html = match (types.next(), types.next()) {
        (Some(media_type), None) => {
            let essence = media_type.split(|b| *b == b';').next().unwrap_or_default();
            essence.trim_ascii().eq_ignore_ascii_case(b"text/html")
        }
        _ => false,
    };
    let is_saved = || {
        field_values(head, "Content-Disposition").any(|value| {
            let kind = value.split(|b| *b == b';').next().unwrap_or_default();
            kind.trim_ascii().eq_ignore_ascii_case(b"attachment")
        })
    };
    let is_coded = || field_values(head, "Content-Encoding").next().is_some();
    is_html && (status == Status::Ok || status.code() >= 400) && !is_saved() && !is_coded()
}

/// Whether another coding may have been selected by another Accept-Encoding. True of a few heads too many.
pub(super) fn varies_by_coding(head: &[u8]) -> bool {
    memmem::find(head, b"Accept-Encoding").is_some()
}

/// The parameter `charset` of a media type.
pub(super) fn charset_of(media_type: &[u8]) -> Option<&str> {
    let mut parameters = media_type.split(|b| *b == b';').skip(1);
    parameters.find_map(|parameter| {
        let parameter = str::from_utf8(parameter).ok()?;
        let (name, value) = parameter.split_once('=')?;
        let is_charset = name.trim().eq_ignore_ascii_case("charset");
        is_charset.then(|| value.trim().trim_matches('"'))
    })
}

/// The host and port as a policy can name them: no policy can name an IPv6 address.
pub(super) fn authority_of(request: &RequestHead<'_>) -> Option<String> {
    let authority = request.authority()?;
    let host = str::from_utf8(authority.host).ok()?;
    let is_named = host
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
    is_named.then(|| match authority.port {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

/// The validators of a page with the script, from the head without it.
pub(super) fn own_validators(head: &[u8], mark: &str) -> Option<Validators> {
    let tag = str::from_utf8(field_values(head, "ETag").next()?).ok()?;
    let (is_weak, quoted) = match tag.strip_prefix("W/") {
        Some(quoted) => (true, quoted),
        None => (false, tag),
    };
    let opaque = quoted.strip_prefix('"')?.strip_suffix('"')?;
    Some(Validators {
        tag: EntityTag::new(&format!("{opaque}-l{mark}"), is_weak),
        modified: None,
    })
}

/// The validators of the same page in a coding (RFC 9110 §8.8.3.3).
pub(super) fn validators_in(validators: Validators, coding: Coding) -> Validators {
    let Some(token) = coding.token() else {
        return validators;
    };
    let tag = &validators.tag;
    let tag = EntityTag::new(&format!("{}-{token}", tag.opaque()), tag.is_weak());
    Validators { tag, ..validators }
}

/// Whether a value of `Cache-Control` forbids caches to keep the answer, which is more than is asked for.
pub(super) fn is_no_store(value: &[u8]) -> bool {
    let mut members = value.split(|b| *b == b',').map(<[u8]>::trim_ascii);
    members.any(|member| member.eq_ignore_ascii_case(b"no-store"))
}

/// The value of `Vary` in a head, with the fields by which a navigation is told from other requests.
fn with_navigation(head: &[u8]) -> String {
    let mut vary = VARY_BY_NAVIGATION.to_owned();
    let values = field_values(head, "Vary").filter_map(|value| str::from_utf8(value).ok());
    let members = values.flat_map(|value| value.split(',')).map(str::trim);
    for member in members.filter(|member| !member.is_empty()) {
        let mut known = VARY_BY_NAVIGATION.split(", ");
        if !known.any(|known| known.eq_ignore_ascii_case(member)) {
            vary = format!("{vary}, {member}");
        }
    }
    vary
}
