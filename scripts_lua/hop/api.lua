-- The register of everything the hop module offers: name, arguments, options, defaults, help. A
-- function is described once, here or in the op table; argument checks, help(), completion, editor
-- stubs and the reference pages come from the description.

local core = ...
-- members: by the name of a kind of handles, what one has, for completion
local api = { list = {}, by_name = {}, members = {} }

-- What people type who know other libraries; used in error messages only.
local elsewhere = {
  learningRate = "lr", learning_rate = "lr", weightDecay = "weight_decay", decay = "weight_decay",
  hidden_size = "width", d_model = "width", dim = "width", embed_dim = "width",
  num_layers = "layers", n_layers = "layers", num_hidden_layers = "layers", depth = "layers",
  num_heads = "heads", n_heads = "heads", num_attention_heads = "heads",
  img_size = "image", patch_size = "patch", num_classes = "classes",
  intermediate_size = "ffn", ffn_dim = "ffn", d_ff = "ffn",
  vocab_size = "vocab", max_position_embeddings = "max_len", max_seq_length = "seq_len",
  block_size = "seq_len", bs = "batch_size", batch = "batch_size",
  per_device_train_batch_size = "batch_size", num_train_epochs = "epochs", steps = "max_steps",
  max_train_steps = "max_steps", warmup_steps = "warmup", num_warmup_steps = "warmup",
  mlm_probability = "mask_prob", clip = "max_grad_norm", logging_steps = "every",
}

function api.fail(name, message, hint)
  core.raise("E_ARG", name .. ": " .. message, hint)
end

local function kind_of(v)
  if core.is_tensor(v) then return "tensor" end
  local k = math.type(v) or type(v)
  if k == "float" then
    return v == math.floor(v) and v >= -2^53 and v <= 2^53 and "whole" or "number"
  end
  if k == "table" and getmetatable(v) == "module" then return "module" end
  return k
end

-- Does v fit "integer|string"? Returns the value, converted where 1.0 stands for 1.
local function fit(v, types)
  local kind = kind_of(v)
  for want in types:gmatch("[^|]+") do
    if want == "any" or want == kind then return true, v end
    if want == "number" and (kind == "integer" or kind == "whole") then return true, v end
    if want == "integer" and kind == "whole" then return true, math.tointeger(v) end
    if want == "table" and kind == "module" then return true, v end
    if want == "module" and kind == "table" and rawget(v, "_def") then return true, v end
    if want == "path" and kind == "string" then return true, v end
  end
  return false
end

local function show(v)
  if type(v) == "string" then return ("'%s'"):format(v) end
  if type(v) == "number" or type(v) == "boolean" then return tostring(v) end
  return "a " .. kind_of(v)
end

local function check_value(name, what, a, v)
  local types = a[2]
  local ok, converted = fit(v, types)
  if not ok then
    api.fail(name, ("%s must be %s, not %s"):format(what, (types:gsub("|", " or ")), show(v)))
  end
  v = converted
  if type(v) == "number" then
    if v ~= v then api.fail(name, what .. " is NaN") end
    if a.min and v < a.min or a.max and v > a.max then
      api.fail(name, ("%s is %s; it must be %s%s%s"):format(what, tostring(v),
        a.min and "at least " .. tostring(a.min) or "", a.min and a.max and " and " or "",
        a.max and "at most " .. tostring(a.max) or ""))
    end
  end
  if a.choices and type(v) == "string" then
    for _, c in ipairs(a.choices) do
      if c == v then return v end
    end
    if a.or_path and (v:find("/", 1, true) or core.exists(v)) then return v end
    local near = core.nearest(v, a.choices)
    api.fail(name, ("%s: unknown choice '%s'%s"):format(what, v,
      near and (" (did you mean '%s'?)"):format(near) or ""),
      "choices: " .. table.concat(a.choices, ", ") .. (a.or_path and ", or a path" or ""))
  end
  if a.options and type(v) == "table" then
    return api.options(name .. "." .. a[1], a.options, v)
  end
  return v
