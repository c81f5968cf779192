-- loadtest/wrk/ranges.lua - bounded ranges of one size at random places. Environment: that of catalogue.lua.
local folder = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
local catalogue = dofile(folder .. "catalogue.lua")

function request() return catalogue.request(catalogue.draw(), catalogue.random_range()) end
