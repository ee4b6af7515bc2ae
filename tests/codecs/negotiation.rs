//! Accept-Encoding against RFC 9110 §12.5.3, word for word and one coding at a time.

use oneloop::http::{Acceptable, Coding};
use proptest::prelude::*;

use crate::with_request;

/// A member as written, its name, and its weight in thousandths.
fn member() -> impl Strategy<Value = (String, &'static str, u32)> {
    const NAMES: [&str; 7] = ["br", "zstd", "gzip", "identity", "*", "deflate", "snappy"];
    let weight = prop_oneof![
        2 => Just((String::new(), 1000)),
        1 => Just((";q=0".to_owned(), 0)),
        1 => Just((" ; Q=1.000".to_owned(), 1000)),
        3 => (0..1000_u32).prop_map(|n| (format!("; q=0.{n:03}"), n)),
        1 => (0..10_u32).prop_map(|n| (format!(";q=0.{n}"), n * 100)),
    ];
    (prop::sample::select(&NAMES[..]), any::<bool>(), weight).prop_map(
        |(name, upper, (text, weight))| {
            let written = if upper {
                name.to_uppercase()
            } else {
                name.to_owned()
            };
            (format!("{written}{text}"), name, weight)
        },
    )
}

fn name(coding: Coding) -> &'static str {
    coding.token().unwrap_or("identity")
}

proptest! {
    #[test]
    fn each_coding_is_taken_as_the_rules_say(
        members in prop::collection::vec(member(), 0..7),
        junk in "[a-z]{1,4};q=[2-9x]",
        at in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut written: Vec<_> = members.iter().map(|(text, ..)| text.clone()).collect();
        written.insert(at.index(written.len() + 1), junk);
        // A list may be in two field lines as well as in one (§5.3).
        let (one, two) = written.split_at(cut.index(written.len() + 1));
        let (one, two) = (one.join(","), two.join(" , "));
        let fields = format!("Accept-Encoding: {one}\r\nAccept-Encoding: {two}\r\n");
        let named = |wanted: &str| {
            let same = members.iter().rev().find(|(_, name, _)| *name == wanted);
            same.map(|(.., weight)| *weight)
        };
        let weight = |coding| match (named(name(coding)), named("*"), coding) {
            (Some(weight), ..) => weight,
            // Not excluded, but used only if no requested coding is available.
            (None, None | Some(1..), Coding::Identity) => 1,
            (None, star, _) => star.unwrap_or(0),
        };
        let order: Vec<Coding> = with_request("GET", &fields, |request| {
            let acceptable = Acceptable::from_request(request);
            for coding in Coding::ALL {
                assert_eq!(acceptable.takes(coding), weight(coding) > 0, "{fields} {coding:?}");
            }
            acceptable.in_order().collect()
        });
        prop_assert!(order.iter().all(|coding| weight(*coding) > 0));
        for pair in order.windows(2) {
            let key = |coding: Coding| (std::cmp::Reverse(weight(coding)), coding as usize);
            prop_assert!(key(pair[0]) < key(pair[1]), "{} {:?}", fields, order);
        }
    }
}