end

-- A new table with every option at its given or default value. Unknown names are errors.
function api.options(name, schema, given)
  local known, out = {}, {}
  for i, a in ipairs(schema) do known[i] = a[1] end
  if given ~= nil and type(given) ~= "table" then
    api.fail(name, ("takes a table of options, not %s"):format(show(given)))
  end
  for k in pairs(given or {}) do
    local found = false
    for _, a in ipairs(schema) do found = found or a[1] == k end
    if not found then
      local other = type(k) == "string" and elsewhere[k]
      local near
      for _, n in ipairs(known) do
        if n == other then near = other end
      end
      near = near or core.nearest(tostring(k), known)
      api.fail(name, ("unknown option '%s'%s"):format(tostring(k),
        near and (" (did you mean '%s'?)"):format(near) or ""),
        not near and "options: " .. table.concat(known, ", ") or nil)
    end
  end
  for _, a in ipairs(schema) do
    local v = given and given[a[1]]
    if v == nil then
      v = a.default
      if type(v) == "table" then v = table.move(v, 1, #v, 1, {}) end
      if v == nil and a.options then v = api.options(name .. "." .. a[1], a.options, {}) end
      if v == nil and a.required then
        api.fail(name, ("option '%s' is missing"):format(a[1]), a.doc)
      end
    else
      v = check_value(name, ("option '%s'"):format(a[1]), a, v)
    end
    out[a[1]] = v
  end
  return out
end

local function check_args(d, ...)
  local n, args = select("#", ...), { ... }
  for i, a in ipairs(d.args or {}) do
    local v = args[i]
    if v == nil then
      if a.options then
        v = api.options(d.name, a.options, {})
      elseif a.default ~= nil then
        v = a.default
      elseif not a.optional then
        api.fail(d.name, ("argument %d (%s) is missing"):format(i, a[1]),
          d.example and "for example: " .. d.example)
      end
    elseif a.options then
      v = api.options(d.name, a.options, v)
    else
      v = check_value(d.name, ("argument %d (%s)"):format(i, a[1]), a, v)
    end
    args[i] = v
  end
  local most = #(d.args or {})
  if n > most and not d.variadic then
    api.fail(d.name, ("takes %d argument%s, not %d"):format(most, most == 1 and "" or "s", n))
  end
  return table.unpack(args, 1, math.max(n, most))
end

-- Puts d.fn, with its checks, at its name under `root` and into the register.
--   d = { name, doc, args = { { name, type, … } }, returns, safety, example, fn, checked }
-- self = "run": the method name:after of handles of that kind, for their metatable (root is nil).
-- An argument or option: { name, type, default=, optional=, required=, min=, max=, choices=,
-- or_path = true: or a path, options = nested, doc= }. checked = true: the function checks for itself (C).
function api.define(root, d)
  assert(not api.by_name[d.name], d.name)
  api.list[#api.list + 1] = d
  api.by_name[d.name] = d
  d.safety = d.safety or "safe"
  local fn = d.fn
  if fn and d.method then
    local binary = d.args[1] and d.args[1][2] == "tensor|number" -- 7 // t
    fn = function(self, ...)
      if not core.is_tensor(self) and not (binary and type(self) == "number") then
        api.fail(d.name, ("needs a tensor before the ':', not %s"):format(show(self)))
      end
      return d.fn(self, check_args(d, ...))
    end
  elseif fn and d.self then -- a method of a handle; fn looks at what stands before the ':'
    fn = function(self, ...) return d.fn(self, check_args(d, ...)) end
    d.call = fn
  elseif fn and not d.checked then
    fn = function(...) return d.fn(check_args(d, ...)) end
  end
  if not root or d.method then return fn end
  local at = root
  local path, last = d.name:gsub("^hop%.", ""):match("^(.-)%.?([^.]+)$")
  for part in path:gmatch("[^.]+") do
    at[part] = at[part] or {}
    at = at[part]
  end
  at[last] = fn
  return fn
end

return api
