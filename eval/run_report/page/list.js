"use strict";
/* What the page's script is made of: a list of any length, and the difference of two texts. */

function node(name, css, text) {
  const made = document.createElement(name);
  if (css) made.className = css;
  if (text !== undefined) made.textContent = text;
  return made;
}

const MOST_LINES = 1500; // that are compared

/* A list of any length, of which only what can be seen is in the document. */
class List {
  constructor(box, height, draw, choose) {
    Object.assign(this, { box, height, draw, choose, items: [], selected: -1 });
    this.space = box.appendChild(node("div"));
    this.space.setAttribute("role", "presentation");
    box.addEventListener("scroll", () => this.show(), { passive: true });
    box.addEventListener("click", (event) => {
      const item = event.target.closest(".item");
      if (item) this.select(Number(item.dataset.at));
    });
    box.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.show()).observe(box);
  }

  set(items, selected) {
    this.items = items;
    this.selected = selected;
    this.space.style.height = `${items.length * this.height}px`;
    this.reveal();
    this.show();
  }

  show() {
    const first = Math.max(0, Math.floor(this.box.scrollTop / this.height) - 3);
    const last = Math.min(this.items.length, first + Math.ceil(this.box.clientHeight / this.height) + 7);
    const shown = [];
    for (let at = first; at < last; at++) {
      const item = node("div", "item");
      item.id = `${this.box.id}-${at}`;
      item.dataset.at = at;
      item.style.top = `${at * this.height}px`;
      item.style.height = `${this.height}px`;
      item.setAttribute("role", "option");
      item.setAttribute("aria-selected", String(at === this.selected));
      item.setAttribute("aria-setsize", this.items.length);
      item.setAttribute("aria-posinset", at + 1);
      this.draw(item, this.items[at]);
      shown.push(item);
    }
    this.space.replaceChildren(...shown);
    const isSeen = first <= this.selected && this.selected < last;
    this.box.setAttribute("aria-activedescendant", isSeen ? `${this.box.id}-${this.selected}` : "");
  }

  select(at) {
    if (!this.items.length) return;
    this.selected = Math.max(0, Math.min(this.items.length - 1, at));
    this.reveal();
    this.show();
    this.choose(this.items[this.selected]);
  }

  reveal() {
    const top = this.selected * this.height;
    const bottom = top + this.height;
    if (top < this.box.scrollTop) this.box.scrollTop = Math.max(0, top);
    else if (bottom > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = bottom - this.box.clientHeight;
  }

  key(event) {
    const page = Math.floor(this.box.clientHeight / this.height);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (!(event.key in moves)) return;
    event.preventDefault();
    this.select(this.selected + moves[event.key]);
  }
}

/* The lines of two texts: [" ", line] in both, ["-", line] in the first alone, ["+", line] in the second alone. */
function difference(one, other) {
  const a = one.split("\n").slice(0, MOST_LINES);
  const b = other.split("\n").slice(0, MOST_LINES);
  const wide = b.length + 1;
  const common = new Uint16Array((a.length + 1) * wide);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      const down = common[(i + 1) * wide + j];
      const right = common[i * wide + j + 1];
      common[i * wide + j] = a[i] === b[j] ? common[(i + 1) * wide + j + 1] + 1 : Math.max(down, right);
    }
  }
  const lines = [];
  const isCut = Math.max(one.split("\n").length, other.split("\n").length) > MOST_LINES;
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      lines.push([" ", a[i++]]);
      j++;
    } else if (j >= b.length || (i < a.length && common[(i + 1) * wide + j] >= common[i * wide + j + 1])) {
      lines.push(["-", a[i++]]);
    } else {
      lines.push(["+", b[j++]]);
    }
  }
  if (isCut) lines.push([" ", `… only the first ${MOST_LINES} lines are compared`]);
  return lines;
}
