//! A headless Chromium with one tab, for tests of what a page shows and does.
//!
//! Chromium is driven by the Chrome DevTools Protocol: JSON messages over a WebSocket. A message with an
//! `id` asks for a method; the answer has the same `id`, and messages without one are events. A test
//! waits for events and for conditions of the page, and never for a time.

use std::cell::RefCell;
use std::ffi::OsString;

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use crate::harness::{Folder, Lines, Process, eventually, outside};
use crate::tcp::Stream;

/// The browser, which ends when the value is dropped.
pub struct Chromium {
    socket: RefCell<WebSocket<Stream>>,
    state: RefCell<State>,
    /// The name of the session with the tab; empty before there is one.
    session: String,
    _process: Process,
    /// Where the process says its errors. Without a reader, the next error would end the process.
    _stderr: Lines,
    _profile: Folder,
}

#[derive(Default)]
struct State {
    /// The `id` of the last message.
    id: u64,
    /// The events of the tab that nothing has waited for.
    events: Vec<Value>,
    complaints: Vec<String>,
    /// The WebSocket messages that the tab has received and that nothing has waited for.
    frames: Vec<String>,
    /// The names of the scripts that run first in each document.
    prepared: Vec<Value>,
}

/// How a page is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    Light,
    Dark,
    /// The few colours of a user who needs a strong contrast.
    Forced,
}

