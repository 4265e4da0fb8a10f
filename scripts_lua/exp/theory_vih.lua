-- Theory, 8 and 9: Vision Hopfield networks with different separation functions: how training converges, and how
-- they generalise from few samples (spec: theory 3, 6.8, 6.9). MNIST is looked for, else digits are generated.
--
--   hoplab run scripts_lua/exp/theory_vih.lua
--   hoplab run scripts_lua/exp/theory_vih.lua -s set=cifar-10 -s patch=8 -s 'sizes={1000,5000,20000}'

local hop = require "hop"
local tools = require "exp.theory_tools"
local T, nn, optim, data = hop.T, hop.nn, hop.optim, hop.data

-- Mean loss and accuracy over pieces of at most `most` images
local function measure(model, x, y, most)
  local n, loss, right = x:size(1), 0, 0
  for first = 1, n, most do
    local part = math.min(most, n - first + 1)
    local l, m = hop.no_grad(function()
      return model:loss { x = x:narrow(1, first, part), y = y:narrow(1, first, part) }
    end)
    loss, right = loss + l:item() * part, right + m.accuracy:item() * part
  end
  return loss / n, right / n
end

local function train(o, info, images, name, size, seed, report)
  hop.seed(seed)
  local model = nn.vih { image = { info.channels, info.height, info.width }, classes = info.classes, patch = o.patch,
    layers = o.layers, width = o.width, heads = o.heads, separation = name }
  local step = hop.train_step { model = model, optim = optim.adamw { lr = o.lr, weight_decay = 0 } }
  local x, y = images.x, images.y
  local batch = math.min(o.batch, size)
  local order = {}
  for i = 1, size do order[i] = i - 1 end
  for epoch = 0, o.epochs - 1 do
    for i = size, 2, -1 do -- the same order for every separation
      local k = (seed * 7919 + epoch * 104729 + i * 31) % i + 1
      order[i], order[k] = order[k], order[i]
    end
    local lr, sum, n = o.lr * 0.5 * (1 + math.cos(math.pi * epoch / o.epochs)), 0, 0
    for first = 1, size - batch + 1, batch do
      local rows = T.from(table.move(order, first, first + batch - 1, 1, {})):cast "i32"
      step.lr = lr
      sum, n = sum + step { x = T.embedding(x, rows):detach(), y = T.embedding(y, rows):detach() }.loss, n + 1
    end
    report(epoch, sum / n, model)
  end
  return model
end

