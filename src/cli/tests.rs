//! The tests of the command line: the meaning of flags, and the refusal of wrong ones.

use clap::CommandFactory as _;

use super::*;
use crate::config::Https;

mod variables;

fn config(args: &[&str]) -> Config {
    let args = ["oneloop"].iter().chain(args);
    Cli::try_parse_from(args)
        .expect("valid")
        .config(false, Some(1024), Some(200 << 20))
}

#[test]
fn the_flags_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn flags_become_a_configuration() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    assert_eq!(config(&["-p0"]).port, Port::Exactly(0));
    assert_eq!(config(&[]).bind, Bind::Loopback);
    assert_eq!(config(&["-b", "localhost"]).bind, Bind::Loopback);
    assert_eq!(
        config(&["--host", "0.0.0.0", "-b", "[::]"]).bind,
        Bind::Addresses(vec![ip("0.0.0.0"), ip("::")])
    );
    assert_eq!(config(&["--lan"]).bind, Bind::Everywhere);
    assert_eq!(config(&[]).log, LogFormat::Combined);
    assert_eq!(config(&["--log", "json"]).log, LogFormat::Json);
    assert_eq!(config(&["--log", "json", "-q"]).log, LogFormat::Off);
    let with_file = config(&["-q", "--log-file=a"]);
    assert_eq!(with_file.log_file.as_deref(), Some(Path::new("a")));
    assert_eq!(with_file.log, LogFormat::Combined);
    assert_eq!(config(&[]).limits.slow_member, SlowMember::Drop);
    assert_eq!(
        config(&["--slow-members", "close"]).limits.slow_member,
        SlowMember::Close
    );
    assert_eq!(config(&["site"]).root, Path::new("site"));
    assert_eq!(config(&[]).cors, Cors::Off);
    // The root does not become a value of the flag.
    assert_eq!(config(&["--cors", "site"]).cors, Cors::Any);
    assert_eq!(config(&["--cors", "site"]).root, Path::new("site"));
    assert_eq!(config(&["--cors=credentials"]).cors, Cors::Credentials);
    assert_eq!(config(&["."]).metrics, Metrics::Off);
    assert_eq!(config(&["--metrics", "."]).metrics, Metrics::Loopback);
    assert_eq!(config(&["--metrics=any", "."]).metrics, Metrics::Any);
    for (args, inspect) in [
        (&[][..], Inspect::Loopback),
        (&["--inspect"], Inspect::Loopback),
        (&["--inspect", "site"], Inspect::Loopback),
        (&["--inspect=any"], Inspect::Any),
        (&["--inspect=off"], Inspect::Off),
        (&["--inspect=control"], Inspect::Control),
    ] {
        assert_eq!(config(args).inspect, inspect, "{args:?}");
    }
    assert_eq!(Config::new(".").inspect, Inspect::Off);
    for (args, live) in [
        (&[][..], Live::Used),
        (&["--live"], Live::Used),
        (&["--live=all"], Live::All),
        (&["--no-live"], Live::Off),
    ] {
        assert_eq!(config(args).live, live, "{args:?}");
    }
    let live = config(&[
        "--watch",
        "a",
        "--watch=b",
        "--ignore",
        "*.log",
        "--poll",
        "c",
    ]);
    assert_eq!(live.watch, [Path::new("a"), Path::new("b")]);
    assert_eq!((live.ignore, live.poll), (vec!["*.log".to_owned()], true));
    assert!(!config(&[]).isolate && config(&["--isolate"]).isolate);
    assert_eq!(
        config(&["--header", "X-A:  b: c ", "--header=!ETag2"]).fields,
        [
            FieldChange::Set("X-A".into(), "b: c".into()),
            FieldChange::Remove("ETag2".into())
        ]
    );
    let proxied = config(&[
        "--proxy=/api=http://localhost:3000",
        "--proxy",
        "/=unix:/a:/v1",
        "--proxy-wait=0",
        "--proxy-timeout=7",
    ]);
    let routes: Vec<_> = proxied.proxies.iter().map(ToString::to_string).collect();
    assert_eq!(routes, ["/api=http://localhost:3000", "/=unix:/a:/v1"]);
    assert_eq!(proxied.limits.proxy_wait, Duration::ZERO);
    assert_eq!(proxied.limits.proxy_timeout, Duration::from_secs(7));
    assert!(config(&[]).proxies.is_empty());
    assert_eq!(config(&[]).limits.proxy_wait, Duration::from_secs(10));
    assert_eq!(config(&[]).max_age, None);
    assert_eq!(config(&["--max-age", "0"]).max_age, Some(0));
    assert!(!config(&[]).hidden && config(&["--hidden"]).hidden);
    assert!(config(&[]).allow_hosts.is_empty());
    assert_eq!(
        config(&["--allow-host", "a.test", "--allow-host=.b.test"]).allow_hosts,
        ["a.test", ".b.test"]
    );
    assert!(config(&[]).allow_origins.is_empty());
    assert_eq!(
        config(&["--allow-origin", "null", "--allow-origin=file://"]).allow_origins,
        ["null", "file://"]
    );
    assert_eq!(config(&[]).limits.memory_bytes_max, 50 << 20);
    let memory = config(&["--memory-max", "1g"]).limits.memory_bytes_max;
    assert_eq!(memory, 1 << 30);
    assert_eq!(config(&[]).limits.connections_max, 768);
    assert_eq!(
        config(&["--max-connections", "9"]).limits.connections_max,
        9
    );
}

