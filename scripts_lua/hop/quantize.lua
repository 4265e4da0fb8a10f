-- Post-training quantization of a model: where quantizers stand, ranges from batches, then the same
-- model on the grids of their codes (spec: quantization).

local core, api, hop = ...

local recipe = {
  { "method", "string", default = "static", choices = core.quant_methods(),
    doc = "static: quantizers with ranges from calibration behind every layer; smoothquant: that, after channels " ..
      "with outliers were moved from activations into weights. The others quantize linear layers alone: per_token: " ..
      "rows of activations at run time, rows of weights; llm_int8: the same, with columns of outliers in half " ..
      "precision; fp8_e4m3, fp8_e5m2; weights alone, in groups: rtn (the nearest code), gptq, awq" },
  { "alpha", "number", default = 0.5, min = 0, max = 1, doc = "smoothquant: how much of outliers the weights take" },
  { "group", "integer", default = 128, min = 0,
    doc = "rtn, gptq, awq: columns of a row that share a scale and a zero point; 0: all" },
  { "group_bits", "integer", default = 4, min = 2, max = 8, doc = "rtn, gptq, awq: of weights" },
  { "damping", "number", default = 0.01, min = 1e-9, doc = "gptq: added to H's diagonal, over its mean" },
  { "threshold", "number", default = 6, min = 0, doc = "llm_int8: columns whose largest |x| reaches it are outliers" },
  { "weight_bits", "integer", default = 8, min = 2, max = 16, doc = "of weights, which are symmetric" },
  { "act_bits", "integer", default = 8, min = 2, max = 16, doc = "of activations" },
  { "weight_range", "string", default = "minmax", choices = { "minmax", "mse" },
    doc = "how a weight's range is found: all of it, or the range of least squared error on a grid" },
  { "act_range", "string", default = "running_minmax",
    choices = { "current_minmax", "running_minmax", "mse", "mse_grid", "mse_golden_section" },
    doc = "an activation's: of the last batch, a running average, or of least squared error (mse: " ..
      "grid if symmetric, else golden section)" },
  { "act_scheme", "string", default = "asymmetric", choices = { "asymmetric", "symmetric" },
    doc = "codes with a zero point, or signed" },
  { "percentile", "number", min = 50.001, max = 100, doc = "of a batch in place of its extremes, e.g. 99.999" },
  { "momentum", "number", default = 0.9, min = 0, max = 0.999, doc = "of the running average" },
  { "per_channel", "boolean", default = false, doc = "weights: a scale for each row" },
  { "setup", "string",
    choices = { "all", "fp32_head", "fp32_head+int16_final_LN", "fp32_head+int16_all_LN" },
    doc = "what is quantized: with the head, without, and layer normalisations in 16 bits; default fp32_head, of " ..
      "nn.stanhop all" },
  { "weights", "boolean", default = true, doc = "quantize weights" },
  { "acts", "boolean", default = true, doc = "quantize activations" },
  { "skip", "table", default = {}, doc = "names of quantizers that are left out" },
}
-- Of an experiment: also which batches ranges are estimated from.
api.quantize_options = table.move(recipe, 1, #recipe, 4, {
  { "at_end", "integer", default = 0, min = 0,
    doc = "a run that is done quantizes its model and has quant_loss and, where the model has them, " ..
      "quant_perplexity and quant_accuracy (both also with _executed) among its results: means over so many " ..
      "calibrations on different batches" },
  { "batches", "integer", default = 16, min = 1, doc = "batches of calibration, as large as those of evaluation" },
  { "data", "string", choices = { "train", "eval" },
    doc = "part they are from: training data, shuffled by the seed, or, as the published BERT programs do, the " ..
      "start of what is evaluated (of a series the validation part); default train, of nn.stanhop eval" } })

-- What a recipe leaves open is as the model wants it, else as usual.
function api.complete_recipe(model, o)
  local wish = model.quantize_defaults and model:quantize_defaults() or {}
  o.setup = o.setup or wish.setup or "fp32_head"
  o.data = o.data or wish.data or "train"
  return o
end

