//! Floor 2, site: authentication with a user name and a password (Basic, RFC 7617), which is asked for
//! right after the guard, before endpoints and files.
//!
//! Basic sends the password with each request, and plain HTTP does not encrypt it. The password keeps
//! out those who cannot read the network.
//!
//! Safari sends no credentials with the opening handshake of WebSocket. So a page that was loaded with
//! credentials sets a cookie with a random token, and a handshake may show the token in place of
//! credentials. The token counts for handshakes alone, and as long as the server runs. Scripts cannot
//! read the cookie (`HttpOnly`), and pages of other sites cannot make a browser send it
//! (`SameSite=Strict`). But a cookie knows no port (RFC 6265 §8.5): the browser sends it to each server
//! on the same host. So its name has the port, and no server overwrites the cookie of another.
//!
//! # Constant time
//!
//! A comparison that ends at the first wrong byte tells by its time how many bytes were right. Here the
//! two sides are hashed with a random key first, and the hashes are compared in full. The hashes have
//! the same length, and a client cannot know them, so the time tells neither the length of the
//! password nor any byte.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest, Sha1};

use super::Reply;
use crate::config::Credentials;
use crate::http::{Method, RequestHead, ResponseHead, Scheme, Status};

/// The beginning of the name of each cookie with a token. The port follows.
pub(super) const COOKIE: &str = "oneloop-";

/// The credentials that the site asks for.
pub struct Auth {
    /// The secret key of the hashes.
    key: [u64; 2],
    /// The hash of the user name, a colon and the password.
    credentials: Hash,
    /// The token, in 32 hexadecimal digits.
    token: String,
    /// The hash of the token.
    token_hash: Hash,
}

/// Neither the token nor a hash is shown.
impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").finish_non_exhaustive()
    }
}

/// A hash of bytes that a client may send.
struct Hash([u8; 20]);

impl Hash {
    fn new(key: [u64; 2], bytes: &[u8]) -> Hash {
        let mut hasher = Sha1::new();
        hasher.update(key.map(u64::to_le_bytes).as_flattened());
        hasher.update(bytes);
        Hash(hasher.finalize().into())
    }

    /// Compares all bytes, wherever the first difference is.
    fn is_same(&self, other: &Hash) -> bool {
        let pairs = self.0.iter().zip(&other.0);
        pairs.fold(0, |different, (a, b)| different | (a ^ b)) == 0
    }
}

impl Auth {
    /// Asks for these credentials. `secrets` must be random: two words for the key of the hashes, and
    /// two for the token.
    pub fn new(credentials: &Credentials, secrets: [[u64; 2]; 2]) -> Auth {
        let [key, [a, b]] = secrets;
        let token = format!("{a:016x}{b:016x}");
        Auth {
            key,
            credentials: Hash::new(key, credentials.joined().as_bytes()),
            token_hash: Hash::new(key, token.as_bytes()),
            token,
        }
    }

    /// Checks the credentials of a request, or the token of a handshake.
    ///
    /// # Errors
    /// The answer 401, which makes a browser ask its user (RFC 9110 §15.5.2).
    pub(super) fn check<F>(
        &self,
        request: &RequestHead<'_>,
        is_for_endpoint: bool,
    ) -> Result<(), Reply<F>> {
        let sentence = match self.has_credentials(request) {
            Some(true) => return Ok(()),
            None | Some(false)
                if is_for_endpoint && request.wants_websocket() && self.has_token(request) =>
            {
                return Ok(());
            }
            None => "a user name and a password are asked for here",
            Some(false) => "the user name or the password is wrong",
        };
        let status = Status::Unauthorized;
        let challenge = "Basic realm=\"oneloop\", charset=\"UTF-8\"";
        let head = ResponseHead::new(status).field("WWW-Authenticate", challenge);
        Err(Reply::plain_with(head, status, sentence))
    }

    /// The value of `Set-Cookie` for the reply to `request`: the token, if the request is for a page,
    /// has the credentials, and lacks the token.
    pub(super) fn cookie_for(&self, request: &RequestHead<'_>) -> Option<String> {
        let is_for_page = request.method() == Method::Get
            && request
                .values_named("Accept")
                .any(|value| memchr::memmem::find(value, b"text/html").is_some());
        let is_due =
            is_for_page && !self.has_token(request) && self.has_credentials(request) == Some(true);
        is_due.then(|| {
            let port = request.authority().and_then(|authority| authority.port);
            let port = port.unwrap_or(request.scheme().default_port());
            let secure = match request.scheme() {
                Scheme::Http => "",
                Scheme::Https => "; Secure",
            };
            let token = &self.token;
            format!("{COOKIE}{port}={token}; Path=/; HttpOnly; SameSite=Strict{secure}")
        })
    }

    /// Whether the credentials of a request are right; `None` if it has none. Of several, none is right.
    fn has_credentials(&self, request: &RequestHead<'_>) -> Option<bool> {
        let mut values = request.values_named("Authorization");
        let value = values.next()?;
        let is_right = values.next().is_none() && self.are_right(value).unwrap_or(false);
        Some(is_right)
    }

    /// Whether the value of `Authorization` has the right credentials; `None` if the value has another
    /// scheme or form.
    fn are_right(&self, value: &[u8]) -> Option<bool> {
        let (scheme, rest) = value.split_at_checked("Basic ".len())?;
        if !scheme.eq_ignore_ascii_case(b"Basic ") {
            return None;
        }
        let sent = BASE64_STANDARD.decode(rest.trim_ascii()).ok()?;
        Some(Hash::new(self.key, &sent).is_same(&self.credentials))
    }