#[test]
fn a_certificate_is_made_or_given() {
    let given = |certificate: &str, key: &str| Https::Given {
        certificate: certificate.into(),
        key: key.into(),
    };
    for (args, expected) in [
        (&[][..], Https::Off),
        (&["--tls"], Https::Made),
        (&["--tls-cert", "a", "--tls-key", "b"], given("a", "b")),
        (&["--tls", "--tls-cert", "a"], given("a", "a")),
    ] {
        assert_eq!(config(args).https, expected, "{args:?}");
    }
    let error = "--tls-key needs --tls-cert with the file of the certificate";
    assert_eq!(read(&["--tls-key", "a"], &[]).err().as_deref(), Some(error));
}

#[test]
fn a_page_to_open_is_a_path_of_this_server() {
    let open = |args: &[&str]| {
        let cli = Cli::try_parse_from(["oneloop"].iter().chain(args));
        cli.map(|cli| (cli.open, cli.root))
            .map_err(|error| explain(&error))
    };
    for (flag, path) in [
        ("-o", "/"),
        ("--open", "/"),
        ("--open=docs/", "/docs/"),
        ("-o=/a b/?q=1&r#\u{e9}", "/a%20b/?q=1&r#%C3%A9"),
        ("--open=/'`$(x)\n", "/%27%60$(x)%0A"),
    ] {
        assert_eq!(
            open(&[flag, "site"]),
            Ok((Some(path.into()), Some("site".into())))
        );
    }
    assert_eq!(open(&[]), Ok((None, None)));
    let said = r#"--open "http://a.test/": give a path of this server, such as /docs/"#;
    assert_eq!(open(&["--open=http://a.test/"]), Err(said.into()));
    assert!(open(&["--open=//a.test"]).is_err());
}

#[test]
fn a_trace_is_for_people_or_goes_to_a_file() {
    assert_eq!(config(&[]).trace, TraceTo::Off);
    for (args, trace, clock) in [
        (&["--trace=pretty"][..], TraceTo::Pretty, false),
        (&["--trace", "pretty", "a"], TraceTo::Pretty, false),
        (
            &["--trace=a/b", "--trace-clock"],
            TraceTo::File("a/b".into()),
            true,
        ),
        (
            &["--trace=./pretty"],
            TraceTo::File("./pretty".into()),
            false,
        ),
    ] {
        let config = config(args);
        assert_eq!((config.trace, config.trace_clock), (trace, clock));
    }
}

