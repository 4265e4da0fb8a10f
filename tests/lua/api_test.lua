-- Every description in the register: arguments missing, of wrong type, out of range, NaN, unknown
-- options; the errors must say which argument of which function. Nothing may crash.

local hop = require "hop"
local check = require "check"
local T = hop.T

local function find(d)
  if d.method then return T.zeros { 2, 2 }[d.name:match(":(.*)$")] end
  if d.self then return function(...) return d.call({}, ...) end end
  local at = hop
  for word in d.name:gsub("^hop%.", ""):gmatch("[^.]+") do
    at = type(at) == "table" and at[word] or nil
  end
  return at
end

local function first(types) return types:match("^[^|]+") end

-- something that fits, as far as a description can tell
local function sample(a)
  local by_type = { tensor = function() return T.zeros { 2, 2 } end, number = function() return a.min or 0.5 end,
    integer = function() return a.min or 1 end, string = function() return a.choices and a.choices[1] or "x" end,
    table = function() return {} end, ["function"] = function() return function() end end,
    path = function() return "none.bin" end, boolean = function() return true end,
    any = function() return 1 end, module = function() return hop.nn.linear(2, 2) end,
    sizes = function() return { 2, 2 } end, list = function() return {} end,
    dimension = function() return 1 end, dimensions = function() return 1 end, name = function() return "f32" end }
  local make = by_type[first(a[2])]
  return make and make() or nil
end

local misfits = { thread = coroutine.create(print), userdata = io.stdout }

local function call_with(d, f, n, last)
  local args, count = {}, n
  for i = 1, n - 1 do args[i] = sample(d.args[i]) end
  args[n] = last
  if d.method then return pcall(f, T.zeros { 2, 2 }, table.unpack(args, 1, count)) end
  return pcall(f, table.unpack(args, 1, count))
end

local function refused(what, ok, err, ...)
  if ok then return check.that(what, false, "no error") end
  local message = tostring(err)
  for _, part in ipairs { ... } do
    if not message:find(part, 1, true) then
      return check.that(what, false, ("'%s' is not in: %s"):format(part, message))
    end
  end
  check.that(what, true)
end

local seen = {}
for _, d in ipairs(hop.register.list) do
  local name, f = d.name, find(d)
  check.that(name .. " is there", type(f) == "function" or type(f) == "table")
  check.that(name .. " is described once", not seen[name])
  seen[name] = true
  check.that(name .. " has help", #hop.help(name) > 12 and hop.help(name):find(name:match("[^.:]+$"), 1, true))
  check.that(name .. " has a doc", type(d.doc) == "string" and #d.doc > 0)
  if d.example then
    check.that(name .. ": the example is Lua",
      load("return " .. d.example:gsub("…", "nil")) or load(d.example:gsub("…", "nil")))
  end
  for i, a in ipairs(d.args or {}) do
    if not (a.optional or a.default ~= nil or a.options or a[2] == "any") then
      local ok, err = call_with(d, f, i, nil)
      refused(("%s without %s"):format(name, a[1]), ok, err, name:match("[^.:]+$"))
    end
    if a[2] ~= "any" then
      for kind, v in pairs(misfits) do
        local ok, err = call_with(d, f, i, v)
        refused(("%s with a %s for %s"):format(name, kind, a[1]), ok, err, name:match("[^.:]+$"))
      end
    end
    if first(a[2]) == "number" and #a[2] == 6 and not d.op then
      local ok, err = call_with(d, f, i, 0 / 0)
      refused(("%s with NaN for %s"):format(name, a[1]), ok, err, "NaN")
    end
    if a[2] == "integer" and not d.op then
      local ok, err = call_with(d, f, i, 1.5)
      refused(("%s with 1.5 for %s"):format(name, a[1]), ok, err, "integer")
      ok, err = call_with(d, f, i, 2 ^ 53 + 2)
      refused(("%s with 2^53+2 for %s"):format(name, a[1]), ok, err, name:match("[^.:]+$"))
    end
    if a.min and first(a[2]) ~= "table" then
      local ok, err = call_with(d, f, i, a.min - 1)
      refused(("%s with %s below its least"):format(name, a[1]), ok, err, "at least")
    end
    if a.options then
      local ok, err = call_with(d, f, i, { no_such_option = 1 })
      refused(name .. " with an unknown option", ok, err, "no_such_option")
      local function with(name_, value) -- required options filled in
        local t = {}
        for _, o in ipairs(a.options) do if o.required then t[o[1]] = sample(o) end end
        t[name_] = value
        return t
      end
      for _, o in ipairs(a.options) do
        if o.required then
          ok, err = call_with(d, f, i, with(o[1], nil))
          refused(("%s without option %s"):format(name, o[1]), ok, err, o[1], "missing")
        end
        if o[2] ~= "any" then
          ok, err = call_with(d, f, i, with(o[1], misfits.thread))
          refused(("%s with a thread for option %s"):format(name, o[1]), ok, err, o[1])
        end
        if o[2] == "number" and not d.op then
          ok, err = call_with(d, f, i, with(o[1], 0 / 0))
          refused(("%s with NaN for option %s"):format(name, o[1]), ok, err, o[1], "NaN")
        end
      end
      local longest = a.options[1] and a.options[1][1]
      for _, o in ipairs(a.options) do if #o[1] > #longest then longest = o[1] end end
      if longest and #longest > 4 then -- a slip of the hand is corrected
        ok, err = call_with(d, f, i, { [longest:sub(1, -2)] = 1 })
        refused(("%s: '%s' suggests '%s'"):format(name, longest:sub(1, -2), longest), ok, err, longest)
      end
    end
  end
end
check.that("all of the library is described", #hop.register.list > 100)

-- names of other libraries are understood
for theirs, ours in pairs { num_layers = "layers", hidden_size = "width", num_attention_heads = "heads" } do
  check.raises(theirs, ("did you mean '%s'"):format(ours), hop.nn.opt, { [theirs] = 2 })
end
check.raises("learning_rate", "did you mean 'lr'", hop.optim.adamw, { learning_rate = 1 })

-- a misspelt global is an error, not nil
check.raises("an undeclared global", "'undeclared_name' does not exist", function() return undeclared_name end) -- luacheck: ignore
check.raises("a new global", "local", function() undeclared_name = 1 end) -- luacheck: ignore
check.done()
