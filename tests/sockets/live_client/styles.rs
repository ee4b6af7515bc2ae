//! Stylesheets and images are swapped in place.

use serde_json::json;

use super::Live;

#[test]
fn stylesheets_and_images_are_swapped_in_place() {
    Live::try_all(&[
        a_stylesheet_is_swapped_in_place,
        a_sheet_that_fails_leaves_the_old_one,
        imports_are_swapped_with_the_sheet_that_leads_to_them,
        open_shadow_trees_are_swapped_and_what_cannot_be_is_reloaded,
        images_are_swapped_where_elements_show_them,
    ]);
}

/// A style sheet in which this is the colour of the body.
fn sheet(red: u32) -> String {
    format!("body {{ color: rgb({red}, 0, 0) }}")
}

fn has_red(red: u32) -> String {
    format!("getComputedStyle(document.body).color == 'rgb({red}, 0, 0)'")
}

/// A picture of this width.
fn picture(width: u32) -> String {
    format!("<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='10'/>")
}

fn a_stylesheet_is_swapped_in_place(live: &Live) {
    live.put("app.css", sheet(1));
    live.put("after.css", "body { margin-top: 5000px }");
    let head = "<link rel=stylesheet href=app.css?a=1 title=one id=one media=screen>\
        <link rel=STYLESHEET href=/app.css crossorigin=anonymous>\
        <link rel=preload as=style href=/app.css id=preload>\
        <link rel=stylesheet href=after.css><style>body { color: rgb(0, 0, 9) }</style>";
    live.put_page("x.html", head, "");
    live.open("/x.html");
    // Each sheet that goes leaves only when its copy, before it in the document, is there.
    live.value(
        "document.querySelector('style').remove(), scrollTo(0, 1000), self.early = 0, self.swaps = 0,
        new MutationObserver((records) => {
            for (const { removedNodes: [old], previousSibling: copy } of records) {
                if (!old) continue;
                swaps += 1;
                if (!copy?.sheet && !document.querySelector(`[href*=_live]`).sheet) early += 1;
            }
        }).observe(document.head, { childList: true })",
    );
    for red in 2..4 {
        live.put("app.css", sheet(red));
        live.change(&["/app.css"], &["/x.html"]);
        live.until(&format!("swaps == 2 * {}", red - 1));
        assert_eq!(live.value(&has_red(red)), json!(true));
    }
    live.assert_stayed();
    assert_eq!(live.value("[early, scrollY]"), json!([0, 1000]));
    let links = "[...document.querySelectorAll('link:not([rel=icon])')].map((e) => e.outerHTML)";
    let origin = live.url("");
    assert_eq!(
        live.value(links),
        json!([
            format!(
                r#"<link rel="stylesheet" href="{origin}/app.css?a=1&amp;_live=2" title="one" id="one" media="screen">"#
            ),
            format!(
                r#"<link rel="STYLESHEET" href="{origin}/app.css?_live=2" crossorigin="anonymous">"#
            ),
            r#"<link rel="preload" as="style" href="/app.css" id="preload">"#,
            r#"<link rel="stylesheet" href="after.css">"#,
        ])
    );
}

fn a_sheet_that_fails_leaves_the_old_one(live: &Live) {
    live.put("app.css", sheet(1));
    live.put("off.css", sheet(1));
    let wrong = format!("sha256-{}=", "A".repeat(43));
    let head = format!(
        "<link rel=stylesheet href=app.css>\
        <link rel=stylesheet href=app.css integrity={wrong} onload='self.loads = (self.loads || 0) + 1'>\
        <link rel=stylesheet href=off.css disabled id=off>"
    );
    live.put_page("x.html", &head, "");
    live.open("/x.html");
    assert_eq!(
        live.value("!document.querySelectorAll('link[rel=stylesheet]')[1].sheet"),
        json!(true)
    );
    // A change that comes before the copy is loaded makes no second copy.
    std::fs::remove_file(live.program.folder.path().join("app.css")).expect("it is there");
    live.change(&["/app.css"], &["/x.html"]);
    live.change(&["/app.css"], &["/x.html"]);
    let fetched = "performance.getEntriesByType('resource').filter((e) => /_live=2/.test(e.name))";
    live.until(&format!(
        "{fetched}.length > 0 && document.querySelectorAll('link[rel=stylesheet]').length == 3"
    ));
    live.assert_stayed();
    assert_eq!(live.value(&has_red(1)), json!(true));
    // A disabled sheet is as new as the others when it is enabled. Integrity is for the old content.
    live.put("app.css", sheet(2));
    live.put("off.css", sheet(3));
    live.change(&["/app.css", "/off.css"], &["/x.html"]);
    live.until(&has_red(2));
    live.until("[...document.querySelectorAll('link[href*=_live]')].length == 3");
    live.value("document.getElementById('off').disabled = false");
    live.until(&has_red(3));
    live.assert_stayed();
}

