/* Shows the block of data: {"chapters": [...]}, each what --json writes and more (page.c).
 *
 * Texts come from the data as texts, never as HTML, whatever they hold. A chapter is made when it
 * is first looked at. Its address is #NAME, that of a workload #NAME/NUMBER.
 */
const chapters = JSON.parse(document.getElementById('data').textContent).chapters;

/* ---- Elements and texts ---- */

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function digits(value) {
  return value === 0 ? '0' : value.toPrecision(3).includes('e') ? value.toFixed(0) : value.toPrecision(3);
}

function timeUnit(seconds) {
  return seconds < 1e-6 ? ['ns', 1e9] : seconds < 1e-3 ? ['µs', 1e6] : seconds < 1 ? ['ms', 1e3] : ['s', 1];
}

/* 0.00274 as "2.74 ms", as the programs write it. */
function timeText(seconds) {
  const [unit, factor] = timeUnit(seconds);
  return `${digits(seconds * factor)} ${unit}`;
}

/* "2.74 [2.71 – 2.82] ms" */
function rangeText({median, min, max}) {
  const [unit, factor] = timeUnit(median);
  return `${digits(median * factor)} [${digits(min * factor)} – ${digits(max * factor)}] ${unit}`;
}

/* With as many digits as in the programs' tables. */
function speedupText(speedup) {
  return `${speedup.toFixed(speedup < 0.095 ? 3 : 2)}×`;
}

/* A mark on an axis that ends at `most`, with this distance from one mark to the next. */
function axisText(seconds, step, most) {
  const [unit, factor] = timeUnit(most);
  return `${(seconds * factor).toFixed(Math.max(0, -Math.floor(Math.log10(step * factor) + 1e-9)))} ${unit}`;
}

function bytesText(bytes) {
  const power = bytes < 1000 ? 0 : Math.min(4, Math.floor(Math.log10(bytes) / 3));
  return power === 0 ? `${bytes} B` : `${digits(bytes / 1000 ** power)} ${['B', 'kB', 'MB', 'GB', 'TB'][power]}`;
}

/* The first cell of a row names it. A cell is a text or an element. Columns of words, not of
 * numbers, are marked by a blank before their title. */
function makeTable(caption, titles, rows, label = caption) {
  const style = titles.map(title => title.startsWith(' ') ? {class: 'text'} : {});
  const head = titles.map((title, i) => make('th', {scope: 'col', ...style[i]}, title.trim()));
  const body = rows.map(([first, ...rest]) => make('tr', {}, make('th', {scope: 'row'}, first),
    ...rest.map((cell, i) => make('td', style[i + 1], cell))));
  return make('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': label},
    make('table', {}, make('caption', {}, caption), make('thead', {}, make('tr', {}, ...head)),
      make('tbody', {}, ...body)));
}

function makeList(pairs) {
  return make('dl', {}, ...pairs.flatMap(([term, text]) => [make('dt', {}, term), make('dd', {}, text)]));
}

