//! Request heads: of a program with any number of fields, and of a browser.

/// A short head, as of a program: Host, a User-Agent of 50 bytes, Accept and Connection.
const PROGRAM: [&str; 4] = [
    "Host: localhost:8080",
    "User-Agent: load-generator/1.0 (x86_64; Linux; keep-alive; v2)",
    "Accept: */*",
    "Connection: keep-alive",
];

/// The head of a browser that opens a page: with the request line, 700 bytes.
const BROWSER: [&str; 15] = [
    "Host: localhost:8080",
    "Connection: keep-alive",
    "Cache-Control: max-age=0",
    "sec-ch-ua: \"Chromium\";v=\"138\", \"Not)A;Brand\";v=\"8\", \"Google Chrome\";v=\"138\"",
    "sec-ch-ua-mobile: ?0",
    "sec-ch-ua-platform: \"Linux\"",
    "Upgrade-Insecure-Requests: 1",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
     Chrome/138.0.0.0 Safari/537.36",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,\
     image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
    "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-User: ?1",
    "Sec-Fetch-Dest: document",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8",
];

/// Returns a GET with `fields` field lines, at least 4: those of a program, and then field lines
/// that mean nothing to a server.
pub fn program(path: &str, fields: usize) -> Vec<u8> {
    let mut lines = PROGRAM.map(String::from).to_vec();
    for number in lines.len()..fields {
        lines.push(format!("X-Field-{number}: some value of a field"));
    }
    get(path, &lines.join("\r\n"))
}

/// Returns a GET as a browser sends it.
pub fn browser(path: &str) -> Vec<u8> {
    get(path, &BROWSER.join("\r\n"))
}

fn get(path: &str, lines: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\n{lines}\r\n\r\n").into_bytes()
}
