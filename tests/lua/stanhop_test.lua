-- nn.stanhop beyond its reference numbers (tests/golden/stanhop.lua): windows that do not fit segments,
-- merges that need padding, every gate, dropout, and what is refused.

local hop = require "hop"
local check = require "check"
local T = hop.T

local function options(more)
  local o = { series = 3, in_len = 12, out_len = 6, seg_len = 3, layers = 2, width = 8, heads = 2, ffn = 12, factor = 2,
    dropout = 0, mode = "softmax1" }
  for k, v in pairs(more or {}) do o[k] = v end
  return o
end

local function model(more) return hop.nn.stanhop(options(more)) end

-- m with the weights of `other`
local function like(m, other)
  local state = {}
  for name, t in other:parameters() do state[name] = t end
  return m:load_state(state)
end

hop.seed(5)
local x, y = T.randn { 2, 12, 3 }, T.randn { 2, 6, 3 }

-- ---- windows ----

local whole = model()
local short = like(model { in_len = 10, out_len = 5 }, whole)
local front = T.expand(x:narrow(2, 3, 1), { 2, 2, 3 })
check.close("the first step is repeated in front", short(x:narrow(2, 3, 10)),
  whole(T.cat({ front, x:narrow(2, 3, 10) }, 2)):narrow(2, 1, 5), 1e-6)
check.close("a baseline is the mean of what is seen", like(model { baseline = true }, whole)(x),
  whole(x) + T.mean(x, 2, true), 1e-6)
check.that("three segments are merged by two", pcall(model { in_len = 9, win_size = 2, layers = 3 }, x:narrow(2, 1, 9)))

-- ---- training ----

local wet = model { dropout = 0.4 }
wet:train()
check.that("dropout draws anew", not T.equal(wet(x), wet(x)))
wet:eval()
check.that("and rests in evaluation", T.equal(wet(x), wet(x)))
for _, mode in ipairs { "softmax1", "entmax" } do
  local m = model { mode = mode, dropout = 0.1 }
  local step = hop.train_step { model = m, optim = hop.optim.adam { lr = 3e-3, weight_decay = 0.1 }, max_grad_norm = 5 }
  local first = step { x = x, y = y }.loss
  local last
  for _ = 1, 15 do last = step { x = x, y = y }.loss end
  check.that(mode .. " learns", last < 0.8 * first, ("from %.3g to %.3g"):format(first, last))
  for name, t in m:parameters() do
    if name:find "alpha_chooser$" then
      check.that("nothing moves " .. name, t:item() >= 1.0001 and t:item() <= 3)
    end
  end
end

-- ---- gates ----

local n_layers = 3 * 2 + 4 * 3
for _, gate in ipairs { "unconditional_per_head", "conditional_per_head", "conditional_per_token" } do
  for _, predictor in ipairs(gate:find "^un" and { "linear" } or { "linear", "mlp", "mlp2", "all_features" }) do
    local m = model { gate = gate, gate_predictor = predictor, gate_init = 0.25 }
    local what = gate .. " " .. predictor
    local loss, metrics = m:loss { x = x, y = y }
    check.that(what .. " is finite", loss:item() == loss:item())
    check.equal(what .. " has a row for each layer", table.concat(metrics.gates:size(), " "), n_layers .. " 2")
  end
end
check.equal("a linear gate adds D + H numbers to a layer", model { gate = "conditional_per_token" }:n_parameters(),
  whole:n_parameters() + n_layers * (8 + 2))

-- ---- eight bits ----

for _, mode in ipairs { "entmax", "sparsemax", "clip" } do
  local m = model { mode = mode }
  m:eval()
  local q = hop.quantize { model = m, outputs = function(model_, b)
    local f = model_(b.x)
    return f:sum(), f
  end }
  for _ = 1, 2 do q:observe { x = x } end
  local want = m(x)
  for _, way in ipairs { "run", "execute" } do
    local d = T.mean(T.square(q[way](q, { x = x })[2] - want)):item() / T.mean(want * want):item()
    check.that(("%s %s"):format(mode, way), d < 1e-2, ("mean square difference of %.3g"):format(d))
  end
end

-- plain: with the heads of all decoder layers; these stay in float where the recipe says so
local function heads(setup)
  local m, n = model { mode = "softmax1" }, 0
  local q = hop.quantize { model = m:eval() or m, setup = setup, outputs = function(model_, b)
    local f = model_(b.x)
    return f:sum(), f
  end }
  q:observe { x = x }
  for _, s in ipairs(q:sites()) do n = n + (s.name:find "linear_pred%.weight$" and 1 or 0) end
  return n
end
check.equal("heads by default", heads(), 3)
check.equal("heads in float", heads "fp32_head", 0)

-- ---- what is refused ----

local function refused(what, text, more) check.raises(what, text, function() return model(more):n_parameters() end) end
refused("a mode of another name", "mode", { mode = "entmax15" })
refused("the original with softmax", "entmax", { variant = "original" })
refused("heads that do not divide", "not a multiple", { heads = 3 })
refused("a merge that finds too few segments", "block 2 has 1 segments", { win_size = 4, layers = 3 })
check.raises("no series", "series", function()
  return hop.nn.stanhop { in_len = 12, out_len = 6 }:n_parameters()
end)
check.raises("a window of another length", "{2, 11, 3}", function() return whole(x:narrow(2, 1, 11)) end)

check.done()
