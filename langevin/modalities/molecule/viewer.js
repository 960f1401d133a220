// <molecule-view data-scene='…'> holds a still picture; this draws the molecule over it once a pointer or the
// focus is there. The geometry and the light are those of scene.py; turning.js is before this.
customElements.get('molecule-view') || customElements.define('molecule-view', class extends TurnedView {
  static shared = {};  // depth and owner of each sample of the molecule that was drawn last
  static kind = '3-D molecule';
  static hints = 'wheel zoom · L labels · H hydrogens · 0 reset';

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
    this.ready();
  }

  reset() { this.bare = false; super.reset(); }
  moves() { return { h: () => { this.bare = !this.bare; this.later(); } }; }
  hides(atom) { return this.bare && !this.onlyHydrogen && atom.symbol === 'H'; }
  unnamed(atom) { return this.hides(atom) || (atom.symbol === 'H' && !this.onlyHydrogen); }
  buffers(n) { return { depth: new Float32Array(n), owner: new Int32Array(n) }; }

  // the surface nearest to the reader
  surface({ side, scale, depth, owner }) {
    const middle = side / 2, m = this.turn, count = this.atoms.length;
    depth.fill(-1e9);
    owner.fill(-1);
    const placed = ([x, y, z]) => [0, 3, 6].map(k => m[k] * x + m[k + 1] * y + m[k + 2] * z);
    const column = x => Math.min(side, Math.max(0, Math.ceil(middle + x * scale - .5)));
    this.atoms.forEach((atom, k) => {
      const [cx, cy, cz] = atom.now = placed(atom.at), r = atom.r;
      if (this.hides(atom)) return;
      for (let row = column(-cy - r); row < column(-cy + r); row++)
        for (let col = column(cx - r); col < column(cx + r); col++) {
          const x = (col + .5 - middle) / scale - cx, y = -(row + .5 - middle) / scale - cy, rest = r * r - x * x - y * y;
          if (rest < 0) continue;
          const z = cz + Math.sqrt(rest), at = row * side + col;
          if (z > depth[at]) { depth[at] = z; owner[at] = k; }
        }
    });
    this.sticks.forEach((stick, k) => {
      if (this.hides(this.atoms[stick.i]) || this.hides(this.atoms[stick.j])) return;
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
  }

  // adds the colour and the opacity of one sample to a sum of four
  light(col, row, { side, depth, owner, scale, jump }, sum) {
    const at = row * side + col, k = owner[at];
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
    const front = TurnedView.front(depth, side, col, row, jump);
    const contour = Math.min(1, Math.max(0, (front - z - .25) / .5)), clear = Math.max(.35, 1 - .55 * shade);
    const soft = .5 + .5 * (-.42 * nx + .58 * ny + .70 * nz);
    const glint = .34 * clear * Math.max(0, -.23 * nx + .31 * ny + .92 * nz) ** 40;
    const light = (.30 + .86 * soft ** 1.5) * clear * (1 - .55 * contour);
    const alpha = 1 - .3 * Math.min(1, Math.max(0, .15 - z / this.radius));
    for (let c = 0; c < 3; c++) sum[c] += Math.min(1, rgb[c] * light + glint) * alpha;
    sum[3] += alpha;
  }

  write(pen, scale, sharp) {
    const named = this.atoms.filter(atom => !this.unnamed(atom));
    this.label(pen, scale, sharp, named.map(atom => [...atom.now, atom.name + atom.sign]));
  }

  called(k) {
    if (k < this.atoms.length) {
      const { symbol, name, sign } = this.atoms[k];
      return symbol + ' ' + name.slice(symbol.length) + (sign && ' ' + sign);
    }
    const { i, j, order } = this.sticks[k - this.atoms.length], [a, b] = [this.atoms[i], this.atoms[j]];
    return `${a.name} ${'–=≡'[order - 1]} ${b.name}, ${Math.hypot(...a.at.map((v, d) => v - b.at[d])).toFixed(3)} Å`;
  }
});
