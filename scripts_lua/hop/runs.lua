-- Runs: hop.runs, hop.run, and the handles they give. Reading changes nothing; a live run can be asked for something.

local core, api, hop = ...

local inner = setmetatable({}, { __mode = "k" }) -- handle -> { row, read_at, files }
local methods, meta = {}, { __name = "run", __metatable = "run" }

local FRESH = 1 -- seconds that a row is taken for current

local function runs_dir() return core.runs_dir or os.getenv("HOPLAB_RUNS") or "runs" end

local function inside(run)
  local r = inner[run]
  if not r then api.fail("run", "needs a run before the ':' or '.'", 'for example hop.run "last"') end
  return r
end

local function files(run)
  local r = inside(run)
  r.files = r.files or core.run_open(r.row.dir)
  return r.files
end

local function row(run)
  local r = inside(run)
  if core.clock() - r.read_at > FRESH then
    r.row, r.read_at = core.run_row(files(run)), core.clock()
  end
  return r.row
end

local function json(run, which)
  local r = inside(run)
  if which == "summary" then
    if not r.summary or core.clock() - r.summary_at > FRESH then
      r.summary, r.summary_at = core.run_json(files(run), which) or {}, core.clock()
    end
  else
    r[which] = r[which] or core.run_json(files(run), which) or {}
  end
  return r[which]
end

local FIELDS = { "id", "name", "project", "dir", "host", "state", "message", "variant", "checkpoint", "step",
  "step_total", "loss", "eval", "max_inf_norm", "kurtosis", "started", "non_finite" }
local FIELD = { tags = true, config = true, facts = true, summary = true }
for _, f in ipairs(FIELDS) do FIELD[f] = true end