#[test]
fn a_conversion_has_an_input_and_an_output() {
    let parse = |args: &[&str]| Conversion::try_parse_from(["trace"].iter().chain(args));
    Conversion::command().debug_assert();
    let conversion = parse(&["a.jsonl", "--chrome=b.json"]).expect("valid");
    assert_eq!(conversion.file, Path::new("a.jsonl"));
    assert_eq!(conversion.chrome, Path::new("b.json"));
    for (args, said) in [
        (&["a"][..], "--chrome <OUT> is missing; --help says more"),
        (&["--chrome=b"], "<FILE> is missing; --help says more"),
        (
            &["a", "b", "--chrome=c"],
            r#""b" is one argument too many; name one directory, or one file"#,
        ),
    ] {
        assert_eq!(explain(&parse(args).expect_err("wrong")), said);
    }
    let alone = parse(&[]).expect_err("it explains");
    let kind = ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    assert_eq!(alone.kind(), kind);
}

/// Parses the arguments and these variables.
fn read(args: &[&str], variables: &[(&str, &str)]) -> Result<Cli, String> {
    let args = ["oneloop"].iter().chain(args).map(OsString::from);
    let variable = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| OsString::from(value))
    };
    Cli::read(args.collect(), &variable)
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for args in [
        ["--max-connections", "0"],
        ["-p", "70000"],
        ["-b", "example.org"],
        ["--log", "loud"],
        ["--slow-members", "wait"],
        ["--cors=all", "."],
        ["--metrics=some", "."],
        ["--header", "X"],
        ["--max-age", "1h"],
        ["--max-age", "-1"],
        ["--max-age", "2147483648"],
        ["--memory-max", "0"],
        ["--memory-max", "much"],
        ["--memory-max", "20000000000G"],
        ["--memory-max", "M"],
    ] {
        assert!(Cli::try_parse_from(["oneloop"].iter().chain(&args)).is_err());
    }
}

