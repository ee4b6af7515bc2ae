//! The verdict over a client: whether what it has received is what it should have.
//!
//! In the bytes of an answer only the date and the boundary of a multipart may differ between two
//! runs. In a stop, the last answer also says that the connection ends.

use memchr::memmem;

use crate::clients::Client;

/// Holds what a client has received against what it receives in calm weather.
pub fn judge(client: &Client, expected: &[u8], stops: usize) {
    let (script, received) = (&client.script, &client.received);
    let may_be_cut =
        client.is_excused || script.loses || stops > 1 || (stops == 1 && !script.is_cooperative);
    let is_right = if !script.is_exact() {
        true
    } else if stops == 0 && !may_be_cut {
        timeless(received) == timeless(expected)
    } else {
        let (mut got, all) = (answers(received), answers(expected));
        if may_be_cut {
            // What was last may even be a refusal.
            got.pop();
        }
        all.starts_with(&got)
    };
    let is_whole = match stops {
        _ if may_be_cut => true,
        0 => !client.was_cut_short,
        _ => client.has_what_was_promised(),
    };
    let (status, shown) = (client.status(), received.escape_ascii());
    assert!(is_right, "a wrong answer: {status} has received {shown}");
    assert!(
        is_whole,
        "an answer is missing: {status} has received {shown}"
    );
}

/// Answers one by one, without what depends on the moment.
fn answers(bytes: &[u8]) -> Vec<Vec<u8>> {
    let bytes = timeless(bytes);
    let mut begins: Vec<usize> = memmem::find_iter(&bytes, b"HTTP/1.1 ").collect();
    begins.push(bytes.len());
    let answers = begins.windows(2).map(|ends| &bytes[ends[0]..ends[1]]);
    answers.map(without_connection).collect()
}

/// An answer without what it says of the connection: in a stop, that is something else.
fn without_connection(answer: &[u8]) -> Vec<u8> {
    let mut answer = answer.to_vec();
    if let Some(at) = memmem::find(&answer, b"Connection: ") {
        let end = answer[at..].iter().position(|b| *b == b'\n');
        answer.drain(at..end.map_or(answer.len(), |end| at + end + 1));
    }
    answer
}

/// The same bytes with dashes for dates, and for the boundaries of multiparts, which are numbered.
fn timeless(bytes: &[u8]) -> Vec<u8> {
    let mut text = bytes.to_vec();
    for (before, length) in [("\r\nDate: ", 29), ("boundary=", 20), ("\r\n--", 20)] {
        let places: Vec<usize> = memmem::find_iter(bytes, before).collect();
        for at in places {
            let begin = at + before.len();
            let end = bytes.len().min(begin + length);
            text[begin..end].fill(b'-');
        }
    }
    text
}
