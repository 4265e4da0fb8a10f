-- Methods and gates: what a name stands for, parameters, starts, gradients, what is refused.
-- Run in fp64: gradients are compared with differences of 1e-5.

local hop = require "hop"
local check = require "check"
local T, nn, optim = hop.T, hop.nn, hop.optim

local families = { bert = nn.bert, opt = nn.opt }
local function model(family, attention, more)
  local o = { layers = 1, width = 16, heads = 2, vocab = 9, max_len = 8, dropout = 0, attn_dropout = 0,
    attention = attention }
  for k, v in pairs(more or {}) do o[k] = v end
  return families[family](o)
end

-- ---- names ----

local function resolved(family, attention)
  local m = model(family, attention)
  m:n_parameters()
  return hop.modules.options(m).attention, hop.modules.options(m).normaliser
end

local a, f = resolved("bert", { method = "clipped_outeffhop" })
check.equal("clipped OutEffHop of BERT", a.softmax, "clippedsoftmax1(-.025:1)")
check.near("its gamma", f.gamma, -0.025, 0)
a, f = resolved("opt", { method = "clipped_outeffhop" })
check.equal("of OPT: softmax1", a.softmax .. " " .. f.base, "softmax1 softmax1")
check.near("and alpha 12 over max_len", f.gamma, -12 / 8, 1e-12)
a = resolved("bert", { method = "gated_attention" })
check.equal("gate of BERT", a.gate .. " " .. a.gate_predictor, "conditional_per_token mlp")
a, f = resolved("opt", { method = "gated_outeffhop" })
check.equal("gate of OPT", ("%s %s %g"):format(a.gate, a.gate_predictor, a.gate_init),
  "conditional_per_token linear 0.25")
check.equal("base of gated OutEffHop", f.base, "softmax1")
a, f = resolved("opt", {})
check.equal("nothing said", a.softmax .. " " .. a.gate, "vanilla none")
check.that("no gate", f.gate == nil)

check.raises("method and part of it", "attention.softmax is given, and method 'outeffhop' has one too",
  function() model("bert", { method = "outeffhop", softmax = "vanilla" }):n_parameters() end)
check.raises("no such method", "method", function() model("bert", { method = "outefhop" }) end)
check.raises("no such gate", "gate", function() model("bert", { gate = "per_token" }) end)
check.raises("a gate that sees the future", "future",
  function() model("opt", { gate = "conditional_per_head" }):n_parameters() end)
check.raises("heads that do not divide", "not a multiple",
  function() model("opt", { gate = "conditional_per_token" }, { heads = 3 }):n_parameters() end)

-- ---- parameters ----

local function added(attention)
  local wide = { width = 768, heads = 12, ffn = 1 }
  return model("bert", attention, wide):n_parameters() - model("bert", {}, wide):n_parameters()
end
local per_token = "conditional_per_token"
for predictor, n in pairs { linear = 780, mlp = 12684, mlp2 = 50700, all_features = 9228 } do
  check.equal("parameters of " .. predictor, added { gate = per_token, gate_predictor = predictor }, n)
end
check.equal("parameters of a vector", added { gate = "unconditional_per_head" }, 12)

local function named(m)
  local out = {}
  for name, t in m:parameters() do out[name] = t end
  return out
end
local at = "bert.encoder.layer.0.attention.self.alpha"
local p = named(model("bert", { gate = per_token, gate_init = 0.25 }))
check.near("bias of the start", p[at .. ".1.bias"]:item(), -1.0986123, 1e-6)
check.that("weights within 1/sqrt(d)", T.max(T.abs(p[at .. ".0.weight"])):item() <= 1 / math.sqrt(8))
p = named(model("bert", { gate = per_token, gate_predictor = "mlp" }))
check.equal("shape of an inner layer", table.concat(p[at .. ".1.0.weight"]:size(), "x"), "2x8")
check.equal("shape of an outer layer", table.concat(p[at .. ".0.2.weight"]:size(), "x"), "1x2")
p = named(model("bert", { gate = "conditional_per_head", gate_predictor = "all_features" }))
check.equal("all features", table.concat(p[at .. ".weight"]:size(), "x"), "2x16")
p = named(model("opt", { gate = "unconditional_per_head" }))
check.equal("a vector of zeros", T.sum(T.abs(p["model.decoder.layers.0.self_attn.alpha"])):item(), 0)

-- published sizes, from models of one layer with a small table; a layer has 7 087 872 parameters
local function full_size(name, vocab, per_row)
  return nn.preset(name, { layers = 1, vocab = 8 }):n_parameters() + 11 * 7087872 + (vocab - 8) * per_row
