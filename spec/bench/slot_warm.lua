-- For other benchmarks: starts N containers of $PAYLOAD one after another in
-- this process and prints "MEDIAN MEAN" in microseconds.
-- Usage: PAYLOAD=/path lua5.4 slot_warm.lua N nonet|net

local here = arg[0]:match "^(.*)/" or "."

local n, net = ...

assert(loadfile(here .. "/worker.lua"))("bare", n, net, os.getenv "PAYLOAD")
