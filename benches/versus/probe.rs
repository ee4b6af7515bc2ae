//! One request by hand before a scenario begins: a fast wrong answer is not worth timing.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::load::Load;
use crate::scenario::Scenario;
use crate::server::Server;
use crate::site::Site;

/// Asks what wrk will ask. The status must be the one due; a 200 must carry the file's bytes, or as many
/// if they are canned.
pub fn check(load: &Load, site: &Site) -> Result<(), String> {
    let Load {
        contender,
        scenario,
        ..
    } = load;
    let (status, body) =
        get(contender.server, scenario).map_err(|error| format!("no answer: {error}"))?;
    let due = contender.status_due(scenario);
    if status != due {
        return Err(format!("status {status} instead of {due}"));
    }
    let is_right = if contender.canned {
        body.len() == scenario.body_bytes
    } else {
        status != 200 || fs::read(site.file(scenario.path)).is_ok_and(|file| file == body)
    };
    if !is_right {
        return Err(format!("{} bytes that are not the file's", body.len()));
    }
    Ok(())
}

fn get(server: &Server, scenario: &Scenario) -> std::io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(server.address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\n",
        scenario.path, server.address
    );
    for field in scenario.fields {
        request += &format!("{field}\r\n");
    }
    stream.write_all(format!("{request}\r\n").as_bytes())?;

    let mut reply = BufReader::new(stream);
    let mut line = String::new();
    reply.read_line(&mut line)?;
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0);
    let mut length = 0;
    while line.trim_end() != "" {
        line.clear();
        reply.read_line(&mut line)?;
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    // A 304 may state the length of what it does not send (RFC 9110 §15.4.5).
    let mut body = vec![0; if status == 304 { 0 } else { length }];
    reply.read_exact(&mut body)?;
    Ok((status, body))
}
