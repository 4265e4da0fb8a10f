-- Sweeps: one experiment, many configurations. `hop.sweep` checks and returns; `hoplab sweep` expands
-- it with what the command line adds, and trains each point as an ordinary run.
--
-- A point is a list of { path, text } in a fixed order, as for -s path=text. Points come from blocks
-- (an axis of the grid, the rows of zip, list and random), all combined with all, the first block
-- varying slowest; seeds come last, so that repeats stand side by side.

local core, api, hop = ...
local runner = hop.runner

local POINTS_MAX = 100000

local function fail(text, hint) api.fail("sweep", text, hint) end

-- ---- values as the text of -s path=text ----

local function number_text(v)
  if v ~= v or v == math.huge or v == -math.huge then fail("a value is not finite") end
  if math.type(v) == "integer" then return ("%d"):format(v) end
  for digits = 6, 17 do
    local text = ("%." .. digits .. "g"):format(v)
    if tonumber(text) == v then return text end
  end
end

local function value_text(path, v)
  local t = type(v)
  if t == "number" then return number_text(v) end
  if t == "string" or t == "boolean" then return tostring(v) end
  if t == "table" and getmetatable(v) == nil and #v > 0 then
    local out = {}
    for i, x in ipairs(v) do
      if type(x) ~= "number" and type(x) ~= "string" or tostring(x):find "[,{}]" then
        fail(("%s: a list as a value holds numbers or plain words"):format(path))
      end
      out[i] = value_text(path, x)
    end
    return "{" .. table.concat(out, ",") .. "}"
  end
  fail(("%s: a value is a number, a word, true, false or a list of those, not a %s"):format(path, t))
end

local function check_list(where, path, values)
  if type(path) ~= "string" then fail(where .. ": names are paths such as [\"optim.lr\"]") end
  if type(values) ~= "table" or getmetatable(values) or #values == 0 then
    fail(("%s: '%s' needs a list of values"):format(where, path))
  end
  local out, seen = {}, {}
  for i, v in ipairs(values) do
    out[i] = value_text(path, v)
    if seen[out[i]] and where ~= "zip" then
      fail(("%s: '%s' has the value %s twice"):format(where, path, out[i]))
    end
    seen[out[i]] = true
  end
  return out
end

