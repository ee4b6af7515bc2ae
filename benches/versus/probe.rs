//! A checked request before a scenario begins, because the time of a wrong answer means nothing.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use flate2::read::GzDecoder;

use crate::common::server::Server;
use crate::field::Contender;
use crate::scenario::{GZIP, Scenario};
use crate::site::Site;

/// Sends the request that wrk will send, and checks the reply. The status must be right. A 200 must
/// carry the bytes of the file, or the right number of bytes if the reply is canned.
///
/// # Errors
/// A sentence that says how the reply is wrong.
pub fn check(contender: &Contender, scenario: &Scenario, site: &Site) -> Result<(), String> {
    let (status, body) = get(contender.server, scenario, contender.canned)
        .map_err(|error| format!("no answer: {error}"))?;
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

/// Sends the request of `scenario`, and returns the status and the decoded body.
fn get(server: &Server, scenario: &Scenario, canned: bool) -> std::io::Result<(u16, Vec<u8>)> {
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
    let (mut length, mut chunked, mut coded) = (0, false, false);
    while line.trim_end() != "" {
        line.clear();
        reply.read_line(&mut line)?;
        let (name, value) = line.split_once(':').unwrap_or_default();
        match &*name.to_ascii_lowercase() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "transfer-encoding" => chunked = true,
            "content-encoding" => coded = value.trim() == "gzip",
            _ => {}
        }
    }
    // A 304 may have the Content-Length of a 200, but has no body (RFC 9110 §15.4.5).
    let mut body = vec![0; if status == 304 { 0 } else { length }];
    reply.read_exact(&mut body)?;
    if chunked {
        body = read_chunks(&mut reply)?;
    }
    if coded {
        let mut decoded = Vec::new();
        GzDecoder::new(&body[..]).read_to_end(&mut decoded)?;
        return Ok((status, decoded));
    }
    if scenario.fields.contains(&GZIP) && !canned {
        return Err(std::io::Error::other("not compressed"));
    }
    Ok((status, body))
}

/// Reads a chunked body to its end (RFC 9112 §7.1).
fn read_chunks(reply: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reply.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
        let mut chunk = vec![0; size + 2];
        reply.read_exact(&mut chunk)?;
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&chunk[..size]);
    }
}
