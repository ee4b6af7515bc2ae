//! The connection to the server, which ends and comes back without a reload of the page.

use serde_json::json;

use super::{BADGE, Heard, Live, SCRIPT};

#[test]
fn the_connection_comes_back_without_a_reload() {
    Live::try_all(&[
        a_page_that_comes_back_says_what_it_knows,
        a_badge_tells_that_the_server_is_gone,
        a_connection_that_is_silent_is_made_anew,
        a_hidden_page_waits_until_it_is_shown,
        a_page_in_the_cache_of_the_browser_has_no_connection,
    ]);
}

#[test]
fn the_connection_survives_caches_policies_and_workers() {
    Live::try_all(&[
        a_policy_in_the_page_does_not_end_live_reload,
        a_service_worker_is_named_and_can_be_removed,
        a_page_that_is_rendered_in_advance_connects_when_it_is_opened,
        a_document_without_an_origin_does_not_connect,
    ]);
}

fn a_page_that_comes_back_says_what_it_knows(live: &Live) {
    live.put("app.css", "");
    live.put_page(
        "x.html",
        "<link rel=stylesheet href=app.css>",
        "<script>history.replaceState(0, 0, '/other')</script>",
    );
    live.chromium.open(&live.url("/x.html?q"));
    let hello = live.hello();
    let age = &hello["age"];
    assert!(age.is_number(), "{age}");
    assert_eq!(
        hello,
        json!({ "page": "/x.html", "age": age, "instance": null, "generation": null, "used": null })
    );
    while live.await_report() != ["/x.html", SCRIPT, "/app.css"] {}
    live.mark();
    // The element of the script is gone, and nothing else is in the page.
    assert_eq!(
        live.value("document.head.firstChild.localName"),
        json!("meta")
    );
    live.cut();
    let tokens = json!({ "/x.html": "0 /x.html", "/app.css": "0 /app.css", SCRIPT: "0 /_oneloop/live-1a2b3c.js" });
    let hello = live.hello();
    assert_eq!(
        (&hello["instance"], &hello["generation"], &hello["used"]),
        (&json!("first"), &json!(0), &tokens)
    );
    live.await_report();
    live.settle();
    live.assert_stayed();
    // What changed while the page was away.
    live.put("app.css", "body { color: rgb(7, 0, 0) }");
    live.part().extra =
        json!({ "generation": 4, "changes": [{ "url": "/app.css", "from": ["/x.html"] }] });
    live.cut();
    live.until("document.body && getComputedStyle(document.body).color == 'rgb(7, 0, 0)'");
    live.assert_stayed();
    live.await_report();
    // Another run of the server, which does not know the page.
    live.part().extra = json!({ "instance": "second", "generation": 1, "reload": true });
    live.cut();
    live.await_reload();
}

fn a_badge_tells_that_the_server_is_gone(live: &Live) {
    live.put_page(
        "x.html",
        "<style>div { display: none } button { color: red; background: red }</style>",
        "",
    );
    live.open("/x.html");
    live.part().is_gone = true;
    live.cut();
    live.await_badge("server gone, since \\d\\d:\\d\\d");
    // The page cannot reach what is in the badge.
    assert_eq!(
        live.value("document.querySelector('html > div').shadowRoot"),
        json!(null)
    );
    for scheme in [
        crate::chromium::Scheme::Light,
        crate::chromium::Scheme::Dark,
    ] {
        live.chromium.show(390, scheme);
        let place = format!(
            "(({{ left, right, top, bottom }}) => left >= 0 && right <= 390 && top > 600 && bottom <= 800)
            ({BADGE}.getBoundingClientRect())"
        );
        live.until(&place);
        let is_readable = format!(
            "(() => {{ const light = (name) => getComputedStyle({BADGE})[name].match(/[0-9.]+/g).slice(0, 3)
                .reduce((a, b) => a + +b / 3, 0);
            return Math.abs(light('color') - light('backgroundColor')) > 180 }})()"
        );
        assert_eq!(live.value(&is_readable), json!(true), "{scheme:?}");
    }
    live.part().is_gone = false;
    live.await_badge("");
    live.assert_stayed();
    // After `document.open`, which removes listeners too.
    live.value("document.open(), document.write('<p>other'), document.close()");
    live.publish(json!({ "waiting": true }));
    live.await_badge("waiting for the build");
    live.publish(json!({ "beat": 1 }));
    live.value("document.open(), document.write('<p>another'), document.close()");
    live.publish(json!({ "beat": 1 }));
    live.await_badge("waiting for the build");
    live.forget();
    live.value("dispatchEvent(new Event('pagehide'))");
    live.await_end();
    live.value("dispatchEvent(new Event('pageshow'))");
    live.hello();
    live.publish(json!({ "waiting": false }));
    live.await_badge("");
    live.assert_stayed();
}

