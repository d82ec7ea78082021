// The forms of a page and what can be opened on it, by what a person would call their parts.
// Runs in the page, changes nothing.
(most) => {
  const words = (text) => String(text || "").replace(/\s+/g, " ").trim().slice(0, 80);
  const visible = (element) => element.getClientRects().length > 0;
  const own = (label) => {
    const copy = label.cloneNode(true);
    copy.querySelectorAll("input, select, textarea, button").forEach((part) => part.remove());
    return copy.textContent;
  };
  const label = (field) => words(
    field.getAttribute("aria-label") || (field.labels && field.labels[0] && own(field.labels[0]))
    || field.placeholder || field.title || field.name);
  const told = (field) => {
    const kind = field.tagName === "SELECT" ? "list" : field.tagName === "TEXTAREA" ? "text" : field.type;
    const part = { label: label(field), kind };
    if (field.required) part.required = true;
    if (kind === "list") part.options = [...field.options].slice(0, 12).map((o) => words(o.label));
    if (field.pattern) part.pattern = words(field.pattern);
    return part;
  };
  const path = (address) => { try { const url = new URL(address, location.href); return url.pathname.slice(0, 120); } catch { return ""; } };
  const SENDS = new Set(["submit", "image", "button", "reset"]);
  const closed = [...document.querySelectorAll('[aria-expanded="false"], [role="tab"][aria-selected="false"], details:not([open]) > summary')]
    .filter((e) => visible(e) && !e.disabled && e.tagName !== "A" && e.tagName !== "INPUT")
    .map((e) => words(e.getAttribute("aria-label") || e.innerText)).filter(Boolean);
  const forms = [...document.forms].filter(visible).slice(0, most).map((form) => {
    const parts = [...form.elements].filter((e) => visible(e) && e.tagName !== "FIELDSET" && e.tagName !== "OUTPUT");
    return {
      name: words(form.getAttribute("aria-label") || ""),
      method: (form.getAttribute("method") || "get").toUpperCase().slice(0, 8),
      leads_to: path(form.getAttribute("action") || location.href),
      fields: parts.filter((e) => e.tagName !== "BUTTON" && !SENDS.has(e.type)).slice(0, 30).map(told),
      buttons: parts.filter((e) => e.tagName === "BUTTON" || SENDS.has(e.type)).slice(0, 10)
        .map((e) => words(e.getAttribute("aria-label") || e.innerText || e.value)),
    };
  });
  return { forms, closed };
}
