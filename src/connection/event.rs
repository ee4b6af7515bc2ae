//! Floor 3, connection: the events of a stream of server-sent events (HTML §9.2), as the bytes that
//! [`Hub::write`](super::Hub::write) takes.

use std::time::Duration;

use super::FieldError;

/// One server-sent event (HTML §9.2.5), for a stream that [`Answer::events`](super::Answer::events) has
/// begun.
///
/// ```
/// use oneloop::Event;
///
/// let event = Event::data("three\nlines\nof text").event("poem")?.id("7")?;
/// let bytes: Vec<u8> = event.into();
/// assert_eq!(bytes, b"event:poem\nid:7\ndata:three\ndata:lines\ndata:of text\n\n");
/// # Ok::<(), oneloop::FieldError>(())
/// ```
///
/// The bytes are made once. For many clients, clone the bytes, and give each
/// [`write`](super::Hub::write) a copy.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Event {
    /// The lines before the data: `event`, `id` and `retry`.
    fields: String,
    /// The lines of the data, or of a comment.
    lines: String,
}

impl Event {
    /// An event with this data. A browser gives the page the lines of `data`, joined by a newline. CR, LF
    /// and CRLF each end a line.
    pub fn data(data: &str) -> Event {
        Event::lines("data:", data)
    }

    /// A comment, which the page does not see. A comment every 15 seconds or so keeps the connection
    /// open where a proxy ends quiet ones, and shows the server a client that has vanished (HTML §9.2.7).
    pub fn comment(text: &str) -> Event {
        Event::lines(":", text)
    }

    /// No data, only the time that a browser waits before it connects again. A browser takes whole
    /// milliseconds.
    pub fn retry_after(delay: Duration) -> Event {
        Event::default().retry(delay)
    }

    /// The same event with a type. A page listens for the type with `addEventListener`; without a type,
    /// the event is a `message`.
    ///
    /// # Errors
    /// If the type has a line ending or a NUL.
    pub fn event(self, kind: &str) -> Result<Event, FieldError> {
        self.field("event", kind)
    }

    /// The same event with an identifier. A browser that connects again sends the last identifier in the
    /// field `Last-Event-ID`. An empty identifier makes the browser forget the last one.
    ///
    /// # Errors
    /// If the identifier has a line ending or a NUL. A browser ignores an identifier with a NUL.
    pub fn id(self, id: &str) -> Result<Event, FieldError> {
        self.field("id", id)
    }

    /// The same event, with the time that a browser waits before it connects again.
    #[must_use]
    pub fn retry(mut self, delay: Duration) -> Event {
        self.fields += &format!("retry:{}\n", delay.as_millis());
        self
    }

    fn field(mut self, name: &'static str, value: &str) -> Result<Event, FieldError> {
        if value.contains(['\r', '\n', '\0']) {
            return Err(FieldError::new(
                name,
                "the value would be more than one line",
            ));
        }
        self.fields += &format!("{name}:{}{value}\n", space_before(value));
        Ok(self)
    }

    /// Puts `beginning` before each line of a text. An empty text has one empty line.
    fn lines(beginning: &str, text: &str) -> Event {
        let mut lines = String::with_capacity(beginning.len() + text.len() + 2);
        // A CRLF is the end of one line.
        let text = text.replace("\r\n", "\n");
        for line in text.split(['\r', '\n']) {
            lines += &format!("{beginning}{}{line}\n", space_before(line));
        }
        let fields = String::new();
        Event { fields, lines }
    }
}

/// A browser removes one space after the colon, so a value that begins with a space gets another one.
fn space_before(value: &str) -> &'static str {
    match value.starts_with(' ') {
        true => " ",
        false => "",
    }
}

impl From<Event> for Vec<u8> {
    /// The bytes of the event, with the empty line at the end.
    fn from(event: Event) -> Vec<u8> {
        let Event { fields, lines } = event;
        (fields + &lines + "\n").into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The events that a browser finds in a stream (HTML §9.2.6): type, data and last identifier of each
    /// event that it dispatches.
    fn dispatched(stream: &[u8]) -> Vec<(String, String, String)> {
        let (mut kind, mut data, mut id) = (String::new(), String::new(), String::new());
        let mut events = Vec::new();
        let stream = str::from_utf8(stream).expect("it is UTF-8");
        let stream = stream.replace("\r\n", "\n").replace('\r', "\n");
        for line in stream.split_terminator('\n') {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "" if line.is_empty() => {
                    let (kind, mut data) = (std::mem::take(&mut kind), std::mem::take(&mut data));
                    if data.pop().is_some() {
                        events.push((kind, data, id.clone()));
                    }
                }
                "event" => kind = value.into(),
                "data" => data = data + value + "\n",
                "id" if !value.contains('\0') => id = value.into(),
                _ => {}
            }
        }
        events
    }

    #[test]
    fn a_page_gets_what_the_program_has_said() {
        for (data, expected) in [
            ("", ""),
            ("a", "a"),
            (" a", " a"),
            ("a: b", "a: b"),
            ("a\nb", "a\nb"),
            ("a\r\nb\rc\n", "a\nb\nc\n"),
            (
                "\n\nevent: forged\n\ndata: x",
                "\n\nevent: forged\n\ndata: x",
            ),
            ("ä\0", "ä\0"),
        ] {
            let event = Event::data(data).event(" kind").and_then(|e| e.id("7"));
            let mut bytes: Vec<u8> = event.expect("each is one line").into();
            bytes.extend(Vec::from(Event::comment("a\n\ndata: x")));
            bytes.extend(Vec::from(Event::retry_after(Duration::from_secs(1))));
            let expected = [(" kind".into(), expected.into(), "7".into())];
            assert_eq!(dispatched(&bytes), expected, "{data:?}");
        }
    }

    #[test]
    fn a_line_ending_in_a_field_is_an_error() {
        for value in ["a\nb", "a\rdata: x", "\r\n", "a\0"] {
            assert!(Event::data("").event(value).is_err(), "{value:?}");
            assert!(Event::data("").id(value).is_err(), "{value:?}");
        }
        assert!(Event::data("").id("").is_ok());
    }

    #[test]
    fn a_comment_and_a_delay_are_lines() {
        let bytes = |event: Event| String::from_utf8(event.into()).expect("it is UTF-8");
        assert_eq!(bytes(Event::comment("")), ":\n\n");
        let delay = Event::retry_after(Duration::from_millis(2_500));
        assert_eq!(bytes(delay), "retry:2500\n\n");
        let event = Event::data("x").retry(Duration::from_secs(1));
        assert_eq!(bytes(event), "retry:1000\ndata:x\n\n");
    }
}
