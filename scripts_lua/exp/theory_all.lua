-- All studies of the theory as one run, and one report:
--
--   hoplab run scripts_lua/exp/theory_all.lua
--   hoplab export last --html theory.html

local hop = require "hop"

local names = { "energy", "convergence", "retrieval", "noise", "images", "noop", "bounds", "capacity", "kernel",
  "vih" }

return hop.study {
  name = "theory",
  project = "theory",
  run = function(s)
    for _, name in ipairs(names) do s:part(require("exp.theory_" .. name)) end
  end,
}
