//! Opening handshakes of WebSocket. The oracles are `tungstenite` for the key, and the letter of
//! the RFCs, read naively, for the rest.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use oneloop::websocket::{Opening, Protocols};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use tungstenite::handshake::derive_accept_key;

use crate::websocket::check_opening;

const SAMPLE: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A field value with extensions: the known ones in many forms, and now and then text that is no
/// extension.
fn extensions() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        6 => select(&[
            "server_no_context_takeover", "client_no_context_takeover",
            "server_max_window_bits", "client_max_window_bits", "Client_Max_Window_Bits",
        ][..]).prop_map(str::to_string),
        1 => "[a-z!~]{0,3}",
    ];
    let value = prop_oneof![
        4 => Just(String::new()),
        3 => (7..17_u8).prop_map(|bits| format!("={bits}")),
        2 => (7..17_u8).prop_map(|bits| format!("=\"{bits}\"")),
        1 => select(&["=\"1\\0\"", "=\"\"", "=\"9", "=09", "= 9", "=\t\"9\" ", "=+9", "=\"a,b\"", "="][..])
            .prop_map(str::to_string),
    ];
    let parameter =
        (" ?;[ \t]?", name, value).prop_map(|(mark, name, value)| mark + &name + &value);
    let token = prop_oneof![
        5 => Just("permessage-deflate".to_string()),
        1 => Just("PerMessage-Deflate".to_string()),
        1 => "[a-zA-Z-]{1,4}",
        1 => Just(String::new()),
    ];
    let extension = (token, prop::collection::vec(parameter, 0..4))
        .prop_map(|(token, parameters)| token + &parameters.concat());
    // Acceptable extensions: with several in a list, the choice matters.
    let good = (9..16_u8).prop_map(|n| format!("permessage-deflate; server_max_window_bits={n}"));
    let extension = prop_oneof![2 => extension, 1 => good];
    prop::collection::vec(extension, 0..3).prop_map(|extensions| extensions.join(", "))
}

/// Values of `values`, often with a few characters changed.
fn damaged(values: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let byte = prop_oneof![
        select(&b" \t,;=\"\\\"x0189()@{\xff"[..]),
        prop_oneof![Just(b'\t'), b' '..=0x7e, 0x80..=0xff_u8],
    ];
    let change = (any::<Index>(), byte, 0..3_u8);
    let changes = prop_oneof![
        Just(vec![]).boxed(),
        prop::collection::vec(change, 1..3).boxed()
    ];
    (values, changes).prop_map(|(value, changes)| {
        // Bytes as characters: `bytes` turns the characters into bytes again.
        let mut chars: Vec<char> = value.chars().collect();
        for (at, byte, kind) in changes {
            let at = at.index(chars.len() + 1);
            match kind {
                0 => chars.insert(at, char::from(byte)),
                _ if at == chars.len() => {}
                1 => chars[at] = char::from(byte),
                _ => drop(chars.remove(at)),
            }
        }
        chars.into_iter().collect()
    })
}

/// Field values without surrounding white space, as HTTP passes them on.
fn bytes(values: &[String]) -> Vec<Vec<u8>> {
    let bytes = |value: &String| value.chars().map(|c| c as u8).collect::<Vec<_>>();
    values
        .iter()
        .map(|v| bytes(v).trim_ascii().to_vec())
        .collect()
}

fn borrowed(values: &[Vec<u8>]) -> Vec<&[u8]> {
    values.iter().map(Vec::as_slice).collect()
}

proptest! {
    #[test]
    fn the_answer_to_a_key_is_that_of_tungstenite(nonce in any::<[u8; 16]>()) {
        let key = BASE64_STANDARD.encode(nonce);
        let opening = Opening {
            keys: vec![key.as_bytes()],
            versions: vec![b"13"],
            ..Opening::default()
        };
        let accept = opening.accept(Protocols::None).expect("a valid one");
        let answer = accept.fields().next();
        prop_assert_eq!(answer, Some(("Sec-WebSocket-Accept", derive_accept_key(key.as_bytes()))));
    }

    #[test]
    fn extensions_are_answered_by_the_letter(
        lines in prop::collection::vec(damaged(extensions()), 0..3),
    ) {
        let lines = bytes(&lines);
        let opening = Opening {
            keys: vec![SAMPLE.as_bytes()],
            versions: vec![b"13"],
            extensions: borrowed(&lines),
            ..Opening::default()
        };
        check_opening(&opening, Protocols::None);
    }

    #[test]
    fn subprotocols_are_chosen_by_the_letter(
        lines in prop::collection::vec(damaged("((chat|soap|Chat|mqtt|v1\\.x)(, ?|[ \t],)?){0,3}"), 0..3),
        spoken in select(&[
            Protocols::None, Protocols::Any, Protocols::Of(&["chat", "soap"]), Protocols::Of(&[]),
        ][..]),
    ) {
        let lines = bytes(&lines);
        let opening = Opening {
            keys: vec![SAMPLE.as_bytes()],
            versions: vec![b"13"],
            protocols: borrowed(&lines),
            ..Opening::default()
        };
        check_opening(&opening, spoken);
    }

    #[test]
    fn keys_and_versions_are_judged_by_the_letter(
        keys in prop::collection::vec(damaged(prop_oneof![
            Just(SAMPLE.to_string()),
            any::<[u8; 16]>().prop_map(|nonce| BASE64_STANDARD.encode(nonce)),
            "[A-Za-z0-9+/]{22}==",
            prop::collection::vec(any::<u8>(), 14..19).prop_map(|n| BASE64_STANDARD.encode(n)),
        ]), 0..3),
        versions in prop::collection::vec(damaged("(13|8|13, 8)"), 0..2),
        plainly in any::<bool>(),
    ) {
        let (keys, versions) = (bytes(&keys), bytes(&versions));
        let opening = Opening {
            keys: borrowed(&keys),
            versions: match plainly {
                true => vec![b"13"],
                false => borrowed(&versions),
            },
            ..Opening::default()
        };
        check_opening(&opening, Protocols::Any);
    }
}
