// Keeps live pages live. The tabs of one browser share one stream, since a browser opens only six
// connections to a host: whichever visible tab holds the lock listens and tells the others. A
// hidden tab neither listens nor refreshes; it catches up when it is shown.
(() => {
  "use strict";

  const RETRY_MS = 5000;
  const stream = document.getElementById("stream");
  if (!stream) return;
  const lost = document.getElementById("lost");
  const channel = new BroadcastChannel("wattloom-live");
  let shown = null;

  const refresh = () => stream.dispatchEvent(new Event("revision"));

  function hear(news) {
    if (document.hidden) return;
    if (news !== "revision" && lost.hidden) {
      lost.querySelector("time").textContent = document.querySelector(".stamp time").textContent;
    }
    lost.hidden = news === "revision";
    // A refused stream may mean that the session is over: looking again leads to the entrance.
    if (news !== "lost") refresh();
  }

  function tell(news) {
    hear(news);
    channel.postMessage(news);
  }

  // Listens until the signal aborts. The browser itself reconnects after a lost connection, but
  // not after an answer that is no stream.
  const listen = (signal) => new Promise((done) => {
    let source;
    let timer;
    const open = () => {
      source = new EventSource("/stream");
      source.addEventListener("revision", () => tell("revision"));
      source.addEventListener("error", () => {
        const refused = source.readyState === EventSource.CLOSED;
        if (refused) timer = setTimeout(open, RETRY_MS);
        tell(refused ? "refused" : "lost");
      });
    };
    open();
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      source.close();
      done();
    });
  });

  function show() {
    shown?.abort();
    shown = new AbortController();
    const { signal } = shown;
    // Browsers offer locks on loopback and over TLS only; elsewhere each tab listens by itself.
    if (!navigator.locks) {
      listen(signal);
      return;
    }
    navigator.locks.request("wattloom-stream", { signal }, () => listen(signal)).catch((error) => {
      if (error.name !== "AbortError") throw error;
    });
  }

  const hide = () => shown?.abort();

  channel.addEventListener("message", (event) => hear(event.data));
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return hide();
    refresh();
    return show();
  });
  window.addEventListener("pagehide", hide);
  window.addEventListener("pageshow", (event) => { if (event.persisted) show(); });
  if (!document.hidden) show();
})();