local function tags(r)
  local out = {}
  for word in r.tag_words:gmatch("%S+") do out[#out + 1] = word end
  return out
end

function meta.__index(run, key)
  if methods[key] then return methods[key] end
  if key == "tags" then return tags(row(run)) end
  if key == "config" or key == "facts" or key == "summary" then return json(run, key) end
  if FIELD[key] then return row(run)[key] end
  local names = { "tags", "config", "facts", "summary", table.unpack(FIELDS) }
  local near = core.nearest(tostring(key), names)
  api.fail("run", ("has no field '%s'%s"):format(tostring(key), near and (" (did you mean '%s'?)"):format(near) or ""),
    "fields: " .. table.concat(names, ", "))
end
function meta.__newindex() api.fail("run", "handles are read, not written") end
function meta.__eq(a, b) return inside(a).row.dir == inside(b).row.dir end
function meta.__tostring(run)
  local r = inside(run).row
  return ("run %s #%s  %s%s"):format(r.name, r.id:sub(-4), r.state, r.step and ("  step %d%s"):format(r.step,
    r.step_total and "/" .. r.step_total or "") or "")
end
api.members.run = function()
  local all = {}
  for name in pairs(FIELD) do all[name] = true end
  for name, f in pairs(methods) do all[name] = f end
  return all
end

local function handle(r)
  local run = setmetatable({}, meta)
  inner[run] = { row = r, read_at = core.clock() }
  return run
end

-- ---- which runs ----

local list_meta = { __name = "runs", __metatable = "runs", __index = table }
function list_meta.__tostring(list)
  local lines = { ("%d run%s"):format(#list, #list == 1 and "" or "s") }
  for i = 1, math.min(#list, 40) do
    local r = inside(list[i]).row
    lines[i + 1] = ("  %-28s %-10s step %-9s loss %-9s eval %s"):format(r.name:sub(1, 28), r.state,
      r.step or "-", r.loss and ("%.4g"):format(r.loss) or "-", r.eval and ("%.4g"):format(r.eval) or "-")
  end
  if #list > 40 then lines[#lines + 1] = "  ..." end
  return table.concat(lines, "\n")
end

local open_lists = {} -- directory -> what reads it

local function rows_of(dir, filter)
  open_lists[dir] = open_lists[dir] or core.run_list(dir)
  return core.run_rows(open_lists[dir], filter)
end

api.define(hop, { name = "hop.runs", doc = "The runs of a store, newest first: a list that `for run in " ..
  "hop.runs {} do` goes through. filter: as that of the run list and of `hoplab ls` (`status:done loss<2 tag:a,b " ..
  "!name:old or optim.lr>1e-4 eval/ppl.min<6`), or a function of a run.",
  args = { { "options", "table", options = {
    { "filter", "string|function", optional = true, doc = "which; all" },
    { "dir", "path", optional = true, doc = "another store" } } } },
  returns = "table", example = 'for run in hop.runs { filter = "status:done" } do print(run.name, run.loss) end',
  fn = function(o)
    local list, at = {}, 0
    local fits = type(o.filter) == "function" and o.filter or nil
    for _, r in ipairs(rows_of(o.dir or runs_dir(), not fits and o.filter or nil)) do
      local run = handle(r)
      if not fits or fits(run) then list[#list + 1] = run end
    end
    return setmetatable(list, { __index = table, __name = "runs", __tostring = list_meta.__tostring,
      __call = function()
        at = at < #list and at + 1 or 0
        return list[at]
      end })
  end })

api.define(hop, { name = "hop.run", doc = "A run by id, name, head or tail of its id, directory, or \"last\": a " ..
  "handle with name, id, state, step, loss, eval, tags, config, facts and more, which answers with what the run " ..
  "says now.", args = { { "run", "string" } }, returns = "run", example = 'hop.run("last").config.optim.lr',
  fn = function(word)
    local files_of = core.run_open(core.run_find(runs_dir(), word))
    local run = handle(core.run_row(files_of))
    inner[run].files = files_of
    return run
  end })

-- the run of a directory, for the screen
function api.run_at(dir)
  local files_of = core.run_open(dir)
  local run = handle(core.run_row(files_of))
  inner[run].files = files_of
  return run
end

-- ---- what is in one ----

local function define(d)
  d.self = "run"
  methods[d.name:match(":(.*)$")] = api.define(nil, d)
end

local function scalar(run, tag, what)
  local scalars = json(run, "summary").scalars or {}
  if scalars[tag] then return scalars[tag] end
  local names = {}
  for name in pairs(scalars) do names[#names + 1] = name end
  local near = core.nearest(tag, names)
  api.fail(what, ("run %s has no series '%s'%s"):format(inside(run).row.name, tag,
    near and (" (did you mean '%s'?)"):format(near) or ""), "run:names() lists them")
end

define { name = "run:names", doc = "Names of the scalar series, sorted; those that contain a word, if one is given.",
  args = { { "word", "string", optional = true } }, returns = "table", example = 'hop.run("last"):names("eval/")',
  fn = function(run, word)
    local names = {}
    for name in pairs(json(run, "summary").scalars or {}) do
      if not word or name:find(word, 1, true) then names[#names + 1] = name end
    end
    table.sort(names)
    return names
  end }

define { name = "run:last", doc = "The last value of a series, and its step.", args = { { "series", "string" } },
  returns = "number", example = 'hop.run("last"):last("train/loss")',
  fn = function(run, tag)
    local s = scalar(run, tag, "run:last")
    return s.last, s.last_step
  end }

define { name = "run:best", doc = "The best value of a series, { value, step, time }: the smallest, or of an " ..
  "accuracy the largest. time: when it was, in seconds since 1970.",
  args = { { "series", "string" }, { "options", "table", options = {
    { "goal", "string", optional = true, choices = { "min", "max" }, doc = "which is best" } } } },
  returns = "table", example = 'hop.run("last"):best("eval/ppl").value',
  fn = function(run, tag, o)
    local s = scalar(run, tag, "run:best")
    local goal = o.goal or (tag:find("acc", 1, true) and "max" or "min")
    local step = s[goal .. "_step"]
    return { value = s[goal], step = step, time = step and core.run_time(files(run), tag, math.tointeger(step)) }
  end }

-- what a step is worth on another axis
local function scale_of(run, x)
  if x == "epoch" then
    local epochs, steps = (json(run, "config").train or {}).epochs, row(run).step_total
    if not (epochs and steps and steps > 0) then
      api.fail("run:series", "the run's configuration does not say how many epochs it has")
    end
    return epochs / steps
  end
  if x ~= "tokens" then return 1 end
  local data = json(run, "config").data or {}
  if not (data.batch_size and data.seq_len) then
    api.fail("run:series", "the run's configuration does not say how many tokens a step has")
  end
  return data.batch_size * data.seq_len
end

define { name = "run:series", doc = "A scalar series as two tables, x and y. Reduced to about `points`, it keeps " ..
  "the extremes of every stretch, and NaN where a value was not finite. \"= FORMULA\" computes one of some " ..
  "(`= train/loss - eval/loss`), as `:chart` does: numbers, series, + - * /, log exp sqrt abs; at the steps of the " ..
  "first series, where all are known.",
  args = { { "series", "string" }, { "options", "table", options = {
    { "x", "string", default = "step", choices = { "step", "time", "tokens", "epoch" },
      doc = "time: seconds from the first" },
    { "from", "number", default = -math.huge, doc = "of x" }, { "to", "number", default = math.huge, doc = "of x" },
    { "points", "integer", default = 0, min = 0, doc = "about how many; 0: all" },
    { "ema", "number", default = 0, min = 0, max = 0.9999, doc = "factor of an exponential mean" } } } },
  returns = "table", example = 'local x, y = hop.run("last"):series("train/loss", { points = 400 })',
  fn = function(run, tag, o)
    if tag:sub(1, 1) ~= "=" then scalar(run, tag, "run:series") end
    return core.run_points(files(run), tag, o.x == "time", scale_of(run, o.x), o.from, o.to, o.points, o.ema)
  end }

define { name = "run:hist", doc = "A stored histogram: { step, min, max, n, sum, sum_squares, non_finite, bins, " ..
  "edges }, edges on the right; the newest at or before a step. nil if there is none.",
  args = { { "site", "string" }, { "options", "table", options = {
    { "layer", "integer", optional = true, min = 0, doc = "of a site that all layers have" },
    { "step", "integer", default = -1, min = -1, doc = "-1: the newest" } } } },
  returns = "table", example = 'hop.run("last"):hist("attn.out", { layer = 1 })',
  fn = function(run, site, o)
    local tag = site
    if not site:find("/", 1, true) then
      tag = "outliers/" .. (o.layer and ("layer.%d/"):format(o.layer) or "") .. site .. "/hist"
    end
    return core.run_hist(files(run), tag, o.step)
  end }

define { name = "run:curves", doc = "Stored curves and maps whose names begin so: a table from each name to " ..
  "{ step, rows, cols, values }, values row by row; the newest at or before a step. Of token positions " ..
  "(`outliers/PLACE/tokens`: largest values, then ids) text says how the ids are spelled.",
  args = { { "prefix", "string" }, { "options", "table", options = {
    { "step", "integer", default = -1, min = -1, doc = "-1: the newest" } } } },
  returns = "table", example = 'hop.run("last"):curves("attention/")',
  fn = function(run, prefix, o) return core.run_curves(files(run), prefix, o.step) end }

define { name = "run:tables", doc = "Names of the stored tables.", args = {}, returns = "table",
  example = 'hop.run("last"):tables()',
  fn = function(run)
    local names = {}
    for name in pairs(json(run, "summary").tables or {}) do names[#names + 1] = name end
    table.sort(names)
    return names
  end }

define { name = "run:table", doc = "A stored table, as it was written.", args = { { "name", "string" } },
  returns = "table", example = 'hop.run("last"):table("result")',
  fn = function(run, name)
    local all = json(run, "summary").tables or {}
    if all[name] == nil then
      local names = methods.tables(run)
      local near = core.nearest(name, names)
      api.fail("run:table", ("run %s has no table '%s'%s"):format(inside(run).row.name, name,
        near and (" (did you mean '%s'?)"):format(near) or ""),
        #names > 0 and "tables: " .. table.concat(names, ", ") or nil)
    end
    return all[name]
  end }

-- ---- its checkpoints ----

local tensors = {}
tensors.__index = tensors

function tensors:names()
  local names = {}
  for name in pairs(self.sizes) do names[#names + 1] = name end
  table.sort(names)
  return names
end

function tensors:get(name)
  local size = self.sizes[name]
  if not size then
    local near = core.nearest(tostring(name), self:names())
    api.fail("run:tensors", ("the checkpoint has no tensor '%s'%s"):format(tostring(name),
      near and (" (did you mean '%s'?)"):format(near) or ""))
  end
  local t = hop.T.zeros(size)
  core.weights_read(self.file, name, t)
  return t
end

define { name = "run:tensors", doc = "The tensors of a checkpoint, \"best\", \"last\" or by its name: :names(), and " ..
  ":get(name), which reads that one.", args = { { "checkpoint", "string", default = "last" } }, returns = "table",
  example = 'hop.run("last"):tensors("best"):names()',
  fn = function(run, name)
    local file = core.weights_open(core.run_checkpoint(row(run).dir, name))
    return setmetatable({ file = file, sizes = core.weights_list(file) }, tensors)
  end }

-- ---- asking a live one ----

local LIMIT = 600 -- seconds that a request may take to be applied

local function ask(run, what, command, word)
  if api.acts then api.acts("run:" .. what) end
  local ok, step, text = pcall(core.run_ask, row(run).dir, command, word, LIMIT)
  if not ok then error(step, 0) end
  inside(run).read_at = -math.huge -- it is another one now
  return step, text
end

local function request(what, args, doc, fn)
  define { name = "run:" .. what, doc = doc .. " Gives the step it was applied at; raises where the run refuses, " ..
    "or is not live.", args = args, returns = "integer", example = ('-- hop.run("last"):%s(…)'):format(what), fn = fn }
end

request("pause", { { "options", "table", options = {
  { "release", "boolean", default = false, doc = "write a checkpoint and give the device back" } } } },
  "Pauses the run.", function(run, o) return ask(run, "pause", "pause", o.release and "--release" or nil) end)
request("resume", {}, "Lets a paused run go on.", function(run) return ask(run, "resume", "resume") end)
request("stop", { { "options", "table", options = {
  { "checkpoint", "boolean", default = true, doc = "write one first" } } } }, "Stops the run.",
  function(run, o) return ask(run, "stop", "stop", not o.checkpoint and "--no-checkpoint" or nil) end)
request("checkpoint", { { "name", "string", optional = true } }, "Writes a checkpoint; one with a name stays.",
  function(run, name) return ask(run, "checkpoint", "checkpoint", name) end)
request("evaluate", { { "part", "string", optional = true, choices = { "eval", "test", "train" } } },
  "Evaluates, on this part of the data; then also what came of it, in words.",
  function(run, part) return ask(run, "evaluate", "eval", part) end)
define { name = "run:lua",
  doc = "Evaluates Lua in the run, between two steps, in its script's interpreter: gives what it prints and its " ..
    "values as text. There, run is what callbacks have as ev.run. Raises where the run refuses, where the text " ..
    "raises, and where the run is not live.",
  args = { { "text", "string" } }, returns = "string", example = '-- hop.run("last"):lua([[run:get "lr"]])',
  fn = function(run, text) return select(2, ask(run, "lua", "lua", text)) end }
request("set", { { "knob", "string" }, { "value", "number|string" } },
  "Sets a knob to a number, to \"schedule\" (what it began with), or lr to another schedule: \"cosine:warmup=100\".",
  function(run, knob, value) return ask(run, "set", "set", ("%s=%s"):format(knob, value)) end)

local FINAL = { done = true, stopped = true, failed = true, diverged = true, interrupted = true, lost = true }

define { name = "run:wait", doc = "Waits until the run is in a state (\"done\", \"paused\", …), or over; gives the " ..
  "state it is in.", args = { { "state", "string", default = "done" }, { "options", "table", options = {
    { "timeout", "number", default = math.huge, min = 0, doc = "seconds" } } } }, returns = "string",
  example = '-- hop.run("last"):wait "done"',
  fn = function(run, state, o)
    if api.acts then api.acts("run:wait") end
    local begin = core.clock()
    while true do
      inside(run).read_at = -math.huge
      local now = row(run).state
      if now == state or FINAL[now] or core.clock() - begin >= o.timeout then return now end
      core.run_rest(math.min(0.25, o.timeout))
    end
  end }

api.define(hop, { name = "hop.store", doc = "Where runs are kept, from the folder of the project file (hoplab.lua) " ..
  "that says so; --runs and HOPLAB_RUNS win. Elsewhere it does nothing.", safety = "setup",
  args = { { "folder", "string" } }, returns = "nothing", example = 'hop.store "runs"',
  fn = function() end })

define { name = "run:log", doc = "The newest lines of the run's log: a list of { step, time, text }.",
  args = { { "lines", "integer", default = 20, min = 1, max = 10000 } }, returns = "table",
  example = 'hop.run("last"):log(5)',
  fn = function(run, n)
    local out = {}
    for i, line in ipairs(core.run_log(files(run), n)) do
      local step, time, text = line:match("^(%-?%d+) (%S+) (.*)$")
      out[i] = { step = math.tointeger(tonumber(step)), time = tonumber(time), text = text }
    end
    return out
  end }
