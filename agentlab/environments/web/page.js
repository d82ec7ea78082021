// What of a page the accessibility tree does not tell. Runs in the page, changes nothing there.
// ask.pick: return the element of that description. Otherwise: return facts, as plain data.
(ask) => {
  const SHAPES = new Set(["circle", "rect", "ellipse", "polygon", "polyline", "path", "line", "image", "use", "g"]);
  const MOST = 80;
  const COLOURS = {
    "rgb(255, 0, 0)": "red", "rgb(0, 128, 0)": "green", "rgb(0, 0, 255)": "blue",
    "rgb(255, 255, 0)": "yellow", "rgb(0, 0, 0)": "black", "rgb(255, 255, 255)": "white",
    "rgb(128, 128, 128)": "grey", "rgb(255, 165, 0)": "orange", "rgb(128, 0, 128)": "purple",
    "rgb(255, 192, 203)": "pink", "rgb(0, 255, 255)": "aqua", "rgb(255, 0, 255)": "magenta",
    "rgb(0, 255, 0)": "lime", "rgb(165, 42, 42)": "brown", "rgb(0, 0, 128)": "navy",
    "rgb(128, 0, 0)": "maroon", "rgb(0, 128, 128)": "teal", "rgb(128, 128, 0)": "olive",
  };
  const colour = (text) => COLOURS[text] || text.replace(/\s+/g, "");
  const clear = (text) => text === "none" || text === "transparent" || /^rgba\(.*,\s*0\)$/.test(text);
  const words = (text) => String(text || "").replace(/\s+/g, " ").trim().slice(0, 60);

  const described = (element, style) => {
    const tag = element.tagName.toLowerCase();
    const parts = [tag];
    if (element.id && !/\d{3,}|[0-9a-f]{8}/i.test(element.id)) parts.push("#" + words(element.id));
    const classes = typeof element.className === "string" ? element.className
      : element.className && element.className.baseVal || "";
    for (const name of classes.split(/\s+/).filter(Boolean).slice(0, 3)) parts.push("." + name.slice(0, 40));
    if (element instanceof SVGElement) {
      if (!clear(style.fill)) parts.push("fill=" + colour(style.fill));
      else if (!clear(style.stroke)) parts.push("stroke=" + colour(style.stroke));
    } else if (!clear(style.backgroundColor)) parts.push("background=" + colour(style.backgroundColor));
    for (const name of ["data-color", "data-name", "data-value", "data-index", "data-type", "data-id", "data-action", "name", "type", "placeholder"]) {
      const value = element.getAttribute(name);
      if (value) parts.push(name.replace(/^data-/, "") + "=" + words(value));
    }
    return parts.join(" ");
  };

  const named = (element) =>
    words(element.getAttribute("aria-label") || element.getAttribute("alt") || element.getAttribute("title")
      || element.innerText || element.textContent || "");

  // What stands around something that has no text: of the smallest part of the page with any.
  const beside = (element) => {
    for (let around = element.parentElement, up = 0; around && around !== document.body && up < 6; around = around.parentElement, up += 1) {
      if (around.getElementsByTagName("*").length > 40) return [];
      const walker = document.createTreeWalker(around, NodeFilter.SHOW_TEXT);
      const texts = [];
      for (let seen = 0; seen < 100 && texts.length < 8 && walker.nextNode(); seen += 1) {
        const parent = walker.currentNode.parentElement;
        const text = words(walker.currentNode.data.slice(0, 200));
        // What is hidden, as the entries of a closed menu are, tells nobody what is meant.
        if (text && parent && !["SCRIPT", "STYLE"].includes(parent.tagName) && parent.checkVisibility()) texts.push(text);
      }
      if (texts.length) return texts;
    }
    return [];
  };

  const heard = window[Symbol.for("agentlab.heard")] || new WeakSet();
  const NATIVE = new Set(["input", "select", "textarea", "option", "svg", "body", "html", "iframe", "label", "form"]);
  const iconic = /(^|[-_ ])(icon|handle|slider|drag|btn|button|swatch|star)/i;

  const unnamed = () => {
    const found = [];
    let left = 0;
    for (const element of document.querySelectorAll("body *")) {
      if (!(element instanceof HTMLElement || element instanceof SVGElement)) continue;
      const tag = element.tagName.toLowerCase();
      if (NATIVE.has(tag)) continue;
      const drawn = element instanceof SVGElement;
      const listens = heard.has(element) || element.onclick;
      if (drawn ? !(SHAPES.has(tag) && tag !== "g") && !listens : tag === "a" && element.href) continue;
      const style = getComputedStyle(element);
      if (style.visibility === "hidden" || style.display === "none" || style.pointerEvents === "none") continue;
      const acts = drawn || listens || element.draggable && tag !== "img" || element.hasAttribute("tabindex")
        || tag === "button" || tag === "canvas"
        || style.cursor === "pointer" && (!element.parentElement || getComputedStyle(element.parentElement).cursor !== "pointer")
        || iconic.test(element.getAttribute("class") || "");
      if (!acts) continue;
      const name = named(element); // dear: it lays the page out
      if (tag === "button" && name) continue;
      // What has a text is told only where its listener or the mouse says that it acts.
      if (name && (!(listens || style.cursor === "pointer") || name.length > 60)) continue;
      if (!drawn && element.getElementsByTagName("*").length > 12) continue;
      const box = element.getBoundingClientRect();
      if (box.width < 1 && box.height < 1) continue;
      if (found.length >= MOST) { left += 1; continue; }
      const hue = drawn ? (clear(style.fill) ? style.stroke : style.fill) : style.backgroundColor;
      found.push({ element, drawn, text: name, name: name || described(element, style), x: Math.round(box.x + box.width / 2),
        y: Math.round(box.y + box.height / 2), width: Math.round(box.width), height: Math.round(box.height),
        colour: clear(hue) ? "" : colour(hue), beside: name ? [] : beside(element) });
    }
    const total = new Map(), counts = new Map();
    for (const each of found) total.set(each.name, (total.get(each.name) || 0) + 1);
    for (const each of found) {
      const name = each.name, count = (counts.get(name) || 0) + 1;
      counts.set(name, count);
      if (total.get(name) > 1) each.name = name + " #" + count;
    }
    return { found, left };
  };

  if (ask.pick !== undefined) {
    const hit = unnamed().found.find((each) => each.name === ask.pick);
    return hit ? hit.element : null;
  }

  const all = document.getElementsByTagName("*");
  const large = all.length > ask.most_nodes;
  const facts = { nodes: all.length, large, title: words(document.title), ready: document.readyState,
    passwords: [], unnamed: [], left: 0, outline: "", mark: "", height: document.documentElement.scrollHeight,
    top: Math.round(window.scrollY), changes: "" };

  if (large) {
    // Too much for a tree: what can be used, and the beginning of the text.
    const lines = [];
    let length = 0;
    for (const element of document.querySelectorAll("h1,h2,h3,button,a[href],input,select,textarea,[role]")) {
      if (length > ask.most_outline) break;
      const line = "- " + element.tagName.toLowerCase() + " " + JSON.stringify(named(element));
      lines.push(line); length += line.length;
    }
    const walker = document.createTreeWalker(document.body || document.documentElement, NodeFilter.SHOW_TEXT);
    const texts = [];
    let size = 0;
    while (size < ask.most_outline && walker.nextNode()) {
      const parent = walker.currentNode.parentElement;
      if (parent && ["SCRIPT", "STYLE"].includes(parent.tagName)) continue;
      const text = walker.currentNode.data.replace(/\s+/g, " ").trim().slice(0, 500);
      if (text) { texts.push(text); size += text.length; }
    }
    facts.outline = lines.join("\n") + "\n- text: " + texts.join(" ");
    facts.mark = "large " + all.length;
    return facts;
  }

  // Changes within other roots or frames are not counted: then nothing is said of them.
  const parted = window.frames.length > 0 || [...all].some((element) => element.shadowRoot);
  const count = window[Symbol.for("agentlab.changes")];
  facts.changes = parted || !count ? "" : count();

  const { found, left } = unnamed();
  facts.unnamed = found.map(({ element, ...rest }) => rest);
  facts.left = left;
  const values = [];
  for (const field of document.querySelectorAll("input,select,textarea")) {
    if (field.type === "password") { if (field.value) facts.passwords.push(field.value); }
    values.push([field.value, field.checked === true, field.selectedIndex]);
  }
  if (!ask.mark) return facts;

  // Tells states apart: the document, what fields hold, where the focus is, plain global values.
  const globals = [];
  for (const name of Object.keys(window)) {
    let value;
    try { value = window[name]; } catch { continue; }
    if (Array.isArray(value)) {
      try { globals.push(name + "=" + JSON.stringify(value).slice(0, 500)); } catch {}
    } else if (["string", "number", "boolean"].includes(typeof value) && !/^(scroll|page|screen|inner|outer|length|name$|status|devicePixel|origin|event|closed|isSecure|crossOrigin|performance)/.test(name))
      globals.push(name + "=" + String(value).slice(0, 200));
  }
  const active = document.activeElement;
  const place = active ? [...all].indexOf(active) : -1;
  const text = JSON.stringify([location.href, ((document.documentElement || {}).outerHTML || "").replaceAll(' style=""', ""), values, place, globals.sort(),
    Math.round(window.scrollX), Math.round(window.scrollY)]);
  let h1 = 0xdeadbeef, h2 = 0x41c6ce57;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    h1 = Math.imul(h1 ^ c, 2654435761);
    h2 = Math.imul(h2 ^ c, 1597334677);
  }
  facts.mark = (h1 >>> 0).toString(16) + (h2 >>> 0).toString(16) + "/" + text.length;
  return facts;
}
