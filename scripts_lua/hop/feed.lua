-- What an experiment is recorded with: its data, opened, and its loss and metrics per batch size.

local core, api, hop = ...
local feed = {}

local openers = {}

-- Texts: blocks of tokens. An evaluation's last batch is filled up, so there is no other size.
local function open_text(d, s)
  local corpus = core.open_corpus {
    train = type(d.train) == "table" and d.train or { d.train }, eval = d.eval, holdout = d.holdout,
    tokens = d.tokens, vocab = d.vocab, generated_bytes = d.generated_bytes, seed = s.seed,
    train_percentage = d.train_percentage, eval_percentage = d.eval_percentage,
    rows = d.rows, seq_len = d.seq_len, cache = d.cache, mask = s.data.kind == "data.mlm" }
  local info = core.corpus_info(corpus)
  d.rows = info.rows
  d.eval_batch_size = d.eval_batch_size or d.batch_size
  return { handle = corpus, info = info, is_text = true, rest = 0,
    per_epoch = info.train_tokens // d.seq_len,
    inputs = function(n) return { ids = { { n, d.seq_len }, "i32" }, labels = { { n, d.seq_len }, "i32" } } end }
end
openers["data.clm"] = open_text
openers["data.mlm"] = open_text

openers["data.images"] = function(d, s)
  local images = core.open_images { dir = d.dir, set = d.set, generated = d.generated,
    generated_eval = d.generated_eval, seed = s.seed, count = d.count }
  local info = core.images_info(images)
  if d.batch_size > info.train then
    api.fail("data.images", ("batch_size is %d, there are %d images"):format(d.batch_size, info.train))
  end
  d.eval_batch_size = math.min(d.eval_batch_size or d.batch_size, info.eval)
  local n = s.eval.batches * d.eval_batch_size
  local whole = info.eval % d.eval_batch_size == 0 or (n > 0 and n <= info.eval)
  return { handle = images, info = info, is_text = false,
    rest = whole and 0 or info.eval % d.eval_batch_size, per_epoch = info.train // d.batch_size * d.batch_size,
    sizes = { image = { info.channels, info.height, info.width }, classes = info.classes },
    inputs = function(b)
      return { x = { { b, info.channels * info.height * info.width }, "f32" }, y = { { b, info.classes }, "f32" } }
    end }
end

openers["data.series"] = function(d, s)
  local series = core.open_series { set = d.set, file = d.file, dates = d.dates, split = d.split, in_len = d.in_len,
    out_len = d.out_len, period = d.period, missing = d.missing, generated = d.generated, channels = d.channels,
    gaps = d.gaps, seed = s.seed }
  local info = core.series_info(series)
  d.eval_batch_size = d.eval_batch_size or d.batch_size
  if s.train.accumulate > 1 then d.rest = "drop" end -- the batches of an update are of one size
  if d.rest == "drop" and d.batch_size > info.train then
    api.fail("data.series", ("batch_size is %d, there are %d windows"):format(d.batch_size, info.train))
  end
  local keep, n = d.rest == "keep", s.eval.batches * d.eval_batch_size
  local function rest(windows, size) return n > 0 and n <= windows and 0 or windows % size end
  local steps = info.train // d.batch_size + (keep and info.train % d.batch_size > 0 and 1 or 0)
  return { handle = series, info = info, is_text = false, is_series = true, per_epoch = steps * d.batch_size,
    rest = rest(info.val, d.eval_batch_size), test_rest = info.test % d.eval_batch_size,
    train_rest = keep and info.train % d.batch_size or 0,
    sizes = { in_len = d.in_len, out_len = d.out_len, channels = info.channels, series = info.channels },
    inputs = function(b)
      local out = { b, d.out_len, info.channels }
      return { x = { { b, d.in_len, info.channels }, "f32" }, y = { out, "f32" },
        seen = info.masks and { out, "f32" } or nil }
    end }
end