-- "a,b(1,2),{3,4}" -> { "a", "b(1,2)", "{3,4}" }; a comma of a value itself is written \,
-- is_axis: one value too is written as that of an axis
local function split_values(path, text, is_axis)
  local parts, depth, part, i = {}, 0, "", 1
  while i <= #text do
    local c = text:sub(i, i)
    if c == "\\" and text:sub(i + 1, i + 1) == "," then
      c, i = ",", i + 1
    elseif c:find "[({%[]" then
      depth = depth + 1
    elseif c:find "[)}%]]" then
      depth = depth - 1
    elseif c == "," and depth <= 0 then
      parts[#parts + 1], part, c = part, "", ""
    end
    part, i = part .. c, i + 1
  end
  parts[#parts + 1] = part
  local seen = {}
  for k, p in ipairs(parts) do
    local number = (is_axis or #parts > 1) and tonumber(p)
    if number then -- as a script would write it: 1e-3 and 0.001 are the same trial
      p = number_text(number)
      parts[k] = p
    end
    if #parts > 1 and not p:find "%S" then
      core.raise("E_NOTFOUND", ("-s %s=%s: a value of the list is empty"):format(path, text))
    elseif seen[p] then
      core.raise("E_NOTFOUND", ("-s %s=%s: the value %s is there twice"):format(path, text, p))
    end
    seen[p] = true
  end
  return parts
end

-- ---- blocks: lists of partial points ----

local function axis(path, texts)
  local block = { paths = { path } }
  for i, t in ipairs(texts) do block[i] = { { path, t } } end
  return block
end

local function sorted_keys(t)
  local keys = {}
  for k in pairs(t) do keys[#keys + 1] = k end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  return keys
end

local function zip_block(zip)
  local paths = sorted_keys(zip)
  local block = { paths = paths }
  for k, path in ipairs(paths) do
    local texts = check_list("zip", path, zip[path])
    if k > 1 and #texts ~= #block then
      fail(("zip: '%s' has %d values, '%s' has %d"):format(paths[1], #block, path, #texts))
    end
    for i, t in ipairs(texts) do
      block[i] = block[i] or {}
      block[i][k] = { path, t }
    end
  end
  return block
end

local function list_block(list)
  local block, known = { paths = {} }, {}
  for i, row in ipairs(list) do
    if type(row) ~= "table" or next(row) == nil then
      fail(("list[%d] is no table such as { [\"optim.lr\"] = 1e-3 }"):format(i))
    end
    block[i] = {}
    for _, path in ipairs(sorted_keys(row)) do
      if type(path) ~= "string" then fail(("list[%d]: names are paths"):format(i)) end
      if not known[path] then block.paths[#block.paths + 1] = path end
      known[path] = true
      table.insert(block[i], { path, value_text(path, row[path]) })
    end
  end
  if #block == 0 then fail("list is empty") end
  return block
end

-- Draw number i for a path depends on nothing else, so a larger n only adds points.
local function uniform(seed, path, i)
  local h = seed * 0x9E3779B97F4A7C15 + i
  for k = 1, #path do h = (h ~ path:byte(k)) * 0x100000001B3 end
  for _ = 1, 2 do -- the finaliser of splitmix64
    h = (h ~ (h >> 30)) * 0xBF58476D1CE4E5B9
    h = (h ~ (h >> 27)) * 0x94D049BB133111EB
    h = h ~ (h >> 31)
  end
  return (h >> 11) * 2.0 ^ -53
end

local range_options = {
  { "min", "number", required = true }, { "max", "number", required = true },
  { "log", "boolean", default = false }, { "integer", "boolean", default = false },
}

local function draw(path, from, u)
  if from.texts then return from.texts[1 + math.floor(u * #from.texts)] end
  local r = from.range
  local lo, hi = r.min, r.max
  if r.integer then hi = hi + 1 end
  local v = r.log and math.exp(math.log(lo) + u * (math.log(hi) - math.log(lo))) or lo + u * (hi - lo)
  if r.integer then return value_text(path, math.min(math.floor(v), math.floor(r.max))) end
  return ("%.6g"):format(v)
end

local function random_source(path, v)
  if type(v) == "table" and #v > 0 then return { texts = check_list("random", path, v) } end
  local r = api.options("sweep.random." .. path, range_options, v)
  if r.max <= r.min or (r.log and r.min <= 0) then
    fail(("random: '%s' needs min < max%s"):format(path, r.log and ", and min > 0 for log" or ""))
  end
  return { range = r }
end

local function random_block(random)
  local n, seed = random.n, random.seed or 0
  if math.type(n) ~= "integer" or n < 1 or n > POINTS_MAX then
    fail("random: 'n' says how many points to draw", "random = { n = 20, [\"optim.lr\"] = { … } }")
  end
  if math.type(seed) ~= "integer" then fail("random: 'seed' must be an integer") end
  local block, sources = { paths = {} }, {}
  for _, path in ipairs(sorted_keys(random)) do
    if path ~= "n" and path ~= "seed" then
      if type(path) ~= "string" then fail("random: names are paths") end
      block.paths[#block.paths + 1] = path
      sources[path] = random_source(path, random[path])
    end
  end
  if #block.paths == 0 then fail("random: nothing is varied") end
  for i = 1, n do
    block[i] = {}
    for k, path in ipairs(block.paths) do
      block[i][k] = { path, draw(path, sources[path], uniform(seed, path, i)) }
    end
  end
  return block
end

-- given: texts by path, of the command line, instead of the script's
local function blocks_of(s, given)
  local blocks, seeds = {}, nil
  for _, path in ipairs(sorted_keys(s.grid or {})) do
    local texts = check_list("grid", path, s.grid[path])
    local block = axis(path, given[path] or texts)
    if path == "seed" then
      seeds = block
    else
      blocks[#blocks + 1] = block
    end
  end
  if s.zip and next(s.zip) then blocks[#blocks + 1] = zip_block(s.zip) end
  if s.list then blocks[#blocks + 1] = list_block(s.list) end
  if s.random then blocks[#blocks + 1] = random_block(s.random) end
  return blocks, seeds
end

local function check_paths(blocks, fixed)
  local seen = {}
  for _, b in ipairs(blocks) do
    for _, path in ipairs(b.paths) do
      if seen[path] then fail(("'%s' is varied in two places"):format(path)) end
      if fixed[path] then
        fail(("'%s' is varied by zip, list or random and cannot be set"):format(path))
      end
      if path == "name" or path == "tags" then
        fail(("'%s' cannot be varied: the sweep names its runs itself"):format(path))
      end
      seen[path] = true
    end
  end
end

local function combine(blocks)
  local points = { {} }
  for _, block in ipairs(blocks) do
    if #points * #block > POINTS_MAX then
      fail(("more than %d points"):format(POINTS_MAX), "draw some of them: --random N")
    end
    local out = {}
    for _, p in ipairs(points) do
      for _, more in ipairs(block) do
        out[#out + 1] = table.move(more, 1, #more, #p + 1, table.move(p, 1, #p, 1, {}))
      end
    end
    points = out
  end
  return points
end

-- n of the points, in their order; which ones does not depend on n.
local function choose(points, n)
  local ranked = {}
  for i, p in ipairs(points) do
    local text = {}
    for k, v in ipairs(p) do text[k] = v[1] .. "=" .. v[2] end
    ranked[i] = { uniform(1, table.concat(text, "\n"), 0), i }
  end
  table.sort(ranked, function(a, b) return a[1] < b[1] or a[1] == b[1] and a[2] < b[2] end)
  local chosen, out = {}, {}
  for k = 1, math.min(n, #ranked) do chosen[ranked[k][2]] = true end
  for i, p in ipairs(points) do
    if chosen[i] then out[#out + 1] = p end
  end
  return out
end

-- The shortest tail of each path that no other path has: "optim.lr" is lr.
local function add_keys(points)
  local paths, key = {}, {}
  for _, p in ipairs(points) do
    for _, v in ipairs(p) do paths[v[1]] = true end
  end
  for path in pairs(paths) do
    local tail = path:match "[^.]+$"
    while tail ~= path do
      local unique = true
      for other in pairs(paths) do
        unique = unique and (other == path or ("." .. other):sub(-#tail - 1) ~= "." .. tail)
      end
      if unique then break end
      tail = path:sub(1, -#tail - 2):match "[^.]+$" .. "." .. tail
    end
    key[path] = tail
  end
  for _, p in ipairs(points) do
    for i, v in ipairs(p) do p[i] = { v[1], v[2], key[v[1]] } end
  end
end

-- What the command line sets. `given` has all its texts by path. Axes of the script (`own`) stay where
-- they are, be it for one value, so that a part of a sweep has the trials of the whole; of the others
-- lists are axes, and the rest is the same in every trial.
local function command_line(sets, own)
  local fixed, axes, given = {}, {}, {}
  for _, o in ipairs(sets) do
    local path, texts = o[1], split_values(o[1], o[2], own[o[1]])
    if given[path] then
      core.raise("E_NOTFOUND", ("-s %s is given twice"):format(path))
    end
    given[path] = texts
    if #texts > 1 and not own[path] then
      axes[#axes + 1] = axis(path, texts)
    elseif not own[path] then
      fixed[#fixed + 1] = { path, texts[1] }
    end
  end
  return fixed, axes, given
end

-- given: texts of the seed on the command line, or nil
local function seed_axis(s, n, has_list, given)
  if has_list then fail("--repeat counts seeds itself, but the sweep has a list of them") end
  local first = math.tointeger(tonumber(given and given[1] or s.base.sections.seed))
  if not first then fail("the seed must be an integer") end
  local texts = {}
  for i = 1, n do texts[i] = ("%d"):format(first + i - 1) end
  return axis("seed", texts)
end

-- { fixed = { {path, text}, … }, points = { { {path, text, key}, … }, … } }; o: sets (of -s), repeats
-- and random (0: not given), all as on the command line.
local function expand(s, o)
  local own, set = { base = s.bases ~= nil }, {}
  for path in pairs(s.grid or {}) do own[path] = true end
  local fixed, axes, given = command_line(o.sets or {}, own)
  for _, f in ipairs(fixed) do set[f[1]] = true end
  if s.bases then table.insert(axes, 1, axis("base", given.base or sorted_keys(s.bases))) end
  local blocks, seeds = blocks_of(s, given)
  table.move(blocks, 1, #blocks, #axes + 1, axes)
  local has_list = (seeds or given.seed) and not (given.seed and #given.seed == 1)
  if (o.repeats or 0) > 0 then seeds = seed_axis(s, o.repeats, has_list, given.seed) end
  check_paths(axes, set)
  local points = combine(axes)
  if (o.random or 0) > 0 then points = choose(points, o.random) end
  if seeds then
    check_paths({ seeds, table.unpack(axes) }, {})
    points = combine { points, seeds }
  end
  add_keys(points)
  return { fixed = fixed, points = points }
end

-- ---- what scripts see ----

local options = {
  { "base", "table", required = true, doc = "what hop.experiment gave, or a table from name to such: then " ..
    "`base` is an axis too, and -s base=NAME chooses" },
  { "name", "string", doc = "of the sweep; else that of its base" },
  { "grid", "table", doc = "lists of values by path; every combination" },
  { "zip", "table", doc = "lists of equal length by path; moved together" },
  { "list", "table", doc = "tables from path to value, one point each" },
  { "random", "table", doc = "n points, drawn: a list to choose from, or {min, max, log, integer}, by path" },
  { "where", "function", doc = "where(configuration): false leaves the point out" },
}

local meta = { __name = "sweep", __index = {} }

local function is_experiment(v)
  local m = getmetatable(v)
  return type(m) == "table" and m.__name == "experiment"
end

-- The points without what a command line adds, for scripts and tests; `where` is not asked.
function meta.__index:points() return expand(self, {}).points end

api.define(hop, { name = "hop.sweep", safety = "setup",
  doc = "Describes many runs of one experiment; `hoplab sweep` runs them. grid, zip, list and random are " ..
    "combined with each other. Early stopping and generators (stop, after, next) are not there.",
  args = { { "description", "table", options = options } }, returns = "sweep",
  example = 'hop.sweep { base = base, grid = { ["optim.lr"] = { 1e-3, 3e-3 }, seed = { 1, 2, 3 } } }',
  fn = function(d)
    if not is_experiment(d.base) then
      d.bases, d.base = d.base, nil
      local names = sorted_keys(d.bases)
      for _, name in ipairs(names) do
        if type(name) ~= "string" or not is_experiment(d.bases[name]) then names = {} end
      end
      if #names == 0 then
        fail("'base' is no experiment", "base = hop.experiment { … }, or a table of such: { bert = …, opt = … }")
      end
      d.base = d.bases[names[1]]
    end
    return setmetatable(d, meta)
  end })

-- ---- what C asks ----

local resolve = runner.resolve

-- Which of several experiments the overrides choose (else the first by name), and the other overrides.
local function choose_base(s, overrides)
  local base, rest = s.base, {}
  for _, o in ipairs(overrides) do
    if o[1] ~= "base" or not s.bases then
      rest[#rest + 1] = o
    elseif s.bases[o[2]] then
      base = s.bases[o[2]]
    else
      core.raise("E_NOTFOUND", ("-s base=%s: there is no such experiment here"):format(o[2]),
        "there are: " .. table.concat(sorted_keys(s.bases), ", "))
    end
  end
  return base, rest
end

-- A sweep stands for its base: that is what `run` trains and `check` checks.
function runner.resolve(value, overrides)
  local where
  if getmetatable(value) == meta then
    where = value.where
    value, overrides = choose_base(value, overrides)
  end
  local e = resolve(value, overrides)
  e.where = where
  return e
end

-- The experiment that a run of this configuration was one of: of several, the first of its kinds, for all
-- that differs between two of the same kinds is in the configuration.
function runner.trained(value, config)
  for _, name in ipairs(getmetatable(value) == meta and value.bases and sorted_keys(value.bases) or {}) do
    local s = value.bases[name].sections
    if hop.modules.kind(s.model) == config.model.kind and s.data.kind == config.data.kind then
      return runner.resolve(value.bases[name], {})
    end
  end
  return runner.resolve(value, {})
end

-- From what the script returned; o as for expand, and name.
function runner.sweep(value, o)
  if is_experiment(value) then
    value = setmetatable({ base = value }, meta)
  elseif getmetatable(value) ~= meta then
    fail("the script returns neither an experiment nor a sweep",
      "its last line should be: return hop.sweep { … }")
  end
  local out = expand(value, o)
  out.name = o.name or value.name or value.base.sections.name
  for i, f in ipairs(out.fixed) do
    if f[1] == "name" then
      out.name = o.name or f[2]
      table.remove(out.fixed, i)
      break
    end
  end
  return out
end

-- Of a resolved experiment: does the sweep want it?
function runner.sweep_wants(e) return not e.where or e.where(runner.config(e)) and true or false end
