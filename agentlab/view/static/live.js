// Follows the event log. A message says only that there is more: what is shown comes from the
// server, part by part, so that a page that was open all along shows what one opened late does.
"use strict";
(() => {
  const body = document.body;
  if (!body.dataset.live) return;
  const sign = document.getElementById("live");
  const LEAST = 900;  // milliseconds between two requests for the page
  let last = 0, waiting = 0, asking = false, again = false;

  function say(text, state) {
    if (sign.textContent !== text) sign.textContent = text;
    sign.dataset.state = state;
  }

  function refresh() {
    if (asking) { again = true; return; }
    clearTimeout(waiting);
    waiting = setTimeout(load, Math.max(0, last + LEAST - Date.now()));
  }

  async function load() {
    asking = true;
    try {
      const answer = await fetch(location.href, { headers: { "x-agentlab": "parts" } });
      if (!answer.ok) throw new Error(String(answer.status));
      put(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      say("reconnecting", "lost");
      again = true;
    }
    last = Date.now();
    asking = false;
    if (again) { again = false; refresh(); }
  }

  function put(fresh) {
    let changed = false;
    for (const part of document.querySelectorAll("[data-part]")) {
      const next = fresh.querySelector(`[data-part="${part.dataset.part}"]`);
      if (!next || same(part, next) || typedIn(part)) continue;
      const open = [...part.querySelectorAll("details")].map((each) => each.open);
      const focus = part.contains(document.activeElement) ? document.activeElement : null;
      const address = focus && focus.getAttribute("href");
      const came = document.importNode(next, true);
      original.delete(part);
      original.set(came, next.outerHTML);
      part.replaceWith(came);
      came.querySelectorAll("details").forEach((each, at) => { each.open = open[at] ?? each.open; });
      if (address) {
        const links = [...came.querySelectorAll("a")];
        links.find((link) => link.getAttribute("href") === address)?.focus();
      }
      changed = true;
    }
    body.dataset.serial = fresh.body.dataset.serial;
    if (changed) document.dispatchEvent(new Event("agentlab:shown"));
  }

  // What somebody is writing is not taken from under their hands.
  function typedIn(part) {
    return [...part.querySelectorAll("input:not([type=hidden])")].some(
      (field) => field.value !== field.defaultValue || field === document.activeElement);
  }

  // What a script drew into a part does not count: the server's words for it are compared.
  function same(part, next) {
    return original.get(part) === next.outerHTML;
  }

  const original = new Map();
  for (const part of document.querySelectorAll("[data-part]")) original.set(part, part.outerHTML);

  const source = new EventSource(
    `${body.dataset.live}${body.dataset.live.includes("?") ? "&" : "?"}after=${body.dataset.serial}`);
  let opened = false;
  source.addEventListener("open", () => {
    say("live", "live");
    if (opened) refresh();
    opened = true;
  });
  source.addEventListener("happened", refresh);
  source.addEventListener("error", () => say("reconnecting", "lost"));
  addEventListener("pagehide", () => source.close());
})();