#[test]
fn a_wrong_argument_is_explained_in_one_line_with_the_next_step() {
    for (args, expected) in [
        (
            &["--no-such-flag"][..],
            r#"there is no flag "--no-such-flag"; --help lists the flags"#,
        ),
        (&["--lok=x"], r#"there is no flag "--lok"; try --log"#),
        (&["-Z"], r#"there is no flag "-Z"; --help lists the flags"#),
        (
            &["one", "t\nwo"],
            r#""t\nwo" is one argument too many; name one directory, or one file"#,
        ),
        (&["--port"], "--port needs a value; --help says which"),
        (
            &["--log"],
            "--log needs a value; give one of pretty, combined, json, off",
        ),
        (
            &["--log", "l\x1b[1moud"],
            r#"--log "l\u{1b}[1moud": give one of pretty, combined, json, off"#,
        ),
        (
            &["--cors=all"],
            r#"--cors "all": give one of any, credentials"#,
        ),
        (
            &["--max-age", "-1"],
            r#"--max-age "-1": not a number of seconds"#,
        ),
        (
            &["-p", "-1"],
            r#"--port "-1": not a port; a port is a number"#,
        ),
        (
            &["--max-connections=-1"],
            r#"--max-connections "-1": not a number"#,
        ),
        (&["--memory-max", "-1"], r#"--memory-max "-1": not a size"#),
        (
            &["--quiet=yes"],
            r#"--quiet takes no value; leave "yes" out"#,
        ),
        (
            &["-p1", "-p2"],
            "--port is given more than once; give it once",
        ),
        (
            &["--proxy-timeout=0", "--proxy=/a=unix:/b"],
            r#"--proxy-timeout "0": no server answers in 0 seconds; leave it out for 120 seconds"#,
        ),
        (
            &["--auth=u:p", "--auth-file=x"],
            "--auth cannot be used with --auth-file; give one of them",
        ),
        (
            &["--demo", "site"],
            "--demo cannot be used with ROOT; give one of them",
        ),
    ] {
        let error = Cli::try_parse_from(["oneloop"].iter().chain(args)).expect_err("wrong");
        let said = explain(&error);
        assert!(said.starts_with(expected), "{args:?}: {said}");
        assert!(!said.contains(char::is_control), "{said:?}");
    }
}

#[test]
fn a_flag_that_needs_another_is_not_taken_in_silence() {
    for (args, lacking) in [
        (
            &["--trace-clock"][..],
            Some(("--trace", "add --trace FILE")),
        ),
        (
            &["--proxy-insecure"],
            Some(("--proxy", "add --proxy PATH=URL")),
        ),
        (
            &["--proxy-wait", "3"],
            Some(("--proxy", "add --proxy PATH=URL")),
        ),
        (
            &["--proxy-timeout=3"],
            Some(("--proxy", "add --proxy PATH=URL")),
        ),
        (&["--proxy-wait=0", "--proxy=/a=unix:/b"], None),
        (&["--port=1", "-bunix:/a"], OF_TCP),
        (&["--tls", "-bunix:/a", "-bunix:/b"], OF_TCP),
        (&["--tls-cert=c", "-bunix:/a"], OF_TCP),
        (&["--open=/x", "-bunix:/a"], OF_TCP),
        (&["--tls", "--open", "-bunix:/a", "-blocalhost"], None),
        (&["--port=1", "--tls", "--open"], None),
        (&["-bunix:/a"], None),
    ] {
        let flag = args[0].split('=').next().unwrap_or_default();
        let said = lacking
            .map(|(needed, next)| format!("{flag} needs {needed}; {next}, or leave {flag} out"));
        assert_eq!(read(args, &[]).map(drop).err(), said, "{args:?}");
    }
    // Whoever runs the program in a container sets the variable for all.
    assert!(read(&["-bunix:/a"], &[("PORT", "80")]).is_ok());
}

const OF_TCP: Option<(&str, &str)> = Some((
    "a TCP address, and --bind names only Unix sockets",
    "add localhost to --bind",
));

#[test]
fn credentials_come_from_a_flag_or_the_environment_and_are_never_shown() {
    let credentials = |text| Credentials::parse(text).expect("valid");
    for (args, value, expected) in [
        (&["oneloop"][..], None, Ok(None)),
        (&["oneloop"], Some("u:p"), Ok(Some(credentials("u:p")))),
        (
            &["oneloop", "--auth", "a:b:c"],
            Some("u:p"),
            Ok(Some(credentials("a:b:c"))),
        ),
        (&["oneloop", "--auth=:p"], None, Ok(Some(credentials(":p")))),
        (
            &["oneloop", "--auth", "sesame"],
            None,
            Err("--auth: give USER:PASS"),
        ),
        (
            &["oneloop", "--auth", "sesame:"],
            Some("u:p"),
            Err("--auth: the password is missing"),
        ),
        (&["oneloop", "--auth", "sesame:\n"], None, Err("control")),
        (
            &["oneloop"],
            Some(""),
            Err("ONELOOP_AUTH in the environment: give USER:PASS"),
        ),
        (
            &["oneloop", "--auth-file", "/none/sesame"],
            Some("u:p"),
            Err("--auth-file \"/none/sesame\""),
        ),
    ] {
        let cli = Cli::try_parse_from(args).expect("valid");
        let cli = cli.with_auth_of(value.map(OsStr::new));
        match (cli.map(|cli| cli.config(false, None, None)), expected) {
            (Ok(config), Ok(expected)) => {
                assert_eq!(config.auth, expected);
                assert!(!format!("{config:?}").contains("a:b:c"));
            }
            (Err(error), Err(word)) => {
                assert!(error.contains(word), "{args:?}: {error}");
                assert!(
                    !error.contains("sesame") || error.contains("/none"),
                    "{error}"
                );
            }
            (outcome, expected) => panic!("{args:?}: {outcome:?} but {expected:?}"),
        }
    }
    let shown = Cli::try_parse_from(["oneloop", "--auth", "u:sesame"]);
    assert!(!format!("{shown:?}").contains("sesame"));
    let both = ["oneloop", "--auth", "u:sesame", "--auth-file", "a"];
    let error = Cli::try_parse_from(both)
        .expect_err("one of both")
        .to_string();
    assert!(!error.contains("sesame"), "{error}");
}

#[test]
fn a_field_that_only_the_server_knows_is_refused_with_the_reason() {
    for text in [
        "X:",
        "Cache-Control: no-store",
        "!Cache-Control",
        "Set-Cookie: a=1; b",
    ] {
        assert!(field_change(text).is_ok(), "{text}");
    }
    for (text, word) in [
        ("X", "'!Name'"),
        ("", "'!Name'"),
        (": a", "name"),
        ("!", "name"),
        ("X : a", "name"),
        ("!X: a", "name"),
        ("X: a\r\nY: b", "end of a line"),
        ("X: a\0", "control"),
        ("content-length: 1", "frames"),
        ("!Transfer-Encoding", "frames"),
        ("Connection: close", "frames"),
        ("Date: now", "time"),
        ("!ETag", "tag"),
        ("Last-Modified: now", "date"),
        ("Content-Encoding: gzip", "coding"),
        ("Content-Range: bytes 0-1/2", "range"),
        ("Accept-Ranges: none", "range"),
        ("!vary", "depend"),
        ("strict-transport-security: max-age=1", "without TLS"),
    ] {
        let error = field_change(text).expect_err(text);
        assert!(error.contains(word), "{text}: {error}");
    }
}

#[test]
fn a_host_that_is_allowed_is_a_name() {
    for name in [
        "app.test",
        "App_1.test.",
        ".example.org",
        "localhost",
        "xn--bcher-kva.example",
        "*",
        "192.168.1.1",
        "[::1]",
        "::1",
    ] {
        assert_eq!(host_name(name), Ok(name.into()));
    }
    for (text, word) in [
        ("http://app.test", "scheme"),
        ("app.test/", "path"),
        ("app.test:8080", "port"),
        ("127.0.0.1:8080", "port"),
        ("[::1]:80", "port"),
        (".0.0.1.1", "needs no dot"),
        ("[127.0.0.1]", "not a host name"),
        ("*.example.org", "dot in front"),
        ("b\u{fc}cher.example", "ASCII"),
        ("", "not a host name"),
        (".", "not a host name"),
        ("..test", "not a host name"),
        ("a..test", "not a host name"),
        ("a,b", "not a host name"),
        ("a b", "not a host name"),
        ("a*", "not a host name"),
        ("u@app.test", "not a host name"),
        (&"a.".repeat(128), "not a host name"),
    ] {
        let error = host_name(text).expect_err(text);
        assert!(error.contains(word), "{text}: {error}");
    }
}

#[test]
fn an_origin_that_is_allowed_is_one_that_browsers_send() {
    for text in [
        "*",
        "null",
        "file://",
        "http://localhost:5173",
        "https://[::1]:8",
        "vscode-webview://0a1b",
        "capacitor://localhost",
        "app://.",
    ] {
        assert_eq!(origin(text), Ok(text.into()));
    }
    for (text, word) in [
        ("app.test", "scheme"),
        ("localhost:5173", "scheme"),
        ("NULL", "scheme"),
        ("", "scheme"),
        ("http://app.test/", "path"),
        ("file:///", "path"),
        ("http://app.test?q", "path"),
        ("http://", "missing"),
        ("http://u@app.test", "user"),
        ("http://*.app.test", "alone"),
        ("a_b://x", "schemes"),
        ("://x", "schemes"),
        ("http://b\u{fc}cher.example", "ASCII"),
        ("http://a,http", "repeat"),
        ("http://a http", "repeat"),
    ] {
        let error = origin(text).expect_err(text);
        assert!(error.contains(word), "{text}: {error}");
    }
}
