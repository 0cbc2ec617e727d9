// Changes only what differs, so that bars glide, focus stays and what was unfolded stays so.
export function update(element, html) {
  if (!element) return;
  if (element instanceof SVGElement) {
    element.innerHTML = html;
    return;
  }
  const next = document.createElement("div");
  next.innerHTML = html;
  morph(element, next);
}

function morph(from, to) {
  const before = [...from.childNodes];
  const after = [...to.childNodes];
  after.forEach((node, i) => {
    const old = before[i];
    if (!old) from.append(node);
    else if (old.nodeName !== node.nodeName) old.replaceWith(node);
    else if (old.nodeType === Node.TEXT_NODE) {
      if (old.data !== node.data) old.data = node.data;
    } else {
      dress(old, node);
      // what lies in a slot is a fragment of its own
      if (!("slot" in node.dataset)) morph(old, node);
    }
  });
  before.slice(after.length).forEach((node) => node.remove());
}

function dress(old, node) {
  const keeps = (name) => name === "data-touched" || (name === "open" && "touched" in old.dataset);
  for (const { name, value } of [...node.attributes]) {
    if (!keeps(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    if (!keeps(name) && !node.hasAttribute(name)) old.removeAttribute(name);
  }
}
