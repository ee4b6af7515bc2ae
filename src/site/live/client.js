// The script of live reload, which the server adds to each page that a browser opens.
//
// The script holds a WebSocket connection to the server. The server says which URLs have another content
// than before. The page swaps stylesheets and images in place, and loads itself again for anything else.
// The rest of the script is about what may go wrong meanwhile: the server ends, the computer sleeps, the
// page is hidden, or the page forbids the connection.
//
// A page can see little of the script: its element is gone before the page goes on, and a badge stands at
// the end of the document only while there is something to say.
//
// The server removes comment lines, indentation and most ends of lines. So no statement begins with two
// slashes, no comment stands behind code, and no template string has more than one line. Compressed, the
// script has at most 3 KB, for which some of it is terse.
(() => {
  const script = document.currentScript;
  script.remove();

  // Derived from the address of the script, because a proxy may map the server to another path.
  const address = new URL('live', script.src).href.replace('http', 'ws');

  // The path that was asked for. The page may change `location` later.
  const page = location.pathname;

  // The value of a function; undefined if the browser forbids what the function does.
  const attempt = (action) => {
    try {
      return action();
    } catch {}
  };

  // What the server has told: the name of its run, the number of the last change, and a token for each
  // URL in use. After a pause, the server compares these with its own.
  let instance = null, generation = null, tokens = null;

  // When the page was asked for. A page that the browser takes from its cache, because the user goes back,
  // is as old as it was before: nobody has asked the server for it again.
  let asked = performance.timeOrigin;
  attempt(() => {
    const key = 'oneloop@' + location;
    if (performance.navigation.type > 1) asked = sessionStorage[key] || asked;
    sessionStorage[key] = asked;
  });

  // The path of a URL of the page's own origin; undefined for other URLs.
  const pathOf = (url, base) => {
    const it = URL.parse(url, base || document.baseURI);
    if (it?.origin === location.origin) return it.pathname;
  };

  // ── What the page uses ──────────────────────────────────────────────────────────────────────────

  // The paths that the page has asked for, its own first.
  const used = new Set([page]);

  // The browser's own list of resources has a limit, and the page can clear it. An observer sees all.
  new PerformanceObserver((list) => {
    const before = used.size;
    for (const { name, initiatorType } of list.getEntries()) {
      // The document in a frame follows its own files.
      if (!/frame/.test(initiatorType)) used.add(pathOf(name) || page);
    }
    if (used.size > before) report();
  }).observe({ type: 'resource', buffered: true });

  // Tells the server what the page uses, at most four times a second. The server answers with tokens.
  let reporting;
  const report = () => {
    reporting ||= setTimeout(() => {
      reporting = 0;
      send({ used: [...used].slice(0, 500) });
    }, 250);
  };

  // ── The connection ──────────────────────────────────────────────────────────────────────────────

  let Socket = WebSocket;
  let socket, retry, heard, failures = 0;

  const send = (message) => {
    if (socket?.readyState === 1) socket.send(JSON.stringify(message));
  };

  // The server sends a beat every 20 seconds. A connection that is silent for longer than 45 seconds is
  // dead, though nobody has said so.
  const hear = () => {
    heard = Date.now();
    setTimeout(check, 45001);
  };

  const drop = () => {
    socket?.close();
    socket = null;
  };

  const connect = () => {
    hear();
    const opened = (socket = new Socket(address));
    opened.onopen = () => {
      // In milliseconds. This clock goes on while the computer sleeps.
      send({ hello: { page, age: Date.now() - asked, instance, generation, used: tokens } });
      report();
    };
    opened.onmessage = ({ data }) => take(JSON.parse(data));
    opened.onclose = () => {
      if (opened !== socket) return;
      socket = null;
      gone ||= new Date().toTimeString().slice(0, 5);
      // A server that comes back at once is not worth a word.
      if (++failures > 1) show();
      clearTimeout(retry);
      retry = setTimeout(check, Math.min(5000, 125 * 2 ** failures));
    };
  };

  // Called when a connection may be possible again, or may have died, and when the page is shown.
  const check = () => {
    if (document.hidden) return;
    if (Date.now() - heard > 45000) drop();
    if (!socket) connect();
    apply();
  };

  // A policy in a <meta> element does not govern what came before it, such as the first connection. If
  // it forbids a later one, a frame helps: its document has a policy of its own. Any document of this
  // origin will do, and the browser has this script at hand.
  let frame;
  const detour = ({ blockedURI }) => {
    // Once is enough: the page may forbid frames too.
    if (blockedURI !== address || frame) return;
    frame = document.createElement('iframe');
    frame.style.display = 'none';
    frame.src = script.src;
    frame.onload = () => {
      Socket = frame.contentWindow.WebSocket;
      drop();
      check();
    };
    document.documentElement.append(frame);
  };

  // While the page is being left, by a reload or by the user, another reload would be in the way. After
  // five seconds the user has stayed, or has only begun a download.
  let left = 0;
  const isLeaving = () => Date.now() - left < 5000;

  const listeners = {
    focus: check,
    online: check,
    visibilitychange: check,
    securitypolicyviolation: detour,
    beforeunload: () => (left = Date.now()),
    // A page with an open connection may not enter the back/forward cache.
    pagehide: drop,
    pageshow: () => {
      left = 0;
      check();
    },
  };

  // `document.open()` removes listeners. Those that are there are not added twice.
  const listen = () => {
    for (const name in listeners) addEventListener(name, listeners[name]);
  };

  // ── What the server says ────────────────────────────────────────────────────────────────────────

  // The paths that have changed, until the page is shown. An empty one stands for everything.
  const todo = new Set();

  const take = (message) => {
    hear();
    listen();
    failures = 0;
    gone = '';
    ({ instance = instance, generation = generation, tokens = tokens, waiting = waiting } = message);
    show();
    if (message.reload) todo.add('');
    const leads = (path) => path === location.pathname || used.has(path);
    for (const { url, from = [], any } of message.changes || []) {
      // Only the tools of the browser ask for a source map.
      if (!url.endsWith('.map') && (any || [url, ...from].some(leads))) todo.add(url);
    }
    apply();
  };

  const apply = () => {
    if (document.hidden || isLeaving() || !todo.size) return;
    const paths = new Set(todo);
    todo.clear();
    if (!swap(paths)) reload();
    report();
  };

  // ── Stylesheets and images, in place ────────────────────────────────────────────────────────────

  // The same URL with the generation as a parameter, in place of an older one.
  const renew = (url) => {
    const it = URL.parse(url, document.baseURI);
    it.searchParams.set('_live', generation);
    return it.href;
  };

  // Swaps what shows the paths. False if the page uses one of them in a way that cannot be swapped, or that
  // cannot be found, as in a closed shadow tree; then the page is loaded again anyway.
  const swap = (paths) => {
    const found = new Set();
    let isWhole;

    const hits = (url, base) => {
      const path = pathOf(url, base);
      return paths.has(path) && found.add(path);
    };

    // Whether a sheet imports one of the paths. The rules of a sheet of another origin cannot be read, and
    // its files are there too. For an image in a rule, the browser would use what it remembers as long as
    // the document lives; so does Firefox, the only browser with InternalError, for an imported sheet.
    const imports = (sheet) => {
      let hit;
      for (const { href, styleSheet, cssText } of attempt(() => sheet.cssRules) || []) {
        for (const [, url] of cssText.matchAll(/url\(["']?(.*?)["']?\)/g)) {
          if (hits(url, sheet.href)) href && !self.InternalError ? (hit = true) : (isWhole = true);
        }
        if (imports(styleSheet)) hit = true;
      }
      return hit;
    };

    // The document and the open shadow trees in it.
    const trees = [document];
    for (const tree of trees) {
      // A sheet that a script has made.
      tree.adoptedStyleSheets.forEach(imports);
      for (const e of tree.querySelectorAll('*')) {
        if (e.shadowRoot) trees.push(e.shadowRoot);
        if (e.style) imports({ cssRules: [e.style] });
        if (e.matches('link[rel~=stylesheet i],style')) {
          if (imports(e.sheet) || hits(e.href)) replace(e);
        } else if (e.matches('img,picture>*,video,input,image,link[rel~=icon i]')) {
          for (const { name, value } of e.attributes) {
            if (!/src|poster|href/.test(name)) continue;
            // A srcset has URLs between widths or densities.
            const now = value.replace(/\S*[^\s,]/g, (url) => (hits(url) ? renew(url) : url));
            if (now !== value) e.setAttribute(name, now);
          }
        }
      }
    }
    return !isWhole && found.size === paths.size;
  };

  // Puts a copy after the sheet, and removes the old one when the copy is loaded. So the page is never
  // without style, and the order of the sheets stays.
  const replace = (old) => {
    // A copy that is still on its way gives way to another copy of the old sheet.
    if (!old.isConnected) return;
    old.copy?.remove();
    const copy = old.cloneNode(true);
    copy.removeAttribute('integrity');
    if (old.href) copy.href = renew(old.href);
    // A disabled link does not load before it is enabled.
    if (old.href && old.disabled) return old.replaceWith(copy);
    old.copy = copy;
    // A sheet that comes without one of its imports is an error too, but has rules.
    copy.onload = copy.onerror = ({ type }) => {
      if (!copy.isConnected) return;
      const isThere = type === 'load' || attempt(() => copy.sheet.cssRules.length);
      if (isThere && old.sheet) copy.sheet.disabled = old.sheet.disabled;
      (isThere ? old : copy).remove();
    };
    old.after(copy);
  };

  // ── A full reload ───────────────────────────────────────────────────────────────────────────────

  // The page around a frame goes first, because it loads the frame again.
  const reload = () => setTimeout(leave, frameElement ? 100 : 0);

  const leave = () => {
    if (isLeaving()) return todo.add('');
    left = Date.now();
    attempt(save);
    location.reload();
  };

  // What the user has done to the page is kept in the session storage of the tab, if that is allowed.

  // The elements whose state is kept, by what must be the same after the reload.
  const parts = () => {
    const all = new Map();
    for (const e of document.querySelectorAll('[id],[name],details')) {
      const { localName, type, id, name, defaultValue, defaultChecked, options } = e;
      let key = [localName, type, id, name, defaultValue, defaultChecked, options && e.textContent].join();
      while (all.has(key)) key += '+';
      all.set(key, e);
    }
    return all;
  };

  const save = () => {
    const states = [];
    for (const [key, e] of parts()) {
      const { open, checked, scrollLeft, scrollTop } = e;
      const isField = /^(input|select|texta)(?!password|hidden|file)/.test(e.localName + e.type);
      const value = isField ? e.value : undefined;
      const focus = e === document.activeElement && [e.selectionStart, e.selectionEnd];
      states.push([key, { open, checked, value, scrollLeft, scrollTop }, focus, e.matches(':modal')]);
    }
    sessionStorage['oneloop' + location] = JSON.stringify([history.scrollRestoration, scrollX, scrollY, states]);
    history.scrollRestoration = 'manual';
  };

  const restore = ([restoration, left, top, states]) => {
    const all = parts();
    for (const [key, state, focus, isModal] of states) {
      const e = all.get(key);
      if (!e) continue;
      if (isModal && !e.open) e.showModal();
      for (const name in state) if (e[name] !== state[name]) e[name] = state[name];
      if (focus) e.focus({ preventScroll: true });
      if (focus[1]) e.setSelectionRange(...focus);
    }
    scrollTo({ left, top, behavior: 'instant' });
    history.scrollRestoration = restoration;
  };

  attempt(() => {
    const saved = JSON.parse(sessionStorage['oneloop' + location]);
    delete sessionStorage['oneloop' + location];
    // After what the page itself does on load.
    addEventListener('load', () => setTimeout(restore, 0, saved));
  });

  // ── The badge ───────────────────────────────────────────────────────────────────────────────────

  // The time since which the server is gone; whether the server waits for the document of a page; and
  // the worker that answers for the page.
  let gone, waiting, badge;
  const advice = 'a service worker answers: unregister';
  const worker = navigator.serviceWorker?.controller;

  const show = () => {
    const text =
      gone && instance ? 'server gone, since ' + gone : waiting ? 'waiting for the build' : worker && advice;
    badge?.remove();
    // The page around a frame says the same.
    if (!text || frameElement) return;
    badge = document.createElement('div');
    badge.style.display = 'contents';
    const button = document.createElement('button');
    badge.attachShadow({ mode: 'closed' }).append(button);
    button.append(text);
    // The browser's own style for popovers has the colours, and puts the badge above all else. A policy of
    // the page may forbid style elements and attributes, but not this.
    button.popover = 'manual';
    button.style.cssText = 'inset:auto 8px 8px auto;color-scheme:light dark';
    if (worker) button.onclick = () => navigator.serviceWorker.ready.then((it) => it.unregister()).then(reload);
    document.documentElement?.append(badge);
    button.showPopover();
  };

  if (worker) {
    console.warn(advice);
    show();
  }

  listen();
  // Nobody sees a page that is rendered in advance. Its visibility changes when it is opened.
  if (!document.prerendering) connect();
})();