    /// Whether a cookie of the request has the token. The port in the name makes no difference: behind
    /// a proxy, the client may know this server by another port.
    fn has_token(&self, request: &RequestHead<'_>) -> bool {
        let cookies = request.values_named("Cookie");
        cookies
            .flat_map(|line| line.split(|b| *b == b';'))
            .filter_map(|pair| {
                let pair = pair.trim_ascii().strip_prefix(COOKIE.as_bytes())?;
                let at = memchr::memchr(b'=', pair)?;
                Some(&pair[at + 1..])
            })
            .any(|token| Hash::new(self.key, token).is_same(&self.token_hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parsed;

    const TOKEN: &str = "00000000000000030000000000000004";
    const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

    fn auth() -> Auth {
        let credentials = Credentials::parse("Aladdin:open sesame").expect("valid");
        Auth::new(&credentials, [[1, 2], [3, 4]])
    }

    /// The status and the sentence for a GET with `lines`, and whether the reply sets a cookie.
    fn outcome(lines: &str) -> (Option<String>, Option<String>) {
        let text = format!("GET / HTTP/1.1\r\nHost: x:81\r\n{lines}\r\n");
        let head = parsed(&text);
        let request = RequestHead::new(&head, text.as_bytes());
        let refusal = auth().check::<()>(&request, true).err();
        let refusal =
            refusal.map(|reply| {
                assert_eq!(reply.status, Status::Unauthorized);
                let head = str::from_utf8(&reply.head).expect("text");
                assert!(head.contains(
                    "\r\nWWW-Authenticate: Basic realm=\"oneloop\", charset=\"UTF-8\"\r\n"
                ));
                reply.reason.expect("it is an error").into_owned()
            });
        (refusal, auth().cookie_for(&request))
    }

    /// The example of RFC 7617 §2.
    const RIGHT: &str = "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n";

    #[test]
    fn the_right_credentials_alone_are_let_in() {
        let wrong = "the user name or the password is wrong";
        let missing = "a user name and a password are asked for here";
        for (lines, expected) in [
            (RIGHT.to_owned(), None),
            (
                RIGHT
                    .to_lowercase()
                    .replace("qwxhzgrpbjpvcgvuihnlc2ftzq", "QWxhZGRpbjpvcGVuIHNlc2FtZQ"),
                None,
            ),
            (RIGHT.replace("Basic ", "bAsIc   "), None),
            (RIGHT.repeat(2), Some(wrong)),
            (RIGHT.replace("==", ""), Some(wrong)),
            (RIGHT.replace("Basic", "Bearer"), Some(wrong)),
            (RIGHT.replace("QWx", "qWx"), Some(wrong)),
            ("Authorization: Basic\r\n".into(), Some(wrong)),
            ("Authorization: Basic \u{e4}\r\n".into(), Some(wrong)),
            ("Authorization:\r\n".into(), Some(wrong)),
            // Only the user name, and with a longer password.
            ("Authorization: Basic QWxhZGRpbjo=\r\n".into(), Some(wrong)),
            (
                "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZSE=\r\n".into(),
                Some(wrong),
            ),
            (String::new(), Some(missing)),
            (format!("Cookie: oneloop-81={TOKEN}\r\n"), Some(missing)),
        ] {
            assert_eq!(outcome(&lines).0.as_deref(), expected, "{lines}");
        }
    }

    #[test]
    fn a_handshake_is_let_in_with_the_token_of_a_page() {
        for (cookies, is_let_in) in [
            (format!("oneloop-81={TOKEN}"), true),
            (format!("a=b; oneloop-81=; oneloop-1={TOKEN};c"), true),
            (format!("a=b\r\ncookie: oneloop-81={TOKEN}"), true),
            (format!("oneloop-81={TOKEN}0"), false),
            (format!("oneloop-81={}", &TOKEN[1..]), false),
            (format!("other={TOKEN}"), false),
            (format!("oneloop-{TOKEN}"), false),
            (String::new(), false),
        ] {
            let (refusal, _) = outcome(&format!("{HANDSHAKE}Cookie: {cookies}\r\n"));
            assert_eq!(refusal.is_none(), is_let_in, "{cookies}");
        }
        let with_both = format!("{HANDSHAKE}{RIGHT}Cookie: oneloop-81=0\r\n");
        assert_eq!(outcome(&with_both).0, None);
    }

    #[test]
    fn the_token_is_for_pages_that_were_loaded_with_credentials() {
        let page = "Accept: application/xml, text/html;q=0.9\r\n";
        let wrong = RIGHT.replace("QWx", "qWx");
        let cookie = format!("oneloop-81={TOKEN}; Path=/; HttpOnly; SameSite=Strict");
        for (lines, expected) in [
            (format!("{RIGHT}{page}"), Some(&cookie)),
            (
                format!("{RIGHT}{page}Cookie: oneloop-81=old\r\n"),
                Some(&cookie),
            ),
            (format!("{RIGHT}{page}Cookie: oneloop-81={TOKEN}\r\n"), None),
            (format!("{RIGHT}Accept: */*\r\n"), None),
            (RIGHT.to_owned(), None),
            (format!("{wrong}{page}"), None),
            (page.to_owned(), None),
        ] {
            assert_eq!(outcome(&lines).1.as_ref(), expected, "{lines}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let shown = format!("{:?}", auth());
        assert_eq!(shown, "Auth { .. }");
    }
}
