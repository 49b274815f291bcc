// What hx-sse leaves to the page: it says when the figures are no longer fresh, and it keeps every
// hidden tab from opening a stream, since a browser opens only six connections to a host.
(() => {
  "use strict";

  const stream = document.getElementById("stream");
  const lost = document.getElementById("lost");
  const visibleOnly = (event) => { if (document.hidden) event.preventDefault(); };

  function lose() {
    if (!lost.hidden) return;
    lost.querySelector("time").textContent = document.querySelector(".stamp time").textContent;
    lost.hidden = false;
  }

  stream.addEventListener("htmx:before:request", visibleOnly);
  stream.addEventListener("htmx:sse:before:connection", visibleOnly);
  stream.addEventListener("htmx:sse:after:connection", ({ detail: { connection } }) => {
    // The tab was hidden again before its connection stood.
    if (document.hidden) connection.abortController.abort();
    // A session that ended meanwhile has no stream; looking again leads to the entrance.
    else if (connection.status === 204) location.reload();
  });
  for (const name of ["htmx:error", "htmx:response:error", "htmx:sse:error"]) {
    stream.addEventListener(name, lose);
  }
  stream.addEventListener("revision", () => { lost.hidden = true; });
})();
