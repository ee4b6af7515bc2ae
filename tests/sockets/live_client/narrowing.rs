//! Only the pages that a change concerns react to it.

use serde_json::json;

use super::Live;

#[test]
fn only_the_pages_that_a_change_concerns_react() {
    Live::try_all(&[
        a_page_reacts_to_its_own_files_alone,
        a_storm_of_changes_is_one_reload,
        a_frame_follows_its_own_files,
    ]);
}

fn a_page_reacts_to_its_own_files_alone(live: &Live) {
    live.put("used.js", "");
    live.put("worker.js", "");
    live.put_page("x.html", "", "<script src=used.js></script>");
    live.put_page("y.html", "", "");
    live.open("/x.html");
    live.value("fetch('/data.json?day=1')");
    live.value("performance.clearResourceTimings()");
    live.change(&["/y.html", "/other.css"], &["/y.html"]);
    live.change(&["/used.js.map"], &["/x.html"]);
    live.settle();
    live.assert_stayed();
    // By itself, by what led to it, and because nobody knows what led to it.
    let changes = [
        json!([{ "url": "/x.html", "from": [] }]),
        json!([{ "url": "/used.js", "from": ["/y.html"] }]),
        json!([{ "url": "/more.js", "from": ["/used.js"] }]),
        json!([{ "url": "/new.css", "from": ["/x.html"] }]),
        json!([{ "url": "/more.js", "any": true }]),
        json!([{ "url": "/other.css", "from": ["/y.html"] }, { "url": "/used.js", "from": [] }]),
    ];
    for change in changes {
        live.publish_changes(change);
        live.await_reload();
        live.await_report();
        live.mark();
    }
    live.value("fetch('/data.json?day=1').then((r) => r.text()).then(() => history.pushState(0, 0, '/app/route'))");
    live.change(&["/data.json"], &["/y.html"]);
    live.until("!self.stayed");
    live.open("/x.html");
    live.value("history.pushState(0, 0, '/y.html')");
    live.change(&["/y.html"], &[]);
    live.await_reload();
}

fn a_storm_of_changes_is_one_reload(live: &Live) {
    live.put("used.js", "");
    live.put_page("x.html", "", "<script src=used.js></script>");
    live.open("/x.html");
    live.forget();
    for _ in 0..20 {
        live.change(&["/used.js", "/x.html"], &["/x.html"]);
    }
    live.publish(json!({ "generation": 21, "reload": true }));
    live.await_reload();
    live.await_report();
    live.settle();
    // The document was asked for once: nothing was loaded and thrown away.
    let mut hellos = 0;
    while let Ok(heard) = live.heard.try_recv() {
        hellos += u32::from(matches!(heard, super::Heard::Message(m) if m["hello"].is_object()));
    }
    assert_eq!(hellos, 0);
}

fn a_frame_follows_its_own_files(live: &Live) {
    live.put("both.js", "");
    live.put_page(
        "top.html",
        "<link rel=stylesheet href=top.css>",
        "<script src=both.js></script><iframe src=in.html></iframe>",
    );
    live.put("top.css", "");
    live.put("in.css", "");
    live.put_page(
        "in.html",
        "<link rel=stylesheet href=in.css>",
        "<script src=both.js></script>",
    );
    live.open("/top.html");
    let mark = "self.stayed = frames[0].stayed = true";
    let is_ready =
        "document.readyState == 'complete' && frames[0]?.document.readyState == 'complete'";
    live.until(is_ready);
    live.value(mark);
    // The style of the frame alone, then the document of the frame.
    live.put("in.css", "body { color: rgb(7, 0, 0) }");
    live.change(&["/in.css"], &["/in.html"]);
    live.until("frames[0].getComputedStyle(frames[0].document.body).color == 'rgb(7, 0, 0)'");
    assert_eq!(live.value("self.stayed && frames[0].stayed"), json!(true));
    live.change(&["/in.html"], &[]);
    live.until(&format!("!frames[0].stayed && {is_ready}"));
    live.assert_stayed();
    live.value(mark);
    // Both: the page around the frame loads the frame, once.
    live.change(&["/both.js"], &["/in.html", "/top.html"]);
    live.until(&format!("!self.stayed && {is_ready}"));
    live.value(mark);
    live.settle();
    assert_eq!(live.value("self.stayed && frames[0].stayed"), json!(true));
    assert_eq!(live.part().open.len(), 2);
    // The badge is the page's, and not the frame's.
    live.publish(json!({ "waiting": true }));
    live.await_badge("waiting for the build");
    live.until("!frames[0].document.querySelector('html > div')");
}
