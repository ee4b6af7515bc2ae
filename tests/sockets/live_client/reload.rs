//! A full reload keeps what the user has done.

use serde_json::json;

use super::Live;

#[test]
fn a_full_reload_keeps_what_the_user_has_done() {
    Live::try_all(&[
        a_reload_keeps_the_state_of_the_page,
        a_page_that_is_being_left_is_not_reloaded,
    ]);
}

fn a_reload_keeps_the_state_of_the_page(live: &Live) {
    let body = |edit: &str| {
        format!(
        "<style>html {{ scroll-behavior: smooth }}</style>
        <form name=form><input name=name><input name=id value=7>
        <input name=text value=one><input name=text value=one><input id=changed name=changed value=old{edit}>
        <input name=secret type=password><input name=token type=hidden value=a><input name=file type=file>
        <input name=on type=checkbox checked><input name=pick type=radio value=a><input name=pick type=radio value=b>
        <textarea name=area>text</textarea><input type=number name=number><input type=submit name=go>
        <select name=choice><option>a<option>b</select><select name=other><option>a<option>b{edit}</select></form>
        <details><summary>first{edit}</summary></details><details open></details>
        <dialog id=modal><button id=ok>ok</button></dialog><dialog id=plain></dialog>
        <div id=pane style='height: 50px; overflow: auto'><p style='height: 900px'></div>
        <div style='height: 3000px'></div><script>
        self.events = [];
        for (const name of ['input', 'change', 'submit']) addEventListener(name, () => events.push(name), true);
        </script>"
    )
    };
    live.put_page("x.html", "", &body(""));
    live.open("/x.html");
    let query = "self.q = (name, n = 0) => document.querySelectorAll(`[name=${name}]`)[n]";
    live.value(&format!("{query}, 0"));
    live.value(
        "q('text').value = 'two', q('text', 1).value = 'three', q('changed').value = 'mine',
        q('secret').value = 'word', q('token').value = 'b', q('on').checked = false, q('pick', 1).checked = true,
        q('area').value = 'typed text', q('number').value = 5, q('choice').value = q('other').value = 'b',
        [...document.querySelectorAll('details')].forEach((e) => (e.open = !e.open)),
        plain.show(), pane.scrollTop = 333, q('area').focus(), q('area').setSelectionRange(2, 4),
        scrollTo({ top: 1234, behavior: 'instant' })",
    );
    live.put_page("x.html", "", &body("!"));
    live.change(&["/x.html"], &[]);
    live.await_reload();
    live.until("scrollY == 1234 && history.scrollRestoration == 'auto'");
    live.value(&format!("{query}, 0"));
    let state = "[q('text').value, q('text', 1).value, q('changed').value, q('secret').value, q('token').value,
        q('on').checked, q('pick').checked, q('pick', 1).checked, q('area').value, q('number').value,
        q('choice').value, q('other').value, ...[...document.querySelectorAll('details')].map((e) => e.open),
        plain.open, modal.open, pane.scrollTop]";
    assert_eq!(
        live.value(state),
        json!([
            "two",
            "three",
            "old!",
            "",
            "a",
            false,
            false,
            true,
            "typed text",
            "5",
            "b",
            "a",
            true,
            false,
            true,
            false,
            333
        ])
    );
    let focus = "[document.activeElement.name, q('area').selectionStart, q('area').selectionEnd, q('go').hasAttribute('value')]";
    assert_eq!(live.value(focus), json!(["area", 2, 4, false]));
    assert_eq!(live.value("events"), json!([]));
    // What stays is when the page was asked for.
    assert_eq!(live.value("sessionStorage.length"), json!(1));
    assert_eq!(
        live.value("+sessionStorage['oneloop@' + location]"),
        live.value("performance.timeOrigin")
    );
    // A modal dialog is modal again, and another reload takes nothing from the last one.
    live.await_report();
    live.mark();
    live.value("document.forms[0].reset(), scrollTo({ top: 0, behavior: 'instant' }), modal.showModal(), ok.focus()");
    live.change(&["/x.html"], &[]);
    live.await_reload();
    live.until("modal.matches(':modal') && document.activeElement == ok");
    live.value(&format!("{query}, 0"));
    assert_eq!(live.value("[q('text').value, scrollY]"), json!(["one", 0]));
    assert_eq!(live.chromium.complaints(), [""; 0]);
}

fn a_page_that_is_being_left_is_not_reloaded(live: &Live) {
    live.put_page(
        "x.html",
        "",
        "<script>addEventListener('beforeunload', () => (self.isLeaving = true))</script>",
    );
    live.open("/x.html");
    live.value("dispatchEvent(new Event('beforeunload'))");
    live.change(&["/x.html"], &[]);
    live.settle();
    live.assert_stayed();
    // The user has stayed after all, and five seconds have passed.
    live.value("{ const now = Date.now; Date.now = () => now() + 5000 }");
    live.publish(json!({ "beat": 1 }));
    live.await_reload();
}
