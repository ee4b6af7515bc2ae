//! Request bodies: a body encoded by hand is decoded again.

use proptest::prelude::*;

use crate::properties::decode_chunked;
use crate::sorted;

/// A chunked body and its content.
fn chunked() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let value = r#"([0-9A-Z|]{1,4}|"([ !#-\[\]-~]|\\[ -~])*")"#;
    let extensions = format!(r"([ \t]*;[ \t]?[a-z!~]{{1,3}}([ \t]?=[ \t]?{value})?){{1,2}}");
    let extensions = prop::string::string_regex(&extensions).expect("a regular expression");
    let extension = prop_oneof![3 => Just(String::new()), 1 => extensions];
    let chunk = (
        prop::collection::vec(any::<u8>(), 1..40),
        0..4_usize,
        extension,
    );
    let trailer = "[A-Za-z-]{1,8}:[\t -~]{0,8}\r\n";
    let trailers = prop::collection::vec(trailer, 0..3);
    (prop::collection::vec(chunk, 0..8), trailers).prop_map(|(chunks, trailers)| {
        let (mut bytes, mut content) = (Vec::new(), Vec::new());
        for (data, zeros, extension) in chunks {
            let size = format!("{}{:x}{extension}\r\n", "0".repeat(zeros), data.len());
            bytes.extend_from_slice(size.as_bytes());
            bytes.extend_from_slice(&data);
            bytes.extend_from_slice(b"\r\n");
            content.extend_from_slice(&data);
        }
        bytes.extend_from_slice(format!("0\r\n{}\r\n", trailers.concat()).as_bytes());
        (bytes, content)
    })
}

proptest! {
    #[test]
    fn what_was_chunked_is_joined_again(
        (bytes, content) in chunked(),
        rest in prop::collection::vec(any::<u8>(), 0..10),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let length = bytes.len();
        let bytes = [bytes, rest].concat();
        let cuts = sorted(&cuts, bytes.len());
        prop_assert_eq!(decode_chunked(&bytes, cuts), Ok((content, Some(length))));
    }

    #[test]
    fn damage_has_the_same_outcome_however_it_is_cut(
        (mut bytes, _) in chunked(),
        at in any::<prop::sample::Index>(),
        byte in prop::sample::select(&b"\r\n\0 ;:0af\xff"[..]),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let cuts = sorted(&cuts, bytes.len());
        prop_assert_eq!(decode_chunked(&bytes, cuts), decode_chunked(&bytes, []));
    }
}
