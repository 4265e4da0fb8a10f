-- The layering rules of the source tree (CONTRIBUTING.md), read off its #include lines.
--
--   lua5.4 tests/layers.lua [TOP]           fails on a forbidden edge, a cycle among headers, or a
--                                           system header that is reserved to another place
--   lua5.4 tests/layers.lua --size [TOP]    table of file and function lengths; fails past the
--                                           limits, warns past the targets
--
-- TOP is the top of the tree; without it, the parent of this script's directory. Tests, beside the
-- code (x_test.c, x_test.h) and under tests/, may include what they like and are not looked at.

local LAYERS = { "kernels", "engine", "data", "app", "views" }
local LIMIT = { file = 800, fn = 100, params = 6 }
local TARGET = { file = 500, fn = 60 }

-- who may include <header>: patterns of the header, patterns of the files, in words
local RESERVED = {
  { { "^cblas", "^dnnl", "^oneapi/dnnl", "^cuda", "^cublas", "^curand" }, { "^kernels/" },
    "kernels" },
  { { "^pthread%.h$", "^stdatomic%.h$", "^threads%.h$" }, { "^engine/base/" }, "engine/base" },
  { { "cJSON" }, { "^engine/base/json%.c$" }, "engine/base/json.c" },
  { { "^zlib%.h$", "^curl/" }, { "^data/" }, "data" },
  { { "^utf8proc%.h$" }, { "^data/tok/", "^views/cell%.c$" }, "data/tok and views/cell.c" },
  { { "^cairo" }, { "^app/export/" }, "app/export" },
  { { "curses", "^term%.h$" }, { "^views/term_curses%.c$" }, "views/term_curses.c" },
  { { "^lua%.h$", "^lauxlib%.h$", "^lualib%.h$", "^luaconf%.h$" }, { "^app/lua/" }, "app/lua" },
}

local LAYER = {}
for _, name in ipairs(LAYERS) do LAYER[name] = true end

local function layer_of(path) return path:match("^([^/]+)/") end

local function is_test(path) return path:match("_test%.[ch]$") or path:match("^tests/") end

local function is_edge(path) return path == "app/main.c" or path:match("^app/lua/") end

local function matches(text, patterns)
  for _, p in ipairs(patterns) do
    if text:match(p) then return true end
  end
  return false
end

-- what kernels offers to the code above it
local function kernels_public(path)
  return path == "kernels/hl_types.h" or path == "kernels/hl_kernel.h" or path == "kernels/hl_gpu.h"
    or path:match("_body%.h$")
    or path:match("%.def$")
end

-- nil if `from` may include `to`, else the rule that is broken
local function forbidden(from, to)
  local lower, upper = layer_of(to), layer_of(from)
  if not LAYER[lower] then return "is not a header of the program; write the path from the top" end
  if is_test(to) then return "belongs to the tests" end
  if lower == "kernels" and upper ~= "kernels" then
    if to == "kernels/hl_types.h" then return nil end
    if upper == "engine" then
      return not kernels_public(to)
        and "kernels lends hl_types.h, hl_kernel.h, *_body.h and .def files" or nil
    end
    if is_edge(from) and to == "kernels/hl_kernel.h" then return nil end
    return "of kernels only hl_types.h may be seen here"
  end
  if lower == upper then return nil end
  if to:match("^engine/base/[^/]+%.h$") and upper ~= "kernels" then return nil end
  if upper == "kernels" then return "kernels include kernels only" end
  if upper == "engine" then return "engine stands below " .. lower end
  if lower == "engine" then
    if (upper == "data" or upper == "app") and to == "engine/hl_engine.h" then return nil end
    return upper == "views" and "views see engine through app/hl_app.h"
      or "of engine only engine/base and hl_engine.h may be seen here"
  end
  if upper == "data" then return "data stands below " .. lower end
  if lower == "data" then
    if upper == "app" and to == "data/hl_data.h" then return nil end
    return "of data only app may see hl_data.h"
  end
  if upper == "views" then
    return to ~= "app/hl_app.h" and "of app only hl_app.h may be seen here" or nil
  end
  return not (is_edge(from) and to:match("^views/hl_[^/]+%.h$"))
    and "views are seen by app/lua and main.c only, through their public header" or nil
end

local function reserved(from, header)
  for _, row in ipairs(RESERVED) do
    if matches(header, row[1]) and not matches(from, row[2]) then
      return "is reserved to " .. row[3]
    end
  end
end

-- --- reading ---

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("a")
  file:close()
  return text
end

