//! Ranges against bytes that are really cut out of a sequence.

use oneloop::http::Ranges;
use proptest::prelude::*;

/// A requested range.
#[derive(Clone, Copy, Debug)]
enum AskedRange {
    FromTo(u64, u64),
    From(u64),
    Last(u64),
}

impl AskedRange {
    fn text(self) -> String {
        match self {
            AskedRange::FromTo(first, last) => format!("{first}-{last}"),
            AskedRange::From(first) => format!("{first}-"),
            AskedRange::Last(n) => format!("-{n}"),
        }
    }

    /// Whether the range includes the byte at `at` of `length`: RFC 9110 §14.1.2 in its own words.
    fn has(self, at: u64, length: u64) -> bool {
        match self {
            AskedRange::FromTo(first, last) => first <= at && at <= last,
            AskedRange::From(first) => first <= at,
            AskedRange::Last(n) => length - at <= n,
        }
    }
}

fn asked() -> impl Strategy<Value = AskedRange> {
    let position = || prop_oneof![9 => 0..50_u64, 1 => Just(u64::MAX), 1 => any::<u64>()];
    prop_oneof![
        4 => (position(), position()).prop_map(|(a, b)| AskedRange::FromTo(a.min(b), a.max(b))),
        1 => position().prop_map(AskedRange::From),
        1 => position().prop_map(AskedRange::Last),
    ]
}

proptest! {
    #[test]
    fn the_bytes_are_those_that_were_asked_for(
        asked in prop::collection::vec(asked(), 1..8),
        length in 0..40_u64,
        separator in "[ \t]{0,2}(,[ \t]{0,2}){1,2}",
    ) {
        let texts: Vec<_> = asked.iter().map(|a| a.text()).collect();
        let value = format!("bytes={}", texts.join(&separator));
        let wanted = |at: &u64| asked.iter().any(|a| a.has(*at, length));
        let wanted: Vec<u64> = (0..length).filter(wanted).collect();
        match Ranges::parse(value.as_bytes(), length) {
            Ranges::Unsatisfiable => prop_assert!(wanted.is_empty(), "{}", value),
            // Several ranges that cover the whole content may be ignored; a single range may not.
            Ranges::Ignored => {
                prop_assert!(asked.len() > 1 && !wanted.is_empty(), "{}", value);
                prop_assert!(wanted.len() as u64 >= length, "{}", value);
            }
            Ranges::Satisfiable(spans) => {
                let mut sent: Vec<u64> = spans.iter().flat_map(|s| s.start..s.end).collect();
                prop_assert!(spans.iter().all(|s| s.start < s.end));
                sent.sort_unstable();
                // Each requested byte is sent once, and no other byte.
                prop_assert_eq!(sent, wanted, "{}", value);
            }
        }
    }

    /// A value in any other form is treated as absent.
    #[test]
    fn what_is_no_range_is_ignored(value in "(bytes=){0,2}(items|bytes |=)?[0-2, -]{0,6}[;x=]?") {
        let set = value.strip_prefix("bytes=");
        let number = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
        let valid = |member: &str| match member.split_once('-') {
            Some((first, "")) => number(first),
            Some(("", last)) => number(last),
            Some((first, last)) => {
                number(first) && number(last) && first.parse::<u64>().unwrap() <= last.parse::<u64>().unwrap()
            }
            None => false,
        };
        let members = |set: &'_ str| -> Vec<String> {
            let members = set.split(',').map(|m| m.trim().to_owned());
            members.filter(|m| !m.is_empty()).collect()
        };
        let members = set.map(members).unwrap_or_default();
        let valid = !members.is_empty() && members.iter().all(|m| valid(m));
        // The length is so large that no short number covers it.
        let ignored = Ranges::parse(value.as_bytes(), u64::MAX) == Ranges::Ignored;
        let whole = members.iter().any(|m| m.starts_with("0") && m.ends_with('-'));
        prop_assert!(ignored != valid || whole, "{}", value);
    }
}
