-- Views, commands and keys of the screen, written in Lua: hop.view and hop.ui. What draw returns is
-- a description of plain data; the screen lays it out and draws it. The functions of hop.ui that act
-- do so in the screen's own Lua only.

local core, api, hop = ...

hop.ui = {}
api.views, api.commands, api.keys = {}, {}, {} -- by name, by name, by number: what was defined
api.jobs, api.n_jobs = {}, 0 -- by number: { on_line, on_exit }
api.values = {} -- by name: what columns and filters ask of a run

local function define(d) return api.define(hop, d) end

local POINTS, CELLS, ROWS = 4000, 40000, 2000 -- of a line, of a heat map, of a table: what is handed over

-- ---- elements ----

local element = { __metatable = "element", __tostring = function(e) return "element " .. e.element end }
local function make(kind, t)
  t.element = kind
  return setmetatable(t, element)
end

local function is_element(v) return getmetatable(v) == "element" end
api.is_element = is_element

-- an array of numbers or a tensor of one dimension as an array
local function numbers(v, what)
  if core.is_tensor(v) then v = v:reshape({ -1 }):table() end
  if type(v) ~= "table" then api.fail(what, "takes tables of numbers or tensors, not a " .. type(v)) end
  for i = 1, #v do
    if type(v[i]) ~= "number" then api.fail(what, ("element %d is a %s, not a number"):format(i, type(v[i]))) end
  end
  return v
end

local LOOKS = { "text", "dim", "title", "good", "warn", "bad", "key" }
local FRAME = { { "title", "string", optional = true, doc = "above it" },
  { "height", "integer", optional = true, min = 1, max = 400, doc = "rows; else a share of what is there" },
  { "width", "integer", optional = true, min = 1, max = 1000, doc = "columns; else a share" } }

