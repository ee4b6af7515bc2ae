//! Preconditions against §13.2.2 of RFC 9110, step by step, with dates as `httpdate` writes them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oneloop::http::{EntityTag, Precondition, Validators, precondition};
use proptest::prelude::*;

use crate::with_request;

const OURS: &str = "our,s";

/// The value of a field of tags: `*`, or a list of tags.
#[derive(Clone, Debug)]
enum Tags {
    All,
    These(Vec<(bool, &'static str)>),
}

impl Tags {
    fn text(&self) -> String {
        let tag = |(weak, opaque): &(bool, &str)| {
            let weak = if *weak { "W/" } else { "" };
            format!("{weak}\"{opaque}\"")
        };
        match self {
            Tags::All => "*".to_owned(),
            Tags::These(tags) => tags.iter().map(tag).collect::<Vec<_>>().join(" ,,"),
        }
    }

    fn matches(&self, strongly: bool, weak: bool) -> bool {
        match self {
            Tags::All => true,
            Tags::These(tags) => tags
                .iter()
                .any(|tag| tag.1 == OURS && !(strongly && (weak || tag.0))),
        }
    }
}

fn tags() -> impl Strategy<Value = Option<Tags>> {
    let tag = (
        any::<bool>(),
        prop::sample::select(&[OURS, "", "W/", "s", "\u{fc}"][..]),
    );
    prop_oneof![
        4 => Just(None),
        1 => Just(Some(Tags::All)),
        4 => prop::collection::vec(tag, 0..4).prop_map(|tags| Some(Tags::These(tags))),
    ]
}

/// A date near the file's, in one of the three forms, or a value that is no date.
fn date() -> impl Strategy<Value = Option<(String, Option<SystemTime>)>> {
    let good = (-2..3_i64, 0..3_usize).prop_map(|(seconds, form)| {
        let time = UNIX_EPOCH + Duration::from_secs(MODIFIED.saturating_add_signed(seconds));
        let fixed = httpdate::fmt_http_date(time);
        // "Sun, 06 Nov 1994 08:49:37 GMT"
        let (day, month, year, clock) =
            (&fixed[5..7], &fixed[8..11], &fixed[12..16], &fixed[17..25]);
        let text = match form {
            0 => fixed.clone(),
            1 => format!("Sunday, {day}-{month}-{} {clock} GMT", &year[2..]),
            _ => format!(
                "Sun {month} {:>2} {clock} {year}",
                day.trim_start_matches('0')
            ),
        };
        Some((text, Some(time)))
    });
    let bad = "[ -~]{0,12}".prop_map(|text| Some((text, None)));
    prop_oneof![3 => Just(None), 4 => good, 1 => bad]
}

const MODIFIED: u64 = 784_111_777;

proptest! {
    #[test]
    fn each_step_is_taken_in_its_order(
        (weak, method) in (any::<bool>(), prop::sample::select(&["GET", "HEAD", "PUT"][..])),
        (matching, none_matching) in (tags(), tags()),
        (unmodified, modified) in (date(), date()),
        range in prop_oneof![date(), tags().prop_map(|tags| match tags {
            Some(tags @ Tags::These(_)) => Some((tags.text(), None)),
            _ => None,
        })],
    ) {
        let ours = UNIX_EPOCH + Duration::from_secs(MODIFIED);
        let mut fields = String::new();
        let mut add = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                fields.push_str(&format!("{name}: {value}\r\n"));
            }
        };
        add("If-Modified-Since", modified.as_ref().map(|d| &d.0[..]));
        add("If-None-Match", none_matching.as_ref().map(Tags::text).as_deref());
        add("If-Unmodified-Since", unmodified.as_ref().map(|d| &d.0[..]));
        add("If-Match", matching.as_ref().map(Tags::text).as_deref());
        add("If-Range", range.as_ref().map(|d| &d.0[..]));
        let read = method != "PUT";
        let time = |date: &Option<(_, Option<SystemTime>)>| date.as_ref().and_then(|d| d.1);
        // The five steps of §13.2.2.
        let passed = match &matching {
            Some(tags) => tags.matches(true, weak),
            None => time(&unmodified).is_none_or(|since| ours <= since),
        };
        let seen = match &none_matching {
            Some(tags) => tags.matches(false, weak),
            None => read && time(&modified).is_some_and(|since| ours <= since),
        };
        let ranges = match &range {
            None => true,
            Some((_, Some(date))) => !weak && *date == ours,
            Some((tag, None)) => !weak && *tag == format!("\"{OURS}\""),
        };
        let expected = match (passed, seen) {
            (false, _) => Precondition::Failed,
            (true, true) if read => Precondition::NotModified,
            (true, true) => Precondition::Failed,
            (true, false) => Precondition::Holds { ranges },
        };
        let validators = Validators { tag: EntityTag::new(OURS, weak), modified: Some(ours) };
        let got = with_request(method, &fields, |request| precondition(request, &validators));
        prop_assert_eq!(got, expected, "{}", fields);
    }
}
