-- loadtest/wrk/mixed.lua - hits and misses in one stream. Environment, beside that of catalogue.lua:
-- HITS (0.9: share of requests to the catalogue's TRACKS; each of the others is to a track nobody has asked for:
-- number TRACKS and above), EPOCH (0: another number, other misses, so that a second run against the same cache misses too).
-- The origin must have such tracks: loadtest/origin answers any number.
local folder = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
local catalogue = dofile(folder .. "catalogue.lua")
local hits = catalogue.number("HITS", 0.9)
local epoch = catalogue.number("EPOCH", 0)
local misses = 0

function request()
  local range = catalogue.random_range()
  if math.random() < hits then return catalogue.request(catalogue.draw(), range) end
  misses = misses + 1
  local track = catalogue.tracks + epoch * 100000000 + thread_number * 10000000 + misses
  return catalogue.request(string.format("%d", track), range)
end
