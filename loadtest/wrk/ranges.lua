-- loadtest/wrk/ranges.lua - bounded ranges of one size over a catalogue /t/0 ... /t/N-1 whose popularity follows Zipf.
-- Usable against any server. Environment: TRACKS (default 100), TRACK_BYTES (default 4194304), RANGE_BYTES (default 65536),
-- ZIPF (exponent, default 0.85: what reaches an edge behind client caches), SEED (default 1), ALIGNED (1: ranges start at multiples of their size).
local function number(name, default) return tonumber(os.getenv(name) or "") or default end

local tracks, track_bytes = number("TRACKS", 100), number("TRACK_BYTES", 4194304)
local range_bytes, exponent = number("RANGE_BYTES", 65536), number("ZIPF", 0.85)
local aligned = number("ALIGNED", 0) == 1
local cumulative = {}

function init(args)
  math.randomseed(number("SEED", 1))
  local sum = 0
  for rank = 1, tracks do
    sum = sum + rank ^ -exponent
    cumulative[rank] = sum
  end
end

local function draw_track()
  local x, low, high = math.random() * cumulative[tracks], 1, tracks
  while low < high do
    local middle = math.floor((low + high) / 2)
    if cumulative[middle] < x then low = middle + 1 else high = middle end
  end
  return low - 1
end

function request()
  local room = track_bytes - range_bytes
  local first = math.random(0, math.max(room, 0))
  if aligned then first = math.floor(first / range_bytes) * range_bytes end
  return wrk.format("GET", "/t/" .. draw_track(), { Host = "localhost", Range = string.format("bytes=%d-%d", first, first + range_bytes - 1) })
end
