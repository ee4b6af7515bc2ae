//! The values of flags: each is checked when it is read, and a value that could have no effect is refused
//! with the next step.

use std::net::{IpAddr, Ipv6Addr};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::Address;
use crate::config::{FieldChange, SocketPath};
use crate::http::{fixed_field, is_field_name, is_field_value};

/// Parses a value of `--port` or of `PORT`.
pub(super) fn port(text: &str) -> Result<u16, String> {
    text.parse()
        .map_err(|_| "not a port; a port is a number from 0 to 65535".into())
}

/// Parses a value of `--max-connections`.
pub(super) fn count(text: &str) -> Result<u32, String> {
    let count = text.parse().ok().filter(|n| *n > 0);
    count.ok_or_else(|| format!("not a number from 1 to {}", u32::MAX))
}

/// Checks a value of `--ignore`.
pub(super) fn glob_pattern(text: &str) -> Result<String, String> {
    match glob::Pattern::new(text) {
        Ok(_) if !text.trim_matches('/').is_empty() => Ok(text.into()),
        Ok(_) => Err("give a name such as '*.log', or a path below ROOT".into()),
        Err(error) => Err(format!("{} at character {}", error.msg, error.pos + 1)),
    }
}

/// Parses a value of `--max-age` or `--proxy-wait`. RFC 9111 §1.2.2 has the bound.
pub(super) fn seconds(text: &str) -> Result<u32, String> {
    const MAX: u32 = (1 << 31) - 1;
    let seconds = text.parse().ok().filter(|n| *n <= MAX);
    seconds.ok_or_else(|| format!("not a number of seconds from 0 to {MAX}"))
}

/// Parses a value of `--proxy-timeout`. In no time, no server would ever answer.
pub(super) fn some_seconds(text: &str) -> Result<u32, String> {
    match seconds(text) {
        Ok(0) => Err("no server answers in 0 seconds; leave it out for 120 seconds".into()),
        read => read,
    }
}

