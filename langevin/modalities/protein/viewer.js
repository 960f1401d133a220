// <protein-view data-scene='…'> holds a still picture; this draws the ribbon over it once a pointer or the focus is
// there. Sections, shade and light are those of drawing.py; turning.js is before this.
customElements.get('protein-view') || customElements.define('protein-view', class extends TurnedView {
  static shared = {};  // of each sample of the protein that was drawn last: depth, rung, normal, and how open it is
  static kind = '3-D protein';
  static hints = 'wheel zoom · L labels · C colours · 0 reset';
  static around = 16;

  start() {
    if (this.points) return;
    const scene = this.scene = JSON.parse(this.dataset.scene), { around } = this.constructor;
    const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0)).buffer;
    const data = bytes(scene.d), count = data.byteLength / 13, at = 8 * count;
    const centres = Float32Array.from(new Int16Array(data, 0, 3 * count), v => v * scene.u);
    const places = this.places = Float32Array.from(new Int16Array(bytes(scene.a)), v => v * scene.u);
    const sides = new Int8Array(data, at, 3 * count), halves = new Uint8Array(data, at + 3 * count);
    const residues = this.residues = new Uint16Array(data, 6 * count, count);
    this.radius = scene.r;
    this.lines = scene.m.flatMap(([protein, chain, first, n, insertion]) => Array.from({ length: n }, (_, k) =>
      ({ part: protein + ':' + chain, number: first + k, name: (protein ? `${protein + 1}: ` : '') + chain + (first + k) + insertion })));
    this.strips = [];  // first and last rung, tint
    let start = 0;
    scene.s.forEach((n, k) => { this.strips.push([start, start + n - 1, scene.t.length ? scene.t[k] : -1]); start += n; });
    const size = count * around;
    Object.assign(this, { points: new Float32Array(3 * size), normals: new Float32Array(3 * size), open: new Float32Array(size),
      now: new Float32Array(3 * size), facing: new Float32Array(3 * size), colours: new Float32Array(3 * count) });
    const sub = (v, i, j) => [v[3 * i] - v[3 * j], v[3 * i + 1] - v[3 * j + 1], v[3 * i + 2] - v[3 * j + 2]];
    const unit = ([x, y, z]) => { const n = Math.max(1e-9, Math.hypot(x, y, z)); return [x / n, y / n, z / n]; };
    const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
    const power = (v, e) => Math.sign(v) * Math.abs(v) ** e;
    for (const [first, last] of this.strips) {
      for (let k = first; k <= last; k++) {
        const along = unit(sub(centres, Math.min(k + 1, last), Math.max(k - 1, first)));
        const up = unit(cross(along, sides.subarray(3 * k, 3 * k + 3))), side = cross(up, along);
        const w = halves[2 * k] / 100, h = halves[2 * k + 1] / 100;
        const e = 1 - .4 * Math.min(1, Math.max(0, (w / Math.max(h, 1e-6) - 1) / 2));
        for (let j = 0; j < around; j++) {
          const angle = (j + .5) * 2 * Math.PI / around, c = Math.cos(angle), s = Math.sin(angle), v = 3 * (k * around + j);
          const x = w * power(c, e), y = h * power(s, e), a = power(c, 2 - e) / Math.max(w, .02), b = power(s, 2 - e) / Math.max(h, .02);
          this.normals.set(unit([0, 1, 2].map(d => a * side[d] + b * up[d])), v);
          for (let d = 0; d < 3; d++) this.points[v + d] = centres[3 * k + d] + x * side[d] + y * up[d];
        }
      }
      for (let k = first; k <= last; k++) for (let j = 0; j < around; j++) {  // across the slope, where a strip widens too
        const v = k * around + j, d = unit(sub(this.points, Math.min(k + 1, last) * around + j, Math.max(k - 1, first) * around + j));
        const n = [...this.normals.subarray(3 * v, 3 * v + 3)], dot = n[0] * d[0] + n[1] * d[1] + n[2] * d[2];
        const tip = !halves[2 * k] && !halves[2 * k + 1];  // of a round end
        this.normals.set(tip ? unit(sub(centres, k, k === first ? k + 1 : k - 1)) : unit(n.map((value, i) => value - dot * d[i])), 3 * v);
      }
    }
    this.shade(centres, places, residues);
    this.ready();
  }

  // how little of the sky near residues take from each point
  shade(centres, places, residues) {
    const { around } = this.constructor, { points, normals } = this, n = places.length / 3;
    for (let k = 0; k < residues.length; k++) {
      let near = [];
      for (let i = 0; i < n; i++) {
        const x = places[3 * i] - centres[3 * k], y = places[3 * i + 1] - centres[3 * k + 1], z = places[3 * i + 2] - centres[3 * k + 2];
        const square = x * x + y * y + z * z;
        if (square <= 144) near.push([square, i]);
      }
      near = near.sort((a, b) => a[0] - b[0]).slice(0, 29).map(([, i]) => i).filter(i => Math.abs(i - residues[k]) > 2);
      for (let j = 0; j < around; j++) {
        const v = 3 * (k * around + j);
        let shade = 0;
        for (const i of near) {
          const x = places[3 * i] - points[v], y = places[3 * i + 1] - points[v + 1], z = places[3 * i + 2] - points[v + 2];
          const facing = x * normals[v] + y * normals[v + 1] + z * normals[v + 2], square = Math.max(x * x + y * y + z * z, 1e-4);
          if (facing > 0) shade += facing / Math.sqrt(square) * Math.min(1, 5.29 / square);
        }
        this.open[v / 3] = Math.max(.4, 1 - .42 * shade);
      }
    }
  }

  reset() { this.paint(0); super.reset(); }
  moves() { return { c: () => { this.paint(this.mode + 1); this.told.textContent = this.scene.c[this.mode][0]; this.later(); } }; }

  // gives the rungs the colours of a mode
  paint(mode) {
    const { c, p } = this.scene, hex = c[this.mode = mode % c.length][1];
    const part = (text, i) => (parseInt(text.slice(i, i + 2), 16) / 255) ** 1.25;
    for (const [first, last, tint] of this.strips) for (let k = first; k <= last; k++) for (let d = 0; d < 3; d++)
      this.colours[3 * k + d] = tint < 0 ? part(hex, 6 * this.residues[k] + 2 * d) : part(p[tint], 1 + 2 * d);
  }

  buffers(n) {
    return { depth: new Float32Array(n), owner: new Int32Array(n), nx: new Float32Array(n), ny: new Float32Array(n), nz: new Float32Array(n),
      clear: new Float32Array(n) };
  }

  // the surface nearest to the reader; now holds column, row (of samples) and depth of each point
  surface(shared) {
    const { side, scale, depth, owner } = shared, { around } = this.constructor, m = this.turn, half = side / 2 - .5;
    const { points, normals, now, facing } = this;
    depth.fill(-1e9);
    owner.fill(-1);
    for (let v = 0; v < points.length; v += 3) {
      const x = points[v], y = points[v + 1], z = points[v + 2], a = normals[v], b = normals[v + 1], c = normals[v + 2];
      now[v] = half + scale * (m[0] * x + m[1] * y + m[2] * z);
      now[v + 1] = half - scale * (m[3] * x + m[4] * y + m[5] * z);
      now[v + 2] = m[6] * x + m[7] * y + m[8] * z;
      for (let d = 0; d < 3; d++) facing[v + d] = m[3 * d] * a + m[3 * d + 1] * b + m[3 * d + 2] * c;
    }
    for (const [first, last] of this.strips) for (let k = first; k < last; k++) for (let j = 0; j < around; j++) {
      const a = k * around + j, b = k * around + (j + 1) % around;
      this.triangle(shared, k, a, b, b + around);
      this.triangle(shared, k, a, b + around, a + around);
    }
  }

  triangle({ side, depth, owner, nx, ny, nz, clear }, rung, a, b, c) {
    const { now, facing, open } = this, i = 3 * a, j = 3 * b, k = 3 * c;
    const x = now[i], y = now[i + 1], bx = now[j] - x, by = now[j + 1] - y, cx = now[k] - x, cy = now[k + 1] - y;
    const area = bx * cy - cx * by;
    if (area > -1e-6) return;
    const left = Math.max(0, Math.ceil(x + Math.min(0, bx, cx))), right = Math.min(side - 1, Math.floor(x + Math.max(0, bx, cx)));
    const top = Math.max(0, Math.ceil(y + Math.min(0, by, cy))), foot = Math.min(side - 1, Math.floor(y + Math.max(0, by, cy)));
    const z = now[i + 2], bz = now[j + 2] - z, cz = now[k + 2] - z;
    for (let row = top; row <= foot; row++) for (let col = left; col <= right; col++) {
      const dx = col - x, dy = row - y, s = (dx * cy - dy * cx) / area, t = (dy * bx - dx * by) / area;
      if (s < -1e-6 || t < -1e-6 || s + t > 1.000001) continue;
      const at = row * side + col, height = z + s * bz + t * cz;
      if (height <= depth[at]) continue;
      const r = 1 - s - t;
      depth[at] = height;
      owner[at] = rung;
      nx[at] = r * facing[i] + s * facing[j] + t * facing[k];
      ny[at] = r * facing[i + 1] + s * facing[j + 1] + t * facing[k + 1];
      nz[at] = r * facing[i + 2] + s * facing[j + 2] + t * facing[k + 2];
      clear[at] = r * open[a] + s * open[b] + t * open[c];
    }
  }

  // adds the colour and the opacity of one sample to a sum of four
  light(col, row, { side, depth, owner, nx, ny, nz, clear, jump }, sum) {
    const at = row * side + col, k = owner[at];
    const z = depth[at], length = 1 / Math.max(1e-9, Math.sqrt(nx[at] * nx[at] + ny[at] * ny[at] + nz[at] * nz[at]));
    const x = nx[at] * length, y = ny[at] * length, to = nz[at] * length, open = clear[at];
    const front = TurnedView.front(depth, side, col, row, jump), contour = Math.min(1, Math.max(0, (front - z - .9) / 1.8));
    const soft = .5 + .5 * (-.42 * x + .58 * y + .70 * to);
    const glint = .22 * open * Math.max(0, -.23 * x + .31 * y + .92 * to) ** 30;
    const light = (.30 + .86 * soft * Math.sqrt(soft)) * open * (1 - .5 * contour);
    const alpha = 1 - .3 * Math.min(1, Math.max(0, .15 - z / this.radius));
    for (let c = 0; c < 3; c++) sum[c] += Math.min(1, this.colours[3 * k + c] * light + glint) * alpha;
    sum[3] += alpha;
  }

  write(pen, scale, sharp) {
    const m = this.turn, { places, lines } = this, texts = [];
    lines.forEach(({ part, number, name }, k) => {
      const end = lines[k - 1]?.part !== part || lines[k + 1]?.part !== part;
      if (!end && (number % 10 || lines.length > 600)) return;
      const [x, y, z] = places.subarray(3 * k, 3 * k + 3);
      texts.push([...[0, 3, 6].map(d => m[d] * x + m[d + 1] * y + m[d + 2] * z), end ? name : String(number)]);
    });
    this.label(pen, scale, sharp, texts);
  }

  called(rung) {
    const k = this.residues[rung], shape = { H: ', helix', E: ', strand' }[this.scene.l[k]] || '';
    const name = { A: 'Ala', C: 'Cys', D: 'Asp', E: 'Glu', F: 'Phe', G: 'Gly', H: 'His', I: 'Ile', K: 'Lys', L: 'Leu', M: 'Met', N: 'Asn',
      P: 'Pro', Q: 'Gln', R: 'Arg', S: 'Ser', T: 'Thr', V: 'Val', W: 'Trp', Y: 'Tyr' }[this.scene.q[k]] || 'any';
    return `${name} ${this.lines[k].name}${shape}`;
  }
});
