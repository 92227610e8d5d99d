// Keeps the page live: the socket says what changed, htmx fetches that fragment again.
(() => {
  const TOPICS = ["figures", "events", "parts", "refused", "approvals"];
  const PING_MS = 20000;
  const ANSWER_MS = 8000;
  const TEXTS = { connecting: "Connecting…", live: "Live", down: "Not live: reconnecting…", paused: "Paused", ended: "Signed out", forbidden: "Not allowed" };
  const pill = document.getElementById("live-state");
  const text = document.getElementById("live-text");
  let socket = null;
  let delayMs = 500;
  let retryTimer = 0;
  let pingTimer = 0;
  let answerTimer = 0;

  function show(state) {
    pill.dataset.state = state;
    text.textContent = TEXTS[state];
    document.body.classList.toggle("pa-not-live", state === "down");
    if (state !== "ended") return;
    const link = document.createElement("a");
    link.href = `${pill.dataset.login}?next=${encodeURIComponent(location.pathname + location.search)}`;
    link.textContent = "Signed out: sign in again";
    text.replaceChildren(link);
  }

  function refetch(topics) {
    for (const topic of topics) document.body.dispatchEvent(new Event(`live:${topic}`));
  }

  function ping() {
    socket.send('{"ping": true}');
    // A connection that was cut without a word never closes by itself.
    answerTimer = setTimeout(lose, ANSWER_MS);
  }

  function lose() {
    const lost = socket;
    if (!lost) return;
    lost.close();
    closed(lost, 1006);
  }

  function closed(which, code) {
    if (which !== socket) return;
    socket = null;
    clearInterval(pingTimer);
    clearTimeout(answerTimer);
    if (code === 4401 || code === 4403) return show(code === 4401 ? "ended" : "forbidden");
    show("down");
    retryTimer = setTimeout(connect, delayMs * (0.7 + 0.6 * Math.random()));
    delayMs = Math.min(delayMs * 2, 15000);
  }

  function connect() {
    clearTimeout(retryTimer);
    if (socket || document.hidden) return;
    const mine = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/live/`);
    socket = mine;
    // Until the first answer it may still be refused.
    mine.onopen = () => { mine.send('{"ping": true}'); pingTimer = setInterval(ping, PING_MS); };
    mine.onmessage = (event) => {
      clearTimeout(answerTimer);
      if (pill.dataset.state !== "live") {
        show("live");
        delayMs = 500;
        refetch(TOPICS); // whatever was missed meanwhile
      }
      refetch(JSON.parse(event.data).changed || []);
    };
    mine.onclose = (event) => closed(mine, event.code);
  }

  function pause() {
    const mine = socket;
    socket = null;
    clearInterval(pingTimer);
    clearTimeout(answerTimer);
    clearTimeout(retryTimer);
    if (mine) mine.close();
    show("paused");
  }

  document.addEventListener("visibilitychange", () => {
    if (["ended", "forbidden"].includes(pill.dataset.state)) return;
    if (document.hidden) pause();
    else { show("connecting"); connect(); }
  });
  window.addEventListener("online", connect);
  connect();
})();
