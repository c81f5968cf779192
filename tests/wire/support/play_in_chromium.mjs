// Plays URL in headless Chromium's <audio>: play, seek back and forth, play to the end. Prints what happened as JSON.
//   node play_in_chromium.mjs PLAYWRIGHT_FOLDER URL USER_DATA_FOLDER
import { createRequire } from 'node:module';

const [, , packages, url, profile] = process.argv;
const { chromium } = createRequire(`${packages}/`)('playwright-core');

const context = await chromium.launchPersistentContext(profile, {
  executablePath: '/usr/bin/chromium',
  headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required'],
});
try {
  const page = await context.newPage();
  await page.setContent('<audio id="player" preload="auto"></audio>');
  const told = await page.evaluate(async (source) => {
    const player = document.getElementById('player');
    const happens = (event) => new Promise((resolve, reject) => {
      player.addEventListener(event, resolve, { once: true });
      player.addEventListener('error', () => reject(new Error(player.error.message)), { once: true });
      setTimeout(() => reject(new Error(`no ${event} within 15 s`)), 15000);
    });
    const seek = async (seconds) => {
      const seeked = happens('seeked');
      player.currentTime = seconds;
      await seeked;
      return player.currentTime;
    };
    const ready = happens('canplay');
    player.src = source;
    await ready;
    const duration = player.duration;
    const moved = happens('timeupdate');
    await player.play();
    await moved;
    const seeks = [];
    for (const part of [0.7, 0.2, 0.9]) seeks.push((await seek(duration * part)) / duration);
    const ended = happens('ended');
    await seek(duration - 0.5);
    await player.play();
    await ended;
    return { duration, seeks, ended: player.ended };
  }, url);
  console.log(JSON.stringify(told));
} finally {
  await context.close();
}
