-- Modules: a parameter function and a pure forward function. A module is built (its parameters drawn
-- and named) when it is first needed, so that an experiment can still change its options.

local core, api, hop = ...
local T = hop.T

local function define(d) return api.define(hop, d) end

-- State of a module is kept out of reach of the names that `params` gives.
local private = setmetatable({}, { __mode = "k" })
local meta = { __metatable = "module", __name = "module" }
local builder -- the running build: { stream }

local function is_module(v) return type(v) == "table" and private[v] ~= nil end

-- Uniform in ±1/sqrt(fan_in): what linear layers start from by default.
local methods = {}

function methods.normal(_, size, o)
  o = o or {}
  builder.stream = builder.stream + 1
  return core.param(size, "normal", o.mean or 0, o.std or 1, builder.stream)
end

function methods.uniform(_, size, o)
  o = o or {}
  builder.stream = builder.stream + 1
  local bound = o.bound or 1 / math.sqrt(o.fan_in or size[#size])
  return core.param(size, "uniform", -bound, bound, builder.stream)
end

function methods.zeros(_, size) return core.param(size, "const", 0, 0, 0) end
function methods.ones(_, size) return core.param(size, "const", 1, 0, 0) end
function methods.full(_, size, value) return core.param(size, "const", value, 0, 0) end

local function build(m)
  local s = private[m]
  if s.built then return end
  s.built = true
  local outer = builder
  builder = builder or { stream = 0 }
  s.order = {}
  if s.def.params then s.def.params(m, s.options) end
  builder = outer
end

-- Calls visit(name, tensor) for each parameter once, in order of making.
local function walk(m, prefix, seen, visit)
  build(m)
  local s = private[m]
  for _, key in ipairs(s.order) do
    local v = s.fields[key]
    local name = prefix .. (math.type(key) == "integer" and tostring(key - 1) or key)
    if is_module(v) then
      private[v].ready = true -- named by this root from now on
      walk(v, name .. ".", seen, visit)
    elseif core.is_tensor(v) and not seen[v] then
      seen[v] = true
      visit(name, v)
    end
  end
  if s.def.schema and s.options.init and not s.filled then -- weights from a file, once
    s.filled = true
    hop.modules.fill(m, s.options.init)
  end
end

local ready

-- Builds the whole tree and names its parameters. m is the root from then on.
function ready(m)
  local s = private[m]
  if s.ready then return end
  s.ready = true
  builder = { stream = 0 }
  local ok, err = pcall(walk, m, "", {}, function(name, t)
    if t:is_param() then core.name(t, name) end
  end)
  builder = nil
  if not ok then
    s.ready, s.built, s.filled = false, false, false
    error(err, 0)
  end
end

function methods.parameters(m)
  ready(m)
  local list = {}
  walk(m, "", {}, function(name, t)
    if t:is_param() then list[#list + 1] = { name, t } end
  end)
  local i = 0
  return function()
    i = i + 1
    if list[i] then return list[i][1], list[i][2] end
  end
end

function methods.n_parameters(m)
  local n = 0
  for _, t in m:parameters() do n = n + t:numel() end
  return n
end

function methods.train(m) private[m].training = true return m end
function methods.eval(m) private[m].training = false return m end

-- Copies tensors by name into the parameters; a name or shape that does not fit is an error.
function methods.load_state(m, tensors, o)
  local left = {}
  for k in pairs(tensors) do left[k] = true end
  for name, t in m:parameters() do
    if tensors[name] == nil then api.fail("load_state", ("no tensor '%s'"):format(name)) end
    t:set_(tensors[name])
    left[name] = nil
  end
  if o and o.strict then
    for k in pairs(left) do api.fail("load_state", ("the model has no parameter '%s'"):format(k)) end
  end
  return m
end

function methods.zero_grad(m)
  for _, t in m:parameters() do t:clear_grad() end
end

local function call(m, f, ...)
  ready(m)
  local s = private[m]
  if s.training == nil then return f(m, ...) end
  local before = core.training(s.training)
  local out = table.pack(pcall(f, m, ...))
  core.training(before)
  if not out[1] then error(out[2], 0) end
  return table.unpack(out, 2, out.n)
end

meta.__call = function(m, ...)
  local def = private[m].def
  if not def.forward then api.fail(def.name or "module", "has no forward function") end
  return call(m, def.forward, ...)
end

meta.__index = function(m, key)
  local s = private[m]
  local v = s.fields[key]
  if v ~= nil then return v end
  if type(s.def[key]) == "function" and key ~= "params" and key ~= "forward" then
    return function(self, ...) return call(self, s.def[key], ...) end
  end
  if methods[key] then return methods[key] end
  if not s.built then
    if builder then build(m) else ready(m) end
    return m[key]
  end
  return nil
end

meta.__newindex = function(m, key, v)
  local s = private[m]
  if s.fields[key] == nil and s.order then s.order[#s.order + 1] = key end
  s.fields[key] = v
end

meta.__len = function(m) return #private[m].fields end
meta.__tostring = function(m) return ("module %s"):format(private[m].def.name or "?") end
meta.__pairs = function(m)
  build(m)
  return next, private[m].fields
end

local function new(def, options, name)
  local m = {}
  private[m] = { def = def, options = options, fields = {}, name = name }
  return setmetatable(m, meta)
end

-- For the experiment driver: options before building, and the tree after it.
hop.modules = {
  is = is_module,
  options = function(m) return private[m].options end,
  set_options = function(m, o) private[m].options = o end,
  kind = function(m) return private[m].def.name end,
  schema = function(m) return private[m].def.schema end,
  ready = ready,
  new = new,
}

-- Registers a module constructor of the library: nn.name(options).
function hop.modules.define(d)
  d.def.name = d.name
  d.def.schema = d.options
  return define { name = d.name, doc = d.doc, args = { { "options", "table", options = d.options } },
    returns = "module", safety = "setup", example = d.example,
    fn = function(o) return new(d.def, o) end }
end

define { name = "nn.module", safety = "setup",
  doc = "A layer or model of one's own: params(p, options) makes parameters and parts as fields of " ..
    "p (p:normal, p:uniform, p:zeros, p:ones, p:full, other modules); forward(p, x, …) is pure. Further " ..
    "functions become methods. Returns the constructor.",
  args = { { "def", "table", options = nil } }, returns = "function",
  example = "nn.module { params = function(p, o) p.w = p:normal{o.n, o.n} end, forward = function(p, x) " ..
    "return x:matmul(p.w) end }",
  fn = function(def)
    for k, v in pairs(def) do
      if type(v) ~= "function" and k ~= "name" then
        api.fail("nn.module", ("field '%s' must be a function"):format(tostring(k)))
      end
    end
    return function(o) return new(def, o or {}) end
  end }

local linear = { name = "nn.linear",
  params = function(p, o)
    p.weight = o.std and p:normal({ o.n_out, o.n_in }, { std = o.std }) or p:uniform { o.n_out, o.n_in }
    if o.bias then
      p.bias = o.std and p:zeros { o.n_out } or p:uniform({ o.n_out }, { fan_in = o.n_in })
    end
    p.act = o.act
  end,
  forward = function(p, x) return T.linear(x, p.weight, p.bias, { act = p.act }) end }

define { name = "nn.linear", safety = "setup",
  doc = "act(x W^T + b), W [n_out, n_in]. Starts uniform in ±1/sqrt(n_in), or N(0, std^2) with zero " ..
    "bias if std is given.",
  args = { { "n_in", "integer", min = 1 }, { "n_out", "integer", min = 1 },
    { "options", "table", options = {
      { "bias", "boolean", default = true, doc = "with a bias" },
      { "std", "number", min = 0, doc = "normal start" },
      { "act", "string", default = "none", choices = { "none", "gelu", "gelu_tanh", "relu" },
        doc = "in the same pass" } } } },
  returns = "module", example = "nn.linear(784, 256)",
  fn = function(n_in, n_out, o)
    o.n_in, o.n_out = n_in, n_out
    return new(linear, o)
  end }

local layer_norm = { name = "nn.layer_norm",
  params = function(p, o)
    p.weight = p:ones { o.width }
    p.bias = p:zeros { o.width }
    p.eps = o.eps
  end,
  forward = function(p, x) return T.layernorm(x, p.weight, p.bias, p.eps) end }

define { name = "nn.layer_norm", safety = "setup",
  doc = "Layer normalisation over the last dimension (arXiv 1607.06450).",
  args = { { "width", "integer", min = 1 }, { "options", "table", options = {
    { "eps", "number", default = 1e-5, min = 0, doc = "added to the variance" } } } },
  returns = "module", example = "nn.layer_norm(256)",
  fn = function(width, o)
    o.width = width
    return new(layer_norm, o)
  end }

local embedding = { name = "nn.embedding",
  params = function(p, o)
    p.weight = p:normal({ o.n, o.width }, { std = o.std })
    if o.padding >= 0 then core.set_row(p.weight, o.padding, 0) end
    p.padding = o.padding
  end,
  forward = function(p, ids) return T.embedding(p.weight, ids, p.padding) end }

define { name = "nn.embedding", safety = "setup",
  doc = "A table of n rows looked up by 0-based ids. Row `padding` starts at 0 and gets no gradient " ..
    "from look-ups (-1: there is none).",
  args = { { "n", "integer", min = 1 }, { "width", "integer", min = 1 },
    { "options", "table", options = {
      { "std", "number", default = 1, min = 0, doc = "of the normal start" },
      { "padding", "integer", default = -1, min = -1, doc = "row without gradient" } } } },
  returns = "module", example = "nn.embedding(256, 64)",
  fn = function(n, width, o)
    o.n, o.width = n, width
    return new(embedding, o)
  end }

local dropout = { name = "nn.dropout",
  forward = function(p, x) return hop.nn.drop(x, private[p].options.p) end }

define { name = "nn.dropout", safety = "setup",
  doc = "Zeroes elements with probability p while training, scaling the others by 1/(1-p).",
  args = { { "p", "number", default = 0.1, min = 0, max = 0.999 } }, returns = "module",
  example = "nn.dropout(0.1)",
  fn = function(p) return new(dropout, { p = p }) end }

define { name = "nn.drop", doc = "Dropout on a tensor, only while training.",
  args = { { "x", "tensor" }, { "p", "number", min = 0, max = 0.999 } }, returns = "tensor",
  example = "nn.drop(x, 0.1)",
  fn = function(x, p)
    if p == 0 or not core.training() then return x end
    return T.dropout(x, p)
  end }

local list = { name = "nn.list", params = function(p, o)
  for i, v in ipairs(o.parts) do p[i] = v end
end }

define { name = "nn.list", safety = "setup",
  doc = "Modules under numbers; they are named 0, 1, … in checkpoints and indexed from 1 here.",
  args = { { "parts", "table" } }, returns = "module",
  example = "nn.list { nn.linear(2, 3), nn.linear(3, 4) }",
  fn = function(parts) return new(list, { parts = parts }) end }

local sequential = { name = "nn.sequential", params = list.params,
  forward = function(p, x)
    for _, part in ipairs(private[p].options.parts) do x = part(x) end
    return x
  end,
  add = function(p, part)
    table.insert(private[p].options.parts, part)
    return p
  end }

define { name = "nn.sequential", safety = "setup",
  doc = "Modules and functions applied one after another.",
  args = { { "parts", "table" } }, returns = "module",
  example = "nn.sequential { nn.linear(784, 256), T.relu, nn.linear(256, 10) }",
  fn = function(parts)
    local order = {}
    for i, part in ipairs(parts) do
      if not is_module(part) and type(part) ~= "function" then
        api.fail("nn.sequential", ("part %d is neither a module nor a function"):format(i))
      end
      order[i] = part
    end
    return new(sequential, { parts = order })
  end }

-- Where a model's weights may come from; read by hop/hf.lua.
hop.modules.init_option = { "init", "string",
  doc = "directory (or safetensors file) whose weights the model starts from; see nn.from_hf" }
