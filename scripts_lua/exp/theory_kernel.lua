-- Theory, 10: a learned kernel spreads memories that lie close together, and retrieval gets better (U-Hop,
-- arXiv 2404.03827; spec: theory 2.5, 6.10). W is trained on the uniform loss of the rows of W xi at unit
-- length; queries and memories are then compared as (W x) (W xi).
--
--   hoplab run scripts_lua/exp/theory_kernel.lua

local hop = require "hop"
local tools = require "exp.theory_tools"
local T, memory = hop.T, hop.memory

-- Memories that share a direction: unit rows of mean + spread * noise
local function crowd(n, d, spread)
  return memory.unit_rows(memory.sphere(1, d):expand { n, d } + T.randn { n, d } * (spread / math.sqrt(d)))
end

-- Plain descent. With `decay` the step is divided by the root of its number again and again, as the reference
-- has it: after ten epochs it is 1900 times smaller, so there is hardly any learning behind them.
local function learn(stored, w, o)
  local lr, losses = o.lr, {}
  for i = 0, o.epochs do
    w:require_grad()
    local loss = memory.uniform_loss(memory.unit_rows(stored:matmul(w:t())))
    losses[i + 1] = loss:item()
    if i == o.epochs then break end
    local g = T.grad(loss, { w })[1]
    w = (w - g * lr):detach()
    if o.decay then lr = lr / math.sqrt(i + 1) end
  end
  return w:detach(), losses
end

-- Mean weight of the right memory for queries x {M, d} without a kernel, with the drawn and with the learned
-- one. Memories have unit length in a kernel's space, so that the temperature means the same in all three.
local function weights(stored, x, beta, drawn, learned)
  local out = {}
  for j, kernel in ipairs { false, drawn, learned } do
    local scale = kernel and 1 / tools.mean(tools.norms(stored:matmul(kernel:t()))) or 1
    local m = memory.model { memories = stored, beta = beta, overlap = kernel and "kernel" or "dot",
      kernel = kernel and kernel * scale or nil }
    out[j] = tools.mean(T.sum(m:weights(x) * tools.diagonal(stored:size(1)), { axes = { -1 }, keep = true }))
  end
  return out
end

local function three()
  return { tools.series "no kernel", tools.series "kernel as drawn", tools.series "kernel learned" }
end

-- Adds the mean weights of sets to the three lines; gives the means
local function add(s, what, lines, x, step, sets)
  local means = {}
  for j = 1, 3 do
    local list = {}
    for i, set in ipairs(sets) do list[i] = set[j] end
    means[j] = tools.add(lines[j], x, list, true)
    s:log(step, { [("weight against %s/%s"):format(what, lines[j].name)] = means[j] })
  end
  return means, means[3] > means[1] and means[3] > means[2]
end

return hop.study {
  name = "kernel",
  project = "theory",
  options = {
    { "counts", "table", default = { 10, 20, 50, 100 }, doc = "numbers of memories" },
    { "width", "integer", default = 30, min = 2, doc = "of a memory" },
    { "spread", "number", default = 0.5, min = 0, doc = "of the memories about their common direction" },
    { "noise", "number", default = 0.2, min = 0, doc = "length of the queries' noise" },
    { "noises", "table", default = { .1, .2, .5, 1, 2 }, doc = "lengths of noise, for the last number of memories" },
    { "beta", "number", default = 20, min = 0, doc = "inverse temperature" },
    { "epochs", "integer", default = 100, min = 1, doc = "of the kernel" },
    { "lr", "number", default = 1, min = 0, doc = "of its first step" },
    { "decay", "boolean", default = false, doc = "the reference's" },
    { "sets", "integer", default = 5, min = 2, doc = "of memories" },
  },
  run = function(s)
    local o, rows, falls, better, firm = s.options, {}, true, true, true
    local lines, noisy, last = three(), three(), o.counts[#o.counts]
    local curve, noises = nil, {}
    for k, count in ipairs(o.counts) do
      local sets, before, after, damaged = {}, {}, {}, {}
      for i = 1, o.sets do
        hop.seed(s.seed + i)
        local stored = crowd(count, o.width, o.spread)
        local x = memory.damage("add", stored, o.noise / math.sqrt(o.width))
        local drawn = T.randn { o.width, o.width }
        local w, losses = learn(stored, drawn, o)
        before[i], after[i] = losses[1], losses[#losses]
        falls = falls and after[i] < before[i]
        if not curve then
          curve = losses
          for epoch, loss in ipairs(losses) do s:log(epoch - 1, { ["uniform loss"] = loss }) end
        end
        sets[i] = weights(stored, x, o.beta, drawn, w)
        for n, noise in ipairs(count == last and o.noises or {}) do
          damaged[n] = damaged[n] or {}
          damaged[n][i] = weights(stored, memory.damage("add", stored, noise / math.sqrt(o.width)), o.beta, drawn, w)
        end
      end
      local means, gain = add(s, "memories", lines, count, count, sets)
      better = better and gain
      for n, noise in ipairs(count == last and o.noises or {}) do
        local mean, gains = add(s, "noise", noisy, noise, math.floor(100 * noise + 0.5), damaged[n])
        noises[n], firm = { noise, mean[1], mean[2], mean[3] }, firm and (gains or noise >= 1)
      end
      rows[#rows + 1] = { count, tools.band(before), tools.band(after), means[1], means[2], means[3] }
      s:tick("learning kernels", k / #o.counts)
    end
    local epochs = {}
    for i = 1, #curve do epochs[i] = i - 1 end
    s:figure("loss", { title = "Learning a kernel", x = "epoch", y = "uniform loss",
      series = { { name = ("%d memories"):format(o.counts[1]), x = epochs, y = curve } },
      caption = "The uniform loss of the memories in the kernel's space falls: they are spread." })
    s:figure("weight", { title = "Weight of the right memory", x = "number of memories", y = "weight", log_x = true,
      series = lines, caption = "Memories that lie close together are told apart better in a learned kernel's space." })
    s:figure("noise", { title = "Weight of the right memory, with noise", x = "length of the noise", y = "weight",
      series = noisy, caption = ("%d memories: the learned kernel helps until noise is as long as they are."):format(
        last) })
    s:table("noise", { columns = { "length of the noise", "weight of the right memory, no kernel", "kernel as drawn",
      "kernel learned" }, rows = noises, caption = ("%d memories"):format(last) })
    s:table("kernel", { columns = { "memories", "uniform loss, drawn", "learned",
      "weight of the right memory, no kernel", "kernel as drawn", "kernel learned" }, rows = rows,
      caption = "memories that share a direction" })
    s:check("learning lowers the uniform loss", falls, "in every set")
    s:check("the right memory has more weight with the learned kernel", better,
      "at every number of memories, mean over sets")
    s:check("it has so against noise that is shorter than the memories", firm, ("%d memories"):format(last))
  end,
}