local function schema(model, o)
  local of = model.quantization and model:quantization(o) or nil
  if not of then
    api.fail("hop.quantize", "this model does not say what of it may be quantized",
      'for example: quantization = function() return { in_float = { "head." } } end')
  end
  return of
end

-- The recipe of a quantized checkpoint.
local function saved_recipe(dir)
  local about = core.read_json(dir .. "/quantization.json")
  if type(about) ~= "table" or type(about.quantize) ~= "table" then
    core.raise("E_FORMAT", dir .. "/quantization.json has no recipe under 'quantize'")
  end
  return api.options(dir .. "/quantization.json", api.quantize_options, about.quantize)
end

local description = { { "model", "table", required = true, doc = "a module" },
  { "outputs", "function", doc = "outputs(model, batch): tensors, the loss first; default model:loss(batch)" },
  { "from", "path", doc = "a folder of `hoplab quantize --save`: its recipe, codes and ranges; parameters that stay " ..
    "in float take its numbers" } }
for _, o in ipairs(recipe) do description[#description + 1] = o end

api.define(hop, { name = "hop.quantize", safety = "setup",
  doc = "A model on the grids of quantizers. q:observe(batch) estimates ranges from a batch, with the " ..
    "quantizers at work already; q:run(batch) uses them and returns the outputs and, by name, what comes " ..
    "out of each quantizer; q:inputs(batch) comes before, where the method looks at the inputs of layers in float " ..
    "(smoothquant, gptq, awq), and q:observe only where activations have ranges (static, smoothquant); " ..
    "q:execute(batch) is the same with linear layers in integers; q:sites() " ..
    "lists quantizers (a layer used twice has a second one, name#2; weights are as they were at the first " ..
    "batch): name, role, bits, lo, hi, scale, zero_point. Inside of an equilibrium solve products with " ..
    "parameters have them where activations enter, with one range for all iterations; what comes out of " ..
    "these is not among the values.",
  args = { { "description", "table", options = description } }, returns = "quantized model",
  example = "hop.quantize { model = m, percentile = 99.999 }",
  fn = function(o)
    hop.modules.ready(o.model)
    if not o.outputs and not o.model.loss then
      api.fail("hop.quantize", "the model has no loss, and no outputs are given",
        "outputs = function(model, batch) return a_scalar, model(batch.x) end")
    end
    local how = api.complete_recipe(o.model, o.from and saved_recipe(o.from) or o)
    local q, programs = core.quant_new(schema(o.model, how), how, o.from and o.from .. "/model.safetensors"), {}
    local function program(mode, batch)
      local key, names = api.shape_key(batch)
      key = mode .. key
      if not programs[key] then
        local outputs = api.trace_batch(batch, names, false, function(b)
          local out, tensors = table.pack((o.outputs or o.model.loss)(o.model, b)), {}
          for i = 1, out.n do
            if core.is_tensor(out[i]) then tensors[#tensors + 1] = out[i] end
          end
          return tensors
        end)
        local number, with_value = core.quant_compile(q, mode, outputs), {}
        for _, s in ipairs((mode == "run" or mode == "execute") and core.quant_sites(q) or {}) do
          if s.role == "act" and s.has_value then with_value[#with_value + 1] = s.name end
        end
        programs[key] = { number, #outputs, with_value }
      end
      return table.unpack(programs[key])
    end
    local methods = {}
    function methods.observe(_, batch)
      if o.from then api.fail("q:observe", "the ranges of " .. o.from .. " stand fast", "q:run or q:execute") end
      return core.quant_run(q, program("observe", batch), batch)[1]
    end
    function methods.inputs(_, batch) return core.quant_run(q, program("inputs", batch), batch)[1] end
    local function run(mode, batch)
      local number, n, names = program(mode, batch)
      local all, out, at = core.quant_run(q, number, batch), {}, {}
      for i = 1, n do out[i] = all[i] end
      for i, name in ipairs(names) do at[name] = all[n + i] end
      return out, at
    end
    function methods.run(_, batch) return run("run", batch) end
    function methods.execute(_, batch) return run("execute", batch) end
    function methods.sites(_) return core.quant_sites(q) end
    return setmetatable({}, { __index = methods, __name = "quantized model" })
  end })
