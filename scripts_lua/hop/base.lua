-- Small things of the hop table itself: seeds, files, gradients, help.

local core, api, hop = ...

local function define(d) return api.define(hop, d) end

define { name = "hop.seed", doc = "Sets (and returns) the seed that random numbers are a function of.",
  args = { { "n", "integer", optional = true } }, returns = "integer", example = "hop.seed(7)",
  fn = core.seed }
define { name = "hop.threads", doc = "Threads that tensor operations run on.", returns = "integer",
  example = "hop.threads()", fn = core.threads, checked = true }
define { name = "hop.tap", safety = "safe",
  doc = "Names an activation, so that probes, quantizers and views find it; returns it. rows: what " ..
    "one row of its statistics is, a sequence (first dimension) or a token (all but the last).",
  args = { { "name", "string" }, { "x", "tensor" },
    { "rows", "string", default = "sequence", choices = { "sequence", "token" } } },
  returns = "tensor", example = 'hop.tap("block.out", x)', fn = core.tap }
define { name = "hop.no_grad", doc = "Calls f; nothing recorded inside is differentiated.",
  args = { { "f", "function" } }, returns = "what f returns", variadic = true,
  example = "hop.no_grad(function() return model(x) end)", fn = core.no_grad, checked = true }
define { name = "hop.load", doc = "Tensors of a safetensors file, by name; or of a directory " ..
  "with model.safetensors or model.safetensors.index.json. F16 and BF16 become f32. Never runs code.",
  args = { { "path", "path" } }, returns = "table", example = 'hop.load("model.safetensors")',
  fn = core.load, checked = true }
define { name = "hop.metadata", doc = "What a safetensors file's metadata says under a key, as a table where it is " ..
  "JSON; nil if nothing.", args = { { "path", "path" }, { "key", "string" } }, returns = "string|table",
  example = 'hop.metadata("model.safetensors", "format")', fn = core.metadata }
define { name = "hop.save", doc = "Writes named tensors to a safetensors file.",
  args = { { "path", "path" }, { "tensors", "table" } },
  example = 'hop.save("a.safetensors", { w = w })', fn = core.save, checked = true }
define { name = "hop.global", doc = "Declares a global variable; others are errors.",
  args = { { "name", "string" }, { "value", "any", optional = true } },
  example = 'hop.global("debug_level", 1)', fn = core.global }
define { name = "hop.exit", doc = "Ends the script with an exit status.",
  args = { { "status", "integer", default = 0, min = 0, max = 255 } }, example = "hop.exit(1)",
  fn = core.exit }
define { name = "hop.clock", doc = "Seconds of a monotonic clock.", returns = "number",
  example = "hop.clock()", fn = core.clock, checked = true }
define { name = "hop.require_api", doc = "An error if this program is older than the API the script needs.",
  args = { { "version", "integer", min = 1 } }, example = "hop.require_api(1)",
  fn = function(v)
    if v > hop.api then
      api.fail("hop.require_api", ("this program has API %d, the script needs %d"):format(hop.api, v),
        "install a newer hoplab")
    end
  end }
define { name = "hop.options", doc = "given with defaults filled in; names not among the defaults " ..
  "are errors.", args = { { "given", "table", optional = true }, { "defaults", "table" } },
  returns = "table", example = "hop.options(opts, { batches = 16 })",
  fn = function(given, defaults)
    local schema = {}
    for k, v in pairs(defaults) do
      local t = type(v)
      schema[#schema + 1] = { k, t == "number" and math.type(v) == "integer" and "integer" or t,
        default = v }
    end
    table.sort(schema, function(a, b) return a[1] < b[1] end)
    return api.options("options", schema, given)
  end, variadic = true }

local function dot(a, b) return (a * b):sum():item() end

define { name = "hop.grad_check",
  doc = "Compares the gradient of the scalar f(x) with central differences along random directions; " ..
    "returns the largest relative error. Best in an fp64 session.",
  args = { { "f", "function" }, { "x", "tensor" }, { "options", "table", options = {
    { "directions", "integer", default = 3, min = 1, doc = "how many" },
    { "step", "number", default = 1e-3, min = 1e-9, doc = "of the differences" } } } },
  returns = "number", example = "hop.grad_check(function(x) return x:tanh():sum() end, x)",
  fn = function(f, x, o)
    local T, worst = hop.T, 0
    local leaf = x:detach():require_grad()
    local g = T.grad(f(leaf), { leaf })[1] or T.zeros(x:size())
    for _ = 1, o.directions do
      local v = T.randn(x:size())
      local expected = dot(g, v)
      local up = f(leaf:detach() + v * o.step):item()
      local down = f(leaf:detach() - v * o.step):item()
      local slope = (up - down) / (2 * o.step)
      worst = math.max(worst, math.abs(slope - expected) / (math.abs(slope) + math.abs(expected) + 1e-8))
    end
    return worst
  end }

local function signature(d)
  local out = {}
  for _, a in ipairs(d.args or {}) do
    out[#out + 1] = (a.optional or a.default ~= nil or a.options) and "[" .. a[1] .. "]" or a[1]
  end
  return ("%s(%s)%s"):format(d.name, table.concat(out, ", "),
    d.returns and " -> " .. d.returns or "")
end
hop.register.signature = signature

local function option_lines(out, options, indent)
  for _, a in ipairs(options) do
    local default = a.default
    if type(default) == "table" then
      default = "{" .. table.concat(default, ", ") .. "}"
    elseif type(default) == "string" then
      default = ('"%s"'):format(default)
    end
    out[#out + 1] = ("%s%-16s %-16s %s%s%s"):format(indent, a[1], a[2],
      default ~= nil and ("default %s  "):format(tostring(default)) or
      a.required and "required  " or "", a.doc or "",
      a.choices and "  (" .. table.concat(a.choices, " | ") .. ")" or "")
    if a.options then option_lines(out, a.options, indent .. "  ") end
  end
end

local function help_text(d)
  local out = { signature(d), "  " .. d.doc }
  for _, a in ipairs(d.args or {}) do
    if a.options then option_lines(out, a.options, "    ") end
  end
  if d.example then out[#out + 1] = "  e.g. " .. d.example end
  return table.concat(out, "\n")
end
hop.register.help_text = help_text

define { name = "hop.help", doc = "Text about a function, by name; without one, the list of all.",
  args = { { "name", "string", optional = true } }, returns = "string",
  example = 'print(hop.help("nn.linear"))',
  fn = function(name)
    if name then
      local d = api.by_name[name] or api.by_name["T." .. name] or api.by_name["tensor:" .. name] or
        api.by_name["hop." .. name]
      if not d then
        local names = {}
        for i, e in ipairs(api.list) do names[i] = e.name end
        local near = core.nearest(name, names)
        api.fail("hop.help", ("nothing is called '%s'%s"):format(name,
          near and (" (did you mean '%s'?)"):format(near) or ""))
      end
      return help_text(d)
    end
    local out = {}
    for i, d in ipairs(api.list) do out[i] = signature(d) end
    return table.concat(out, "\n")
  end }