/* C with its comments, and what this book is about, set off: pragmas, the pool, the GIL. */
function makeCode(text) {
  const code = make('code', {});
  for (const part of text.split(/(\/\*[^]*?\*\/|^#pragma.*$|\b(?:pool|gil|loader)_\w+)/m))
    code.append(/^\/\*/.test(part) ? make('span', {class: 'comment'}, part)
      : /^(#pragma|(pool|gil|loader)_\w)/.test(part) ? make('span', {class: 'key'}, part) : part);
  return make('pre', {tabindex: 0}, code);
}

/* ---- A chapter's parts ---- */

function machinePairs(chapter) {
  const of = chapter.machine;
  return [['cores', `${of.cores} usable of ${of.machine_cores}`], ['processor', `${of.cpu}, ${of.isa}`],
    ['compiler', of.compiler],
    ['OpenMP', of.openmp_on ? `on, version ${of.openmp}` : 'off: threads run one after the other'],
    ['BLAS', of.blas + (of.blas_threads ? `, ${plural(of.blas_threads, 'thread')}` : '')],
    ['program', `forkjoin ${chapter.version}, seed ${chapter.seed}`]];
}

const TERMS = [['wall', 'time on the clock; a pool’s start-up is apart'],
  ['CPU', 'computing time of all threads and processes, added up'],
  ['cores busy', 'CPU / wall: how many cores computed at the same time, on average'],
  ['speedup', 'wall of sequential / wall'], ['efficiency', 'speedup / workers, or threads that really ran'],
  ['start-up', 'starting the workers, once for all runs'],
  ['same result?', 'every run gave the sequential result, to the last bit or as near as the chapter says'],
  ['send, receive', 'copying arguments to the workers and results back; copied says how much'],
  ['compute', 'time inside tasks, of the worker that had most of it'],
  ['wait', 'the rest: waking up, handing out chunks, one waiting for another'],
  ['chunks', 'in which tasks are handed out']];

function parameterText(value) {
  return Array.isArray(value) ? value.join(' × ') || 'none' : value === null ? 'none' : String(value);
}

function runName(run) {
  return run.name || run.mode;
}

function speedupCell(run, best) {
  const cell = make('span', {}, speedupText(run.speedup));
  cell.append(make('span', {class: 'bar', 'aria-hidden': 'true',
    style: `width: ${(100 * run.speedup / best || 0).toFixed(1)}%`}));
  return cell;
}

function resultCell(run) {
  return run.matches_sequential ? 'yes' : make('span', {class: 'bad'}, 'NO');
}

/* Fewer threads than were asked for may have run. */
function workersText(run) {
  return run.threads < run.workers ? `${run.workers} (${run.threads} ran)` : String(run.workers);
}

function figuresTable(title, runs) {
  const best = Math.max(...runs.map(run => run.speedup));
  return makeTable(`Wall: median of ${plural(runs[0].repeats, 'run')} [fastest – slowest]`,
    ['mode', 'workers', 'wall', 'CPU', 'cores busy', 'speedup', 'efficiency', 'start-up', 'same result?'],
    runs.map(run => [runName(run), workersText(run),
      rangeText(run.wall_s), timeText(run.cpu_s.median), run.cores_busy.toFixed(2), speedupCell(run, best),
      `${(100 * run.efficiency).toFixed(0)} %`, run.mode === 'processes' ? timeText(run.startup_s) : '–',
      resultCell(run)]), `Figures of ${title}`);
}

function phasesTable(title, runs) {
  return makeTable('Where the time went, in the run with the median wall',
    ['processes', 'workers', 'send', 'compute', 'receive', 'wait', 'copied', 'chunks'],
    runs.map(run => [runName(run), String(run.workers), ...['send', 'compute', 'receive', 'wait'].map(
      phase => timeText(run.phases_s[phase])), bytesText(run.bytes_copied), String(run.chunks)]),
    `Where the time went: ${title}`);
}

function makeTimeline(title, runs) {
  const groups = runs.filter(run => run.timeline).map(run => ({timeline: run.timeline,
    name: `${runName(run)}, ${plural(run.workers, 'worker')}, ${timeText(run.timeline.wall_s)}`}));
  if (!groups.length) return [];
  const left = groups.reduce((sum, group) => sum + group.timeline.left_out, 0);
  return [make('h4', {}, 'Who did what when'), new Timeline(title, groups).element,
    ...left ? [make('p', {class: 'soft'}, `Not drawn: ${plural(left, 'event')}, the shortest or latest.`)] : []];
}

function makeSource(source) {
  if (source.error) return make('p', {class: 'soft'}, `No source to show: ${source.error}.`);
  const figure = make('figure', {}, make('figcaption', {}, `${source.file}, line ${source.line}`),
    makeCode(source.text));
  if (source.names.length)
    figure.append(make('details', {}, make('summary', {}, 'What it calls in this file: '
      + source.names.map(one => one.function).join(', ')),
    makeCode(source.names.map(one => one.text).join('\n'))));
  return figure;
}

/* The rows that ran one function, and its source beside them. */
function makeMode(chapter, source, runs) {
  const said = runs.flatMap(run => [
    make('p', {}, make('strong', {}, `${runName(run)}, ${plural(run.workers, 'worker')}: `),
      `${timeText(run.wall_s.median)}, ${speedupText(run.speedup)}`,
      ...run.matches_sequential ? [] : [make('span', {class: 'bad'}, ' wrong result')]),
    ...run.why ? [make('p', {class: 'soft'}, run.why.replace(/^Why: .*? workers?: /, 'Why: '))] : []]);
  const modes = [...new Set(runs.map(run => run.mode))].join(', ');
  const name = chapter.sources[source].function;
  return make('div', {class: 'mode'}, make('div', {}, make('h4', {}, name ? `${modes}: ` : modes,
    ...name ? [make('code', {}, `${name}()`)] : []), ...said), make('div', {}, makeSource(chapter.sources[source])));
}

function makeWorkload(chapter, workload, index, runs) {
  const title = workload.title || workload.name;
  const processes = runs.filter(run => run.mode === 'processes');
  const sources = [...new Set(runs.map(run => run.source))];
  return make('article', {id: `${chapter.chapter}/${index}`}, make('h3', {}, title),
    figuresTable(title, runs), ...processes.length ? [phasesTable(title, processes)] : [],
    ...makeFigures(chartsOf(chapter, workload.name)), ...makeTimeline(title, runs),
    ...sources.map(source => makeMode(chapter, source, runs.filter(run => run.source === source))));
}

/* Pictures of gnuplot's, which have their titles in them. */
function makeFigures(charts) {
  const image = (chart, theme) => make('img', {class: theme, alt: `Chart: ${chart.title}`,
    src: `data:image/svg+xml,${encodeURIComponent(chart[theme])}`});
  return charts.length === 0 ? [] : [make('div', {class: 'charts'}, ...charts.map(
    chart => make('figure', {}, image(chart, 'light'), image(chart, 'dark'))))];
}

function chartsOf(chapter, workload) {
  return (chapter.charts || []).filter(chart => chart.workload === workload);
}

/* Those that are not a workload's, or why there are none. */
function makeCharts(chapter) {
  const workloads = new Set(chapter.workloads.map(workload => workload.name));
  const charts = (chapter.charts || []).filter(chart => !workloads.has(chart.workload));
  if (!charts.length && !chapter.charts_missing) return [];
  return [make('h3', {}, 'Charts'), ...chapter.charts_missing
    ? [make('p', {class: 'missing'}, `There are no charts: ${chapter.charts_missing}.`)] : [],
  ...makeFigures(charts)];
}

/* A list of objects with the same keys, such as the ladder, as they are. */
function makeRows(caption, rows) {
  const cell = (key, value) => value === null ? '–' : typeof value !== 'number' ? String(value)
    : key.endsWith('_s') ? timeText(value) : digits(value);
  const keys = Object.keys(rows[0]);
  return makeTable(caption, keys.map(key => key.replace(/_s$/, '').replace(/_/g, ' ')),
    rows.map(row => keys.map(key => cell(key, row[key]))));
}

/* C's row beside one of Python's: of processes the one whose data travelled the same way. */
function partnerOf(chapter, run) {
  const rows = chapter.runs.filter(one => one.language !== 'python' && one.workload === run.workload
    && one.mode === run.mode && one.workers === run.workers);
  return rows.find(one => one.transfer === run.transfer) || rows[0];
}

function pythonRow(chapter, run) {
  const c = partnerOf(chapter, run), text = (value, show) => typeof value === 'number' ? show(value) : '–';
  const busy = value => text(value, number => number.toFixed(2));
  const times = value => text(value, number => `${digits(number)}×`);
  return [run.workload === run.name ? run.workload : `${run.workload}, in Python ${run.name}`, run.python.replace('Python ', ''),
    run.mode, String(run.workers), timeText(run.wall_s.median),
    text(run.c_speedup, factor => timeText(run.wall_s.median / factor)), times(run.c_speedup),
    busy(run.cores_busy), busy(c && c.cores_busy), times(run.speedup), times(c && c.speedup),
    run.matches_sequential && run.matches_c !== false ? 'yes' : make('span', {class: 'bad'}, 'NO')];
}

/* What --python gave: the rows beside C's, and what could not be run. */
function makePython(chapter) {
  const runs = chapter.runs.filter(run => run.language === 'python');
  const reports = Array.isArray(chapter.python) ? chapter.python : [];
  if (!runs.length && !reports.length) return [];
  const sample = runs.some(run => run.sample) ? ' Of a sample: C’s time for as many tasks.' : '';
  return [make('h3', {}, 'The same in Python'),
    ...runs.length ? [makeTable('Wall, a pool’s start-up apart',
      ['workload', 'Python', 'mode', 'workers', 'in Python', 'in C', 'C faster', 'cores busy', 'in C', 'speedup',
        'in C', 'same result?'], runs.map(run => pythonRow(chapter, run)), 'The same in Python'),
    make('p', {class: 'soft'}, 'Speedup: of each language over its own sequential row. Same result: as Python’s '
      + `sequential row and, where C saved its results, as C’s.${sample}`)] : [],
    ...reports.map(report => report.error ? make('p', {class: 'missing'}, `Not run: ${report.error}.`)
      : make('p', {class: 'soft'}, make('code', {}, report.command || 'notebook.py')))];
}

function makeChapter(chapter) {
  const section = make('section', {id: chapter.chapter, tabindex: -1}), quiet = [];
  section.append(make('h2', {}, chapter.title || chapter.chapter));
  if (chapter.error) {
    section.append(make('p', {class: 'bad'}, chapter.error));
    return section;
  }
  if (chapter.runs.some(run => !run.matches_sequential))
    section.append(make('p', {class: 'bad'}, 'A mode gave another result than sequential: its times mean nothing.'));
  else if (chapter.failed)
    section.append(make('p', {class: 'bad'}, 'Something failed while this ran; the program said what.'));
  if (chapter.introduction)
    section.append(make('details', {}, make('summary', {}, 'What this chapter shows, and what to try'),
      make('pre', {tabindex: 0}, chapter.introduction)));
  section.append(make('h3', {}, 'Machine and sizes'), makeList([...machinePairs(chapter),
    ...Object.entries(chapter.parameters).map(([name, value]) => [`--${name.replace(/_/g, '-')}`, parameterText(value)])]),
  make('details', {}, make('summary', {}, 'What the columns mean'), makeList(TERMS)), ...makeCharts(chapter));
  let next = 0;
  chapter.workloads.forEach((workload, index) => {
    const runs = chapter.runs.slice(next, next += workload.runs);
    if (isFolded(chapter, workload)) quiet.push([workload, index, runs]);
    else section.append(makeWorkload(chapter, workload, index, runs));
  });
  if (chapter.ladder && chapter.ladder.length) section.append(make('h3', {}, 'Step by step'),
    makeRows('Each step, and all so far together', chapter.ladder));
  section.append(...makePython(chapter));
  if (chapter.conclusions) section.append(make('h3', {}, 'Conclusions'),
    makeList(Object.entries(chapter.conclusions)));
  if (quiet.length) section.append(makeQuiet(chapter, quiet));
  return section;
}

/* A chapter that shows none of its workloads by itself has all of them on its page. */
function isFolded(chapter, workload) {
  return workload.quiet && chapter.workloads.some(one => !one.quiet);
}

/* Measured for comparisons that the chapter makes itself: made when they are unfolded. */
function makeQuiet(chapter, quiet) {
  const details = make('details', {}, make('summary', {}, `Measured for comparison (${quiet.length})`));
  details.addEventListener('toggle', () => {
    for (const [workload, index, runs] of quiet.splice(0))
      details.append(makeWorkload(chapter, workload, index, runs));
  });
  return details;
}

/* The best speedups of all chapters in one table. */
function makeOverview() {
  const rows = [], modes = ['threads', 'gil', 'processes'];
  for (const chapter of chapters) {
    let next = 0;
    for (const workload of chapter.workloads || []) {
      const runs = chapter.runs.slice(next, next += workload.runs);
      if (isFolded(chapter, workload)) continue;
      const best = modes.map(mode => Math.max(...runs.filter(run => run.mode === mode).map(run => run.speedup)));
      rows.push([make('a', {href: `#${chapter.chapter}`}, chapter.chapter), workload.title || workload.name,
        ...best.map(speedup => isFinite(speedup) ? speedupText(speedup) : '–'),
        runs.every(run => run.matches_sequential) ? 'yes' : make('span', {class: 'bad'}, 'NO')]);
    }
    if (chapter.error) rows.push([chapter.chapter, make('span', {class: 'bad'}, chapter.error), '', '', '', '']);
  }
  const measured = chapters.find(chapter => chapter.machine);
  return make('section', {id: 'overview', tabindex: -1}, make('h2', {}, 'All chapters'),
    ...measured ? [makeList(machinePairs(measured))] : [],
    makeTable('Best speedup over the sequential loop; a pool’s start apart',
      ['chapter', ' workload', ...modes, 'same result?'], rows));
}

/* ---- Which chapter is shown, in which colours ---- */

const main = document.getElementById('content'), made = {};
const pages = [...chapters.length > 1 ? [['overview', 'Overview', makeOverview]] : [],
  ...chapters.map(chapter => [chapter.chapter, chapter.chapter.replace(/_/g, ' '), () => makeChapter(chapter)])];

function getPage([name, , makePage]) {
  if (!made[name]) main.append(made[name] = makePage());
  return made[name];
}

/* What stands after # in the address; it may be anything. */
function wantedPlace() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return '';
  }
}

function showPage() {
  const wanted = wantedPlace();
  const page = pages.find(([name]) => wanted.split('/')[0] === name);
  if (!page && wanted) return; /* some other element of the page */
  showThis(page || pages[0], wanted);
}

function showThis(page, wanted) {
  const shown = getPage(page);
  for (const [name, section] of Object.entries(made)) section.hidden = section !== shown;
  for (const link of document.querySelectorAll('nav a'))
    if (link.hash === `#${page[0]}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  document.title = `${shown.querySelector('h2').textContent} – forkjoin`;
  if (wanted === page[0]) shown.focus({preventScroll: true});
  const target = document.getElementById(wanted);
  if (target && target !== shown) target.scrollIntoView(); else window.scrollTo(0, 0);
}

function showTheme(theme) {
  document.documentElement.dataset.theme = theme;
  document.getElementById('theme').textContent = theme === 'dark' ? 'Light colours'
    : 'Dark colours';
  document.dispatchEvent(new Event('themechange'));
}

const dark = matchMedia('(prefers-color-scheme: dark)');
dark.addEventListener('change', () => showTheme(dark.matches ? 'dark' : 'light'));
document.getElementById('theme').addEventListener('click',
  () => showTheme(document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark'));
showTheme(dark.matches ? 'dark' : 'light');

document.querySelector('nav').hidden = pages.length < 2;
document.getElementById('chapters').append(...pages.map(
  ([name, text]) => make('li', {}, make('a', {href: `#${name}`}, text))));
window.addEventListener('hashchange', showPage);
showThis(pages[0], '');
window.addEventListener('beforeprint', () => { for (const page of pages) getPage(page); });
showPage();
