//! Pages made of the tokens that the search for the place of a tag knows, in any order.

use proptest::prelude::*;

use crate::properties;

const TOKENS: &[&[u8]] = &[
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xfe\xff",
    b"<!doctype html>",
    b"<html",
    b"<head",
    b"<header",
    b"<body>",
    b"<title>x</title>",
    b"<!--",
    b"-->",
    b"--!>",
    b"<?",
    b"<!",
    b">",
    b"/",
    b"=",
    b"'",
    b"\"",
    b" a=b",
    b"\n",
    b"\0",
    b"\xc4\xe3",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn a_page_with_a_tag_is_the_page_and_the_tag(
        tokens in prop::collection::vec(prop::sample::select(TOKENS), 0..24),
    ) {
        properties::tag_place(&tokens.concat());
    }
}
