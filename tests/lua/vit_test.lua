-- Vision transformers: sizes, starts, names of activations, what is refused, gradients, what an experiment
-- takes from its data. Run in fp64: gradients are compared with differences of 1e-5.

local hop = require "hop"
local check = require "check"
local T, nn, optim, data = hop.T, hop.nn, hop.optim, hop.data

local small = { image = { 1, 8, 6 }, patch = 2, layers = 1, width = 16, heads = 2, classes = 10 }
local function model(more)
  local o = {}
  for k, v in pairs(small) do o[k] = v end
  for k, v in pairs(more or {}) do o[k] = v end
  return nn.vit(o)
end
local function named(m)
  local out = {}
  for name, t in m:parameters() do out[name] = t end
  return out
end
local function size_of(t) return table.concat(t:size(), "x") end
local function one_hot(classes, ...)
  local rows = {}
  for i, label in ipairs { ... } do
    rows[i] = {}
    for c = 1, classes do rows[i][c] = c == label + 1 and 1 or 0 end
  end
  return T.from(rows)
end

-- ---- sizes ----

-- the published ones, from a model of one layer; a layer has 1 773 312 parameters
local function published(pre_norm)
  return nn.preset("vit_small_patch16_224", { layers = 1, pre_norm = pre_norm }):n_parameters() + 11 * 1773312
end
check.equal("parameters of vit_small_patch16_224", published(true), 22037224)
check.equal("without pre_norm", published(false), 22036840)
check.equal("a preset's option taken back", hop.modules.options(nn.preset("vit_small_patch16_224",
  { image = hop.none })).image, nil)

local p = named(model())
for name, size in pairs { ["patch_embed.proj.weight"] = "16x1x2x2", cls_token = "1x1x16", pos_embed = "1x13x16",
  ["norm_pre.weight"] = "16", ["blocks.0.norm1.bias"] = "16", ["blocks.0.attn.qkv.weight"] = "48x16",
  ["blocks.0.attn.proj.bias"] = "16", ["blocks.0.mlp.fc1.weight"] = "64x16", ["blocks.0.mlp.fc2.weight"] = "16x64",
  ["norm.weight"] = "16", ["head.weight"] = "10x16", ["head.bias"] = "10" } do
  check.that(name, p[name] ~= nil, "is missing")
  if p[name] then check.equal(name .. ": shape", size_of(p[name]), size) end
end
check.that("no bias of query, key, value", p["blocks.0.attn.qkv.bias"] == nil)
check.that("no bias of the patches", p["patch_embed.proj.bias"] == nil)
p = named(model { qkv_bias = true, pre_norm = false })
check.that("unless asked for", p["blocks.0.attn.qkv.bias"] and p["patch_embed.proj.bias"] and not p["norm_pre.weight"])
check.equal("logits", size_of(model()(T.rand { 3, 48 })), "3x10")
check.equal("of images of four dimensions", size_of(model()(T.rand { 3, 1, 8, 6 })), "3x10")
check.equal("a patch as large as the image", size_of(model { image = { 3, 4, 4 }, patch = 4 }(T.rand { 2, 48 })),
  "2x10")

-- ---- starts ----

hop.seed(1)
p = named(model { width = 96, heads = 6, image = { 3, 16, 16 }, patch = 8 })
local function spread(t)
  local n, mean = t:numel(), t:sum():item() / t:numel()
  return mean, math.sqrt(T.square(t - mean):sum():item() / n)
end
for _, name in ipairs { "blocks.0.attn.qkv.weight", "blocks.0.attn.proj.weight", "blocks.0.mlp.fc1.weight",
  "blocks.0.mlp.fc2.weight", "head.weight", "pos_embed" } do
  local mean, std = spread(p[name])
  check.near(name .. ": mean", mean, 0, 0.003)
  check.near(name .. ": deviation", std, 0.02, 0, 0.15)
end
local bound = 1 / math.sqrt(3 * 8 * 8)
local _, std = spread(p["patch_embed.proj.weight"])
check.near("patches: uniform", std, bound / math.sqrt(3), 0, 0.05)
check.that("within 1/sqrt(fan in)", T.max(T.reshape(T.abs(p["patch_embed.proj.weight"]), { -1 })):item() <= bound)
local largest = T.max(T.reshape(T.abs(p.cls_token), { -1 })):item()
check.that("class token", largest > 0 and largest < 1e-5, tostring(largest))
for name, t in pairs(p) do
  if name:find("bias", 1, true) then check.equal(name, T.abs(t):sum():item(), 0) end
