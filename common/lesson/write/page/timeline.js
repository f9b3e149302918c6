/* What each worker did when: a lane for each worker of each configuration, on one scale of time.
 *
 * It is a canvas, and draws only what can be seen: within a lane the events of a kind follow each
 * other, so the first visible one is found by halving, and what is narrower than a pixel is drawn
 * once a pixel. Kinds differ by colour and by pattern.
 */
const KINDS = [
  {name: 'task', colour: '--task', pattern: 'solid'},
  {name: 'chunk', colour: '--chunk', pattern: 'frame'},
  {name: 'copying arguments to the workers', colour: '--copy-in', pattern: 'rising'},
  {name: 'copying results back', colour: '--copy-out', pattern: 'falling'},
  {name: 'waiting for the GIL', colour: '--wait', pattern: 'dots'},
  {name: 'holding the GIL', colour: '--held', pattern: 'foot'},
];
const TASK = 0;
const WAIT = 4;
/* The order of drawing: first the two that enclose others; a task may wait for the GIL within. */
const BEHIND = [1, 5, 2, 3, TASK, WAIT];
const ENCLOSING = 2;

function colourOf(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/* A small tile that fillStyle repeats. */
function tile(kind, scale) {
  const size = 6 * scale, canvas = document.createElement('canvas');
  canvas.width = canvas.height = size;
  const pen = canvas.getContext('2d');
  pen.strokeStyle = pen.fillStyle = colourOf(kind.colour);
  pen.lineWidth = 2 * scale;
  if (kind.pattern === 'dots') {
    pen.fillRect(0, 0, size / 2, size / 2);
    pen.fillRect(size / 2, size / 2, size / 2, size / 2);
  } else {
    const up = kind.pattern === 'rising';
    for (const shift of [-size, 0, size]) {
      pen.beginPath();
      pen.moveTo(shift, up ? size : 0);
      pen.lineTo(shift + size, up ? 0 : size);
      pen.stroke();
    }
  }
  return pen.createPattern(canvas, 'repeat');
}

/* One event as a box. */
function drawKind(pen, kind, fill, x, y, width, height) {
  pen.fillStyle = fill;
  if (kind.pattern === 'frame') {
    pen.globalAlpha = 0.25;
    pen.fillRect(x, y, width, height);
    pen.globalAlpha = 1;
    pen.fillRect(x, y, width, 1);
    pen.fillRect(x, y + height - 1, width, 1);
    pen.fillRect(x, y, 1, height);
  } else if (kind.pattern === 'foot') {
    pen.fillRect(x, y + height * 0.8, width, height * 0.2);
  } else if (kind.pattern === 'solid') {
    const gap = width > 3 ? 1 : 0; /* neighbours stay apart */
    pen.fillRect(x, y + height * 0.15, width - gap, height * 0.6);
  } else {
    pen.fillRect(x, y, width, height);
  }
}

/* The index of the first event that ends after `time`; they are in order and do not overlap. */
function firstAfter(events, time) {
  let low = 0, high = events.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (events[middle].end <= time) low = middle + 1; else high = middle;
  }
  return low;
}

/* For how long the events were within this other one. */
function overlap(events, other) {
  let sum = 0;
  for (let i = firstAfter(events, other.begin); i < events.length && events[i].begin < other.end; i++)
    sum += Math.min(events[i].end, other.end) - Math.max(events[i].begin, other.begin);
  return sum;
}

/* A lane: its events of each kind, in order. */
function makeLanes(group) {
  const lanes = group.timeline.rows.map(name => ({name, group, kinds: KINDS.map(() => [])}));
  for (const [row, kind, index, begin, end] of group.timeline.events)
    lanes[row].kinds[kind].push({kind, index, begin, end});
  for (const lane of lanes) {
    lane.all = lane.kinds.flat().sort((a, b) => a.begin - b.begin || b.end - a.end);
    const tasks = lane.kinds[TASK];
    const length = events => events.reduce((sum, event) => sum + event.end - event.begin, 0);
    const busy = length(tasks) - lane.kinds[WAIT].reduce((sum, wait) => sum + overlap(tasks, wait), 0);
    lane.label = tasks.length === 0 ? lane.name : `${lane.name}: ${plural(tasks.length, 'task')}, `
      + `${(100 * busy / group.timeline.wall_s).toFixed(0)} % of the time`;
  }
  return lanes;
}

function plural(count, word) {
  return `${count} ${word}${count === 1 ? '' : 's'}`;
}

