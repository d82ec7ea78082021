"""How an episode of a MiniWoB page begins, begins again and is judged: scripts run in the page.

They take away what belongs to the game and not to the task, the clock and the score, and change
nothing of what the page asks for. Nothing here is shown to an agent.
"""

from __future__ import annotations

_HANDLERS = """() => !window.jQuery || !jQuery._data ? 0 :
  [window, document, ...document.getElementsByTagName("*")].reduce((sum, element) =>
    sum + Object.values(jQuery._data(element, "events") || {}).flat().length, 0)"""
"""How many of jQuery's handlers there are."""
START = """(seed) => {
  if (typeof core === "undefined" || !core.cover_div || typeof genProblem === "undefined" ||
      (typeof WOB_TASK_READY !== "undefined" && !WOB_TASK_READY)) return null;
  const style = document.createElement("style");
  style.textContent = "#reward-display, #click-canvas { display: none !important; }";
  document.head.appendChild(style);
  if (window.jQuery) jQuery.fx.off = true;
  core.countdownTimer = () => {};
  document.body.removeEventListener("click", core.canvasDrawClick);
  core.EPISODE_MAX_TIME = 1e7;
  Math.seedrandom(String(seed));
  WOB_DONE_GLOBAL = false;
  core.startEpisodeReal();
  core.startEpisode = () => {};
  core.begunByHost = true;
  const display = document.getElementById("reward-display");
  core.atFirst = { display: display && display.innerHTML, handlers: (%s)() };
  const said = core.getUtterance();
  return typeof said === "string" ? said : String(said.utterance);
}""".replace("%s", _HANDLERS)
ONCE_MORE = """(seed) => {
  if (typeof core === "undefined" || !core.atFirst) return null;
  if (document.activeElement) document.activeElement.blur();
  for (const field of document.querySelectorAll("input, textarea")) {
    if (field.type === "checkbox" || field.type === "radio") field.checked = field.defaultChecked;
    else if (field.type !== "file") field.value = field.defaultValue;
  }
  const kept = new Set([window, document, ...document.getElementsByTagName("*")]);
  const target = EventTarget.prototype;
  const add = target.addEventListener, drop = target.removeEventListener;
  let added = 0;
  target.addEventListener = function (...rest) {
    added += kept.has(this);
    return add.apply(this, rest);
  };
  target.removeEventListener = function (...rest) {
    added -= kept.has(this);
    return drop.apply(this, rest);
  };
  try {
    Math.seedrandom(String(seed));
    WOB_DONE_GLOBAL = false;
    WOB_EPISODE_ID = 0;
    core.startEpisodeReal();
  } finally { target.addEventListener = add; target.removeEventListener = drop; }
  const display = document.getElementById("reward-display");
  if (display) display.innerHTML = core.atFirst.display;
  return added <= 0 && (%s)() === core.atFirst.handlers;
}""".replace("%s", _HANDLERS)
"""Begins the episode again in a page that has seen it; false where listeners have piled up."""
AGAIN = """(seeds) => seeds.map((seed) => {
  Math.seedrandom(String(seed));
  WOB_DONE_GLOBAL = false;
  core.startEpisodeReal();
  const said = core.getUtterance();
  return typeof said === "string" ? said : String(said.utterance);
})"""
VERDICT = """() => typeof core === "undefined" || !core.begunByHost
  ? [true, 0] : [WOB_DONE_GLOBAL === true, Number(WOB_RAW_REWARD_GLOBAL)]"""
"""Whether the episode is over, and its reward; none for a page that was left."""