fn a_connection_that_is_silent_is_made_anew(live: &Live) {
    live.put_page("x.html", "", "");
    // Long times pass when the test says so, and with them the clock.
    live.chromium.prepare(
        "{
            const later = self.setTimeout, now = Date.now, waiting = [];
            let passed = 0;
            self.setTimeout = (f, ms, ...rest) =>
                ms > 40000 ? waiting.push([passed + ms, f]) : later(f, ms, ...rest);
            Date.now = () => now() + passed;
            self.pass = (ms) => {
                passed += ms;
                for (const [at, f] of waiting) if (at <= passed) f();
            };
        }",
    );
    live.open("/x.html");
    live.value("pass(44000)");
    live.publish(json!({ "beat": 1 }));
    live.publish(json!({ "waiting": true }));
    live.await_badge("waiting for the build");
    live.value("pass(44000)");
    assert_eq!(live.part().open.len(), 1);
    live.forget();
    live.value("pass(1100)");
    live.await_other_connection();
    live.await_report();
    live.settle();
    live.assert_stayed();
    // After sleep, the timers are late, and events come first.
    live.value("pass = (() => { const passed = Date.now() + 50000; Date.now = () => passed })()");
    live.value("dispatchEvent(new Event('online'))");
    live.await_other_connection();
    // Events alone change nothing.
    live.value("dispatchEvent(new Event('online')), dispatchEvent(new Event('focus'))");
    live.settle();
    assert_eq!(live.part().open.len(), 1);
    assert!(
        !std::iter::from_fn(|| live.heard.try_recv().ok()).any(|heard| matches!(heard, Heard::End))
    );
}

fn a_hidden_page_waits_until_it_is_shown(live: &Live) {
    live.put("app.css", "");
    live.put_page("x.html", "<link rel=stylesheet href=app.css>", "");
    live.open("/x.html");
    live.chromium.cover();
    live.put("app.css", "body { color: rgb(7, 0, 0) }");
    live.change(&["/app.css"], &["/x.html"]);
    live.settle();
    assert_eq!(
        live.value("document.querySelector('link[rel=stylesheet]').href.includes('_live')"),
        json!(false)
    );
    live.chromium.uncover();
    live.until("document.body && getComputedStyle(document.body).color == 'rgb(7, 0, 0)'");
    live.assert_stayed();
    live.chromium.cover();
    live.change(&["/x.html"], &[]);
    live.change(&["/x.html"], &[]);
    live.settle();
    live.assert_stayed();
    live.forget();
    live.chromium.uncover();
    live.await_reload();
    live.hello();
    live.await_report();
    live.mark();
    // A hidden page does not try to connect either: it is shown first.
    live.chromium.cover();
    live.part().is_gone = true;
    live.cut();
    live.await_end();
    live.value("new Promise((done) => { const made = new WebSocket('/_oneloop/live'); made.onclose = done })");
    live.part().is_gone = false;
    live.forget();
    live.chromium.uncover();
    live.hello();
    live.assert_stayed();
}

fn a_page_in_the_cache_of_the_browser_has_no_connection(live: &Live) {
    live.put_page("x.html", "", "");
    live.put_page("y.html", "", "");
    live.chromium
        .prepare("addEventListener('pageshow', (e) => (self.isBack = e.persisted))");
    live.open("/x.html");
    live.open("/y.html");
    assert_eq!(live.part().open.len(), 1);
    live.value("history.back()");
    let hello = live.hello();
    assert_eq!(
        (&hello["page"], &hello["instance"]),
        (&json!("/x.html"), &json!("first"))
    );
    live.until("self.isBack");
    live.assert_stayed();
    // The page may have grown old there.
    live.part().extra = json!({ "reload": true });
    live.value("history.forward()");
    live.until(
        "location.pathname == '/y.html' && !self.stayed && document.readyState == 'complete'",
    );
}

