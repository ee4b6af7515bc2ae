// The script of live reload: a placeholder, which loads the page again when the server comes back.
(() => {
  'use strict';
  const script = document.currentScript;
  script.remove();
  // The address comes from the script's own, so that a proxy before the server may map it as it likes.
  const address = new URL('live', script.src).href.replace('http', 'ws');
  new WebSocket(address).onmessage = (message) => {
    if (JSON.parse(message.data).reload) location.reload();
  };
})();
