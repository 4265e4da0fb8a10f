-- Experiments: descriptions that the host runs. `hop.experiment` checks and returns; nothing starts.
-- resolve() applies overrides, build() opens the data, makes the model and records its losses.

local core, api, hop = ...
local modules = hop.modules

local train_options = {
  { "max_steps", "integer", min = 1, doc = "updates; or give epochs" },
  { "epochs", "number", min = 0, doc = "passes over the training data, if max_steps is not given" },
  { "max_grad_norm", "number", default = 0, min = 0, doc = "clip gradients to this norm; 0: no" },
  { "accumulate", "integer", default = 1, min = 1,
    doc = "batches whose gradients are averaged for an update, across the ends of epochs" },
  { "patience", "integer", default = 0, min = 0,
    doc = "end after so many evaluations without a new best (save.best); 0: never" },
  { "tie_is_best", "boolean", -- no default: old runs keep their identity
    doc = "a value as good as the best is a new best, as in the published time-series recipe; default false" },
  { "grad_norm", "string", default = "l2", choices = { "l2", "inf" }, doc = "which norm" },
}
local sections = {
  { "name", "string", required = true, doc = "of the run" },
  { "project", "string", doc = "runs that belong together" },
  { "tags", "table", default = {}, doc = "list of words" },
  { "seed", "integer", default = 0, min = 0, doc = "of weights, order of data, dropout" },
  { "model", "table", required = true, doc = "nn.opt{…}, nn.bert{…}, nn.vit{…} or a module of your own" },
  { "data", "table", required = true, doc = "data.clm{…}, data.mlm{…}, data.images{…} or data.series{…}" },
  { "optim", "table", required = true, doc = "optim.adamw{…}, optim.adam{…}, optim.sgd{…} or optim.madam{…}" },
  { "schedule", "table", doc = "optim.linear{…} and others; default constant" },
  { "loss", "function", doc = "loss(model, batch); default model:loss(batch). A second result, a table " ..
    "from name to tensor, is logged: numbers as train/name and eval/name, vectors and matrices as " ..
    "curves of watched steps" },
  { "train", "table", options = train_options },
  { "log", "table", options = {
    { "every", "integer", default = 10, min = 1, doc = "steps between logged values" } } },
  { "eval", "table", options = {
    { "every", "integer", default = 0, min = 0, doc = "steps; 0: only at the end" },
    { "per", "string", default = "step", choices = { "step", "epoch" }, doc = "what `every` counts" },
    { "batches", "integer", default = 0, min = 0, doc = "at most so many; 0: all" },
    { "save_pred", "boolean", doc = "of a series: the run's directory gets prediction.npy and truth.npy of the test " ..
      "part; default false" },
    { "inverse", "boolean", doc = "of a series: forecasts are measured and saved in the data's units; default false" },
    { "kurtosis_batches", "integer", min = 0,
      doc = "of these, so many count for kurtosis: the published tables have 257 (BERT), 101 (OPT); default all" } } },
  { "save", "table", options = {
    { "every", "integer", default = 0, min = 0, doc = "steps; 0: only at the end" },
    { "per", "string", default = "step", choices = { "step", "epoch" }, doc = "what `every` counts" },
    { "keep", "integer", default = 2, min = 1, doc = "newest checkpoints kept" },
    { "best", "string", doc = "metric that marks the best one: eval/loss:min, eval/accuracy:max" } } },
  { "probe", "table", options = {
    { "every", "integer", default = 0, min = 0, doc = "steps between watched ones; 0: never" },
    { "hist", "boolean", default = true, doc = "with histograms" },
    { "weights", "boolean", doc = "also the largest |w| of each parameter; default false" },
    { "channels", "boolean", doc = "also the largest numbers by channel, token and head; default false" },
    { "attention", "integer", min = 0, max = 256,
      doc = "also attention of the first sequence, in maps of at most so many tokens a side; default 0: none" } } },
  { "quantize", "table", options = api.quantize_options, doc = "what `hoplab quantize` does with the trained model" },
  { "knobs", "table", doc = "what may be changed while the run goes on, as { lr = { min = 0, max = 1e-2 } }: then " ..
    "this alone, within these ends; default: all of lr, lr.scale (of the schedule), train.max_grad_norm, log.every, " ..
    "eval.every, save.every, probe.every, deq.tol, deq.max_iter, deq.memory and deq.damping that the run has" },
  { "on_nan", "string", default = "stop", choices = { "stop", "skip", "ignore" },
    doc = "when loss or gradient is not finite (the update is left out in any case)" },
  { "callbacks", "table", default = {}, doc = "list of hop.callback{…}" },
}
api.experiment_sections = sections