end

-- ---- methods ----

local function resolved(method)
  local m = model { attention = { method = method } }
  m:n_parameters()
  local o = hop.modules.options(m)
  return o.attention, o.normaliser
end
local a, f = resolved "clipped_outeffhop"
check.equal("clipped OutEffHop", a.softmax, "clippedsoftmax1(-.00001:1)")
check.near("its gamma", f.gamma, -1e-5, 1e-20)
check.equal("clipped softmax", resolved "clipped_softmax".softmax, "clipped(-.00001:1)")
a = resolved "gated_outeffhop"
check.equal("gated OutEffHop", ("%s %s %s %g"):format(a.softmax, a.gate, a.gate_predictor, a.gate_init),
  "softmax1 conditional_per_token linear 0.25")
local clipped = model { attention = { alpha = 6.5 } }
clipped:n_parameters()
check.near("alpha over the tokens", hop.modules.options(clipped).normaliser.gamma, -0.5, 1e-12)
check.that("a gate per head is not refused: no future is hidden", pcall(function()
  model { attention = { gate = "conditional_per_head" } }:n_parameters()
end))
p = named(model { attention = { method = "gated_attention" } })
check.equal("names of gates", size_of(p["blocks.0.attn.alpha.1.weight"]), "1x8")

-- ---- refused ----

local function refuses(what, text, more) check.raises(what, text, function() model(more):n_parameters() end) end
refuses("patches that do not fit", "8 x 6 cannot be cut into patches of 4 x 4", { patch = 4 })
refuses("heads that do not divide", "width 16 is not a multiple of 3 heads", { heads = 3 })
refuses("an image of two numbers", "lists channels, height and width", { image = { 8, 6 } })
refuses("a height that is no number", "lists channels, height and width", { image = { 1, "8", 6 } })
refuses("an image without pixels", "lists channels, height and width", { image = { 1, 0, 6 } })
refuses("a method and part of it", "attention.softmax is given",
  { attention = { method = "vanilla", softmax = "softmax1" } })
check.raises("no image", "option 'image' is missing", function() nn.vit { classes = 3 }:n_parameters() end)
check.raises("no classes", "option 'classes' is missing",
  function() nn.vit { image = { 1, 16, 16 } }:n_parameters() end)
check.raises("another number of channels", "images of 1 x 8 x 6 were expected",
  function() model()(T.rand { 2, 3, 8, 6 }) end)
check.raises("too many numbers", "these are {2, 144}", function() model()(T.rand { 2, 144 }) end)
check.raises("a single image", "these are {48}", function() model()(T.rand { 48 }) end)
check.raises("other classes", "the model has 10 classes, the targets have 9",
  function() model():loss { x = T.rand { 1, 48 }, y = one_hot(9, 1) } end)

-- ---- losses and shares of right answers ----

local logits = T.from { { 1, 2, 3 }, { 0, 5, 0 } }
local labels = T.cast(T.from { 2, 0 }, "i32")
check.near("one-hot targets", hop.loss.soft_cross_entropy(logits, one_hot(3, 2, 0)):item(),
  hop.loss.cross_entropy(logits, labels):item(), 1e-12)
local uniform = T.full({ 2, 3 }, 1 / 3)
local mixed = 0.7 * hop.loss.soft_cross_entropy(logits, one_hot(3, 2, 0)) +
  0.3 * hop.loss.soft_cross_entropy(logits, uniform)
check.near("smoothing", hop.loss.soft_cross_entropy(logits, one_hot(3, 2, 0), 0.3):item(), mixed:item(), 1e-12)
check.near("far logits", hop.loss.soft_cross_entropy(logits * 1e6, one_hot(3, 2, 1)):item(), 0, 1e-12)

local nan = 0 / 0
local outputs = T.from { { 4, 3, 2, 1 }, { 1, 1, 1, 1 }, { 1, nan, 0, 0 }, { -math.huge, 2, math.huge, 1 } }
local targets = one_hot(4, 2, 1, 0, 1)
for k, want in ipairs { 0, 0.5, 0.75, 0.75 } do
  check.near(("among the first %d"):format(k), hop.accuracy(outputs, targets, k):item(), want, 1e-12)
end

-- ---- gradients, learning ----

