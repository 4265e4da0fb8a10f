-- The hop module. Each part is a file of its own, called with (core, api, hop): core is what C gives
-- (app/lua/lua_hop.c), api the register of descriptions, hop the table that users get.

local core = require "hop.core"
local hop = { none = setmetatable({}, { __tostring = function() return "hop.none" end }), api = 1 }

local function part(name, ...) return core.part("hop/" .. name .. ".lua")(core, ...) end

local api = part "api"
hop.register = api
part("tensor", api, hop)
part("base", api, hop)
part("normaliser", api, hop)
part("nn", api, hop)
part("gate", api, hop)
part("opt", api, hop)
part("bert", api, hop)
part("vit", api, hop)
part("vih", api, hop)
part("stanhop", api, hop)
part("presets", api, hop)
part("hf", api, hop)
part("deq", api, hop)
part("deq_norms", api, hop)
part("deq_tools", api, hop)
part("hopfield", api, hop)
part("memory", api, hop)
part("training", api, hop)
part("pictures", api, hop)
part("forecast", api, hop)
part("quantize", api, hop)
part("feed", api, hop)
part("experiment", api, hop)
part("sweep", api, hop)
part("study", api, hop)
part("evaluate", api, hop)
part("runs", api, hop)
part("ui", api, hop)
return hop
