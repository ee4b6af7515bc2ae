//! The tests of the variables in the environment: each flag has one, and the command line is stronger.

use super::*;

#[test]
fn the_environment_names_a_port_if_no_flag_does() {
    for (args, value, expected) in [
        (&["oneloop"][..], None, Ok(None)),
        (&["oneloop"], Some(""), Ok(None)),
        (&["oneloop"], Some("81"), Ok(Some(81))),
        (&["oneloop", "-p82"], Some("81"), Ok(Some(82))),
        (&["oneloop", "-p82"], Some("abc"), Ok(Some(82))),
        (&["oneloop"], Some("abc"), Err(())),
        (&["oneloop"], Some("70000"), Err(())),
    ] {
        let cli = Cli::try_parse_from(args).expect("valid");
        let cli = cli.with_port_of(value.map(OsStr::new));
        assert_eq!(cli.map(|c| c.port).map_err(drop), expected, "{value:?}");
    }
}

#[test]
fn each_flag_has_a_variable() {
    let flags = Cli::command();
    let flags = flags
        .get_arguments()
        .filter(|flag| flag.get_long().is_some());
    for flag in flags.filter(|flag| flag.get_long() != Some("auth")) {
        let name = environment::variable(flag).expect("a name");
        // Each variable is read: this value makes sense to no flag but those for a path or a text.
        let outcome = read(&[], &[(&name, "\u{1}")]);
        let takes_all = ["WATCH", "TRACE", "IGNORE", "LOG_FILE", "OPEN", "TLS_CERT"];
        let takes_all = takes_all.iter().any(|end| name.ends_with(end));
        match outcome {
            Ok(_) => assert!(takes_all, "{name}"),
            Err(error) => assert!(error.contains(&name) && !takes_all, "{name}: {error}"),
        }
    }
}

#[test]
fn a_variable_counts_where_the_command_line_says_nothing_else() {
    let config = |args: &[&str], variables: &[(&str, &str)]| {
        let cli = read(args, variables).expect("valid");
        cli.config(false, None, None)
    };
    let log = |args: &[&str], value| config(args, &[("ONELOOP_LOG", value)]).log;
    assert_eq!(log(&[], "json"), LogFormat::Json);
    assert_eq!(log(&[], ""), LogFormat::Combined);
    assert_eq!(log(&["-l", "off"], "json"), LogFormat::Off);
    assert_eq!(log(&["--log=off"], "loud"), LogFormat::Off);
    for (value, spa) in [
        ("1", true),
        ("Yes", true),
        ("true", true),
        ("0", false),
        ("no", false),
    ] {
        assert_eq!(config(&[], &[("ONELOOP_SPA", value)]).single_page, spa);
    }
    for (value, cors) in [
        ("1", Cors::Any),
        ("any", Cors::Any),
        ("credentials", Cors::Credentials),
        ("0", Cors::Off),
    ] {
        assert_eq!(config(&[], &[("ONELOOP_CORS", value)]).cors, cors);
    }
    assert_eq!(
        config(&[], &[("ONELOOP_INSPECT", "off")]).inspect,
        Inspect::Off
    );
    let hosts = config(&[], &[("ONELOOP_ALLOW_HOST", "a.test\n b.test\n\n")]).allow_hosts;
    assert_eq!(hosts, ["a.test", "b.test"]);
    let hosts = config(
        &["--allow-host=c.test"],
        &[("ONELOOP_ALLOW_HOST", "a.test")],
    )
    .allow_hosts;
    assert_eq!(hosts, ["c.test"]);
    let routes = [
        ("ONELOOP_PROXY", "/a=http://h\n/b=http://i\n"),
        ("ONELOOP_PROXY_WAIT", "3"),
    ];
    let proxied = config(&[], &routes);
    assert_eq!(proxied.proxies.len(), 2);
    assert_eq!(proxied.limits.proxy_wait, Duration::from_secs(3));
    let fields = config(&[], &[("ONELOOP_HEADER", "A: b, c")]).fields;
    assert_eq!(fields, [FieldChange::Set("A".into(), "b, c".into())]);
    let ports = [("PORT", "1"), ("ONELOOP_PORT", "2")];
    assert_eq!(config(&[], &ports).port, Port::Exactly(2));
    assert_eq!(config(&["-p3"], &ports).port, Port::Exactly(3));
    assert_eq!(config(&[], &[("ONELOOP_ROOT", "a")]).root, Path::new("a"));
    assert_eq!(
        config(&["b"], &[("ONELOOP_ROOT", "a")]).root,
        Path::new("b")
    );
    // A flag of the command line excludes a variable, whichever of the two has the rule.
    assert_eq!(
        config(&["--no-live"], &[("ONELOOP_LIVE", "all")]).live,
        Live::Off
    );
    assert_eq!(
        config(&["--live=all"], &[("ONELOOP_NO_LIVE", "1")]).live,
        Live::All
    );
    // The flag that another flag needs may be in a variable.
    let traced = config(&["--trace-clock"], &[("ONELOOP_TRACE", "a")]);
    assert_eq!(
        (traced.trace, traced.trace_clock),
        (TraceTo::File("a".into()), true)
    );
}

