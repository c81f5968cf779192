// The page of the admin listener: reads /metrics every two seconds and shows what changed in between.
'use strict';

const EVERY_MS = 2000, POINTS = 90;
const $ = (id) => document.getElementById(id);
const TIERS = ['ram', 'drive', 'origin', 'pass'];

// --- numbers ---

/** Prometheus text -> {name: [{labels, value}]}. */
function parseMetrics(text) {
  const families = {};
  for (const line of text.split('\n')) {
    const found = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!found) continue;
    const labels = {};
    for (const [, key, value] of (found[2] || '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) labels[key] = value;
    (families[found[1]] ||= []).push({labels, value: found[3] === '+Inf' ? Infinity : Number(found[3])});
  }
  return families;
}

const matches = (labels, wanted) => Object.entries(wanted).every(([key, value]) => labels[key] === value);
const sum = (metrics, name, wanted = {}) =>
  (metrics[name] || []).reduce((total, one) => total + (matches(one.labels, wanted) ? one.value : 0), 0);

/** What a counter grew by per second between two readings; a restart counts from zero. */
class Interval {
  constructor(before, now, seconds) { Object.assign(this, {before, now, seconds}); }
  growth(name, wanted) {
    const grown = sum(this.now, name, wanted) - sum(this.before, name, wanted);
    return grown >= 0 ? grown : sum(this.now, name, wanted);
  }
  rate(name, wanted) { return this.growth(name, wanted) / this.seconds; }
  /** A quantile of a histogram over the interval; null without observations. */
  quantile(name, q) {
    const bounds = [...new Set((this.now[name + '_bucket'] || []).map((one) => one.labels.le))]
      .sort((a, b) => bound(a) - bound(b));
    const counts = bounds.map((le) => this.growth(name + '_bucket', {le}));
    const wanted = q * (counts.at(-1) || 0);
    if (!wanted) return null;
    const at = counts.findIndex((count) => count >= wanted);
    const upper = bound(bounds[at]), lower = at ? bound(bounds[at - 1]) : 0, below = at ? counts[at - 1] : 0;
    if (upper === Infinity) return lower;
    return lower + (upper - lower) * (wanted - below) / (counts[at] - below);
  }
}
const bound = (le) => le === '+Inf' ? Infinity : Number(le);

// --- words ---

function scaled(value, units, step) {
  let unit = 0;
  while (value >= step && unit < units.length - 1) { value /= step; ++unit; }
  return `${value.toFixed(value < 10 && unit ? 1 : 0)} ${units[unit]}`;
}
const bytes = (value) => scaled(value, ['B', 'KiB', 'MiB', 'GiB', 'TiB'], 1024);
const bits = (value) => scaled(value * 8, ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s'], 1000);
function time(seconds) {
  if (seconds === null) return '–';
  if (seconds < 1e-4) return `${(seconds * 1e6).toFixed(0)} µs`;
  return seconds < 1 ? `${(seconds * 1000).toFixed(1)} ms` : `${seconds.toFixed(2)} s`;
}
const percent = (part, whole) => whole > 0 ? `${(100 * part / whole).toFixed(1)} %` : '–';
const rate = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)}/s`;

function fill(table, rows) {
  const body = $(table).tBodies[0];
  body.replaceChildren(...rows.map((cells) => {
    const row = document.createElement('tr');
    for (const cell of cells) row.insertCell().append(cell);  // text or a node, never HTML: paths come from clients
    return row;
  }));
}

// --- charts ---

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();

function chart(canvas, series, tick, stacked) {
  return new Chart($(canvas), {
    type: 'line',
    data: {labels: [], datasets: series.map(({label, colour: name}) => ({
      label, data: [], name, borderColor: colour(name), backgroundColor: colour(name) + '66',
      fill: stacked, pointRadius: 0, borderWidth: 1.5, tension: 0.2}))},
    options: {animation: false, responsive: true, maintainAspectRatio: false, interaction: {mode: 'index', intersect: false},
      plugins: {legend: {labels: {color: colour('dim'), boxWidth: 12}},
        tooltip: {callbacks: {label: (item) => `${item.dataset.label}: ${tick(item.parsed.y)}`}}},
      scales: {x: {display: false}, y: {stacked, min: 0, ticks: {callback: tick, color: colour('dim'), maxTicksLimit: 5},
        grid: {color: colour('line')}}}}});
}

function push(one, values) {
  one.data.labels.push(new Date().toLocaleTimeString());
  one.data.datasets.forEach((set, i) => set.data.push(values[i]));
  if (one.data.labels.length > POINTS) {
    one.data.labels.shift();
    one.data.datasets.forEach((set) => set.data.shift());
  }
  one.update();
}

const tiers = chart('tiers', TIERS.map((name) => ({label: name, colour: name})), bits, true);
const starts = chart('starts', [{label: 'p50', colour: 'ram'}, {label: 'p99', colour: 'origin'}], time, false);

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  for (const one of [tiers, starts]) {
    for (const set of one.data.datasets) Object.assign(set, {borderColor: colour(set.name), backgroundColor: colour(set.name) + '66'});
    one.options.scales.y.grid.color = colour('line');
    one.options.scales.y.ticks.color = one.options.plugins.legend.labels.color = colour('dim');
    one.update();
  }
});

// --- what is shown ---

function show(interval) {
  const {now} = interval;
  const flows = TIERS.map((tier) => interval.rate('segue_body_bytes_total', {tier}));
  const all = flows.reduce((a, b) => a + b, 0);
  $('traffic').textContent = bits(interval.rate('segue_http_sent_bytes_total', {listener: 'public'}));
  $('hits').textContent = percent(flows[0] + flows[1], all);
  $('requests').textContent = rate(interval.rate('segue_responses_total'));
  $('start').textContent = time(interval.quantile('segue_first_64k_seconds', 0.99));
  $('connections').textContent = sum(now, 'segue_connections_active', {listener: 'public'});
  $('cut').textContent = rate(interval.rate('segue_responses_incomplete_total', {end: 'cut'}));
  push(tiers, flows);
  push(starts, [interval.quantile('segue_first_64k_seconds', 0.5), interval.quantile('segue_first_64k_seconds', 0.99)]);
  showOrigins(interval);
  showDrives(interval);
  showPrefetch(interval);
  showOverload(now);
}

const valuesOf = (metrics, name, label) => [...new Set((metrics[name] || []).map((one) => one.labels[label]))];

function showOrigins(interval) {
  fill('origins', valuesOf(interval.now, 'segue_origin_requests_total', 'origin').map((origin) => {
    const waits = interval.growth('segue_origin_first_bytes_total', {origin});
    return [origin, rate(interval.rate('segue_origin_requests_total', {origin})),
      rate(interval.rate('segue_origin_faults_total', {origin})),
      waits ? time(interval.growth('segue_origin_first_byte_wait_seconds_total', {origin}) / waits) : '–'];
  }));
}

function showDrives(interval) {
  const {now} = interval;
  const rows = valuesOf(now, 'segue_drive_online', 'drive').map((drive) => [drive,
    sum(now, 'segue_drive_online', {drive}) ? 'online' : 'OFFLINE',
    percent(sum(now, 'segue_drive_slots_live', {drive}), sum(now, 'segue_drive_slots', {drive})),
    bytes(interval.rate('segue_drive_read_bytes_total', {drive})) + '/s',
    bytes(interval.rate('segue_drive_written_bytes_total', {drive})) + '/s']);
  fill('drives', rows.length ? rows : [['none: the RAM tier works alone', '', '', '', '']]);
}

function showPrefetch(interval) {
  const {now} = interval;
  const models = valuesOf(now, 'segue_prefetch_precision_ratio', 'model');
  $('prefetch-box').hidden = !models.length;
  fill('prefetch', models.map((model) => [model,
    percent(sum(now, 'segue_prefetch_precision_ratio', {model}), 1), percent(sum(now, 'segue_prefetch_coverage_ratio', {model}), 1),
    bytes(sum(now, 'segue_prefetch_bytes_total', {model, fate: 'fetched'})),
    bytes(sum(now, 'segue_prefetch_bytes_total', {model, fate: 'wasted'}))]));
}

function showOverload(now) {
  const shed = valuesOf(now, 'segue_overload_shedding', 'load').filter((load) => sum(now, 'segue_overload_shedding', {load}));
  $('shed').textContent = shed.join(', ') || 'nothing';
  $('shed').className = shed.length ? 'badge bad' : '';
  fill('overload', valuesOf(now, 'segue_overload_used', 'resource').map((resource) => {
    const words = resource === 'memory' ? bytes : String;
    return [resource, ...['segue_overload_used', 'segue_overload_soft_limit', 'segue_overload_hard_limit'].map(
      (name) => words(sum(now, name, {resource})))];
  }));
}

let last = null;
async function tick() {
  try {
    const [metrics, ready] = await Promise.all([fetch('metrics').then((r) => r.text()), fetch('ready').then((r) => r.json())]);
    const now = {at: performance.now(), metrics: parseMetrics(metrics)};
    if (last) show(new Interval(last.metrics, now.metrics, Math.max((now.at - last.at) / 1000, 0.001)));
    last = now;
    $('state').textContent = ready.reason;
    $('state').className = 'badge ' + (ready.ready ? 'good' : 'bad');
  } catch {
    $('state').textContent = 'no answer';
    $('state').className = 'badge bad';
  }
  setTimeout(tick, EVERY_MS);
}

// --- the player ---

const audio = $('audio');
const ranges = [];
let playing = null;

/** Asks for 64 KiB of the track itself, to show how the cache answers there. Needs the site's CORS. */
async function probe(first) {
  const url = playing, begun = performance.now();
  const row = [`bytes=${first}-${first + 65535}`, '', '', ''];
  try {
    const answer = await fetch(url, {headers: {Range: row[0]}, cache: 'no-store'});
    await answer.arrayBuffer();
    row.splice(1, 3, answer.status, answer.headers.get('Cache-Status')?.split(';').slice(1).join(';').trim() || 'not told',
      (performance.now() - begun).toFixed(1));
    const total = /\/(\d+)$/.exec(answer.headers.get('Content-Range') || '');
    if (total && url === playing) audio.dataset.bytes = total[1];
  } catch {
    row.splice(1, 3, 'failed', 'the site allows no other origin', '');
  }
  ranges.unshift(row);
  ranges.length = Math.min(ranges.length, 8);
  fill('ranges', ranges);
}

async function showSlices() {
  if (playing) {
    const answer = await fetch('explain?url=' + encodeURIComponent(playing)).catch(() => null);
    const text = answer?.ok ? await answer.text() : '';
    const runs = [...(/^slices: (.*)$/m.exec(text)?.[1] || '').matchAll(/(\d+)-(\d+) (\w+)/g)];
    $('slices').replaceChildren(...runs.map(([, first, end, where]) => {
      const piece = document.createElement('i');
      piece.className = where;
      piece.style.flexGrow = end - first + 1;
      piece.title = `slices ${first}-${end}: ${where}`;
      return piece;
    }));
  }
  setTimeout(showSlices, 1000);
}

$('player').addEventListener('submit', async (event) => {
  event.preventDefault();
  playing = $('url').value;
  ranges.length = 0;
  delete audio.dataset.bytes;
  await probe(0);
  audio.src = playing;
  audio.play().catch(() => {});
});
audio.addEventListener('seeking', () => {
  const length = Number(audio.dataset.bytes);
  if (length && audio.duration) probe(Math.min(Math.floor(length * audio.currentTime / audio.duration), length - 1));
});

// --- listeners, if they are counted ---

/** Ten bars: the share of the plays that were delivered each tenth of the track. */
function curve(row) {
  const shares = row.tenths.map((count) => Math.min(100, Math.round(100 * count / Math.max(row.plays, 1))));
  const bars = document.createElement('span');
  bars.className = 'curve';
  bars.setAttribute('role', 'img');
  bars.setAttribute('aria-label', shares.map((share) => share + ' %').join(', '));
  bars.title = bars.getAttribute('aria-label');
  bars.append(...shares.map((share) => {
    const bar = document.createElement('i');
    bar.style.height = share + '%';
    return bar;
  }));
  return bars;
}

function skipsOf(row) {
  const all = row.skips.reduce((a, b) => a + b, 0), most = row.skips.indexOf(Math.max(...row.skips));
  return all ? `${all}, most at ${10 * most}–${10 * most + 10} %` : '–';
}

async function showListens() {
  const answer = await fetch('listens').catch(() => null);
  if (answer?.ok) {
    const rows = (await answer.text()).split('\n').filter(Boolean).map((line) => JSON.parse(line));
    const hour = rows.map((row) => row.hour).sort().at(-1);
    const top = rows.filter((row) => row.hour === hour).sort((a, b) => b.plays - a.plays).slice(0, 10);
    $('listens-box').hidden = false;
    fill('listens', top.map((row) => [row.track, row.plays, row.listeners, row.downloads, (row.seconds / 60).toFixed(1),
      curve(row), skipsOf(row)]));
  }
  setTimeout(showListens, 10 * EVERY_MS);
}

async function begin() {
  const node = await fetch('node.json').then((r) => r.json()).catch(() => ({}));
  document.title = $('name').textContent = node.name || 'Segue';
  $('about').textContent = `Segue ${node.version || ''}, sites: ${(node.sites || []).join(', ')}`;
  const port = /:(\d+)$/.exec((node.listen || []).find((address) => !address.startsWith('unix:')) || '')?.[1];
  $('url').value = `http://${location.hostname || 'localhost'}:${port || 8080}/`;
  tick();
  showSlices();
  if (node.listens) showListens();
}
begin();