end
check.equal("parameters of bert-base-uncased", full_size("bert-base-uncased", 30522, 769), 109514298)
check.equal("parameters of opt-125m", full_size("opt-125m", 50272, 768), 125239296)
local wide = hop.modules.options(nn.preset("opt-350m", { dropout = 0 }))
check.equal("opt-350m", ("%d %d %s %g"):format(wide.embed, wide.width, wide.norm, wide.dropout), "512 1024 post 0")
wide = hop.modules.options(nn.preset "opt-350m-yaml")
check.equal("opt-350m-yaml", ("%d %d %s %g"):format(wide.embed, wide.width, wide.norm, wide.init_std),
  "768 1024 pre 0.006")
check.raises("no such preset", "opt-125m", function() nn.preset "opt-125M" end)

-- ---- values ----

local ids = T.cast(T.from { { 5, 6, 7, 5, 6, 7, 5, 6 }, { 1, 2, 3, 4, 1, 2, 3, 4 } }, "i32")
local labels = T.cast(T.from { { 6, 7, 5, 6, 7, 5, 6, -100 }, { 2, 3, 4, 1, 2, 3, 4, -100 } }, "i32")
local batch = { ids = ids, labels = labels }

-- the same start in both: a gate of one half, times two
local plain, open = model("opt", {}), model("opt", { gate = per_token, gate_init = 0.5, fine_tuning = true })
open:n_parameters()
local state = {}
for name, t in plain:parameters() do state[name] = t:detach() end
for name, t in open:parameters() do state[name] = state[name] or t:detach() * 0 end
open:load_state(state)
plain:eval()
open:eval()
check.close("a fine-tuned gate opens fully", open(ids), plain(ids), 1e-6)

local function worst_error(m)
  local worst = 0
  local list = {}
  for name, t in m:parameters() do list[#list + 1] = { name, t } end
  for _, x in ipairs(list) do
    local name, t = x[1], x[2]
    if name:find("alpha", 1, true) then
      local keep = T.from(t:table())
      local v, h = T.randn(t:size()), 1e-5
      local expected = (T.grad((m:loss(batch)), { t })[1] * v):sum():item() -- before t changes
      t:set_(keep + v * h)
      local up = m:loss(batch):item()
      t:set_(keep - v * h)
      local slope = (up - m:loss(batch):item()) / (2 * h)
      t:set_(keep)
      worst = math.max(worst, math.abs(slope - expected) / (math.abs(expected) + 1e-5))
    end
  end
  return worst
end

for family in pairs(families) do
  for _, softmax in ipairs { "vanilla", "softmax1", "clippedsoftmax1(-.025:1)" } do
    for _, predictor in ipairs { "linear", "mlp", "mlp2", "all_features" } do
      hop.seed(3)
      local label = ("%s %s %s"):format(family, softmax, predictor)
      local m = model(family, { softmax = softmax, gate = per_token, gate_predictor = predictor })
      m:eval()
      local error_ = worst_error(m)
      check.that(label .. ": gradients", error_ < 1e-5, tostring(error_))
    end
  end
  hop.seed(3)
  local m = model(family, { method = "gated_outeffhop" })
  local _, metrics = m:loss(batch)
  check.equal(family .. ": gates by layer and head", table.concat(metrics.gates:size(), "x"), "1x2")
  check.near(family .. ": their mean", metrics.gate:item(), T.mean(metrics.gates):item(), 1e-6)
  local step = hop.train_step { model = m, optim = optim.adamw { lr = 3e-3 }, max_grad_norm = 1 }
  local first, last = step(batch), nil
  for _ = 1, 25 do last = step(batch) end
  check.that(family .. ": gated, learns", last.ok and last.loss < first.loss - 0.1)
end

-- ---- batches without labels, and sequences without a token ----

for family in pairs(families) do
  local m = model(family, { softmax = "softmax1" })
  local words = T.from({ { 5, 6, 7, 8 }, { 1, 2, 3, 4 } }, { dtype = "i32" })
  local none = T.full({ 2, 4 }, -100, { dtype = "i32" })
  local list, n = {}, 0
  for _, t in m:parameters() do list[#list + 1] = t end
  local l = m:loss { ids = words, labels = none }
  check.equal(family .. ": loss without labels", l:item(), 0)
  for _, g in pairs(T.grad(l, list)) do
    check.equal(family .. ": its gradient", T.reshape(T.abs(g), { -1 }):max():item(), 0)
    n = n + 1
  end
  check.that(family .. ": there are gradients", n > 10, n)
  local some = T.from({ { -100, 6, -100, -100 }, { -100, -100, -100, -100 } }, { dtype = "i32" })
  local mask = T.cast(T.from { { 1, 1, 1, 1 }, { 0, 0, 0, 0 } }, "bool")
  l = m:loss { ids = words, labels = some, mask = mask }
  check.that(family .. ": a sequence of padding alone", l:item() > 0 and l:item() < 10, l:item())
  for _, g in pairs(T.grad(l, list)) do
    local most = T.reshape(T.abs(g), { -1 }):max():item()
    check.that(family .. ": and gradients are numbers", most == most and most < 1e3, most)
  end
end

check.done()
