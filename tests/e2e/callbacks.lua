-- Every hook, state that survives resuming, and what a callback may do to its run.
local hop = require "hop"

local seen = {}
local function note(hook)
  return function(s, ev)
    s.n = s.n + 1
    if not seen[hook] then
      seen[hook] = true
      print(("hook %s at step %d"):format(hook, ev.step))
    end
  end
end

local count = hop.callback { name = "count", state = function() return { n = 0 } end,
  on_start = note "start", on_log = note "log", on_eval = note "eval", on_save = note "save",
  on_stop = note "stop", on_control = note "control",
  on_step = function(s, ev)
    s.n = s.n + 1
    if ev.step == 15 then ev.run:set("lr", 0.5 * ev.run:get("lr")) end
    if ev.step == 18 then ev.run:log({ ["mine/answer"] = 42 }, { ["mine/answer"] = "km" }) end
    if ev.step == 19 then ev.run:quantize() end
    if ev.step == 20 then print("counted " .. s.n) end
    if ev.step == 25 then ev.run:stop("seen enough") end
  end }

return hop.experiment {
  name = "callbacks",
  model = hop.nn.opt { layers = 1, width = 16, heads = 1, max_len = 16 },
  data = hop.data.clm { train = "generated", seq_len = 16, batch_size = 2 },
  optim = hop.optim.adamw { lr = 1e-3 },
  train = { max_steps = 60 },
  log = { every = 5 },
  eval = { every = 10, batches = 2 },
  save = { every = 12 },
  callbacks = { count },
}
