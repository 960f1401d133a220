// The frame of elements that hold a still picture and draw over it, on a plain 2-D canvas, what they can turn once a
// pointer or the focus is there. One that extends it gives: start(), which reads the scene and sets radius; buffers(n);
// surface(shared), which fills depth and owner; light(col, row, shared, sum), the colour of a sample; called(owner), its
// name; write(pen, scale, sharp), its labels; and moves(), what further keys do.
globalThis.TurnedView ||= class extends HTMLElement {
  static style = `
    :host { display: block; position: relative; width: 100%; aspect-ratio: 1; cursor: grab; touch-action: pan-y;
      user-select: none; -webkit-user-select: none; }
    :host(:focus) { touch-action: none; outline: none; }
    :host(:focus-visible) { outline: 2px solid var(--accent, #2f55c8); outline-offset: -2px; border-radius: 6px; }
    :host(:active) { cursor: grabbing; }
    canvas { position: absolute; inset: 0; width: 100%; height: 100%; }
    :host([drawn]) ::slotted(img) { visibility: hidden; }
    p { position: absolute; box-sizing: border-box; margin: 0; padding: 1px 6px; border-radius: 6px; font: 11px/1.5 system-ui, sans-serif;
      pointer-events: none; color: var(--ink, #1d1d20); background: var(--paper, #fff); box-shadow: 0 0 2px rgb(0 0 0 / .5); }
    p:empty { display: none; }
    #told { white-space: nowrap; z-index: 1; }
    #keys { left: 50%; bottom: 5px; width: max-content; max-width: calc(100% - 8px); transform: translateX(-50%);
      text-align: center; font-size: 10px; text-wrap: balance; animation: away .5s 4s forwards; }
    @keyframes away { to { opacity: 0; } }`;

  connectedCallback() {
    if (this.shadowRoot) return;
    const shadow = this.attachShadow({ mode: 'open' });
    shadow.innerHTML = `<style>${this.constructor.style}</style><slot></slot><canvas hidden></canvas>` +
      '<p id="told"></p><p id="keys"></p>';
    this.canvas = shadow.querySelector('canvas');
    this.told = shadow.getElementById('told');
    this.keys = shadow.getElementById('keys');
    this.fingers = new Map();
    this.tabIndex = 0;
    this.setAttribute('role', 'application');
    this.setAttribute('aria-roledescription', this.constructor.kind);
    for (const kind of ['pointerenter', 'pointerleave', 'pointerdown', 'pointermove', 'pointerup', 'pointercancel',
      'focus', 'blur', 'keydown', 'dblclick'])
      this.addEventListener(kind, event => this['on_' + kind](event));
    this.addEventListener('wheel', event => {
      if (document.activeElement !== this) return;  // the page scrolls until the picture was clicked
      event.preventDefault();
      this.zoomed(Math.exp(-event.deltaY * (event.deltaMode ? .03 : .0015)));
    }, { passive: false });
  }

  // after start()
  ready() {
    this.reset();
    new ResizeObserver(() => this.later()).observe(this);
  }

  reset() { this.turn = [1, 0, 0, 0, 1, 0, 0, 0, 1]; this.zoom = 1; this.names = false; this.later(); }

  later(moving = false) {
    this.moving = moving;
    clearTimeout(this.timer);
    if (moving) this.timer = setTimeout(() => this.later(), 160);
    this.asked ||= requestAnimationFrame(() => { this.asked = 0; this.draw(); });
  }

  turned(x, y, z = 0) {
    for (const [angle, i, j] of [[x, 1, 2], [y, 2, 0], [z, 0, 1]]) {
      const c = Math.cos(angle), s = Math.sin(angle), m = this.turn;
      for (let k = 0; k < 3; k++)
        [m[3 * i + k], m[3 * j + k]] = [c * m[3 * i + k] - s * m[3 * j + k], s * m[3 * i + k] + c * m[3 * j + k]];
    }
    this.later(true);
  }

  zoomed(factor) { this.zoom = Math.min(8, Math.max(.4, this.zoom * factor)); this.later(true); }

  draw() {
    const width = this.clientWidth, rough = this.moving && this.slow, began = performance.now();
    if (!width) return;
    const step = rough ? 1 : 2, sharp = Math.min(window.devicePixelRatio || 1, rough ? Math.min(1.25, 420 / width) : 2.5), size = Math.round(width * sharp), side = size * step;
    const scale = side / 2 / this.radius * this.zoom, jump = Math.max(1, Math.round(step * sharp * .7));
    const shared = this.constructor.shared;
    if (shared.side !== side) Object.assign(shared, { side, ...this.buffers(side * side) });
    Object.assign(shared, { view: this, scale, jump });
    this.surface(shared);
    const { owner } = shared, image = new ImageData(size, size), out = image.data, sum = new Float32Array(4);
    for (let y = 0; y < size; y++) for (let x = 0; x < size; x++) {
      sum.fill(0);
      for (let i = 0; i < step; i++) for (let j = 0; j < step; j++)
        if (owner[(y * step + i) * side + x * step + j] >= 0) this.light(x * step + j, y * step + i, shared, sum);
      if (!sum[3]) continue;
      const at = 4 * (y * size + x);
      for (let c = 0; c < 3; c++) out[at + c] = 255 * sum[c] / sum[3];
      out[at + 3] = 255 * sum[3] / (step * step);
    }
    this.canvas.width = this.canvas.height = size;
    const pen = this.canvas.getContext('2d');
    pen.putImageData(image, 0, 0);
    if (this.names) this.write(pen, size / side * scale, sharp);
    this.canvas.hidden = false;
    this.toggleAttribute('drawn', true);
    this.slow = performance.now() - began > (rough ? 4 : 24);  // a fifth of the samples, or fewer
  }

  // the nearest surface at a sample or one beside it
  static front(depth, side, col, row, jump) {
    const at = row * side + col;
    let front = depth[at];
    if (row >= jump) front = Math.max(front, depth[at - jump * side]);
    if (row < side - jump) front = Math.max(front, depth[at + jump * side]);
    if (col >= jump) front = Math.max(front, depth[at - jump]);
    if (col < side - jump) front = Math.max(front, depth[at + jump]);
    return front;
  }

  // texts [x, y, z, text] in Å over the picture, those in front last
  label(pen, scale, sharp, texts) {
    const style = getComputedStyle(this), middle = this.canvas.width / 2;
    pen.font = `600 ${Math.round(10 * sharp)}px system-ui, sans-serif`;
    pen.textAlign = 'center'; pen.textBaseline = 'middle'; pen.lineJoin = 'round'; pen.lineWidth = 3 * sharp;
    pen.fillStyle = style.color; pen.strokeStyle = style.getPropertyValue('--well') || '#fff';
    for (const [x, y, , text] of texts.sort((a, b) => a[2] - b[2])) {
      pen.strokeText(text, middle + x * scale, middle - y * scale);
      pen.fillText(text, middle + x * scale, middle - y * scale);
    }
  }

  tell(event) {
    const { shared } = this.constructor, box = this.getBoundingClientRect();
    if (shared.view !== this) this.draw();
    if (shared.view !== this) return;
    const { side, owner } = shared, unit = side / box.width;
    const x = Math.floor((event.clientX - box.left) * unit), y = Math.floor((event.clientY - box.top) * unit);
    const k = x >= 0 && y >= 0 && x < side && y < side ? owner[y * side + x] : -1;
    this.told.textContent = k < 0 ? '' : this.called(k);
    const left = Math.min(event.clientX - box.left + 10, box.width - this.told.offsetWidth - 2);
    this.told.style.left = Math.max(2, left) + 'px';
    this.told.style.top = Math.max(2, event.clientY - box.top - 24) + 'px';
    this.hint();
  }

  hint() {
    const focused = document.activeElement === this, quiet = this.fingers.size || this.told.textContent;
    const text = quiet || !(focused || this.over) ? '' : focused ? this.constructor.hints : 'drag to turn';
    if (this.keys.textContent !== text) this.keys.replaceWith(this.keys = Object.assign(this.keys.cloneNode(), { textContent: text }));
  }

  on_pointerenter() { this.over = true; this.start(); this.hint(); }
  on_pointerleave() { this.over = false; this.told.textContent = ''; this.hint(); }
  on_focus() { this.start(); this.hint(); }
  on_blur() { this.hint(); }
  on_dblclick() { this.reset(); }
  on_pointerdown(event) {
    if (event.button) return;
    this.start();
    this.focus({ preventScroll: true, focusVisible: false });
    this.fingers.set(event.pointerId, [event.clientX, event.clientY]);
    try { this.setPointerCapture(event.pointerId); } catch { /* a pointer that a script made */ }
    this.told.textContent = '';
    this.hint();
  }
  on_pointermove(event) {
    const before = this.fingers.get(event.pointerId), now = [event.clientX, event.clientY];
    if (!before) { this.start(); this.tell(event); return; }
    if (this.fingers.size === 2) {
      const other = [...this.fingers].find(([id]) => id !== event.pointerId)[1];
      const apart = at => Math.hypot(at[0] - other[0], at[1] - other[1]) || 1;
      this.zoomed(apart(now) / apart(before));
    } else {
      const unit = Math.PI / this.clientWidth;
      this.turned((now[1] - before[1]) * unit, (now[0] - before[0]) * unit);
    }
    this.fingers.set(event.pointerId, now);
  }
  on_pointerup(event) { if (this.fingers.delete(event.pointerId)) this.tell(event); }
  on_pointercancel(event) { this.fingers.delete(event.pointerId); this.hint(); }
  on_keydown(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const roll = event.shiftKey, does = {
      ArrowLeft: () => roll ? this.turned(0, 0, .15) : this.turned(0, -.15),
      ArrowRight: () => roll ? this.turned(0, 0, -.15) : this.turned(0, .15),
      ArrowUp: () => this.turned(-.15, 0), ArrowDown: () => this.turned(.15, 0),
      '+': () => this.zoomed(1.15), '=': () => this.zoomed(1.15), '-': () => this.zoomed(1 / 1.15),
      l: () => { this.names = !this.names; this.later(); }, ...this.moves(),
      0: () => this.reset(), Home: () => this.reset(), Escape: () => this.blur(),
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!does) return;
    event.preventDefault();
    this.start();
    does();
  }
};
