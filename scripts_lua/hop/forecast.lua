-- Forecasts of time series: the loss that models are trained on, and the linear model that others are
-- held against.

local core, api, hop = ...
local T, nn = hop.T, hop.nn

api.define(hop, { name = "loss.forecast",
  doc = "What a model is trained on where the data are a series and it has no loss of its own: the mean of squared " ..
    "differences between model(batch.x) {B, out_len, channels}, or a tensor given in its place, and batch.y, where " ..
    "it has values. The second result { prediction = … } is what the measures of evaluations are made of; losses of " ..
    "one's own give it likewise, beside other metrics.",
  args = { { "forecast", "module|tensor" }, { "batch", "table" } }, returns = "tensor, table",
  example = "loss.forecast(model, batch)",
  fn = function(forecast, batch)
    local y = core.is_tensor(forecast) and forecast or forecast(batch.x)
    if not core.is_tensor(y) then api.fail("loss.forecast", "the model's forward function returns no tensor") end
    local got, want = table.concat(y:size(), ", "), table.concat(batch.y:size(), ", ")
    if got ~= want then
      api.fail("loss.forecast", ("the model's forecast is {%s}, the data's future is {%s}"):format(got, want))
    end
    local squares = T.square(y - batch.y)
    local loss = batch.seen and (squares * batch.seen):sum() / T.maximum(batch.seen:sum(), 1) or squares:mean()
    return loss, { prediction = y }
  end })

-- The matrix that averages `kernel` neighbours in time, the ends repeated.
local function moving_average(n, kernel)
  local rows, before = {}, (kernel - 1) // 2
  for i = 1, n do
    local row = {}
    for j = 1, n do row[j] = 0 end
    for k = i - before, i - before + kernel - 1 do
      local j = math.min(math.max(k, 1), n)
      row[j] = row[j] + 1 / kernel
    end
    rows[i] = row
  end
  return T.from(rows)
end

hop.modules.define { name = "nn.dlinear",
  doc = "The linear forecast (DLinear, arXiv 2205.13504): a moving average and the rest, each mapped from history " ..
    "to future by one matrix for all channels. model(x), x {B, in_len, channels}, gives {B, out_len, channels}.",
  example = "nn.dlinear { in_len = 96, out_len = 24 }",
  options = {
    { "in_len", "integer", min = 1, doc = "default: the data's" },
    { "out_len", "integer", min = 1, doc = "default: the data's" },
    { "kernel", "integer", default = 25, min = 1, doc = "rows that are averaged" },
    hop.modules.init_option },
  def = {
    params = function(p, o)
      for _, name in ipairs { "in_len", "out_len" } do
        if not o[name] then
          api.fail("nn.dlinear", ("option '%s' is missing"):format(name), "there is no data to take it from")
        end
      end
      p.trend = nn.linear(o.in_len, o.out_len)
      p.rest = nn.linear(o.in_len, o.out_len)
      p.average = moving_average(o.in_len, o.kernel)
    end,
    forward = function(p, x)
      local by_channel = T.permute(x, { axes = { 1, 3, 2 } })
      local trend = T.linear(by_channel, p.average)
      return T.permute(p.trend(trend) + p.rest(by_channel - trend), { axes = { 1, 3, 2 } })
    end,
    quantization = function() return {} end,
  } }
