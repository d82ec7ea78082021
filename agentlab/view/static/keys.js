// The keyboard: rows, search, pages, theme, and the list of it all.
"use strict";
(() => {
  const help = document.getElementById("help");
  let leading = 0;

  const visible = (element) => element.offsetParent !== null;
  const rows = () => [...document.querySelectorAll("[data-row]")].filter(visible);

  function move(by) {
    const all = rows();
    if (!all.length) return;
    const at = all.indexOf(document.activeElement);
    const next = at < 0 ? (by > 0 ? 0 : all.length - 1) : at + by;
    const row = all[Math.max(0, Math.min(all.length - 1, next))];
    row.focus();
    row.scrollIntoView({ block: "nearest" });
  }

  function follow(selector) {
    const link = [...document.querySelectorAll(selector)].find(visible);
    if (link) link.click();
    return Boolean(link);
  }

  const actions = {
    j: () => move(1),
    k: () => move(-1),
    n: () => follow("a[rel=next]"),
    b: () => follow("a[rel=prev]"),
    d: () => window.agentlabTheme(),
    "?": () => help && help.showModal(),
    "/": () => {
      const field = [...document.querySelectorAll("input[type=search]")].find(visible);
      if (field) { field.focus(); field.select(); }
    },
  };

  document.addEventListener("keydown", (event) => {
    // The focus stays for a moment in a dialog that was closed.
    const typing = event.target.closest("input, select, textarea, dialog[open]");
    if (event.key === "Escape" && typing && typing.matches("input")) { typing.blur(); return; }
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (leading && Date.now() - leading < 1500) {
      leading = 0;
      if (/^[a-z]$/.test(event.key) && follow(`[data-key="${event.key}"]`)) event.preventDefault();
      return;
    }
    if (event.key === "g") { leading = Date.now(); return; }
    const action = actions[event.key];
    if (action) { event.preventDefault(); action(); }
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-do]");
    if (!button) return;
    if (button.dataset.do === "theme") window.agentlabTheme();
    if (button.dataset.do === "help" && help) help.showModal();
  });
})();
