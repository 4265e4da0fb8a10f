-- A sweep over the toy model: a grid, seeds, and a condition. A learning rate above 1 fails at step 5.
local hop = require "hop"
local base = require "tiny"

return hop.sweep {
  name = "grid",
  base = hop.experiment(base, {
    train = { max_steps = 20 }, eval = { every = 0, batches = 1 }, probe = { every = 0 },
    callbacks = { hop.callback { name = "fails", state = function() return {} end,
      on_step = function(_, ev) if ev.step == 5 and ev.run:get("lr") > 1 then error("it fails here") end end } },
  }),
  grid = { ["optim.lr"] = { 1e-3, 1e-2 }, seed = { 1, 2 } },
  where = function(c) return not (c.optim.lr == 1e-2 and c.seed == 2) end,
}
