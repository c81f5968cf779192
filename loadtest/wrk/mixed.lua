-- loadtest/wrk/mixed.lua - hits and misses in one stream. Environment, beside that of catalogue.lua: RANGE_BYTES (65536),
-- ALIGNED (1: ranges start at multiples of their size),
-- HITS (0.9: share of requests to the catalogue's TRACKS; each of the others is to a track nobody has asked for:
-- number TRACKS and above), EPOCH (0: another number, other misses, so that a second run against the same cache misses too).
-- The origin must have such tracks: loadtest/origin answers any number.
local folder = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
local catalogue = dofile(folder .. "catalogue.lua")
local range_bytes = catalogue.number("RANGE_BYTES", 65536)
local hits = catalogue.number("HITS", 0.9)
local aligned = catalogue.number("ALIGNED", 0) == 1
local epoch = catalogue.number("EPOCH", 0)
local misses, threads = 0, 0

function setup(thread)
  thread:set("thread_number", threads)
  threads = threads + 1
end

function init() catalogue.seed(thread_number) end

function request()
  local first = math.random(0, math.max(catalogue.track_bytes - range_bytes, 0))
  if aligned then first = math.floor(first / range_bytes) * range_bytes end
  local range = catalogue.bounded(first, range_bytes)
  if math.random() < hits then return catalogue.request(catalogue.draw(), range) end
  misses = misses + 1
  local track = catalogue.tracks + epoch * 100000000 + thread_number * 10000000 + misses
  return catalogue.request(string.format("%d", track), range)
end
