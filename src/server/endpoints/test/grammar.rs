//! Floor 4, server: the parameters of the test endpoints, and the draw from the chances that they give.

use std::time::Duration;

use crate::connection::Request;
use crate::http::Status;

/// A kind of value: its parser, and its name in a sentence.
#[derive(Clone, Copy)]
pub(super) struct Form<T> {
    pub read: fn(&str) -> Option<T>,
    pub is: &'static str,
}

/// A number, in decimal digits.
pub(super) const NUMBER: Form<u64> = Form {
    read: number,
    is: "a number",
};

/// A time.
pub(super) const TIME: Form<Duration> = Form {
    read: time,
    is: "a time such as 5ms or 2s",
};

/// A status that an answer can have.
pub(super) const STATUS: Form<Status> = Form {
    read: |text| Status::from_code(u16::try_from(number(text)?).ok()?),
    is: "a status from 200 to 599",
};

fn number(text: &str) -> Option<u64> {
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

fn time(text: &str) -> Option<Duration> {
    match text.strip_suffix("ms") {
        Some(ms) => number(ms).map(Duration::from_millis),
        None => number(text.strip_suffix('s')?).map(Duration::from_secs),
    }
}

impl<T: Copy> Form<T> {
    /// Reads a value.
    ///
    /// # Errors
    /// A sentence with the name of the value.
    pub fn value(self, name: &str, text: &str) -> Result<T, String> {
        (self.read)(text).ok_or_else(|| format!("{name} must be {}", self.is))
    }

    /// Reads a parameter of the query; `default` if it is not there.
    ///
    /// # Errors
    /// As for [`Form::value`].
    pub fn parameter(self, request: &Request<'_>, name: &str, default: T) -> Result<T, String> {
        let text = request.parameter(name);
        text.map_or(Ok(default), |text| self.value(name, &text))
    }

    /// Reads values with their chances, `5ms:90,50ms:9.5`.
    ///
    /// # Errors
    /// As for [`Form::value`], and if the chances are together more than 100 %.
    pub fn chances(self, request: &Request<'_>, name: &str) -> Result<Chances<T>, String> {
        let text = request.parameter(name);
        let items = text.iter().flat_map(|text| text.split(','));
        let chances = items.map(|item| {
            let (value, percent) = item.split_once(':').unwrap_or((item, "100"));
            let chance = hundredths(percent);
            let chance =
                chance.ok_or_else(|| format!("a chance of {name} must be a percentage"))?;
            Ok((self.value(name, value)?, chance))
        });
        let chances = Chances(chances.collect::<Result<_, String>>()?);
        match chances.0.iter().map(|(_, chance)| *chance).sum::<u64>() > Chances::<T>::ALL {
            true => Err(format!("the chances of {name} are more than 100 %")),
            false => Ok(chances),
        }
    }
}

/// Reads a percentage with up to two decimals, in hundredths of a percent, at most 100 %.
fn hundredths(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "00"));
    let part = match part.len() {
        1 => number(part)? * 10,
        2 => number(part)?,
        _ => return None,
    };
    let hundredths = number(whole)?.checked_mul(100)? + part;
    Some(hundredths).filter(|h| *h <= Chances::<()>::ALL)
}

/// Values, each with its chance in hundredths of a percent.
#[derive(Debug)]
pub(super) struct Chances<T>(Vec<(T, u64)>);

impl<T: Copy> Chances<T> {
    const ALL: u64 = 10_000;

    /// The values.
    pub fn values(&self) -> impl Iterator<Item = T> {
        self.0.iter().map(|(value, _)| *value)
    }

    /// Draws a value, or none. The same seed gives the same outcome. `purpose` makes the draws of one
    /// request independent of each other.
    pub fn draw(&self, seed: u64, purpose: u64) -> Option<T> {
        let mut drawn = mix(mix(seed).wrapping_add(purpose)) % Self::ALL;
        for (value, chance) in &self.0 {
            match drawn.checked_sub(*chance) {
                Some(rest) => drawn = rest,
                None => return Some(*value),
            }
        }
        None
    }
}

/// The function of the generator SplitMix64: neighbouring numbers become numbers that have nothing to
/// do with each other.
fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_exactly() {
        for (text, expected) in [
            ("0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("+1", None),
            ("-1", None),
            (" 1", None),
            ("", None),
        ] {
            assert_eq!(number(text), expected, "{text}");
        }
        for (text, expected) in [
            ("5ms", Some(5)),
            ("2s", Some(2_000)),
            ("0s", Some(0)),
            ("5", None),
            ("ms", None),
            ("1m", None),
            ("1.5s", None),
        ] {
            assert_eq!(time(text), expected.map(Duration::from_millis), "{text}");
        }
        for (text, expected) in [
            ("100", Some(10_000)),
            ("33.33", Some(3_333)),
            ("0.5", Some(50)),
            ("100.01", None),
            ("1.", None),
            (".5", None),
            ("1.234", None),
            ("", None),
            ("18446744073709551615", None),
        ] {
            assert_eq!(hundredths(text), expected, "{text}");
        }
    }

    #[test]
    fn a_draw_depends_on_the_seed_alone_and_keeps_to_the_chances() {
        let chances = Chances(vec![('a', 9_000), ('b', 250)]);
        let draw = |seed| chances.draw(seed, 0);
        let counts = |value| (0..20_000).filter(|seed| draw(*seed) == value).count();
        for (value, expected) in [(Some('a'), 18_000), (Some('b'), 500), (None, 1_500)] {
            let count = counts(value);
            assert!(count.abs_diff(expected) < 150, "{value:?}: {count}");
        }
        assert!((0..100).all(|seed| draw(seed) == chances.draw(seed, 0)));
        let differs = |seed: &u64| chances.draw(*seed, 0) != chances.draw(*seed, 1);
        assert!((0..1_000).filter(differs).count() > 100);
        assert_eq!(Chances::<char>(Vec::new()).draw(1, 0), None);
        assert_eq!(Chances(vec![('a', 10_000)]).draw(7, 1), Some('a'));
    }
}
