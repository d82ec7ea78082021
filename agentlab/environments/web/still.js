// Runs in each page of a secure site that is only looked at, before its own scripts: what a shared
// worker asks for can be stopped nowhere there. For honest pages, and no boundary.
(() => {
  try { Object.defineProperty(window, "SharedWorker", { value: undefined }); } catch {}
})();
