// <pocket-view data-scene='…'> is a <molecule-view> of a ligand with thin lines of the pocket around it, in data-scene
// under t: kinds of atoms [radius, colour], the kind, place and name of each atom, bonds, the radius of lines.
// P hides and shows the pocket; labels name its residues.
customElements.get('pocket-view') || customElements.define('pocket-view', class extends customElements.get('molecule-view') {
  start() {
    if (this.atoms) return;
    super.start();
    const { t } = JSON.parse(this.dataset.scene), first = this.atoms.length;
    this.ligand = { atoms: this.atoms, sticks: this.sticks };
    this.atoms = [...this.atoms, ...t.e.map((kind, k) => {
      const [r, hex] = t.s[kind], rgb = [1, 3, 5].map(i => (parseInt(hex.slice(i, i + 2), 16) / 255) ** 1.25);
      const [residue, name] = t.n[k];
      return { at: t.p.slice(3 * k, 3 * k + 3), r, rgb, symbol: '', name: name === 'CA' ? t.o[residue] : `${t.o[residue]} ${name}`,
        sign: '', near: [], silent: name !== 'CA' };
    })];
    this.sticks = [...this.sticks, ...t.b.map(([i, j]) => ({ i: i + first, j: j + first, order: 1, r: t.k, near: [],
      p: this.atoms[i + first].at, q: this.atoms[j + first].at }))];
    this.whole = { atoms: this.atoms, sticks: this.sticks };
  }

  unnamed(atom) { return atom.silent || super.unnamed(atom); }

  moves() {
    return { ...super.moves(), p: () => {
      Object.assign(this, this.atoms === this.whole.atoms ? this.ligand : this.whole);
      this.later();
    } };
  }
});
