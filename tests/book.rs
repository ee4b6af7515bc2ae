//! The pages of `src/lib.rs` are true: the functions that they name exist where they say, and are as
//! long as they say.

use std::fs;
use std::path::Path;

fn source(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The code words of a line: what stands between backticks.
fn code_words(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// A function as `Type::function`, from its signature to its end: the text between the `impl` that
/// names the type and the next one is searched.
fn function<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (of, function) = name.split_once("::")?;
    // Another function may have a name that begins so.
    let heads = [format!("fn {function}("), format!("fn {function}<")];
    let mut blocks = text.split("\nimpl");
    blocks.next();
    let block = blocks.find(|block| {
        let head = block.split('{').next().unwrap_or_default();
        let named = head.split(|c: char| !c.is_alphanumeric() && c != '_');
        named.into_iter().any(|word| word == of) && heads.iter().any(|head| block.contains(head))
    })?;
    let at = heads.iter().find_map(|head| block.find(head))?;
    let begin = block[..at].rfind('\n').map_or(0, |n| n + 1);
    let end = block[at..]
        .find("\n    }\n")
        .map(|n| at + n + "\n    }".len())?;
    Some(&block[begin..end])
}

#[test]
fn the_functions_that_the_life_of_a_request_names_exist() {
    let pages = source("lib.rs");
    let mut rows = 0;
    for line in pages.lines() {
        let mut words = code_words(line);
        if let (Some(file), Some(name)) = (words.next(), words.next())
            && line.starts_with("//! | `")
            && file.ends_with(".rs")
        {
            rows += 1;
            assert!(
                function(&source(file), name).is_some(),
                "src/{file} has no {name}"
            );
        }
    }
    assert!(rows > 25, "the tables are gone: {rows} rows");
}

#[test]
fn the_functions_are_as_long_as_the_order_of_reading_says() {
    let pages = source("lib.rs");
    let order = pages
        .split("# The order of reading")
        .nth(1)
        .expect("it is there");
    let mut counts = 0;
    for (name, file) in [
        ("Server::turn", "server/mod.rs"),
        ("Connection::pump", "connection/mod.rs"),
        ("Tcp::read", "transport/tcp.rs"),
        ("HeadParser::take_lines", "http/parser.rs"),
        ("Reader::read", "websocket/reader.rs"),
    ] {
        let text = source(file);
        let function = function(&text, name).unwrap_or_else(|| panic!("{file} has no {name}"));
        let line = order.lines().find(|l| l.contains(&format!("`{name}`")));
        let line = line.unwrap_or_else(|| panic!("the order of reading does not name {name}"));
        let says = format!("in {} lines", function.lines().count());
        assert!(line.contains(&says), "{name}: {line}, but it is {says}");
        counts += 1;
    }
    let transitions = oneloop::connection::TRANSITIONS.len();
    assert!(
        order.contains(&format!("a table of {transitions} transitions")),
        "there are {transitions} transitions"
    );
    assert_eq!(
        counts,
        order.matches(" lines").count() - 1,
        "a count without a check"
    );
}