-- The same text with comments, strings and characters blanked; line breaks stay, and so do the
-- names in #include lines.
local function code_of(text)
  local out, i, n = {}, 1, #text
  local function blank(j)
    out[#out + 1] = text:sub(i, j):gsub("[^\n]", " ")
    i = j + 1
  end
  while i <= n do
    local from = text:find("[/\"'#]", i)
    if not from then break end
    out[#out + 1] = text:sub(i, from - 1)
    i = from
    local c, two = text:sub(i, i), text:sub(i, i + 1)
    if two == "/*" then
      local _, e = text:find("*/", i + 2, true)
      blank(e or n)
    elseif two == "//" then
      blank((text:find("\n", i, true) or n + 1) - 1)
    elseif c == '"' or c == "'" then
      local j = i + 1
      while j <= n and text:sub(j, j) ~= c do
        j = j + (text:sub(j, j) == "\\" and 2 or 1)
      end
      blank(math.min(j, n))
    elseif c == "#" and text:match("^#%s*include", i) then
      local e = math.min(text:find("/*", i, true) or n + 1, text:find("\n", i, true) or n + 1)
      out[#out + 1] = text:sub(i, e - 1)
      i = e
    else
      out[#out + 1] = c
      i = i + 1
    end
  end
  out[#out + 1] = text:sub(i)
  return table.concat(out)
end

local function sources(top)
  local files = {}
  for _, layer in ipairs(LAYERS) do
    local find = io.popen(("cd '%s' && [ -d %s ] && find %s -type f \\( -name '*.[ch]' -o "
      .. "-name '*.cu' -o -name '*.cuh' -o -name '*.def' \\) | LC_ALL=C sort")
      :format(top:gsub("'", "'\\''"), layer, layer))
    for path in find:lines() do
      if not is_test(path) then files[#files + 1] = path end
    end
    find:close()
  end
  return files
end

-- --- includes ---

local function includes_of(code)
  local quoted, system, number = {}, {}, 0
  for line in (code .. "\n"):gmatch("(.-)\n") do
    number = number + 1
    local kind, name = line:match('^%s*#%s*include%s*(["<])([^">]+)[">]')
    if kind == '"' then quoted[#quoted + 1] = { name, number } end
    if kind == "<" then system[#system + 1] = { name, number } end
  end
  return quoted, system
end

local function find_cycle(graph)
  local state, stack = {}, {}
  local function visit(path)
    state[path] = "open"
    stack[#stack + 1] = path
    for _, to in ipairs(graph[path] or {}) do
      if state[to] == "open" then
        local from = 1
        while stack[from] ~= to do from = from + 1 end
        return table.concat(stack, " -> ", from) .. " -> " .. to
      end
      local found = not state[to] and visit(to)
      if found then return found end
    end
    stack[#stack] = nil
    state[path] = "done"
  end
  local paths = {}
  for path in pairs(graph) do paths[#paths + 1] = path end
  table.sort(paths)
  for _, path in ipairs(paths) do
    local found = not state[path] and visit(path)
    if found then return found end
  end
end

local function check_layers(top, files)
  local faults, graph, n_edges, known = {}, {}, 0, {}
  for _, path in ipairs(files) do known[path] = true end
  for _, path in ipairs(files) do
    local quoted, system = includes_of(code_of(read(top .. "/" .. path)))
    local function fault(include, why)
      faults[#faults + 1] = ("%s:%d: %s %s"):format(path, include[2], include[1], why)
    end
    graph[path] = {}
    for _, include in ipairs(quoted) do
      n_edges = n_edges + 1
      local why = forbidden(path, include[1])
      if why then
        fault(include, why)
      elseif not known[include[1]] then
        fault(include, "does not exist")
      else
        table.insert(graph[path], include[1])
      end
    end
    for _, include in ipairs(system) do
      local why = reserved(path, include[1])
      if why then fault(include, why) end
    end
  end
  local cycle = find_cycle(graph)
  if cycle then faults[#faults + 1] = "headers include one another: " .. cycle end
  for _, line in ipairs(faults) do print(line) end
  print(("%d files, %d includes, %d faults"):format(#files, n_edges, #faults))
  return #faults == 0
end

-- --- sizes ---

local function count_params(text)
  text = text:gsub("%s+", " "):match("^ ?(.-) ?$")
  if text == "" or text == "void" then return 0 end
  local depth, n = 0, 1
  for c in text:gmatch("[(),%[%]]") do
    if c == "(" or c == "[" then depth = depth + 1 end
    if c == ")" or c == "]" then depth = depth - 1 end
    if c == "," and depth == 0 then n = n + 1 end
  end
  return n
end

-- Position of the bracket that the one at `close` closes.
local function opening(code, close)
  local depth = 0
  for i = close, 1, -1 do
    local c = code:sub(i, i)
    if c == ")" then depth = depth + 1 end
    if c == "(" then
      depth = depth - 1
      if depth == 0 then return i end
    end
  end
end

-- name and number of parameters of the function whose head this text is, or nil
local function head_of(text)
  local close = text:match("()%)%s*$")
  if not close or text:find("=", 1, true) then return nil end
  local open = opening(text, close)
  if not open then return nil end
  local before = text:sub(1, open - 1):gsub("%s+$", "")
  local name = before:match("([%w_]+%b())$") or before:match("([%w_]+)$")
  return name, count_params(text:sub(open + 1, close - 1))
end

-- Functions of a file: name, line, lines between the braces, parameters.
local function functions_of(code)
  -- blank preprocessor lines and what continues them
  local lines, continued = {}, false
  for line in (code .. "\n"):gmatch("(.-)\n") do
    local directive = continued or line:match("^%s*#")
    continued = directive and line:match("\\%s*$") ~= nil
    lines[#lines + 1] = directive and "" or line
  end
  code = table.concat(lines, "\n")
  local found, depth, head_from, line = {}, 0, 1, 1
  local current
  for at, c in code:gmatch("()([{};\n])") do
    if c == "\n" then
      line = line + 1
    elseif c == "{" then
      if depth == 0 then
        local name, params = head_of(code:sub(head_from, at - 1))
        current = name and { name = name, params = params, line = line }
      end
      depth = depth + 1
    elseif c == "}" then
      depth = math.max(depth - 1, 0)
      if depth == 0 then
        if current then
          current.length = math.max(line - current.line - 1, 0)
          found[#found + 1] = current
          current = nil
        end
        head_from = at + 1
      end
    elseif depth == 0 then
      head_from = at + 1
    end
  end
  return found
end

local function quantile(sorted, q)
  return #sorted == 0 and 0 or sorted[math.max(1, math.ceil(q * #sorted))]
end

local function is_generated(text) return text:match("^%s*/%*%s*Generated by") ~= nil end

local function check_sizes(top, files)
  local faults, warnings, layers = {}, {}, {}
  print("lines  functions  median  longest  file")
  for _, path in ipairs(files) do
    local text = read(top .. "/" .. path)
    local _, n_lines = text:gsub("\n", "")
    local exempt = path:match("%.def$") or is_generated(text)
    local fns = exempt and {} or functions_of(code_of(text))
    local lengths = {}
    local layer = layers[layer_of(path)] or { files = 0, lines = 0, lengths = {} }
    layers[layer_of(path)] = layer
    layer.files, layer.lines = layer.files + 1, layer.lines + n_lines
    local function judge(n, limit, target, what)
      if exempt then return end
      if n > limit then
        faults[#faults + 1] = ("%s (limit %d)"):format(what, limit)
      elseif target and n > target then
        warnings[#warnings + 1] = ("%s (target %d)"):format(what, target)
      end
    end
    for _, f in ipairs(fns) do
      lengths[#lengths + 1] = f.length
      table.insert(layer.lengths, f.length)
      local where = ("%s:%d: %s"):format(path, f.line, f.name)
      judge(f.length, LIMIT.fn, TARGET.fn, ("%s has %d lines"):format(where, f.length))
      -- the parameters of kernels are those of hl_kernel.def
      if not f.name:match("^HL_K%(") and not path:match("^kernels/cuda/") then
        judge(f.params, LIMIT.params, nil, ("%s has %d parameters"):format(where, f.params))
      end
    end
    table.sort(lengths)
    judge(n_lines, LIMIT.file, TARGET.file, ("%s has %d lines"):format(path, n_lines))
    print(("%5d  %9d  %6d  %7d  %s"):format(n_lines, #lengths, quantile(lengths, 0.5),
      lengths[#lengths] or 0, path))
  end
  print("\nlayer    files  lines  functions  median  90th percentile  longest")
  for _, name in ipairs(LAYERS) do
    local l = layers[name]
    if l then
      table.sort(l.lengths)
      print(("%-7s  %5d  %5d  %9d  %6d  %15d  %7d"):format(name, l.files, l.lines, #l.lengths,
        quantile(l.lengths, 0.5), quantile(l.lengths, 0.9), l.lengths[#l.lengths] or 0))
    end
  end
  print("")
  for _, line in ipairs(warnings) do print("long: " .. line) end
  for _, line in ipairs(faults) do print("too long: " .. line) end
  print(("%d past a target, %d past a limit"):format(#warnings, #faults))
  return #faults == 0
end

local want_size = arg[1] == "--size"
local top = arg[want_size and 2 or 1] or (arg[0]:match("^(.*)/[^/]*$") or ".") .. "/.."
local files = sources(top)
if #files == 0 then
  print(top .. ": no sources")
  os.exit(2)
end
local good
if want_size then good = check_sizes(top, files) else good = check_layers(top, files) end
os.exit(good and 0 or 1)