#[test]
fn a_wrong_variable_is_named() {
    for (args, variables, said) in [
        (
            &[][..],
            &[("ONELOOP_LOG", "lou\nd")][..],
            r#"ONELOOP_LOG "lou\nd": give one of pretty, combined, json, off"#,
        ),
        (
            &["-s"],
            &[("ONELOOP_PORT", "abc")],
            r#"ONELOOP_PORT "abc": not a port; a port is a number from 0 to 65535"#,
        ),
        (
            &[],
            &[("ONELOOP_SPA", "maybe")],
            r#"ONELOOP_SPA "maybe": give 1, true or yes to set it, and 0, false or no if not"#,
        ),
        (
            &[],
            &[("ONELOOP_ALLOW_HOST", "a.test\nb c")],
            r#"ONELOOP_ALLOW_HOST "b c": not a host name"#,
        ),
        (
            &[],
            &[("ONELOOP_NO_LIVE", "1"), ("ONELOOP_POLL", "1")],
            "ONELOOP_NO_LIVE cannot be used with ONELOOP_POLL; give one of them",
        ),
        (
            &[],
            &[("ONELOOP_TRACE_CLOCK", "1")],
            "ONELOOP_TRACE_CLOCK needs --trace; add --trace FILE, or leave ONELOOP_TRACE_CLOCK out",
        ),
        (
            &["--proxy-wait=1"],
            &[("ONELOOP_SPA", "1")],
            "--proxy-wait needs --proxy; add --proxy PATH=URL, or leave --proxy-wait out",
        ),
        (
            &["-bunix:/a"],
            &[("ONELOOP_TLS", "1")],
            "ONELOOP_TLS needs a TCP address, and --bind names only Unix sockets; add localhost to \
             --bind, or leave ONELOOP_TLS out",
        ),
        // The command line is looked at first.
        (
            &["--log=x"],
            &[("ONELOOP_PORT", "abc")],
            r#"--log "x": give one of pretty, combined, json, off"#,
        ),
        (
            &[],
            &[("ONELOOP_AUTH", "")],
            "ONELOOP_AUTH in the environment: give USER:PASS: a user name, a colon and a password",
        ),
    ] {
        assert_eq!(read(args, variables).map(drop), Err(said.into()));
    }
}

#[test]
fn a_variable_without_a_meaning_is_named_with_the_one_that_was_meant() {
    let said = |name: &str| environment::unknown([OsString::from(name)].into_iter());
    for known in [
        "ONELOOP_MAX_AGE",
        "ONELOOP_AUTH",
        "ONELOOP_ROOT",
        "PORT",
        "LANG",
        "ONELOOPS",
    ] {
        assert_eq!(said(known), [""; 0], "{known}");
    }
    for (name, similar) in [
        ("ONELOOP_MAXAGE", "ONELOOP_MAX_AGE"),
        ("ONELOOP_ALLOW_HOSTS", "ONELOOP_ALLOW_HOST"),
        ("ONELOOP_no_live", "ONELOOP_NO_LIVE"),
        ("ONELOOP_AUT", "ONELOOP_AUTH"),
    ] {
        let expected =
            format!("{name:?} in the environment means nothing; did you mean {similar}?");
        assert_eq!(said(name), [expected]);
    }
    for strange in ["ONELOOP_", "ONELOOP_XYZZY", "ONELOOP_HELP", "ONELOOP_A\n=B"] {
        let said = said(strange);
        assert!(
            said[0].ends_with("each of which has a variable"),
            "{said:?}"
        );
        assert_eq!((said.len(), said[0].lines().count()), (1, 1));
    }
}
