
// The answer to HEAD comes when the server is back, or when this one gives up waiting for it.
(async () => {
  for (let pause = 500; ; pause = Math.min(2 * pause, 5000)) {
    await new Promise((done) => setTimeout(done, pause));
    if (document.hidden) continue;
    try {
      const answer = await fetch(location.href, {
        method: "HEAD", cache: "no-store", redirect: "manual", headers: { Accept: "text/html" },
      });
      if (!answer.headers.has("Proxy-Status")) return location.reload();
    } catch {
      // This server is gone too.
    }
  }
})();