return hop.study {
  name = "vih",
  project = "theory",
  options = {
    { "set", "string", default = "auto", doc = "of images, as for data.images" },
    { "sizes", "table", default = { 250, 500, 1000 }, doc = "numbers of training samples" },
    { "seeds", "integer", default = 3, min = 1, doc = "of weights and samples" },
    { "separations", "table", default = { "softmax", "softmax1", "sparsemax" }, doc = "that are compared" },
    { "epochs", "integer", default = 20, min = 1, doc = "of a training; the rate falls to 0 along a cosine" },
    { "batch", "integer", default = 50, min = 1, doc = "images of a step" },
    { "test", "integer", default = 2000, min = 10, doc = "test images" },
    { "lr", "number", default = 1e-3, min = 0, doc = "Adam's first rate" },
    { "patch", "integer", default = 7, min = 1, doc = "side of a patch" },
    { "layers", "integer", default = 3, min = 0, doc = "blocks; 0: one association" },
    { "width", "integer", default = 128, min = 1, doc = "of a token (512 in the reference)" },
    { "heads", "integer", default = 4, min = 1, doc = "divides width" },
  },
  run = function(s)
    local o, rows = s.options, {}
    local tx, ty, info = data.take_images { set = o.set, part = "test", count = o.test }
    local largest = math.max(table.unpack(o.sizes))
    local curves, accuracy, gap, best = {}, {}, {}, {}
    local n_done, n_all = 0, #o.separations * #o.sizes * o.seeds
    for k, name in ipairs(o.separations) do
      curves[k], accuracy[k], gap[k] = {}, tools.series(name), tools.series(name)
      for _, size in ipairs(o.sizes) do
        local losses, accuracies, gaps = {}, {}, {}
        for seed = 1, o.seeds do
          local x, y = data.take_images { set = o.set, count = size, seed = seed }
          local function report(epoch, loss, model)
            s:tick(("%s, %d samples, seed %d"):format(name, size, seed), (n_done + (epoch + 1) / o.epochs) / n_all)
            if size ~= largest then return end
            local test_loss, test_accuracy = measure(model, tx, ty, 500)
            local at = curves[k][epoch + 1] or { {}, {}, {} }
            at[1][seed], at[2][seed], at[3][seed] = loss, test_loss, test_accuracy
            curves[k][epoch + 1] = at
            s:log(epoch + 1, { [("loss/%s, seed %d"):format(name, seed)] = loss,
              [("accuracy/%s, seed %d"):format(name, seed)] = test_accuracy })
          end
          local model = train(o, info, { x = x, y = y }, name, size, seed, report)
          local train_loss, train_accuracy = measure(model, x, y, 500)
          losses[seed], accuracies[seed] = measure(model, tx, ty, 500)
          gaps[seed] = train_accuracy - accuracies[seed]
          n_done = n_done + 1
          s:say(("%s, %d samples, seed %d: training loss %.3f, test accuracy %.2f %%"):format(name, size, seed,
            train_loss, 100 * accuracies[seed]))
        end
        local mean, mean_gap = tools.add(accuracy[k], size, accuracies), tools.add(gap[k], size, gaps)
        local loss, loss_half = tools.band(losses)
        local _, half = tools.band(accuracies)
        best[name .. size] = mean
        rows[#rows + 1] = { name, size, loss, loss_half, 100 * mean, 100 * half, 100 * mean_gap }
      end
    end
    local lines = {}
    for i, what in ipairs { "training loss", "test loss", "test accuracy" } do
      local series = {}
      lines[i] = series
      for k, name in ipairs(o.separations) do
        series[k] = tools.series(name)
        for epoch, at in ipairs(curves[k]) do tools.add(series[k], epoch, at[i]) end
      end
      s:figure((what:gsub(" ", "-")), {
        title = ("%s, %d samples"):format((what:gsub("^%l", string.upper)), largest), x = "epoch", y = what,
        series = series, caption = ("Mean of %d seeds with its 95 %% band. Each line is another network: in the " ..
          "reference all of them use softmax."):format(o.seeds) })
    end
    if o.epochs >= 4 then
      local falls, text = true, {}
      for _, line in ipairs(lines[1]) do
        local first, half, last = line.y[1], line.y[o.epochs // 2], line.y[o.epochs]
        falls = falls and last < 0.9 * first and half - last < first - half
        text[#text + 1] = ("%s %.3f, %.3f, %.3f"):format(line.name, first, half, last)
      end
      s:check("training converges: its loss falls, and less in the second half", falls,
        "loss after the first epoch, half of them, all: " .. table.concat(text, "; "))
    end
    if #o.separations > 1 then
      local apart = math.huge
      for a = 1, #curves do
        for b = a + 1, #curves do
          local most = 0
          for epoch, at in ipairs(curves[a]) do
            for seed, loss in ipairs(at[1]) do most = math.max(most, math.abs(loss - curves[b][epoch][1][seed])) end
          end
          apart = math.min(apart, most)
        end
      end
      s:check("the separation function reaches the network", apart > 1e-3,
        ("with the same seeds training losses of any two differ by %.3f or more in some epoch"):format(apart))
    end
    s:figure("generalisation", { title = "Accuracy against the number of samples", x = "training samples",
      y = "test accuracy", log_x = true, series = accuracy, caption = "More samples, better accuracy." })
    s:figure("gap", { title = "Generalisation gap", x = "training samples", y = "training - test accuracy",
      log_x = true,
      series = gap, caption = "The gap closes as samples are added." })
    s:table("vih", { columns = { "separation", "samples", "test loss", "+-", "test accuracy %", "+-", "gap, points" },
      rows = rows, caption = ("%d test images, means of %d seeds and 95 %% bands"):format(tx:size(1), o.seeds) })
    if #o.sizes > 1 then
      local grows, smallest = true, math.min(table.unpack(o.sizes))
      for _, name in ipairs(o.separations) do grows = grows and best[name .. largest] > best[name .. smallest] end
      s:check("every separation function generalises better from more samples", grows,
        ("%d against %d samples"):format(largest, smallest))
    end
  end,
}
