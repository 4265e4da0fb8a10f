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

-- --- squared error and accuracy ---
local out = T.from { { 1, 3, 2 }, { 5, 5, 0 }, { 0 / 0, 1, 0 }, { -1, -2, -3 } }
local function onehot(...)
  local rows = {}
  for i, k in ipairs { ... } do rows[i] = { k == 1 and 1 or 0, k == 2 and 1 or 0, k == 3 and 1 or 0 } end
  return T.from(rows)
end
check.equal("accuracy: the first of equals, never NaN", hop.accuracy(out, onehot(2, 1, 2, 1)):item(), 0.75)
check.equal("accuracy: the second of equals is wrong", hop.accuracy(out, onehot(2, 2, 1, 3)):item(), 0.25)
local near = hop.loss.squared_error(T.from { { 1, 2 }, { 3, 5 } }, T.from { { 0, 2 }, { 3, 3 } })
check.near("squared error", near:item(), 1.25, 1e-6)

-- --- madam: multiplies, so zeros and signs stay; nothing happens without a finite gradient ---
local pair = nn.module { name = "pair", params = function(p) p.w = p:zeros { 4 } end, forward = print } {}
pair.w:set_(T.from { 1, -2, 0, 0.5 })
local multiply = hop.train_step { model = pair, optim = optim.madam {},
  loss = function(m, b) return (m.w * b.g):sum() end }
check.that("a step that is not finite is told", not multiply { g = T.from { 1, 0 / 0, 1, 1 } }.ok)
multiply { g = T.from { 1, 7, 3, -1e3 } }
check.close("the first step is exp(+-lr)", pair.w,
  T.from { math.exp(-0.01), -2 * math.exp(0.01), 0, 0.5 * math.exp(0.01) }, 0, 1e-6)
check.raises("madam's options", "p_scale", optim.madam, { p_scale = -1 })

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

-- --- experiments on images, and metrics: what the host builds of them ---
local mlp = nn.module { name = "mlp", params = function(p) p.out = nn.linear(784, 10) end,
  forward = function(p, images) return p.out(images) end }
local function build(metrics, change)
  local e = { name = "e", model = mlp {}, optim = optim.madam {}, train = { epochs = 3 },
    data = data.images { set = "generated", generated = 100, generated_eval = 30, batch_size = 16 },
    loss = function(m, b)
      local y = m(b.x)
      return hop.loss.squared_error(y, b.y), metrics and metrics(y, b)
    end }
  for k, v in pairs(change or {}) do e[k] = v end
  return hop.runner.build(hop.runner.resolve(hop.experiment(e), {}))
end
local function names_of(r)
  local names = {}
  for i, m in ipairs(r.metrics) do names[i] = m[1] end
  return table.concat(names, " ")
end
local built = build(function(y, b)
  return { z = hop.accuracy(y, b.y), curve = y:mean(1), matrix = y, ["a/b-c.d"] = y:sum() }
end, { schedule = optim.linear { per = "epoch" }, save = { best = "eval/z:max" } })
check.equal("metrics: numbers first, by name", names_of(built.train), "a/b-c.d z curve matrix")
check.equal("images: incomplete batches are left out", built.config.train.max_steps, 18)
check.equal("per epoch: the last epoch is the end", built.config.schedule.total, 2)
check.equal("the best is chosen by a metric", built.best .. tostring(built.best_max), "eval/ztrue")
check.that("an evaluation's last batch has its own recording", built.eval_rest)
check.that("where there is a rest", not build(nil, { data = data.images { set = "generated", generated = 100,
  generated_eval = 30, batch_size = 10 } }).eval_rest)
check.raises("a curve is nothing to choose by", "eval/loss", build, function(y) return { m = y } end,
  { save = { best = "eval/m" } })
check.raises("text has perplexity, images have not", "eval/ppl", build, nil, { save = { best = "eval/ppl" } })
check.raises("too few images", "batch_size is 1000", build, nil,
  { data = data.images { set = "generated", generated = 100, batch_size = 1000 } })
check.raises("rows of bytes", "'bytes' has none", build, nil,
  { data = data.clm { train = "generated", rows = "line", seq_len = 8, batch_size = 2 } })
check.raises("rows of no kind", "unknown choice", data.clm, { rows = "lines" })
check.raises("no such directory", "/nowhere", build, nil, { data = data.images { dir = "/nowhere" } })
local function raises_metric(what, text, name, value)
  check.raises(what, text, build, function(y, b) return { [name] = value(y, b) } end)
end
raises_metric("a metric's name", "'a b'", "a b", function(y) return y:sum() end)
raises_metric("a name that is taken", "'lr'", "lr", function(y) return y:sum() end)
raises_metric("a metric of integers", "'n' has elements of type i32", "n", function(y) return T.cast(y, "i32") end)
raises_metric("a metric of rank 3", "'cube' has 3 dimensions", "cube", function(y) return y:view { 1, -1, 10 } end)
raises_metric("a metric that is a number", "'x' is no tensor", "x", function() return 1.5 end)
check.raises("metrics that are no table", "second result", build, function() return 3 end)
check.done()
