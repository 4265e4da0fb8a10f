-- Experiments made again for evaluating a checkpoint: from the script and the configuration of its run,
-- or from a directory of another program's model.

local core, api, hop = ...
local modules, runner = hop.modules, hop.runner

local function is_description(v) return getmetatable(v) == hop.spec_meta end

local restore

-- Resolved attention options hold both a method's name and what it stands for; together they are no
-- input. Leaves the name, or, with `settings`, what it stands for.
local function one_of_both(a, settings)
  if type(a) ~= "table" or a.method == nil or a.softmax == nil then return end
  for k in pairs(a) do
    if k ~= "fine_tuning" and (k == "method") == settings then a[k] = nil end
  end
end

-- Puts the plain values of a stored configuration where they came from; `schema` limits the names, as
-- the configuration also holds what modules made of their options.
local function restore_options(options, saved, schema)
  local known = {}
  one_of_both(saved.attention, false)
  if saved.attention and type(options.attention) == "table" then -- as a whole: the script has a method, too
    for k in pairs(options.attention) do options.attention[k] = nil end
  end
  for _, a in ipairs(schema or {}) do known[a[1]] = a end
  for k, v in pairs(saved) do
    if k ~= "kind" and (not schema or known[k]) then
      options[k] = restore(options[k], v, known[k] and known[k].options)
    end
  end
end

function restore(now, saved, schema)
  if modules.is(now) then
    if type(saved) == "table" then restore_options(modules.options(now), saved, modules.schema(now)) end
  elseif is_description(now) then
    if type(saved) == "table" then restore_options(now.options, saved, hop.specs[now.kind]) end
  elseif type(saved) == "table" and type(now) == "table" and #saved == 0 and next(saved) ~= nil then
    restore_options(now, saved, schema)
  else
    return saved
  end
  return now
end

local function check_kind(what, now, saved)
  if now ~= saved then
    core.raise("E_STATE", ("the checkpoint's %s is '%s', the script makes '%s'"):format(what, tostring(saved),
      tostring(now)))
  end
end

-- ---- what a checkpoint was trained with ----

-- These may be changed for an evaluation: they do nothing in one.
local idle = { dropout = true, attn_dropout = true, init = true, init_std = true, attn_init = true,
  label_smoothing = true }

