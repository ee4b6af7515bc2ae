//! Floor 2, site: the script that the pages get. Its source has comments for readers; browsers get the rest.

use sha1::{Digest, Sha1};

/// The script that reloads a page, as a file of the site would be, and the URL path of the file.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// The path has a hash of the text, so that browsers may keep the text for ever: another text has
    /// another path.
    pub path: String,
    pub text: String,
}

impl Client {
    /// Makes the script from the source in this folder.
    pub fn new() -> Client {
        let text = stripped(include_str!("client.js"));
        let digest = Sha1::digest(&text);
        let hash: String = digest[..4].iter().map(|b| format!("{b:02x}")).collect();
        Client {
            path: format!("/_oneloop/live-{hash}.js"),
            text,
        }
    }
}

/// A script without comments, indentation, and ends of lines that mean nothing. The source keeps to three
/// rules: no statement begins with two slashes, no comment stands behind code, and no string goes on in the
/// next line.
fn stripped(source: &str) -> String {
    let lines = source.lines().map(str::trim);
    let mut script = String::new();
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with("//")) {
        // Elsewhere, the end of a line may be the end of a statement.
        if !(script.is_empty() || script.ends_with([';', '{', ',']) || line.starts_with('}')) {
            script.push('\n');
        }
        script.push_str(line);
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Coding;
    use crate::site::encoding::Encoders;

    #[test]
    fn comments_indentation_and_ends_of_lines_go() {
        let source = "// a\n{\n  // b\n  f('//c');\n\n\t g()\n  .h(\n1,\n2)  \n}\n";
        assert_eq!(stripped(source), "{f('//c');g()\n.h(\n1,2)}");
    }

    #[test]
    fn the_script_is_small_and_its_path_has_its_hash() {
        let client = Client::new();
        let coded = Encoders::default().whole(Coding::Gzip, client.text.as_bytes());
        let bytes = coded.len();
        assert!(bytes <= 3 * 1024, "{bytes} bytes");
        assert_eq!(client.path.len(), "/_oneloop/live-01234567.js".len());
        // A character outside ASCII would need the charset of the page.
        assert!(client.text.is_ascii());
    }
}
