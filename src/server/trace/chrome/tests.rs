//! Floor 4, server: the tests of the conversion: a picture as text, and the rules that viewers have.

use super::*;

const HEADER: &str = "{\"oneloop-trace\":1,\"version\":\"0.1.0\"}\n";

/// One request on a new connection, which then ends; and a slot that is used again.
const SHORT: &str = r#"{"t":1,"e":"turn","events":0}
{"t":1,"e":"accept","c":"0#1","listener":0}
{"t":1,"e":"read","c":"0#1","n":20}
{"t":2,"e":"turn","events":1}
{"t":2,"e":"mark","c":"0#1","ready":"rw"}
{"t":2,"e":"read","c":"0#1","n":15}
{"t":2,"e":"step","c":"0#1","from":"ReadingHead","to":"Streaming","status":200}
{"t":2,"e":"send","c":"0#1","n":200,"left":0}
{"t":2,"e":"step","c":"0#1","from":"Streaming","to":"ReadingHead"}
{"t":2,"e":"effect","c":"0/5","what":"answer"}
{"t":3,"e":"turn","events":1}
{"t":3,"e":"mark","c":"0#1","ready":"rwc"}
{"t":3,"e":"read","c":"0#1","n":0,"end":"eof"}
{"t":3,"e":"step","c":"0#1","from":"ReadingHead","to":"Closed"}
{"t":3,"e":"close","c":"0#1","cause":"peer_closed"}
{"t":3,"e":"accept","c":"0#2","listener":0}
{"t":3,"e":"lost","n":2}
{"t":3,"e":"stop"}
"#;

fn converted(trace: &str) -> (Converted, Vec<Value>) {
    let mut out = Vec::new();
    let done = convert(trace.as_bytes(), &mut out).expect("a trace");
    let objects = serde_json::from_slice(&out).expect("one array in JSON");
    (done, objects)
}

/// The trace with times: turns of a few microseconds, and long waits.
fn with_clock(trace: &str) -> String {
    let mut at = 0;
    let lines = trace.lines().map(|line| match line.strip_suffix('}') {
        Some(turn) if line.contains("\"turn\"") => {
            at += 905;
            format!("{turn},\"at_us\":{at},\"waited_us\":900}}\n")
        }
        _ => format!("{line}\n"),
    });
    lines.collect()
}

/// A time in nanoseconds.
fn time(object: &Value, name: &str) -> u64 {
    let us = object[name].as_f64();
    let us = us.unwrap_or_else(|| panic!("no {name}: {object}"));
    (us * 1e3).round() as u64
}

/// The slices of a track, by their beginnings.
fn slices(objects: &[Value], tid: u64) -> Vec<(u64, u64, &str)> {
    let on_track = |o: &&Value| o["ph"] == "X" && o["tid"] == tid;
    let mut slices: Vec<_> = objects
        .iter()
        .filter(on_track)
        .map(|o| {
            let (ts, name) = (time(o, "ts"), o["name"].as_str().expect("a name"));
            (ts, ts + time(o, "dur"), name)
        })
        .collect();
    slices.sort_by_key(|slice| slice.0);
    slices
}

/// Checks the demands of the viewers.
fn check_rules(objects: &[Value]) {
    let tids: std::collections::BTreeSet<u64> =
        objects.iter().filter_map(|o| o["tid"].as_u64()).collect();
    for tid in &tids {
        let named = |o: &&Value| o["tid"] == *tid && o["name"] == "thread_name";
        assert_eq!(objects.iter().filter(named).count(), 1, "track {tid}");
        let mut around: Vec<(u64, u64, &str)> = Vec::new();
        for slice in slices(objects, *tid) {
            while around.last().is_some_and(|outer| outer.1 <= slice.0) {
                around.pop();
            }
            if let Some(outer) = around.last() {
                assert!(slice.0 > outer.0, "{slice:?} begins with {outer:?}");
                assert!(slice.1 <= outer.1, "{slice:?} ends after {outer:?}");
            }
            around.push(slice);
        }
    }
    // Each arrow: one beginning, then stops, at most one end, in the order of time, each in a slice.
    let mut arrows = BTreeMap::<u64, Vec<(u64, &str)>>::new();
    for object in objects {
        let ph = object["ph"].as_str().expect("a phase");
        assert!(["M", "X", "C", "s", "t", "f"].contains(&ph));
        if ["s", "t", "f"].contains(&ph) {
            let id = object["id"].as_u64().expect("a whole number");
            let at = time(object, "ts");
            let tid = object["tid"].as_u64().expect("a track");
            let is_in = |slice: &(u64, u64, &str)| slice.0 <= at && at <= slice.1;
            assert!(slices(objects, tid).iter().any(is_in), "{object}");
            assert_eq!(object["bp"] == "e", ph == "f");
            arrows.entry(id).or_default().push((at, ph));
        }
    }
    for (id, stops) in arrows {
        assert!(stops.is_sorted_by(|a, b| a.0 < b.0), "{id}: {stops:?}");
        let phases: String = stops.iter().map(|(_, ph)| *ph).collect();
        let middle = phases.strip_prefix('s').expect("a beginning");
        let middle = middle.strip_suffix('f').unwrap_or(middle);
        assert!(middle.bytes().all(|b| b == b't'), "{id}: {phases}");
    }
}

