-- loadtest/wrk/catalogue.lua - what the wrk scripts share: numbers from the environment, a catalogue whose popularity
-- follows Zipf, and requests for pieces of it. Defines wrk's setup() and init(); a script may replace init(). loadtest/README.md lists the variables.
local catalogue = {}

function catalogue.number(name, default) return tonumber(os.getenv(name) or "") or default end

local number = catalogue.number
catalogue.tracks = number("TRACKS", 100)
catalogue.track_bytes = number("TRACK_BYTES", 4194304)
catalogue.prefix = os.getenv("PREFIX") or "/t/"
catalogue.host = os.getenv("HOST_FIELD") or "localhost"

catalogue.threads = {} -- of wrk, in the state that calls setup() and done()

function setup(thread)
  thread:set("thread_number", #catalogue.threads)
  table.insert(catalogue.threads, thread)
end

local cumulative = {}

-- Every thread of wrk is a Lua state of its own, and two threads must not draw the same sequence.
function init()
  math.randomseed(number("SEED", 1) * 1000 + thread_number)
  local sum, exponent = 0, number("ZIPF", 0.85)
  for rank = 1, catalogue.tracks do
    sum = sum + rank ^ -exponent
    cumulative[rank] = sum
  end
end

-- A track, 0 the most popular.
function catalogue.draw()
  local x, low, high = math.random() * cumulative[catalogue.tracks], 1, catalogue.tracks
  while low < high do
    local middle = math.floor((low + high) / 2)
    if cumulative[middle] < x then low = middle + 1 else high = middle end
  end
  return low - 1
end

-- `range` as in "0-65535", "100-", "-65536"; nil asks for the whole.
function catalogue.request(track, range)
  local fields = { Host = catalogue.host }
  if range then fields.Range = "bytes=" .. range end
  return wrk.format("GET", catalogue.prefix .. track, fields)
end

function catalogue.bounded(first, bytes)
  return string.format("%d-%d", first, math.min(first + bytes, catalogue.track_bytes) - 1)
end

-- A random one of RANGE_BYTES (65536); ALIGNED=1: it starts at a multiple of its size.
local range_bytes, aligned = number("RANGE_BYTES", 65536), number("ALIGNED", 0) == 1

function catalogue.random_range()
  local first = math.random(0, math.max(catalogue.track_bytes - range_bytes, 0))
  if aligned then first = math.floor(first / range_bytes) * range_bytes end
  return catalogue.bounded(first, range_bytes)
end

return catalogue
