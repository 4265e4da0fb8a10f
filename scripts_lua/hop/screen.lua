-- What the screen asks its own Lua for. app/lua/scripting.c calls the functions of this table, one
-- at a time, with plain data in and out; core.emit sends notes to the screen meanwhile.

local hop = require "hop"
local core = require "hop.core"
local api = hop.register
local console = require "hop.console"
local description_of = console.description_of

local screen = {}

-- ---- the console ----

local function say(text, role) core.emit("print", { text = text, role = role }) end

core.global("print", function(...)
  local parts = table.pack(...)
  for i = 1, parts.n do parts[i] = tostring(parts[i]) end
  say(table.concat(parts, "\t", 1, parts.n))
end)

core.global("help", function(what)
  if what == nil then
    say("Lua " .. _VERSION:match("[%d.]+") .. ", with the library hop and tensors T.\n" ..
      "  help \"nn.linear\" or help(hop.nn.linear)    what a function does\n" ..
      "  help(hop.optim)                            what a module has\n" ..
      "  hop.runs()  hop.run \"last\"                 runs to read\n" ..
      "  _                                          the last value\n" ..
      "An expression prints its value; Tab completes; C-c interrupts; :lua reset starts anew.")
  elseif type(what) == "function" then
    local d = description_of(what)
    say(d and api.help_text(d) or "nothing is written about this function")
  elseif type(what) == "table" then
    local lines = {}
    for _, f in pairs(what) do
      local d = type(f) == "function" and description_of(f)
      if d then lines[#lines + 1] = api.signature(d) end
    end
    table.sort(lines)
    say(#lines > 0 and table.concat(lines, "\n") or "nothing is written about this table")
  else
    say(hop.help(tostring(what)))
  end
end)

local pending = "" -- the lines before of a chunk that is not complete

-- { text, whole } -> { more, text }: whole: a chunk that is not complete is an error
function screen.eval(o)
  local first = pending == ""
  core.emit("echo", { text = o.text, first = first })
  local text = first and o.text or pending .. "\n" .. o.text
  if text:match("^%s*$") then return { more = false } end
  local chunk, trouble = console.compile(text)
  if not chunk and not o.whole and trouble:match("near <eof>$") then
    pending = text
    return { more = true }
  end
  pending = ""
  if not chunk then core.raise("E_FORMAT", trouble) end
  local values = table.pack(chunk())
  local parts = {}
  for i = 1, values.n do parts[i] = console.show(values[i]) end
  local shown = table.concat(parts, "\t")
  if values.n > 0 then
    rawset(_G, "_", values[1])
    if api.is_element(values[1]) and values.n == 1 then
      core.emit("picture", values[1])
    else
      say(shown, "value")
    end
  end
  return { more = false, text = shown }
end

function screen.cancel()
  pending = ""
  return { more = false }
end

-- ---- completion ----

local KEYWORDS = { "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if",
  "in", "local", "nil", "not", "or", "repeat", "return", "then", "true", "until", "while" }

local function members_of(v, methods)
  local names = {}
  if core.is_tensor(v) then
    for _, d in ipairs(api.list) do
      local name = d.name:match("^tensor:([%w_]+)$") or d.op and d.name:match("^T%.([%w_]+)$")
      if name then names[#names + 1] = name end
    end
    return names
  end
  if type(v) == "string" then v = string end
  if type(v) ~= "table" then return names end
  local of_kind = getmetatable(v) and api.members[getmetatable(v)]
  for k, member in pairs(of_kind and of_kind() or v) do
    if type(k) == "string" and k:match("^[%a_][%w_]*$") and (not methods or type(member) == "function") then
      names[#names + 1] = k
    end
  end
  return names
end

-- { text }: the line up to the cursor -> { from, list }: bytes before the word, what it may become
function screen.complete(o)
  local path = o.text:match("[%a_][%w_.:]*$") or ""
  local before_word, sep, word = path:match("^(.*)([.:])([%w_]*)$")
  local names
  if before_word then
    local at = _G
    for part in before_word:gmatch("[^.:]+") do
      if type(at) ~= "table" then return { from = #o.text, list = {} } end
      local ok, value = pcall(function(t, k) return t[k] end, at, part) -- a global that is none raises
      at = ok and value or nil
    end
    names = members_of(at, sep == ":")
  else
    word, names = path, members_of(_G)
    for _, k in ipairs(KEYWORDS) do names[#names + 1] = k end
  end
  local list = {}
  for _, name in ipairs(names) do
    if name:sub(1, #word) == word and (word ~= "" or name:sub(1, 1) ~= "_") then list[#list + 1] = name end
  end
  table.sort(list)
  return { from = #o.text - #word, list = list }
end

-- ---- files of the user, views, commands, keys ----

-- { path, text }
function screen.source(o)
  local chunk, trouble = load(o.text, "@" .. o.path)
  if not chunk then core.raise("E_FORMAT", trouble) end
  chunk()
end

local function view_of(name)
  return api.views[name] or api.fail("view", ("'%s' is not defined any more"):format(name))
end

-- { name, width, height, run, marked } -> { picture, ms }
function screen.draw(o)
  local begun = core.cpu_seconds()
  local picture = api.draw(view_of(o.name), o)
  return { picture = picture, ms = (core.cpu_seconds() - begun) * 1000 }
end

-- { name, key }: a key of a view
function screen.key(o)
  local view = view_of(o.name)
  if not view.s then view.s = view.state and view.state() or {} end
  view.keys[o.key][2](view.s)
end

-- { number }: a function that keys were mapped to
function screen.mapped(o) api.keys[o.number]() end

-- { name, words, word } -> { list }: what the word behind the others may become, those that begin so
function screen.args(o)
  local complete = api.commands[o.name].complete
  local given = complete and complete(o.word, o.words) or {}
  local list = {}
  for _, v in ipairs(type(given) == "table" and given or { given }) do
    v = tostring(v)
    if #list < 1000 and v:sub(1, #o.word) == o.word then list[#list + 1] = v end
  end
  return { list = list }
end

-- { name, words }
function screen.command(o) api.commands[o.name].run(table.unpack(o.words)) end

-- { number, lines, status }: what a program said, and how it ended if it has
function screen.job(o)
  local job = api.jobs[o.number]
  for _, line in ipairs(job and job.on_line and o.lines or {}) do job.on_line(line) end
  if not o.status then return end
  api.jobs[o.number] = nil
  if job and job.on_exit then job.on_exit(o.status) end
end

-- { runs } -> { rows = { { run, values } }, trouble }: what columns and filters say of these runs. A
-- function that raises is told once.
function screen.values(o)
  local rows, trouble = {}, nil
  for i, dir in ipairs(o.runs) do
    local ok, run = pcall(api.run_at, dir)
    local values = {}
    for name, v in pairs(ok and api.values or {}) do
      local fine, value = pcall(v.f, run)
      if not fine then
        trouble = trouble or not v.told and ("%s %s: %s"):format(v.what, name, tostring(value)) or nil
        v.told = true
      elseif v.what == "ui.filter" then
        values[name] = value and true or false
      elseif value ~= nil then
        values[name] = type(value) == "number" and value or tostring(value)
      end
    end
    rows[i] = { run = dir, values = values }
  end
  collectgarbage() -- the handles hold more than the interpreter sees
  return { rows = rows, trouble = trouble }
end

-- ---- scripts of runs ----

local function lines_of(text)
  local lines = {}
  for line in (text:gsub("\n$", "") .. "\n"):gmatch("(.-)\r?\n") do lines[#lines + 1] = line end
  return lines
end

local TABLE_MAX = 4000000 -- cells of the table of a comparison

-- { { " ", line }, { "-", line of a }, { "+", line of b }, ... }: the longest common sequence stays
local function compare(a, b)
  local from, a_to, b_to, out = 1, #a, #b, {}
  while from <= a_to and from <= b_to and a[from] == b[from] do from = from + 1 end
  while a_to >= from and b_to >= from and a[a_to] == b[b_to] do a_to, b_to = a_to - 1, b_to - 1 end
  for i = 1, from - 1 do out[i] = { " ", a[i] } end
  local n, m, common = a_to - from + 1, b_to - from + 1, {}
  local small = n * m <= TABLE_MAX
  for i = small and n or 0, 1, -1 do -- common[i][k]: lines that the rests behind i and k share
    local row, below = {}, common[i + 1] or {}
    for k = m, 1, -1 do
      row[k] = a[from + i - 1] == b[from + k - 1] and 1 + (below[k + 1] or 0) or
        math.max(below[k] or 0, row[k + 1] or 0)
    end
    common[i] = row
  end
  local i, k = 1, 1
  while i <= n or k <= m do
    local x, y = a[from + i - 1], b[from + k - 1]
    if i <= n and k <= m and x == y and small then
      out[#out + 1] = { " ", x }
      i, k = i + 1, k + 1
    elseif i <= n and (k > m or not small or (common[i + 1] and common[i + 1][k] or 0) >= (common[i][k + 1] or 0)) then
      out[#out + 1] = { "-", x }
      i = i + 1
    else
      out[#out + 1] = { "+", y }
      k = k + 1
    end
  end
  for j = a_to + 1, #a do out[#out + 1] = { " ", a[j] } end
  return out
end

-- { run, edited }: directory; text of an edited copy -> { name, lines, diff, against }
function screen.script(o)
  local name, stored, now = core.run_script(core.run_open(o.run))
  if not stored then core.raise("E_NOTFOUND", "this run has no stored script") end
  local other = o.edited or now
  local lines = lines_of(stored)
  return { name = name, lines = lines, diff = other and compare(lines, lines_of(other)) or nil,
    same = other == stored, against = o.edited and "the edited copy" or other and "the file now" or nil }
end

for name, f in pairs(screen) do
  screen[name] = function(o)
    api.begin()
    return f(o)
  end
end
-- ---- filters of the run list ----

-- { text = "lua(r) r.loss < 2" } -> { names, trouble }: the directories of runs for which it is true;
-- a run for which it raises does not fit
function screen.filter(o)
  local name, body = o.text:match("^lua%s*%(%s*([%a_][%w_]*)%s*%)(.*)$")
  if not name then error("a filter in Lua is lua(r) and an expression of r, as lua(r) r.loss < 2", 0) end
  local head = "local " .. name .. " = ... "
  local chunk, why = load(head .. "return " .. body, "=filter")
  chunk = chunk or load(head .. body, "=filter")
  if not chunk then error(why, 0) end
  local names, n_raised, first = {}, 0, nil
  for run in hop.runs {} do
    local ok, fits = pcall(chunk, run)
    if not ok then
      n_raised, first = n_raised + 1, first or tostring(fits)
    elseif fits then
      names[#names + 1] = run.dir:match("[^/]+$")
    end
  end
  return { names = names, trouble = first and ("%d raised: %s"):format(n_raised, first) }
end

return screen