/// Parses a value of `--open`: the path of a page, perhaps with a query and a fragment. Characters that a
/// URL cannot have are encoded.
pub(super) fn page_path(text: &str) -> Result<String, String> {
    /// What browsers encode in a path, and what a shell or a program behind `$BROWSER` may take amiss.
    const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`');
    const ALL: &AsciiSet = &ENCODED
        .add(b'\'')
        .add(b'\\')
        .add(b'^')
        .add(b'{')
        .add(b'|')
        .add(b'}');
    if text.contains("://") || text.starts_with("//") {
        return Err("give a path of this server, such as /docs/".into());
    }
    let text = text.strip_prefix('/').unwrap_or(text);
    Ok(format!("/{}", utf8_percent_encode(text, ALL)))
}

/// Parses a value of `--memory-max`: bytes, or KiB, MiB or GiB with the letter K, M or G.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        _ => return Err("not a size; a size is a number with K, M or G, such as 64M".into()),
    };
    let number = digits.parse::<usize>().ok().filter(|n| *n > 0);
    let bytes = number.and_then(|n| n.checked_mul(1 << shift));
    bytes.ok_or_else(|| "not a size; a size is a number with K, M or G, such as 64M".into())
}

/// Parses a value of `--header`. A field that the server alone can know is refused with the reason.
pub(super) fn field_change(text: &str) -> Result<FieldChange, String> {
    const FIXED: [(&str, &str); 3] = [
        ("Last-Modified", "the server takes the date from the file"),
        (
            "Vary",
            "the server knows on which fields its replies depend",
        ),
        (
            "Strict-Transport-Security",
            "a browser that learned it for localhost could not reach any server without TLS there",
        ),
    ];
    let (name, value) = match text.strip_prefix('!') {
        Some(name) => (name, None),
        None => match text.split_once(':') {
            Some((name, value)) => (name, Some(value.trim_matches([' ', '\t']))),
            None => return Err("give 'Name: value' to set a field, or '!Name' to remove it".into()),
        },
    };
    if !is_field_name(name) {
        return Err(format!("{name:?} is not the name of a field"));
    }
    let ours = FIXED
        .iter()
        .find(|(ours, _)| ours.eq_ignore_ascii_case(name));
    if let Some(reason) = fixed_field(name).or(ours.map(|(_, reason)| *reason)) {
        return Err(format!("{name} cannot be changed: {reason}"));
    }
    match value {
        None => Ok(FieldChange::Remove(name.into())),
        Some(value) if is_field_value(value) => Ok(FieldChange::Set(name.into(), value.into())),
        Some(_) => Err("the value has a control character, such as the end of a line".into()),
    }
}

/// Parses a value of `--bind`: `localhost`, an IP address or `unix:/path`. An IPv6 address may be in
/// brackets.
pub(super) fn address(text: &str) -> Result<Address, String> {
    if let Some(rest) = text.strip_prefix("unix:") {
        return SocketPath::parse(rest).map(Address::Unix);
    }
    if text.eq_ignore_ascii_case("localhost") {
        return Ok(Address::Localhost);
    }
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    bare.unwrap_or(text).parse().map(Address::Ip).map_err(|_| {
        "not an IP address or localhost; use 0.0.0.0 for all of IPv4, :: for IPv6 and IPv4".into()
    })
}

/// Checks a value of `--allow-host`, which becomes an entry of [`Config::allow_hosts`](crate::Config::allow_hosts). A value
/// that could never match a request must be a mistake of the user, so the value is refused with a
/// reason.
pub(super) fn host_name(text: &str) -> Result<String, String> {
    const NAME_BYTES_MAX: usize = 253;
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let in_brackets = bare.is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok());
    if text == "*" || in_brackets || text.parse::<IpAddr>().is_ok() {
        return Ok(text.into());
    }
    let name = text.strip_prefix('.').unwrap_or(text);
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        !label.is_empty() && label.bytes().all(plain)
    };
    let error = if text.contains('/') {
        "give only the host name, without scheme and path"
    } else if text.contains(':') {
        "give only the host name, without a port: the name is allowed with every port"
    } else if text.starts_with("*.") {
        "use a dot in front to allow all names below a name: .example.org"
    } else if !text.is_ascii() {
        "give the name in ASCII, as browsers send it: xn--..."
    } else if name.parse::<IpAddr>().is_ok() {
        "an IP address has no names below it and needs no dot"
    } else if name.len() > NAME_BYTES_MAX || !name.split('.').all(is_label) {
        "not a host name"
    } else {
        return Ok(text.into());
    };
    Err(error.into())
}

/// Checks a value of `--allow-origin`, which becomes an entry of [`Config::allow_origins`](crate::Config::allow_origins). A value
/// that no browser sends is refused with a reason.
pub(super) fn origin(text: &str) -> Result<String, String> {
    if text == "*" || text == "null" {
        return Ok(text.into());
    }
    let Some((scheme, host)) = text.split_once("://") else {
        return Err(
            "give an origin with its scheme, such as http://localhost:5173, or null".into(),
        );
    };
    let in_scheme = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    let is_web = ["http", "https"]
        .iter()
        .any(|web| scheme.eq_ignore_ascii_case(web));
    let error = if !text.is_ascii() {
        "give the host in ASCII, as browsers send it: xn--..."
    } else if host.contains(['/', '?', '#']) {
        "give only the origin, without a path"
    } else if is_web && host.contains('@') {
        "give only the origin, without a user"
    } else if host.contains('*') {
        "give the whole origin: only * alone stands for any"
    } else if !is_scheme || !scheme.bytes().all(in_scheme) {
        "the scheme has a character that schemes do not have"
    } else if is_web && host.is_empty() {
        "the host is missing"
    } else if host.contains(|c: char| !c.is_ascii_graphic() || matches!(c, ',' | '"')) {
        "give one origin; repeat the flag for more"
    } else {
        return Ok(text.into());
    };
    Err(error.into())
}