/// The slices of a track as a tree.
fn tree(objects: &[Value], tid: u64) -> String {
    let mut around: Vec<u64> = Vec::new();
    let mut text = String::new();
    for (begin, end, name) in slices(objects, tid) {
        around.retain(|outer| *outer > begin);
        text += &format!("{}{name}\n", "  ".repeat(around.len()));
        around.push(end);
    }
    text
}

#[test]
fn a_trace_becomes_turns_slots_and_arrows() {
    for trace in [
        format!("{HEADER}{SHORT}"),
        with_clock(&format!("{HEADER}{SHORT}")),
    ] {
        let (done, objects) = converted(&trace);
        let expected = Converted {
            turns: 3,
            lost: 2,
            is_cut: false,
        };
        assert_eq!(done, expected);
        check_rules(&objects);
        let expected = "\
turn 1
  accept
    accept
  run
    0#1
      read 20 B
turn 2
  mark
    event rw
  run
    0#1
      read 15 B
      ReadingHead to Streaming
      send 200 B
      Streaming to ReadingHead
  deliver
    0/5
      effect: answer
turn 3
  mark
    event rwc
  run
    0#1
      read: eof
      ReadingHead to Closed
      close: peer_closed
  accept
    accept
  run
    lost
";
        assert_eq!(tree(&objects, LOOP), expected);
        let expected = "\
0#1
  ReadingHead
  Streaming
  ReadingHead
  Closed
0#2
  ReadingHead
";
        assert_eq!(tree(&objects, SLOTS), expected);
        let arrows: Vec<_> = objects.iter().filter(|o| o["cat"] == "request").collect();
        let phases: Vec<_> = arrows.iter().map(|o| o["ph"].as_str()).collect();
        assert_eq!(phases, [Some("s"), Some("t"), Some("t"), Some("f")]);
        let end = time(arrows[3], "ts");
        let around = slices(&objects, LOOP).into_iter();
        let around: Vec<_> = around.filter(|s| s.0 <= end && end <= s.1).collect();
        assert_eq!(around.last().map(|s| s.2), Some("send 200 B"));
        let open = objects.iter().filter(|o| o["name"] == "connections");
        let open: Vec<_> = open.map(|o| o["args"]["n"].as_u64()).collect();
        assert_eq!(open, [Some(1), Some(1), Some(1)]);
    }
}

/// The whole text of a small trace: a change of the format is seen here first.
#[test]
fn the_text_of_a_small_trace() {
    let trace = format!("{HEADER}{SHORT}");
    let mut out = Vec::new();
    convert(trace.as_bytes(), &mut out).expect("a trace");
    let text = String::from_utf8(out).expect("JSON is UTF-8");
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/server/trace/chrome/small.json"
    );
    if std::env::var_os("ONELOOP_BLESS").is_some() {
        std::fs::write(path, &text).expect("the folder is ours");
    }
    let expected = std::fs::read_to_string(path).expect("it is in the repository");
    assert_eq!(text, expected, "ONELOOP_BLESS=1 writes the file anew");
}

#[test]
fn with_a_clock_a_wait_is_a_gap() {
    let (_, objects) = converted(&with_clock(&format!("{HEADER}{SHORT}")));
    let turns = slices(&objects, LOOP).into_iter();
    let turns: Vec<_> = turns.filter(|s| s.2.starts_with("turn ")).collect();
    assert_eq!(turns[0].0, 905_000);
    assert_eq!(turns[0].1, 910_000 - View::<Vec<u8>>::GAP);
    assert_eq!(turns[1].0, 1_810_000);
}

