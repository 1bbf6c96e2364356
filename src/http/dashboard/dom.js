// Making and keeping elements. Whatever the service says becomes text, never markup.

/** The element of the page with this id. */
export function at(id) {
  return document.getElementById(id);
}

/** An element with properties (`data-…`, `aria-…` and the like as attributes) and children. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name === "class") element.className = value;
    else if (name in element && !name.includes("-")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Sets a text, if it is another one: what does not change is not said again. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Sets an attribute, if it is another one; null takes it away. */
export function mark(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Sets a pill: what it says, and in which tone. */
export function tell(pill, text, tone) {
  say(pill, text);
  mark(pill, "data-tone", tone);
}

/**
 * Makes the children of an element those of some items, in their order. An item that was there keeps its element, and
 * with it the focus and whatever is open in it.
 */
export function keep(parent, items, keyOf, create, update = () => {}) {
  const known = (parent.kept ??= new Map());
  const wanted = new Map(items.map((item) => [keyOf(item), item]));
  for (const [key, element] of known) {
    if (wanted.has(key)) continue;
    element.remove();
    known.delete(key);
  }
  let place = parent.firstElementChild;
  for (const [key, item] of wanted) {
    let element = known.get(key);
    if (!element) known.set(key, (element = create(item)));
    update(element, item);
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
}

/** The first characters of an id, with all of them to be copied. */
export function shortId(id) {
  return make("span", { class: "id", title: id }, brief(id));
}

/** The first characters of an id. */
export function brief(id) {
  return id.slice(0, id.startsWith("0x") ? 10 : 8);
}

/** A button that copies a text, where the browser lets a page do that. */
export function copier(what, textOf) {
  if (!navigator.clipboard) return null;
  const button = make("button", { type: "button", class: "small", "aria-label": `Copy ${what}` }, "Copy");
  button.addEventListener("click", async () => {
    const copied = await navigator.clipboard.writeText(textOf()).then(
      () => true,
      () => false,
    );
    button.textContent = copied ? "Copied" : "No access";
    at("said").textContent = copied ? `${what} copied` : `${what} cannot be copied`;
    setTimeout(() => {
      button.textContent = "Copy";
    }, 1500);
  });
  return button;
}

/** What is shown where there is nothing yet, and why. */
export function empty(title, why) {
  return make("p", { class: "empty" }, make("strong", {}, title), why);
}
