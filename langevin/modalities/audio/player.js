// <sound-player> holds a spectrogram and an <audio>; this makes the picture the player. Rounds are played from decoded
// samples, because an <audio> that loops pauses at the seam.
customElements.get('sound-player') || customElements.define('sound-player', class extends HTMLElement {
  static style = `
    :host { display: block; width: 100%; container-type: inline-size; font: 12px/1.4 system-ui, sans-serif;
      font-variant-numeric: tabular-nums; user-select: none; -webkit-user-select: none; outline: none; }
    #face { position: relative; cursor: pointer; touch-action: pan-y; overflow: hidden; background: #080712; }
    ::slotted(img) { display: block !important; width: 100% !important; height: clamp(84px, 29cqw, 190px) !important; }
    ::slotted(audio) { display: none !important; }
    :host(:focus-visible) #face { box-shadow: inset 0 0 0 2px var(--accent, #2f55c8); }
    #line { position: absolute; inset: 0 auto 0 0; width: 0; border-left: 2px solid #fff; margin-left: -1px;
      box-shadow: 0 0 3px #000; opacity: 0; pointer-events: none; }
    :host([begun]) #line { opacity: 1; }
    #past { position: absolute; inset: 0; transform-origin: left; transform: scaleX(0); background: #fff; opacity: .1;
      pointer-events: none; }
    #heights i { position: absolute; left: 5px; transform: translateY(50%); font-style: normal; font-size: 10px;
      line-height: 1; color: #fff; text-shadow: 0 0 2px #000, 0 0 3px #000; opacity: .85; pointer-events: none; }
    #times { position: relative; height: 15px; margin-top: 2px; overflow: hidden; color: var(--muted, #63636c); font-size: 10px; }
    #times i { position: absolute; transform: translateX(-50%); font-style: normal; }
    #bar { display: flex; align-items: center; gap: 8px; padding: 0 8px 7px; color: var(--muted, #63636c); }
    button { flex: none; display: grid; place-items: center; width: 28px; height: 28px; padding: 0; border-radius: 50%;
      border: 1px solid var(--line, #d8d6d0); background: var(--paper, #fff); color: var(--accent, #2f55c8); cursor: pointer; }
    button:hover, button:focus-visible { border-color: var(--accent, #2f55c8); outline: none; }
    button[aria-pressed=true] { color: var(--paper, #fff); background: var(--accent, #2f55c8); }
    button:focus-visible { box-shadow: 0 0 0 2px var(--accent, #2f55c8); }
    svg { width: 12px; height: 12px; fill: currentColor; }
    #loop svg { width: 14px; height: 14px; fill: none; stroke: currentColor; stroke-width: 1.6; }
    #told { flex: 1; overflow: hidden; white-space: nowrap; text-overflow: ellipsis; }
    @container (max-width: 190px) { #loop, #about { display: none; } :host([data-loop]) #loop { display: grid; } }`;
  static playing = null;  // the one player of the page that sounds
  static context = null;

  connectedCallback() {
    const ready = () => this.shadowRoot || !this.isConnected || this.build();
    // While a page is read, an element is connected before its children are there.
    document.readyState === 'loading' ? document.addEventListener('DOMContentLoaded', ready, { once: true }) : ready();
  }

  build() {
    this.audio = this.querySelector('audio');
    this.audio.removeAttribute('controls');
    this.audio.loop = false;
    const [heights, times] = this.querySelector('template').innerHTML.split('<b></b>');
    const shadow = this.attachShadow({ mode: 'open' });
    shadow.innerHTML = `<style>${this.constructor.style}</style>
      <div id="face"><slot></slot><div id="past"></div><div id="heights">${heights}</div><div id="line"></div></div>
      <div id="times">${times}</div>
      <div id="bar"><button id="play" type="button" tabindex="-1"></button>
      <button id="loop" type="button" tabindex="-1" title="round and round" aria-label="round and round"><svg viewBox="0 0 16 16">
      <path d="M4 11.5A5 5 0 1 1 12.3 11M12.6 7.6V11.4H8.8"/></svg></button>
      <span id="told"><span id="time"></span><span id="about"></span></span></div>`;
    for (const name of ['face', 'line', 'past', 'play', 'loop', 'time', 'about']) this[name + '_'] = shadow.getElementById(name);
    this.about_.textContent = ` · ${this.dataset.about.split(' · ').slice(1).join(' · ')}`;
    this.tabIndex = 0;
    this.setAttribute('role', 'group');
    this.round = 'loop' in this.dataset;
    this.at = 0;
    this.play_.onclick = () => this.toggle();
    this.loop_.onclick = () => this.turn();
    this.face_.addEventListener('pointerdown', event => this.down(event));
    this.face_.addEventListener('pointermove', event => { if (this.held) this.moved(event); });
    this.face_.addEventListener('pointerup', event => this.up(event));
    this.face_.addEventListener('pointercancel', () => { this.held = null; });
    this.addEventListener('keydown', event => this.key(event));
    this.audio.addEventListener('ended', () => { this.stop(); this.at = 0; this.show(); });
    this.audio.addEventListener('loadedmetadata', () => this.show());
    this.audio.addEventListener('error', () => this.failed());
    this.show();
  }

  disconnectedCallback() { this.stop(); }

  get seconds() {
    const known = this.buffer ? this.buffer.duration : this.audio.duration;
    return Number.isFinite(known) && known > 0 ? known : parseFloat(this.dataset.about) || 1;
  }

  get sounding() { return this.constructor.playing === this; }

  get now() {
    if (!this.sounding) return this.at;
    if (this.source) return (this.at + this.constructor.context.currentTime - this.since) % this.seconds;
    return this.round ? this.at : this.audio.currentTime;
  }

  async start(at = this.at) {
    const own = this.constructor;
    own.playing?.stop();
    own.playing = this;
    this.at = at >= this.seconds - .005 ? 0 : at;
    this.toggleAttribute('begun', true);
    try {
      if (this.round) await this.spin();
      else { this.audio.currentTime = this.at; await this.audio.play(); }
    } catch (error) {
      if (this.sounding && error.name !== 'AbortError') return this.failed();
    }
    this.frame();
  }

  failed() {
    this.stop();
    this.time_.textContent = 'cannot be played here';
  }

  async spin() {
    const own = this.constructor;
    own.context ||= new AudioContext();
    await own.context.resume();
    if (!this.buffer) {
      const bytes = await (await fetch(this.audio.src)).arrayBuffer();
      this.buffer = await own.context.decodeAudioData(bytes);
    }
    if (!this.sounding) return;
    this.source = own.context.createBufferSource();
    this.source.buffer = this.buffer;
    this.source.loop = true;
    this.source.connect(own.context.destination);
    this.since = own.context.currentTime;
    this.source.start(0, this.at);
  }

  stop() {
    if (this.sounding) {
      this.at = this.now;
      this.constructor.playing = null;
    }
    this.audio?.pause();
    this.source?.stop();
    this.source = null;
    if (this.time_) this.show();
  }

  toggle() { this.sounding ? this.stop() : this.start(); }

  turn() {
    const again = this.sounding;
    this.stop();
    this.round = !this.round;
    again ? this.start() : this.show();
  }

  seek(at) {
    at = Math.max(0, Math.min(at, this.seconds));
    this.toggleAttribute('begun', true);
    if (this.sounding) this.start(at);
    else { this.at = at; this.show(); }
  }

  place(event) {
    const box = this.face_.getBoundingClientRect();
    return (event.clientX - box.left) / box.width * this.seconds;
  }

  down(event) {
    if (event.button) return;
    this.held = { x: event.clientX, moved: false, sounding: this.sounding };
    this.face_.setPointerCapture(event.pointerId);
  }

  moved(event) {
    if (Math.abs(event.clientX - this.held.x) < 4 && !this.held.moved) return;
    this.held.moved = true;
    this.stop();
    this.toggleAttribute('begun', true);
    this.at = Math.max(0, Math.min(this.place(event), this.seconds));
    this.show();
  }

  up(event) {
    const held = this.held;
    this.held = null;
    if (!held) return;
    this.focus({ preventScroll: true });
    if (held.sounding && !held.moved) this.stop();
    else this.start(this.place(event));
  }

  key(event) {
    const step = this.seconds / 20, key = event.key;
    const act = { ' ': () => this.toggle(), Enter: () => this.toggle(), ArrowLeft: () => this.seek(this.now - step),
      ArrowRight: () => this.seek(this.now + step), Home: () => this.seek(0), l: () => this.turn(), L: () => this.turn() }[key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  }

  frame() {
    cancelAnimationFrame(this.asked);
    this.show();
    if (this.sounding) this.asked = requestAnimationFrame(() => this.frame());
  }

  show() {
    const now = this.now, seconds = this.seconds, share = Math.min(1, now / seconds);
    this.line_.style.left = `${100 * share}%`;
    this.past_.style.transform = `scaleX(${this.hasAttribute('begun') ? share : 0})`;
    const told = s => seconds >= 60 ? `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, '0')}` : s.toFixed(2);
    this.time_.textContent = this.hasAttribute('begun') ? `${told(now)} / ${told(seconds)}${seconds >= 60 ? '' : ' s'}` :
      `${told(seconds)}${seconds >= 60 ? '' : ' s'}`;
    const shape = this.sounding ? 'M1 0h3.5v12H1zM7.5 0H11v12H7.5z' : 'M2 0l10 6-10 6z', word = this.sounding ? 'pause' : 'play';
    if (this.play_.title !== word) {
      this.play_.title = word;
      this.play_.setAttribute('aria-label', word);
      this.play_.innerHTML = `<svg viewBox="0 0 12 12"><path d="${shape}"/></svg>`;
    }
    this.loop_.setAttribute('aria-pressed', this.round);
  }
});