-- { handle, info, is_text, per_epoch = rows of a pass, rest = rows of an evaluation's last batch if it
-- is smaller, sizes = of the data, by the names of a model's options, inputs(rows) = sizes and types by name }
function feed.open(s) return openers[s.data.kind](s.data.options, s) end

-- ---- recording ----

local forecast_measures = "mae mse rmse mape mspe batch_loss" -- app/exp/train_forecast.c

-- The forecast is no metric: it is taken out before metrics are looked at.
local function take_prediction(given, data, training)
  if type(given) ~= "table" or core.is_tensor(given) or given.prediction == nil then return given end
  local rest, p = {}, given.prediction
  for k, v in pairs(given) do rest[k] = v end
  rest.prediction = nil
  if not data.is_series then return given end
  local want = { data.sizes.out_len, data.sizes.channels }
  if not core.is_tensor(p) or p:dim() ~= 3 or p:size(2) ~= want[1] or p:size(3) ~= want[2] then
    api.fail("loss", ("the prediction must be a tensor {B, %d, %d}%s"):format(want[1], want[2],
      core.is_tensor(p) and ", not {" .. table.concat(p:size(), ", ") .. "}" or ""))
  end
  if training then return rest end
  for name in forecast_measures:gmatch "%S+" do rest[name] = nil end -- the driver's are of the whole part
  return rest, p
end

local taken = {}
for name in ("loss grad_norm lr tokens samples skipped loss_token ppl bpb max_inf_norm max_ffn_inf_norm " ..
  "max_layer_inf_norm avg_kurtosis max_kurtosis max_kurtosis_layers"):gmatch("%S+") do
  taken[name] = true
end

local function check_metric(name, t)
  local what = ("metric '%s'"):format(tostring(name))
  if type(name) ~= "string" or not name:match("^[%w_/.-]+$") then
    api.fail("loss", what .. " needs a name of letters, digits and _ / . -")
  elseif taken[name] then
    api.fail("loss", what .. " has the name of a quantity that is logged anyway", "call it otherwise")
  elseif not core.is_tensor(t) then
    api.fail("loss", what .. " is no tensor", "metrics are made from the batch and the model, as the loss is")
  elseif t:dtype() ~= "f32" then
    api.fail("loss", ("%s has elements of type %s; metrics are f32"):format(what, t:dtype()),
      'T.cast(t, "f32")')
  elseif t:dim() > 2 then
    api.fail("loss", ("%s has %d dimensions: 0 is a number, 1 or 2 a curve"):format(what, t:dim()),
      "take a mean, a slice or reshape it")
  end
end

-- From name -> tensor to { { name, tensor }, … }: sorted, numbers before curves.
local function metrics_of(given)
  local list = {}
  if given ~= nil and not core.is_tensor(given) then -- some losses return a count as well
    if type(given) ~= "table" then
      api.fail("loss", "its second result must be a table from name to tensor")
    end
    for name, t in pairs(given) do
      check_metric(name, t)
      list[#list + 1] = { name, t:is_param() and t * 1 or t } -- a parameter itself is no result
    end
  end
  table.sort(list, function(a, b)
    local p, q = a[2]:dim() > 0, b[2]:dim() > 0
    if p ~= q then return q end
    return a[1] < b[1]
  end)
  return list
end

-- The loss of one batch of `rows`: { trace, loss, metrics }.
function feed.record(s, data, training, rows)
  local metrics
  local trace, loss = core.trace(function()
    local batch = {}
    for name, is in pairs(data.inputs(rows)) do batch[name] = core.placeholder(name, is[1], is[2]) end
    local before = core.training(training)
    local l, m
    local loss = s.loss or s.model.loss or data.is_series and hop.loss.forecast
    if loss then l, m = loss(s.model, batch) else l, m = s.model:loss(batch) end
    core.training(before)
    if not core.is_tensor(l) then api.fail("loss", "must return a tensor") end
    local prediction
    m, prediction = take_prediction(m, data, training)
    metrics = metrics_of(m)
    if prediction then metrics[#metrics + 1] = { "prediction", prediction } end
    return l
  end)
  return { trace = trace, loss = loss, metrics = metrics }
end

-- Both evaluation batches must give the same quantities.
function feed.check_same(a, b)
  local function list(r)
    local names = {}
    for i, m in ipairs(r.metrics) do names[i] = m[1] .. (m[2]:dim() > 0 and "[]" or "") end
    return table.concat(names, ", ")
  end
  if list(a) ~= list(b) then
    api.fail("loss", ("the metrics depend on the batch size: %s, and %s"):format(list(a), list(b)))
  end
end

-- save.best: "eval/accuracy:max" -> tag, is max; only what an evaluation of this experiment gives.
function feed.best(text, data, eval)
  if not text then return nil end
  local metric, way = text:match("^(.+):(%a+)$")
  if not metric then metric, way = text, "min" end
  local known = { "eval/loss" }
  if data.is_text then known[2], known[3] = "eval/ppl", "eval/bpb" end
  for _, m in ipairs(eval.metrics) do
    for name in (m[2]:dim() == 3 and forecast_measures or ""):gmatch "%S+" do
      known[#known + 1] = "eval/" .. name
    end
    if m[2]:dim() == 0 then known[#known + 1] = "eval/" .. m[1] end
  end
  for _, k in ipairs(known) do
    if k == metric and (way == "min" or way == "max") then return metric, way == "max" end
  end
  api.fail("save.best", ("'%s' is no metric to choose by"):format(text),
    "one of " .. table.concat(known, ", ") .. ", with :min or :max")
end

hop.feed = feed
