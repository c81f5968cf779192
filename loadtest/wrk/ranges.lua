-- loadtest/wrk/ranges.lua - bounded ranges of one size at random places. Environment, beside that of catalogue.lua:
-- RANGE_BYTES (65536), ALIGNED (1: ranges start at multiples of their size).
local folder = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
local catalogue = dofile(folder .. "catalogue.lua")
local range_bytes = catalogue.number("RANGE_BYTES", 65536)
local aligned = catalogue.number("ALIGNED", 0) == 1
local threads = 0

function setup(thread)
  thread:set("thread_number", threads)
  threads = threads + 1
end

function init() catalogue.seed(thread_number) end

function request()
  local first = math.random(0, math.max(catalogue.track_bytes - range_bytes, 0))
  if aligned then first = math.floor(first / range_bytes) * range_bytes end
  return catalogue.request(catalogue.draw(), catalogue.bounded(first, range_bytes))
end
