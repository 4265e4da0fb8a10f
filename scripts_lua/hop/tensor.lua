-- Tensors: the names people know, on top of the op table. The op functions themselves come from C
-- (app/lua/lua_ops.c) and are described from the table.

local core, api, hop = ...
local T = core.T
hop.T = T

-- every op, from its row
for _, op in ipairs(core.ops()) do
  local args = {}
  for word in op.ins:gmatch("%S+") do
    local many, optional = word:match("%*$"), word:match("%?$")
    args[#args + 1] = { (word:gsub("[?*]$", "")), many and "table" or "tensor|number",
      optional = optional and true or nil }
  end
  local options = {}
  for _, a in ipairs(op.attrs) do
    options[#options + 1] = { a.name, a.type, default = a.default, choices = a.choices }
  end
  if #options > 0 then args[#args + 1] = { "options", "table", options = options } end
  api.define(nil, { name = "T." .. op.name, doc = op.doc, args = args, returns = op.outs, op = true,
    checked = true })
end

local function define(d) return api.define(hop, d) end
local sizes = { "sizes", "table", doc = "list of sizes" }
local dtype = { "dtype", "string", default = "f32", choices = { "f32", "i32", "bool" } }
local creation = { "options", "table", options = {
  dtype, { "grad", "boolean", default = false, doc = "is a gradient wanted?" } } }

local function finish(t, o) return o.grad and t:require_grad() or t end

define { name = "T.zeros", doc = "A tensor of zeros.", args = { sizes, creation },
  returns = "tensor", example = "T.zeros{2, 3}",
  fn = function(s, o) return finish(core.full(s, 0, o.dtype), o) end }
define { name = "T.ones", doc = "A tensor of ones.", args = { sizes, creation },
  returns = "tensor", example = "T.ones{2, 3}",
  fn = function(s, o) return finish(core.full(s, 1, o.dtype), o) end }
define { name = "T.empty", doc = "A tensor to be filled (zeros).", args = { sizes, creation },
  returns = "tensor", example = "T.empty{2, 3}",
  fn = function(s, o) return finish(core.full(s, 0, o.dtype), o) end }
define { name = "T.full", doc = "A tensor of one value.",
  args = { sizes, { "value", "number" }, creation }, returns = "tensor",
  example = "T.full({2, 3}, 0.5)",
  fn = function(s, v, o) return finish(core.full(s, v, o.dtype), o) end }
define { name = "T.from", doc = "A tensor from a number or nested tables of numbers.",
  args = { { "values", "table|number" }, creation }, returns = "tensor",
  example = "T.from{ {1, 2}, {3, 4} }",
  fn = function(v, o) return finish(core.from(v, o.dtype), o) end }
define { name = "T.randn", doc = "Independent draws from N(0, 1). Fields of the size list may be " ..
  "followed by grad = true.", args = { sizes }, returns = "tensor",
  example = "T.randn{2, 3, grad = true}",
  fn = function(s)
    local t = T.normal { shape = table.move(s, 1, #s, 1, {}) }
    return s.grad and t:require_grad() or t
  end }
define { name = "T.rand", doc = "Independent draws from [0, 1).", args = { sizes },
  returns = "tensor", example = "T.rand{2, 3, grad = true}",
  fn = function(s)
    local t = T.uniform { shape = table.move(s, 1, #s, 1, {}) }
    return s.grad and t:require_grad() or t
  end }
define { name = "T.arange", doc = "first, first + step, … up to and including last.",
  args = { { "first", "number" }, { "last", "number" }, { "step", "number", default = 1 } },
  returns = "tensor", example = "T.arange(1, 10)",
  fn = function(first, last, step)
    local n = math.max(0, math.floor((last - first) / step + 1e-9) + 1)
    return T.iota { start = first, step = step, shape = { n } }
  end }
define { name = "T.equal", doc = "Have two tensors the same shape and the same values?",
  args = { { "a", "tensor" }, { "b", "tensor" } }, returns = "boolean", example = "T.equal(a, b)",
  fn = function(a, b)
    local s, t = a:size(), b:size()
    if #s ~= #t or a:dtype() ~= b:dtype() then return false end
    for i = 1, #s do
      if s[i] ~= t[i] then return false end
    end
    if a:dtype() ~= "f32" then a, b = T.cast(a, "f32"), T.cast(b, "f32") end
    return a:numel() == 0 or T.eq(a, b):sum():item() == a:numel()
  end }
define { name = "T.is_tensor", doc = "Is this value a tensor?", args = { { "value", "any" } },
  returns = "boolean", example = "T.is_tensor(x)", fn = core.is_tensor, checked = true }
define { name = "T.grad", doc = "Gradients of the scalar y with respect to a list of tensors; nil " ..
  "where y does not depend on one. The result can be differentiated again.",
  args = { { "y", "tensor" }, { "xs", "table" } }, returns = "table",
  example = "T.grad(loss, { w, b })", fn = core.grad, checked = true }
define { name = "T.vjp", doc = "Vector-Jacobian products: for each of the list xs the sum of v_i dy_i/dx, " ..
  "nil where no y depends on it. The result can be differentiated again.",
  args = { { "ys", "table" }, { "vs", "table" }, { "xs", "table" } }, returns = "table",
  example = "T.vjp({ f }, { v }, { z })", fn = core.vjp, checked = true }

local function add(name, doc, args, returns, fn)
  T[name] = api.define(nil, { name = "tensor:" .. name, doc = doc, args = args or {},
    returns = returns, method = true, fn = fn })
end

-- methods that C gives
local function method(name, doc, args, returns) add(name, doc, args, returns, T[name]) end
method("item", "The value of a tensor with one element.", nil, "number")
method("table", "A copy as nested tables; above a million elements only with force = true.",
  { { "options", "table", optional = true } }, "table")
method("size", "All sizes, or that of dimension d (from 1; negative from the end).",
  { { "d", "integer", optional = true } }, "table|integer")
method("dim", "Number of dimensions.", nil, "integer")
method("numel", "Number of elements.", nil, "integer")
method("dtype", "Name of the element type.", nil, "string")
method("detach", "The same values without a way back for gradients.", nil, "tensor")
method("backward", "Adds the gradient of this scalar to .grad of every tensor with grad = true.")
method("require_grad", "Marks this tensor as one that gradients are wanted for.", nil, "tensor")
method("set_", "Copies the values of another tensor of the same shape into this one's memory.",
  { { "from", "tensor" } }, "tensor")

-- methods made of operations
local function axis_of(t, d)
  local n = t:dim()
  if d < -n or d > n then api.fail("tensor", ("there is no dimension %d of %d"):format(d, n)) end
  if d == 0 then api.fail("tensor", "dimensions start at 1") end
  return d < 0 and d + n + 1 or d
end

local slice = T.slice
add("narrow", "n positions from `first` (from 1) of dimension d.",
  { { "d", "integer" }, { "first", "integer" }, { "n", "integer" } }, "tensor",
  function(t, d, first, n)
    if first == 0 then api.fail("narrow", "positions start at 1") end
    return slice(t, d, first > 0 and first - 1 or t:size(d) + first, n)
  end)
add("select", "Position i (from 1) of dimension d, which goes away.",
  { { "d", "integer" }, { "i", "integer" } }, "tensor",
  function(t, d, i)
    if i == 0 then api.fail("select", "positions start at 1") end
    local s, k = t:size(), axis_of(t, d)
    table.remove(s, k)
    return T.reshape(slice(t, d, i > 0 and i - 1 or t:size(d) + i, 1), s)
  end)
add("slice", "Per dimension: {} all, {first, last} a range, a number one position (which goes away).",
  { { "parts", "table|integer" }, { "begin", "integer", optional = true },
    { "n", "integer", optional = true } }, "tensor",
  function(t, parts, begin, n)
    if type(parts) ~= "table" then return slice(t, parts, begin, n) end -- the operation
    if parts[1] == nil and next(parts) ~= nil then return slice(t, parts) end
    local d = 1
    for _, part in ipairs(parts) do
      if type(part) == "number" then
        t = t:select(d, part)
      else
        if part[1] then
          local last = part[2] or part[1]
          if last < 0 then last = t:size(d) + last + 1 end
          t = t:narrow(d, part[1], last - part[1] + 1)
        end
        d = d + 1
      end
    end
    return t
  end)
add("view", "The same numbers under another shape.", { { "sizes", "table" } }, "tensor", T.reshape)
add("transpose", "Two dimensions exchanged.", { { "a", "integer" }, { "b", "integer" } }, "tensor",
  function(t, a, b)
    local axes = {}
    for i = 1, t:dim() do axes[i] = i end
    a, b = axis_of(t, a), axis_of(t, b)
    axes[a], axes[b] = axes[b], axes[a]
    return T.permute(t, axes)
  end)
add("t", "A matrix transposed.", nil, "tensor", function(t) return t:transpose(1, 2) end)
add("expand_as", "Repeated to the shape of another tensor.", { { "other", "tensor" } }, "tensor",
  function(t, o) return T.expand(t, o:size()) end)
add("mean", "Mean along the given dimensions (all if none is given).",
  { { "axes", "integer|table", optional = true }, { "keep", "boolean", optional = true } }, "tensor",
  function(t, axes, keep)
    local s = T.sum(t, axes, keep)
    return s * (s:numel() / math.max(1, t:numel()))
  end)
add("gt", "1 where a > b, else 0.", { { "b", "tensor|number" } }, "tensor",
  function(a, b) return T.lt(b, a) end)
add("ge", "1 where a >= b, else 0.", { { "b", "tensor|number" } }, "tensor",
  function(a, b) return T.le(b, a) end)
add("ne", "1 where a differs from b, else 0.", { { "b", "tensor|number" } }, "tensor",
  function(a, b) return 1 - T.eq(a, b) end)
add("floor", "The largest whole number not above.", nil, "tensor", function(t)
  local cut = T.cast(T.cast(t, "i32"), "f32")
  return cut - T.lt(t, cut)
end)
add("floordiv", "a / b rounded down.", { { "b", "tensor|number" } }, "tensor",
  function(a, b) return T.floor(T.div(a, b)) end)
add("softmax", "Softmax along the last dimension.", nil, "tensor",
  function(t) return T.normalise(t, "softmax") end)
add("softmax1", "Softmax with one extra logit 0 along the last dimension (arXiv 2404.03828).", nil,
  "tensor", function(t) return T.normalise(t, "softmax1") end)

-- in-place forms: the handle stands for the new value from then on
for _, name in ipairs { "add", "sub", "mul", "div", "pow" } do
  local f = T[name]
  add(name .. "_", ("In place: this handle becomes a:%s(b)."):format(name),
    { { "b", "tensor|number" } }, "tensor", function(a, b) return a:rebind_(f(a, b)) end)
end
for _, name in ipairs { "neg", "exp", "tanh", "relu", "sigmoid" } do
  local f = T[name]
  add(name .. "_", ("In place: this handle becomes a:%s()."):format(name), nil, "tensor",
    function(a) return a:rebind_(f(a)) end)
end
add("zero_", "In place: all zeros.", nil, "tensor",
  function(a) return a:rebind_(core.full(a:size(), 0, a:dtype())) end)
