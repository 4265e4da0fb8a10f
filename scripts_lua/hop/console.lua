-- Text that somebody types: compiled as an expression or as a statement, its values as text again. For
-- the screen's console (hop/screen.lua) and for what a run is asked to evaluate (app/lua/lua_answer.c).

local hop = require "hop"
local api = hop.register

local console = {}

-- ---- values as text ----

local DEPTH, MEMBERS, TEXT = 3, 24, 400 -- levels, members of a table, bytes of a string that are shown

local function quote(text)
  local cut = #text > TEXT
  local out = ("%q"):format(cut and text:sub(1, TEXT) or text):gsub("\\\n", "\\n"):gsub("\\9", "\\t")
  return cut and ("%s ... (%d bytes)"):format(out, #text) or out
end

local described -- function -> its description, made when first asked for
function console.description_of(f)
  if not described then
    described = {}
    for _, d in ipairs(api.list) do
      local at = hop
      for part in d.name:gsub("^hop%.", ""):gmatch("[^.]+") do
        at = type(at) == "table" and rawget(at, part) or nil
      end
      if type(at) == "function" then described[at] = d end
    end
  end
  return described[f]
end

local show

local function key_text(k)
  if type(k) == "string" and k:match("^[%a_][%w_]*$") then return k end
  return "[" .. show(k, DEPTH, {}) .. "]"
end

-- by kind, then by value, so that equal tables look alike
local function before(a, b)
  if type(a) ~= type(b) then return type(a) < type(b) end
  if type(a) == "number" or type(a) == "string" then return a < b end
  return tostring(a) < tostring(b)
end

local function show_table(t, depth, seen)
  if seen[t] then return "{ itself }" end
  if depth >= DEPTH then return next(t) == nil and "{}" or "{ ... }" end
  seen[t] = true
  local parts, keys, n = {}, {}, 0
  for i = 1, math.min(#t, MEMBERS) do parts[i] = show(t[i], depth + 1, seen) end
  for k in next, t do
    n = n + 1
    if not (math.type(k) == "integer" and k >= 1 and k <= #t) and #keys < 10000 then keys[#keys + 1] = k end
  end
  table.sort(keys, before)
  for i = 1, math.min(#keys, MEMBERS - #parts) do
    parts[#parts + 1] = key_text(keys[i]) .. " = " .. show(rawget(t, keys[i]), depth + 1, seen)
  end
  seen[t] = nil
  if n > #parts then parts[#parts + 1] = ("... (%d in all)"):format(n) end
  if #parts == 0 then return "{}" end
  local line = "{ " .. table.concat(parts, ", ") .. " }"
  if #line <= 72 and not line:find("\n", 1, true) then return line end
  local indent = ("  "):rep(depth + 1)
  return "{\n" .. indent .. table.concat(parts, ",\n" .. indent) .. "\n" .. ("  "):rep(depth) .. "}"
end

function show(v, depth, seen)
  local kind = type(v)
  if kind == "string" then return quote(v) end
  if kind == "table" then
    local meta = getmetatable(v)
    if meta ~= nil and (type(meta) ~= "table" or meta.__tostring or meta.__name) then return tostring(v) end
    return show_table(v, depth, seen)
  end
  if kind == "function" then
    local d = console.description_of(v)
    return d and "function " .. api.signature(d) or tostring(v)
  end
  return tostring(v)
end

function console.show(v) return show(v, 0, {}) end

-- ---- text as Lua ----

-- The chunk, or nil and what is wrong with it; env: its globals, if not those of all.
function console.compile(text, env)
  local chunk, why = load("return " .. text, "=console", "t", env or _G)
  if chunk then return chunk end
  local as_statement, trouble = load(text, "=console", "t", env or _G)
  return as_statement, why:match("near <eof>$") and why or trouble -- "1 +" wants more as an expression
end

-- ---- in a run ----

-- A name that the script has is the script's; others that are assigned to stay here, for the next text.
local own = setmetatable({ hop = hop, T = hop.T }, { __index = _G, __newindex = function(t, k, v)
  rawset(rawget(_G, k) ~= nil and _G or t, k, v)
end })

-- Whether the text could be compiled, and its values, or what is wrong with it. run: the handle that
-- callbacks have; who: asks, as the run's record will say of what the text does to it.
function console.answer(text, run, who)
  local chunk, trouble = console.compile(text, own)
  if not chunk then return false, trouble end
  rawset(own, "run", run)
  run.who = who
  local _ <close> = setmetatable({}, { __close = function() run.who = nil end }) -- also if the text raises
  local values = table.pack(chunk())
  for i = 1, values.n do values[i] = console.show(values[i]) end
  return true, table.concat(values, "\t", 1, values.n)
end

return console
