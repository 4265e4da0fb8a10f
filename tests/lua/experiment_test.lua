-- Models of every size and normaliser, loops of one's own, what hop.experiment refuses.

local hop = require "hop"
local check = require "check"
local T, nn, optim, data = hop.T, hop.nn, hop.optim, hop.data

local normalisers = { "vanilla", "softmax1", "entmax15", "sparsemax", "clipped(-0.025:1)",
  "clippedsoftmax1(-0.025:1.1)" }

-- --- a few steps of every kind of model lower its loss ---
local ids = T.cast(T.from { { 5, 6, 7, 5, 6, 7, 5, 6 }, { 1, 2, 3, 4, 1, 2, 3, 4 } }, "i32")
local labels = T.cast(T.from { { 6, 7, 5, 6, 7, 5, 6, -100 }, { 2, 3, 4, 1, 2, 3, 4, -100 } }, "i32")
local function learns(what, model, batch)
  local step = hop.train_step { model = model, optim = optim.adamw { lr = 3e-3 }, max_grad_norm = 1 }
  local first, last
  for i = 1, 25 do
    last = step(batch)
    first = first or last
    check.that(what .. " stays finite", last.ok, ("step %d: loss %s"):format(i, tostring(last.loss)))
  end
  check.that(what .. " learns", last.loss < first.loss - 0.1,
    ("loss %.3f, then %.3f"):format(first.loss, last.loss))
end
for _, softmax in ipairs(normalisers) do
  for _, norm in ipairs { "pre", "post" } do
    hop.seed(1)
    learns(("opt %s %s"):format(softmax, norm), nn.opt { layers = 1, width = 16, heads = 2, vocab = 9,
      max_len = 8, norm = norm, attention = { softmax = softmax } }, { ids = ids, labels = labels })
  end
  hop.seed(1)
  learns("bert " .. softmax, nn.bert { layers = 1, width = 16, heads = 2, vocab = 9, max_len = 8,
    attention = { softmax = softmax } }, { ids = ids, labels = labels })
end
for _, softmax in ipairs { "vanilla", "softmax1" } do
  hop.seed(1)
  learns("opt with alpha, " .. softmax, nn.opt { layers = 1, width = 16, heads = 2, vocab = 9, max_len = 8,
    attention = { softmax = softmax, alpha = 2 } }, { ids = ids, labels = labels })
end
for _, size in ipairs { { 1, 1, 1 }, { 1, 2, 2 }, { 3, 33, 3 }, { 2, 20, 5 } } do
  hop.seed(1)
  local m = nn.opt { layers = size[1], width = size[2], heads = size[3], vocab = 9, max_len = 8 }
  local logits = m(ids)
  check.equal(("opt %d x %d: logits"):format(size[1], size[2]), table.concat(logits:size(), ","), "2,8,9")
end
hop.seed(1)
learns("opt with projections", nn.opt { layers = 1, width = 16, heads = 2, vocab = 9, max_len = 8, embed = 6 },
  { ids = ids, labels = labels })

-- --- causal: a later token never changes an earlier position; BERT is not causal ---
local function differs_at(model, position)
  local a = model(ids)
  local other = ids:table()
  other[1][8] = 0
  local b = model(T.cast(T.from(other), "i32"))
  return not T.equal(a:narrow(2, position, 1), b:narrow(2, position, 1))
end
for _, softmax in ipairs(normalisers) do
  local o = { layers = 2, width = 16, heads = 2, vocab = 9, max_len = 8, dropout = 0,
    attention = { softmax = softmax } }
  hop.seed(2)
  local opt = nn.opt(o)
  check.that("opt " .. softmax .. " is causal", not differs_at(opt, 7) and differs_at(opt, 8))
end
hop.seed(2)
check.that("bert sees both sides", differs_at(nn.bert { layers = 1, width = 16, heads = 2, vocab = 9,
  max_len = 8, dropout = 0 }, 1))

-- --- a module of one's own, with a detached part ---
local line = nn.module { name = "line", params = function(p) p.w, p.b = p:zeros { 1, 1 }, p:zeros { 1 } end,
  forward = function(p, x) return x:matmul(p.w) + p.b end } {}
local x = T.from { { 1 }, { 2 }, { 3 } }
local fit = hop.train_step { model = line, optim = optim.sgd { lr = 0.1 },
  loss = function(m, b) return hop.loss.mse(m(b.x), b.y) end }
local result
for _ = 1, 400 do result = fit { x = x, y = 2 * x - 1 } end
check.that("a line is found", result.loss < 1e-5, tostring(result.loss))
check.near("its slope", line.w:item(), 2, 0.01)
check.raises("a loop without a model", "model", hop.train_step, { optim = optim.sgd { lr = 1 } })
check.raises("an optimiser that is none", "optim", hop.train_step, { model = line, optim = {} })
local stopped = hop.train_step { model = line, optim = optim.sgd { lr = 0.1 },
  loss = function(m, b) return T.square(m(b.x):detach()):mean() + 0 * m.w:sum() end }
local before = line.w:item()
stopped { x = x }
check.equal("nothing flows through a detached value", line.w:item(), before)
fit.lr = 0
fit { x = x, y = 0 * x }
check.equal("lr 0 changes nothing", line.w:item(), before)
local nan = fit { x = x, y = x * (0 / 0) }
check.that("a step that is not finite is told", not nan.ok)
check.equal("and changes nothing", line.w:item(), before)

-- --- saving and loading tensors ---
local path = os.tmpname()
hop.save(path, { w = line.w, ids = ids })
local back = hop.load(path)
check.equal("loaded", back.w:item(), before)
check.that("loaded ids", T.equal(back.ids, ids))
os.remove(path)
check.raises("load of nothing", "no such file", hop.load, path)

-- --- descriptions of experiments ---
local function experiment(change)
  local e = { name = "e", model = nn.opt { layers = 1, width = 8, heads = 1, max_len = 8 },
    data = data.clm { train = "generated", seq_len = 8, batch_size = 2 },
    optim = optim.adamw { lr = 1e-3 }, train = { max_steps = 3 } }
  for k, v in pairs(change) do e[k] = v end
  return hop.experiment(e)
end
check.that("an experiment", experiment {})
check.raises("a section's slip", "did you mean 'max_steps'", experiment, { train = { max_stps = 3 } })
check.raises("a section of another name", "did you mean 'optim'", experiment, { optm = 1 })
check.raises("a model that is none", "model", experiment, { model = 3 })
check.raises("on_nan", "unknown choice", experiment, { on_nan = "maybe" })
check.raises("a callback that is none", "callback", experiment, { callbacks = { 7 } })
check.raises("a hook of no name", "on_stp", hop.callback, { name = "x", on_stp = print })
check.done()
