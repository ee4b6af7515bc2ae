//! Floor 2, site: the routes of the reverse proxy, tried.

use super::*;

fn routes(texts: &[&str]) -> Routes {
    let parsed: Vec<_> = texts
        .iter()
        .map(|text| ProxyRoute::parse(text).expect("a route"))
        .collect();
    Routes::new(&parsed, true).expect("routes that fit together")
}

/// The table in the docs of `config/proxy.rs`, read from there.
#[test]
fn the_table_of_paths_is_true() {
    let docs = include_str!("../../config/proxy.rs");
    let rows = docs.lines().filter_map(|line| line.strip_prefix("//! | `"));
    let mut number = 0;
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(|c| c.trim_matches([' ', '`'])).collect();
        let [prefix, target, request, expected, _] = cells[..] else {
            panic!("{row}");
        };
        let routes = routes(&[&format!("{prefix}={target}")]);
        let (path, query) = match request.split_once('?') {
            Some((path, query)) => (path, Some(query.as_bytes())),
            None => (request, None),
        };
        let route = routes.for_path(path.as_bytes()).or(routes.for_absent());
        let route = route.expect("a route for the path");
        let mut out = Vec::new();
        push_target(&mut out, route, path.as_bytes(), query);
        assert_eq!(String::from_utf8_lossy(&out), expected, "{row}");
        number += 1;
    }
    assert!(number >= 12, "{number}");
}

#[test]
fn a_prefix_ends_at_a_segment_and_the_longest_wins() {
    let routes = routes(&[
        "/=http://r",
        "/api=http://a",
        "/api/v2=http://b",
        "/b=http://c",
    ]);
    for (path, host) in [
        ("/api", Some("a")),
        ("/api/", Some("a")),
        ("/api/x", Some("a")),
        ("/api/v2", Some("b")),
        ("/api/v2/x", Some("b")),
        ("/api/v20", Some("a")),
        ("/b/", Some("c")),
        ("/apis", None),
        ("/api.ts", None),
        ("/api-docs", None),
        ("/%61pi", None),
        ("/API", None),
        ("/x/api", None),
        ("/api/..", None),
        ("/api/../x", None),
        ("/api/%2E./x", None),
        ("/api/x/%2e", None),
        ("/api/..%2fadmin", None),
        ("/api/..%5Cadmin", None),
        ("/api/x%2F..", None),
        ("/api/..\\admin", None),
        ("/api/..;/admin", None),
        ("/api/%2e%2e;x/admin", None),
        ("/api/a%2fb;c=..d", Some("a")),
        ("/api/...", Some("a")),
        ("/api/.x/..y/%2e%2e%2e", Some("a")),
        ("/", None),
    ] {
        let found = routes.for_path(path.as_bytes());
        let found = found.map(|route| route.target().authority());
        assert_eq!(found.as_deref(), host, "{path}");
    }
    assert_eq!(routes.for_absent().expect("/").target().authority(), "r");
    let prefixes: Vec<_> = routes.iter().map(ProxyRoute::prefix).collect();
    assert_eq!(prefixes, ["/api/v2", "/api", "/b", ""]);
    assert!(Routes::default().is_empty() && !routes.is_empty());
}

#[test]
fn routes_that_do_not_fit_are_told() {
    let new = |texts: &[&str], has_tls| {
        let parsed = texts.iter().map(|text| ProxyRoute::parse(text).unwrap());
        Routes::new(&parsed.collect::<Vec<_>>(), has_tls).map(drop)
    };
    assert_eq!(
        new(&["/a=http://h", "/b=http://h", "/a/=http://i"], true).unwrap_err(),
        "--proxy /a=http://h and --proxy /a=http://i have the same prefix; leave one of them out"
    );
    assert!(new(&["/=http://h", "/=http://i"], true).is_err());
    assert!(new(&["/a=https://h"], true).is_ok());
    assert_eq!(
        new(&["/a=https://h"], false).unwrap_err(),
        "--proxy /a=https://h: this program was built without TLS; \
         build it with the feature tls, or name a target with http://"
    );
    let routes = routes(&["/a=http://h", "/=http://127.0.0.1:80"]);
    let own = |place: &ProxyPlace| *place == ProxyPlace::Host("127.0.0.1".into(), 80);
    assert_eq!(routes.to_itself(own).expect("own").prefix(), "");
    assert!(routes.to_itself(|_| false).is_none());
}

#[test]
fn a_path_finds_its_way_back() {
    for (route, path, expected) in [
        ("/api=http://h", "/api/users", "/api/users"),
        ("/api=http://h", "/login", "/login"),
        ("/api=http://h/", "/users", "/api/users"),
        ("/api=http://h/", "/", "/api/"),
        ("/api=http://h/v1", "/v1/users", "/api/users"),
        ("/api=http://h/v1", "/v1", "/api"),
        ("/api=http://h/v1", "/v10", "/v10"),
        ("/api=http://h/v1/", "/v1/users", "/api/users"),
        ("/=http://h/v1", "/v1", "/"),
        ("/=http://h/v1", "/v1/users", "/users"),
        ("/=http://h", "/users", "/users"),
    ] {
        let route = ProxyRoute::parse(route).unwrap();
        let mut out = Vec::new();
        push_path_back(&mut out, &route, path.as_bytes());
        assert_eq!(String::from_utf8_lossy(&out), expected, "{route} {path}");
    }
}

#[test]
fn a_target_on_this_machine_has_several_names() {
    for (target, authority, expected) in [
        ("http://127.0.0.1:3000", "localhost:3000", true),
        ("http://localhost:3000", "[::1]:3000", true),
        ("http://localhost:3000", "LOCALHOST:3000", true),
        ("http://localhost:3000", "localhost:3001", false),
        ("http://localhost:3000", "localhost", false),
        ("http://localhost", "localhost", true),
        ("http://example.org:3000", "Example.org:3000", true),
        ("http://example.org:3000", "localhost:3000", false),
        ("https://example.org", "example.org", true),
        ("https://example.org", "example.org:443", true),
        ("http://[2001:db8::1]", "[2001:DB8::1]", true),
        ("unix:/a", "localhost", true),
        ("unix:/a", "localhost:80", false),
    ] {
        let route = ProxyRoute::parse(&format!("/={target}")).unwrap();
        let parsed = crate::http::Authority::parse(authority.as_bytes()).unwrap();
        let got = is_authority_of(route.target(), parsed.host, parsed.port);
        assert_eq!(got, expected, "{target} {authority}");
    }
}