fn imports_are_swapped_with_the_sheet_that_leads_to_them(live: &Live) {
    live.put("app.css", "@import url(https://other.invalid/x.css); @import 'a/base.css' layer(low) supports(color: red) screen; @layer low { body { color: rgb(0, 0, 9) } }");
    live.put("a/base.css", "@import 'deep.css';");
    live.put("a/deep.css", "body { color: rgb(1, 0, 0) !important }");
    live.put("own.css", "body { margin-left: 1px }");
    live.put_page(
        "x.html",
        "<link rel=stylesheet href=app.css><style>@import url('own.css');</style>",
        "",
    );
    live.open("/x.html");
    assert_eq!(live.value(&has_red(1)), json!(true));
    for red in 2..4 {
        live.put(
            "a/deep.css",
            format!("body {{ color: rgb({red}, 0, 0) !important }}"),
        );
        live.put("own.css", format!("body {{ margin-left: {red}px }}"));
        live.change(
            &["/a/deep.css", "/own.css"],
            &["/a/base.css", "/app.css", "/x.html"],
        );
        live.until(&has_red(red));
        live.until(&format!(
            "getComputedStyle(document.body).marginLeft == '{red}px'"
        ));
        live.until("document.querySelectorAll('link[rel=stylesheet],style').length == 2");
        live.assert_stayed();
    }
    let rule = "document.querySelector('link[rel=stylesheet]').sheet.cssRules[1].cssText";
    assert_eq!(
        live.value(rule),
        json!(r#"@import url("a/base.css") layer(low) supports(color: red) screen;"#)
    );
}

fn open_shadow_trees_are_swapped_and_what_cannot_be_is_reloaded(live: &Live) {
    live.put("in.css", "p { color: rgb(1, 0, 0) }");
    live.put("made.css", "p { color: red }");
    live.put("bg.svg", picture(10));
    live.put(
        "module.js",
        "import sheet from './made.css' with { type: 'css' };
        document.adoptedStyleSheets.push(sheet);
        const made = new CSSStyleSheet(); made.replaceSync('i { background: url(bg.svg) }');
        document.adoptedStyleSheets.push(made); self.isMade = true;",
    );
    let body = "<div id=outer><template shadowrootmode=open><div><template shadowrootmode=open>\
        <link rel=stylesheet href=in.css><p>text</p></template></div></template></div>\
        <img src=bg.svg><i>text</i><script type=module src=module.js></script>";
    live.put_page("x.html", "", body);
    live.put(
        "closed.html",
        format!(
            "<!DOCTYPE html>{}<div><template shadowrootmode=closed>\
        <link rel=stylesheet href=in.css></template></div>",
            super::TAG
        ),
    );
    live.open("/x.html");
    live.put("in.css", "p { color: rgb(2, 0, 0) }");
    live.change(&["/in.css"], &["/x.html"]);
    live.until("getComputedStyle(outer.shadowRoot.querySelector('div').shadowRoot.querySelector('p')).color == 'rgb(2, 0, 0)'");
    live.assert_stayed();
    // A sheet that a script has made, by import or by hand, is found nowhere else.
    for path in ["/made.css", "/bg.svg"] {
        live.until("self.isMade");
        live.change(&[path], &["/x.html"]);
        live.await_reload();
        live.await_report();
        live.mark();
    }
    live.open("/closed.html");
    live.change(&["/in.css"], &["/closed.html"]);
    live.await_reload();
}

fn images_are_swapped_where_elements_show_them(live: &Live) {
    for name in ["a.svg", "b.svg", "my,c.svg", "d.svg", "rule.svg"] {
        live.put(name, picture(10));
    }
    let css = "@media screen { b { display: inline-block; content: url('rule.svg?1') } }";
    live.put("app.css", css);
    let body = "<img id=a src=a.svg><img id=other src=other.svg>\
        <img id=set srcset='my,c.svg 1x, a.svg 2x'>\
        <picture><source srcset='b.svg 1x'><img id=b src=other.svg></picture>\
        <video id=v poster=d.svg></video><input id=n type=image src=a.svg>\
        <svg><image id=i href=a.svg /><image id=x xlink:href=a.svg /></svg>\
        <b id=bold></b><i style='background: url(style.svg)'></i>";
    let head = "<link rel='shortcut icon' id=icon href=d.svg><link rel=stylesheet href=app.css>";
    live.put_page("x.html", head, body);
    live.open("/x.html");
    let names = ["a.svg", "b.svg", "my,c.svg", "d.svg"];
    for name in names {
        live.put(name, picture(20));
    }
    live.change(
        &names
            .map(|name| ["/", name].concat())
            .each_ref()
            .map(|url| &**url),
        &["/x.html"],
    );
    live.until("[a, set, b].every((e) => e.naturalWidth == 20)");
    let urls = "[v.poster, n.src, i.href.baseVal, x.href.baseVal, icon.href]";
    let all = format!("{urls}.every((url) => url.endsWith('.svg?_live=1'))");
    assert_eq!(live.value(&all), json!(true));
    assert_eq!(live.value("other.getAttribute('src')"), json!("other.svg"));
    let origin = live.url("");
    assert_eq!(
        live.value("set.srcset"),
        json!(format!(
            "{origin}/my,c.svg?_live=1 1x, {origin}/a.svg?_live=1 2x"
        ))
    );
    // An image that was missing.
    live.put("other.svg", picture(30));
    live.change(&["/other.svg"], &["/x.html"]);
    live.until("other.naturalWidth == 30");
    // The tools of the browser alone ask for a source map.
    live.change(&["/app.css.map"], &["/app.css", "/x.html"]);
    live.settle();
    live.assert_stayed();
    // The browser remembers an image of a rule as long as the document lives.
    live.put("rule.svg", picture(20));
    live.change(&["/rule.svg"], &["/app.css", "/x.html"]);
    live.await_reload();
    assert_eq!(live.value("bold.offsetWidth"), json!(20));
    live.await_report();
    live.mark();
    live.change(&["/style.svg"], &["/x.html"]);
    live.await_reload();
}
