-- loadtest/wrk/open_ended.lua - `bytes=N-` as browsers and ffmpeg ask, and listeners that leave in the middle of a body.
-- Environment, beside that of catalogue.lua: ABORTS (0.5: so many of the requests end some body that is under way),
-- FROM_START (0.6: share of requests that begin at byte 0, as a new track does; the others are seeks).
--
-- wrk itself cannot leave a body, so this shuts down one of wrk's own sockets, chosen at random: the server sees a
-- client that is gone. wrk counts each as a read error and connects again; done() says how many were on purpose.
local folder = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
local catalogue = dofile(folder .. "catalogue.lua")
local ffi = require("ffi")
ffi.cdef([[
int shutdown(int fd, int how);
int getpeername(int fd, void* address, unsigned* length);
]])
local aborts, from_start = catalogue.number("ABORTS", 0.5), catalogue.number("FROM_START", 0.6)
local address, length = ffi.new("char[128]"), ffi.new("unsigned[1]")
local fds_max = 4096
aborted = 0

local highest_fd = 8
local function is_connected(fd)
  length[0] = 128
  return ffi.C.getpeername(fd, address, length) == 0
end

local function abort_one()
  while highest_fd < fds_max and is_connected(highest_fd + 1) do highest_fd = highest_fd + 1 end
  for _ = 1, 8 do
    local fd = math.random(3, highest_fd)
    if is_connected(fd) then
      ffi.C.shutdown(fd, 2)
      aborted = aborted + 1
      return
    end
  end
end

function request()
  if math.random() < aborts then abort_one() end
  local first = 0
  if math.random() >= from_start then first = math.random(0, catalogue.track_bytes - 1) end
  return catalogue.request(catalogue.draw(), string.format("%d-", first))
end

function done(summary, latency, requests)
  local total = 0
  for _, thread in ipairs(catalogue.threads) do total = total + thread:get("aborted") end
  io.write(string.format("left on purpose: %d connections; complete: %d\n", total, summary.requests))
end
