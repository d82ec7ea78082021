// Runs in each page before its own scripts. Takes away what would pass the proxy, remembers which
// elements listen to the mouse (nothing else tells that a plain box can be clicked), and counts
// changes of the document, so that one that is as it was need not be read again.
(() => {
  for (const name of ["RTCPeerConnection", "webkitRTCPeerConnection", "WebTransport"]) {
    try { Object.defineProperty(window, name, { value: undefined }); } catch {}
  }
  const heard = new WeakSet();
  const kinds = new Set(["click", "mousedown", "mouseup", "pointerdown", "dblclick", "touchstart"]);
  const listen = EventTarget.prototype.addEventListener;
  EventTarget.prototype.addEventListener = function (kind, ...rest) {
    if (kinds.has(kind) && this instanceof Element) heard.add(this);
    return listen.call(this, kind, ...rest);
  };
  Object.defineProperty(window, Symbol.for("agentlab.heard"), { value: heard });
  let changes = 0;
  const born = performance.timeOrigin; // another document of the same address has another
  const all = { subtree: true, childList: true, attributes: true, characterData: true };
  new MutationObserver(() => { changes += 1; }).observe(document, all);
  Object.defineProperty(window, Symbol.for("agentlab.changes"), { value: () => born + "/" + changes });
})();