local function worst_error(m, batch)
  local worst, list = 0, {}
  for name, t in m:parameters() do list[#list + 1] = { name, t } end
  for _, x in ipairs(list) do
    local t, h = x[2], 1e-5
    local keep = T.from(t:table())
    local v = T.randn(t:size())
    local expected = (T.grad((m:loss(batch)), { t })[1] * v):sum():item() -- before t changes
    t:set_(keep + v * h)
    local up = m:loss(batch):item()
    t:set_(keep - v * h)
    local slope = (up - m:loss(batch):item()) / (2 * h)
    t:set_(keep)
    worst = math.max(worst, math.abs(slope - expected) / (math.abs(expected) + 1e-5))
  end
  return worst
end

hop.seed(2)
local batch = { x = T.rand { 4, 48 }, y = one_hot(10, 3, 1, 4, 1) }
for _, attention in ipairs { {}, { softmax = "softmax1" }, { softmax = "clippedsoftmax1(-.1:1)" },
  { method = "gated_outeffhop" } } do
  hop.seed(3)
  local m = model { init_std = 0.3, label_smoothing = 0.1, attention = attention }
  local error_ = worst_error(m:train(), batch)
  local name = attention.method or attention.softmax or "vanilla"
  check.that("gradients: " .. name, error_ < 1e-6, tostring(error_))
end
for _, method in ipairs { "vanilla", "clipped_softmax", "gated_attention", "outeffhop", "clipped_outeffhop",
  "gated_outeffhop" } do
  hop.seed(3)
  local m = model { dropout = 0.1, attn_dropout = 0.1, attention = { method = method } }
  local _, metrics = m:loss(batch)
  check.equal(method .. ": gates", metrics.gates and size_of(metrics.gates), method:find "gated" and "1x2" or nil)
  local step = hop.train_step { model = m, optim = optim.adamw { lr = 3e-3 }, max_grad_norm = 1 }
  local first, last = step(batch), nil
  for _ = 1, 30 do last = step(batch) end
  check.that(method .. ": learns", last.ok and last.loss < first.loss - 0.5, tostring(last.loss))
end
local m = model { label_smoothing = 0.5 }
check.that("no smoothing in an evaluation", m:train():loss(batch):item() ~= m:eval():loss(batch):item())
local _, metrics = model { classes = 5 }:loss { x = batch.x, y = one_hot(5, 3, 1, 4, 1) }
check.that("of five classes all are among the first five", metrics.accuracy and not metrics.top5)

-- ---- weights of others ----

local path = os.tmpname()
local from = model { qkv_bias = true }
hop.save(path, named(from))
check.close("weights from a file", model { qkv_bias = true, init = path }(batch.x), from(batch.x), 0)
check.raises("of another model", "blocks.0.attn.qkv.bias", function() model { init = path }:n_parameters() end)
check.that("gates keep their start", pcall(function()
  model { qkv_bias = true, init = path, attention = { method = "gated_attention" } }:n_parameters()
end))
os.remove(path)

-- ---- in an experiment ----

local function build(vit)
  return hop.runner.build(hop.runner.resolve(hop.experiment { name = "e", model = nn.vit(vit),
    optim = optim.adamw { lr = 1e-3 }, train = { max_steps = 1 },
    data = data.images { set = "generated", generated = 40, generated_eval = 20, batch_size = 8 } }, {}))
end
local tiny = { patch = 14, layers = 1, width = 8, heads = 2 }
local built = build(tiny)
check.equal("image and classes are the data's", table.concat(built.config.model.image, " ") .. " " ..
  built.config.model.classes, "1 28 28 10")
local names = {}
for i, x in ipairs(built.train.metrics) do names[i] = x[1] end
check.equal("metrics", table.concat(names, " "), "accuracy top5")
check.raises("other sizes than the data's", "model.image is 3 x 28 x 28, the data has 1 x 28 x 28",
  build, { image = { 3, 28, 28 }, patch = 14 })
check.raises("other classes than the data's", "model.classes is 100, the data has 10", build,
  { classes = 100, patch = 14 })
check.raises("patches that the data do not fit", "28 x 28 cannot be cut", build, { patch = 16 })
local groups = nn.vit(small):outliers()
local function flags(tap) return hop.runner.group_flags(groups, tap) end
check.equal("an activation", flags "layer.0/attn.qkv", 1 | 8)
check.equal("the class scores", flags "logits", 1 | 8)
check.equal("a layer", flags "layer.11/out", 1 | 4 | 8)
for _, tap in ipairs { "ffn.in", "ffn.act", "ffn.out" } do
  check.equal("of the feed-forward part: " .. tap, flags("layer.0/" .. tap), 1 | 2 | 8)
end
check.equal("its norm is not", flags "layer.0/ffn.norm", 1 | 8)

check.done()
