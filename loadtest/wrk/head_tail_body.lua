-- loadtest/wrk/head_tail_body.lua - players of Ogg files: the head, the tail (the last page tells the duration), then
-- the body piece after piece. Environment, beside that of catalogue.lua: PLAYERS (64 at once in each thread), HEAD_BYTES
-- (65536), TAIL_BYTES (65536), PIECE_BYTES (262144), PLAYED (0.5: mean share of a track that is played before the next).
local folder = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
local catalogue = dofile(folder .. "catalogue.lua")
local head_bytes = catalogue.number("HEAD_BYTES", 65536)
local tail_bytes = catalogue.number("TAIL_BYTES", 65536)
local piece_bytes = catalogue.number("PIECE_BYTES", 262144)
local played = catalogue.number("PLAYED", 0.5)
local players, turn = {}, 0

local function next_track(player)
  player.track, player.step = catalogue.draw(), 0
  player.at = head_bytes
  player.stop = math.min(catalogue.track_bytes, catalogue.track_bytes * 2 * played * math.random())
end

local seed = init
function init()
  seed()
  for i = 1, catalogue.number("PLAYERS", 64) do
    players[i] = {}
    next_track(players[i])
  end
end

-- The steps of one player follow each other, but other players' requests lie between them, as at an edge.
function request()
  turn = turn % #players + 1
  local player = players[turn]
  player.step = player.step + 1
  if player.step == 1 then return catalogue.request(player.track, catalogue.bounded(0, head_bytes)) end
  if player.step == 2 then
    local first = math.max(0, catalogue.track_bytes - tail_bytes)
    return catalogue.request(player.track, catalogue.bounded(first, tail_bytes))
  end
  local track, at = player.track, math.min(player.at, catalogue.track_bytes - 1)
  player.at = player.at + piece_bytes
  if player.at >= player.stop then next_track(player) end
  return catalogue.request(track, catalogue.bounded(at, piece_bytes))
end
