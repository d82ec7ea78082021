// Before anything is drawn: the theme that was chosen here, or what the system prefers.
"use strict";
(() => {
  const root = document.documentElement;
  const kept = () => {
    try { return localStorage.getItem("agentlab-theme") || "auto"; } catch { return "auto"; }
  };
  root.dataset.theme = kept();
  window.agentlabTheme = () => {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const now = root.dataset.theme === "auto" ? (dark ? "dark" : "light") : root.dataset.theme;
    root.dataset.theme = now === "dark" ? "light" : "dark";
    try { localStorage.setItem("agentlab-theme", root.dataset.theme); } catch { /* kept for now */ }
    document.dispatchEvent(new Event("agentlab:theme"));
  };
})();
