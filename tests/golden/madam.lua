-- Reference trajectories of Madam (tests/golden/deq, README there): given parameters and gradients,
-- the parameters after each step. Run as: hoplab lua tests/golden/madam.lua DIR

local hop = require "hop"
local check = require "check"
local T, nn = hop.T, hop.nn

local path = arg[1] .. "/madam.safetensors"
local file = io.open(path)
if not file then
  check.skip("madam", "not in " .. arg[1])
  hop.exit(77)
end
file:close()
local golden = hop.load(path)

local cases = { -- from the file's metadata
  { "hopdeq", { lr = 0.01, p_scale = 1024, g_bound = 3 }, 5 },
  { "default", {}, 5 },
  { "tight", { lr = 0.25, p_scale = 1.3, g_bound = 0.75 }, 5 },
  { "spike", { lr = 0.01, p_scale = 1024, g_bound = 3 }, 12 },
}

-- A "model" of the two parameters; sum(p * g) has the gradient g.
local function model_of(name)
  return nn.module { name = "given", params = function(p)
    for _, which in ipairs { "W", "b" } do
      p[which] = p:zeros(golden[name .. "." .. which .. ".p0"]:size())
    end
  end, forward = function() end } {}
end

for _, c in ipairs(cases) do
  local name, options, steps = table.unpack(c)
  local model = model_of(name)
  local step = hop.train_step { model = model, optim = hop.optim.madam(options),
    loss = function(m, b) return (m.W * b.gW):sum() + (m.b * b.gb):sum() end }
  for _, which in ipairs { "W", "b" } do model[which]:set_(golden[name .. "." .. which .. ".p0"]) end
  for i = 1, steps do
    local function at(which, what) return golden[("%s.%s.%s"):format(name, which, what)]:select(1, i) end
    local result = step { gW = at("W", "grads"), gb = at("b", "grads") }
    check.that(("%s: step %d"):format(name, i), result.ok)
    for _, which in ipairs { "W", "b" } do
      check.close(("%s: %s after step %d"):format(name, which, i), model[which], at(which, "traj"), 0, 1e-5)
    end
  end
  if name == "hopdeq" then -- what the first step does can be said without a reference
    local first = golden["hopdeq.W.traj"]:select(1, 1)
    local p0, g = golden["hopdeq.W.p0"], golden["hopdeq.W.grads"]:select(1, 1)
    local moved = T.ne(p0, 0) * T.gt(T.abs(g), 1e-20)
    check.close("hopdeq: the first step is exp(+-lr)",
      T.abs(T.log(T.where(moved, first / p0, T.ones(p0:size())))), 0.01 * moved, 1e-5)
  end
end
check.done()