class Timeline {
  constructor(title, groups) {
    this.lanes = groups.flatMap(makeLanes);
    this.groups = groups;
    this.total = Math.max(...groups.map(group => group.timeline.wall_s),
      ...this.lanes.map(lane => lane.all.length ? lane.all[lane.all.length - 1].end : 0)) || 1e-9;
    this.view = {begin: 0, end: this.total};
    this.pointers = new Map();
    this.selected = null;
    this.canvas = make('canvas', {tabindex: 0, role: 'application',
      'aria-label': `Timeline of ${title}. Left and right: the task before and after; up and down: `
        + 'another worker; plus and minus: zoom; Shift with left and right: move; Home: everything.'},
      make('ul', {}, ...this.lanes.map(lane => make('li', {}, `${lane.group.name}, ${lane.label}`))));
    this.tip = make('div', {class: 'tip', role: 'status'});
    this.element = make('div', {class: 'timeline'}, this.makeTools(), this.canvas, this.makeLegend(),
      this.tip);
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  makeTools() {
    const button = (text, label, action) => {
      const made = make('button', {type: 'button', 'aria-label': label, title: label}, text);
      made.addEventListener('click', action);
      return made;
    };
    return make('div', {class: 'tools'}, button('+', 'Zoom in', () => this.zoom(0.5)),
      button('−', 'Zoom out', () => this.zoom(2)), button('←', 'Earlier', () => this.move(-0.25)),
      button('→', 'Later', () => this.move(0.25)), button('All', 'Everything', () => this.home()),
      make('span', {class: 'soft'}, 'Wheel, pinch or + − zoom, dragging moves; the arrow keys go from '
        + 'task to task.'));
  }

  makeLegend() {
    const used = KINDS.map((_, kind) => this.lanes.some(lane => lane.kinds[kind].length));
    this.samples = [];
    return make('ul', {class: 'legend'}, ...KINDS.flatMap((kind, i) => {
      if (!used[i]) return [];
      const sample = make('canvas', {width: 66, height: 30, 'aria-hidden': 'true'});
      this.samples.push([sample, kind]);
      return [make('li', {}, sample, kind.name)];
    }), make('li', {class: 'soft'}, 'empty: idle'));
  }

  /* ---- Drawing ---- */

  /* Several changes in one frame are one drawing. */
  draw() {
    if (!this.due) this.due = requestAnimationFrame(() => { this.due = 0; this.drawNow(); });
  }

  drawNow() {
    const width = this.canvas.clientWidth, scale = window.devicePixelRatio || 1;
    if (!width) return;
    const pen = this.canvas.getContext('2d');
    const em = parseFloat(getComputedStyle(this.canvas).fontSize);
    const family = getComputedStyle(this.canvas).fontFamily;
    this.width = width;
    const height = this.place(em);
    this.canvas.style.height = `${height}px`;
    this.canvas.width = width * scale;
    this.canvas.height = height * scale;
    pen.scale(scale, scale);
    pen.textBaseline = 'middle';
    const fills = KINDS.map(kind => kind.pattern in {rising: 1, falling: 1, dots: 1} ? tile(kind, 1)
      : colourOf(kind.colour));
    pen.font = `${em}px ${family}`;
    this.drawTicks(pen, em, height);
    for (const lane of this.lanes) this.drawLane(pen, em, family, lane, fills);
    for (const [sample, kind] of this.samples) {
      const brush = sample.getContext('2d');
      brush.clearRect(0, 0, 66, 30);
      drawKind(brush, kind, fills[KINDS.indexOf(kind)], 0, 0, 66, 30);
    }
  }

  /* Gives each lane its place; returns the height of all. */
  place(em) {
    let y = 2 * em, group = null;
    for (const lane of this.lanes) {
      lane.heading = lane.group === group ? null : y + 1.2 * em;
      if (lane.heading) y += 2.2 * em;
      group = lane.group;
      lane.text = y + 0.7 * em;
      lane.top = y + 1.5 * em;
      lane.height = 1.8 * em;
      y += 3.6 * em;
    }
    return Math.ceil(y + 0.5 * em);
  }

  x(time) {
    return (time - this.view.begin) / (this.view.end - this.view.begin) * this.width;
  }

  time(x) {
    return this.view.begin + x / this.width * (this.view.end - this.view.begin);
  }

  drawTicks(pen, em, height) {
    const span = this.view.end - this.view.begin, wanted = span / Math.max(2, this.width / (8 * em));
    const power = 10 ** Math.floor(Math.log10(wanted));
    const step = power * [1, 2, 5, 10].find(factor => factor * power >= wanted);
    for (let i = Math.ceil(this.view.begin / step); i * step <= this.view.end; i++) {
      const x = this.x(i * step);
      pen.fillStyle = colourOf('--line');
      pen.fillRect(Math.round(x), 1.6 * em, 1, height);
      pen.fillStyle = colourOf('--soft');
      const text = axisText(i * step, step, this.view.end);
      pen.fillText(text, Math.min(Math.max(2, x - pen.measureText(text).width / 2),
        this.width - pen.measureText(text).width - 2), 0.9 * em);
    }
  }

  drawLane(pen, em, family, lane, fills) {
    pen.fillStyle = colourOf('--text');
    pen.textBaseline = 'middle';
    if (lane.heading) {
      pen.font = `bold ${em}px ${family}`;
      pen.fillText(lane.group.name, 4, lane.heading);
    }
    pen.font = `${em}px ${family}`;
    pen.fillStyle = colourOf('--soft');
    pen.fillText(lane.label, 4, lane.text);
    pen.fillStyle = colourOf('--box');
    const end = this.x(lane.group.timeline.wall_s), begin = Math.max(0, this.x(0));
    if (end > begin) pen.fillRect(begin, lane.top, Math.min(end, this.width) - begin, lane.height);
    for (const kind of BEHIND) {
      const events = lane.kinds[kind];
      let drawn = -1;
      for (let i = firstAfter(events, this.view.begin); i < events.length; i++) {
        if (events[i].begin > this.view.end) break;
        const left = Math.max(this.x(events[i].begin), -2);
        const right = Math.min(this.x(events[i].end), this.width + 2);
        if (right - left < 1 && Math.floor(left) === drawn) continue;
        drawn = Math.floor(left);
        drawKind(pen, KINDS[kind], fills[kind], left, lane.top, Math.max(1, right - left), lane.height);
      }
    }
    if (this.selected && this.selected.lane === lane) {
      const {begin, end} = this.selected.event, left = this.x(begin);
      pen.strokeStyle = colourOf('--text');
      pen.lineWidth = 2;
      pen.strokeRect(left - 1, lane.top - 2, Math.max(2, this.x(end) - left) + 1, lane.height + 4);
    }
  }

  /* ---- Moving ---- */

  show(begin, end) {
    const span = Math.min(this.total, Math.max(this.total * 1e-5, end - begin));
    begin = Math.min(Math.max(0, begin), this.total - span);
    this.view = {begin, end: begin + span};
    this.draw();
  }

  home() { this.show(0, this.total); }

  move(share) {
    const by = share * (this.view.end - this.view.begin);
    this.show(this.view.begin + by, this.view.end + by);
  }

  /* Times `factor`, around a time that stays where it is. */
  zoom(factor, around) {
    const {begin, end} = this.view;
    if (around === undefined) {
      const chosen = this.selected ? this.selected.event.begin : NaN;
      around = chosen >= begin && chosen <= end ? chosen : (begin + end) / 2;
    }
    const span = Math.min(this.total, Math.max(this.total * 1e-5, (end - begin) * factor));
    const share = (around - begin) / (end - begin);
    this.show(around - share * span, around + (1 - share) * span);
  }

  /* ---- Choosing an event ---- */

  /* The event at a point or within 3 pixels: what encloses others only if there is no other. */
  at(x, y) {
    const lane = this.lanes.find(one => y >= one.top - 2 && y <= one.top + one.height + 2);
    if (!lane) return null;
    const time = this.time(x), near = Math.abs(this.time(x + 3) - time);
    let best = null, distance = Infinity;
    for (const kind of [...BEHIND].reverse()) {
      const events = lane.kinds[kind], i = firstAfter(events, time);
      for (const event of events.slice(Math.max(0, i - 1), i + 1)) {
        const away = Math.max(event.begin - time, time - event.end, 0);
        if (away <= near && away < distance) [best, distance] = [event, away];
      }
      if (best && kind === BEHIND[ENCLOSING]) break;
    }
    return best && {lane, event: best};
  }

  /* Chooses it and says what it is beside the point, or beside its box. */
  select(chosen, point) {
    this.selected = chosen;
    this.draw();
    if (!chosen) {
      this.tip.textContent = '';
      return;
    }
    const {lane, event} = chosen, kind = KINDS[event.kind].name;
    this.tip.textContent = `${event.kind < 2 ? `${kind} ${event.index}` : kind}\n`
      + `${lane.name} (${lane.group.name})\nbegins at ${timeText(event.begin)}, takes `
      + `${timeText(event.end - event.begin)}`;
    const box = this.canvas.getBoundingClientRect();
    const [x, y] = point || [box.left + Math.max(0, Math.min(this.x(event.begin), this.width)),
      box.top + lane.top + lane.height];
    const room = document.documentElement;
    const left = Math.max(4, Math.min(x + 12, room.clientWidth - this.tip.offsetWidth - 4));
    const below = y + 16 + this.tip.offsetHeight < room.clientHeight;
    const top = Math.max(4, below ? y + 16 : y - 16 - this.tip.offsetHeight);
    const origin = this.element.getBoundingClientRect(); /* so that it scrolls with the page */
    this.tip.style.left = `${left - origin.left}px`;
    this.tip.style.top = `${top - origin.top}px`;
  }

  /* The event before or after the chosen one, in its lane or in another one. */
  step(lanes, events) {
    const at = this.selected || {lane: this.lanes.find(lane => lane.all.length)};
    if (!at.lane) return;
    let lane = this.lanes.indexOf(at.lane);
    do lane += lanes; while (lanes && this.lanes[lane] && !this.lanes[lane].all.length);
    if (!this.lanes[lane]) return;
    const all = this.lanes[lane].all;
    const after = time => (all.findIndex(event => event.end > time) + all.length) % all.length;
    let i = !at.event ? after(this.view.begin) : lanes ? after(at.event.begin)
      : all.indexOf(at.event) + events;
    i = Math.max(0, Math.min(all.length - 1, i));
    const {begin, end} = all[i], span = this.view.end - this.view.begin;
    if (begin < this.view.begin || end > this.view.end)
      this.show((begin + end) / 2 - span / 2, (begin + end) / 2 + span / 2);
    this.select({lane: this.lanes[lane], event: all[i]});
  }

  /* ---- Keys, mouse, fingers ---- */

  key(event) {
    const shift = event.shiftKey;
    const actions = {
      '+': () => this.zoom(0.5), '=': () => this.zoom(0.5), '-': () => this.zoom(2),
      ArrowLeft: () => shift ? this.move(-0.25) : this.step(0, -1),
      ArrowRight: () => shift ? this.move(0.25) : this.step(0, 1),
      ArrowUp: () => this.step(-1, 0), ArrowDown: () => this.step(1, 0),
      Home: () => this.home(), Escape: () => this.select(null),
    };
    if (event.ctrlKey || event.altKey || event.metaKey || !actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  }

  /* At the whole the wheel moves the page on, so that nobody is caught here. */
  wheel(event) {
    const whole = this.view.end - this.view.begin >= this.total;
    if (event.deltaX && Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      if (whole) return;
      this.move(event.deltaX / this.width);
    } else {
      if (whole && event.deltaY > 0) return;
      this.zoom(Math.exp(Math.max(-0.7, Math.min(0.7, event.deltaY / 200))), this.time(event.offsetX));
    }
    event.preventDefault();
  }

  /* One pointer that is down drags; two pinch: the times under them stay under them. */
  pointer(event) {
    const before = [...this.pointers.values()].map(([x]) => x);
    if (!this.pointers.has(event.pointerId)) {
      this.select(this.at(event.offsetX, event.offsetY), [event.clientX, event.clientY]);
      return;
    }
    this.pointers.set(event.pointerId, [event.offsetX]);
    const after = [...this.pointers.values()].map(([x]) => x);
    if (after.length === 1) {
      const by = this.time(before[0]) - this.time(after[0]);
      this.show(this.view.begin + by, this.view.end + by);
    } else if (Math.abs(after[1] - after[0]) > 8 && Math.abs(before[1] - before[0]) > 8) {
      this.zoom((before[1] - before[0]) / (after[1] - after[0]),
        this.time((before[0] + before[1]) / 2));
      this.move(((before[0] + before[1]) - (after[0] + after[1])) / 2 / this.width);
    }
  }

  listen() {
    const on = (name, action) => this.canvas.addEventListener(name, action, {passive: false});
    const up = event => this.pointers.delete(event.pointerId);
    on('keydown', event => this.key(event));
    on('wheel', event => this.wheel(event));
    on('pointerdown', event => {
      this.select(this.at(event.offsetX, event.offsetY), [event.clientX, event.clientY]);
      this.canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, [event.offsetX]);
    });
    on('pointermove', event => this.pointer(event));
    on('pointerup', up);
    on('pointercancel', up);
    on('pointerleave', event => { if (event.pointerType === 'mouse') this.select(null); });
    on('blur', () => this.select(null));
    on('focus', () => { if (this.canvas.matches(':focus-visible')) this.step(0, 0); });
    document.addEventListener('themechange', () => this.draw());
  }
}
