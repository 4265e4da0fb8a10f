-- Images as tensors, for loops and studies of one's own.

local core, api, hop = ...

api.define(hop, { name = "data.take_images", safety = "setup",
  doc = "Images of a set as tensors: x {n, channels height width} in [0, 1], y {n, classes} with 1 at the label, " ..
    "and what the set is (n, channels, height, width, classes). Of the training part `count` drawn by the " ..
    "seed, of the test part the first ones.",
  args = { { "options", "table", options = {
    { "dir", "string", doc = "directory of the files; as for data.images" },
    { "set", "string", default = "auto", choices = api.image_sets, doc = "as for data.images" },
    { "part", "string", default = "train", choices = { "train", "test" } },
    { "count", "integer", min = 1, doc = "images; default all of the part" },
    { "seed", "integer", default = 0, min = 0, doc = "of the draw" },
  } } },
  returns = "tensor, tensor, table", example = 'data.take_images { set = "generated", count = 100 }',
  fn = function(o)
    local is_train = o.part == "train"
    local made = o.count or 1000
    local images = core.open_images { dir = o.dir, set = o.set, seed = o.seed, count = is_train and o.count or nil,
      generated = is_train and made or 1, generated_eval = is_train and 1 or made }
    local info = core.images_info(images)
    if not is_train and o.count and o.count > info.eval then
      api.fail("data.take_images", ("%d test images are asked for, there are %d"):format(o.count, info.eval))
    end
    local n = is_train and info.train or o.count or info.eval
    local x, y = core.take_images(images, o.part, 0, n)
    return x, y, { n = n, channels = info.channels, height = info.height, width = info.width, classes = info.classes }
  end })