local function first_difference(a, b, path)
  if type(a) ~= "table" or type(b) ~= "table" then
    if a ~= b then return path, a, b end
    return nil
  end
  local keys = {}
  for k in pairs(a) do keys[k] = true end
  for k in pairs(b) do keys[k] = true end
  local sorted = {}
  for k in pairs(keys) do
    if not idle[k] then sorted[#sorted + 1] = tostring(k) end
  end
  table.sort(sorted)
  for _, k in ipairs(sorted) do
    local key = a[k] == nil and b[k] == nil and math.tointeger(tonumber(k)) or k
    local where, x, y = first_difference(a[key], b[key], path .. "." .. k)
    if where then return where, x, y end
  end
end

-- Applies -s path=value; a change of the model is refused unless it was asked for.
local function finish(e, overrides, o)
  local attention = modules.schema(e.sections.model) and modules.options(e.sections.model).attention
  for _, s in ipairs(overrides) do
    local name = attention and s[1]:match "^model%.attention%.(.+)$"
    if name == "method" and attention.method == nil then
      for k in pairs(attention) do attention[k] = nil end
    end
  end
  local before = runner.config(e).model
  for _, s in ipairs(overrides) do runner.override(e, s[1], s[2]) end
  local path, was, now = first_difference(before, runner.config(e).model, "model")
  if path and not o.other_model then
    local function text(v) return v == nil and "nothing of its own" or tostring(v) end
    core.raise("E_ARG", ("the checkpoint was trained with %s = %s; -s makes it %s"):format(path, text(was),
      text(now)), "if that is meant, say --other-model as well")
  end
  local d = e.sections.data.options
  if o.same_batches then d.batch_size = d.eval_batch_size or d.batch_size end
  return e
end

-- The quantizers of a quantized checkpoint are what they were when it was made.
local function as_saved(s, overrides, o)
  if not o.quantize then return end
  for _, change in ipairs(overrides) do
    if change[1]:match "^quantize" then
      core.raise("E_ARG", ("-s %s: the model is quantized already; its recipe cannot be changed"):format(change[1]),
        "quantize the model that it was made of once more")
    end
  end
  s.quantize = api.options("quantize", api.quantize_options, o.quantize)
end

-- value: what the run's script returned; config: the run's config.json; o: { other_model }
function runner.evaluated(value, config, overrides, o)
  if type(config) ~= "table" or type(config.model) ~= "table" or type(config.data) ~= "table" then
    core.raise("E_FORMAT", "the checkpoint's config.json has no model and data")
  end
  local e = runner.trained(value, config)
  local s = e.sections
  check_kind("model", modules.kind(s.model) or "module", config.model.kind)
  check_kind("data", s.data.kind, config.data.kind)
  for _, change in ipairs(overrides) do
    if change[1] == "data.eval" and (s.data.kind == "data.series" or s.data.kind == "data.images") then
      core.raise("E_ARG", ("--data names a text, the run was trained on %s"):format(s.data.kind),
        s.data.kind == "data.series" and "another series is -s data.file=FILE" or "other images are -s data.dir=DIR")
    end
    local name = change[1]:match "^model%.attention%.(.+)$"
    one_of_both(name and config.model.attention, name ~= "method")
  end
  restore(s.model, config.model)
  restore(s.data, config.data)
  if modules.schema(s.model) then modules.options(s.model).init = nil end -- the checkpoint has the weights
  s.seed = math.tointeger(config.seed) or s.seed
  s.eval.batches = 0
  as_saved(s, overrides, o)
  return finish(e, overrides, o)
end

-- ---- models of other programs ----

local tokenizer_files = { "tokenizer.json", "vocab.txt", "vocab.json" }

-- Options of data.* whose tokens are the ids of the model in dir.
local function tokens_for(dir, model, own)
  for _, name in ipairs(tokenizer_files) do
    local f = io.open(dir .. "/" .. name)
    if f then
      f:close()
      return { tokens = dir }
    end
  end
  local d = type(own) == "table" and type(own.data) == "table" and own.data or {}
  local bytes = d.tokens == "bytes" or (d.tokens == nil and (model.vocab == 256 or model.vocab == 257))
  if not bytes then
    core.raise("E_UNSUPPORTED", ("%s: the data's vocabulary does not match the checkpoint's %d entries%s"):format(dir,
      model.vocab, d.tokens and (" ('%s')"):format(tostring(d.tokens)) or ""),
      d.tokens and "evaluate the run that it was exported from" or
      "it has no " .. table.concat(tokenizer_files, ", ") .. " beside it; models of bytes have 256 or 257")
  end
  return { tokens = "bytes" }
end

local function clamp(v, otherwise, most)
  local n = math.tointeger(v)
  return math.min(n and n >= 1 and n or otherwise, most)
end

-- dir: as nn.from_hf takes it; o: { data = text file, other_model }; of a quantized checkpoint also quantize, and
-- config: the experiment that it was made in
function runner.evaluated_hf(dir, overrides, o)
  local family, model, own = hop.hf.read_config(dir)
  local d = own and type(own.data) == "table" and own.data or {}
  local options = tokens_for(dir, model, own)
  options.train, options.eval = o.data, o.data
  options.seq_len = clamp(d.seq_len, 128, model.max_len)
  options.batch_size = clamp(d.eval_batch_size, 8, 1 << 20)
  local masked = family.kind == "nn.bert"
  if masked and type(d.mask_prob) == "number" then options.mask_prob = d.mask_prob end
  local saved = o.config and type(o.config.data) == "table" and o.config.data or nil
  local e = hop.experiment { name = dir:match "([^/]+)/*$" or dir,
    model = o.quantize and hop.nn[family.kind:match "%.(.+)$"](model) or hop.nn.from_hf(dir),
    data = masked and hop.data.mlm(options) or hop.data.clm(options), optim = hop.optim.sgd { lr = 0 },
    train = { max_steps = 1 } }
  if saved then
    local own_options = e.sections.data.options
    restore(e.sections.data, saved)
    own_options.tokens, own_options.train = options.tokens, o.data or own_options.train
    own_options.eval = o.data or own_options.eval
    e.sections.seed = math.tointeger(o.config.seed) or e.sections.seed
  elseif not o.data then
    core.raise("E_ARG", dir .. ": there is no text to evaluate on", "name one with --data FILE")
  end
  as_saved(e.sections, overrides, o)
  return finish(runner.resolve(e, {}), overrides, o)
end

-- config.json of a checkpoint of ours in the form of other programs; about: { run, step, dtype }
function runner.hf_config(config, about)
  if type(config) ~= "table" or type(config.model) ~= "table" then
    api.fail("config.json", "has no model")
  end
  about.data = type(config.data) == "table" and { kind = config.data.kind, tokens = config.data.tokens,
    seq_len = config.data.seq_len, mask_prob = config.data.mask_prob,
    eval_batch_size = config.data.eval_batch_size } or nil
  return hop.hf.config_for(config.model, about)
end
