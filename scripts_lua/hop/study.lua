-- Studies: a function that measures something, in a run of its own. `hop.study` checks and returns;
-- `hoplab run` calls it with a handle s that records numbers, tables, figures and claims.

local core, api, hop = ...
local runner = hop.runner

local sections = {
  { "name", "string", required = true, doc = "of the run" },
  { "project", "string", doc = "runs that belong together" },
  { "tags", "table", default = {}, doc = "list of words" },
  { "seed", "integer", default = 0, min = 0, doc = "of everything that is drawn" },
}
local description = table.move(sections, 1, #sections, 1, {})
description[#description + 1] = { "options", "table", default = {},
  doc = "the study's own: a list of { name, type, default =, min =, max =, choices =, doc = }; " ..
    "-s name=value sets them" }
description[#description + 1] = { "run", "function", required = true, doc = "run(s)" }

local meta = { __name = "study" }

api.define(hop, { name = "hop.study", safety = "setup",
  doc = "Describes a study: run(s) measures, and s records. s.options and s.seed are the settings. " ..
    "s:log(step, {tag = number}) is a curve, s:table(name, {columns=, rows=, caption=}) a table " ..
    "(tables/NAME.csv in the run's directory), s:figure(name, {title=, x=, y=, log_x=, log_y=, caption=, " ..
    "series={{name=, x=, y=, low=, high=, dots=}}}) a picture (figures/NAME.svg, .png and its numbers as " ..
    ".json), s:check(claim, holds, numbers) a claim and whether it holds, s:result{name = number} a final " ..
    "number, s:say(text) a line of the log. s:tick(doing, share) says how far it is; s:part(study) " ..
    "runs another study within this one; " ..
    "s:refuse(message, hint) ends it where options or data do not fit. What the library or s:refuse refuses ends " ..
    "`hoplab run` with status 3 (with 4 where memory is short), an error of the script itself with 1.",
  args = { { "description", "table", options = description } }, returns = "study",
  example = 'hop.study { name = "draws", run = function(s) s:log(1, { mean = T.randn{1000}:mean():item() }) end }',
  fn = function(d)
    for i, o in ipairs(d.options) do
      if type(o) ~= "table" or type(o[1]) ~= "string" or type(o[2]) ~= "string" then
        api.fail("hop.study", ("options[%d] is no { name, type }"):format(i),
          '{ "patterns", "integer", default = 10, min = 1, doc = "number of memories" }')
      end
      for _, a in ipairs(sections) do
        if a[1] == o[1] then api.fail("hop.study", ("every study has an option '%s'"):format(o[1])) end
      end
    end
    local schema = table.move(d.options, 1, #d.options, #sections + 1, table.move(sections, 1, #sections, 1, {}))
    local sectioned = api.options("hop.study", schema, { name = d.name, project = d.project, tags = d.tags,
      seed = d.seed })
    return setmetatable({ schema = schema, sections = sectioned, run = d.run }, meta)
  end })

-- ---- what a study does while it runs ----

local handle = {}
handle.__index = handle

local function prefixed(s, name) return s.prefix .. name end

function handle:log(step, values)
  if math.type(step) ~= "integer" or step < 0 then api.fail("s:log", "the step is a whole number from 0") end
  for tag, v in pairs(values) do
    if type(tag) ~= "string" or type(v) ~= "number" then api.fail("s:log", "takes a table from tag to number") end
    self.desk.scalar(self.path .. tag, step, v)
  end
end

function handle:table(name, t)
  if type(t.columns) ~= "table" or type(t.rows) ~= "table" then
    api.fail("s:table", "takes { columns = { … }, rows = { { … }, … } }")
  end
  for i, row in ipairs(t.rows) do
    if #row ~= #t.columns then
      api.fail("s:table", ("'%s' has %d columns and row %d has %d cells"):format(name, #t.columns, i, #row))
    end
  end
  self.out.tables[#self.out.tables + 1] = { prefixed(self, name), t }
  self.desk.table(prefixed(self, name), { columns = t.columns, rows = t.rows, caption = t.caption })
end

function handle:figure(name, f)
  if type(f.series) ~= "table" then api.fail("s:figure", "takes { series = { { name=, x=, y= }, … } }") end
  self.desk.figure(prefixed(self, name), f)
end

-- numbers: text that says what was found
function handle:check(claim, holds, numbers)
  self.out.checks[#self.out.checks + 1] = { self.path .. claim, holds and "yes" or "NO", numbers or "" }
  self.desk.say(("%s: %s (%s)"):format(holds and "holds" or "DOES NOT HOLD", claim, numbers or ""))
end

function handle:result(values)
  for name, v in pairs(values) do self.out.result[prefixed(self, name)] = v end
end

-- Options that do not fit together, or data that the study is not for
function handle.refuse(_, message, hint) core.raise("E_ARG", message, hint) end

function handle:say(text) self.desk.say(tostring(text)) end
function handle:tick(doing, share) self.desk.tick(doing, share) end

function handle:part(study)
  if getmetatable(study) ~= meta then api.fail("s:part", "takes what hop.study gave") end
  local own = study.sections
  study.run(setmetatable({ desk = self.desk, out = self.out, options = own, seed = own.seed,
    prefix = self.prefix .. own.name .. "-", path = self.path .. own.name .. "/" }, handle))
end

-- ---- the end: what is printed ----

local function cell_text(v)
  if type(v) == "number" and math.type(v) == "float" then return ("%.4g"):format(v) end
  return tostring(v)
end

local function format_table(t)
  local width, lines = {}, {}
  local rows = { t.columns, table.unpack(t.rows) }
  for _, row in ipairs(rows) do
    for i, c in ipairs(row) do width[i] = math.max(width[i] or 0, utf8.len(cell_text(c)) or #cell_text(c)) end
  end
  for _, row in ipairs(rows) do
    local cells = {}
    for i, c in ipairs(row) do
      local text = cell_text(c)
      local fill = (" "):rep(width[i] - (utf8.len(text) or #text))
      cells[i] = type(c) == "number" and fill .. text or text .. fill
    end
    lines[#lines + 1] = "  " .. table.concat(cells, "  "):gsub("%s+$", "")
  end
  return table.concat(lines, "\n")
end

function runner.run_study(study, desk)
  local out = { tables = {}, checks = {}, result = {} }
  core.seed(study.sections.seed)
  local s = setmetatable({ desk = desk, out = out, options = study.sections, seed = study.sections.seed,
    prefix = "", path = "" }, handle)
  study.run(s)
  local text, n = {}, 0
  for _, t in ipairs(out.tables) do
    text[#text + 1] = ("\n%s%s\n%s"):format(t[1], t[2].caption and ": " .. t[2].caption or "", format_table(t[2]))
  end
  if #out.checks > 0 then
    for _, c in ipairs(out.checks) do n = n + (c[2] == "yes" and 1 or 0) end
    local t = { columns = { "claim", "holds", "numbers" }, rows = out.checks }
    desk.table("claims", t)
    text[#text + 1] = ("\n%d of %d claims hold\n%s"):format(n, #out.checks, format_table(t))
    out.result.claims, out.result.claims_that_hold = #out.checks, n
  end
  text[#text + 1] = ""
  return { text = table.concat(text, "\n"), result = out.result }
end

-- ---- what C asks ----

local resolve, build, config = runner.resolve, runner.build, runner.config

function runner.resolve(value, overrides)
  if getmetatable(value) ~= meta then return resolve(value, overrides) end
  for _, o in ipairs(overrides) do runner.set_option(value.sections, value.schema, { o[1] }, 1, o[1], o[2]) end
  return value
end

function runner.config(e)
  if getmetatable(e) ~= meta then return config(e) end
  local c = { kind = "study" }
  for k, v in pairs(e.sections) do c[k] = v end
  return c
end

function runner.build(e)
  if getmetatable(e) ~= meta then return build(e) end
  return { study = true, config = runner.config(e) }
end
