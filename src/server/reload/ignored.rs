//! Floor 4, server: the patterns of the files whose changes do not count.

use percent_encoding::percent_decode;

/// The names and paths that do not count. A pattern without a slash is for each name in a path, and one
/// with a slash for the whole path.
#[derive(Default, Debug)]
pub(super) struct Ignored(Vec<(glob::Pattern, bool)>);

impl Ignored {
    /// The patterns that make sense.
    pub fn new(patterns: &[String]) -> Ignored {
        let patterns = patterns.iter().filter_map(|text| {
            let text = text.trim_start_matches("./").trim_matches('/');
            let pattern = glob::Pattern::new(text).ok()?;
            Some((pattern, text.contains('/')))
        });
        Ignored(patterns.collect())
    }

    /// Whether a pattern is for a path, relative to a watched root.
    pub fn has(&self, path: &[u8]) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: false,
        };
        let path = String::from_utf8_lossy(path);
        // A directory that is ignored is so with all below it.
        let ends = path.match_indices('/').map(|(at, _)| at);
        let ends: Vec<_> = ends.chain([path.len()]).collect();
        self.0.iter().any(|(pattern, is_path)| match is_path {
            true => ends
                .iter()
                .any(|end| pattern.matches_with(&path[..*end], options)),
            false => path
                .split('/')
                .any(|name| pattern.matches_with(name, options)),
        })
    }

    /// Whether a pattern is for the file of a URL path.
    pub fn has_url(&self, url: &str) -> bool {
        !self.0.is_empty() && {
            let path: Vec<u8> = percent_decode(url.as_bytes()).collect();
            self.has(path.strip_prefix(b"/").unwrap_or(&path))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_for_a_name_or_for_a_path() {
        for (pattern, path, expected) in [
            ("*.log", "a/b.log", true),
            ("*.log", "a/b.logs", false),
            ("*.log", "x.log/file", true),
            ("node_modules", "a/node_modules/b/c.js", true),
            ("data/*.json", "data/a.json", true),
            ("data/*.json", "data/a/b.json", false),
            ("/data/", "data", true),
            ("./data/**", "data/a/b.json", true),
            ("data/a", "data/a/b.json", true),
            ("data/a", "data/ab.json", false),
            ("**/a.js", "x/y/a.js", true),
            ("a.js", "A.js", false),
            ("[", "[", false),
        ] {
            let ignored = Ignored::new(&[pattern.to_owned()]);
            assert_eq!(ignored.has(path.as_bytes()), expected, "{pattern} {path}");
        }
        let ignored = Ignored::new(&["a b/*".to_owned()]);
        assert!(ignored.has_url("/a%20b/c") && !ignored.has_url("/ab/c"));
        assert!(!Ignored::default().has(b"a"));
    }
}