local meta = { __name = "experiment" }

-- { lr = { min, max } } as a list of { name, min, max }, in order of names.
local function knob_list(knobs)
  local list = {}
  for name, ends in pairs(knobs or {}) do
    local o = api.options("knobs." .. tostring(name), { { "min", "number" }, { "max", "number" } }, ends)
    if o.min and o.max and o.min > o.max then
      api.fail("experiment", ("knobs.%s: min %g is larger than max %g"):format(name, o.min, o.max))
    end
    list[#list + 1] = { name = tostring(name), min = o.min, max = o.max }
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

local function is_description(v) return getmetatable(v) == hop.spec_meta end

-- Merges by key; hop.none deletes. Descriptions and modules merge their options.
local function merge(base, over)
  local out = {}
  for k, v in pairs(base) do out[k] = v end
  for k, v in pairs(over) do
    if v == hop.none then
      out[k] = nil
    elseif type(v) == "table" and getmetatable(v) == nil and is_description(out[k]) then
      out[k] = setmetatable({ kind = out[k].kind, options = merge(out[k].options, v) }, hop.spec_meta)
    elseif type(v) == "table" and getmetatable(v) == nil and type(out[k]) == "table" and
      getmetatable(out[k]) == nil and #v == 0 then
      out[k] = merge(out[k], v)
    else
      out[k] = v
    end
  end
  return out
end

api.define(hop, { name = "hop.experiment", safety = "setup",
  doc = "Describes an experiment; the host runs it. With two arguments the first is derived from: " ..
    "tables merge by key, hop.none deletes.",
  args = { { "description", "table" }, { "changes", "table", optional = true } },
  returns = "experiment",
  example = 'hop.experiment { name = "a", model = nn.opt{…}, data = data.clm{…}, optim = optim.adamw{…}, ' ..
    "train = { max_steps = 100 } }",
  fn = function(d, changes)
    if changes then d = merge(getmetatable(d) == meta and d.given or d, changes) end
    local e = { given = d, sections = api.options("experiment", sections, d) }
    for i, c in ipairs(e.sections.callbacks) do
      if type(c) ~= "table" or not c.is_callback then
        api.fail("experiment", ("callbacks[%d] was not made by hop.callback"):format(i))
      end
    end
    return setmetatable(e, meta)
  end })

local hooks = { "on_start", "on_step", "on_log", "on_eval", "on_save", "on_epoch", "on_control",
  "on_nan", "on_stop", "on_error" }

api.define(hop, { name = "hop.callback", safety = "setup",
  doc = "Functions called by the run: " .. table.concat(hooks, ", ") .. ". Each gets (state, ev); ev " ..
    "has run, step, epoch, metrics. `every` limits on_step.",
  args = { { "description", "table" } }, returns = "callback",
  example = 'hop.callback { name = "print", on_eval = function(s, ev) print(ev.step) end }',
  fn = function(d)
    local schema = { { "name", "string", required = true },
      { "state", "function", doc = "makes the state that is kept in checkpoints" },
      { "every", "integer", default = 1, min = 1, doc = "steps between calls of on_step" } }
    for _, h in ipairs(hooks) do schema[#schema + 1] = { h, "function" } end
    local c = api.options("callback", schema, d)
    c.is_callback = true
    return c
  end })

-- ---- overrides: -s path=value ----

local function convert(text, types, path)
  for want in types:gmatch("[^|]+") do
    if want == "number" or want == "integer" then
      local v = tonumber(text)
      if v then return v end
    elseif want == "boolean" then
      if text == "true" then return true end
      if text == "false" then return false end
    elseif want == "string" or want == "path" then
      return text
    elseif want == "table" and text:sub(1, 1) == "{" and text:sub(-1) == "}" then
      local list = {}
      for part in text:sub(2, -2):gmatch("[^,]+") do
        part = part:match("^%s*(.-)%s*$")
        list[#list + 1] = tonumber(part) or part
      end
      return list
    end
  end
  api.fail("-s " .. path, ("'%s' is no %s"):format(text, (types:gsub("|", " or "))),
    types:find "table" and ("a list is written -s '%s={1,2,3}'"):format(path) or nil)
end

local function unknown(path, word, names)
  local near = core.nearest(word, names)
  core.raise("E_NOTFOUND", ("-s %s: there is no option '%s'%s"):format(path, word,
    near and (" (did you mean '%s'?)"):format(near) or ""),
    #names > 0 and "options: " .. table.concat(names, ", ") or nil)
end

-- Sets options[rest of path] after the schema.
local function set_option(options, schema, parts, i, path, text)
  local names = {}
  for k, a in ipairs(schema) do
    names[k] = a[1]
    if a[1] == parts[i] then
      if a.options and i < #parts then
        return set_option(options[a[1]], a.options, parts, i + 1, path, text)
      end
      if i < #parts then unknown(path, parts[i + 1], {}) end
      local checked = api.options("-s " .. path, { a }, { [a[1]] = convert(text, a[2], path) })
      options[a[1]] = checked[a[1]]
      return
    end
  end
  unknown(path, parts[i], names)
end

-- A module of one's own has no schema: the value takes the type of what stands there.
local function set_free(options, parts, i, path, text)
  local at = options
  for k = i, #parts - 1 do
    if type(at[parts[k]]) ~= "table" then unknown(path, parts[k], {}) end
    at = at[parts[k]]
  end
  local key = parts[#parts]
  local old = at[key]
  if old == nil then
    local names = {}
    for k in pairs(at) do names[#names + 1] = tostring(k) end
    table.sort(names)
    unknown(path, key, names)
  end
  at[key] = convert(text, type(old), path)
end

local function override(e, path, text)
  local parts = {}
  for word in path:gmatch("[^.]+") do parts[#parts + 1] = word end
  local s = e.sections
  local target = s[parts[1]]
  if #parts > 1 and parts[1] == "model" and modules.is(target) then
    local schema = modules.schema(target)
    if schema then return set_option(modules.options(target), schema, parts, 2, path, text) end
    return set_free(modules.options(target), parts, 2, path, text)
  elseif #parts > 1 and is_description(target) then
    return set_option(target.options, hop.specs[target.kind], parts, 2, path, text)
  end
  for _, a in ipairs(sections) do
    if a[1] == parts[1] and (a[2] == "function" or (a[2] == "table" and not a.options)) and #parts == 1 and
      a[1] ~= "tags" then
      api.fail("-s " .. path, "cannot be set from the command line; one of its options can")
    end
  end
  set_option(s, sections, parts, 1, path, text)
end

-- ---- configuration as plain data ----

local function plain(v, seen)
  local t = type(v)
  if t == "table" then
    if seen[v] then return nil end
    seen[v] = true
    local out = {}
    if modules.is(v) then
      out = plain(modules.options(v), seen) or {}
      out.kind = modules.kind(v) or "module"
    elseif is_description(v) then
      out = plain(v.options, seen) or {}
      out.kind = v.kind
    else
      for k, x in pairs(v) do
        if type(k) == "string" or math.type(k) == "integer" then out[k] = plain(x, seen) end
      end
    end
    seen[v] = nil
    return out
  end
  return (t == "number" or t == "string" or t == "boolean") and v or nil
end

local function config_of(e)
  local c = {}
  for _, a in ipairs(sections) do
    if a[1] == "callbacks" then
      c.callbacks = {}
      for i, cb in ipairs(e.sections.callbacks) do c.callbacks[i] = cb.name end
    elseif a[1] ~= "loss" and a[1] ~= "quantize" and a[1] ~= "knobs" then -- the last two change no training
      c[a[1]] = plain(e.sections[a[1]], {})
    end
  end
  return c
end

-- Values that are functions of the configuration are called, once.
local function call_functions(options, config)
  for k, v in pairs(options) do
    if type(v) == "function" then
      options[k] = v(config)
    elseif type(v) == "table" and getmetatable(v) == nil then
      call_functions(v, config)
    end
  end
end

-- ---- resolving and building ----

local runner = { config = config_of, override = override, set_option = set_option }

local function check_kind(s, name, prefixes)
  if not is_description(s[name]) then
    api.fail("experiment", ("'%s' is no description; write %s{…}"):format(name, prefixes[1]))
  end
  for _, p in ipairs(prefixes) do
    if s[name].kind == p then return end
  end
  local near = core.nearest(s[name].kind, prefixes)
  api.fail("experiment", ("%s cannot be '%s'"):format(s[name].kind, name),
    near and ("did you mean %s?"):format(near))
end

-- Returns the experiment a script returned, with the overrides ({ {path, text}, … }) applied.
function runner.resolve(value, overrides)
  if getmetatable(value) ~= meta then
    api.fail("experiment", "the script returns no experiment",
      "its last line should be: return hop.experiment { … }")
  end
  local e, s = value, value.sections
  for _, o in ipairs(overrides) do override(e, o[1], o[2]) end
  if not s.schedule then s.schedule = hop.optim.constant {} end
  if not modules.is(s.model) then
    api.fail("experiment", "'model' is no module", "write nn.opt{…}, nn.bert{…} or a module of your own")
  end
  check_kind(s, "data", { "data.clm", "data.mlm", "data.images", "data.series" })
  check_kind(s, "optim", { "optim.adamw", "optim.adam", "optim.sgd", "optim.madam" })
  check_kind(s, "schedule", { "optim.constant", "optim.constant_with_warmup", "optim.linear",
    "optim.cosine", "optim.cosine_with_restarts", "optim.polynomial", "optim.type1", "optim.type2" })
  local config = config_of(e)
  for _, part in ipairs { "optim", "schedule", "data" } do call_functions(s[part].options, config) end
  for _, part in ipairs { "train", "log", "eval", "save", "probe" } do call_functions(s[part], config) end
  if not s.train.max_steps and not s.train.epochs then
    api.fail("experiment", "train.max_steps (or train.epochs) is missing")
  end
  return e
end

-- What follows from the size of the data.
local function set_lengths(s, per_epoch)
  local o, batch = s.schedule.options, s.data.options.batch_size * s.train.accumulate
  if not s.train.max_steps then
    s.train.max_steps = math.max(1, math.ceil(s.train.epochs * per_epoch / batch))
  end
  if o.total then return end
  local epochs = math.ceil(s.train.max_steps * batch / math.max(1, per_epoch))
  o.total = o.per ~= "epoch" and s.train.max_steps or math.max(1, epochs - 1)
end

local function check_vocab(s, data)
  if not data.is_text then return end
  local schema, wanted = modules.schema(s.model), data.info.vocab
  for _, a in ipairs(schema or {}) do
    if a[1] == "vocab" and not modules.options(s.model).vocab then
      modules.options(s.model).vocab = wanted
    end
  end
  local vocab = schema and modules.options(s.model).vocab
  if vocab and vocab < wanted then
    api.fail("experiment", ("the model's table has %d rows, the data has %d different tokens"):format(
      vocab, wanted), "leave model.vocab out, and it is taken from the data")
  end
end

-- Sizes that a model of images or series leaves open are the data's; given ones must be them.
local function check_sizes(s, data)
  if data.is_text then return end
  local has, o = data.sizes, modules.options(s.model)
  local function text(v) return type(v) == "table" and table.concat(v, " x ") or tostring(v) end
  for _, a in ipairs(modules.schema(s.model) or {}) do
    local name, wanted = a[1], has[a[1]]
    if wanted and o[name] == nil then
      o[name] = wanted
    elseif wanted and text(o[name]) ~= text(wanted) then
      api.fail("experiment", ("model.%s is %s, the data has %s"):format(name, text(o[name]), text(wanted)),
        ("leave model.%s out, and it is taken from the data"):format(name))
    end
  end
end

-- Opens the data, makes the model, records both losses. Everything the driver needs, as plain fields.
function runner.build(e)
  local s = e.sections
  local feed = hop.feed
  local data = feed.open(s)
  set_lengths(s, data.per_epoch)
  check_vocab(s, data)
  check_sizes(s, data)
  core.seed(s.seed)
  modules.ready(s.model)
  local params = {}
  for name, t in s.model:parameters() do params[#params + 1] = { name, t } end
  if #params == 0 then api.fail("experiment", "the model has no parameters") end
  local out = { params = params, data = data.handle, callbacks = s.callbacks }
  out.train = feed.record(s, data, true, s.data.options.batch_size)
  out.eval = feed.record(s, data, false, s.data.options.eval_batch_size)
  if data.rest > 0 then
    out.eval_rest = feed.record(s, data, false, data.rest)
    feed.check_same(out.eval, out.eval_rest)
  end
  if (data.test_rest or 0) > 0 then
    out.test_rest = feed.record(s, data, false, data.test_rest)
    feed.check_same(out.eval, out.test_rest)
  end
  if (data.train_rest or 0) > 0 then
    out.train_rest = feed.record(s, data, true, data.train_rest)
    feed.check_same(out.train, out.train_rest)
  end
  out.best, out.best_max = feed.best(s.save.best, data, out.eval)
  if s.train.patience > 0 and not out.best then
    api.fail("experiment", "train.patience counts evaluations since the best one, and save.best does not say which " ..
      "metric that goes by", 'save = { best = "eval/loss:min" }')
  end
  out.config = config_of(e)
  out.recipe = api.complete_recipe(s.model, s.quantize)
  out.quantization = s.model.quantization and s.model:quantization(out.recipe) or nil
  out.knobs = knob_list(s.knobs)
  -- The recipe with changes, { "quantize.percentile=99.9", … }, for the model as it is: rules and recipe.
  function out.requantize(changes)
    local o = plain(api.complete_recipe(s.model, s.quantize), {})
    for _, text in ipairs(changes) do
      local path, value = text:match "^([^=]+)=(.*)$"
      local parts = {}
      for word in path:gmatch "[^.]+" do parts[#parts + 1] = word end
      if #parts < 2 then unknown(path, parts[1], {}) end
      set_option(o, api.quantize_options, parts, 2, path, value)
    end
    return s.model.quantization and s.model:quantization(o) or nil, o
  end
  out.groups = s.model.outliers and s.model:outliers() or { all = ".", kurtosis = "." }
  return out
end

-- Which summary metrics a tap counts for; flags as in app/exp/experiment.h.
function runner.group_flags(groups, tap)
  local flags = 0
  local function matches(patterns)
    for p in (patterns or ""):gmatch("[^|]+") do
      if tap:find(p) then return true end
    end
    return false
  end
  if matches(groups.all) then flags = flags | 1 end
  if matches(groups.ffn) then flags = flags | 2 end
  if matches(groups.layer) then flags = flags | 4 end
  if matches(groups.kurtosis) then flags = flags | 8 end
  if matches(groups.norm_in) then flags = flags | 16 end
  return flags
end

-- ---- callbacks ----

-- An object that C asks and fires: wants(hook, step), fire(hook, ev), save(), load(states).
function runner.callbacks(list, run)
  local states, o = {}, {}
  for i, c in ipairs(list) do states[i] = c.state and c.state() or {} end
  local needed = {}
  for _, h in ipairs(hooks) do
    for _, c in ipairs(list) do
      if c[h] then needed[h] = math.min(needed[h] or c.every, c.every) end
    end
  end
  -- smallest period of a hook, 0 if nobody listens: C keeps it and asks no more
  function o.period(hook) return needed[hook] or 0 end
  function o.fire(hook, ev)
    local before = run.who -- a request may come from a callback
    ev.run = run
    for i, c in ipairs(list) do
      if c[hook] and (hook ~= "on_step" or ev.step % c.every == 0) then
        run.who = c.name
        c[hook](states[i], ev)
      end
    end
    run.who = before
  end
  function o.save()
    local out = {}
    for i, c in ipairs(list) do out[i] = { name = c.name, state = states[i] } end
    return out
  end
  function o.load(saved)
    for i, c in ipairs(list) do
      for _, entry in ipairs(saved) do
        if entry.name == c.name then states[i] = entry.state or {} end
      end
    end
  end
  return o
end

-- The handle that callbacks act through; driver functions come from C.
function runner.run_handle(driver)
  local run = {}
  function run:stop(why) driver.command("stop", tostring(why or self.who or "callback"), 0) end
  function run:checkpoint() driver.command("checkpoint", self.who or "callback", 0) end
  function run:evaluate() driver.command("eval", self.who or "callback", 0) end
  function run:quantize() driver.command("quantize", self.who or "callback", 0) end
  function run:set(knob, value)
    if type(knob) ~= "string" or type(value) ~= "number" then
      api.fail("run:set", "takes a knob's name and a number")
    end
    driver.command("set " .. knob, self.who or "callback", value)
  end
  function run.get(_, knob) return driver.knob(knob) end
  local said = {} -- unit of a series, once it is in the events
  function run.log(_, values, units)
    for tag, unit in pairs(units or {}) do
      if type(tag) ~= "string" or type(unit) ~= "string" then
        api.fail("run:log", "takes units as a table from tag to text", '{ ["probe/lag"] = "ms" }')
      end
      if said[tag] ~= unit then driver.unit(tag, unit) end
      said[tag] = unit
    end
    for tag, v in pairs(values) do
      if type(tag) ~= "string" or type(v) ~= "number" then
        api.fail("run:log", "takes a table from tag to number")
      end
      driver.log(tag, v)
    end
  end
  function run.mark(_, kind, text) driver.notice("info", kind .. ": " .. tostring(text or "")) end
  function run.alert(_, level, text) driver.notice("alert", level .. ": " .. tostring(text or "")) end
  return run
end

hop.runner = runner