local function with_frame(options)
  local all = { table.unpack(options) }
  for _, o in ipairs(FRAME) do all[#all + 1] = o end
  return all
end

-- splits { positional..., name = option } and checks the options
local function take(what, schema, t)
  local list, named = {}, {}
  for k, v in pairs(t) do
    if math.type(k) == "integer" then list[k] = v else named[k] = v end
  end
  return list, api.options(what, schema, named)
end

local function longest(t)
  local n = 0
  for i in pairs(t) do n = math.max(n, i) end
  return n
end

-- Describes and defines hop.ui.<name>: its table holds things by position and options by name.
local function define_element(name, doc, options, example, fn)
  local schema = with_frame(options)
  define { name = "ui." .. name, doc = doc .. " Options: " .. (function()
      local words = {}
      for i, o in ipairs(schema) do words[i] = o[1] end
      return table.concat(words, ", ")
    end)() .. ".", args = { { "contents", "table" } }, returns = "element", example = example,
    fn = function(t)
      local list, o = take("ui." .. name, schema, t)
      return make(name, fn(list, o, longest(list)))
    end }
end

local function children(what)
  return function(list, o, n)
    for i = 1, n do
      if type(list[i]) == "string" then list[i] = hop.ui.text { list[i] } end
      if not is_element(list[i]) then api.fail(what, ("child %d is no element"):format(i)) end
    end
    o.children = list
    return o
  end
end
define_element("rows", "Elements one below the other.", {}, 'hop.ui.rows { hop.ui.text { "above" }, "below" }',
  children "ui.rows")
define_element("cols", "Elements side by side.", {}, 'hop.ui.cols { "left", "right" }', children "ui.cols")

-- fewer points that keep the extremes of every stretch
local function thin(x, y)
  if #y <= POINTS then return x, y end
  local each, rx, ry = math.ceil(2 * #y / POINTS), {}, {}
  for from = 1, #y, each do
    local lo, hi = from, from
    for i = from, math.min(from + each - 1, #y) do
      if y[i] < y[lo] or y[lo] ~= y[lo] then lo = i end
      if y[i] > y[hi] or y[hi] ~= y[hi] then hi = i end
    end
    for _, i in ipairs { math.min(lo, hi), math.max(lo, hi) } do rx[#rx + 1], ry[#ry + 1] = x[i], y[i] end
  end
  return rx, ry
end

define_element("line", "A chart of lines: what d:series gave, { x =, y =, name = }, or tables of numbers.",
  { { "yscale", "string", default = "linear", choices = { "linear", "log" }, doc = "y axis" },
    { "xscale", "string", default = "linear", choices = { "linear", "log" }, doc = "x axis" } },
  'hop.ui.line { { 1, 4, 9 }, yscale = "log" }',
  function(list, o, n)
    o.lines = {}
    for i = 1, n do
      local l = list[i]
      if type(l) ~= "table" and not core.is_tensor(l) then api.fail("ui.line", ("line %d is no data"):format(i)) end
      local named = type(l) == "table" and l.y ~= nil
      local y = numbers(named and l.y or l, "ui.line")
      local x = named and l.x and numbers(l.x, "ui.line")
      if not x then
        x = {}
        for k = 1, #y do x[k] = k end
      end
      if #x ~= #y then api.fail("ui.line", ("line %d has %d x and %d y"):format(i, #x, #y)) end
      x, y = thin(x, y)
      o.lines[i] = { x = x, y = y, name = named and l.name or nil }
    end
    return o
  end)

define_element("bars", "Bars with names and values: { \"name\", value } each.", {},
  'hop.ui.bars { { "a", 3 }, { "b", 5 } }',
  function(list, o, n)
    o.bars = {}
    for i = 1, math.min(n, ROWS) do
      local b = list[i]
      if type(b) ~= "table" or type(b[2]) ~= "number" then
        api.fail("ui.bars", ("bar %d is no { name, value }"):format(i))
      end
      o.bars[i] = { tostring(b[1]), b[2] }
    end
    return o
  end)

define_element("hist", "A histogram of numbers, or of what run:hist gave.",
  { { "bins", "integer", default = 40, min = 1, max = 400, doc = "how many" },
    { "scale", "string", default = "linear", choices = { "linear", "log" }, doc = "of the counts" } },
  "hop.ui.hist { { 1, 2, 2, 3 } }",
  function(list, o)
    local data = list[1] or {}
    if type(data) == "table" and data.bins then
      o.counts, o.lo, o.hi = data.bins, data.min, data.max
      return o
    end
    local v, lo, hi = numbers(data, "ui.hist"), math.huge, -math.huge
    for _, x in ipairs(v) do
      if x == x and math.abs(x) < math.huge then lo, hi = math.min(lo, x), math.max(hi, x) end
    end
    o.counts, o.lo, o.hi = {}, lo <= hi and lo or 0, lo <= hi and hi or 0
    for i = 1, o.bins do o.counts[i] = 0 end
    for _, x in ipairs(v) do
      if x == x and math.abs(x) < math.huge then
        local i = hi > lo and math.min(o.bins, 1 + math.floor((x - lo) / (hi - lo) * o.bins)) or 1
        o.counts[i] = o.counts[i] + 1
      end
    end
    return o
  end)

define_element("heat", "A matrix as shades: a tensor of two dimensions, rows of numbers, or what d:probe gave.",
  { { "rows", "string", default = "row", doc = "what a row is" },
    { "cols", "string", default = "column", doc = "what a column is" },
    { "names", "table", optional = true, doc = "of the rows" },
    { "scale", "string", default = "linear", choices = { "linear", "log" }, doc = "of the shades" } },
  "hop.ui.heat { { { 1, 2 }, { 3, 4 } } }",
  function(list, o)
    local m = list[1] or {}
    if type(m) == "table" and m.values then o.names, o.x, m = o.names or m.names, m.x, m.values end
    if core.is_tensor(m) then m = m:table() end
    o.values = {}
    local n = 0
    for i, row in ipairs(m) do
      o.values[i] = numbers(row, "ui.heat")
      n = n + #row
      if n > CELLS then api.fail("ui.heat", ("has more than %d cells"):format(CELLS)) end
    end
    if o.names then
      for i, name in ipairs(o.names) do o.names[i] = tostring(name) end
    end
    return o
  end)

local function cell(v)
  if v == nil then return "" end
  if math.type(v) == "float" then return ("%.4g"):format(v) end
  return tostring(v)
end

define_element("table", "Rows, each a table by column name or by position.",
  { { "columns", "table", optional = true, doc = "names, in order" } },
  'hop.ui.table { { { name = "a", value = 1 } }, columns = { "name", "value" } }',
  function(list, o)
    local rows = list[1] or {}
    if type(rows) ~= "table" then api.fail("ui.table", "takes a list of rows") end
    local keys = o.columns or rows.columns
    o.rows = {}
    for i = 1, math.min(#rows, ROWS) do
      local row, out = rows[i], {}
      if type(row) ~= "table" then api.fail("ui.table", ("row %d is no table"):format(i)) end
      for c = 1, keys and #keys or #row do
        local v = row[c]
        if keys and v == nil then v = row[keys[c]] end
        out[c] = { cell(v), type(v) == "number" }
      end
      o.rows[i] = out
    end
    o.head = {}
    for c, name in ipairs(keys or {}) do o.head[c] = tostring(name) end
    o.columns = nil
    return o
  end)

local function split(text, lines)
  for line in (text .. "\n"):gmatch("(.-)\n") do
    if #lines < ROWS then lines[#lines + 1] = line end
  end
end

local function text_lines(list, o, n)
  o.lines = {}
  for i = 1, n do split(tostring(list[i]), o.lines) end
  return o
end
local LOOK = { { "look", "string", default = "text", choices = LOOKS, doc = "how it looks" } }
define_element("text", "Lines of text.", LOOK, 'hop.ui.text { "two\\nlines", look = "dim" }', text_lines)
define_element("log", "Lines of text, of which the newest, at the end, are always shown.", LOOK,
  'hop.ui.log { "first", "last" }', text_lines)

define_element("gauge", "A bar that is filled as far as a number from 0 to 1 says.",
  { { "text", "string", default = "", doc = "behind it" } }, 'hop.ui.gauge { 0.4, text = "40 %" }',
  function(list, o)
    if type(list[1]) ~= "number" then api.fail("ui.gauge", "takes a number from 0 to 1") end
    o.value = list[1]
    return o
  end)

local function tree_lines(node, depth, lines)
  if type(node) ~= "table" then
    split(("  "):rep(depth) .. tostring(node), lines)
    return
  end
  if depth > 16 then return end
  for i, child in ipairs(node) do
    if i == 1 and type(child) ~= "table" then
      split(("  "):rep(depth) .. tostring(child), lines)
    else
      tree_lines(child, depth + 1, lines)
    end
  end
end
define_element("tree", "Nested lists, { \"name\", child, child }, indented.", {},
  'hop.ui.tree { { "model", "embeddings", { "layers", "0", "1" } } }',
  function(list, o, n)
    o.lines = {}
    for i = 1, n do tree_lines(list[i], 0, o.lines) end
    o.element_of = "tree"
    return o
  end)

-- ---- the canvas ----

local brush = {}
brush.__index = brush

local function place(v, what)
  v = type(v) == "number" and v == v and math.tointeger(math.floor(math.max(-1e6, math.min(1e6, v)))) or nil
  if not v then api.fail(what, "needs numbers for places and sizes") end
  return v
end

local function look_of(look, what)
  if look == nil then return "text" end
  for _, l in ipairs(LOOKS) do
    if l == look then return l end
  end
  if type(look) == "string" and look:match("^series[1-8]$") or look:match("^heat[1-8]$") then return look end
  api.fail(what, ("unknown look '%s'"):format(tostring(look)), "looks: " .. table.concat(LOOKS, ", ") ..
    ", series1 to series8, heat1 to heat8")
end

local function stroke(c, s)
  if #c.strokes >= CELLS then api.fail("canvas", ("has more than %d strokes"):format(CELLS)) end
  c.strokes[#c.strokes + 1] = s
end

function brush:text(x, y, text, look)
  stroke(self, { "text", place(x, "c:text"), place(y, "c:text"), tostring(text), look_of(look, "c:text") })
end
function brush:fill(x, y, w, h, char, look)
  stroke(self, { "fill", place(x, "c:fill"), place(y, "c:fill"), place(w, "c:fill"), place(h, "c:fill"),
    tostring(char or " "), look_of(look, "c:fill") })
end
function brush:line(x1, y1, x2, y2, look)
  stroke(self, { "line", place(x1, "c:line"), place(y1, "c:line"), place(x2, "c:line"), place(y2, "c:line"),
    look_of(look, "c:line") })
end

local drawing -- { width, height } while a view draws

define_element("canvas", "What paint(c) puts on c, from 1, 1 in the upper left: c:text(x, y, text, look), " ..
  "c:fill(x, y, w, h, char, look), c:line(x1, y1, x2, y2, look); c.w and c.h are its size. What lies outside is " ..
  "cut off.",
  { { "w", "integer", optional = true, min = 1, max = 1000, doc = "columns; else the pane's" },
    { "h", "integer", optional = true, min = 1, max = 400, doc = "rows; else the pane's" },
    { "paint", "function", required = true, doc = "called with the canvas" } },
  "hop.ui.canvas { paint = function(c) c:text(1, 1, \"here\") end }",
  function(_, o)
    local size = drawing or { width = 80, height = 24 }
    local c = setmetatable({ w = o.w or size.width, h = o.h or size.height, strokes = {} }, brush)
    o.paint(c)
    return { strokes = c.strokes, title = o.title, height = o.height or o.h, width = o.width or o.w }
  end)

-- ---- acting ----

function api.acts(what)
  if drawing then api.fail(what, "draw describes only", "do this in a function of keys, or outside of draw") end
end

local function act(what, kind, value)
  api.acts(what)
  if core.emit then
    value.where = core.where()
    core.emit(kind, value)
  end
end

define { name = "ui.set", doc = "Changes settings of the screen, as :set does.", args = { { "settings", "table" } },
  example = 'hop.ui.set { theme = "light", fps = 5 }',
  fn = function(settings)
    local names = {}
    for name in pairs(settings) do names[#names + 1] = tostring(name) end
    table.sort(names)
    for _, name in ipairs(names) do
      local v = settings[name]
      act("ui.set", "set", { name = name, value = v == true and "on" or v == false and "off" or tostring(v) })
    end
  end }

define { name = "ui.execute", doc = "A line of the screen's command line that only looks: open, view, filter, sort, " ..
  "mark, set, theme, help.", args = { { "line", "string" } }, example = 'hop.ui.execute("view runs")',
  fn = function(line) act("ui.execute", "execute", { line = line }) end }

define { name = "ui.notice", doc = "A text in the screen's bottom line.", args = { { "text", "string" } },
  example = 'hop.ui.notice("done")',
  fn = function(text) act("ui.notice", "notice", { text = text }) end }

define { name = "ui.map", doc = "Keys for an action: the name of one of the screen (:help lists them; \"none\" " ..
  "takes the keys away), everywhere; or a function, in one view or everywhere (\"any\").",
  args = { { "view", "string" }, { "keys", "string" }, { "action", "string|function" },
    { "help", "string", default = "" } },
  example = 'hop.ui.map("any", "g+q", "quit")',
  fn = function(view, keys, action, help)
    local number
    if type(action) == "function" then
      number = #api.keys + 1
      api.keys[number] = action
    elseif view ~= "any" then
      api.fail("ui.map", "an action of the screen is mapped everywhere", 'say "any" for the view')
    end
    act("ui.map", "map", { view = view, keys = keys, action = not number and action or nil, number = number,
      help = help })
  end }

define { name = "ui.command", doc = "A command for the screen's command line. run is called with its words.",
  args = { { "command", "table", options = {
    { "name", "string", required = true, doc = "typed after :" },
    { "args", "string", default = "", doc = "as help shows them" },
    { "help", "string", default = "", doc = "one line" },
    { "complete", "function", optional = true,
      doc = "complete(word, words): a list of what the word that is typed may become; words: those before it" },
    { "run", "function", required = true, doc = "what it does" } } } },
  example = 'hop.ui.command { name = "hello", run = function(who) hop.ui.notice("hello " .. (who or "")) end }',
  fn = function(o)
    if not o.name:match("^%a[%w_-]*$") or #o.name > 30 then
      api.fail("ui.command", ("'%s' is no name for a command"):format(o.name))
    end
    api.commands[o.name] = o
    act("ui.command", "command", { name = o.name, args = o.args, help = o.help })
  end }

local function add_value(what, o, f, filter)
  if not o.name:match("^%a[%w_]*$") or #o.name > 24 then
    api.fail(what, ("'%s' is no name: letters and digits, at most 24"):format(o.name))
  end
  api.values[o.name] = { f = f, what = what }
  act(what, "value", { name = o.name, help = o.help, filter = filter })
end

define { name = "ui.column", doc = "A column of the run list, :columns +NAME, which also sorts, groups and filters " ..
  "(NAME<3): value(run) gives a number or a text, nil where there is none. Asked again when the run has changed.",
  args = { { "column", "table", options = {
    { "name", "string", required = true, doc = "its key and title" },
    { "help", "string", default = "", doc = "one line" },
    { "value", "function", required = true, doc = "of a run" } } } },
  example = 'hop.ui.column { name = "gap", value = function(run) return run:last("eval/loss") - run.loss end }',
  fn = function(o) add_value("ui.column", o, o.value, false) end }

define { name = "ui.filter", doc = "A word for filters of the run list, :filter NAME and !NAME: fits(run) says " ..
  "whether a run does.",
  args = { { "filter", "table", options = {
    { "name", "string", required = true, doc = "the word" },
    { "help", "string", default = "", doc = "one line" },
    { "fits", "function", required = true, doc = "of a run" } } } },
  example = 'hop.ui.filter { name = "late", fits = function(run) return run.step and run.step > 1e5 end }',
  fn = function(o) add_value("ui.filter", o, o.fits, true) end }

local MARKS = { "bold", "faint", "underline", "reverse" }
local LOOK_OPTIONS = { { "fg", "integer|string", doc = "of 256 colours" },
  { "bg", "integer|string", doc = "behind it" } }
for _, mark in ipairs(MARKS) do LOOK_OPTIONS[#LOOK_OPTIONS + 1] = { mark, "boolean", doc = "a mark" } end

-- 196, "196 bold" or { fg = 196, bg = 16, bold = true } as the screen reads it
local function look_text(role, look)
  if type(look) ~= "table" then return tostring(look) end
  local o = api.options("ui.theme." .. role, LOOK_OPTIONS, look)
  local words = { o.fg or "default", o.bg and "on " .. o.bg }
  for _, mark in ipairs(MARKS) do words[#words + 1] = o[mark] and mark or nil end
  return table.concat(words, " ")
end

define { name = "ui.theme", doc = "A theme for :theme and hop.ui.set. roles: { bad = 196, key = \"37 bold\", " ..
  "select = { bg = 153 }, series = { 33, 203 }, heat = {…} }, colours of 256; \"196/9\" also says which of 16. " ..
  "Roles: text, dim, title, border, focus, select, key, good, warn, bad, live, series1 to series8, heat1 to heat8.",
  args = { { "theme", "table", options = {
    { "name", "string", required = true, doc = "for :theme" },
    { "base", "string", default = "default", doc = "what the other roles look like" },
    { "roles", "table", default = {}, doc = "role = look" } } } },
  example = 'hop.ui.theme { name = "mine", base = "light", roles = { bad = "196 bold" } }',
  fn = function(o)
    local roles = {}
    for role, look in pairs(o.roles) do
      if (role == "series" or role == "heat") and type(look) == "table" then
        for i, l in ipairs(look) do roles[role .. i] = look_text(role, l) end
      else
        roles[tostring(role)] = look_text(tostring(role), look)
      end
    end
    act("ui.theme", "theme", { name = o.name, base = o.base, roles = roles })
  end }

local timer = {}
timer.__index = timer
function timer:stop() act("timer:stop", "timer", { number = self.number, seconds = 0 }) end

define { name = "ui.timer", doc = "Calls a function again and again, so many seconds apart; timer:stop() ends it.",
  args = { { "seconds", "number", min = 0.1, max = 86400 }, { "f", "function" } }, returns = "timer",
  example = 'hop.ui.timer(60, function() hop.ui.notice("a minute") end)',
  fn = function(seconds, f)
    local number = #api.keys + 1
    api.keys[number] = f
    act("ui.timer", "timer", { number = number, seconds = seconds })
    return setmetatable({ number = number }, timer)
  end }

local job = {}
job.__index = job
function job:stop()
  api.jobs[self.number] = nil
  act("job:stop", "job", { number = self.number, stop = true })
end

define { name = "ui.job", doc = "Starts a program beside the screen: its name and arguments. on_line is called with " ..
  "each line of its output, on_exit with its exit status (128 and the signal that ended it). job:stop() ends it, " ..
  "and so does the screen. Not for scripts beside a project's hoplab.lua, unless :set jobs=on.",
  args = { { "argv", "table" }, { "options", "table", options = {
    { "on_line", "function", optional = true, doc = "on_line(line)" },
    { "on_exit", "function", optional = true, doc = "on_exit(status)" } } } }, returns = "job",
  example = 'hop.ui.job({ "nvidia-smi", "-L" }, { on_line = print })',
  fn = function(argv, o)
    if #argv == 0 then api.fail("ui.job", "takes a program and its arguments, as { \"ls\", \"-l\" }") end
    local words = {}
    for i, word in ipairs(argv) do words[i] = tostring(word) end
    local number = api.n_jobs + 1
    api.n_jobs = number
    api.jobs[number] = o
    act("ui.job", "job", { number = number, argv = words })
    return setmetatable({ number = number }, job)
  end }

-- ---- views ----

define { name = "hop.view", doc = "A view of the screen. draw(s, d) returns an element of hop.ui and changes " ..
  "nothing; s is what state() gave, d the data: d.run and d.marked (handles as hop.run gives), d.width, d.height, " ..
  "d:series(name, options), d:last(name), d:probe(site, options), d:hist(site, options), d:top(matrix, n). " ..
  "keys: { [\"x\"] = { help, function(s) } }. What is given back has redraw(), for timers.",
  args = { { "view", "table", options = {
    { "name", "string", required = true, doc = "for :view" },
    { "title", "string", optional = true, doc = "of its pane" },
    { "key", "string", optional = true, doc = "that shows it: 9, or any that is free" },
    { "needs", "table", optional = true, options = {
      { "probe", "string|table", optional = true, doc = "a watched site, or a list of them" },
      { "every", "integer", optional = true, min = 1, doc = "steps between watched ones, at most" },
      { "series", "string|table", optional = true, doc = "a series, or a list of them" } },
      doc = "what a run must have; what it has not is told above the picture, with what would record it" },
    { "state", "function", optional = true, doc = "what draw and keys share" },
    { "keys", "table", default = {}, doc = "keys of its own" },
    { "draw", "function", required = true, doc = "the picture" } } } },
  returns = "view",
  example = 'hop.view { name = "loss", draw = function(_, d) return hop.ui.line { d:series "train/loss" } end }',
  fn = function(v)
    if not v.name:match("^[%w_-]+$") or #v.name > 24 then
      api.fail("hop.view", ("'%s' is no name for a view: letters and digits, at most 24"):format(v.name))
    end
    local keys = {}
    for key, what in pairs(v.keys) do
      if type(what) ~= "table" or type(what[1]) ~= "string" or type(what[2]) ~= "function" then
        api.fail("hop.view", ("key '%s' is not { \"help\", function }"):format(tostring(key)))
      end
      keys[#keys + 1] = { key = tostring(key), help = what[1] }
    end
    table.sort(keys, function(a, b) return a.key < b.key end)
    local view = { name = v.name, draw = v.draw, keys = v.keys, state = v.state, needs = v.needs }
    api.views[v.name] = view
    act("hop.view", "view", { name = v.name, title = v.title or v.name, key = v.key, keys = keys })
    return setmetatable({ name = v.name, redraw = function() act("view:redraw", "redraw", { name = v.name }) end },
      { __metatable = "view", __tostring = function() return "view " .. v.name end })
  end }

-- An order begins: what the one before was interrupted in is over.
function api.begin() drawing = nil end

local function list_of(v) return type(v) == "table" and v or { v } end

local LIVE = { starting = true, running = true, paused = true, evaluating = true }

-- The watched sites of a run: names as keys.
local function sites_of(run)
  local sites = {}
  for _, name in ipairs(run:names "outliers/layer.") do
    local site = name:match("^outliers/layer%.%d+/(.+)/[^/]+$")
    if site then sites[site] = true end
  end
  return sites
end

-- What a view needs and the run has not, and what would record it: lines, perhaps none.
local function missing(needs, run)
  local lines, probe = {}, run.config.probe or {}
  local how = LIVE[run.state] and ":knob probe.every=%d watches from now on" or
    "-s probe.every=%d, or probe = { every = %d } in the script, would have it watched"
  local sites, every = sites_of(run), probe.every or 0
  for _, site in ipairs(list_of(needs.probe)) do
    if site == "attn.probs" then
      if (probe.attention or 0) == 0 then
        lines[#lines + 1] = "not recorded: attn.probs; -s probe.attention=64, or probe = { attention = 64 } in the " ..
          "script, would have it"
      end
    elseif not sites[site] and next(sites) then
      local known = {}
      for name in pairs(sites) do known[#known + 1] = name end
      table.sort(known)
      lines[#lines + 1] = ("not watched: %s; this run has %s (hop.tap names one)"):format(site,
        table.concat(known, ", "))
    elseif not sites[site] then
      local n = needs.every or 100
      lines[#lines + 1] = every > 0 and ("nothing is watched yet: %s comes every %d steps"):format(site, every) or
        ("not watched: %s; %s"):format(site, how:format(n, n))
    end
  end
  if needs.every and every > needs.every then
    lines[#lines + 1] = ("watched every %d steps only; %s"):format(every, how:format(needs.every, needs.every))
  end
  for _, tag in ipairs(list_of(needs.series)) do
    if not (run.summary.scalars or {})[tag] then
      lines[#lines + 1] = ("this run has no series %s%s"):format(tag, LIVE[run.state] and " yet" or "")
    end
  end
  return lines
end

-- Calls draw of a view, of what the screen shows: runs by their directories.
function api.draw(view, o)
  local d = api.data_of(o)
  local told = view.needs and d.run and missing(view.needs, d.run) or {}
  drawing = o
  if not view.s then view.s = view.state and view.state() or {} end
  local e = view.draw(view.s, d)
  drawing = nil
  if type(e) == "string" then e = hop.ui.text { e } end
  if not is_element(e) then
    api.fail("draw of view " .. view.name, "must return an element of hop.ui, not " ..
      (e == nil and "nothing" or "a " .. type(e)))
  end
  if #told == 0 then return e end
  return hop.ui.rows { hop.ui.text { table.concat(told, "\n"), look = "warn" }, e }
end

-- ---- what draw is given ----

local data = {}
data.__index = data

local handles = {} -- directory -> handle: what it has read is kept
local function handle_of(dir)
  local ok, run = true, handles[dir]
  if not run then
    ok, run = pcall(api.run_at, dir)
    handles[dir] = ok and run or nil
  end
  return ok and run or nil
end

function api.data_of(o)
  local marked = {}
  for _, dir in ipairs(o.marked or {}) do marked[#marked + 1] = handle_of(dir) end
  return setmetatable({ run = o.run and handle_of(o.run), marked = marked, width = o.width, height = o.height },
    data)
end

local function has(run, name)
  return run and (run.summary.scalars or {})[name] ~= nil
end

-- Nothing yet is no error: the run may have just begun.
function data:series(name, options)
  if not has(self.run, name) then return { x = {}, y = {}, name = name } end
  local o = { points = 2 * self.width }
  for k, v in pairs(options or {}) do o[k] = v end
  local x, y = self.run:series(name, o)
  return { x = x, y = y, name = name }
end

function data:last(name)
  if not has(self.run, name) then return nil end
  return self.run:last(name)
end

function data:hist(site, options)
  return self.run and self.run:hist(site, options)
end

-- The newest attention probabilities: a tensor {layers, heads, N, N}, nil where none are stored.
local function attention_of(run)
  local layers, by_layer = {}, {}
  for name, map in pairs(run and run:curves("attention/layer.") or {}) do
    local layer = math.tointeger(tonumber(name:match("%.(%d+)$")))
    layers[#layers + 1], by_layer[layer] = layer, map
  end
  table.sort(layers)
  local first, all = by_layer[layers[1]], {}
  for _, layer in ipairs(layers) do
    local map = by_layer[layer]
    if map.rows ~= first.rows or map.cols ~= first.cols then
      api.fail("d:probe", "the attention maps of layers " .. layers[1] .. " and " .. layer .. " differ in size")
    end
    table.move(map.values, 1, #map.values, #all + 1, all)
  end
  return first and hop.T.from(all):reshape { #layers, first.rows // first.cols, first.cols, first.cols }
end

-- a statistic of a site, layer by layer, over the steps: { values, names, x }; of "attn.probs" what
-- the heads of all layers attend to
function data:probe(site, options)
  if site == "attn.probs" then return attention_of(self.run) end
  local o = api.options("d:probe", { { "stat", "string", default = "inf_norm" },
    { "points", "integer", default = self.width, min = 1 } }, options or {})
  local out = { values = {}, names = {}, x = {} }
  if not self.run then return out end
  local layers = {}
  for _, name in ipairs(self.run:names("outliers/layer.")) do
    local layer = name:match("^outliers/layer%.(%d+)/(.+)$")
    if name == ("outliers/layer.%s/%s/%s"):format(layer, site, o.stat) then
      layers[#layers + 1] = math.tointeger(layer)
    end
  end
  table.sort(layers)
  for i, layer in ipairs(layers) do
    local x, y = self.run:series(("outliers/layer.%d/%s/%s"):format(layer, site, o.stat))
    local each, row = math.max(1, math.ceil(#y / o.points)), {}
    for from = 1, #y, each do -- the largest of a stretch: no outlier is hidden
      local v = y[from]
      for k = from + 1, math.min(from + each - 1, #y) do v = (v ~= v or y[k] > v) and y[k] or v end
      row[#row + 1] = v
      if i == 1 then out.x[#row] = x[from] end
    end
    out.values[i], out.names[i] = row, "layer " .. layer
  end
  return out
end

-- the n largest of a matrix: { { row =, col =, value = }, ... }
function data.top(_, matrix, n)
  if type(matrix) == "table" and matrix.values then matrix = matrix.values end
  if core.is_tensor(matrix) then matrix = matrix:table() end
  local all = {}
  for i, row in ipairs(matrix) do
    for k, v in ipairs(row) do
      if v == v then all[#all + 1] = { row = i, col = k, value = v } end
    end
  end
  table.sort(all, function(a, b) return a.value > b.value end)
  return table.move(all, 1, math.min(n or 5, #all), 1, {})
end