/// However short a turn is on the clock, its slices nest.
#[test]
fn a_turn_without_time_has_room_for_its_records() {
    let turn = |t: u32| {
        let mut lines =
            format!("{{\"t\":{t},\"e\":\"turn\",\"events\":0,\"at_us\":7,\"waited_us\":900}}\n");
        for slot in 0..50 {
            lines += &format!("{{\"t\":{t},\"e\":\"fin\",\"c\":\"{slot}#1\"}}\n");
        }
        lines
    };
    let (_, objects) = converted(&format!("{HEADER}{}{}", turn(1), turn(2)));
    check_rules(&objects);
}

#[test]
fn a_ring_may_begin_in_the_middle_of_a_turn() {
    let rest: String = SHORT.lines().skip(6).map(|l| format!("{l}\n")).collect();
    let (done, objects) = converted(&format!("{HEADER}{rest}"));
    assert_eq!(done.turns, 1);
    check_rules(&objects);
    let modes = "0#1\n  ReadingHead\n  Streaming\n  ReadingHead\n  Closed\n0#2\n  ReadingHead\n";
    assert_eq!(tree(&objects, SLOTS), modes);
}

/// Its turn ends where the first known one begins, however many turns were before.
#[test]
fn a_cut_turn_of_a_ring_with_a_clock_is_short() {
    let trace = with_clock(&format!(
        "{HEADER}{}",
        SHORT.replace("\"t\":", "\"t\":90000")
    ));
    let (header, rest) = trace.split_at(HEADER.len());
    let rest: String = rest.lines().skip(1).map(|l| format!("{l}\n")).collect();
    let (_, objects) = converted(&format!("{header}{rest}"));
    check_rules(&objects);
    let turns = slices(&objects, LOOP).into_iter();
    let turns: Vec<_> = turns.filter(|s| s.2.starts_with("turn ")).collect();
    // The waits are as long as before.
    assert_eq!(turns[0].0, 910_000 - 2_000);
    assert_eq!(turns[1].0, 1_810_000);
}

#[test]
fn a_line_that_is_cut_at_the_end_is_left_out() {
    let whole = format!("{HEADER}{SHORT}");
    // At each place, the trace is converted up to the last whole line.
    for end in HEADER.len()..whole.len() {
        let (done, objects) = converted(&whole[..end]);
        let cut = &whole[..end];
        let is_whole = cut.ends_with(['\n', '}']);
        assert_eq!(done.is_cut, !is_whole, "{cut}");
        check_rules(&objects);
    }
}

#[test]
fn a_line_that_is_wrong_is_named() {
    for (text, line, what) in [
        ("", 0, ""),
        ("x\n", 1, "not an object"),
        ("x", 1, "not an object"),
        ("{}\n", 1, "not the beginning of a trace"),
        ("[]\n", 1, "not the beginning of a trace"),
        ("{\"oneloop-trace\":2}\n", 1, "knows 1"),
        ("H{\"t\":1}\n", 2, "\"e\""),
        ("H{\"e\":\"turn\"}\n", 2, "\"t\""),
        ("H{\"t\":-1,\"e\":\"turn\"}\n", 2, "\"t\""),
        ("H{\"t\":1,\"e\":\"fin\",\"c\":7}\n", 2, "\"c\""),
        (
            "H{\"t\":1,\"e\":\"fin\",\"c\":\"99999999999#1\"}\n",
            2,
            "\"c\"",
        ),
        ("H\n", 2, "not an object"),
        (
            "H{\"t\":1,\"e\":\"tu\n{\"t\":2,\"e\":\"turn\"}\n",
            2,
            "not an object",
        ),
        (
            "H{\"t\":2,\"e\":\"turn\"}\n{\"t\":2,\"e\":\"turn\"}\n",
            3,
            "later",
        ),
    ] {
        let text = text.replace('H', HEADER);
        match convert(text.as_bytes(), io::sink()) {
            Ok(_) => assert_eq!(line, 0, "{text}"),
            Err(Error::Line(number, said)) => {
                assert_eq!(number, line, "{text}");
                assert!(said.contains(what), "{said}");
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    let long = format!("{HEADER}{}", "{\"t\":1,".repeat(2_000));
    let error = convert(long.as_bytes(), io::sink()).expect_err("too long");
    assert!(matches!(error, Error::Line(2, _)), "{error:?}");
}