fn a_policy_in_the_page_does_not_end_live_reload(live: &Live) {
    let policy = |rest: &str| {
        format!(
            "<meta http-equiv=Content-Security-Policy content=\"default-src 'self'; connect-src 'none'{rest}\">"
        )
    };
    live.put("app.css", "");
    let link = "<link rel=stylesheet href=app.css>";
    live.put_page(
        "x.html",
        &(policy("; require-trusted-types-for 'script'") + link),
        "",
    );
    live.put_page("y.html", &policy("; frame-src 'none'"), "");
    live.open("/x.html");
    live.cut();
    let hello = live.hello();
    assert_eq!(
        (&hello["page"], &hello["instance"]),
        (&json!("/x.html"), &json!("first"))
    );
    live.put("app.css", "body { color: rgb(7, 0, 0) }");
    live.change(&["/app.css"], &["/x.html"]);
    // The policy forbids to fetch, so the cache cannot be renewed: the page is loaded again.
    live.until("document.body && getComputedStyle(document.body).color == 'rgb(7, 0, 0)'");
    live.open("/x.html");
    live.cut();
    live.hello();
    live.cut();
    live.hello();
    live.publish(json!({ "waiting": true }));
    live.await_badge("waiting for the build");
    live.assert_stayed();
    live.open("/y.html");
    live.value(
        "addEventListener('securitypolicyviolation', (e) => (self.last = e.effectiveDirective))",
    );
    live.cut();
    live.until("self.last == 'frame-src'");
    live.assert_stayed();
}

fn a_service_worker_is_named_and_can_be_removed(live: &Live) {
    live.put_page("x.html", "", "");
    live.put(
        "worker.js",
        "onfetch = (e) => e.respondWith(fetch(e.request))",
    );
    live.open("/x.html");
    live.value(
        "navigator.serviceWorker.register('worker.js').then(() => navigator.serviceWorker.ready)",
    );
    live.chromium.complaints();
    live.open("/x.html");
    let advice = "a service worker answers: unregister";
    live.await_badge(advice);
    let complaints = live.chromium.complaints();
    assert!(
        complaints.len() == 1 && complaints[0].contains(advice),
        "{complaints:?}"
    );
    live.value(&format!("{BADGE}.click()"));
    live.await_reload();
    live.await_badge("");
    assert_eq!(
        live.value("navigator.serviceWorker.controller"),
        json!(null)
    );
}

fn a_page_that_is_rendered_in_advance_connects_when_it_is_opened(live: &Live) {
    // Headless, the browser renders no page in advance.
    live.chromium.prepare(
        "for (const name of ['prerendering', 'hidden'])
            Object.defineProperty(document, name, { get: () => !self.isOpened });",
    );
    live.put_page("x.html", "", "");
    live.chromium.open(&live.url("/x.html"));
    live.value("fetch('/x.html').then((answer) => answer.text())");
    assert_eq!(live.part().open.len(), 0);
    live.value(
        "isOpened = true, document.dispatchEvent(new Event('visibilitychange', { bubbles: true }))",
    );
    assert_eq!(live.hello()["page"], json!("/x.html"));
    live.value("isOpened = false");
}

fn a_document_without_an_origin_does_not_connect(live: &Live) {
    live.put_page(
        "in.html",
        "",
        "<script>parent.postMessage('', '*')</script>",
    );
    let body = "<script>onmessage = () => (self.isThere = true)</script>\
        <iframe sandbox='allow-scripts' src=in.html></iframe>";
    live.put_page("x.html", "", body);
    let refused = live.refused();
    live.open("/x.html");
    live.until("self.isThere");
    live.settle();
    // The script itself is refused, as to the page of a stranger. There is no connection to refuse.
    assert_eq!((live.part().open.len(), live.refused()), (1, refused + 1));
}
