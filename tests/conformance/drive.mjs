// Runs npm's http-cache-tests (the package's folder is the first argument) in one process: its origin
// at a port of loopback that the kernel picks, then its client against the address that is read from
// standard input, then once more with our corrected copies (corrected.mjs). Prints two lines of JSON:
// {"port": N} and {"results": {...}, "kinds": {...}, "corrected": {...}}.
import http from 'node:http'
import path from 'node:path'
import process from 'node:process'
import readline from 'node:readline'
import { pathToFileURL } from 'node:url'
import correctedTests from './corrected.mjs'

const folder = path.resolve(process.argv[2])
const load = file => import(pathToFileURL(path.join(folder, file)))
const { default: handleConfig } = await load('server/handle-config.mjs')
const { default: handleState } = await load('server/handle-state.mjs')
const { default: handleTest } = await load('server/handle-test.mjs')
const { default: suites } = await load('tests/index.mjs')
const { runTests, getResults } = await load('client/runner.mjs')
const { default: fetch } = await load('../node-fetch/lib/index.mjs')

const handlers = { config: handleConfig, state: handleState, test: handleTest }
const origin = http.createServer((request, response) => {
  const [, name, ...rest] = new URL(request.url, 'http://origin').pathname.split('/')
  if (name in handlers) return handlers[name](rest, request, response)
  response.writeHead(404).end()
})
await new Promise(resolve => origin.listen(0, '127.0.0.1', resolve))
console.log(JSON.stringify({ port: origin.address().port }))

const lines = readline.createInterface({ input: process.stdin })
const base = await new Promise(resolve => lines.once('line', resolve))
const kinds = {}
for (const suite of suites) {
  for (const test of suite.tests) {
    if (!test.browser_only) kinds[test.id] = test.kind || 'required'
  }
}
const corrected = { name: 'Corrected', id: 'corrected', tests: correctedTests }
await runTests([...suites, corrected], fetch, false, base)
const all = getResults()
const results = Object.fromEntries(Object.entries(all).filter(([id]) => id in kinds))
const ours = Object.fromEntries(Object.entries(all).filter(([id]) => !(id in kinds)))
process.stdout.write(JSON.stringify({ results, kinds, corrected: ours }) + '\n', () => process.exit(0))
