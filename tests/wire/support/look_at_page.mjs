// Looks at the admin page in headless Chromium: do its numbers move, does its player play and seek, does it fit a phone,
// light and dark, and does it ask nobody but this machine? Prints what it found as one line of JSON.
//   node look_at_page.mjs PLAYWRIGHT_FOLDER PAGE_URL TRACK_URL PROFILE_FOLDER SCREENSHOT_FOLDER
import {createRequire} from 'node:module';

const [folder, pageUrl, trackUrl, profile, shots] = process.argv.slice(2);
const {chromium} = createRequire(folder + '/')('playwright-core');
const context = await chromium.launchPersistentContext(profile, {
  executablePath: '/usr/bin/chromium', headless: true, viewport: {width: 1100, height: 900}, colorScheme: 'light',
  args: ['--no-sandbox', '--disable-gpu', '--autoplay-policy=no-user-gesture-required']});
const found = {errors: [], elsewhere: [], texts: []};
const page = await context.newPage();
page.on('pageerror', (error) => found.errors.push(String(error)));
page.on('console', (message) => { if (message.type() === 'error') found.errors.push(message.text()); });
page.on('request', (request) => {
  if (!/^(http:\/\/127\.0\.0\.1[:/]|data:|blob:)/.test(request.url())) found.elsewhere.push(request.url());
});

const text = (id) => page.locator('#' + id).textContent();
const until = (what, argument) => page.waitForFunction(what, argument, {timeout: 30000});

await page.goto(pageUrl);
await until(() => document.getElementById('state').textContent === 'serving');
found.name = await text('name');
found.about = await text('about');

// The player plays, and each seek asks for a range of its own.
await page.fill('#url', trackUrl);
await page.click('#player button');
await until(() => document.querySelectorAll('#ranges tbody tr').length >= 1);
await until(() => document.getElementById('audio').currentTime > 0.3);
found.duration = await page.evaluate(() => document.getElementById('audio').duration);
for (const share of [0.7, 0.2]) {
  await page.evaluate((to) => { const audio = document.getElementById('audio'); audio.currentTime = to * audio.duration; }, share);
  await until((to) => { const audio = document.getElementById('audio'); return !audio.seeking && audio.currentTime / audio.duration >= to; }, share);
}
await until(() => document.querySelectorAll('#ranges tbody tr').length >= 3);
await page.click('#player button');
await until(() => document.querySelectorAll('#ranges tbody tr').length >= 1 && /hit/.test(document.querySelector('#ranges tbody').textContent));
found.ranges = await page.$$eval('#ranges tbody tr', (rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent)));
await until(() => document.querySelectorAll('#slices i').length >= 1);
found.slices = await page.$$eval('#slices i', (pieces) => pieces.map((piece) => piece.className));

// Numbers move: the test makes traffic all the while.
for (let i = 0; i < 40 && new Set(found.texts).size < 3; ++i) {
  found.texts.push(await text('traffic') + ' ' + await text('requests') + ' ' + await text('hits'));
  await page.waitForTimeout(500);
}
await until(() => Chart.getChart('tiers').data.labels.length >= 3);
found.points = await page.evaluate(() => Chart.getChart('tiers').data.datasets[0].data);
found.origins = await page.locator('#origins tbody tr').count();
found.drives = await page.locator('#drives tbody').textContent();
await until(() => document.querySelectorAll('#listens tbody tr').length >= 1);
found.listens = await page.$$eval('#listens tbody tr', (rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent)));
found.curves = await page.$$eval('#listens .curve', (all) => all.map((one) => one.getAttribute('aria-label')));
found.bars = await page.$$eval('#listens tbody tr:first-child .curve i', (all) => all.map((one) => one.getBoundingClientRect().height));
await until(() => [...document.querySelectorAll('#prefetch tbody tr')].some((row) => row.cells[0].textContent === 'm' && row.cells[1].textContent !== '0.0 %'));
found.prefetch = await page.$$eval('#prefetch tbody tr', (rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent)));
found.overload = await page.$$eval('#overload tbody tr', (rows) => rows.map((row) => row.cells[0].textContent));
found.shed = await text('shed');
await page.screenshot({path: shots + '/page-light.png', fullPage: true});

await page.emulateMedia({colorScheme: 'dark'});
found.dark = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
await page.setViewportSize({width: 380, height: 800});
await page.waitForTimeout(300);
found.overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
await page.screenshot({path: shots + '/page-phone-dark.png', fullPage: true});
found.shedding = await page.evaluate(() => {
  const all = {prefetch: 1, revalidation: 0, connection: 0, miss: 1};
  showOverload(parseMetrics(Object.entries(all).map(([load, on]) => `segue_overload_shedding{load="${load}"} ${on}`).join('\n')));
  return $('shed').textContent;
});
await context.close();
console.log(JSON.stringify(found));
