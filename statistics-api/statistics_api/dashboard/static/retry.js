// A page that says that the server cannot answer now gives way to what was asked for, once there is an answer.

const PAUSE_SECONDS = 10;

setInterval(async () => {
  if (document.hidden) {
    return;
  }
  const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" }).catch(() => null);
  if (answer !== null && answer.status !== 503) {
    location.replace(location.pathname + location.search); // not reload(): see screens/login.js
  }
}, PAUSE_SECONDS * 1_000);
