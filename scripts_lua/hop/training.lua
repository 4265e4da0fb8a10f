-- Descriptions of data, optimisers, schedules and losses; the work behind them is C.

local core, api, hop = ...
local T = hop.T

-- A description: what was asked for, checked, changeable by -s path=value until it is used.
local function describe(d)
  local schema = d.options
  hop.specs = hop.specs or {}
  hop.specs[d.name] = schema
  return api.define(hop, { name = d.name, doc = d.doc, safety = "setup", example = d.example,
    args = { { "options", "table", options = schema } }, returns = "description",
    fn = function(o) return setmetatable({ kind = d.name, options = o }, hop.spec_meta) end })
end
hop.spec_meta = { __name = "description", __tostring = function(s) return s.kind end }

local text_options = {
  { "train", "string|table", default = "generated",
    doc = "text file (or list of them), or \"generated\"; plain, .gz, or .jsonl (.jsonl.gz): a row with " ..
      "the field text on each line. Looked for here, then in HOPLAB_DATA, data and ../shared/data. " ..
      "wikitext_2, wikitext_103 and bookcorpus_and_wiki are the published sets, as `hoplab data fetch` " ..
      "lays them there; they bring a text to evaluate on" },
  { "eval", "string", doc = "text file to evaluate on, of the same kinds, or a published set's; default: " ..
      "the held-out end of train" },
  { "train_percentage", "number", min = 1e-6, max = 100,
    doc = "only the first rows (lines) of each text to train on, of a published set of books and of articles; " ..
      "default: all" },
  { "eval_percentage", "number", min = 1e-6, max = 100,
    doc = "the same of the text to evaluate on, where it is one of its own" },
  { "holdout", "number", default = 0.1, min = 0.001, max = 0.9,
    doc = "share of train held out when eval is not given" },
  { "tokens", "string", default = "bytes", choices = { "bytes", "words" }, or_path = true,
    doc = "what a token is; a vocab.txt (WordPiece), vocab.json beside merges.txt (BPE), tokenizer.json " ..
      "or a directory with one gives a published tokenizer." },
  { "rows", "string", default = "auto", choices = { "auto", "none", "line", "document" },
    doc = "none: one stream of tokens. line, document (what blank lines part; of .jsonl both are its rows), " ..
      "for tokenizers from files: " ..
      "[CLS] and [SEP] stand around a row, or </s> before it; of each 1000 rows whole blocks of seq_len " ..
      "are kept, the rest is dropped. auto: line for a published set, where the tokenizer can." },
  { "vocab", "integer", default = 8192, min = 8, doc = "at most so many different words (\"words\")" },
  { "seq_len", "integer", default = 128, min = 2, doc = "tokens of a block" },
  { "batch_size", "integer", default = 16, min = 1, doc = "blocks of a step" },
  { "eval_batch_size", "integer", min = 1, doc = "blocks of an evaluation batch; default batch_size" },
  { "cache", "string", default = "auto", choices = { "auto", "none" }, or_path = true,
    doc = "directory for files of tokens, which later runs open at once; auto: kept beside what hoplab " ..
      "remembers of its user from 64 MiB of text on; none: always in memory" },
  { "generated_bytes", "integer", default = 4000000, min = 10000, doc = "size of the generated text" },
}
local function with(extra)
  local all = table.move(text_options, 1, #text_options, 1, {})
  for _, e in ipairs(extra) do all[#all + 1] = e end
  return all
end

describe { name = "data.clm", doc = "Text for causal language modelling: blocks whose label is the " ..
  "next token.", options = text_options,
  example = 'data.clm { train = "book.txt", seq_len = 128, batch_size = 16 }' }
describe { name = "data.mlm", doc = "Text for masked language modelling: 15 % of the tokens selected; " ..
  "of these 80 % masked, 10 % replaced at random, 10 % left.", options = with {
    { "mask_prob", "number", default = 0.15, min = 0.001, max = 0.999, doc = "share selected" } },
  example = 'data.mlm { train = "book.txt", tokens = "words" }' }
local image_sets = { "auto", "mnist", "emnist-mnist", "emnist-digits", "cifar-10", "cifar-100", "tiny-imagenet",
  "generated" }
api.image_sets = image_sets
describe { name = "data.images", doc = "Labelled images: batch.x {B, channels height width} in [0, 1] " ..
  "and batch.y {B, classes} with 1 at the label. Each epoch in an order of its own, its last incomplete batch left " ..
  "out; an evaluation takes every image once, in order.",
  example = 'data.images { set = "mnist", batch_size = 64 }', options = {
    { "dir", "string", doc = "directory of the files; default: looked for in HOPLAB_DATA, data and ../shared/data" },
    { "set", "string", default = "auto",
      choices = image_sets, doc = "auto: what the directory has; without one digits, generated where there are none" },
    { "batch_size", "integer", default = 64, min = 1, doc = "images of a step" },
    { "eval_batch_size", "integer", min = 1, doc = "images of an evaluation batch; default batch_size" },
    { "generated", "integer", default = 10000, min = 1, max = 1000000, doc = "generated training images" },
    { "generated_eval", "integer", default = 2000, min = 1, max = 1000000,
      doc = "generated images to evaluate on" },
    -- without defaults, so that old runs keep their identity
    { "count", "integer", min = 1, doc = "training images, drawn by the seed of the run; default all" },
    { "mean", "number|table", doc = "subtracted from the pixels, or one number per channel; default 0" },
    { "std", "number|table", doc = "then divided by this, likewise; default 1" },
    { "flip", "boolean", doc = "training images are mirrored at random; default false" },
    { "crop", "integer", min = 0,
      doc = "training images are cropped at random from a border of so many black pixels; default 0" } } }

describe { name = "data.series", doc = "Windows of a time series: batch.x {B, in_len, channels} of history and " ..
  "batch.y {B, out_len, channels} of what came, each channel less its mean, divided by its deviation (of the " ..
  "training rows). Each epoch in an order of its own. `eval` is the validation part; once the run is done, the " ..
  "best weights (save.best; a new best is saved when it is found) are evaluated on the test part, beside " ..
  "forecasts without a model. Without a loss of its own a model is trained on loss.forecast.",
  example = 'data.series { set = "ETTh1", in_len = 96, out_len = 24 }', options = {
    { "set", "string", default = "generated",
      doc = "ETTh1, ETTh2, ETTm1, ETTm2, WTH, ECL, ILI or Traffic, looked for here, then in HOPLAB_DATA, data and " ..
        "../shared/data and their folders timeseries; or generated" },
    { "file", "string", doc = "a CSV file instead, plain or .gz: a header, then a row for each time; the first " ..
      "column is its date" },
    { "dates", "boolean", default = true, doc = "of a file: false: the first column is a channel, too" },
    { "split", "table", doc = "for training, validation and test: rows, or shares that add up to 1; default that " ..
      "of the set, else {0.7, 0.1, 0.2}" },
    { "in_len", "integer", default = 96, min = 1, doc = "rows of history" },
    { "out_len", "integer", default = 24, min = 1, doc = "rows to forecast" },
    { "batch_size", "integer", default = 16, min = 1, doc = "windows of a step" },
    { "eval_batch_size", "integer", min = 1, doc = "windows of an evaluation batch; default batch_size" },
    { "rest", "string", default = "keep", choices = { "keep", "drop" },
      doc = "the last windows of an epoch, where they are fewer than a batch; with train.accumulate dropped" },
    { "missing", "string", default = "refuse", choices = { "refuse", "mask" },
      doc = "mask: missing values are 0 (the mean) in x and y, and batch.seen {B, out_len, channels} is 0 where y " ..
        "has none, else 1" },
    { "period", "integer", min = 0, doc = "rows of the cycle that the seasonal forecast repeats, 0: none; default " ..
      "by the dates: a day, of daily values a week, of weekly ones a year" },
    { "generated", "integer", default = 4000, min = 1, max = 10000000, doc = "generated rows, hourly" },
    { "channels", "integer", default = 7, min = 1, max = 1000, doc = "generated channels" },
    { "gaps", "number", default = 0, min = 0, max = 0.5, doc = "share of generated values that are missing" } } }

local lr = { "lr", "number", required = true, min = 0, doc = "peak learning rate" }
describe { name = "optim.adamw", doc = "AdamW, decoupled weight decay (arXiv 1711.05101).",
  example = "optim.adamw { lr = 1e-3, weight_decay = 0.01 }", options = { lr,
    { "betas", "table", default = { 0.9, 0.999 }, doc = "decay of the two moments" },
    { "eps", "number", default = 1e-8, min = 0, doc = "added to the root" },
    { "weight_decay", "number", default = 0.01, min = 0, doc = "per update, times lr" },
    { "no_decay", "table", default = { "bias", "LayerNorm.weight", "layer_norm.weight" },
      doc = "parts of parameter names that are not decayed" } } }
describe { name = "optim.adam", doc = "Adam (arXiv 1412.6980); weight decay is part of the gradient.",
  example = "optim.adam { lr = 1e-4 }", options = { lr,
    { "betas", "table", default = { 0.9, 0.999 }, doc = "decay of the two moments" },
    { "eps", "number", default = 1e-8, min = 0, doc = "added to the root" },
    { "weight_decay", "number", default = 0, min = 0, doc = "times the parameter, added to its clipped gradient" },
    { "no_decay", "table", default = {}, doc = "parts of parameter names that are not decayed" } } }
describe { name = "optim.sgd", doc = "Gradient descent with momentum.",
  example = "optim.sgd { lr = 0.1, momentum = 0.9 }", options = { lr,
    { "momentum", "number", default = 0, min = 0, max = 0.999999, doc = "decay of the velocity" },
    { "weight_decay", "number", default = 0, min = 0, doc = "added to the gradient" },
    { "no_decay", "table", default = { "bias" }, doc = "parts of names that are not decayed" } } }

describe { name = "optim.madam", doc = "Multiplicative updates: p exp(-lr u sign(p)) with u the " ..
  "gradient over its root mean square (arXiv 2006.14560, as in arXiv 2311.15673). Signs and zeros stay.",
  example = "optim.madam { lr = 0.01, p_scale = 1024, g_bound = 3 }", options = {
    { "lr", "number", default = 0.01, min = 0, doc = "peak learning rate" },
    { "p_scale", "number", default = 3, min = 0, max = 1e9,
      doc = "a parameter stays within p_scale times its first root mean square" },
    { "g_bound", "number", default = 10, min = 0, max = 1e9, doc = "|u| stays within this" } } }

local schedule_options = {
  { "per", "string", choices = { "step", "epoch" }, -- no default: old runs keep their identity
    doc = "what warmup and total count, default step; epoch: constant within each, at the final share " ..
      "from total on" },
  { "warmup", "integer", default = 0, min = 0, doc = "updates (or epochs) of linear warm-up" },
  { "total", "integer", min = 1,
    doc = "updates until the end, default train.max_steps; or the epoch that ends it, from 0, default the last" },
  { "final", "number", default = 0, min = 0, max = 1, doc = "share of the peak reached at the end" },
  -- without defaults, so that old runs keep their identity
  { "warmup_from", "number", min = 0, max = 1, doc = "share of the peak that the warm-up starts at; default 0" },
  { "overlap", "boolean", doc = "the curve starts with the warm-up, which hides its beginning; default after it" } }
for _, name in ipairs { "constant", "constant_with_warmup", "linear", "cosine",
  "cosine_with_restarts", "polynomial" } do
  describe { name = "optim." .. name, options = schedule_options,
    doc = ("Learning rate schedule: %s."):format((name:gsub("_", " "))),
    example = ("optim.%s { warmup = 100 }"):format(name) }
end

for i, every in ipairs { 2, 5 } do
  local name = "type" .. i
  describe { name = "optim." .. name, example = ("optim.%s {}"):format(name),
    doc = ("Learning rate schedule: halved every %d epochs, five times at most (lradj %s of the time-series " ..
      "recipes)."):format(every, name),
    options = { { "per", "string", default = "epoch", choices = { "epoch" }, doc = "what it counts" } } }
end

api.define(hop, { name = "loss.cross_entropy",
  doc = "Mean cross entropy of logits against 0-based labels; -100 is ignored. Returns the loss and " ..
    "how many labels counted.",
  args = { { "logits", "tensor" }, { "labels", "tensor" } }, returns = "tensor, tensor",
  example = "loss.cross_entropy(logits, labels)",
  fn = function(logits, labels) return T.cross_entropy(logits, labels) end })
api.define(hop, { name = "loss.mse", doc = "Mean of squared differences.",
  args = { { "a", "tensor" }, { "b", "tensor" } }, returns = "tensor", example = "loss.mse(y, target)",
  fn = function(a, b) return T.square(a - b):mean() end })

api.define(hop, { name = "loss.squared_error",
  doc = "Half the sum of squared differences, divided by the number of rows.",
  args = { { "output", "tensor" }, { "target", "tensor" } }, returns = "tensor",
  example = "loss.squared_error(output, batch.y)",
  fn = function(output, target)
    return T.square(output - target):sum() * (0.5 / math.max(1, output:size(1)))
  end })

api.define(hop, { name = "loss.soft_cross_entropy",
  doc = "Mean over rows of the cross entropy of logits against weights of the classes, as one-hot rows or mixed " ..
    "ones. With smoothing (arXiv 1512.00567) that share of a row is spread evenly.",
  args = { { "logits", "tensor" }, { "targets", "tensor" },
    { "smoothing", "number", default = 0, min = 0, max = 1 } }, returns = "tensor",
  example = "loss.soft_cross_entropy(logits, batch.y, 0.1)",
  fn = function(logits, targets, smoothing)
    local rows, classes = logits:size(1), logits:size(2)
    if smoothing > 0 then targets = targets * (1 - smoothing) + T.sum(targets, 2, true) * (smoothing / classes) end
    local z = logits - T.max(logits):detach()
    return (T.sum(targets, 2, true) * T.log(T.sum(T.exp(z), 2, true)) - T.sum(targets * z, 2, true)):sum() *
      (1 / math.max(1, rows))
  end })

api.define(hop, { name = "hop.accuracy",
  doc = "Share of rows where the output in the column of the target's largest is among the k largest; the " ..
    "first of equals counts. A row with NaN is wrong.",
  args = { { "output", "tensor" }, { "target", "tensor" }, { "k", "integer", default = 1, min = 1 } },
  returns = "tensor", example = "hop.accuracy(output, batch.y)",
  fn = function(output, target, k)
    local is_max = T.eq(target, T.max(target))
    local from = T.cumsum(is_max)
    local here = is_max * T.eq(from, 1)
    local own = T.sum(T.where(here, output, here * 0), 2, true)
    local ahead = T.sum(T.lt(own, output) + T.eq(output, own) * T.eq(from, 0), 2, true)
    local is_real = T.eq(T.max(output), T.max(output)) * T.eq(T.max(target), T.max(target))
    return (T.lt(ahead, k) * is_real):sum() * (1 / math.max(1, output:size(1)))
  end })

api.define(hop, { name = "hop.training", doc = "Are dropout and the like on (while a model is recorded)?",
  returns = "boolean", example = "hop.training()", fn = function() return (core.training()) end })

-- ---- loops of one's own ----

-- Names of a batch's tensors, sorted, and what tells batches of other shapes apart.
local function shape_key(batch)
  local names, key = {}, {}
  for name, t in pairs(batch) do
    if core.is_tensor(t) then names[#names + 1] = name end
  end
  table.sort(names)
  for i, name in ipairs(names) do
    key[i] = name .. ":" .. batch[name]:dtype() .. table.concat(batch[name]:size(), ",")
  end
  return table.concat(key, ";"), names
end

-- What f makes of placeholders like the batch's tensors, recorded as in training or not.
local function trace_batch(batch, names, training, f)
  local _, out = core.trace(function()
    local b = {}
    for _, n in ipairs(names) do b[n] = core.placeholder(n, batch[n]:size(), batch[n]:dtype()) end
    local before = core.training(training)
    local made = f(b)
    core.training(before)
    return made
  end)
  return out
end
api.shape_key, api.trace_batch = shape_key, trace_batch

api.define(hop, { name = "hop.train_step", safety = "setup",
  doc = "A function that trains on one batch: forward, backward, clip and update as one program per " ..
    "batch shape. It returns { loss, grad_norm, ok }; ok is false where something was not finite and " ..
    "nothing was changed. Set step.lr to change the learning rate.",
  args = { { "description", "table", options = {
    { "model", "table", required = true, doc = "a module" },
    { "optim", "table", required = true, doc = "optim.adamw{…}, optim.adam{…}, optim.sgd{…} or optim.madam{…}" },
    { "loss", "function", doc = "loss(model, batch); default model:loss(batch)" },
    { "max_grad_norm", "number", default = 0, min = 0, doc = "clip gradients to this norm" },
    { "precision", "string", choices = { "fp32", "bf16" },
      doc = "of products; weights, sums and updates are fp32 all the same; default: the session's" } } } },
  returns = "step",
  example = "hop.train_step { model = m, optim = optim.sgd { lr = 0.1 }, " ..
    "loss = function(m, b) return loss.mse(m(b.x), b.y) end }",
  fn = function(o)
    if getmetatable(o.optim) ~= hop.spec_meta then
      api.fail("hop.train_step", "'optim' is no description; write optim.adamw{…}")
    end
    hop.modules.ready(o.model)
    local state, programs = core.step_new(), {}
    local settings = { kind = o.optim.kind }
    for k, v in pairs(o.optim.options) do settings[k] = v end
    local step = { lr = settings.lr }
    return setmetatable(step, { __call = function(_, batch)
      local key, names = shape_key(batch)
      if not programs[key] then
        local loss = trace_batch(batch, names, true, function(b)
          return o.loss and o.loss(o.model, b) or not o.loss and o.model:loss(b)
        end)
        programs[key] = core.step_compile(state, loss, settings, o.max_grad_norm,
          o.precision and o.precision == "bf16")
      end
      local loss, norm, ok = core.step_run(state, programs[key], batch, step.lr)
      return { loss = loss, grad_norm = norm, ok = ok }
    end })
  end })
