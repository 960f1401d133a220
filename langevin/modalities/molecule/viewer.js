// <molecule-view data-scene='…'> holds a still picture; this draws the molecule over it once a pointer or the
// focus is there. The geometry and the light are those of scene.py. Nothing but a 2-D canvas is needed.
customElements.get('molecule-view') || customElements.define('molecule-view', class extends HTMLElement {
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
  static shared = {};  // depth and owner of each sample of the molecule that was drawn last

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
    this.setAttribute('aria-roledescription', '3-D molecule');
    for (const kind of ['pointerenter', 'pointerleave', 'pointerdown', 'pointermove', 'pointerup', 'pointercancel',
      'focus', 'blur', 'keydown', 'dblclick'])
      this.addEventListener(kind, event => this['on_' + kind](event));
    this.addEventListener('wheel', event => {
      if (document.activeElement !== this) return;  // the page scrolls until the molecule was clicked
      event.preventDefault();
      this.zoomed(Math.exp(-event.deltaY * (event.deltaMode ? .03 : .0015)));
    }, { passive: false });
  }

  start() {
    if (this.atoms) return;
    const scene = JSON.parse(this.dataset.scene);
    this.radius = scene.r;
    this.atoms = scene.e.map((kind, k) => {
      const [symbol, r, hex] = scene.s[kind], charge = scene.q[k] || 0;
      const rgb = [1, 3, 5].map(i => (parseInt(hex.slice(i, i + 2), 16) / 255) ** 1.25);
      const sign = charge ? (Math.abs(charge) > 1 ? Math.abs(charge) : '') + (charge > 0 ? '+' : '−') : '';
      return { at: scene.p.slice(3 * k, 3 * k + 3), r, rgb, symbol, name: `${symbol}${scene.n ? scene.n[k] : k}`, sign };
    });
    this.sticks = [];
    for (const [i, j, order, ...away] of scene.b)
      for (const side of [[0], [-1, 1], [-1, 0, 1]][order - 1]) {
        const end = k => this.atoms[k].at.map((x, d) => x + (away.length ? side * away[d] : 0));
        this.sticks.push({ i, j, order, p: end(i), q: end(j), r: scene.k * [1, .6, .52][order - 1] });
      }
    const away = (a, b) => Math.hypot(...a.map((x, d) => x - b[d]));
    const near = (...ends) => this.atoms  // that shade it
      .map((atom, k) => [Math.min(...ends.map(end => away(atom.at, this.atoms[end].at))), k])
      .filter(([d, k]) => d < 2.9 && (ends.length > 1 || k !== ends[0]))
      .sort((a, b) => a[0] - b[0] || a[1] - b[1]).slice(0, 10).map(([, k]) => k);
    this.atoms.forEach((atom, k) => { atom.near = near(k); });
    this.sticks.forEach(stick => { stick.near = near(stick.i, stick.j); });
    this.onlyHydrogen = this.atoms.every(atom => atom.symbol === 'H');
    this.reset();
    new ResizeObserver(() => this.later()).observe(this);
  }

  reset() { this.turn = [1, 0, 0, 0, 1, 0, 0, 0, 1]; this.zoom = 1; this.names = false; this.bare = false; this.later(); }

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
    const step = rough ? 1 : 2, sharp = Math.min(window.devicePixelRatio || 1, rough ? 1.25 : 2.5), size = Math.round(width * sharp), side = size * step;
    const scale = side / 2 / this.radius * this.zoom, middle = side / 2, m = this.turn;
    const shared = this.constructor.shared, count = this.atoms.length;
    if (shared.side !== side)
      Object.assign(shared, { side, depth: new Float32Array(side * side), owner: new Int32Array(side * side) });
    const depth = shared.depth.fill(-1e9), owner = shared.owner.fill(-1);
    shared.view = this;
    const hides = atom => this.bare && !this.onlyHydrogen && atom.symbol === 'H';
    const placed = ([x, y, z]) => [0, 3, 6].map(k => m[k] * x + m[k + 1] * y + m[k + 2] * z);
    const column = x => Math.min(side, Math.max(0, Math.ceil(middle + x * scale - .5)));

    // the surface nearest to the reader
    this.atoms.forEach((atom, k) => {
      const [cx, cy, cz] = atom.now = placed(atom.at), r = atom.r;
      if (hides(atom)) return;
      for (let row = column(-cy - r); row < column(-cy + r); row++)
        for (let col = column(cx - r); col < column(cx + r); col++) {
          const x = (col + .5 - middle) / scale - cx, y = -(row + .5 - middle) / scale - cy, rest = r * r - x * x - y * y;
          if (rest < 0) continue;
          const z = cz + Math.sqrt(rest), at = row * side + col;
          if (z > depth[at]) { depth[at] = z; owner[at] = k; }
        }
    });
    this.sticks.forEach((stick, k) => {
      if (hides(this.atoms[stick.i]) || hides(this.atoms[stick.j])) return;
      const p = stick.from = placed(stick.p), q = placed(stick.q), r = stick.r;
      const length = stick.length = Math.hypot(q[0] - p[0], q[1] - p[1], q[2] - p[2]) || 1e-6;
      const a = stick.axis = p.map((x, d) => (q[d] - x) / length), flat = Math.hypot(a[0], a[1]);
      if (flat < 1e-3) return;
      const ux = a[0] / flat, uy = a[1] / flat;
      for (let row = column(-Math.max(p[1], q[1]) - r); row < column(-Math.min(p[1], q[1]) + r); row++)
        for (let col = column(Math.min(p[0], q[0]) - r); col < column(Math.max(p[0], q[0]) + r); col++) {
          const x = (col + .5 - middle) / scale - p[0], y = -(row + .5 - middle) / scale - p[1];
          const e = y * ux - x * uy, rest = r * r - e * e;
          if (rest < 0) continue;
          const h = Math.sqrt(rest), s = (x * ux + y * uy + h * a[2]) / flat;
          if (s < 0 || s > length) continue;
          const z = p[2] + s * a[2] + h * flat, at = row * side + col;
          if (z > depth[at]) { depth[at] = z; owner[at] = count + k; }
        }
    });

    // its light
    const image = new ImageData(size, size), out = image.data, sum = new Float32Array(4);
    const jump = Math.max(1, Math.round(step * sharp * .7));
    for (let y = 0; y < size; y++) for (let x = 0; x < size; x++) {
      sum.fill(0);
      for (let i = 0; i < step; i++) for (let j = 0; j < step; j++)
        this.light(x * step + j, y * step + i, shared, scale, jump, sum);
      if (!sum[3]) continue;
      const at = 4 * (y * size + x);
      for (let c = 0; c < 3; c++) out[at + c] = 255 * sum[c] / sum[3];
      out[at + 3] = 255 * sum[3] / (step * step);
    }
    this.canvas.width = this.canvas.height = size;
    const pen = this.canvas.getContext('2d');
    pen.putImageData(image, 0, 0);
    if (this.names) this.write(pen, size / side * scale, sharp, hides);
    this.canvas.hidden = false;
    this.toggleAttribute('drawn', true);
    this.slow = performance.now() - began > (rough ? 4 : 24);  // a fifth of the samples, or fewer
  }

  // adds the colour and the opacity of one sample to a sum of four
  light(col, row, { side, depth, owner }, scale, jump, sum) {
    const at = row * side + col, k = owner[at];
    if (k < 0) return;
    const x = (col + .5 - side / 2) / scale, y = -(row + .5 - side / 2) / scale, z = depth[at], count = this.atoms.length;
    const solid = k < count ? this.atoms[k] : this.sticks[k - count];
    let [cx, cy, cz] = solid.from || solid.now, rgb = solid.rgb;
    if (solid.from) {
      const a = solid.axis, s = (x - cx) * a[0] + (y - cy) * a[1] + (z - cz) * a[2];
      cx += s * a[0]; cy += s * a[1]; cz += s * a[2];
      rgb = this.atoms[s > solid.length / 2 ? solid.j : solid.i].rgb;
    }
    const nx = (x - cx) / solid.r, ny = (y - cy) / solid.r, nz = (z - cz) / solid.r;
    let shade = 0;
    for (const other of solid.near) {
      const { now, r } = this.atoms[other], dx = now[0] - x, dy = now[1] - y, dz = now[2] - z;
      const facing = dx * nx + dy * ny + dz * nz, square = Math.max(dx * dx + dy * dy + dz * dz, 1e-4);
      if (facing > 0) shade += facing / Math.sqrt(square) * Math.min(1, (r + .25) ** 2 / square);
    }
    let front = z;
    if (row >= jump) front = Math.max(front, depth[at - jump * side]);
    if (row < side - jump) front = Math.max(front, depth[at + jump * side]);
    if (col >= jump) front = Math.max(front, depth[at - jump]);
    if (col < side - jump) front = Math.max(front, depth[at + jump]);
    const contour = Math.min(1, Math.max(0, (front - z - .25) / .5)), clear = Math.max(.35, 1 - .55 * shade);
    const soft = .5 + .5 * (-.42 * nx + .58 * ny + .70 * nz);
    const glint = .34 * clear * Math.max(0, -.23 * nx + .31 * ny + .92 * nz) ** 40;
    const light = (.30 + .86 * soft ** 1.5) * clear * (1 - .55 * contour);
    const alpha = 1 - .3 * Math.min(1, Math.max(0, .15 - z / this.radius));
    for (let c = 0; c < 3; c++) sum[c] += Math.min(1, rgb[c] * light + glint) * alpha;
    sum[3] += alpha;
  }

  write(pen, scale, sharp, hides) {
    const style = getComputedStyle(this), middle = this.canvas.width / 2;
    pen.font = `600 ${Math.round(10 * sharp)}px system-ui, sans-serif`;
    pen.textAlign = 'center'; pen.textBaseline = 'middle'; pen.lineJoin = 'round'; pen.lineWidth = 3 * sharp;
    pen.fillStyle = style.color; pen.strokeStyle = style.getPropertyValue('--well') || '#fff';
    for (const atom of [...this.atoms].sort((a, b) => a.now[2] - b.now[2])) {
      if (hides(atom) || (atom.symbol === 'H' && !this.onlyHydrogen)) continue;
      const x = middle + atom.now[0] * scale, y = middle - atom.now[1] * scale, text = atom.name + atom.sign;
      pen.strokeText(text, x, y); pen.fillText(text, x, y);
    }
  }

  tell(event) {
    const { shared } = this.constructor, box = this.getBoundingClientRect();
    if (shared.view !== this) this.draw();
    if (shared.view !== this) return;
    const { side, owner } = shared, unit = side / box.width;
    const x = Math.floor((event.clientX - box.left) * unit), y = Math.floor((event.clientY - box.top) * unit);
    const k = x >= 0 && y >= 0 && x < side && y < side ? owner[y * side + x] : -1;
    const called = atom => atom.symbol + ' ' + atom.name.slice(atom.symbol.length) + (atom.sign && ' ' + atom.sign);
    let text = '';
    if (k >= this.atoms.length) {
      const { i, j, order } = this.sticks[k - this.atoms.length], [a, b] = [this.atoms[i], this.atoms[j]];
      text = `${a.name} ${'–=≡'[order - 1]} ${b.name}, ${Math.hypot(...a.at.map((v, d) => v - b.at[d])).toFixed(3)} Å`;
    } else if (k >= 0) text = called(this.atoms[k]);
    this.told.textContent = text;
    const left = Math.min(event.clientX - box.left + 10, box.width - this.told.offsetWidth - 2);
    this.told.style.left = Math.max(2, left) + 'px';
    this.told.style.top = Math.max(2, event.clientY - box.top - 24) + 'px';
    this.hint();
  }

  hint() {
    const focused = document.activeElement === this, quiet = this.fingers.size || this.told.textContent;
    const text = quiet || !(focused || this.over) ? ''
      : focused ? 'wheel zoom · L labels · H hydrogens · 0 reset' : 'drag to turn';
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
      l: () => { this.names = !this.names; this.later(); }, h: () => { this.bare = !this.bare; this.later(); },
      0: () => this.reset(), Home: () => this.reset(), Escape: () => this.blur(),
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!does) return;
    event.preventDefault();
    this.start();
    does();
  }
});
