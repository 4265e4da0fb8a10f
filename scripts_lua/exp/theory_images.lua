-- Theory, 3 and 4 with pictures: retrieval of images from half of their pixels, and from noise, by the separation
-- functions and similarities of the parent project (spec: theory 4). MNIST is looked for, else digits are
-- generated. One update, beta 1; the error is the sum of squared differences of pixels cut to 0 ... 1.
--
--   hoplab run scripts_lua/exp/theory_images.lua
--   hoplab run scripts_lua/exp/theory_images.lua -s set=cifar-10

local hop = require "hop"
local tools = require "exp.theory_tools"
local T, memory, data = hop.T, hop.memory, hop.data

-- name, separation, overlap, sign of a distance (the reference has +1, which prefers the farthest image)
local methods = {
  { "softmax", "softmax" }, { "softmax1", "softmax1" }, { "sparsemax", "sparsemax" }, { "polynomial", "polynomial" },
  { "softmax, -manhattan", "softmax", "manhattan", -1 }, { "softmax, -l2", "softmax", "l2", -1 },
  { "softmax, +l2 (reference)", "softmax", "l2", 1 },
}

local LEAST = 0.01 -- of what is drawn

local function cut(x) return T.minimum(T.relu(x), 1) end

-- Mean over the images of the squared error after one update
local function error_of(method, images, queries)
  local m = memory.model { memories = images, separation = method[2], overlap = method[3] or "dot",
    sign = method[4] or -1 }
  return tools.mean(tools.squares(cut(images) - cut(m:step(queries))))
end

return hop.study {
  name = "images",
  project = "theory",
  options = {
    { "set", "string", default = "auto", doc = "of images, as for data.images" },
    { "counts", "table", default = { 10, 20, 30, 50, 100 }, doc = "numbers of images" },
    { "deviations", "table", default = { 0, .1, .3, .5, .7, 1, 1.4, 2, 4 }, doc = "of noise, for 100 images" },
    { "seeds", "integer", default = 3, min = 2, doc = "draws of images and damage" },
  },
  run = function(s)
    local o, rows, halves, noises, found, drawn = s.options, {}, {}, {}, {}, {}
    local function draw(count, seed) -- the same for all methods
      local key = ("%d %d"):format(count, seed)
      drawn[key] = drawn[key] or (data.take_images { set = o.set, count = count, seed = seed })
      return drawn[key]
    end
    local function measure(line, x, kind, strength, count, method)
      local errors = {}
      for seed = 1, o.seeds do
        local images = draw(count, s.seed + seed)
        hop.seed(s.seed + seed)
        errors[seed] = error_of(method, images, memory.damage(kind, images, strength))
      end
      local mean = tools.add(line, x, errors)
      local i = #line.x -- a logarithmic axis begins somewhere
      line.y[i], line.low[i] = math.max(mean, LEAST), math.max(line.low[i], LEAST)
      line.high[i] = math.max(line.high[i], LEAST)
      s:log(kind == "dropout" and count or math.floor(100 * strength + 0.5),
        { [("error from %s/%s"):format(kind == "dropout" and "half" or "noise", method[1])] = mean })
      rows[#rows + 1] = { kind, strength, count, method[1], mean }
      found[("%s %g %d %s"):format(kind, strength, count, method[1])] = mean
    end
    for k, method in ipairs(methods) do
      halves[k], noises[k] = tools.series(method[1]), tools.series(method[1])
      for _, count in ipairs(o.counts) do measure(halves[k], count, "dropout", 0.5, count, method) end
      for _, deviation in ipairs(o.deviations) do measure(noises[k], deviation, "picture", deviation, 100, method) end
      s:tick("retrieving images", k / #methods)
    end
    s:table("images", { columns = { "damage", "strength", "images", "method", "squared error" }, rows = rows,
      caption = "of an image, after one update" })
    s:figure("half", { title = "Retrieval of images from half of their pixels", x = "number of images",
      y = "squared error", log_x = true, log_y = true, series = halves,
      caption = ("Half of the pixels are 0, the others doubled, as in the reference. softmax1 retrieves as softmax " ..
        "does; a distance with a plus sign prefers the farthest image (errors below %g are drawn there)."):format(
        LEAST) })
    s:figure("noise", { title = "Retrieval of images from noise", x = "deviation of the noise", y = "squared error",
      log_y = true, series = noises, caption = "100 images and what one update makes of noisy ones: products with " ..
        "bright noise are large for every image, distances with a minus sign hold longest." })
    local count = o.counts[#o.counts]
    local near = found[("dropout 0.5 %d softmax, -l2"):format(count)]
    local far = found[("dropout 0.5 %d softmax, +l2 (reference)"):format(count)]
    s:check("a distance retrieves with a minus sign only", near < far,
      ("%d images: squared error %.3g, with a plus %.3g"):format(count, near, far))
    local soft = found[("dropout 0.5 %d softmax"):format(count)]
    local one = found[("dropout 0.5 %d softmax1"):format(count)]
    s:check("softmax1 retrieves images as softmax does", math.abs(one / soft - 1) < 0.01 or math.abs(one - soft) < 1e-3,
      ("%d images: squared errors %.4g and %.4g"):format(count, one, soft))
  end,
}
