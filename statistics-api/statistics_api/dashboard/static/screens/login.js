// The log-in. It stands in the place of the screen that was asked for, so the same URL is loaded again afterwards.

import { get, quoted, RequestFailed, send } from "../api.js";
import { copy, sessions } from "../page.js";

const notice = document.getElementById("notice");

function open() {
  // Not reload(): the browser would take the request for one of the page that has led here, and keep the cookies back.
  location.replace(location.pathname + location.search);
}

// A link on another site leads here without the cookies: they may be there all the same. A session that came along does
// not open this screen.
async function openIfLoggedIn() {
  const asked = [...document.querySelectorAll("form[data-kind]")].map((form) => form.dataset.kind);
  const has = (await get("/dashboard/session")).body;
  if (asked.some((kind) => has[kind] && !sessions().includes(kind))) {
    open();
  }
}

for (const form of document.querySelectorAll("form[data-kind]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("[type=submit]");
    button.disabled = true;
    notice.textContent = "";
    try {
      await send("POST", "/dashboard/session", Object.fromEntries(new FormData(form)));
      open();
    } catch (error) {
      notice.textContent = error instanceof RequestFailed ? error.inWords : "The log-in has failed.";
      button.disabled = false;
    }
  });
}

const command = `curl ${quoted(`${location.origin}/api/v1/auth/register`)} -H 'Content-Type: application/json' -d '{"email":"you@example.com","password":"a password that is hard to guess"}'`;
document.getElementById("curl").textContent = command;
document.getElementById("copy-curl").addEventListener("click", (event) => copy(command, event.target));
openIfLoggedIn().catch(() => {}); // then the form is what helps