impl Chromium {
    /// Starts the browser with an empty tab. `None` if there is no Chromium here, which is reported.
    pub fn start() -> Option<Chromium> {
        let mut command = outside("chromium")?;
        let profile = Folder::new();
        let mut flag = OsString::from("--user-data-dir=");
        flag.push(profile.path());
        command.arg(flag).args([
            "--headless",
            "--remote-debugging-port=0",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--no-proxy-server",
            "about:blank",
        ]);
        // Chromium writes to its home, besides the profile.
        command.env("HOME", profile.path());
        let mut process = Process::start(&mut command);
        let mut stderr = process.stderr();
        let url = stderr.find("DevTools listening on ");
        let address = url
            .strip_prefix("ws://")
            .and_then(|url| url.split('/').next());
        let address = address.and_then(|address| address.parse().ok());
        let stream = Stream::to(address.expect("it listens on an address"));
        let (socket, _) = tungstenite::client(url, stream).expect("it speaks WebSocket");
        let mut chromium = Chromium {
            socket: RefCell::new(socket),
            state: RefCell::default(),
            session: String::new(),
            _process: process,
            _stderr: stderr,
            _profile: profile,
        };
        let targets = chromium.call("Target.getTargets", json!({}));
        let targets = targets["targetInfos"].as_array().expect("a list");
        let tab = targets.iter().find(|target| target["type"] == "page");
        let id = &tab.expect("a tab was opened")["targetId"];
        let session = chromium.call(
            "Target.attachToTarget",
            json!({ "targetId": id, "flatten": true }),
        );
        chromium.session = session["sessionId"].as_str().expect("a name").to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            chromium.call(&format!("{domain}.enable"), json!({}));
        }
        Some(chromium)
    }

    /// Opens a page, and waits until it is loaded.
    pub fn open(&self, url: &str) {
        self.state.borrow_mut().events.clear();
        let opened = self.call("Page.navigate", json!({ "url": url }));
        assert!(opened["errorText"].is_null(), "{url}: {opened}");
        self.await_event("Page.loadEventFired");
    }

    /// Shows pages in a window of this width, with these colours.
    pub fn show(&self, width: u32, scheme: Scheme) {
        let metrics = json!({
            "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        let colours = if scheme == Scheme::Dark {
            "dark"
        } else {
            "light"
        };
        let forced = if scheme == Scheme::Forced {
            "active"
        } else {
            "none"
        };
        let features = json!([
            { "name": "prefers-color-scheme", "value": colours },
            { "name": "forced-colors", "value": forced },
        ]);
        self.call(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        );
    }

    /// Lets pages run scripts, or not.
    pub fn allow_scripts(&self, is_allowed: bool) {
        self.call(
            "Emulation.setScriptExecutionDisabled",
            json!({ "value": !is_allowed }),
        );
    }

    /// Runs a script in each document that is opened from now on, before the scripts of the document.
    pub fn prepare(&self, script: &str) {
        let source = json!({ "source": script });
        let mut added = self.call("Page.addScriptToEvaluateOnNewDocument", source);
        let name = added["identifier"].take();
        self.state.borrow_mut().prepared.push(name);
    }

    /// Runs no such script any more.
    pub fn forget_prepared(&self) {
        let prepared = std::mem::take(&mut self.state.borrow_mut().prepared);
        for name in prepared {
            let script = json!({ "identifier": name });
            self.call("Page.removeScriptToEvaluateOnNewDocument", script);
        }
    }

    /// Opens an empty tab in front of the tab, which is hidden then.
    pub fn cover(&self) {
        self.call("Target.createTarget", json!({ "url": "about:blank" }));
        self.until("document.hidden");
    }

    /// Shows the tab again.
    pub fn uncover(&self) {
        self.call("Page.bringToFront", json!({}));
        self.until("!document.hidden");
    }

    /// The value of an expression in the page. A promise is waited for.
    #[track_caller]
    pub fn value(&self, expression: &str) -> Value {
        let value = self.try_value(expression);
        value.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    fn try_value(&self, expression: &str) -> Result<Value, Value> {
        let asked =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut got = self.try_call("Runtime.evaluate", asked)?;
        match got["exceptionDetails"].take() {
            Value::Null => Ok(got["result"]["value"].take()),
            exception => Err(exception),
        }
    }

    /// Waits until an expression in the page is true. The page may lead to another one meanwhile.
    pub fn until(&self, expression: &str) {
        eventually(expression, || match self.try_value(expression) {
            Ok(value) => value == json!(true),
            // The page was left.
            Err(error) if error["code"] == json!(-32000) => false,
            // An exception: a page that is being loaded has no body, for example.
            Err(error) if error["code"].is_null() => false,
            Err(error) => panic!("{expression}: {error}"),
        });
    }

    /// Presses and releases a key: a character, or a key with a name such as `Enter`.
    pub fn press(&self, key: &str) {
        let (name, text, number) = match key {
            "Enter" => ("Enter", "\r", 13),
            "Tab" => ("Tab", "", 9),
            "Escape" => ("Escape", "", 27),
            " " => (" ", " ", 32),
            character => (character, character, 0),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({ "type": kind, "key": name, "windowsVirtualKeyCode": number });
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Presses the keys of a text.
    pub fn type_text(&self, text: &str) {
        for character in text.chars() {
            self.press(&character.to_string());
        }
    }

    /// Presses Tab until an element that matches the selector has the focus.
    #[track_caller]
    pub fn tab_to(&self, selector: &str) {
        let has_focus = format!("document.activeElement.matches({})", json!(selector));
        for _ in 0..50 {
            self.press("Tab");
            if self.value(&has_focus) == json!(true) {
                return;
            }
        }
        panic!("the key Tab does not lead to {selector}");
    }

    /// Takes the errors and warnings of the console since the last call, uncaught exceptions included.
    pub fn complaints(&self) -> Vec<String> {
        // The answer to a call comes after the events before it.
        self.value("0");
        std::mem::take(&mut self.state.borrow_mut().complaints)
    }

    /// Asks for a method, of the tab if there is a session, and returns the result.
    #[track_caller]
    fn call(&self, method: &str, parameters: Value) -> Value {
        let result = self.try_call(method, parameters);
        result.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn try_call(&self, method: &str, parameters: Value) -> Result<Value, Value> {
        let id = {
            let mut state = self.state.borrow_mut();
            state.id += 1;
            state.id
        };
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let sent = self
            .socket
            .borrow_mut()
            .send(Message::text(message.to_string()));
        sent.expect("the browser lives");
        loop {
            let mut message = self.receive();
            if message["id"] == json!(id) {
                return match message["error"].take() {
                    Value::Null => Ok(message["result"].take()),
                    error => Err(error),
                };
            }
            self.note(message);
        }
    }

    /// Waits for an event of the tab, which may have come already.
    fn await_event(&self, method: &str) {
        loop {
            let events = std::mem::take(&mut self.state.borrow_mut().events);
            if events.iter().any(|event| event["method"] == method) {
                return;
            }
            let message = self.receive();
            self.note(message);
        }
    }

    /// Waits until the tab has received a WebSocket message with this text in it. Such a message, and each
    /// one before it, is waited for once.
    pub fn await_frame(&self, text: &str) {
        loop {
            let mut state = self.state.borrow_mut();
            if let Some(at) = state.frames.iter().position(|frame| frame.contains(text)) {
                state.frames.drain(..=at);
                return;
            }
            drop(state);
            let message = self.receive();
            self.note(message);
        }
    }

    /// The next message. A browser that says nothing for long fails the test.
    fn receive(&self) -> Value {
        loop {
            let message = self.socket.borrow_mut().read().expect("the browser lives");
            if let Message::Text(text) = message {
                return serde_json::from_str(&text).expect("JSON");
            }
        }
    }

    /// Keeps an event.
    fn note(&self, event: Value) {
        let parameters = &event["params"];
        let complaint = match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => Some(parameters["exceptionDetails"].to_string()),
            "Runtime.consoleAPICalled"
                if matches!(
                    parameters["type"].as_str(),
                    Some("error" | "warning" | "assert")
                ) =>
            {
                Some(parameters["args"].to_string())
            }
            "Log.entryAdded" => {
                let entry = &parameters["entry"];
                let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
                let is_bad = matches!(&*text("level"), "error" | "warning");
                is_bad.then(|| format!("{} {}", text("url"), text("text")))
            }
            _ => None,
        };
        let mut state = self.state.borrow_mut();
        state.complaints.extend(complaint);
        if event["method"] == "Network.webSocketFrameReceived" {
            let frame = parameters["response"]["payloadData"].as_str();
            state.frames.extend(frame.map(str::to_owned));
        }
        state.events.push(event);
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // The processes of the tabs end before the profile is removed. After a failure, nothing is sure.
        let socket = self.socket.get_mut();
        let close = Message::text(r#"{"id":0,"method":"Browser.close"}"#);
        if !std::thread::panicking() && socket.send(close).is_ok() {
            while socket.read().is_ok() {}
        }
    }
}
